"""Carry out a sweep: batches of runs by joblib, one file a batch, whatever dies on the way."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import pyarrow as pa

from ...errors import InputError, PageblockError
from ...machine import Snapshot, read_machine
from ...output import whole_file
from ...workers import end_with
from ..run import run
from .backends import worker_deaths, workers
from .plan import Plan, Run
from .results import FORMAT, RUN_FILES, SWEEP_FILE, finished, to_table, write_batch

__all__ = ["Outcome", "carry_out"]

#: Batches into which a sweep is cut, at most so many runs each: large enough for what a task costs, small enough to lose little.
BATCHES, MOST_IN_BATCH = 200, 64

#: Batches that a worker does in a round, where results come by rounds.
ROUND = 8

#: How often workers may die without any batch in between.
ATTEMPTS = 3


@dataclass(frozen=True)
class Outcome:
    """A finished sweep: runs in all, of which ``here`` were done now, in ``seconds``; ``deaths``: how often workers died."""

    total: int
    here: int
    seconds: float
    busy_seconds: float
    jobs: int
    deaths: int


def carry_out(
    plan: Plan,
    folder: Path,
    jobs: int = 0,
    cluster: str | None = None,
    *,
    resume: bool = False,
    batch: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Do the runs that are missing in ``folder``.

    Args:
        plan: the runs.
        folder: where a Parquet file a batch is written; made if it is not there.
        jobs: runs at a time; 0: one a processor.
        cluster: see ``workers``.
        resume: whether there may be results of the same sweep.
        batch: runs a file; 0: chosen.
        progress: called with runs done and runs in all.

    Raises:
        InputError: the folder holds another sweep, or some and ``resume`` is not said; no such cluster; a run that cannot be had;
            workers died again and again. Finished batches stay.
    """
    with _taken_back(folder):
        _prepare(plan, folder, resume)
        return _carry_out(plan, folder, jobs, cluster, batch, progress)


@contextmanager
def _taken_back(folder: Path) -> Iterator[None]:
    """The folder is gone again, or as empty as it was, where the sweep is refused before its first batch was written."""
    try:
        existed = folder.exists()
        fresh = not existed or (folder.is_dir() and not any(folder.iterdir()))
    except OSError:
        # what is wrong with it is told by whoever uses it
        existed, fresh = True, False
    try:
        yield
    except InputError:
        if fresh and folder.is_dir() and {path.name for path in folder.iterdir()} <= {SWEEP_FILE}:
            (folder / SWEEP_FILE).unlink(missing_ok=True)
            if not existed:
                folder.rmdir()
        raise


def _carry_out(
    plan: Plan,
    folder: Path,
    jobs: int,
    cluster: str | None,
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> Outcome:
    """Do what is missing in a folder that is prepared."""
    began = time.perf_counter()
    done = finished(folder) & {run.id for run in plan.runs}
    total, before, busy, deaths, in_vain = len(plan.runs), len(done), 0.0, 0, 0
    if progress is not None:
        progress(before, total)
    used = 0
    while missing := [one for one in plan.runs if one.id not in done]:
        if in_vain == ATTEMPTS:
            raise InputError(
                f"workers died {ATTEMPTS} times without finishing a batch ({missing[0].label}): is there memory enough? "
                f"{len(done)} of {total} runs are in {folder}; go on with --resume"
            )
        in_vain += 1
        try:
            with workers(jobs or (0 if cluster else os.cpu_count() or 1), cluster) as used:
                size = batch or min(MOST_IN_BATCH, max(1, total // BATCHES), max(1, len(missing) // used))
                for table in _tables(missing, size, used):
                    write_batch(folder, plan.name, table)
                    done.update(table["id"].to_pylist())
                    busy += sum(table["busy_seconds"].to_pylist())
                    in_vain = 0
                    if progress is not None:
                        progress(len(done), total)
        except worker_deaths():
            deaths += 1
    return Outcome(total, total - before, time.perf_counter() - began, busy, used, deaths)


def _tables(missing: Sequence[Run], size: int, used: int) -> Iterator[pa.Table]:
    """The results of these runs, a table a batch, as they come."""
    batches = [missing[i : i + size] for i in range(0, len(missing), size)]
    parent = os.getpid()
    backend, _ = joblib.parallel.get_active_backend()
    if backend.supports_return_generator:
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch=f"{3 * used}")
        yield from parallel(joblib.delayed(run_batch)(one, parent) for one in batches)
        return
    # Ray's backend gives all results of a call at once: rounds, so that what is done is on disk soon
    for i in range(0, len(batches), ROUND * used):
        yield from joblib.Parallel(batch_size=1)(
            joblib.delayed(run_batch)(one, parent) for one in batches[i : i + ROUND * used]
        )


def run_batch(runs: Sequence[Run], parent: int = 0) -> pa.Table:
    """A batch in a worker, which ends with ``parent``. Raises InputError that names the run which cannot be had."""
    end_with(parent)
    rows: list[dict[str, Any]] = []
    for one in runs:
        began = time.perf_counter()
        try:
            result = run(one.workload, one.settings, None if one.source is None else _machine(one.source))
        except PageblockError as error:
            raise InputError(f"run of {one.label}: {error}") from error
        row = {name: str(value) if isinstance(value, tuple) else value for name, value in one.values.items()}
        row |= {
            f"end_{name}" if name in row else name: value
            for name, value in result.summary.items()
            if name not in ("seed", "release", "workload")
        }
        rows.append({"id": one.id, **row, "busy_seconds": time.perf_counter() - began, "series": result.series})
    return to_table(rows)


@lru_cache(2)
def _machine(path: str) -> Snapshot:
    """A recorded machine, read once in a worker; the path must be one that each worker can read."""
    return read_machine(Path(path))


def _prepare(plan: Plan, folder: Path, resume: bool) -> None:
    """Make the folder, or make sure that it holds this very sweep."""
    known = folder / SWEEP_FILE
    told = {"format": FORMAT, "name": plan.name, "runs": len(plan.runs), "sha256": plan.digest, "sweep": plan.text}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if there and not known.is_file():
            raise InputError(f"{folder}: not empty, and no sweep ({there[0]} is in it); choose another folder")
        if not resume and any(folder.glob(RUN_FILES)):
            raise InputError(f"{folder}: a sweep is in it; --resume to do what is missing, or choose another folder")
        if there and _known(known).get("sha256") != plan.digest:
            raise InputError(f"{folder}: another sweep, or other workloads, are in it ({known}); choose another folder")
        for path in folder.glob(".*.part"):
            # of a writer that was killed
            path.unlink()
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}; choose another folder") from error
    if not there:
        with whole_file(known, force=False) as file:
            file.write(json.dumps(told, ensure_ascii=False, indent=1).encode())


def _known(path: Path) -> dict[str, Any]:
    """What the folder's sweep file says. Raises InputError where it cannot be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no file of a sweep ({error}); choose another folder") from error
    return told if isinstance(told, dict) else {}
