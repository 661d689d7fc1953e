"""Traces as workloads: every request, at its time, for as long as its page lived."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pageblock.errors import InputError
from pageblock.lab.replay import replay
from pageblock.lab.run import Settings, run
from pageblock.lab.traced import Traced, _lives, load_trace
from pageblock.lab.workload import FOREVER, TICK

RECORDINGS = Path(__file__).parent.parent / "recordings"
TRACE = RECORDINGS / "6.1-thp-s106.txt.zst"


def events(path: Path, rows: list[tuple[int, str, int | None, int, int, str]], key: str = "pageblock.events") -> Path:
    """A file of allocation events: (ms, event, pfn, order, migratetype, gfp)."""
    names = ("time_ns", "event", "pfn", "order", "migratetype", "gfp")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    types = (pa.int64(), pa.string(), pa.uint64(), pa.int8(), pa.int8(), pa.string())
    table = pa.table({n: pa.array(columns[n], t) for n, t in zip(names, types, strict=True)})
    table = table.set_column(0, "time_ns", pa.array([ms * 1_000_000 for ms in columns["time_ns"]], pa.int64()))
    for name in ("event", "gfp"):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].dictionary_encode())
    pq.write_table(table.replace_schema_metadata({key: "1"}), path)
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
    path = events(
        tmp_path / "day.parquet",
        [
            (1000, "mm_page_alloc", 10, 0, 1, "GFP_HIGHUSER_MOVABLE|__GFP_ZERO"),
            (1050, "mm_page_alloc", 64, 3, 0, "GFP_ATOMIC|__GFP_COMP"),
            (1090, "mm_page_alloc", None, 9, 1, "GFP_TRANSHUGE"),
            (1100, "mm_page_free", 7, 0, 0, ""),
            (1150, "mm_page_free", 64, 3, 0, ""),
            (1150, "mm_page_free_batched", 64, 0, 0, ""),
            (1250, "mm_compaction_end", None, 0, 0, ""),
            (1250, "mm_page_alloc", 10, 1, 2, "GFP_KERNEL|__GFP_RECLAIMABLE"),
        ],
    )
    workload, ticks = load_trace(path)
    (traced,) = workload.actors
    assert isinstance(traced, Traced)
    assert (workload.name, ticks, workload.tick_seconds) == ("day", 3, 0.1)
    table = traced.table
    assert table["order"].tolist() == [0, 3, 1]
    assert table["op"].tolist() == [1, 5, 1]
    assert table["migratetype"].tolist() == [1, 0, 2]
    assert table["flags"].tolist() == [2, 0x21, 5]
    assert table["life"].tolist() == [FOREVER, TICK, FOREVER]
    assert table["at"].tolist() == [0, TICK // 2, TICK // 2]
    assert traced.ticks.tolist() == [0, 2, 2, 3]
    # a refused request, a page from before, an event of another kind
    assert traced.left_out == 3


def test_events_run(tmp_path: Path) -> None:
    rows = [(i, "mm_page_alloc", i, 0, i % 3, "GFP_KERNEL") for i in range(500)]
    path = events(tmp_path / "day.parquet", [*rows, *[(600 + i, "mm_page_free", i, 0, 0, "") for i in range(400)]])
    workload, ticks = load_trace(path)
    done = run(workload, Settings(memory_bytes=16 << 20, ticks=ticks + 1))
    assert (done.summary["requests"], done.summary["pages_freed"]) == (500, 400)


@pytest.mark.parametrize("what", ["other", "cut", "text"])
def test_files_that_are_no_trace_are_refused(what: str, tmp_path: Path) -> None:
    path = events(
        tmp_path / "e.parquet", [(1, "mm_page_alloc", 1, 0, 1, "")], "other" if what == "other" else "pageblock.events"
    )
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    if what == "text":
        path.write_text("hello\n")
    with pytest.raises(InputError) as refused:
        load_trace(path)
    assert "\n" not in str(refused.value)
    assert path.name in str(refused.value)
