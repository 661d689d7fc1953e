"""Write what commands print into the documentation: ``python docs/transcripts.py docs/series.md``.

Every fenced block whose first line is ``$ pageblock …`` is replaced by that line and what the command prints now.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pageblock

__all__ = ["BLOCK", "printed", "rewritten"]

#: A fenced block that begins with a command, and the command.
BLOCK = re.compile(r"^```\n\$ pageblock ([^\n]*)\n.*?^```$", re.DOTALL | re.MULTILINE)

PACKAGE = Path(pageblock.__file__).parent


def printed(arguments: str) -> str:
    """What ``pageblock ARGUMENTS`` prints, without the folder in which the package lies here.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    command = [sys.executable, "-m", "pageblock", *shlex.split(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.replace(f"{PACKAGE}/", "").splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def rewritten(text: str) -> str:
    """The text of a document with every block as its command prints it now."""
    return BLOCK.sub(lambda block: f"```\n$ pageblock {block[1]}\n{printed(block[1])}```", text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        document = Path(name)
        document.write_text(rewritten(document.read_text()))
