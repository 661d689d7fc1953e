"""Instructions per operation, counted by callgrind.

One Python process under ``valgrind --tool=callgrind --instr-atstart=no``; a small C library hands
callgrind's client requests on, so that only the call in question is counted, by name. A call that
does nothing is counted too (the least of three) and subtracted: the checks and conversions of the
call itself cancel, what is left is divided by the operations. Two runs differ by less than one
instruction in an operation of a pair or batch, and by about 1,000 in a request of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pageblock

from .counted import COUNTS
from .kernel import KERNEL_INSTRUCTIONS
from .native import MissingToolError, build

__all__ = ["Count", "count_instructions"]

ROOT = Path(__file__).parent.parent
SECONDS_AT_MOST = 1800

#: A line of a dump: source line, relative to the last one perhaps, and instructions.
COST = re.compile(r"[+*-]?[0-9]* ?[0-9]+$")


@dataclass(frozen=True)
class Count:
    """Instructions of one operation: all, those outside the core, plain C's, the kernel's."""

    name: str
    core: float
    outside: float
    plain_c: float | None
    kernel: float | None


def parse_dump(text: str) -> tuple[str, int, int] | None:
    """Name of a callgrind dump, its instructions and those in the core; None: no dump of ours.

    In the file a line of numbers is a cost of the current ``fn=`` in the current ``ob=`` (names are
    given once, then by number), except after ``calls=``, where it repeats the callee's cost.
    """
    trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
    if trigger is None:
        return None
    objects: dict[str, str] = {}
    current = ""
    called = False
    total = core = 0
    for line in text.splitlines():
        if line.startswith(("ob=", "cob=")):
            number, _, name = line.partition("=")[2].partition(" ")
            path = objects.setdefault(number, name)
            current = path if line.startswith("ob=") else current
        elif line.startswith("calls="):
            called = True
        elif COST.match(line):
            cost = int(line.rsplit(" ", 1)[1])
            if not called:
                total += cost
                core += cost if "/pageblock/mm/_core" in current else 0
            called = False
    return trigger[1], total, core


def run_counted(folder: Path) -> dict[str, tuple[int, int]]:
    """Count everything in ``bench.counted``: name -> instructions, and those of the core.

    Raises:
        MissingToolError: no valgrind, no compiler, no valgrind headers.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise MissingToolError("no valgrind: install it (Debian: apt-get install valgrind)")
    counter, peer = build("counter.c", folder), build("peer.c", folder)
    source = Path(pageblock.__file__).parent.parent
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{source}",
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [valgrind, "--tool=callgrind", "--instr-atstart=no", "--compress-pos=no"]
    command += [f"--callgrind-out-file={folder / 'dump'}", sys.executable, "-m", "bench.counted"]
    done = subprocess.run(
        [*command, str(counter), str(peer)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS_AT_MOST,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"bench.counted failed under valgrind:\n{done.stderr[-2000:]}")
    found = [parse_dump(path.read_text()) for path in folder.glob("dump*")]
    return {name: (total, core) for name, total, core in filter(None, found)}


def count_instructions(folder: Path) -> list[Count]:
    """Instructions of every operation, beside plain C and the kernel. Raises MissingToolError."""
    found = run_counted(folder)
    empty: dict[str, tuple[int, int]] = {"call": (0, 0)}
    for who in ("core", "peer"):
        empty[who] = min(found[f"{who}: nothing {attempt}"] for attempt in range(3))

    def cost(who: str, name: str, divisor: int) -> tuple[float, float]:
        total, core = found[f"{who}: {name}"]
        less, less_core = empty[who]
        outside = (total - core) - (less - less_core)
        return (total - less) / divisor, max(0, outside) / divisor

    counts: list[Count] = []
    for full in found:
        who, _, name = full.partition(": ")
        label, _, written = name.partition(" / ")
        if who == "peer" or label.startswith("nothing"):
            continue
        divisor = int(written) if written else COUNTS[label]
        core, outside = cost(who, name, divisor)
        peer = cost("peer", name, divisor)[0] if f"peer: {name}" in found else None
        counts.append(Count(label, core, outside, peer, KERNEL_INSTRUCTIONS.get(label)))
    order = list(COUNTS)
    return sorted(counts, key=lambda c: order.index(c.name) if c.name in order else len(order))
