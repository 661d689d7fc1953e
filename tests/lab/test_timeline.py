"""Timelines: what the counters say is what the zone says, and each range that was tried is there with its outcome."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pageblock import Zone
from pageblock.errors import InputError
from pageblock.lab.alloc_trace import NEVER, AllocationTrace, Attempt
from pageblock.lab.run import Settings, run
from pageblock.lab.series_file import RUN_KEY, write_series
from pageblock.lab.timeline import (
    Counter,
    Sampler,
    attempt_slices,
    is_run_file,
    replay_timeline,
    run_timeline,
    thinned,
    trace_timeline,
)
from pageblock.lab.workload import load_workload
from pageblock.machine.record import decoded
from tests.lab.test_alloc_trace import alloc, free, isolated, trace
from tests.machine.alloc_data import recording

RECORDINGS = Path(__file__).parent.parent / "recordings"


def last(counters: list[Counter] | tuple[Counter, ...]) -> dict[str, int]:
    return {one.name: int(one.values[-1]) for one in counters}


def test_the_sampler_counts_what_the_zones_have() -> None:
    zones = [Zone(4096), Zone(2048)]
    sampler = Sampler(zones)
    sampler.look(0)
    zones[0].alloc(3, 0)
    sampler.look(10)
    free_now = zones[0].free_counts() + zones[1].free_counts()
    found = sampler.counters()
    assert last(found)["free pages"] == 6144 - 8
    for one in found[1:]:
        order, name = one.name.removeprefix("order ").split()
        assert int(one.values[-1]) == free_now[int(order), ["UNMOVABLE", "MOVABLE"].index(name)]
        assert one.group == f"free blocks {name}"
    assert last(found)["order 10 MOVABLE"] == 5
    # what never has a block has no counter
    assert not any("CMA" in one.name or "HIGHATOMIC" in one.name for one in found)


def test_a_trace_is_run_and_sampled() -> None:
    found = AllocationTrace.of(decoded(recording()))
    line = trace_timeline(found, "6.12", samples=50)
    [pages] = [one for one in line.counters if one.name == "free pages"]
    assert 10 < len(pages.times_ns) <= 60
    assert not np.any(np.diff(pages.times_ns) < 0)
    left = found.blocks[found.blocks["end_ns"] == NEVER]
    assert pages.values[-1] == pages.values[0] - int((np.int64(1) << left["order"].astype(np.int64)).sum())
    assert (line.about["release"], line.about["refused"]) == ("6.12", 0)
    assert line.about["operations"] == len(found.blocks) * 2 - len(left)
    # what had to be modelled is said
    assert line.about["before"] == str(found.unknown.before)


def test_attempts_are_there_with_their_outcome_and_until_they_are_given_back() -> None:
    line = trace_timeline(
        trace(alloc(0, 5), isolated(10, 8, 10, 10), free(20, 8), free(30, 9), isolated(40, 16, 32, 20))
    )
    assert [(one.group, one.name, one.start_ns, one.end_ns) for one in line.slices] == [
        ("attempts", "contiguous range of 2 pages: had", 10, 10),
        ("ranges in use", "2 pages", 10, 30),
        ("attempts", "contiguous range of 16 pages: errno -16", 40, 40),
    ]
    assert line.slices[2].args == {
        "pages": 16,
        "errno": -16,
        "outcome": "errno -16",
        "pfn": "0x10",
        "why": "pfn 0x14 is not free",
    }


def test_what_is_not_given_back_lasts_to_the_end() -> None:
    had = Attempt(5, 9, NEVER, "cma", 64, 4, 2, 0, "linux,cma")
    attempt, held = attempt_slices([had], 100)
    assert (attempt.start_ns, attempt.end_ns, attempt.args["area"]) == (5, 9, "linux,cma")
    assert (held.start_ns, held.end_ns) == (9, 100)


def test_a_block_that_the_machine_does_not_have_is_one_line() -> None:
    with pytest.raises(InputError, match="a block of order 12, and max order is 10"):
        trace_timeline(trace(alloc(0, 4096, 12)))


def test_a_replay_shows_every_contiguous_range() -> None:
    path = next(iter(sorted(RECORDINGS.glob("6.1-mixed-*.zst"))))
    line = replay_timeline(path, samples=40)
    attempts = [one for one in line.slices if one.group == "attempts"]
    assert len(attempts) > 10
    assert {str(one.args["outcome"]) for one in attempts} >= {"had", "errno -16"}
    assert all(len(one.times_ns) <= 41 for one in line.counters)
    assert line.about["kernel"] == "6.1.0-56-amd64"
    assert "divergence" not in line.about


def test_what_is_no_trace_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello\n")
    with pytest.raises(InputError):
        replay_timeline(path)


def test_a_counter_keeps_its_last_value() -> None:
    times = np.arange(1000)
    found = thinned(Counter("g", "c", "u", times, times * 2), 10)
    assert len(found.times_ns) <= 11
    assert (found.times_ns[0], found.times_ns[-1], found.values[-1]) == (0, 999, 1998)


# ---- runs ----


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with a CMA area, in which some ranges are had and some are not."""
    path = tmp_path_factory.mktemp("run") / "camera.parquet"
    settings = Settings(memory_bytes=64 << 20, cma_bytes=8 << 20, ticks=40, sample_every=5)
    write_series(path, run(load_workload("camera"), settings))
    return path


def test_a_run_has_its_series_as_counters(camera: Path) -> None:
    table = pq.read_table(camera)
    line = run_timeline(camera)
    counters = {one.name: one for one in line.counters}
    assert counters["free pages"].values.tolist() == table["free_pages"].to_pylist()
    assert counters["free pages"].times_ns.tolist() == [int(s * 1e9) for s in table["seconds"].to_pylist()]
    orders = [row[0] for row in table["free_movable"].to_pylist()]
    assert counters["order 0 MOVABLE"].values.tolist() == orders
    blocked = [one for one in line.counters if one.name == "ranges blocked"]
    assert [one.values[-1] for one in blocked] == table["ranges_blocked"][-1].as_py()
    assert (line.name, line.about["release"], line.about["cma_bytes"]) == ("camera", "6.1", 8 << 20)


CMA_ENDS = ("cma_success", "cma_fail_busy", "cma_fail_no_room", "cma_fail_no_memory")


def test_a_run_has_each_attempt_once_with_its_outcome(camera: Path) -> None:
    table = pq.read_table(camera)
    last = {name: table[name][-1].as_py() for name in CMA_ENDS}
    slices = run_timeline(camera).slices
    had = [one for one in slices if one.args["outcome"] == "had"]
    assert len(slices) == sum(last.values()) > len(had) == last["cma_success"] > 0
    assert all("pfn" in one.args for one in had)
    refused = [one for one in slices if one not in had]
    assert {one.args["errno"] for one in refused} <= {-12, -16}
    times = [one.start_ns for one in slices]
    assert times == sorted(times)
    assert times[-1] <= table["seconds"][-1].as_py() * 1e9


def test_a_run_that_is_not_whole_is_one_line(camera: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    table = pq.read_table(camera)
    pq.write_table(table.drop_columns(["attempts"]), other)
    with pytest.raises(InputError, match="no whole run"):
        run_timeline(other)
    assert is_run_file(other)
    other.write_bytes(camera.read_bytes()[:-9])
    assert not is_run_file(other)


@pytest.mark.parametrize("what", ["no sample", "time", "null", "no release", "page size"])
def test_a_run_that_nothing_ran_is_one_line(camera: Path, tmp_path: Path, what: str) -> None:
    """Whole Parquet files of the right columns, in which what stands there makes no sense."""
    table = pq.read_table(camera)
    key = RUN_KEY.encode()
    told = json.loads(table.schema.metadata[key])
    if what == "no sample":
        table = table.slice(0, 0)
    elif what == "time":
        seconds = table["seconds"].to_pylist()
        table = table.set_column(1, "seconds", pa.array([seconds[-1], *seconds[1:]]))
    elif what == "null":
        table = table.set_column(2, "free_pages", pa.nulls(len(table), pa.int64()))
    elif what == "page size":
        told["settings"]["page_size"] = 0
    else:
        del told["settings"]["release"]
    other = tmp_path / "other.parquet"
    pq.write_table(table.replace_schema_metadata({key: json.dumps(told)}), other)
    with pytest.raises(InputError, match="no whole run") as refused:
        run_timeline(other)
    assert "\n" not in str(refused.value)


def test_a_number_that_a_timeline_cannot_hold_is_told_as_text(camera: Path, tmp_path: Path) -> None:
    table = pq.read_table(camera)
    told = json.loads(table.schema.metadata[RUN_KEY.encode()])
    told["settings"]["seed"] = 1 << 70
    other = tmp_path / "other.parquet"
    pq.write_table(table.replace_schema_metadata({RUN_KEY.encode(): json.dumps(told)}), other)
    assert run_timeline(other).about["seed"] == str(1 << 70)
