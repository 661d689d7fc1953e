"""Many cases, each drawn from its kind, the seed and its number alone; a batch in a process of its own.

A case that ends its process, or does not end, is known by its number, which is written before it is begun; the batch goes on
behind it.
"""

import faulthandler
import gc
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NoReturn

from .archive import ask_archive, ask_sosreport
from .arguments import Surface, ask_arguments
from .consumers import ask_consumers
from .dump import ask_core
from .events import ask_events
from .judge import OLD, Fault, Main, Outcome, judge
from .lab import ask_results, ask_series, ask_sweep, ask_workload
from .log import ask_log
from .machine import Invocation
from .saved import ask_explored, ask_fuzzed
from .snapshot import ask_dump, ask_snapshot
from .trace import ask_trace
from .zone import ask_batch, ask_state, ask_zone

__all__ = ["BATCH", "ENDS", "KINDS", "Case", "Finding", "Result", "Target", "campaign", "cases_of", "run_case"]

#: Kinds that call the command line, and how they are drawn.
COMMANDS: dict[str, Callable[[Path, Path, Random], Invocation]] = {
    "dump": ask_dump,
    "archive": ask_archive,
    "sosreport": ask_sosreport,
    "snapshot": ask_snapshot,
    "core": ask_core,
    "trace": ask_trace,
    "log": ask_log,
}

#: Kinds that break what the command line itself made before.
MADE: dict[str, Callable[[Main, Path, Path, Random], Invocation]] = {
    "workload": ask_workload,
    "sweep": ask_sweep,
    "events": ask_events,
    "series": ask_series,
    "results": ask_results,
    "explored": ask_explored,
    "fuzzed": ask_fuzzed,
}

#: Kinds that call the package.
CALLS: dict[str, Callable[[Random], Outcome]] = {
    "zone": ask_zone,
    "batch": ask_batch,
    "state": ask_state,
    "consumers": ask_consumers,
}

#: Kind -> its share of the cases: what is quick is asked more often.
KINDS = {
    "dump": 9, "archive": 4, "sosreport": 3, "snapshot": 6, "core": 2, "trace": 12, "log": 14, "arguments": 10,
    "zone": 18, "batch": 10, "state": 6, "consumers": 6,
    "workload": 10, "sweep": 6, "events": 10, "series": 6, "results": 6, "explored": 3, "fuzzed": 3,
}  # fmt: skip

#: How a case ends.
ENDS = ("answered", "no", "refused", "failed")

#: Cases of a batch, and bytes of address space that a batch may use.
BATCH = 500
MOST_MEMORY = 12 << 30

#: Bytes that a single small case may add to the memory in use: more is an array that its input asked for.
MOST_GROWTH = 3 << 30


@dataclass(frozen=True, slots=True)
class Case:
    """What makes a case."""

    kind: str
    seed: int
    number: int

    def random(self) -> Random:
        """The source of its chances."""
        return Random(f"{self.kind}/{self.seed}/{self.number}")


@dataclass(frozen=True, slots=True)
class Target:
    """What is tried: the command line, and its subcommands with what they take."""

    main: Main
    surface: Surface


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that broke a rule: which (``kind``), and what was seen (``text``)."""

    case: Case
    kind: str
    text: str


@dataclass(slots=True)
class Result:
    """What came of the cases so far: by kind, how many and how they ended; findings, the first of each sort, and how often."""

    cases: dict[str, int] = field(default_factory=dict)
    ended: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    repeated: dict[str, int] = field(default_factory=dict)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Cases that were run."""
        return sum(self.cases.values())

    def add(self, case: Case, ended: str, text: str, kind: str, seconds: float) -> None:
        """Count a case. ``kind``, ``text``: of the finding, if it is one."""
        self.cases[case.kind] = self.cases.get(case.kind, 0) + 1
        counts = self.ended.setdefault(case.kind, {})
        counts[ended] = counts.get(ended, 0) + 1
        # even what took no time that can be told
        if seconds > self.slowest.get(case.kind, (-1.0, 0))[0]:
            self.slowest[case.kind] = seconds, case.number
        if kind:
            self.repeated[kind] = self.repeated.get(kind, 0) + 1
            if self.repeated[kind] == 1:
                self.findings.append(Finding(case, kind, text))

    def merge(self, other: "Result") -> None:
        """Count what another one counted, too."""
        for kind, counts in other.ended.items():
            mine = self.ended.setdefault(kind, {})
            for end, count in counts.items():
                mine[end] = mine.get(end, 0) + count
            self.cases[kind] = self.cases.get(kind, 0) + other.cases[kind]
            self.slowest[kind] = max(self.slowest.get(kind, (0.0, 0)), other.slowest[kind])
        self.findings += [found for found in other.findings if found.kind not in self.repeated]
        for sort, times in other.repeated.items():
            self.repeated[sort] = self.repeated.get(sort, 0) + times


def cases_of(kinds: Sequence[str], seed: int, count: int) -> list[Case]:
    """So many cases, the kinds by their shares, the cases of a kind numbered from 0."""
    total = sum(KINDS[kind] for kind in kinds)
    found: list[Case] = []
    for kind in kinds:
        found += [Case(kind, seed, number) for number in range(-(-count * KINDS[kind] // total))]
    # each batch has some of all, so that the counts grow together
    return sorted(found, key=lambda case: (case.number / KINDS[case.kind], case.kind))[:count]


def run_case(case: Case, target: Target, folder: Path) -> Outcome:
    """Run a case in this process, with files in an empty folder. Raises Fault."""
    random = case.random()
    if case.kind in CALLS:
        return CALLS[case.kind](random)
    out = folder / "out"
    out.mkdir()
    for name in ("page.html", "page.prom", "machine.parquet"):
        if random.random() < 0.5:
            (out / name).write_bytes(OLD)
    os.chdir(folder)
    if case.kind == "arguments":
        asked = ask_arguments(target.surface, folder, out, random)
    elif case.kind in MADE:
        asked = MADE[case.kind](target.main, folder, out, random)
    else:
        asked = COMMANDS[case.kind](folder, out, random)
    try:
        return judge(asked, target.main, out)
    except Fault as fault:
        raise Fault(fault.kind, f"{fault} — pageblock {' '.join(asked.args)!r:.400}") from fault


def work(cases: Sequence[Case], target: Target, pipe: int, folder: Path) -> NoReturn:
    """The life of a batch's process: a line before and a line after each case."""
    faulthandler.enable()
    # above what is mapped already: a sanitizer's shadow is terabytes
    most = MOST_MEMORY + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        # a search inside a search
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    for number, case in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        os.write(pipe, b"?\n")
        began, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kind = text = ""
        try:
            ended: str = run_case(case, target, place)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) << 10
            if grown > MOST_GROWTH:
                raise Fault("took too much memory", f"{grown >> 20} MiB")
        except Fault as fault:
            ended, kind, text = "failed", fault.kind, str(fault)
        except BaseException as error:
            ended, kind, text = "failed", f"in the check itself: {type(error).__name__}", f"{error!r:.300}"
        os.chdir("/")
        shutil.rmtree(place, ignore_errors=True)
        line = json.dumps([ended, kind, text, round(time.monotonic() - began, 3)])
        os.write(pipe, line.encode("ascii") + b"\n")
        if number % 50 == 49:
            gc.collect()
    os._exit(0)


@dataclass(slots=True)
class Batch:
    """A process, what it runs, how far it is, and what it wrote so far."""

    cases: Sequence[Case]
    pid: int
    pipe: int
    folder: Path
    errors: int
    chunk: int
    done: int = 0
    begun: float = field(default_factory=time.monotonic)
    rest: bytes = b""


def start(cases: Sequence[Case], target: Target, chunk: int = 0) -> Batch:
    """Begin a batch of a chunk's cases."""
    folder = Path(tempfile.mkdtemp(prefix="pageblock-bad-"))
    errors = os.memfd_create("errors")
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Batch(cases, pid, reading, folder, errors, chunk)
    try:
        os.close(reading)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work(cases, target, writing, folder)
    finally:
        os._exit(70)


def tail(batch: Batch) -> str:
    """What a process said when it died: our innermost line, where the interpreter told."""
    said = os.pread(batch.errors, 1 << 16, 0).decode("utf-8", "replace")
    ours = [line.strip() for line in said.splitlines() if "pageblock" in line and "badinput" not in line]
    return ours[0] if ours else said[-200:].replace("\n", " ")


def campaign(
    cases: Sequence[Case],
    target: Target,
    jobs: int,
    limit: float,
    done: Mapping[int, Result] | None = None,
    finished: Callable[[int, Result], None] | None = None,
) -> Iterator[Result]:
    """Run cases on several processes; the result so far, each time that one came in. ``limit``: seconds a case may take.

    ``done``: what came of chunks (``BATCH`` cases each, in their order) that are not run again; one that has other than the cases
    it would have now is. ``finished`` is told each chunk that ended.
    """
    result = Result()
    waiting: list[tuple[int, Sequence[Case]]] = []
    parts: dict[int, Result] = {}
    for number, at in enumerate(range(0, len(cases), BATCH)):
        chunk = cases[at : at + BATCH]
        before = (done or {}).get(number)
        if before is not None and before.total == len(chunk):
            result.merge(before)
        else:
            waiting.append((number, chunk))
            parts[number] = Result()
    missing = {number: len(chunk) for number, chunk in waiting}
    running: list[Batch] = []
    if not waiting:
        yield result

    def ended(batch: Batch, why: str) -> None:
        selector.unregister(batch.pipe)
        running.remove(batch)
        waiting.extend((batch.chunk, rest) for rest in finish(batch, result, parts[batch.chunk], why))
        if parts[batch.chunk].total == missing[batch.chunk] and finished is not None:
            finished(batch.chunk, parts.pop(batch.chunk))

    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    number, some = waiting.pop(0)
                    batch = start(some, target, number)
                    running.append(batch)
                    selector.register(batch.pipe, selectors.EVENT_READ, batch)
                for key, _ in selector.select(timeout=1.0):
                    batch = key.data
                    data = os.read(batch.pipe, 1 << 16)
                    collect(batch, data, result, parts[batch.chunk])
                    if not data:
                        ended(batch, "")
                for batch in [b for b in running if time.monotonic() - b.begun > limit]:
                    ended(batch, f"no end after {limit:.0f} s")
                yield result
        finally:
            for batch in running:
                finish(batch, Result(), Result(), "interrupted")


def collect(batch: Batch, data: bytes, *results: Result) -> None:
    """Take in what a batch wrote."""
    *lines, batch.rest = (batch.rest + data).split(b"\n")
    for line in lines:
        batch.begun = time.monotonic()
        if line != b"?":
            ended, kind, text, seconds = json.loads(line)
            for result in results:
                result.add(batch.cases[batch.done], ended, text, kind, seconds)
            batch.done += 1


def finish(batch: Batch, result: Result, part: Result, why: str) -> list[Sequence[Case]]:
    """Wait for a process, which is ended where ``why`` says so; what is left of its batch."""
    if why:
        os.kill(batch.pid, signal.SIGABRT if why.startswith("no end") else signal.SIGKILL)
    _, status = os.waitpid(batch.pid, 0)
    os.close(batch.pipe)
    last = tail(batch)
    os.close(batch.errors)
    shutil.rmtree(batch.folder, ignore_errors=True)
    if batch.done == len(batch.cases) or why == "interrupted":
        return []
    kind = why or f"the interpreter died: {describe(status)}"
    for one in (result, part):
        one.add(batch.cases[batch.done], "failed", f"{kind}: {last}", f"{kind}: {last}", time.monotonic() - batch.begun)
    rest = batch.cases[batch.done + 1 :]
    return [rest] if rest else []


def describe(status: int) -> str:
    """How a process ended."""
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit {os.WEXITSTATUS(status)}"


#: By name, for whoever shows the counts.
Counts = Mapping[str, int]
