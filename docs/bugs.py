"""Write the table of docs/bugs.md: ``python docs/bugs.py docs/bugs.md``. Each bug is planted and looked for now.

A row stands for one command or search; nothing of it is written by hand but which way of looking is used.
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pageblock.cli import main
from pageblock.mm.release import FAULTS, PLANTED
from pageblock.view.terminal import counted

__all__ = ["BUGS", "Bug", "Found", "found", "rewritten", "table"]

BEGIN, END = "<!-- bugs: made by docs/bugs.py -->", "<!-- end of bugs -->"


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug: its release, what it is, since when, the arguments of ``pageblock check`` that find it."""

    release: str
    what: str
    since: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """How it was found: by which command, after how many of what, the shortest sequence, what says so."""

    command: str
    after: str
    sequence: tuple[str, ...]
    speaks: str


def _explore(release: str, held_to: str, *options: str) -> tuple[str, ...]:
    # one thread: with two the number of states at the end is not always the same
    return (
        "explore",
        "--release",
        release,
        *(("--held-to", held_to) if held_to != release else ()),
        *options,
        "--jobs",
        "1",
    )


def _planted(name: str, *options: str) -> Bug:
    planted = PLANTED[name]
    release = f"{planted.base}+bug-{name}"
    return Bug(release, planted.title, planted.since, _explore(release, planted.base, *options))


def _fault(letter: str, *options: str) -> Bug:
    release = f"seed+f{letter}"
    arguments = _explore(release, "seed", *options)
    return Bug(release, FAULTS[letter].title, "patch 4 as posted, 19 January 2022", arguments)


WITH_CMA = ("--operations", "alloc,contig,cma")
WIDE = ("--max-order", "3")

BUGS: tuple[Bug, ...] = (
    Bug(
        "naive",
        "isolating a part of a large free page moves and counts nothing, giving it back counts it",
        "what the founding series would do without its patches 3 and 4 (8.1 B')",
        _explore("naive", "naive"),
    ),
    _planted("merges-isolated"),
    _planted("merges-cma", *WITH_CMA),
    _fault("a", *WIDE),
    _fault("b", *WIDE, "--operations", "alloc,isolate,contig,interrupt"),
    _fault("c", *WIDE),
    Bug(
        "seed+fd",
        FAULTS["d"].title,
        "patch 4 as posted, 19 January 2022",
        ("fuzz", "--release", "seed", "--model", "seed+fd", "--seed", "5", "--ops", "64000"),
    ),
    _fault("f", *WIDE),
    _fault("g", *WIDE),
    _planted("uncounted-split"),
    _planted("misaligned-split", *WIDE),
    _planted("isolated-twice"),
    _planted("saved-type", *WITH_CMA),
    Bug(
        "6.1+bug-tail-size",
        PLANTED["tail-size"].title,
        PLANTED["tail-size"].since,
        ("explore", "--release", "6.1+bug-tail-size", "--gigantic"),
    ),
)


def found(bug: Bug) -> Found:
    """Look for it. Raises AssertionError where it is not found."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = main(["check", *bug.arguments, "--json"])
    assert code == 1, f"{bug.release}: not found by {' '.join(bug.arguments)}"
    told = json.loads(text.getvalue())
    command = "pageblock check " + " ".join(bug.arguments)
    if bug.arguments[0] == "fuzz":
        (one,) = told["differences"]
        words = f"the model answers {one['model']}, the reference {one['reference']}"
        steps = one["operations"]
        shown = tuple(steps) if len(steps) < 5 else (f"… {len(steps) - 1} operations …", steps[-1])
        return Found(command, f"{counted(told['operations'], 'operation')}, {len(steps)} left", shown, words)
    violation = told["violation"]
    steps = tuple(_step(step) for step in violation["steps"])
    return Found(command, counted(told["states"], "state"), steps or ("(boot)",), violation["words"])


def _step(step: dict[str, Any]) -> str:
    result = step.get("result")
    answer = f": {result}" if isinstance(result, int) and -133 < result < 0 and result != -131 else ""
    return f"{step['operation']}{answer}"


def table() -> Iterator[str]:
    """The lines of the table."""
    yield "| release | what | since | found by | after | shortest sequence | what speaks |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for bug in BUGS:
        one = found(bug)
        cells = (
            f"`{bug.release}`",
            bug.what,
            bug.since,
            f"`{one.command}`",
            one.after,
            "; ".join(one.sequence),
            one.speaks,
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def rewritten(text: str) -> str:
    """The document with its table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n" + "\n".join(table()) + f"\n{END}{after}"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(rewritten(document.read_text()))
