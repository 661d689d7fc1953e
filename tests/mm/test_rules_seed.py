"""The seed's patches 3 and 4 as described, and the faults of patch 4 as posted, each on both sides of its boundary.

Sources: the seed's cover letter; what both versions did on a running 5.15.16 with CONFIG_DEBUG_VM (sequences p01 to p20, named
below). Pageblocks have 16 pages here; windows have 64, or 32 where that is said.
"""

import pytest

from pageblock import ContigRefused, KernelBugError, Migratetype, OutOfMemoryError, PageClass, Zone
from pageblock.mm.release import release as find_release

from .test_rules_layout import ISO, H, M, R, U, lists, types, zone_of


def rules_of(name: str) -> tuple[int, ...]:
    """The choices of a release with switches."""
    return find_release(name).rules


def window_of(release: str, *blocks: str) -> Zone:
    """A zone of windows of four pageblocks."""
    return zone_of(release, *blocks, max_order=6)


def refusal(zone: Zone, start: int, end: int) -> tuple[int, int | None]:
    """Which errno a request gets, and for which page."""
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(start, end)
    return refused.value.errno, refused.value.pfn


def bug(zone: Zone, start: int, end: int) -> int:
    """The page at which the kernel stops."""
    with pytest.raises(KernelBugError) as stopped:
        zone.alloc_contig_range(start, end)
    return stopped.value.pfn


# ---- the switches ----


@pytest.mark.parametrize("patch", range(1, 8))
def test_a_patch_switched_on_and_off_again_changes_nothing(patch: int) -> None:
    assert rules_of(f"5.15+p{patch}-p{patch}") == rules_of("5.15")
    assert rules_of(f"seed-p{patch}+p{patch}") == rules_of("seed")


@pytest.mark.parametrize("fault", "abcdfg")
def test_a_fault_switched_on_and_off_again_changes_nothing(fault: str) -> None:
    assert rules_of(f"seed+f{fault}") != rules_of("seed")
    assert rules_of(f"seed+f{fault}-f{fault}") == rules_of("seed")
    assert rules_of(f"seed-as-posted-f{fault}+f{fault}") == rules_of("seed-as-posted")


def test_without_its_faults_the_posted_series_is_the_described_one_and_without_patches_5_15() -> None:
    assert rules_of("seed-as-posted-fa-fb-fc-fd-ff-fg") == rules_of("seed")
    assert rules_of("seed-p1-p2-p3-p4-p5-p6-p7") == rules_of("5.15")
    assert rules_of("5.15+p1+p2+p3+p4+p5+p6+p7") == rules_of("seed")


# ---- what lies beside the request: fault a ----


@pytest.mark.parametrize(
    ("release", "unmovable", "reclaimable", "isolated", "free", "count"),
    [
        ("seed", {4: [0]}, {4: [32]}, {}, 32, 0),
        ("seed+fa", {}, {}, {4: [0, 32]}, 0, 3),
    ],
)
def test_free_pages_beside_the_request(
    release: str,
    unmovable: dict[int, list[int]],
    reclaimable: dict[int, list[int]],
    isolated: dict[int, list[int]],
    free: int,
    count: int,
) -> None:
    """p02: they go back to their types' lists; as posted, only the types do."""
    zone = window_of(release, "U: f4", "M: f4", "R: f4", "M: k*16")
    zone.alloc_contig_range(16, 32)
    assert types(zone) == [U, M, R, M]
    assert (lists(zone, U), lists(zone, R), lists(zone, ISO)) == (unmovable, reclaimable, isolated)
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (free, count)


@pytest.mark.parametrize(("release", "left", "free"), [("seed", {}, 48), ("seed+fa", {4: [32, 48]}, 16)])
def test_a_free_page_across_the_start_is_cut(release: str, left: dict[int, list[int]], free: int) -> None:
    """As posted it is cut after the types are set: what was cut is counted, what was not is lost."""
    zone = window_of(release, "U: f5", "M:", "R: f4", "U: f4")
    zone.alloc_contig_range(16, 32)
    assert lists(zone, U)[4] == [0]
    assert (lists(zone, ISO), zone.nr_free_pages) == (left, free)


@pytest.mark.parametrize(("release", "left", "free"), [("seed", {}, 48), ("seed+fa", {4: [0, 16]}, 16)])
def test_a_free_page_across_the_end_is_cut(release: str, left: dict[int, list[int]], free: int) -> None:
    zone = window_of(release, "R: f4", "U: f4", "M: f5", "U:")
    zone.alloc_contig_range(32, 48)
    assert lists(zone, U)[4] == [48]
    assert (lists(zone, ISO), zone.nr_free_pages) == (left, free)


def test_a_cut_page_is_given_back_pageblock_by_pageblock() -> None:
    zone = window_of("seed", "U: f6", "M:", "R:", "H:")
    zone.alloc_contig_range(16, 32)
    assert (lists(zone, U), lists(zone, R), lists(zone, H)) == ({4: [0]}, {4: [32]}, {4: [48]})
    assert (types(zone), zone.nr_free_pages) == ([U, M, R, H], 48)


# ---- where unmovable pages are looked for: patch 3 ----


@pytest.mark.parametrize(("before", "behind", "at"), [("k", "f0", 0), ("f0", "k", 32)])
@pytest.mark.parametrize("patch", [True, False])
def test_unmovable_pages_beside_the_request(before: str, behind: str, at: int, patch: bool) -> None:
    zone = window_of(
        "seed" if patch else "seed-p3", f"U: {before} f0 f1 f2 f3", "M: f4", f"R: {behind} f0 f1 f2 f3", "M: f4"
    )
    if patch:
        zone.alloc_contig_range(16, 32)
    else:
        assert refusal(zone, 16, 32) == (16, at)
    assert (types(zone), zone.nr_isolate_pageblock) == ([U, M, R, M], 0)


# ---- refusals and interrupts: faults b and g ----


@pytest.mark.parametrize(
    ("release", "left"), [("seed", [U, U, R, ISO]), ("seed+fb", [U, U, R, ISO]), ("seed+fg", [M, M, M, ISO])]
)
def test_a_refused_request_gives_back_what_it_isolated(release: str, left: list[Migratetype]) -> None:
    """p12: the pageblock behind the request is isolated already."""
    zone = window_of(release, "U: f4", "U: f4", "R: f4", "I: f4")
    assert refusal(zone, 16, 32) == (16, 48)
    assert (types(zone), zone.nr_isolate_pageblock, zone.nr_free_pages) == (left, 1, 48)


@pytest.mark.parametrize(("release", "left"), [("seed", [U, ISO, R, M]), ("seed+fb", [U, M, R, M])])
def test_a_refused_request_and_the_pageblocks_of_others_in_it(release: str, left: list[Migratetype]) -> None:
    """p13: the error path of the posted patch gives back what it never isolated."""
    zone = window_of(release, "U: f4", "I: f4", "R: f4", "M: f4")
    assert refusal(zone, 0, 32) == (16, 16)
    assert (types(zone), zone.nr_isolate_pageblock) == (left, left.count(ISO))


@pytest.mark.parametrize("signal", [True, False])
@pytest.mark.parametrize(
    ("release", "left"),
    [
        ("seed", [U, U, R, M]),
        ("seed+fb", [ISO, U, ISO, ISO]),
        ("seed+fg", [U, M, R, M]),
        ("seed+fb+fg", [ISO, M, ISO, ISO]),
    ],
)
def test_after_an_interrupt_or_for_want_of_memory(signal: bool, release: str, left: list[Migratetype]) -> None:
    """p13, p18: the posted patch gives back the request alone; with fault g, as its own type."""
    zone = window_of(release, "U: k*16", "U: a*16", "R: k*16", "M: k*16")
    zone.set_signal_pending(signal)
    assert refusal(zone, 16, 32)[0] == (4 if signal else 12)
    assert (types(zone), zone.nr_isolate_pageblock) == (left, left.count(ISO))


# ---- what is tested and taken: fault d ----


@pytest.mark.parametrize("request_end", [28, 27])
def test_pages_in_use_in_the_last_pageblock_but_behind_the_request(request_end: int) -> None:
    """p06: the posted patch asks for whole pageblocks."""
    drawn = ("U: f4", "M: f3 f2 k*4", "M: f4", "M: f4")
    assert window_of("seed", *drawn).alloc_contig_range(16, request_end).end_pfn == request_end
    zone = window_of("seed+fd", *drawn)
    assert refusal(zone, 16, request_end) == (16, 28)
    assert zone.nr_free_pages == 60


def test_whole_pageblocks_that_are_free_are_no_hindrance() -> None:
    zone = window_of("seed+fd", "U: f4", "M: f4", "M: f4", "M: f4")
    zone.alloc_contig_range(18, 28)
    assert (zone.nr_free_pages, lists(zone, M)) == (54, {1: [16], 2: [28], 5: [32]})


# ---- a page across both ends: fault f, alone and with the walks ----


@pytest.mark.parametrize(
    ("release", "twice"),
    [
        ("seed", False),
        ("seed+fc", False),
        ("seed+fa+fc", False),
        ("seed+ff", True),
        ("seed+fa+ff", True),
        ("seed+fc+ff", True),
        ("seed-as-posted-fd", True),
    ],
)
def test_a_page_across_both_ends_of_the_request(release: str, twice: bool) -> None:
    """p09: NR_FREE is too high for ever by what lies behind the request: both walks split. HIGHATOMIC does not merge."""
    zone = window_of(release, "U: f6", "M:", "R:", "H:")
    zone.alloc_contig_range(18, 28)
    assert (lists(zone, U), lists(zone, R), lists(zone, H)) == ({4: [0]}, {4: [32]}, {4: [48]})
    assert (lists(zone, M), zone.nr_free_pages) == ({1: [16], 2: [28]}, 54 + 32 * twice)


# ---- the walks beside the request: fault c ----


@pytest.mark.parametrize(
    ("release", "listed", "free"),
    [("seed", {4: [0, 48]}, 32), ("seed+fc", {4: [48, 0]}, 48), ("seed+fa+fc", {4: [48, 0]}, 32)],
)
def test_a_whole_page_behind_the_request_is_split_too(release: str, listed: dict[int, list[int]], free: int) -> None:
    """It is freed anew, to the head of its list, and so counted once more."""
    zone = window_of(release, "U: f5", "M:", "R: f4", "U: f4")
    zone.alloc_contig_range(16, 48)
    assert (lists(zone, U), zone.nr_free_pages) == (listed, free)


def test_a_page_that_begins_with_the_request_is_split_by_the_walk_behind_it() -> None:
    zone = zone_of("seed+fa+fc", "M: f5", "U:")
    assert zone.alloc_contig_range(0, 16).split == ((0, 5),)
    assert (lists(zone, U), zone.nr_free_pages) == ({4: [16]}, 16)


@pytest.mark.parametrize(
    ("behind", "at", "free"),
    [
        ("k*16", 16, 0),  # p03: it meets the request's own page
        ("f0 k*15", 17, 1),  # p05: a single page ends where the second is looked at
    ],
)
@pytest.mark.parametrize(("fault", "stays"), [("seed+fc", 1), ("seed+fa+fc", 2)])
def test_a_walk_that_meets_a_page_that_ends_before_is_a_bug(
    behind: str, at: int, free: int, fault: str, stays: int
) -> None:
    """VM_BUG_ON(outer_end + (1UL << order) <= begin_pfn). The request stays isolated. Windows of 32."""
    zone = zone_of("seed", "M: f4", f"M: {behind}")
    zone.alloc_contig_range(0, 16)
    zone = zone_of(fault, "M: f4", f"M: {behind}")
    assert bug(zone, 0, 16) == at
    assert types(zone) == [ISO, M]
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (free if fault == "seed+fc" else 0, stays)


@pytest.mark.parametrize(("behind", "at"), [("k*2 f1 k*12", 18), ("k*14 f1", 30)])
def test_a_small_page_elsewhere_behind_the_request_is_a_bug(behind: str, at: int) -> None:
    """p07: it is freed as a pageblock, which it is not aligned to; __free_one_page has counted it. Windows of 32."""
    zone = zone_of("seed+fc", "M: A f0 f1 f2 f3", f"M: {behind}")
    assert bug(zone, 0, 16) == at
    assert zone.nr_free_pages == 2 + 16


def test_where_the_walks_meet_no_free_page_they_go_on() -> None:
    zone = zone_of("seed+fc", "M: A f0 f1 f2 f3", "M: k*15 f0")
    assert refusal(zone, 0, 16) == (16, 0)
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (16, 0)


def test_a_request_that_begins_inside_a_small_page_is_a_bug() -> None:
    """p08. The pageblock is isolated: nothing is counted. Windows of 32."""
    zone = zone_of("seed+fc", "M: a*2 f1 f2 f3", "M: k*16")
    assert bug(zone, 3, 16) == 2
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (0, 1)
    zone = zone_of("seed+fc", "M: a*2 f1 f2 f3", "M: k*16")
    assert zone.alloc_contig_range(2, 16).split == ()


@pytest.mark.parametrize(("drawn", "start"), [("f2 A a*3 f3", 4), ("f2 a*4 A k*7", 8)])
def test_a_small_page_that_does_not_reach_the_request_is_not_split_at_its_start(drawn: str, start: int) -> None:
    """The order walk meets it, as nothing free lies between."""
    zone = zone_of("seed+fc", "M: k*16", f"M: {drawn}")
    assert refusal(zone, 16 + start, 16 + start + 1) == (16, 16 + start)
    assert lists(zone, M)[2] == [16]


# ---- free pages over pages in use ----


def covered(release: str = "seed+fc", *more: str) -> Zone:
    """p04: a free pair just behind the request makes a free pageblock of its pageblock, over 14 kernel pages."""
    zone = zone_of(release, "M: f4", "M: f1 k*14", *more)
    zone.alloc_contig_range(0, 16)
    return zone


def taken(zone: Zone, order: int = 0) -> list[int]:
    """What requests get until one fails."""
    found = []
    for _ in range(zone.geometry.nr_pages):
        try:
            found.append(zone.alloc(order))
        except OutOfMemoryError:
            return found
    raise AssertionError("the zone gave more pages than it has")


@pytest.mark.parametrize(("release", "listed", "free"), [("seed", {1: [16]}, 2), ("seed+fc", {4: [16]}, 34)])
def test_a_pair_just_behind_the_request(release: str, listed: dict[int, list[int]], free: int) -> None:
    """The walk frees it as a pageblock, comes upon that, and frees it again: counted as 16 pages both times."""
    zone = covered(release)
    assert (lists(zone, M), zone.nr_free_pages) == (listed, free)


@pytest.mark.parametrize(("order", "found"), [(0, [16, 17]), (1, [16]), (2, [16]), (3, [16]), (4, [16])])
@pytest.mark.parametrize("high", [None, 100])
def test_blocks_whose_first_page_is_in_use_are_dropped(order: int, found: list[int], high: int | None) -> None:
    """check_new_pcp looks at no other page, and what it drops is lost; pages in use keep their users."""
    zone = covered()
    if high:
        zone.set_pcp(high, 4)
    assert taken(zone, order) == found
    assert (lists(zone, M), zone.nr_free_pages) == ({}, 18)
    # the block at 24 may wait on a per-cpu list; it is looked at when it is handed out
    assert all(zone.page(pfn).page_class == PageClass.KERNEL for pfn in range(18, 32) if pfn != 24)
    assert zone.page(16).order == order


@pytest.mark.parametrize("high", [None, 100])
def test_users_keep_their_pages(high: int | None) -> None:
    """Who owns them and what they are, also where the block came over a per-cpu list."""
    zone = Zone(32, "seed+fc", 0, 5, 4)
    owners = [zone.alloc(0, owner=100 + number) for number in range(32)]
    assert owners == list(range(32))
    for pfn in range(18):
        zone.free(pfn)
    zone.alloc_contig_range(0, 16)
    if high:
        zone.set_pcp(high, 4)
    assert taken(zone) == [16, 17]
    assert [(zone.page(pfn).owner, zone.page(pfn).page_class) for pfn in range(18, 32)] == [
        (100 + pfn, PageClass.ANON) for pfn in range(18, 32)
    ]


def test_the_next_block_is_tried() -> None:
    """A block whose first page is in use is dropped, and the request goes on with the next one."""
    assert taken(covered("seed+fc", "M: k*16", "M: f4"), 3) == [16, 48, 56]


def test_a_page_that_its_user_frees_is_free() -> None:
    zone = covered()
    assert zone.alloc(0) == 16
    zone.free(21)
    assert taken(zone) == [21, 17]


def test_a_page_that_was_handed_out_once_is_under_no_free_page_any_more() -> None:
    zone = covered()
    assert taken(zone) == [16, 17]
    zone.free(18)
    assert taken(zone) == [18]


def test_a_request_over_them_is_a_bug() -> None:
    """set_page_refcounted: page_ref_count."""
    zone = covered()
    assert bug(zone, 16, 32) == 18
    assert zone.nr_isolate_pageblock == 1


def test_alloc_contig_pages_ends_where_the_kernel_stops() -> None:
    """The free pair at 6 is split at its second page into a pageblock that begins at 6: no range behind it is tried."""
    zone = Zone(40, "seed-as-posted", start_pfn=4, max_order=2, pageblock_order=2)
    zone.alloc(0, Migratetype.UNMOVABLE)
    with pytest.raises(KernelBugError):
        zone.alloc_contig_pages(1)
