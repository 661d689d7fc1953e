"""Sweeps carried out: the same numbers however it is done, and nothing finished lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pageblock.errors import InputError
from pageblock.lab.sweep import Plan, carry_out, load_sweep, read_results

SWEEP = """
name = "small"
workload = "camera"
memory = "64MiB"
ticks = 8
sample_every = 4
seeds = 3
[grid]
release = ["5.15", "6.1"]
cma = ["8MiB", "16MiB"]
"""


@pytest.fixture
def small(tmp_path: Path) -> Plan:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    return load_sweep(path)


def numbers(folder: Path) -> pa.Table:
    """What a sweep found, without how long it took."""
    return read_results(folder).runs.drop_columns(["busy_seconds"])


def children(pid: int) -> list[int]:
    """Processes that this one started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            listed = task.read_text()
        except OSError:
            # it has gone meanwhile
            continue
        for child in map(int, listed.split()):
            found += [child, *children(child)]
    return found


def after_first_file(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Do something once a first batch is on disk."""

    def watch() -> None:
        for _ in range(2000):
            if any(folder.glob("runs-*.parquet")):
                act()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_one_file_a_batch_and_a_row_a_run(small: Plan, tmp_path: Path) -> None:
    done = carry_out(small, tmp_path / "out", jobs=1, batch=5)
    assert (done.total, done.here) == (12, 12)
    files = sorted((tmp_path / "out").glob("runs-*.parquet"))
    assert sorted(int(path.stem.rpartition("-")[2]) for path in files) == [2, 5, 5]
    found = read_results(tmp_path / "out")
    assert sorted(found.runs["id"].to_pylist()) == sorted(run.id for run in small.runs)
    assert found.varied == ("release", "cma")
    assert found.series(0)["tick"].to_pylist() == [0, 4, 8]


def test_processes_and_batches_change_no_number(small: Plan, tmp_path: Path) -> None:
    carry_out(small, tmp_path / "one", jobs=1)
    carry_out(small, tmp_path / "two", jobs=2, batch=3)
    assert numbers(tmp_path / "one").equals(numbers(tmp_path / "two"))


def test_resume_does_what_is_missing(small: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    carry_out(small, folder, jobs=1, batch=2)
    whole = numbers(folder)
    lost = sorted(folder.glob("runs-*.parquet"))[:2]
    for path in lost:
        path.unlink()
    (folder / ".runs-x.abc.part").write_bytes(b"half")
    assert carry_out(small, folder, jobs=1, resume=True).here == 4
    assert numbers(folder).equals(whole)
    assert not list(folder.glob(".*.part"))
    assert carry_out(small, folder, jobs=1, resume=True).here == 0


def test_results_are_never_mixed(small: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    carry_out(small, folder, jobs=1)
    with pytest.raises(InputError, match="--resume"):
        carry_out(small, folder, jobs=1)
    other = tmp_path / "other.toml"
    other.write_text(SWEEP.replace("seeds = 3", "seeds = 4"))
    with pytest.raises(InputError, match="another sweep"):
        carry_out(load_sweep(other), folder, jobs=1, resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty, and no sweep \(thesis.txt"):
        carry_out(small, tmp_path / "full", jobs=1)


def test_a_sweep_file_that_is_none_is_named(small: Plan, tmp_path: Path) -> None:
    for content in ("{", "[" * 100_000, "5"):
        (tmp_path / "sweep.json").write_text(content)
        with pytest.raises(InputError, match=r"sweep\.json"):
            carry_out(small, tmp_path, jobs=1, resume=True)


def test_a_file_that_was_cut_is_named(small: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    carry_out(small, folder, jobs=1)
    path = next(iter(sorted(folder.glob("runs-*.parquet"))))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="remove it and --resume"):
        read_results(folder)


def test_a_run_that_cannot_be_had_is_named_and_the_finished_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP.replace('cma = ["8MiB", "16MiB"]', "cma = [8388608, 0]"))
    with pytest.raises(InputError, match=r"run of .*cma=0.*needs a CMA area"):
        carry_out(load_sweep(path), tmp_path / "out", jobs=1, batch=1)
    assert len(list((tmp_path / "out").glob("runs-*.parquet"))) == 3


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(small: Plan, tmp_path: Path) -> None:
    carry_out(small, tmp_path / "quiet", jobs=1)
    path = tmp_path / "long.toml"
    path.write_text(SWEEP)
    folder = tmp_path / "out"
    killed: list[int] = []

    def kill() -> None:
        for child in children(os.getpid()):
            if b"LokyProcess" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
                killed.append(child)
                return

    watcher = after_first_file(folder, kill)
    done = carry_out(load_sweep(path), folder, jobs=2, batch=1)
    watcher.join()
    assert killed
    assert done.here == 12
    assert numbers(folder).equals(numbers(tmp_path / "quiet"))


@pytest.mark.slow
def test_after_kill_9_the_rest_is_done(small: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "pageblock",
        "sweep",
        str(tmp_path / "sweep.toml"),
        "--out",
        str(folder),
        "--batch",
        "1",
    ]
    process = subprocess.Popen([*command, "--jobs", "1"], stdout=subprocess.DEVNULL)
    after_first_file(folder, process.kill).join()
    process.wait()
    had = len(list(folder.glob("runs-*.parquet")))
    assert 1 <= had < 12
    assert carry_out(small, folder, jobs=1, resume=True).here == 12 - had
    carry_out(small, tmp_path / "quiet", jobs=1)
    assert numbers(folder).equals(numbers(tmp_path / "quiet"))
