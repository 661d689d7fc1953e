"""Each cause: the evidence that makes it as sure as it can be, what rules it out, and what it has nothing to say to."""

import re
from dataclasses import replace

import pytest

from pageblock.doctor.causes import CAUSES, Area, Certainty, Evidence, PageState, Repeats, ZoneState, judge
from pageblock.doctor.causes.cause import cause

#: A page of a file, as migration sees it: one reference of the page cache, one of migration.
FILE = PageState(
    pfn=0x500,
    flags=frozenset(("lru", "uptodate")),
    refcount=2,
    mapcount=0,
    mapping=True,
    aops="ext4_da_aops",
    isolation_ref=True,
)
ANON = PageState(
    pfn=0x500, flags=frozenset(("lru", "swapbacked")), refcount=3, mapcount=2, anon=True, isolation_ref=True
)
KERNEL = PageState(pfn=0x500, flags=frozenset(), refcount=1, mapcount=0)
OFFLINE = Evidence(errno=16, caller="offline", step="isolate")
MOVING = Evidence(errno=16, caller="offline", step="migrate", migrate_ret=1)
CMA = Evidence(errno=16, caller="cma", pages=64)
BUSY = replace(CMA, step="test")
NEW = replace(CMA, kernel=(6, 17), kernel_text="6.17.2")
BUDDY = Evidence(errno=12, caller="buddy", order=4, gfp=frozenset(("GFP_KERNEL",)))
NORMAL = ZoneState(
    "Normal",
    free=50_000,
    minimum=5_000,
    low=6_000,
    free_cma=0,
    blocks=((900, "UM"), (5, "M"), (0, ""), (0, ""), (0, "")),
)


def flagged(state: PageState, *flags: str) -> PageState:
    return replace(state, flags=(state.flags or frozenset()) | set(flags))


#: Cause -> the evidence for which it is surest.
EXAMPLES: dict[str, Evidence] = {
    "reserved": replace(OFFLINE, page=flagged(KERNEL, "reserved")),
    "slab": replace(OFFLINE, page=flagged(KERNEL, "slab")),
    "page tables": replace(OFFLINE, page=replace(KERNEL, page_type="table")),
    "kernel page": replace(OFFLINE, page=replace(KERNEL, owner=("alloc_ring",), owner_type="Unmovable")),
    "lru batch": replace(OFFLINE, page=replace(ANON, flags=frozenset(("uptodate", "swapbacked")))),
    "long-term pin": replace(MOVING, page=replace(ANON, refcount=3 + 1024)),
    "short-term reference": replace(MOVING, page=replace(ANON, refcount=4)),
    "buffers": replace(MOVING, page=replace(flagged(FILE, "private"), refcount=3, aops="def_blk_aops")),
    "writeback": replace(MOVING, page=flagged(FILE, "writeback")),
    "swap cache count": replace(MOVING, page=replace(FILE, aops="swap_aops"), kernel=(6, 18), kernel_text="6.18"),
    "driver-movable": replace(MOVING, migrate_ret=None, page=replace(KERNEL, aops="zsmalloc_aops")),
    "hwpoison": replace(OFFLINE, page=flagged(KERNEL, "hwpoison")),
    "offline page": replace(OFFLINE, page=replace(KERNEL, page_type="offline")),
    "racing isolation": replace(CMA, isolated_kb=8192, area=Area(4096, 2048, 512, 9, 30, 6)),
    "gigantic page": replace(MOVING, page=replace(ANON, page_type="hugetlb", order=18), max_order=10),
    "hugetlb page": replace(MOVING, caller="contig", page=replace(ANON, page_type="hugetlb", order=9)),
    "no target": replace(MOVING, errno=12, migrate_ret=-12, page=FILE),
    "zone boundary": replace(OFFLINE, rule="memory holes"),
    "straddling page": replace(MOVING, rule="straddles", page=replace(KERNEL, order=9)),
    "cma type": replace(OFFLINE, page=replace(ANON, cma=True)),
    "inflated reference": Evidence(errno=16, caller="hugetlb", rule="inflated"),
    "no free range": Evidence(errno=12, caller="hugetlb", pages=1 << 18, wanted_pages=1 << 20, memory_pages=1 << 19),
    "bitmap fragmentation": replace(CMA, errno=12, area=Area(4096, 2048, 32, 64, 0, 6)),
    "area used up": replace(CMA, errno=12, area=Area(4096, 40, 32, 2, 0, 6)),
    "zero slack": replace(CMA, area=Area(64, 64, 64, 1, 1, 6)),
    "larger than any": replace(CMA, errno=12, area=Area(32)),
    "caller's gfp": replace(BUSY, kernel=(4, 10), kernel_text="4.10-rc4", repeats=Repeats(tries=9, separate=9)),
    "allocation's gfp": replace(BUDDY, zones=(replace(NORMAL, blocks=((0, ""), (0, ""), (0, ""), (0, ""), (7, "C"))),)),
    "memory short": replace(BUDDY, zones=(replace(NORMAL, free=4_000),)),
    "fragmentation": replace(BUDDY, zones=(NORMAL,)),
    "memmap block": replace(BUDDY, rule="vmemmap"),
    "area refused": Evidence(caller="reserve", step="reserve", rule="alignment"),
    "interrupted": Evidence(errno=4, caller="cma", pages=1),
    "notifier": replace(OFFLINE, rule="notifier failure"),
}


def certainty(name: str, evidence: Evidence) -> Certainty | None:
    """How sure a cause is; None where it has nothing to say."""
    judgement = CAUSES[name].judge(evidence)
    return None if judgement is None else judgement.certainty


def test_every_cause_has_an_example() -> None:
    assert set(EXAMPLES) == set(CAUSES)


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_as_sure_as_it_says_and_says_why(name: str) -> None:
    judgement = CAUSES[name].judge(EXAMPLES[name])
    assert judgement is not None
    assert judgement.certainty is CAUSES[name].surest
    assert judgement.speaks_for


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_of_a_sure_example_comes_first(name: str) -> None:
    found = judge(EXAMPLES[name])
    best = [finding.cause.name for finding in found if finding.judgement.certainty is found[0].judgement.certainty]
    assert name in best


@pytest.mark.parametrize("name", CAUSES)
def test_nothing_is_claimed_without_evidence(name: str) -> None:
    assert certainty(name, Evidence()) is None


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_documented(name: str) -> None:
    entry = CAUSES[name]
    assert re.search(r"(mm|arch|include|kernel|drivers)/", entry.source)
    assert entry.remedies
    assert entry.seen
    assert set(entry.errno) <= {4, 12, 16, 22}
    assert all(re.fullmatch("[0-9a-f]{12}", commit.hash) for commit in entry.commits)


@pytest.mark.parametrize(
    ("name", "evidence", "wanted"),
    [
        # references that are all accounted for leave nobody who could hold the page
        ("long-term pin", replace(MOVING, page=FILE), Certainty.RULED_OUT),
        ("long-term pin", replace(MOVING, page=replace(ANON, pins=2)), Certainty.CERTAIN),
        ("long-term pin", replace(MOVING, page=replace(ANON, refcount=4)), Certainty.POSSIBLE),
        (
            "long-term pin",
            replace(MOVING, page=replace(ANON, refcount=4), repeats=Repeats(times=9, seconds=60, same_page=True)),
            Certainty.LIKELY,
        ),
        ("long-term pin", replace(BUSY, signs=("vfio in the log (line 1)",)), Certainty.LIKELY),
        (
            "long-term pin",
            replace(BUSY, signs=("vfio in the log (line 1)",), repeats=Repeats(tries=9, separate=9)),
            Certainty.POSSIBLE,
        ),
        ("long-term pin", replace(BUSY, pins_held=0), Certainty.RULED_OUT),
        # a passing reference does not last
        (
            "short-term reference",
            replace(MOVING, page=replace(ANON, refcount=4), repeats=Repeats(times=9, seconds=60, same_page=True)),
            Certainty.RULED_OUT,
        ),
        # the message is printed after isolation
        ("racing isolation", BUSY, Certainty.RULED_OUT),
        ("racing isolation", replace(CMA, kernel=(5, 15), kernel_text="5.15.3"), Certainty.LIKELY),
        ("racing isolation", replace(CMA, kernel=(6, 1), kernel_text="6.1.2"), None),
        ("racing isolation", CMA, Certainty.POSSIBLE),
        ("racing isolation", replace(CMA, isolated_blocks=3), Certainty.LIKELY),
        ("bitmap fragmentation", replace(CMA, area=Area(4096, 2048, 512, 9, 30, 6)), Certainty.RULED_OUT),
        ("bitmap fragmentation", replace(CMA, errno=12), Certainty.LIKELY),
        ("bitmap fragmentation", replace(CMA, errno=12, area=Area(4096, 2048, 70, 40, 0, 6)), Certainty.LIKELY),
        # since 6.15 -16 also means that the bitmap has no room
        ("bitmap fragmentation", replace(NEW, area=Area(4096, 2048, 32, 64, 0, 6)), Certainty.CERTAIN),
        ("bitmap fragmentation", replace(CMA, area=Area(4096, 2048, 32, 64, 0, 6)), Certainty.CERTAIN),
        ("bitmap fragmentation", replace(NEW, area=Area(4096, 200)), Certainty.LIKELY),
        ("bitmap fragmentation", NEW, Certainty.POSSIBLE),
        ("bitmap fragmentation", replace(NEW, kernel=(6, 12), area=Area(4096, 200)), None),
        (
            "bitmap fragmentation",
            replace(NEW, kernel=(6, 12), kernel_or_later=True, area=Area(4096, 200)),
            Certainty.POSSIBLE,
        ),
        ("area used up", replace(NEW, area=Area(4096, 40)), Certainty.CERTAIN),
        ("long-term pin", replace(NEW, area=Area(4096, 40)), None),
        ("racing isolation", replace(NEW, area=Area(4096, 40)), None),
        ("no target", replace(CMA, errno=12, area=Area(4096, 2048, 512, 9, 30, 6)), Certainty.LIKELY),
        ("no target", replace(CMA, errno=12, area=Area(4096, 2048, 32, 64, 0, 6)), Certainty.RULED_OUT),
        ("no target", replace(CMA, errno=12), Certainty.POSSIBLE),
        ("zero slack", replace(CMA, area=Area(4096, 64, 64, 1, 1, 6)), Certainty.LIKELY),
        ("zero slack", replace(CMA, area=Area(4096, 2048, 512, 9, 30, 6)), None),
        ("writeback", replace(BUSY, repeats=Repeats(tries=9, separate=9, per_try=0.0001)), Certainty.RULED_OUT),
        ("writeback", replace(BUSY, repeats=Repeats(tries=9, separate=9, per_try=0.01)), None),
        ("caller's gfp", replace(BUSY, kernel=(4, 19), kernel_text="4.19.1"), None),
        ("caller's gfp", replace(BUSY, kernel=(4, 14), kernel_text="4.14.70-v7+"), Certainty.LIKELY),
        ("lru batch", replace(BUSY, kernel=(5, 15), kernel_text="5.15.3"), None),
        ("lru batch", replace(OFFLINE, page=ANON), None),
        ("buffers", replace(MOVING, page=replace(flagged(FILE, "private"), refcount=4)), Certainty.POSSIBLE),
        ("buffers", replace(MOVING, page=replace(flagged(FILE, "private"), refcount=3)), Certainty.LIKELY),
        ("gigantic page", replace(MOVING, page=replace(ANON, page_type="hugetlb", order=9), max_order=10), None),
        ("gigantic page", replace(MOVING, page=replace(ANON, page_type="hugetlb", order=13), max_order=13), None),
        ("kernel page", replace(OFFLINE, page=KERNEL), Certainty.LIKELY),
        ("kernel page", replace(OFFLINE, page=ANON), None),
        (
            "hugetlb page",
            replace(MOVING, caller="contig", kernel=(6, 1), page=replace(ANON, page_type="hugetlb", order=9)),
            None,
        ),
        ("zone boundary", replace(CMA, crosses_zone=True, kernel=(6, 12), kernel_text="6.12"), Certainty.CERTAIN),
        ("zone boundary", replace(CMA, crosses_zone=True, kernel=(6, 1), kernel_text="6.1"), Certainty.RULED_OUT),
        ("no free range", Evidence(errno=12, caller="hugetlb", step="allocate", pages=1 << 18), Certainty.LIKELY),
        ("memory short", replace(BUDDY, zones=(NORMAL,)), Certainty.RULED_OUT),
        ("memory short", replace(BUDDY, zones=(replace(NORMAL, free=5_500),)), Certainty.POSSIBLE),
        ("memory short", replace(BUDDY, zones=(replace(NORMAL, free_cma=48_000),)), Certainty.CERTAIN),
        ("fragmentation", replace(BUDDY, order=1, zones=(NORMAL,)), Certainty.RULED_OUT),
        ("fragmentation", replace(BUDDY, order=0, zones=(NORMAL,)), Certainty.RULED_OUT),
        ("fragmentation", replace(BUDDY, extfrag=(-1.0, -1.0, 0.2)), None),
        ("allocation's gfp", replace(BUDDY, zones=(NORMAL,)), None),
        ("allocation's gfp", replace(BUDDY, gfp=frozenset(("GFP_ATOMIC",))), Certainty.LIKELY),
        ("larger than any", replace(BUDDY, order=12, max_order=10), Certainty.CERTAIN),
        ("larger than any", Evidence(errno=12, caller="dma", pages=32768, order=15), Certainty.LIKELY),
    ],
)
def test_what_makes_a_cause_more_or_less_sure(name: str, evidence: Evidence, wanted: Certainty | None) -> None:
    assert certainty(name, evidence) is wanted


@pytest.mark.parametrize(
    ("page", "excess"),
    [
        (FILE, 0),
        (replace(flagged(FILE, "private"), refcount=3), 0),
        (replace(FILE, order=4, refcount=17), 0),
        (ANON, 0),
        (flagged(replace(ANON, refcount=4), "swapcache"), 0),
        (flagged(replace(ANON, refcount=4), "owner_priv_1"), 0),
        (replace(ANON, refcount=5), 2),
        (replace(ANON, refcount=None), None),
        (flagged(KERNEL, "slab"), None),
    ],
)
def test_references_beyond_those_that_migration_expects(page: PageState, excess: int | None) -> None:
    assert page.excess == excess


@pytest.mark.parametrize(
    ("kernel", "max_order", "pageblock_order", "window"),
    [
        ((5, 15), 10, 9, 1024),
        (None, 13, None, 8192),
        ((6, 1), 10, 9, 512),
        ((6, 1), 10, None, None),
        (None, None, None, None),
    ],
)
def test_the_window_of_isolation(
    kernel: tuple[int, int] | None, max_order: int | None, pageblock_order: int | None, window: int | None
) -> None:
    assert Evidence(kernel=kernel, max_order=max_order, pageblock_order=pageblock_order).window == window


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="there already"):
        cause("slab", "again", errno=(16,), transient=False, seen={}, source="mm/slub.c", remedies=())(lambda e: None)


def test_findings_are_sorted_by_how_sure_they_are() -> None:
    ranks = [
        finding.judgement.certainty.rank
        for finding in judge(replace(BUSY, repeats=Repeats(tries=9, separate=1, per_try=1e-5)))
    ]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) > 1
