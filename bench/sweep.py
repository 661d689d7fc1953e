"""What a sweep costs beside its runs, and what the second processor is worth: times of one and the same run.

Workers are started before, once for a sweep of any length: about two seconds. Times need a quiet machine; what the engine itself
computes is told as CPU time too: that of the process that hands out and writes, and of the workers for the tables they send.
"""

import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from .table import number, table

if TYPE_CHECKING:
    from pageblock.lab.sweep import Plan

__all__ = ["Swept", "measure_sweep", "print_sweep"]

#: Runs of about a second each.
RUNS = 24

#: Times that a run's table is made and packed.
REPEATS = 20

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
    """A sweep: ``seconds`` in all, ``busy`` of the runs themselves; of each run ``overhead``: seconds of the processors that are
    not the runs, ``engine``: CPU seconds of the sweep's own work, None where joblib does the runs in this
    process; ``speed``: the time of one process : this time."""

    name: str
    runs: int
    seconds: float
    busy: float
    overhead: float
    engine: float | None
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
    found = [Swept("the runs alone, one after the other", RUNS, alone, alone, 0.0, None, 1.0)]
    sent = _sending(plan)
    for jobs in (1, 2):
        # starts the processes, which joblib keeps
        path.write_text(SWEEP.format(runs=jobs, ticks=1))
        carry_out(load_sweep(path), folder / f"warm{jobs}", jobs=jobs, batch=1)
        began, used = time.perf_counter(), time.process_time()
        done = carry_out(plan, folder / f"out{jobs}", jobs=jobs, batch=1)
        seconds, own = time.perf_counter() - began, time.process_time() - used
        overhead = (seconds * jobs - done.busy_seconds) / RUNS
        name = f"sweep, {jobs} at a time, a file a run"
        found.append(
            Swept(
                name,
                RUNS,
                seconds,
                done.busy_seconds,
                overhead,
                None if jobs == 1 else own / RUNS + sent,
                alone / seconds,
            )
        )
    return found


def _sending(plan: "Plan") -> float:
    """CPU seconds in which a worker reads a batch of one run and sends its table."""
    from pageblock.lab.sweep.engine import run_batch
    from pageblock.lab.sweep.results import to_table

    (row,) = (table := run_batch(pickle.loads(pickle.dumps(plan.runs[:1])))).drop_columns(["series"]).to_pylist()
    row["series"] = pa.Table.from_struct_array(table["series"][0].values)
    began = time.process_time()
    for _ in range(REPEATS):
        pickle.loads(pickle.dumps(plan.runs[:1]))
        pickle.dumps(to_table([row]))
    return (time.process_time() - began) / REPEATS


def print_sweep(found: Sequence[Swept]) -> None:
    """Seconds, and what is not the runs."""
    head = ["", "runs", "s", "s in the runs", "ms beside, a run", "ms CPU of it, a run", "times as fast"]
    rows = []
    for s in found:
        rows.append(
            [
                *(s.name, str(s.runs), f"{s.seconds:.2f}", f"{s.busy:.2f}"),
                *(number(s.overhead * 1e3), "–" if s.engine is None else number(s.engine * 1e3), f"{s.speed:.2f}"),
            ]
        )
    print(table(head, rows))
