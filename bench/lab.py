"""Running workloads: all that ``pageblock run`` does, beside what the compiled core alone does of it, in the same run."""

import time
from dataclasses import dataclass
from typing import Any
from unittest import mock

from pageblock.lab.run import Settings, run
from pageblock.lab.workload import SHIPPED, load_workload
from pageblock.mm import Zone

__all__ = ["Runs", "measure_runs"]

ROUNDS = 3
SETTINGS = Settings(memory_bytes=1 << 30, cma_bytes=64 << 20, ticks=300, sample_every=30)


@dataclass(frozen=True)
class Runs:
    """Seconds of processor time of a workload's run on 1 GiB; each the least of its rounds.

    ``operations``: allocations and frees; ``core``: inside ``Zone.run``; ``whole``: all of the run with its samples.
    """

    name: str
    operations: int
    core: float
    whole: float

    @property
    def ratio(self) -> float:
        """Time of the whole : time in the core."""
        return self.whole / self.core


class TimedZone(Zone):
    """A zone that adds up the time of its batches."""

    seconds = 0.0

    def run(self, ops: Any, handles: Any = None, moves: Any = None) -> Any:
        """As ``Zone.run``."""
        began = time.process_time()
        results = super().run(ops, handles, moves)
        TimedZone.seconds += time.process_time() - began
        return results


def measure_run(name: str) -> Runs:
    """Run a shipped workload, timed as a whole and in its batches by turns."""
    workload = load_workload(name)
    whole, core = [], []
    operations = 0
    for _ in range(ROUNDS):
        began = time.process_time()
        done = run(workload, SETTINGS)
        whole.append(time.process_time() - began)
        operations = int(done.summary["operations"])
        TimedZone.seconds = 0.0
        with mock.patch("pageblock.lab.start.Zone", TimedZone):
            run(workload, SETTINGS)
        core.append(TimedZone.seconds)
    return Runs(name, operations, min(core), min(whole))


def measure_runs() -> list[Runs]:
    """Every workload that ships."""
    return [measure_run(name) for name in SHIPPED]
