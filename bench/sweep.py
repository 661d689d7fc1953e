"""What a sweep costs beside its runs, and what the second processor is worth: times of one and the same run.

Workers are started before, once for a sweep of any length: about two seconds.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .table import number, table

__all__ = ["Swept", "measure_sweep", "print_sweep"]

#: Runs of about a second each.
RUNS = 24
SWEEP = """
name = "bench"
workload = "camera"
memory = "1GiB"
cma = "64MiB"
ticks = {ticks}
sample_every = 50
seeds = {runs}
"""


@dataclass(frozen=True)
class Swept:
    """A sweep: ``seconds`` in all, ``busy`` of the runs themselves, and the time of one process : this time."""

    name: str
    runs: int
    seconds: float
    busy: float
    overhead: float
    speed: float


def measure_sweep(folder: Path) -> list[Swept]:
    """The same runs one after the other in this process, by one worker and by two."""
    from pageblock.lab.run import run
    from pageblock.lab.sweep import carry_out, load_sweep

    path = folder / "sweep.toml"
    path.write_text(SWEEP.format(runs=RUNS, ticks=700))
    plan = load_sweep(path)
    began = time.perf_counter()
    for one in plan.runs:
        run(one.workload, one.settings)
    alone = time.perf_counter() - began
    found = [Swept("the runs alone, one after the other", RUNS, alone, alone, 0.0, 1.0)]
    for jobs in (1, 2):
        # starts the processes, which joblib keeps
        path.write_text(SWEEP.format(runs=jobs, ticks=1))
        carry_out(load_sweep(path), folder / f"warm{jobs}", jobs=jobs, batch=1)
        began = time.perf_counter()
        done = carry_out(plan, folder / f"out{jobs}", jobs=jobs, batch=1)
        seconds = time.perf_counter() - began
        overhead = (seconds * jobs - done.busy_seconds) / RUNS
        name = f"sweep, {jobs} at a time, a file a run"
        found.append(Swept(name, RUNS, seconds, done.busy_seconds, overhead, alone / seconds))
    return found


def print_sweep(found: Sequence[Swept]) -> None:
    """Seconds, and what is not the runs."""
    head = ["", "runs", "s", "s in the runs", "ms beside, a run", "times as fast"]
    rows = []
    for s in found:
        rows.append(
            [s.name, str(s.runs), f"{s.seconds:.2f}", f"{s.busy:.2f}", number(s.overhead * 1e3), f"{s.speed:.2f}"]
        )
    print(table(head, rows))
