"""CMA areas of a dump answer by their bitmaps, in the model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pageblock.doctor import diagnose
from pageblock.doctor.causes import Certainty
from pageblock.doctor.cma import AreaAnswer, AreaReport, count_places
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.cma_area import CmaArea
from pageblock.machine.held import HeldPages
from pageblock.machine.runs import PageRuns, clip, concat, make_runs
from pageblock.machine.snapshot import runs_table
from pageblock.mm.types import PageClass, PageFlag

DUMP = Path(__file__).parents[1] / "machine" / "data" / "core-6.1-cma.parquet"
START, END = 89088, 97280


@pytest.fixture(scope="module")
def dump() -> Snapshot:
    return read_machine(DUMP)


def asked(snapshot: Snapshot, *sizes: int) -> AreaReport:
    areas = diagnose(snapshot, sizes, ["6.1"]).areas
    assert areas is not None
    return areas[0]


def answer(snapshot: Snapshot, nr_pages: int) -> AreaAnswer:
    [found] = [one for one in asked(snapshot, nr_pages).answers if one.nr_pages == nr_pages]
    return found


def with_used(snapshot: Snapshot, *used: tuple[int, int]) -> Snapshot:
    return replace(snapshot, cma_areas=(CmaArea("reserved", ((START, END),), 0, used),))


def cause(one: AreaAnswer) -> tuple[str, Certainty]:
    assert one.because is not None
    return one.because.cause, one.because.certainty


def test_a_request_is_given_where_the_bitmap_is_free(dump: Snapshot) -> None:
    """debugfs of the guest: what was given out ends at 89110, and lies at [89123, 89150); requests are aligned to 256 pages."""
    found = answer(dump, 512)
    assert (found.errno, found.pfn, found.places, found.align) == (0, 89344, 30, 8)


def test_a_request_as_large_as_the_area_finds_it_used_up(dump: Snapshot) -> None:
    found = answer(dump, END - START)
    assert (found.errno, found.tries) == (12, 0)
    assert cause(found) == ("area used up", Certainty.CERTAIN)


def test_a_request_larger_than_the_area_is_told_only_where_it_was_asked_for(dump: Snapshot) -> None:
    assert cause(answer(dump, 16384)) == ("larger than any", Certainty.CERTAIN)
    areas = diagnose(dump, releases=["6.1"]).areas
    assert areas is not None
    assert {one.nr_pages for one in areas[0].answers} == {512, 1024, END - START}


def test_free_pages_in_pieces_are_fragmentation(dump: Snapshot) -> None:
    pieces = with_used(dump, *((at, at + 8) for at in range(START, END, 256)))
    found = answer(pieces, 512)
    assert (found.errno, found.places, found.tries) == (12, 0, 0)
    assert cause(found) == ("bitmap fragmentation", Certainty.CERTAIN)
    assert answer(pieces, 64).errno == 0


def pinned(snapshot: Snapshot, pfn: int) -> Snapshot:
    """The dump with a pinned page in the area, whose bitmap is all free; what the driver had is free, too."""
    assert snapshot.runs is not None
    parts = []
    for i, info in enumerate(snapshot.zones):
        mine = snapshot.runs.filter(snapshot.runs["zone"].to_numpy() == i)
        names = ("start_pfn", "nr_pages", "class", "order", "flags", "migratetype")
        start, pages, *others = (mine[name].to_numpy() for name in names)
        runs = PageRuns(start.astype("int64"), pages.astype("int64"), *others)
        if info.start_pfn <= pfn < info.end_pfn:
            whole = make_runs(np.array([START]), np.array([END - START]), PageClass.ANON)
            one = make_runs(np.array([pfn]), np.array([1]), PageClass.ANON, 0, int(PageFlag.PINNED))
            area = concat([clip(whole, START, pfn), one, clip(whole, pfn + 1, END)])
            runs = concat([clip(runs, info.start_pfn, START), area, clip(runs, END, info.end_pfn)])
        parts.append(runs)
    held = HeldPages.of_rows([[pfn, 0, 1025, 1, -1, 1024, 0x5028]])
    return replace(with_used(snapshot), runs=runs_table(parts), held=held, lists=None)


def test_one_pinned_page_fails_what_is_as_large_as_the_area(dump: Snapshot) -> None:
    snapshot = pinned(dump, START + 5000)
    found = answer(snapshot, END - START)
    assert (found.errno, found.places, found.tries) == (16, 1, 1)
    assert cause(found) == ("zero slack", Certainty.CERTAIN)
    # half of it has a second place
    assert answer(snapshot, 512).errno == 0


def test_an_answer_changes_nothing_for_the_next(dump: Snapshot) -> None:
    assert [one.pfn for one in asked(dump, 512, 1024).answers[:2]] == [89344, 89344]


def test_areas_are_not_known_from_proc(dump: Snapshot) -> None:
    assert diagnose(replace(dump, cma_areas=None), [512], ["6.1"]).areas is None
    assert diagnose(replace(dump, cma_areas=()), [512], ["6.1"]).areas == ()


def test_an_area_that_the_model_refuses_is_told_with_the_reason(dump: Snapshot) -> None:
    beyond = replace(dump, cma_areas=(CmaArea("far", ((1 << 40, (1 << 40) + 512),), 0, ()),))
    areas = diagnose(beyond, [512], ["6.1"]).areas
    assert areas is not None
    assert areas[0].answers == ()
    assert areas[0].unasked


@pytest.mark.parametrize(
    ("used", "nr_pages", "align", "places"),
    [
        ((), 64, 6, 128),
        ((), 8192, 8, 1),
        ((), 8193, 8, 0),
        (((START, START + 1),), 64, 6, 127),
        (((START + 64, END),), 64, 0, 1),
    ],
)
def test_places_are_aligned_starts_in_free_runs(
    used: tuple[tuple[int, int], ...], nr_pages: int, align: int, places: int
) -> None:
    assert count_places(CmaArea("a", ((START, END),), 0, used), nr_pages, align) == places
