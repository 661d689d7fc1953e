"""Files that the command line itself makes: the sound ones, of which broken ones are made."""

import tempfile
from pathlib import Path

from .judge import Main, streams

__all__ = ["made"]

#: (arguments, file) -> what was written there; a process makes each once.
_MADE: dict[tuple[tuple[str, ...], str], dict[str, bytes]] = {}


def made(main: Main, args: tuple[str, ...], out: str, inputs: dict[str, str] | None = None) -> dict[str, bytes]:
    """What a call writes to its file or folder ``out``: relative path -> content; a single file is ``""``.

    ``args``: with ``{}`` for the folder in which ``inputs`` (name -> text) lie and ``out`` is made.
    """
    found = _MADE.get((args, out))
    if found is None:
        with tempfile.TemporaryDirectory(prefix="pageblock-bad-") as name:
            folder = Path(name)
            for file, text in (inputs or {}).items():
                (folder / file).write_text(text)
            with streams(b""):
                code = main([arg.replace("{}", name) for arg in args])
            if code != 0:
                raise RuntimeError(f"{' '.join(args)}: exit {code}, where nothing is wrong yet")
            path = folder / out
            files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
            found = {"" if file == path else str(file.relative_to(path)): file.read_bytes() for file in files}
        _MADE[args, out] = found
    return found
