"""Runs: that they are the same everywhere, keep the model's invariants, and count what happens."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from pageblock.errors import GeometryError, InputError, ReleaseError
from pageblock.lab.run import RunResult, Settings, prepared, run
from pageblock.lab.sample import SERIES
from pageblock.lab.workload import (
    Amount,
    Anonymous,
    Balloon,
    Cma,
    Contig,
    Kernel,
    Lifetime,
    Network,
    Orders,
    PageCache,
    Slab,
    VirtualMachines,
    Workload,
)

RELEASES = ("5.15", "seed", "6.1", "6.12", "6.19")

#: How cma_alloc may end.
HOW = ("success", "fail_busy", "fail_no_room", "fail_no_memory")

SMALL = Settings(memory_bytes=32 << 20, ticks=25, sample_every=10, seed=7)

FILES = PageCache(name="files", rate=Amount(share=0.08), lifetime=Lifetime(30), file_size=Amount(size=32 << 10))
PROGRAMS = Anonymous(name="programs", rate=0.3, size=Amount(share=0.02), lifetime=Lifetime(6), thp=0.5)
OBJECTS = Slab(name="objects", size=Amount(share=0.05), lifetime=Lifetime(8))
DRIVERS = Kernel(name="drivers", size=Amount(share=0.02), lifetime=Lifetime(5, forever=0.3))
PACKETS = Network(name="packets", rate=Amount(share=0.02))
CAMERA = Cma(name="camera", size=Amount(size=1 << 20), count=2, period=3, hold=Lifetime(4))
RANGES = Contig(name="ranges", size=Amount(size=512 << 10), count=3, period=2, hold=Lifetime(3))
GUESTS = VirtualMachines(name="guests", rate=0.1, size=Amount(share=0.05), lifetime=Lifetime(10), balloon_period=4)
BALLOON = Balloon(name="balloon", size=Amount(share=0.05), period=8, inflate=2, hold=4)

ALL = Workload("all", (FILES, PROGRAMS, OBJECTS, DRIVERS, PACKETS, CAMERA, RANGES, GUESTS, BALLOON), compact_every=9)


def last(result: RunResult) -> dict[str, object]:
    row: dict[str, object] = result.series.slice(result.series.num_rows - 1).to_pylist()[0]
    return row


@pytest.mark.parametrize("release", RELEASES)
def test_no_page_is_lost_and_every_invariant_holds(release: str) -> None:
    settings = replace(SMALL, release=release, cma_bytes=8 << 20)
    engine, machine = prepared(ALL, settings)
    zone = machine.zones[0]
    for tick in range(settings.ticks):
        engine.tick(tick)
        zone.check()
    held = sum(held.nr_pages for held in engine.held)
    assert zone.nr_free_pages + int(engine.live.sum()) + held == machine.total_pages
    in_use = np.flatnonzero(engine.handles.frames[0] != 0xFFFFFFFF)
    assert (1 << engine.handles.order[in_use].astype(np.int64)).sum() == engine.live.sum()


def test_what_one_actor_holds_is_what_lies_in_the_zone() -> None:
    engine, machine = prepared(Workload("w", (FILES, OBJECTS)), SMALL)
    for tick in range(20):
        engine.tick(tick)
    pfns, orders = machine.zones[0].blocks_in(0, machine.total_pages)
    classes = [machine.zones[0].page(int(pfn)).page_class.name for pfn in pfns]
    sizes = {name: sum(1 << int(o) for c, o in zip(classes, orders, strict=True) if c == name) for name in set(classes)}
    assert (sizes["FILE"], sizes["SLAB"]) == tuple(engine.live.tolist())


def test_the_same_seed_gives_the_same_numbers_in_another_process() -> None:
    settings = replace(SMALL, cma_bytes=8 << 20, ticks=10)
    here = run(ALL, settings)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(run, ALL, settings).result()
    assert here.series.equals(there.series)
    assert here.summary == there.summary


def test_another_seed_gives_others() -> None:
    assert not run(ALL, replace(SMALL, cma_bytes=8 << 20)).series.equals(
        run(ALL, replace(SMALL, cma_bytes=8 << 20, seed=8)).series
    )


def test_releases_get_the_same_requests() -> None:
    asked = set()
    for release in RELEASES:
        done = last(run(ALL, replace(SMALL, release=release, cma_bytes=8 << 20)))
        asked.add((done["requests"], sum(done[f"cma_{how}"] for how in HOW)))  # type: ignore[misc]
    assert len(asked) == 1


def test_an_actor_s_requests_do_not_depend_on_its_neighbours() -> None:
    one, _ = prepared(Workload("w", (OBJECTS,)), SMALL)
    two, _ = prepared(Workload("w", (FILES, OBJECTS)), SMALL)
    for tick in range(5):
        assert np.array_equal(one.actors[0][1].requests(tick), two.actors[1][1].requests(tick))


def test_a_run_can_be_sent_to_another_process() -> None:
    done = run(Workload("w", (OBJECTS,)), replace(SMALL, ticks=2))
    again = pickle.loads(pickle.dumps(done))
    assert again.series.equals(done.series)
    assert (again.summary, again.settings) == (done.summary, done.settings)


def test_a_full_machine_reclaims_the_oldest_files_and_refuses_nobody() -> None:
    done = last(run(Workload("w", (FILES, OBJECTS)), replace(SMALL, ticks=60)))
    assert done["pages_reclaimed"] > 0  # type: ignore[operator]
    assert done["failed_order0"] == 0


def test_reclaim_takes_the_oldest_first() -> None:
    files = PageCache(name="files", rate=Amount(share=0.1), reread=0, file_size=Amount(size=4096))
    engine, _ = prepared(Workload("w", (files,)), SMALL)
    for tick in range(9):
        engine.tick(tick)
    before = {int(handle) for handles, _ in engine.queues[0] for handle in handles}
    oldest = [int(handle) for handle in engine.queues[0][0][0][:50]]
    assert engine._evict(0, 50) == 50
    after = {int(handle) for handles, _ in engine.queues[0] for handle in handles}
    assert before - after == set(oldest)


def test_a_page_cache_keeps_to_its_size() -> None:
    capped = replace(FILES, size=Amount(share=0.2))
    engine, machine = prepared(Workload("w", (capped,)), SMALL)
    for tick in range(10):
        engine.tick(tick)
    assert engine.live[0] <= machine.total_pages * 0.2


def test_what_cannot_be_reclaimed_is_refused_and_counted() -> None:
    hog = Kernel(name="hog", size=Amount(share=1.0), orders=Orders())
    done = last(run(Workload("w", (hog,)), replace(SMALL, ticks=1)))
    assert done["failed"] == [done["failed_order0"]]
    assert done["failed_order0"] > 0  # type: ignore[operator]


def test_huge_pages_become_single_ones_where_none_are_left() -> None:
    scatter = Kernel(name="scatter", size=Amount(share=0.6), lifetime=Lifetime(1, "fixed"), orders=Orders())
    huge = Anonymous(name="huge", rate=2, size=Amount(size=2 << 20), thp=1.0, spread=0, lifetime=Lifetime(3))
    done = last(run(Workload("w", (scatter, huge)), replace(SMALL, ticks=6)))
    assert done["split_huge"] > 0  # type: ignore[operator]


def test_false_busy_is_what_the_old_windows_give() -> None:
    ranges = Contig(name="ranges", size=Amount(size=2 << 20), count=12, period=1)
    scatter = Slab(name="scatter", size=Amount(share=0.02), lifetime=Lifetime(4), reclaimable=0)
    found = {}
    for release in ("5.15", "6.1"):
        done = last(run(Workload("w", (ranges, scatter)), replace(SMALL, release=release)))
        found[release] = (done["tries_false_busy"], done["contig_success"])
    assert found["6.1"][0] == 0
    assert found["5.15"][0] > 0  # type: ignore[operator]
    assert found["6.1"][1] > found["5.15"][1]  # type: ignore[operator]


def test_cma_buffers_come_and_go() -> None:
    engine, machine = prepared(Workload("w", (CAMERA, FILES)), replace(SMALL, cma_bytes=4 << 20))
    for tick in range(20):
        engine.tick(tick)
    assert engine.counts.cma_success > 0
    assert machine.areas[0].used == sum(held.nr_pages for held in engine.held)


def test_gigantic_ranges_are_the_first_that_can_be_had() -> None:
    first = Contig(name="first", size=Amount(size=4 << 20), period=100, place="first", hold=Lifetime(0, forever=1))
    engine, machine = prepared(Workload("w", (first, FILES)), SMALL)
    for tick in range(3):
        engine.tick(tick)
    machine.zones[0].check()
    assert engine.counts.contig_success == 1
    assert {machine.zones[0].page(pfn).page_class.name for pfn in range(1024)} == {"KERNEL"}


def test_series_has_its_schema_and_samples() -> None:
    done = run(Workload("w", (OBJECTS,)), SMALL)
    assert done.series.schema.equals(SERIES)
    assert done.series["tick"].to_pylist() == [0, 10, 20, 25]
    first = done.series.slice(0, 1).to_pylist()[0]
    assert first["ranges"] == first["ranges_free"]
    assert first["size_bytes"] == [2 << 20, 4 << 20]
    assert first["free_movable"][10] == 8


def test_free_lists_of_the_series_are_the_free_pages() -> None:
    done = run(ALL, replace(SMALL, cma_bytes=8 << 20))
    for row in done.series.to_pylist():
        lists = [row[f"free_{name}"] for name in ("unmovable", "movable", "reclaimable", "highatomic", "cma")]
        assert sum(n << order for counts in lists for order, n in enumerate(counts)) == row["free_pages"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cma_bytes": 64 << 20}, InputError, "CMA area of 67108864 bytes"),
        ({"pageblock_order": 11}, GeometryError, "exceeds max_order"),
        ({"memory_bytes": 1 << 20}, InputError, "give 8388608 bytes at least"),
        ({"reserved_bytes": 32 << 20}, InputError, "are reserved"),
        ({"release": "7.0"}, ReleaseError, "7.0"),
        ({"ticks": 0}, InputError, "give 1 tick or more"),
        ({"ticks": 1 << 30, "sample_every": 1}, InputError, "samples"),
        ({"size_bytes": (12288,)}, InputError, "power of two"),
        ({"page_size": 5000}, GeometryError, "power of two"),
        ({"max_order": 2, "pageblock_order": 2}, InputError, "asks for order 3, and max order is 2"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(Workload("w", (OBJECTS,)), replace(SMALL, **changes))  # type: ignore[arg-type]


def test_a_camera_without_an_area_is_refused() -> None:
    with pytest.raises(InputError, match="needs a CMA area"):
        run(Workload("w", (CAMERA,)), SMALL)


def test_reserved_memory_is_never_given_out() -> None:
    engine, machine = prepared(Workload("w", (FILES,)), replace(SMALL, reserved_bytes=3 << 20))
    for tick in range(20):
        engine.tick(tick)
    zone = machine.zones[0]
    assert machine.total_pages == (29 << 20) // 4096
    assert {zone.page(pfn).page_class.name for pfn in range(machine.total_pages, zone.end_pfn)} == {"RESERVED"}
    zone.check()


def test_progress_is_told_by_tick() -> None:
    told: list[tuple[int, int]] = []
    run(Workload("w", (OBJECTS,)), replace(SMALL, ticks=3), progress=lambda done, whole: told.append((done, whole)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_other_geometries_run() -> None:
    settings = replace(SMALL, max_order=6, pageblock_order=5, page_size=16384, memory_bytes=64 << 20)
    done = last(run(Workload("w", (FILES, PROGRAMS, OBJECTS)), settings))
    assert len(done["free_movable"]) == 7  # type: ignore[arg-type]
    assert done["requests"] > 0  # type: ignore[operator]
