"""A zone in slices answers as the model of the whole zone does."""

from dataclasses import replace

import numpy as np
import pytest

import pageblock.machine.slices as slices
from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import ZoneSurvey, judge
from pageblock.doctor.survey import compound_heads
from pageblock.errors import InputError
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.slices import SlicedZone
from pageblock.machine.zones import snapshot_zones

# a machine of 6 GiB in plain Python takes minutes
pytestmark = pytest.mark.slow

SLICE = 1 << 13


@pytest.fixture(scope="module")
def recorded() -> Snapshot:
    return read_machine(recorded_machine())


@pytest.fixture(autouse=True)
def many_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "LEAST_SLICE", SLICE)


@pytest.mark.parametrize("release", ["5.15", "seed", "6.1", "6.12"])
def test_every_verdict_is_that_of_the_whole_zone(recorded: Snapshot, release: str) -> None:
    for i, zone in enumerate(snapshot_zones(recorded, "5.15")):
        whole, sliced = ZoneSurvey(zone), ZoneSurvey(SlicedZone(recorded, i, "5.15"))
        for nr_pages in (64, 512, 1024, 1 << 14):
            expected = judge(whole, release, nr_pages, zone.nr_free_pages)
            found = judge(sliced, release, nr_pages, zone.nr_free_pages)
            for name in ("verdict", "cost", "dropped", "reasons", "nr_blockers", "blocker_at"):
                assert np.array_equal(getattr(found, name), getattr(expected, name)), (zone.name, nr_pages, name)


def test_it_really_is_cut(recorded: Snapshot) -> None:
    sliced = SlicedZone(recorded, 1, "5.15")
    sliced.survey(sliced.start_pfn, 512, (sliced.end_pfn - sliced.start_pfn) // 512)
    assert sliced.model.cache_info().misses == -(-sliced.end_pfn // SLICE) - sliced.start_pfn // SLICE > 4


def test_stretches_begin_before_the_zone_and_in_any_slice(recorded: Snapshot) -> None:
    for i, zone in enumerate(snapshot_zones(recorded, "5.15")):
        sliced = SlicedZone(recorded, i, "5.15")
        for start, unit in ((zone.start_pfn // 1024 * 1024, 256), (zone.start_pfn + 3, 1)):
            count = (zone.end_pfn - start) // unit
            assert np.array_equal(sliced.survey(start, unit, count), zone.survey(start, unit, count))


def test_free_lists_and_compound_pages_are_those_of_the_zone(recorded: Snapshot) -> None:
    for i, zone in enumerate(snapshot_zones(recorded, "5.15")):
        sliced = SlicedZone(recorded, i, "5.15")
        for order in range(recorded.max_order + 1):
            for migratetype in range(6):
                expected = np.sort(zone.free_list(order, migratetype).astype(np.int64))
                assert np.array_equal(sliced.free_list(order, migratetype), expected)
        found, known = compound_heads(sliced), compound_heads(zone)
        assert all(np.array_equal(found[column], known[column]) for column in range(4))


def test_a_slice_is_never_smaller_than_the_largest_page(recorded: Snapshot) -> None:
    assert recorded.runs is not None
    column = recorded.runs.column_names.index("order")
    large = recorded.runs.set_column(column, "order", [np.full(recorded.runs.num_rows, 15, np.uint8)])
    assert SlicedZone(replace(recorded, runs=large), 0, "5.15").slice_pages == 1 << 15


def test_without_pages_there_is_nothing_to_slice(recorded: Snapshot) -> None:
    with pytest.raises(InputError, match="kpageflags"):
        SlicedZone(replace(recorded, runs=None), 0, "5.15")
