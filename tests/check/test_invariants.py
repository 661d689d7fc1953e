"""Every invariant of a state: a zone that breaks it and nothing else, and healthy ones; ``Zone.check`` says the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pageblock import InvariantError, Zone
from pageblock.check.invariants import INVARIANTS, Violation, promises, violations
from pageblock.check.state import state_of
from pageblock.mm import RELEASES
from pageblock.mm import constants as k

from ..mm.workload import operations

#: Not in ``Zone.check``, which runs on recorded machines whose areas need not be aligned as the release aligns them.
PLAIN_ONLY = "kept apart"


def healthy(release: str = "6.1", nr_pages: int = 16) -> Zone:
    """Pageblocks of 4 pages: a page in use, free ones, an isolated and a CMA pageblock, a page on a per-cpu list."""
    zone = Zone(nr_pages, release, 0, 3, 2, populate=False)
    zone.load_pageblocks(np.array([1, 0, 5, 4][: -(-nr_pages // 4)]))
    zone.load_pages([0], [1], [int(k.C_ANON)], [0], [0])
    zone.load_free([1, 2, 4, 8, 12], [0, 1, 1, 2, 1], [1, 1, 0, 5, 4])
    zone.load_pages([7, 14], [1, 2], [int(k.C_KERNEL), int(k.C_KERNEL)], [0, 0], [0, 0])
    zone.set_pcp(8, 1)
    zone.load_pcp(0, [6])
    return zone


def tampered(zone: Zone, change: Callable[[dict[str, Any]], None]) -> Zone:
    """The zone with its saved state changed."""
    state = zone.saved_state()
    change(state)
    zone.take_state(state)
    return zone


def bare(release: str, types: list[int], free: list[tuple[int, int, int]], used: list[int]) -> Zone:
    """A zone of these pageblock types, free blocks (pfn, order, list) and single kernel pages."""
    zone = Zone(4 * len(types), release, 0, 3, 2, populate=False)
    zone.load_pageblocks(np.array(types))
    zone.load_pages(used, [1] * len(used), [int(k.C_KERNEL)] * len(used), [0] * len(used), [0] * len(used))
    zone.load_free(*(list(column) for column in zip(*free, strict=True)))
    return zone


def list_links() -> Zone:
    def change(state: dict[str, Any]) -> None:
        # back from 2, which is alone on its list
        state["arrays"][1][2] = 1

    return tampered(healthy(), change)


def listed_block() -> Zone:
    def change(state: dict[str, Any]) -> None:
        # one block of order 1 on the list of order 0: no page is lost or counted twice
        state["arrays"][2][8], state["arrays"][2][10] = k.BUDDY | 1, k.ALLOC | 1

    return tampered(healthy(), change)


def every_free_block_listed() -> Zone:
    def change(state: dict[str, Any]) -> None:
        state["arrays"][2][7] = k.BUDDY
        state["counters"] = (state["counters"][0] + 1, *state["counters"][1:])

    return tampered(healthy(), change)


def one_state() -> Zone:
    def change(state: dict[str, Any]) -> None:
        state["arrays"][2][9] = k.ALLOC

    return tampered(healthy(), change)


def zone_end() -> Zone:
    def change(state: dict[str, Any]) -> None:
        state["arrays"][2][11] = k.ALLOC | 1

    zone = bare("6.1", [1, 1, 1], [(0, 3, 1), (8, 1, 1)], [10, 11])
    return tampered(zone, change)


def buddies_merged() -> Zone:
    return bare("6.1", [1, 1], [(0, 0, 1), (1, 0, 1), (4, 2, 1)], [2, 3])


def isolated_list() -> Zone:
    zone = bare("6.1", [5, 1], [(0, 1, 1), (4, 2, 1)], [2, 3])
    zone.set_counters(nr_free_pages=4)
    return zone


def list_hygiene() -> Zone:
    return bare("6.12", [1, 1], [(0, 1, 0), (4, 2, 1)], [2, 3])


def kept_apart() -> Zone:
    zone = bare("6.1", [4, 1], [(0, 3, 1)], [])
    zone.set_counters(nr_free_cma_pages=4)
    return zone


def per_cpu_lists() -> Zone:
    def change(state: dict[str, Any]) -> None:
        counters = list(state["counters"])
        assert counters[19] == 1
        counters[19] = 2
        state["counters"] = tuple(counters)

    return tampered(healthy(), change)


def nr_free_pages() -> Zone:
    zone = healthy()
    zone.set_counters(nr_free_pages=zone.nr_free_pages + 1)
    return zone


def nr_free_cma_pages() -> Zone:
    zone = healthy()
    zone.set_counters(nr_free_cma_pages=0)
    return zone


def nr_isolate_pageblock() -> Zone:
    zone = healthy()
    zone.set_counters(nr_isolate_pageblock=2)
    return zone


CORRUPTED: dict[str, tuple[Callable[[], Zone], int | None, str]] = {
    "list links": (list_links, 2, "links that do not"),
    "listed block": (listed_block, 8, "a block free of order 1"),
    "every free block listed": (every_free_block_listed, 7, "0"),
    "one state": (one_state, 9, "the head of a block in use"),
    "zone end": (zone_end, 11, "a block [11, 13)"),
    "buddies merged": (buddies_merged, 0, "two of order 0"),
    "isolated list": (isolated_list, 0, "on list MOVABLE"),
    "list hygiene": (list_hygiene, 0, "in MOVABLE"),
    "kept apart": (kept_apart, 0, "MOVABLE and CMA"),
    "per-cpu lists": (per_cpu_lists, None, "2 counted"),
    "NR_FREE_PAGES": (nr_free_pages, None, "8 counted (drift +1)"),
    "NR_FREE_CMA_PAGES": (nr_free_cma_pages, None, "0 counted"),
    "nr_isolate_pageblock": (nr_isolate_pageblock, None, "2 counted"),
}


def test_every_invariant_has_its_corrupted_state() -> None:
    assert list(CORRUPTED) == [invariant.name for invariant in INVARIANTS]


@pytest.mark.parametrize("name", CORRUPTED)
def test_a_corrupted_zone_breaks_exactly_this(name: str) -> None:
    make, pfn, what = CORRUPTED[name]
    found = violations(make())
    assert [(violation.invariant, violation.pfn, violation.found) for violation in found] == [(name, pfn, what)]


@pytest.mark.parametrize("name", [name for name in CORRUPTED if name != PLAIN_ONLY])
def test_zone_check_says_the_same(name: str) -> None:
    with pytest.raises(InvariantError) as broken:
        CORRUPTED[name][0]().check()
    assert broken.value.invariant == name


@pytest.mark.parametrize("release", RELEASES)
def test_a_healthy_zone_breaks_nothing(release: str) -> None:
    zone = healthy(release)
    assert violations(zone) == []
    zone.check()


@pytest.mark.parametrize("release", ["5.15", "seed", "6.1", "6.12", "6.19"])
def test_a_zone_at_work_breaks_nothing(release: str) -> None:
    zone = Zone(512, release, 512, 6, 4)
    ops = operations(7, 3000, Zone(512, release, 512, 6, 4))
    ops["order"] = np.minimum(ops["order"], 6)
    handles = np.full(int(ops["handle"].max()) + 1, 0xFFFFFFFF, np.uint32)
    for part in np.array_split(ops, 12):
        zone.run(part, handles)
        assert violations(zone) == []
        zone.check()


def test_two_isolated_pageblocks_need_not_merge() -> None:
    """Isolation moves free pages and merges none."""
    zone = Zone(8, "6.1", 0, 3, 2)
    zone.start_isolate_page_range(0, 4)
    zone.start_isolate_page_range(4, 8)
    assert [zone.free_list(2, 5).tolist(), violations(zone)] == [[0, 4], []]
    zone.check()


def test_hygiene_is_promised_since_6_10_and_a_switch_changes_no_promise() -> None:
    hygiene = next(invariant for invariant in INVARIANTS if invariant.name == "list hygiene")
    assert [name for name in RELEASES if promises(hygiene, name)] == ["6.12", "6.19"]
    merged = next(invariant for invariant in INVARIANTS if invariant.name == "kept apart")
    assert promises(merged, "seed-p1")


def test_a_violation_says_where_what_was_expected_and_what_was_found() -> None:
    assert str(violations(nr_free_pages())[0]) == (
        "NR_FREE_PAGES: expected 7 pages free outside isolated pageblocks, found 8 counted (drift +1)"
    )
    assert str(Violation("zone end", 11, "a", "b")) == "zone end at pfn 11: expected a, found b"


def test_the_state_of_a_zone_is_what_the_zone_says() -> None:
    zone = healthy()
    state = state_of(zone)
    assert {pfn: block.kind for pfn, block in state.blocks.items()} == {
        **dict.fromkeys((0, 7, 14, 15), "in use"),
        **dict.fromkeys((1, 2, 4, 8, 12), "free"),
        6: "per-cpu",
    }
    assert state.lists[0, 1].pfns == (1,)
    assert state.pcp[0].pfns == (6,)
    assert state.types == (1, 0, 5, 4)


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda invariant: invariant.name)
def test_every_invariant_names_its_rule_and_its_source(invariant: Any) -> None:
    assert invariant.rule.endswith(".")
    assert invariant.source
