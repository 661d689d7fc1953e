"""Fits: the distances by hand, and a search on a machine that the model itself made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pageblock.errors import InputError
from pageblock.lab.fit import KNOBS, fit, mix_of, values_at
from pageblock.lab.state import DISTANCES, State, distances, main_zone, state_of_snapshot, state_of_zone, total
from pageblock.lab.workload import load_workload, to_toml
from pageblock.machine import read_machine
from pageblock.mm import Migratetype, PageClass, Zone

pytest.importorskip("scipy")


def state(free: dict[tuple[int, int], int], types: list[int], blockers: list[float] | None = None) -> State:
    table = np.zeros((3, 6))
    for (order, migratetype), pages in free.items():
        table[order, migratetype] = pages
    return State(table, np.array(types, float), 100, None if blockers is None else np.array(blockers))


ONE = state({(0, 1): 10, (2, 0): 30}, [1, 3, 0, 0, 0, 0], [0, 0, 0.5, 1])


def test_a_state_is_no_distance_from_itself() -> None:
    assert set(distances(ONE, ONE).values()) == {0.0}
    assert set(distances(ONE, ONE)) == set(DISTANCES)


def test_distances_by_hand() -> None:
    other = state({(0, 1): 10, (1, 0): 10}, [0, 3, 1, 0, 0, 0], [0, 1, 1, 1])
    found = distances(ONE, other)
    # a quarter and three quarters against two halves in another order
    assert found["free_lists_tv"] == pytest.approx(0.75)
    # orders 0 and 2 with 1/4 and 3/4 against 0 and 1 with halves: the sums differ by 1/4 and 3/4, of 2 orders
    assert found["free_order_emd"] == pytest.approx(0.5)
    assert found["pageblock_types_tv"] == pytest.approx(0.25)
    assert found["free_memory"] == pytest.approx(0.2)
    assert found["blockers_ks"] == pytest.approx(0.5)
    assert total(found) == pytest.approx((0.75 + 0.5 + 0.25 + 0.2 + 0.5) / 5)


def test_blockers_count_only_where_both_are_known() -> None:
    assert "blockers_ks" not in distances(replace(ONE, blockers=None), ONE)


def test_distances_do_not_depend_on_the_size() -> None:
    double = State(ONE.free * 2, ONE.pageblocks * 2, ONE.nr_pages * 2, ONE.blockers)
    assert set(distances(ONE, double).values()) == {0.0}


def test_a_zone_s_state_is_what_lies_in_it() -> None:
    zone = Zone(4096)
    zone.alloc(0, Migratetype.UNMOVABLE, PageClass.KERNEL)
    found = state_of_zone(zone, 4096)
    assert found.free.sum() == 4095
    assert found.free[0, Migratetype.UNMOVABLE] == 1
    assert found.pageblocks.tolist() == [2, 6, 0, 0, 0, 0]
    assert found.blockers is not None
    assert sorted(found.blockers.tolist()) == [0] * 7 + [1 / 512]


def test_knobs_reach_their_bounds() -> None:
    low, high = values_at([0.0] * len(KNOBS)), values_at([1.0] * len(KNOBS))
    for knob in KNOBS:
        assert low[knob.name] == pytest.approx(knob.least)
        assert high[knob.name] == pytest.approx(knob.most)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_every_mix_is_a_workload_that_can_be_written(place: float, tmp_path: Path) -> None:
    mix = mix_of(values_at([place] * len(KNOBS)), 100, 4096, 1 << 16, "w")
    path = tmp_path / "w.toml"
    path.write_text(to_toml(mix))
    assert [actor.name for actor in load_workload(path).actors] == [actor.name for actor in mix.actors]


@pytest.mark.slow
def test_a_fit_comes_nearer_than_an_unused_machine_and_is_the_same_again(shared: Path) -> None:
    snapshot = read_machine(shared / "machines" / "zynq-256M-kpageflags")
    found = [fit(snapshot, trials=40, ticks=20, memory_bytes=64 << 20, held_back=[snapshot]) for _ in range(2)]
    assert total(found[0].distances) < total(found[0].boot)
    assert found[0].values == found[1].values
    assert found[0].distances == found[1].distances
    # the machine itself as one that was held back
    (held,) = found[0].held_back
    assert held.of_model == found[0].distances
    assert total(held.of_machine) == 0
    assert set(found[0].distances) == set(DISTANCES)


def test_the_main_zone_is_the_largest(shared: Path) -> None:
    snapshot = read_machine(shared / "machines" / "csm442")
    assert main_zone(snapshot).name == "Normal"
    recorded = state_of_snapshot(snapshot, "5.15")
    # 813,041 pages by buddyinfo; pagetypeinfo was read at another moment
    assert recorded.free.sum() == pytest.approx(813_041, rel=0.01)
    assert recorded.blockers is None


def test_without_pagetypeinfo_there_is_nothing_to_fit(shared: Path) -> None:
    snapshot = read_machine(shared / "machines" / "csm442")
    blind = replace(
        snapshot, zones=tuple(replace(zone, free_counts=None, block_counts=None) for zone in snapshot.zones)
    )
    with pytest.raises(InputError, match="pagetypeinfo"):
        fit(blind)
