"""Zones copy, compare, pickle, tell their steps and say what a page is."""

import copy
import pickle

import numpy as np
import pytest

from pageblock import ContigRefused, Event, InvariantError, Migratetype, PageClass, PageFlag, Zone


def used_zone() -> Zone:
    zone = Zone(4096, "seed", start_pfn=1 << 20)
    for owner in range(20):
        zone.alloc(0, owner=owner)
    zone.alloc(4, Migratetype.UNMOVABLE)
    zone.alloc_contig_range((1 << 20) + 512, (1 << 20) + 1024)
    return zone


def test_a_copy_is_equal_and_independent() -> None:
    zone = used_zone()
    twin = copy.copy(zone)
    assert twin == zone
    twin.alloc(0)
    assert twin != zone
    twin.check()
    zone.check()


def test_list_order_is_part_of_equality() -> None:
    one, other = Zone(4096), Zone(4096)
    for zone, order in ((one, (0, 1)), (other, (1, 0))):
        held = [zone.alloc(9), zone.alloc(10)]
        for i in order:
            zone.free(held[i])
    assert one.nr_free_pages == other.nr_free_pages
    assert (one == other) is (one.free_list(10, 1).tolist() == other.free_list(10, 1).tolist())


def test_pickle_round_trip_goes_on_with_the_same_pfns() -> None:
    zone = used_zone()
    twin = pickle.loads(pickle.dumps(zone))
    assert twin == zone
    assert [twin.alloc(0) for _ in range(50)] == [zone.alloc(0) for _ in range(50)]
    assert repr(twin) == repr(zone)


def test_exceptions_pickle() -> None:
    refused = ContigRefused(16, "test_pages_isolated", 5, "busy")
    again = pickle.loads(pickle.dumps(refused))
    assert (again.errno, again.step, again.pfn, again.rule) == (16, "test_pages_isolated", 5, "busy")
    broken = pickle.loads(pickle.dumps(InvariantError("links", "text", 7)))
    assert (broken.invariant, broken.pfn) == ("links", 7)


def test_a_listener_hears_the_steps_by_the_kernels_names() -> None:
    zone = Zone(4096)
    zone.alloc(0)
    heard: list[Event] = []
    zone.observe(heard.append)
    zone.alloc_contig_range(0, 512)
    names = [event.name for event in heard]
    assert names[0] == "set_migratetype_isolate"
    assert "migrate:mm_migrate_pages" in names
    tested = next(event for event in heard if event.name == "page_isolation:test_pages_isolated")
    assert tested.fields == {"start_pfn": 0, "end_pfn": 512, "fin_pfn": 512}
    assert "kmem:mm_page_alloc" in names  # the migration target, an ordinary allocation
    heard.clear()
    zone.observe(None)
    zone.alloc(0)
    assert heard == []


def test_a_page_says_what_it_is() -> None:
    zone = Zone(4096, start_pfn=4096)
    zone.alloc(9, Migratetype.MOVABLE, owner=7)
    tail = zone.page(4096 + 100)
    assert (tail.head_pfn, tail.order, tail.page_class, tail.owner) == (4096, 9, PageClass.THP, 7)
    assert tail.flags == PageFlag.COMPOUND
    assert zone.page(4096 + 2000).page_class == PageClass.FREE
    assert zone.page(4096 + 2000).owner is None


def test_free_counts_are_those_of_the_lists() -> None:
    counts = used_zone().free_counts()
    assert counts.shape == (11, 6)
    zone = used_zone()
    assert int((counts * (1 << np.arange(11, dtype=np.uint64))[:, None]).sum()) == zone.nr_free_pages


def test_plain_integers_and_numpy_integers_are_accepted() -> None:
    zone = Zone(np.int64(4096))
    assert zone.alloc(np.uint8(1), 1) == 0
    zone.free(np.uint64(0))
    zone.check()


@pytest.mark.parametrize("damage", ["nr_free_pages", "lost block", "retyped pageblock"])
def test_check_says_which_invariant_is_broken(damage: str) -> None:
    zone = Zone(4096)
    state = zone.saved_state()
    _, _, pages, _, types = state["arrays"]
    if damage == "nr_free_pages":
        state["counters"] = (4095, *state["counters"][1:])
        says = "counted 4095, really free 4096"
    elif damage == "lost block":
        pages[1024] = 0
        says = "listed block"
    else:
        types[3] = Migratetype.ISOLATE
        says = "isolated"
    with pytest.raises(InvariantError, match=says):
        rebuilt(state).copy().check()


def rebuilt(state: dict[str, object]) -> Zone:
    """A zone of a state that ``load_state`` may refuse."""
    zone = Zone(4096)
    zone.take_state(state)
    return zone
