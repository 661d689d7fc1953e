"""Traces as workloads: every request, at its time, for as long as its page lived."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pageblock.errors import InputError
from pageblock.lab.alloc_trace import NEVER, AllocationTrace
from pageblock.lab.replay import replay
from pageblock.lab.run import Settings, run
from pageblock.lab.traced import Traced, _lives, load_trace
from pageblock.lab.workload import FOREVER, TICK
from pageblock.machine.alloc_events import write_events
from pageblock.machine.record import decoded
from tests.lab.test_alloc_trace import alloc, free, isolated
from tests.machine.alloc_data import recording
from tests.machine.test_alloc_events import events

RECORDINGS = Path(__file__).parent.parent / "recordings"
TRACE = RECORDINGS / "6.1-thp-s106.txt.zst"


MS = 1_000_000


def day(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    """A file of allocation events."""
    path = tmp_path / "day.parquet"
    write_events(path, events(*rows))
    return path


def lives(*entries: tuple[int, bool], emptied: tuple[int, ...] = ()) -> tuple[list[int], int]:
    keys = np.array([key for key, _ in entries], np.int64)
    frees = np.array([free for _, free in entries], np.bool_)
    found, left_out = _lives(keys, np.arange(len(keys)) * 10, frees, np.array(emptied, np.int64))
    return found.tolist(), left_out


def test_a_page_lives_until_it_is_freed() -> None:
    assert lives((1, False), (2, False), (1, True), (1, False), (2, True)) == ([20, 30, -1, -1, -1], 0)


def test_frees_of_what_was_there_before_are_counted() -> None:
    assert lives((1, True), (2, False), (2, True), (2, True)) == ([-1, 10, -1, -1], 2)


def test_all_end_where_everything_is_freed() -> None:
    assert lives((1, False), (2, False), (1, True), (3, False), emptied=(15, 100))[0] == [15, 5, 80, 70]


def test_every_request_of_a_recorded_kernel_is_made() -> None:
    workload, ticks = load_trace(TRACE)
    (traced,) = workload.actors
    assert isinstance(traced, Traced)
    recorded = replay(TRACE)
    calls = sum(map(len, traced.ranges.values()))
    assert calls == recorded.contig_ranges
    freed = int((traced.table["life"] != FOREVER).sum()) + sum(
        call.life not in (0, FOREVER) for found in traced.ranges.values() for call in found
    )
    # a free is an operation of its own, unless all are freed at once
    assert len(traced.table) + calls <= recorded.operations <= len(traced.table) + calls + freed + traced.left_out
    assert ticks == -(-recorded.operations // 1024)


def test_a_recorded_kernel_s_trace_runs_under_another_release() -> None:
    workload, ticks = load_trace(TRACE)
    done = {}
    for release in ("5.15", "6.1"):
        settings = Settings(release=release, memory_bytes=128 << 20, ticks=ticks)
        done[release] = run(workload, settings).summary
    assert done["5.15"]["requests"] == done["6.1"]["requests"]
    # 6.1 still looks at the whole pageblocks at the ends of a range
    assert int(done["5.15"]["tries_false_busy"]) > int(done["6.1"]["tries_false_busy"]) > 0


def test_a_trace_with_cma_needs_an_area() -> None:
    traces = sorted((RECORDINGS.parent.parent.parent / "shared" / "traces" / "linux-6.1.192-cma").glob("*.zst"))
    if not traces:
        pytest.skip("../shared is not there")
    workload, _ = load_trace(traces[0])
    with pytest.raises(InputError, match="needs a CMA area"):
        run(workload, Settings(memory_bytes=128 << 20, ticks=1))


def test_events_become_requests(tmp_path: Path) -> None:
    path = day(
        tmp_path,
        alloc(1000 * MS, 10, gfp="GFP_HIGHUSER_MOVABLE|__GFP_ZERO"),
        alloc(1050 * MS, 64, 3, 0, "GFP_ATOMIC|__GFP_COMP"),
        alloc(1090 * MS, None, 9, 1, "GFP_TRANSHUGE"),
        free(1100 * MS, 7),
        free(1150 * MS, 64, 3),
        {**free(1150 * MS, 64), "event": "mm_page_free_batched"},
        {"time_ns": 1250 * MS, "event": "mm_compaction_end"},
        alloc(1250 * MS, 12, 1, 2, "GFP_KERNEL|__GFP_RECLAIMABLE"),
    )
    workload, ticks = load_trace(path)
    (traced,) = workload.actors
    assert isinstance(traced, Traced)
    assert (workload.name, ticks, workload.tick_seconds) == ("day", 3, 0.1)
    table = traced.table
    # the page that was there before the trace is asked for as it begins, and freed when it was
    assert table["order"].tolist() == [0, 0, 3, 1]
    assert table["op"].tolist() == [1, 1, 5, 1]
    assert table["migratetype"].tolist() == [1, 1, 0, 2]
    assert table["flags"].tolist() == [2, 2, 0x21, 5]
    assert table["life"].tolist() == [TICK, FOREVER, TICK, FOREVER]
    assert table["at"].tolist() == [0, 0, TICK // 2, TICK // 2]
    assert traced.ticks.tolist() == [0, 3, 3, 4]
    # the request that got nothing
    assert traced.left_out == 1


def test_ranges_that_were_tried_are_asked_for(tmp_path: Path) -> None:
    path = day(
        tmp_path,
        alloc(0, 5),
        isolated(100 * MS, 512, 1024, 1024),
        *(free(250 * MS, pfn) for pfn in range(512, 1024)),
        isolated(300 * MS, 1024, 2048, 1030),
        isolated(300 * MS, 8, 11, 8),
    )
    workload, ticks = load_trace(path)
    (traced,) = workload.actors
    assert isinstance(traced, Traced)
    calls = {tick: [(one.kind, one.nr_pages, one.life) for one in found] for tick, found in traced.ranges.items()}
    # one that was refused is given back at once if it is had here; three pages are no alloc_contig_pages
    assert calls == {1: [("first", 512, TICK * 3 // 2)], 3: [("first", 1024, 0)]}
    assert traced.left_out == 1
    done = run(workload, Settings(memory_bytes=16 << 20, ticks=ticks))
    assert done.summary["contig_success"] == 2


def test_a_range_that_is_given_back_within_a_tick_is_there_for_the_next(tmp_path: Path) -> None:
    half = 2048
    tries = [
        row for i in range(5) for row in (isolated((i * 2 + 1) * MS, 0, half, half), free((i * 2 + 2) * MS, 0, 11))
    ]
    workload, ticks = load_trace(day(tmp_path, alloc(0, 5000), *tries))
    assert ticks == 1
    done = run(workload, Settings(memory_bytes=16 << 20, ticks=ticks))
    # 4096 pages, of which one is in use: only half of them can be had at once
    assert done.summary["contig_success"] == 5
    assert done.summary["free_pages"] == 4095


def test_a_machine_of_other_pages_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "arm.parquet"
    write_events(path, events(alloc(1, 1), page_size=65536))
    workload, _ = load_trace(path)
    with pytest.raises(
        InputError, match="is of pages of 65536 bytes, the machine's have 4096: give --geometry page-size=65536"
    ):
        run(workload, Settings(memory_bytes=1 << 30, ticks=1))
    assert run(workload, Settings(memory_bytes=1 << 30, ticks=1, page_size=65536)).summary["requests"] == 1


@pytest.mark.parametrize("release", ["5.15", "6.12"])
def test_events_run(tmp_path: Path, release: str) -> None:
    rows = [alloc(i * MS, i, mt=i % 3) for i in range(500)]
    path = day(tmp_path, *rows, *(free((600 + i) * MS, i) for i in range(400)))
    workload, ticks = load_trace(path)
    done = run(workload, Settings(release=release, memory_bytes=16 << 20, ticks=ticks + 1))
    assert (done.summary["requests"], done.summary["pages_freed"]) == (500, 400)


def test_what_a_real_kernel_did_runs_and_ends_with_what_was_not_freed(tmp_path: Path) -> None:
    path = tmp_path / "real.parquet"
    write_events(path, decoded(recording()))
    trace = AllocationTrace.read(path)
    workload, ticks = load_trace(path)
    done = run(workload, Settings(memory_bytes=256 << 20, ticks=ticks + 1))
    left = trace.blocks[trace.blocks["end_ns"] == NEVER]
    assert done.summary["requests"] == len(trace.blocks)
    assert sum(done.series["live_pages"][-1].as_py()) == int((np.int64(1) << left["order"].astype(np.int64)).sum()) > 0


@pytest.mark.parametrize("what", ["other", "cut", "text"])
def test_files_that_are_no_trace_are_refused(what: str, tmp_path: Path) -> None:
    path = day(tmp_path, alloc(1, 1))
    if what == "other":
        pq.write_table(pa.table({"a": [1]}), path)
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    if what == "text":
        path.write_text("hello\n")
    with pytest.raises(InputError) as refused:
        load_trace(path)
    assert "\n" not in str(refused.value)
    assert path.name in str(refused.value)
