"""cma_alloc in a workload: when buffers are given back, and why a request is refused, under every release."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from pageblock.lab.engine import Counts
from pageblock.lab.run import Settings, prepared
from pageblock.lab.workload import (
    FOREVER,
    TICK,
    Call,
    Requests,
    Running,
    Workload,
    World,
    make_requests,
)
from pageblock.mm import Migratetype, PageClass, PageFlag

RELEASES = ("5.15", "seed", "6.1", "6.12", "6.19")

#: A machine of 8,192 pages, the last 2,048 of them CMA.
SMALL = Settings(memory_bytes=32 << 20, cma_bytes=8 << 20, ticks=2)
AREA = 2048

ANON, PINNED = int(PageClass.ANON), int(PageClass.ANON) | int(PageFlag.PINNED)


@dataclass(frozen=True)
class Script:
    """An actor that asks for what it was told in the first tick. ``pages``: (when, how many, flags) of MOVABLE requests."""

    calls: Sequence[Call] = ()
    pages: Sequence[tuple[int, int, int]] = ()
    name: str = "script"
    evictable: bool = False
    splits: bool = False
    needs_cma: bool = True

    def most_pages(self, world: World) -> int:
        return 0

    def start(self, world: World) -> Running:
        return _Reading(self)


@dataclass
class _Reading:
    script: Script

    def requests(self, tick: int) -> Requests:
        made = [
            make_requests(np.full(count, at, np.uint16), 0, int(Migratetype.MOVABLE), flags, FOREVER)
            for at, count, flags in self.script.pages
        ]
        return np.concatenate(made) if made and not tick else make_requests(np.zeros(0, np.uint16), 0, 0, 0, 0)

    def calls(self, tick: int) -> list[Call]:
        return [] if tick else list(self.script.calls)


def cma(at: int, nr_pages: int, life: int = FOREVER, align: int = 0) -> Call:
    return Call(at, "cma", nr_pages, align, life)


def counted(script: Script, release: str = "6.1") -> Counts:
    """What is counted after the first tick."""
    engine, machine = prepared(Workload("w", (script,)), replace(SMALL, release=release))
    engine.tick(0)
    machine.zones[0].check()
    return engine.counts


def test_what_is_held_for_a_part_of_a_tick_is_given_back_in_its_time() -> None:
    # three quarters of the machine are not enough for the pages, so they need the area, which is free again by then
    script = Script([cma(0, AREA, TICK // 4)], [(TICK // 2, 7000, ANON)])
    assert (counted(script).cma_success, counted(script).failed_order0) == (1, 0)


def test_what_is_held_for_longer_stays_away() -> None:
    assert counted(Script([cma(0, AREA, TICK)], [(TICK // 2, 7000, ANON)])).failed_order0 > 0


@pytest.mark.parametrize("release", RELEASES)
def test_no_room_in_the_bitmap_is_no_room_whatever_errno_the_release_has_for_it(release: str) -> None:
    done = counted(Script([cma(0, AREA), cma(1, 1)]), release)
    assert (done.cma_success, done.cma_fail_no_room, done.cma_fail_fragmented, done.cma_fail_busy) == (1, 1, 0, 0)


@pytest.mark.parametrize("release", RELEASES)
def test_free_pages_in_pieces_are_fragmentation(release: str) -> None:
    quarters = [cma(0, AREA // 4, life) for life in (TICK // 2, FOREVER, TICK // 2, FOREVER)]
    done = counted(Script([*quarters, cma(TICK - 1, AREA // 2)]), release)
    assert (done.cma_success, done.cma_fail_no_room) == (4, 1)
    assert (done.cma_fail_fragmented, done.cma_fail_unaligned) == (1, 0)


@pytest.mark.parametrize("release", RELEASES)
def test_a_run_that_is_long_enough_but_not_aligned_is_told_apart(release: str) -> None:
    done = counted(Script([cma(0, 1), cma(1, 1024, align=10), cma(2, 1000, align=10)]), release)
    assert (done.cma_success, done.cma_fail_fragmented, done.cma_fail_unaligned) == (2, 1, 1)


@pytest.mark.parametrize("release", RELEASES)
def test_pinned_pages_make_a_request_busy(release: str) -> None:
    done = counted(Script([cma(TICK - 1, AREA)], [(0, 7000, PINNED)]), release)
    assert (done.cma_success, done.cma_fail_busy, done.cma_fail_no_room, done.cma_fail_no_memory) == (0, 1, 0, 0)


@pytest.mark.parametrize("release", RELEASES)
def test_pages_that_could_move_but_have_nowhere_to_go_are_no_memory(release: str) -> None:
    done = counted(Script([cma(TICK - 1, AREA)], [(0, 8000, ANON)]), release)
    assert (done.cma_success, done.cma_fail_busy, done.cma_fail_no_room, done.cma_fail_no_memory) == (0, 0, 0, 1)


@pytest.mark.parametrize("release", RELEASES)
def test_files_make_way_for_what_has_nowhere_to_go(release: str) -> None:
    # files fill all but the area's first half; what is free there lies in pageblocks that the last request isolates
    halves = [cma(0, AREA // 2, TICK // 4), cma(1, AREA // 2)]
    script = Script([*halves, cma(TICK - 1, 520)], [(TICK // 2, 300, ANON)])
    files = Script(pages=[(TICK // 8, 7000, int(PageClass.FILE))], name="files", evictable=True)
    engine, machine = prepared(Workload("w", (script, files)), replace(SMALL, release=release))
    engine.tick(0)
    machine.zones[0].check()
    assert engine.counts.pages_moved >= 300
    assert (engine.counts.cma_success, engine.counts.cma_fail_no_memory) == (3, 0)
