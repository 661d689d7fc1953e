"""Every refused call says what was wrong in one line and leaves the zone as it was."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pageblock import (
    COMPILED,
    OPERATION,
    ContigRefused,
    Event,
    GeometryError,
    Migratetype,
    PageblockError,
    PageClass,
    RangeError,
    ReleaseError,
    UsageError,
    Zone,
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"nr_pages": 0}, "nr_pages is 0"),
        ({"nr_pages": -5}, "nr_pages is -5"),
        ({"nr_pages": 1 << 40}, "nr_pages is"),
        ({"nr_pages": 2.5}, "must be a whole number, not 2.5"),
        ({"nr_pages": "4096"}, "must be a whole number, not '4096'"),
        ({"nr_pages": 4096, "start_pfn": -1}, "start_pfn is -1"),
        ({"nr_pages": 4096, "max_order": 99}, "max_order is 99"),
        ({"nr_pages": 4096, "pageblock_order": -1}, "pageblock_order is -1"),
        ({"nr_pages": 4096, "max_order": 8}, "pageblock_order 9 exceeds max_order 8, which release 6.1 forbids"),
        ({"nr_pages": 4096, "page_size": 5000}, "page_size is 5000 bytes: it must be a power of two"),
        ({"nr_pages": 4096, "section_size": 1 << 21}, "MAX_ORDER + PAGE_SHIFT must not exceed SECTION_SIZE_BITS"),
        ({"nr_pages": 4096, "section_size": 12345}, "section_size is 12345"),
    ],
)
def test_an_inconsistent_geometry_names_the_rule(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(GeometryError) as refused:
        Zone(**arguments)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"nr_pages": 1},
        {"nr_pages": 1000, "start_pfn": 77},
        {"nr_pages": 8192, "max_order": 13, "pageblock_order": 13, "page_size": 65536, "section_size": 1 << 29},
        {"nr_pages": 64, "max_order": 0, "pageblock_order": 0},
        {"nr_pages": 4096, "release": "5.15", "max_order": 8, "pageblock_order": 10},
    ],
)
def test_any_consistent_geometry_works(arguments: dict[str, object]) -> None:
    zone = Zone(**arguments)
    zone.check()
    assert zone.nr_free_pages == arguments["nr_pages"]
    pfns = [zone.alloc(0) for _ in range(zone.nr_free_pages)]
    assert sorted(pfns) == list(range(zone.start_pfn, zone.end_pfn))
    for pfn in pfns:
        zone.free(pfn)
    zone.check()


@pytest.mark.parametrize(
    "name", ["", "7.0", "seed-p9", "seed-p0", "6.1+p3", "5.15-", "5.15+fa", "seed+fe", "seed+fh", "SEED"]
)
def test_an_unknown_release_or_switch_is_named(name: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        Zone(64, name)
    assert repr(name) in str(refused.value)


def prepared() -> tuple[Zone, int]:
    """A zone with an order-3 block at the pfn returned."""
    zone = Zone(4096, start_pfn=8192)
    return zone, zone.alloc(3, Migratetype.UNMOVABLE)


def operation(**fields: int) -> np.ndarray:
    """One operation; by default the allocation of a kernel page."""
    one = np.zeros(1, OPERATION)
    for name, value in {"op": 1, "flags": int(PageClass.KERNEL), "nr": 100, **fields}.items():
        one[name] = value
    return one


def read_only() -> np.ndarray:
    handles = np.full(1, 0xFFFFFFFF, np.uint32)
    handles.flags.writeable = False
    return handles


CALLS: dict[str, tuple[Callable[[Zone, int], object], type[PageblockError], str]] = {
    "free twice": (lambda z, pfn: z.free(z.end_pfn - 1), UsageError, "double free"),
    "free inside a block": (lambda z, pfn: z.free(pfn + 1), UsageError, "inside an allocated block"),
    "free outside": (lambda z, pfn: z.free(1), RangeError, "pfn 1 is outside zone [8192, 12288)"),
    "empty range": (lambda z, pfn: z.alloc_contig_range(9000, 9000), RangeError, "start must be below end"),
    "reversed range": (lambda z, pfn: z.alloc_contig_range(9001, 9000), RangeError, "start must be below end"),
    "range outside": (lambda z, pfn: z.alloc_contig_range(8000, 8500), RangeError, "outside"),
    "range past the end": (lambda z, pfn: z.alloc_contig_range(12000, 12289), RangeError, "outside"),
    "contig type": (lambda z, pfn: z.alloc_contig_range(9000, 9001, 0), UsageError, "MOVABLE or CMA, not UNMOVABLE"),
    "order": (lambda z, pfn: z.alloc(11), UsageError, "orders 0 to 10"),
    "negative order": (lambda z, pfn: z.alloc(-1), UsageError, "orders 0 to 10"),
    "order is no number": (lambda z, pfn: z.alloc("3"), UsageError, "whole number"),
    "migratetype": (lambda z, pfn: z.alloc(0, Migratetype.CMA), UsageError, "UNMOVABLE, MOVABLE, RECLAIMABLE"),
    "class": (lambda z, pfn: z.alloc(0, 1, PageClass.HOLE), UsageError, "page_class is 13"),
    "lru order": (lambda z, pfn: z.alloc(1, 1, PageClass.ANON), UsageError, "PageClass.THP"),
    "owner": (lambda z, pfn: z.alloc(owner=-1), UsageError, "owner is -1"),
    "contig pages": (lambda z, pfn: z.alloc_contig_pages(3), RangeError, "power of two"),
    "contig pages size": (lambda z, pfn: z.alloc_contig_pages(8192), RangeError, "4096 pages"),
    "free contig of a block": (lambda z, pfn: z.free_contig_range(pfn, 8), UsageError, "heads a block of order 3"),
    "free contig of free pages": (lambda z, pfn: z.free_contig_range(pfn + 8, 8), UsageError, "double free"),
    "cma": (lambda z, pfn: z.init_cma_reserved_pageblock(8192), UsageError, "not reserved"),
    "cma alignment": (lambda z, pfn: z.init_cma_reserved_pageblock(8193), RangeError, "align it"),
    "ops type": (lambda z, pfn: z.run([1, 2]), UsageError, "OPERATION"),
    "handles type": (lambda z, pfn: z.run(np.zeros(1, OPERATION), [0]), UsageError, "handles"),
    "ops": (lambda z, pfn: z.run(np.zeros(2, OPERATION)), UsageError, "operation 0 is malformed"),
    "load over free": (lambda z, pfn: z.load_pages([9216], [1], [1], [0], [0]), UsageError, "in use or free already"),
    "load a negative pfn": (lambda z, pfn: z.load_free([-(2**63)], [10], [1]), UsageError, "between 0 and 2^53"),
    "load a pfn that is none": (lambda z, pfn: z.load_free([float("nan")], [10], [1]), UsageError, "whole numbers"),
    "load words": (lambda z, pfn: z.load_pages(["a"], [1], [1], [0], [0]), UsageError, "whole numbers"),
    "load a huge count": (lambda z, pfn: z.load_pages([8192], [1 << 53], [1], [0], [0]), RangeError, "leaves"),
    "load a misaligned block": (lambda z, pfn: z.load_pages([8193], [512], [9], [9], [32]), UsageError, "aligned"),
    "load a class": (lambda z, pfn: z.load_pages([8192], [1], [300], [0], [0]), UsageError, "page class is 0 to 15"),
    "load types": (lambda z, pfn: z.load_pageblocks([float("nan")] * 8), UsageError, "whole numbers"),
    "contig type in a batch": (lambda z, pfn: z.run(operation(op=3, migratetype=200)), UsageError, "malformed"),
    "contig type UNMOVABLE in a batch": (lambda z, pfn: z.run(operation(op=3)), UsageError, "malformed"),
    "a hole in a batch": (lambda z, pfn: z.run(operation(migratetype=1, flags=13)), UsageError, "malformed"),
    "unknown flags in a batch": (lambda z, pfn: z.run(operation(migratetype=1, flags=255)), UsageError, "malformed"),
    "read-only handles": (lambda z, pfn: z.run(operation(), read_only()), UsageError, "writeable"),
    "handles with gaps": (lambda z, pfn: z.run(operation(), np.zeros(8, np.uint32)[::2]), UsageError, "contiguous"),
    "survey": (lambda z, pfn: z.survey(float("nan"), 1, 1), UsageError, "whole number"),
    "free contig words": (lambda z, pfn: z.free_contig_range("x", 1), UsageError, "whole number"),
    "listener": (lambda z, pfn: z.observe(5), UsageError, "cannot be called"),  # type: ignore[arg-type]
    "load outside": (lambda z, pfn: z.load_pages([9], [1], [1], [0], [0]), RangeError, "leaves"),
    "load lengths": (lambda z, pfn: z.load_pages([9, 10], [1], [1], [0], [0]), UsageError, "different shapes"),
    "load free over used": (lambda z, pfn: z.load_free([pfn], [0], [1]), UsageError, "in use or free"),
    "load free misaligned": (lambda z, pfn: z.load_free([pfn + 1], [1], [1]), RangeError, "does not fit"),
    "pageblocks": (lambda z, pfn: z.load_pageblocks([1]), UsageError, "8 pageblocks"),
    "page": (lambda z, pfn: z.page(-1), RangeError, "outside"),
    "watermark": (lambda z, pfn: z.set_watermarks(-1, 0), UsageError, "between 0 and"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_refused_call_is_one_line_and_changes_nothing(name: str) -> None:
    zone, pfn = prepared()
    before = zone.copy()
    call, kind, says = CALLS[name]
    with pytest.raises(PageblockError) as refused:
        call(zone, pfn)
    assert type(refused.value) is kind
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert zone == before
    zone.check()


def test_out_of_memory_is_said_with_the_figures() -> None:
    zone = Zone(16, max_order=2, pageblock_order=2)
    zone.set_watermarks(10, 12)
    for _ in range(6):
        zone.alloc(0)
    with pytest.raises(PageblockError, match="10 pages free, min watermark 10"):
        zone.alloc(0)


def test_a_batch_frees_only_what_its_handles_own() -> None:
    """A page that nobody's handle names moves without touching handle 0, and a wrong handle frees nothing."""
    zone = Zone(4096)
    for _ in range(3):
        zone.alloc(0)
    handles = np.full(2, 0xFFFFFFFF, np.uint32)
    assert zone.run(operation(op=3, migratetype=1, handle=1, nr=512), handles).tolist() == [0]
    assert handles.tolist() == [0xFFFFFFFF, 0]
    handles[0] = 512  # where one of the pages went
    assert zone.run(operation(op=2), handles).tolist() == [-2]
    zone.check()


def test_a_batch_cannot_free_a_hole() -> None:
    zone = Zone(4096, populate=False)
    assert zone.run(operation(op=2), np.array([5], np.uint32)).tolist() == [-2]
    assert zone.run(operation(op=4), np.array([5], np.uint32)).tolist() == [-2]
    assert zone.nr_free_pages == 0


def test_a_pinned_page_across_a_boundary_ends_the_request() -> None:
    """The kernel would look at the same free page again and again; here the request is refused."""
    zone = Zone(16384, max_order=12)
    first, second = zone.alloc(10, pinned=True), zone.alloc(10, pinned=True)
    zone.free(first)
    with pytest.raises(PageblockError, match="crosses the pageblock boundary"):
        zone.alloc_contig_range(second + 512, second + 600)
    zone.check()


def test_a_listener_may_use_the_zone_and_stop_listening() -> None:
    zone = Zone(4096)
    zone.alloc(0, Migratetype.UNMOVABLE)
    heard: list[str] = []

    def listen(event: Event) -> None:
        heard.append(event.name)
        zone.observe(None)
        zone.alloc(0)

    zone.observe(listen)
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(0, 512)
    assert refused.value.pfn == 0
    assert heard
    zone.check()


def test_a_zone_that_was_never_initialised_does_not_crash() -> None:
    zone = Zone.__new__(Zone)
    if COMPILED:
        assert zone.nr_free_pages == 0


def test_an_operation_like_a_well_formed_one_is_still_checked() -> None:
    """What was found well formed is remembered, so that its handle, and all that differs by a bit, must be seen anew."""
    zone = Zone(4096)
    good = np.array([(1, 0, Migratetype.MOVABLE, PageClass.ANON, 0, 0, 0)], OPERATION)
    zone.run(good, handles := np.full(2, 2**32 - 1, np.uint32))
    for field in ("op", "order", "migratetype", "flags", "handle"):
        for bit in range(8):
            bad = good.copy()
            bad[field] ^= 1 << bit
            if field == "handle" and bit == 0:
                continue
            fresh = Zone(4096)
            try:
                fresh.run(bad, handles.copy())
                fine = True
            except UsageError:
                fine = False
            try:
                zone.run(bad, handles.copy())
                assert fine, (field, bit)
            except UsageError:
                assert not fine, (field, bit)


def damage(state: dict[str, Any], name: str) -> None:
    """Break a saved state in one place."""
    nxt, _, states, _, types = state["arrays"]
    free = int(np.flatnonzero(states)[-1])
    if name == "a link out of the zone":
        nxt[free] = 1 << 30
    elif name == "a link to itself":
        nxt[free] = free
    elif name == "a block of another order on a list":
        states[free] ^= 1
    elif name == "a block beyond the end":
        states[len(states) - 1] = states[free]
    elif name == "a type":
        types[0] = 200
    elif name == "a counter":
        state["counters"] = (1 << 70, *state["counters"][1:])
    elif name == "a number of pages on per-cpu lists":
        state["counters"] = (*state["counters"][:19], 7, *state["counters"][20:])
    elif name == "an array of another length":
        state["arrays"] = (nxt[:-1], *state["arrays"][1:])
    else:
        del state[name]


@pytest.mark.parametrize(
    "name",
    [
        "a link out of the zone",
        "a link to itself",
        "a block of another order on a list",
        "a block beyond the end",
        "a type",
        "a counter",
        "a number of pages on per-cpu lists",
        "an array of another length",
        "arrays",
        "beneath",
        "options",
    ],
)
def test_a_damaged_saved_state_is_refused(name: str) -> None:
    """The core trusts links and sizes: a state that was changed would crash the interpreter later."""
    zone, _ = prepared()
    state = zone.saved_state()
    damage(state, name)
    before = zone.copy()
    with pytest.raises(UsageError):
        zone.load_state(state)
    assert zone == before


@pytest.mark.parametrize("release", ["naive", "5.15", "seed-as-posted", "6.1", "6.12"])
def test_a_sound_saved_state_is_taken(release: str) -> None:
    zone = Zone(4096, release)
    zone.set_pcp(60, 15)
    for order in (0, 3, 0, 9):
        zone.alloc(order)
    zone.start_isolate_page_range(2048, 2560)
    other = Zone(4096, release)
    other.load_state(zone.saved_state())
    assert other == zone


def test_counters_that_no_kernel_has_are_refused() -> None:
    zone, _ = prepared()
    before = zone.copy()
    for call in (
        lambda: zone.set_counters(nr_free_pages=1, nr_isolate_pageblock=1 << 60),
        lambda: zone.set_highatomic(1, 1 << 70),
        lambda: zone.adjust_managed_page_count(1 << 63),
        lambda: zone.load_pcp(0, [8192, 8192]),
        lambda: zone.load_pcp(0, None),
        lambda: zone.run(operation(op=2, handle=0xFFFFFFFE, flags=0, nr=0)),
    ):
        with pytest.raises(UsageError):
            call()
        assert zone == before
