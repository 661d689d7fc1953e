"""What may catch a mutation: fast tests of mm/ and the consumers, then recorded kernels, each in a process of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .build import NUMBER
from .guard import NOTES, TREE

__all__ = ["ROOT", "Catch", "Catchers", "copy_tests"]

ROOT = Path(__file__).resolve().parents[1]
TESTS = "tests/mm"
#: Some rules are asked for by the consumers alone, as the alignments are.
CONSUMERS = "tests/consumers"


@dataclass(frozen=True, slots=True)
class Catch:
    """Who noticed: ``kind`` is test or trace; ``by`` names it; ``how``: fails, diverges, hangs or crashes."""

    kind: str
    by: str
    how: str


@dataclass
class Catchers:
    """Tests (a copy of them in ``folder``) and traces, less those that the unmutated model fails; limits in seconds."""

    folder: Path
    traces: Sequence[Path]
    left_out: tuple[str, ...] = ()
    tests_limit: float = 600.0
    traces_limit: float = 600.0

    def catch(self, tree: Path, number: int, before: str = "") -> Catch | None:
        """The first that notices a mutation, cheapest first: the test that did so before, the others, the traces."""
        return (
            (self.tests_of(before, tree, number) if before and before not in self.left_out else None)
            or self.tests(tree, number)
            or self.replays(tree, number, self.traces)
        )

    def tests(self, tree: Path, number: int) -> Catch | None:
        """Those of mm/ first: collecting the consumers' costs as much as most mutations need."""
        return self.tests_of(TESTS, tree, number) or self.tests_of(CONSUMERS, tree, number)

    def tests_of(self, chosen: str, tree: Path, number: int) -> Catch | None:
        """The tests of a folder, or one test with all its parameters."""
        options = ["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "-p", "mutants.guard"]
        # a second of imports for each mutation, and no test here uses it
        options += ["-p", "no:hypothesispytest"]
        # names are those of tests/mm, or begin with the other folder
        options += [f"--deselect={full_name(name)}" for name in self.left_out]
        return run("test", ["-m", "pytest", full_name(chosen), *options], tree, number, self)

    def replays(self, tree: Path, number: int, traces: Sequence[Path]) -> Catch | None:
        if not traces:
            return None
        return run("trace", ["-m", "mutants.replays", *map(str, traces)], tree, number, self)

    def calibrate(self, tree: Path) -> None:
        """Run all on the unmutated model: leave out what fails already, and take limits from the time that it needs."""
        started = time.monotonic()
        while (found := self.tests(tree, 0)) is not None:
            if found.by in self.left_out or found.how != "fails":
                raise RuntimeError(f"the unmutated model {found.how} in {found.by}")
            self.left_out += (found.by,)
            started = time.monotonic()
        self.tests_limit = 30 + 8 * (time.monotonic() - started)
        started = time.monotonic()
        good = []
        for trace in self.traces:
            if (found := self.replays(tree, 0, [trace])) is None:
                good.append(trace)
            else:
                self.left_out += (found.by,)
        self.traces = good
        self.traces_limit = 30 + 8 * (time.monotonic() - started)


def full_name(name: str) -> str:
    """A test as pytest calls it; those of tests/mm are named without their folder."""
    return name if name.startswith("tests/") else f"{TESTS}/{name}"


def copy_tests(folder: Path) -> None:
    """The tests as they are now, with pytest's settings, so that later edits of them change nothing."""
    ignored = shutil.ignore_patterns("__pycache__", "recordings")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)


def run(kind: str, arguments: Sequence[str], tree: Path, number: int, catchers: Catchers) -> Catch | None:
    """Run Python with the tree's package; None if it ends well."""
    notes = tree / f"{number}-{kind}.notes"
    # not emptied: trees of ordinary Python share their files
    notes.unlink(missing_ok=True)
    notes.write_text("")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tree), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        TREE: str(tree),
        NUMBER: str(number),
        NOTES: str(notes),
    }
    environment.pop("PAGEBLOCK_UNCOMPILED", None)
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=catchers.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=catchers.tests_limit if kind == "test" else catchers.traces_limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return Catch(kind, last(notes, "start"), "hangs")
    if child.returncode == 0:
        return None
    failed = last(notes, "failed")
    if failed:
        return Catch(kind, failed, "fails" if kind == "test" else "diverges")
    running = last(notes, "start")
    if child.returncode < 0 and running:
        return Catch(kind, running, "crashes")
    if kind == "trace" and running:
        return Catch(kind, running, "fails")
    raise RuntimeError(f"{' '.join(arguments[:2])} did not run: {output[-2000:]}")


def last(notes: Path, kind: str) -> str:
    """The last note of a kind, or nothing."""
    found = [line.partition(" ")[2] for line in notes.read_text().splitlines() if line.startswith(f"{kind} ")]
    return found[-1].removeprefix(f"{TESTS}/") if found else ""
