"""What must hold of every call of the command line, whatever it was given."""

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from .machine import Invocation

__all__ = ["Fault", "Main", "Outcome", "judge", "streams", "where"]

Main = Callable[[list[str]], int]
Outcome = Literal["answered", "no", "refused"]
OUTCOMES: dict[int, Outcome] = {0: "answered", 1: "no", 2: "refused"}

#: Control characters that a terminal would obey: none may come from a file.
CONTROLS = frozenset(chr(c) for c in (*range(9), *range(11, 32), 127, *range(0x80, 0xA0)))

#: Longest line on stderr: nobody reads more.
MOST_LINE = 1000

OLD = b"what was there before"


class Fault(Exception):
    """What was wrong, in one line; two of one ``kind`` are the same mistake, as far as can be told."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


def where(error: BaseException) -> str:
    """Type of an exception and the innermost of our lines that it went through."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "pageblock" in frame.filename and "badinput" not in frame.filename
    ]
    place = f"{'/'.join(Path(ours[-1].filename).parts[-2:])}:{ours[-1].lineno}" if ours else "outside"
    return f"{type(error).__name__} at {place}"


@contextmanager
def streams(stdin: bytes) -> Iterator[tuple[int, int]]:
    """Standard streams of Python's in memory, as UTF-8; the descriptors of what was printed."""
    saved = sys.stdin, sys.stdout, sys.stderr
    given, out, err = (os.memfd_create(name) for name in ("stdin", "stdout", "stderr"))
    os.write(given, stdin)
    os.lseek(given, 0, os.SEEK_SET)
    opened: list[io.TextIOWrapper] = []
    try:
        opened.append(os.fdopen(os.dup(given), encoding="utf-8", errors="surrogateescape"))
        opened.append(os.fdopen(os.dup(out), "w", encoding="utf-8"))
        opened.append(os.fdopen(os.dup(err), "w", encoding="utf-8", errors="backslashreplace", buffering=1))
        sys.stdin, sys.stdout, sys.stderr = opened
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = saved
        for file in opened:
            file.close()
        for descriptor in (given, out, err):
            os.close(descriptor)


def printed(descriptor: int) -> str:
    """All that was written to a descriptor."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode("utf-8")


def judge(asked: Invocation, main: Main, out: Path) -> Outcome:
    """Run a call; how it ended. ``out``: the folder for its files, in which some are there already.

    Raises:
        Fault: it broke a rule.
    """
    before = contents(out)
    with streams(asked.stdin) as (stdout, stderr):
        try:
            code = main(list(asked.args))
            sys.stdout.flush()
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise Fault("SystemExit", str(error.code)) from error
            raise Fault(f"traceback: {where(error)}", " ".join(str(error).split())[:300]) from error
        said, complained = printed(stdout), printed(stderr)
    if code not in OUTCOMES:
        raise Fault(f"exit code {code!r}")
    outcome = OUTCOMES[code]
    look_at_streams(asked, outcome, said, complained)
    look_at_files(outcome, before, contents(out))
    return outcome


def look_at_streams(asked: Invocation, outcome: Outcome, said: str, complained: str) -> None:
    """One clear line where something is refused, nothing on stderr where all is well, and nothing that a terminal obeys."""
    lines = complained.splitlines()
    if complained.startswith("Usage: pageblock"):
        # a group without a subcommand shows its help
        return
    if outcome == "refused":
        # several files: each that cannot be read is a line, and the others are answered
        several = most_lines(asked.args)
        if said and several == 1:
            raise Fault("refused, but something was printed", repr(said[:200]))
        if not 1 <= len(lines) <= several or not complained.endswith("\n"):
            raise Fault(f"refused in {len(lines)} lines", repr(complained[:400]))
    elif outcome == "answered" and lines:
        raise Fault("answered, but something is on stderr", repr(complained[:300]))
    for line in lines:
        if not line.startswith("pageblock: ") or len(line) < 20:
            raise Fault("not a clear line", repr(line[:200]))
        if len(line) > MOST_LINE:
            raise Fault("a line too long to read", f"{len(line)} characters: {line[:200]!r}")
    for text, name in ((said, "stdout"), (complained, "stderr")):
        found = CONTROLS.intersection(text)
        if found:
            at = min(text.index(c) for c in found)
            raise Fault(f"control characters on {name}", repr(text[max(0, at - 60) : at + 20]))
    if outcome != "refused" and said and {"--json", "--jsonl"}.intersection(asked.args) and "--help" not in asked.args:
        try:
            json.loads(said, parse_constant=not_json)
        except ValueError as error:
            raise Fault("no JSON", f"{error}: {said[:200]!r}") from error


def most_lines(args: Sequence[str]) -> int:
    """Lines that a refusal may have: one for each file that is named, where a command takes several."""
    if args[0] not in ("explain", "replay"):
        return 1
    dashes = args.index("--") if "--" in args else len(args)
    files = [arg for arg in args[1:dashes] if arg == "-" or not arg.startswith("-")]
    return max(1, len(files) + len(args[dashes + 1 :]))


def not_json(name: str) -> None:
    raise ValueError(f"{name} is not in JSON")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, and of folders in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kept_batches(before: dict[str, bytes], after: dict[str, bytes]) -> bool:
    """Whether nothing changed, but that finished batches of a sweep, with its own file, are kept to go on with."""
    new = {name for name in after if before.get(name) != after[name]}
    swept = {name for name in new if Path(name).parent != Path() and "runs-" in name}
    if not before.keys() <= after.keys():
        return False
    return not new or (bool(swept) and new - swept == {str(Path(min(swept)).with_name("sweep.json"))})


def look_at_files(outcome: Outcome, before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Files are there whole or not at all: nothing new and nothing changed after a refusal, no rest of a file ever."""
    if outcome == "refused" and not kept_batches(before, after):
        raise Fault("refused, but files changed", ", ".join(sorted(after)))
    for name, data in after.items():
        if name not in before and (Path(name).name.startswith(".") or not data):
            raise Fault("a rest of a file was left", name)
    if set(before) - set(after):
        raise Fault("a file is gone", ", ".join(sorted(set(before) - set(after))))
