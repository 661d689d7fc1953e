"""Events to blocks in use: what a trace tells, and what it does not, in one way and counted."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pageblock import Migratetype, PageClass, PageFlag, Zone
from pageblock.errors import InputError
from pageblock.lab.alloc_blocks import BEFORE, BETWEEN, SEEN
from pageblock.lab.alloc_trace import NEVER, AllocationTrace
from pageblock.machine.alloc_events import write_events
from pageblock.machine.record import decoded
from tests.machine.alloc_data import recording
from tests.machine.test_alloc_events import events

EMPTY = 0xFFFFFFFF


def alloc(t: int, pfn: int | None, order: int = 0, mt: int = 1, gfp: str = "GFP_KERNEL") -> dict[str, Any]:
    return {"time_ns": t, "event": "mm_page_alloc", "pfn": pfn, "order": order, "migratetype": mt, "gfp": gfp}


def free(t: int, pfn: int, order: int = 0, **more: Any) -> dict[str, Any]:
    return {"time_ns": t, "event": "mm_page_free", "pfn": pfn, "order": order, **more}


def trace(*rows: dict[str, Any], **origin: Any) -> AllocationTrace:
    return AllocationTrace.of(events(*rows, **origin))


def lives(found: AllocationTrace) -> list[tuple[int, int, int, int, int]]:
    """(start, end, pfn, order, how) of each block."""
    return [(int(b["start_ns"]), int(b["end_ns"]), int(b["pfn"]), int(b["order"]), int(b["how"])) for b in found.blocks]


def counts(found: AllocationTrace) -> dict[str, int]:
    """What was not known, without what was."""
    return {name: value for name, value in vars(found.unknown).items() if value}


def test_a_block_is_in_use_from_its_allocation_to_its_free() -> None:
    found = trace(alloc(100, 7), alloc(110, 8, 3), free(120, 7), free(130, 8, 3))
    assert lives(found) == [(0, 20, 7, 0, SEEN), (10, 30, 8, 3, SEEN)]
    assert counts(found) == {}
    assert found.most_pages == 9


def test_a_page_that_was_there_before_is_in_use_from_the_start() -> None:
    found = trace(alloc(100, 7), free(150, 9), free(160, 16, 2))
    assert lives(found) == [(0, NEVER, 7, 0, SEEN), (0, 50, 9, 0, BEFORE), (0, 60, 16, 2, BEFORE)]
    assert counts(found) == {"before": 2, "never_freed": 1}
    # nothing tells its type: most pages of a machine are on the LRU
    assert found.blocks["migratetype"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("order", [0, 2])
def test_what_is_freed_twice_was_allocated_in_between(order: int) -> None:
    found = trace(alloc(0, 8, order), free(100, 8, order), free(300, 8, order))
    assert lives(found) == [(0, 100, 8, order, SEEN), (200, 300, 8, order, BETWEEN)]
    assert counts(found) == {"between": 1}


@pytest.mark.parametrize("order", [0, 2])
def test_what_is_allocated_twice_was_freed_unseen(order: int) -> None:
    found = trace(alloc(0, 8, order), alloc(100, 8, order), free(200, 8, order))
    assert lives(found) == [(0, 100, 8, order, SEEN), (100, 200, 8, order, SEEN)]
    assert counts(found) == {"freed_unseen": 1}


def test_a_larger_block_over_pages_in_use_and_a_page_in_a_block_in_use() -> None:
    found = trace(alloc(0, 9), alloc(10, 8, 2), alloc(20, 10), free(30, 10))
    assert lives(found) == [(0, 10, 9, 0, SEEN), (10, 20, 8, 2, SEEN), (20, 30, 10, 0, SEEN)]
    assert counts(found) == {"freed_unseen": 2}


def test_a_gigantic_page_that_was_there_before_is_several_blocks() -> None:
    found = trace(alloc(0, 1 << 20), free(5, 1 << 18, 18))
    assert (counts(found)["before"], found.largest_order, found.most_pages) == (256, 10, (1 << 18) + 1)


def test_a_block_freed_in_parts_ends_with_the_last() -> None:
    found = trace(alloc(0, 8, 2), free(10, 9), free(20, 8), free(30, 10, 1))
    assert lives(found) == [(0, 30, 8, 2, SEEN)]
    assert counts(found) == {"freed_in_parts": 1}


def test_blocks_freed_as_a_larger_one_end_with_it() -> None:
    found = trace(alloc(0, 8), alloc(1, 9), alloc(2, 10, 1), free(10, 8, 2))
    assert lives(found) == [(0, 10, 8, 0, SEEN), (1, 10, 9, 0, SEEN), (2, 10, 10, 1, SEEN)]
    assert counts(found) == {"freed_as_larger": 3}


def test_a_bulk_free_counts_once() -> None:
    rows = (alloc(0, 7), {**free(9, 7), "event": "mm_page_free_batched"}, free(10, 7))
    assert lives(trace(*rows)) == [(0, 10, 7, 0, SEEN)]
    # where only the bulk was traced, it is what tells of frees
    assert lives(trace(*rows[:2])) == [(0, 9, 7, 0, SEEN)]


def test_requests_that_got_nothing_are_left_out_and_counted() -> None:
    found = trace(alloc(0, None, 9), alloc(5, 1))
    assert lives(found) == [(5, NEVER, 1, 0, SEEN)]
    assert counts(found) == {"refused": 1, "never_freed": 1}


def test_events_of_one_time_keep_their_order() -> None:
    found = trace(free(5, 3), alloc(5, 3), free(5, 3), alloc(5, 3))
    assert [(start, end) for start, end, *_ in lives(found)] == [(0, 0), (1, 2), (3, NEVER)]


def test_per_cpu_lists_are_told_by_what_did_not_come_off_the_buddy_lists() -> None:
    locked = {"event": "mm_page_alloc_zone_locked", "pfn": 1, "order": 0, "migratetype": 1}
    found = trace(
        {**locked, "percpu_refill": True}, {**locked, "percpu_refill": False}, alloc(1, 1), alloc(2, 2), alloc(3, 16, 4)
    )
    # two requests of orders with such lists, one of them past the lists
    assert found.unknown.from_percpu_lists == 1
    assert trace(alloc(1, 1)).unknown.from_percpu_lists is None


def test_what_compaction_moved_and_what_the_source_lost_is_passed_on() -> None:
    moved = {"event": "mm_compaction_migratepages", "fields": '{"nr_migrated": 31, "nr_failed": 1}'}
    found = trace(alloc(0, 1), moved, lost=-1)
    assert (found.unknown.moved_by_compaction, found.unknown.lost_events) == (31, -1)


@pytest.mark.parametrize(
    ("order", "mt", "gfp", "op", "flags"),
    [
        (0, 1, "GFP_HIGHUSER_MOVABLE", 1, PageClass.ANON),
        (9, 1, "GFP_TRANSHUGE", 1, PageClass.THP | PageFlag.COMPOUND),
        (9, 1, "GFP_HIGHUSER_MOVABLE", 1, PageClass.KERNEL),
        (0, 0, "GFP_ATOMIC", 5, PageClass.KERNEL),
        (3, 0, "GFP_ATOMIC|__GFP_COMP", 5, PageClass.KERNEL | PageFlag.COMPOUND),
        (3, 0, "GFP_KERNEL", 1, PageClass.KERNEL),
        (1, 2, "GFP_KERNEL|__GFP_COMP|__GFP_RECLAIMABLE", 1, PageClass.SLAB | PageFlag.COMPOUND),
        (0, 2, "GFP_KERNEL|__GFP_RECLAIMABLE", 1, PageClass.SLAB),
    ],
)
def test_flags_say_what_a_page_is(order: int, mt: int, gfp: str, op: int, flags: int) -> None:
    found = trace(alloc(0, 512, order, mt, gfp))
    assert (int(found.blocks["op"][0]), int(found.blocks["flags"][0])) == (op, flags)
    assert Zone(4096).run(next(iter(found.batches())).operations)[0] >= 0


def test_a_type_that_no_request_can_have_is_counted() -> None:
    found = trace(alloc(0, 1, mt=5))
    assert found.blocks["migratetype"].tolist() == [Migratetype.UNMOVABLE]
    assert counts(found) == {"of_other_types": 1, "never_freed": 1}


# ---- contiguous ranges ----


def isolated(t: int, start: int, end: int, fin: int) -> dict[str, Any]:
    return {
        "time_ns": t,
        "event": "test_pages_isolated",
        "pfn": start,
        "end_pfn": end,
        "fields": f'{{"fin_pfn": {fin}}}',
    }


def test_a_range_is_had_until_its_pages_are_freed() -> None:
    found = trace(alloc(0, 5), isolated(10, 8, 12, 12), *(free(20 + i, 8 + i) for i in range(4)))
    [one] = found.attempts
    assert (one.start_ns, one.end_ns, one.pfn, one.nr_pages, one.errno) == (10, 23, 8, 4, 0)
    # its pages are the range's, and no blocks
    assert lives(found) == [(0, NEVER, 5, 0, SEEN)]
    assert counts(found) == {"never_freed": 1}


def test_a_range_that_is_not_free_was_refused() -> None:
    [one] = trace(alloc(0, 5), isolated(10, 8, 12, 9)).attempts
    assert (one.errno, one.end_ns, one.why) == (16, NEVER, "pfn 0x9 is not free")


@pytest.mark.parametrize(
    ("told", "errno", "pfn"),
    [
        ('{"count": 4, "align": 2, "errorno": 0, "name": "linux,cma"}', 0, 64),
        ('{"count": 4, "align": 2, "errorno": -12, "name": "linux,cma"}', 12, None),
        ('{"count": 4, "align": 2}', 0, 64),
        ('{"count": 4, "align": 2}', 16, None),
    ],
)
def test_cma_alloc_lasts_from_start_to_finish(told: str, errno: int, pfn: int | None) -> None:
    """Kernels before 6.3 do not tell the errno."""
    found = trace(
        alloc(0, 5),
        {"time_ns": 10, "event": "cma_alloc_start", "pid": 3, "fields": '{"name": "linux,cma", "count": 4}'},
        {**isolated(15, 64, 68, 68), "pid": 3},
        {"time_ns": 20, "event": "cma_alloc_finish", "pid": 3, "pfn": pfn, "fields": told},
        *([{"time_ns": 30, "event": "cma_release", "pfn": 64, "fields": '{"count": 4}'}] if pfn else []),
        *([free(31 + i, 64 + i) for i in range(4)] if pfn else []),
    )
    [one] = found.attempts
    assert (one.kind, one.start_ns, one.done_ns, one.nr_pages, one.align) == ("cma", 10, 20, 4, 2)
    assert (one.errno, one.pfn) == (errno, pfn)
    assert (one.end_ns > one.done_ns) == (pfn is not None)
    assert counts(found) == {"never_freed": 1}


# ---- to be run ----


def random_events(seed: int, pages: int = 64, n: int = 3000) -> list[dict[str, Any]]:
    """Allocations and frees as no kernel would make them: of any page, in any order, of several sizes."""
    rng = np.random.default_rng(seed)
    rows = []
    for t in range(n):
        order = int(rng.choice([0, 0, 0, 0, 1, 2]))
        pfn = int(rng.integers(0, pages)) >> order << order
        rows.append(alloc(t, pfn, order) if rng.random() < 0.5 else free(t, pfn, order))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_no_page_is_ever_in_two_blocks_whatever_the_events(seed: int) -> None:
    """Replay: ``random_events(seed)``."""
    found = trace(*random_events(seed))
    covered: dict[int, list[tuple[int, int]]] = {}
    for start, end, pfn, order, _ in lives(found):
        assert end in (NEVER,) or start <= end
        for page in range(pfn, pfn + (1 << order)):
            covered.setdefault(page, []).append((start, end if end != NEVER else 10**9))
    for page, spans in covered.items():
        spans.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(spans)), page


@pytest.mark.parametrize("seed", range(5))
def test_the_quick_way_for_single_pages_is_the_slow_way(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay: ``random_events(seed)`` without larger blocks."""
    rows = [row for row in random_events(seed) if row["order"] == 0]
    quick = trace(*rows)
    monkeypatch.setattr("pageblock.lab.alloc_blocks._held", lambda pfn, _: np.ones(len(pfn), np.bool_))
    slow = trace(*rows)
    assert lives(quick) == lives(slow)
    assert vars(quick.unknown) == vars(slow.unknown)


@pytest.mark.parametrize("release", ["5.15", "6.1", "6.12"])
def test_a_recorded_trace_runs_and_gives_back_what_it_took(release: str) -> None:
    found = AllocationTrace.of(decoded(recording()))
    zone = Zone(1 << 16, release)
    before = zone.nr_free_pages
    handles = np.full(found.nr_handles, EMPTY, np.uint32)
    done = 0
    for batch in found.batches(100):
        assert len(batch.operations) <= 100
        assert not np.any(np.diff(batch.time_ns) < 0)
        assert (zone.run(batch.operations, handles) >= 0).all()
        done += len(batch.operations)
    zone.check()
    ended = found.blocks["end_ns"] != NEVER
    assert done == len(found.blocks) + int(ended.sum())
    pages = np.int64(1) << found.blocks["order"].astype(np.int64)
    assert before - zone.nr_free_pages == int(pages[~ended].sum()) > 0
    assert found.most_pages <= before - zone.nr_free_pages + int(pages[ended].sum())


def test_handles_are_used_again() -> None:
    rows = [row for t in range(0, 100, 2) for row in (alloc(t, t), free(t + 1, t))]
    assert trace(*rows).nr_handles == 1


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "day.parquet"
    write_events(path, events(alloc(0, 1), free(5, 1)))
    found = AllocationTrace.read(path)
    assert (found.name, len(found.blocks), found.span_ns) == ("day", 1, 5)


def test_a_trace_without_pages_is_one_line() -> None:
    with pytest.raises(InputError, match="no event of it allocates or frees a page"):
        trace({"event": "mm_compaction_begin"})
