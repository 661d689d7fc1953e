"""Random operations on the model and on the reference in lock-step, many cases at a time.

A case is a world and a sequence of operations, both drawn from the release, the seed and the number of the case alone, so
that a case is the same whatever runs beside it. Cases are run a chunk at a time; a chunk is what one process does and what
one line of the log tells of.
"""

import json
import operator
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from ..errors import InputError
from ..mm import release as find_release
from ..output import check_output
from ..workers import end_with
from .core import BATCH, BATCHES, CoreFinding, run_core
from .lockstep import Difference, Lockstep, Operation, run
from .reference import RELEASES, rules_of
from .shrink import shrink
from .workload import HANDLES, Workload
from .world import World, random_world

__all__ = ["CASES", "OPERATIONS", "Campaign", "Case", "Chunk", "Finding", "campaign", "draw_case", "shortest"]

#: Operations of a case, and cases of a chunk.
OPERATIONS = 4000
CASES = 16

#: Cases of a chunk where the core runs alone.
CORE_CASES = 10


@dataclass(frozen=True, slots=True)
class Case:
    """What makes a case: the rest is drawn from it. ``model``: the model's release, if it is to differ."""

    release: str
    seed: int
    number: int
    model: str | None = None

    def random(self) -> Random:
        """The source of its chances."""
        return Random(f"{self.release}/{self.seed}/{self.number}")


@dataclass(frozen=True, slots=True)
class Finding:
    """A case in which the two parted: the world, the operations up to there, where."""

    case: Case
    world: World
    operations: tuple[Operation, ...]
    difference: Difference


@dataclass(frozen=True, slots=True)
class Campaign:
    """What to run: chunks of cases, the releases taking turns.

    ``interval``: operations between comparisons of states; ``core``: the model alone, with its own invariants.
    """

    releases: tuple[str, ...]
    seed: int
    interval: int
    model: str | None = None
    core: bool = False

    @property
    def cases(self) -> int:
        """Cases of a chunk."""
        return CORE_CASES if self.core else CASES

    @property
    def chunk_operations(self) -> int:
        """Operations of a chunk in which nothing is found."""
        return CORE_CASES * BATCH * BATCHES if self.core else CASES * OPERATIONS

    def chunk(self, number: int) -> tuple[str, int]:
        """Release and first case of a chunk."""
        turn, which = divmod(number, len(self.releases))
        return self.releases[which], turn * self.cases


@dataclass(frozen=True, slots=True)
class Chunk:
    """What came of one chunk: operations compared, and the first finding."""

    number: int
    release: str
    first_case: int
    operations: int
    finding: Finding | CoreFinding | None


def draw_case(case: Case, interval: int) -> tuple[int, Finding | None]:
    """Run a case; operations done, and what was found."""
    random = case.random()
    world = random_world(case.release, random, case.model)
    pair = Lockstep(world, HANDLES)
    difference = pair.compare_states()
    workload = Workload(pair, random)
    done: list[Operation] = []
    while difference is None and len(done) < OPERATIONS and not pair.stopped:
        for _ in range(min(interval, OPERATIONS - len(done))):
            done.append(workload.draw())
            if pair.stopped:
                break
        difference = pair.compare(True)
    if difference is None:
        return len(done), None
    return len(done), Finding(case, world, tuple(done[: difference.operations]), difference)


def run_chunk(plan: Campaign, number: int) -> Chunk:
    """Run the cases of a chunk up to the first finding."""
    release, first = plan.chunk(number)
    operations = 0
    finding: Finding | CoreFinding | None
    for at in range(first, first + plan.cases):
        if plan.core:
            done, finding = run_core(release, plan.seed, at)
        else:
            done, finding = draw_case(Case(release, plan.seed, at, plan.model), plan.interval)
        operations += done
        if finding is not None:
            return Chunk(number, release, first, operations, finding)
    return Chunk(number, release, first, operations, None)


def _as_worker(parent: int) -> None:
    """An interrupt is for the process that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def campaign(plan: Campaign, numbers: Sequence[int], jobs: int) -> Iterator[Chunk]:
    """Run chunks, in order, on several processes."""
    if jobs == 1:
        for number in numbers:
            yield run_chunk(plan, number)
        return
    with ProcessPoolExecutor(jobs, initializer=_as_worker, initargs=(os.getpid(),)) as pool:
        waiting = [pool.submit(run_chunk, plan, number) for number in numbers[: 2 * jobs]]
        following = iter(numbers[2 * jobs :])
        try:
            while waiting:
                chunk = waiting.pop(0).result()
                for number in following:
                    waiting.append(pool.submit(run_chunk, plan, number))
                    break
                yield chunk
        finally:
            for future in waiting:
                future.cancel()


def shortest(finding: Finding, tries: int = 1500) -> Finding:
    """The finding with as few operations as shrinking leaves, each of which is needed."""

    def difference_of(operations: Sequence[Operation]) -> Difference | None:
        interval = 1 if len(operations) <= 64 else 64
        return run(finding.world, operations, HANDLES, interval)

    operations = shrink(finding.operations, lambda rest: difference_of(rest) is not None, tries)
    difference = difference_of(operations)
    if difference is None:
        # only the original intervals show it
        return finding
    return Finding(finding.case, finding.world, tuple(operations[: difference.operations]), difference)


def known_releases(names: Sequence[str]) -> tuple[str, ...]:
    """Releases that the reference has, by any name that the model knows; all of them for ().

    Raises:
        ReleaseError: no such release.
        InputError: the reference does not have it.
    """
    found = [find_release(name).name for name in names] or list(RELEASES)
    for name in found:
        if rules_of(name) is None:
            raise InputError(f"the reference has no release {name}: choose one of {', '.join(RELEASES)}")
    return tuple(dict.fromkeys(found))


def summary(finding: Finding | CoreFinding) -> dict[str, object]:
    """A finding in a few words, from which it can be run again."""
    if isinstance(finding, CoreFinding):
        return {"case": finding.case, "what": finding.invariant, "model": finding.message}
    return {"case": finding.case.number, **asdict(finding.difference)}


def lines_so_far(path: Path) -> list[bytes]:
    """Whole lines of a log, none where there is no file yet; a last line that was cut short is cut off.

    Raises:
        InputError: lines cannot be added. Before the long work.
    """
    check_output(path, force=True)
    try:
        with path.open("r+b") as file:
            text = file.read()
            whole = text.rfind(b"\n") + 1
            # a file that is no log is left alone, and refused for its first line
            if whole < len(text) and text[whole:].startswith(b'{"plan": '[: len(text) - whole]):
                file.truncate(whole)
                text = text[:whole]
            return text.splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; choose another file") from error


class Log:
    """A file with one line of JSON for each finished chunk, so that a run that was cut short counts and goes on.

    ``done``: chunk -> operations. One in which something was found is not among them: it ended there, so it is run again, and
    finds it again, or goes on where that has been mended.
    """

    def __init__(self, path: Path | None, plan: Campaign) -> None:
        self.path = path
        self.plan = plan
        self.done: dict[int, int] = {}
        for number, line in enumerate([] if path is None else lines_so_far(path), 1):
            try:
                row = json.loads(line)
                if row["plan"] != self.key():
                    continue
                chunk, operations = operator.index(row["chunk"]), operator.index(row["operations"])
                if row["finding"] is None:
                    self.done[chunk] = operations
                else:
                    self.done.pop(chunk, None)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise InputError(f"{path}, line {number}: this is no line of a fuzz log: name another file") from None

    def key(self) -> list[object]:
        """What a line must have in common with a run to count for it."""
        plan = self.plan
        return [list(plan.releases), plan.seed, plan.interval, plan.model, plan.core, plan.cases, plan.chunk_operations]

    def add(self, chunk: Chunk) -> None:
        """Write the line of a chunk."""
        if self.path is None:
            return
        row = {
            "plan": self.key(),
            "chunk": chunk.number,
            "release": chunk.release,
            "cases": [chunk.first_case, chunk.first_case + self.plan.cases],
            "operations": chunk.operations,
            "finding": None if chunk.finding is None else summary(chunk.finding),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
