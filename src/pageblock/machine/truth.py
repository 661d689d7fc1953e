"""What a real kernel answered for every aligned range: files ``truth_*.txt`` beside a recorded machine, plain or .zst.

A line ``G npages start node zone rc …`` is one alloc_contig_range(MOVABLE) of ``[start, start + npages)`` (absolute pfns), asked
from the recorded state and given back; rc 0, a negative errno, or ``hole``: a page is not online; ``why=U:…`` behind it:
isolation found an unmovable page. The line ``V`` names the kernel as that of a trace does. Other lines are dumps.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .words import read_pieces

__all__ = ["Answer", "Truth", "read_truth"]

#: Kernel of files that name none: as in traces, Debian's 6.1.192.
UNNAMED = "6.1.192"


@dataclass(frozen=True, slots=True)
class Answer:
    """The kernel's answer for one range. ``errno``: 0 or positive; None: the range was not asked for (a hole).

    ``unmovable``: refused for a page that isolation found unmovable, as far as the recorder says why.
    """

    nr_pages: int
    start_pfn: int
    node: int
    zone: str
    errno: int | None
    unmovable: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """``answers`` by size in pages, each in the order of the file; ``kernel``: who answered."""

    kernel: str
    answers: dict[int, list[Answer]]


def read_truth(folder: Path) -> Truth:
    """All answers of a folder.

    Raises:
        InputError: no such folder, no file of answers in it, or one that is cut off or malformed (with the line).
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; score takes a recorded machine with truth_*.txt files")
    files = sorted(path for path in folder.glob("truth_*") if path.name.endswith((".txt", ".txt.zst")))
    found: dict[int, list[Answer]] = {}
    kernel = UNNAMED
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: no regular file; replace it by a copy of the kernel's answers")
        for answer in _read(path):
            if isinstance(answer, str):
                kernel = answer
            else:
                found.setdefault(answer.nr_pages, []).append(answer)
    if not found:
        raise InputError(f"{folder}: no answers of a kernel here: truth_*.txt or truth_*.txt.zst with G lines")
    return Truth(kernel, dict(sorted(found.items())))


def _read(path: Path) -> Iterator[Answer | str]:
    """The kernel's name, where the file has one, and the answers."""
    data = b"".join(read_pieces(path)) if path.suffix == ".zst" else path.read_bytes()
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(), 1):
        if named := re.match(r"V .*\bkernel=(\S{1,64})", line):
            yield named[1]
        elif line.startswith("G "):
            yield _answer(line, path, number)


def _answer(line: str, path: Path, number: int) -> Answer:
    match = re.match(r"G ([0-9]{1,9}) ([0-9]{1,15}) ([0-9]{1,4}) (\S{1,32}) (?:(hole)|-?([0-9]{1,4}))(?:\s|$)", line)
    if match is None or not int(match[1]) or int(match[1]) & (int(match[1]) - 1):
        raise InputError(f"{path}, line {number}: {line.strip()[:60]!r} is no answer: G npages start node zone rc")
    errno = None if match[5] else int(match[6])
    return Answer(int(match[1]), int(match[2]), int(match[3]), match[4], errno, " why=U:" in line)
