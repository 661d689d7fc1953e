"""Causes that are the range: who isolates it, where it ends, what lies in it as a whole, and where its pages could go."""

from .cause import Certainty, Commit, Judgement, cause
from .evidence import Evidence
from .pages import stays_busy

__all__: list[str] = []

CERTAIN, LIKELY, POSSIBLE, RULED_OUT = Certainty.CERTAIN, Certainty.LIKELY, Certainty.POSSIBLE, Certainty.RULED_OUT

#: Releases whose cma_alloc takes no lock around alloc_contig_range: from the first on, before the second.
UNLOCKED = ((5, 11), (5, 19))

#: Windows of isolation in an area up to which neighbours are likely to meet.
FEW_WINDOWS = 64


@cause(
    "racing isolation",
    "another allocation was isolating the same pageblock",
    surest=LIKELY,
    errno=(16,),
    transient=True,
    seen={
        "counts": "pagetypeinfo: blocks of type Isolate before the request",
        "log": "-16 although much of the area is free; Mem-Info with I lists, more on the lists than counted free",
    },
    source="mm/page_isolation.c, set_migratetype_isolate: a pageblock that is isolated already refuses; mm/cma.c, cma_mutex",
    remedies=(
        "retry a moment later",
        "move to a kernel whose cma_alloc holds the lock: 5.19 or later, or a stable series that took the revert",
        "smaller pageblocks (CONFIG_ARCH_FORCE_MAX_ORDER, CONFIG_PAGE_BLOCK_MAX_ORDER): fewer neighbours share one",
    ),
    commits=(
        Commit("a4efc174b382", "cma_alloc without cma_mutex: allocations run side by side", "5.11"),
        Commit("60a60e32cf91", "the mutex is back; stable series took it too", "5.19"),
    ),
)
def racing_isolation(e: Evidence) -> Judgement | None:
    if e.errno != 16 or e.caller not in ("cma", "contig", "virtio_mem", "offline") or e.page is not None:
        return None
    if e.step == "test":
        return Judgement(
            RULED_OUT, against=["the range was isolated: the message comes after that, when a page is still in use"]
        )
    if e.caller == "offline" or e.no_room:
        return None
    found = Judgement(POSSIBLE)
    area, size = e.area, e.page_size or 4096
    if area is not None and area.free is not None and e.pages is not None and (area.largest or 0) >= e.pages:
        far = "far " if (area.largest or 0) >= 8 * e.pages else ""
        runs = f", in runs {far}larger than {e.pages:,} pages" if (area.largest or 0) > e.pages else ""
        found.speaks_for.append(f"{area.free / max(area.pages, 1):.0%} of the area is free{runs}")
    known = e.kernel is not None
    unlocked = known and UNLOCKED[0] <= (e.kernel or (0, 0)) < UNLOCKED[1]
    if unlocked:
        found.speaks_for.append(
            f"Linux {e.kernel_text}: cma_alloc takes no lock from 5.11 to 5.18, unless the revert was backported"
        )
    elif known and e.caller == "cma":
        found.against.append(
            f"Linux {e.kernel_text}: cma_alloc holds a lock, so only another caller of alloc_contig_range can race"
        )
    window = e.window
    if window is not None and area is not None:
        windows = -(-area.pages // window)
        if windows <= FEW_WINDOWS and (e.pages or window) < window:
            found.speaks_for.append(
                f"isolation takes {window * size >> 20:,} MiB at a time here: neighbours share a window ({windows} in the area)"
            )
    isolated = (e.isolated_kb or 0) > 0 or (e.isolated_blocks or 0) > 0
    if e.isolated_kb:
        found.speaks_for.append(f"{e.isolated_kb:,} kB of free memory were in isolated pageblocks when it failed")
    if e.isolated_blocks:
        found.speaks_for.append(f"{e.isolated_blocks:,} pageblocks were isolated")
    slack = area is None or area.places is None or area.places > 1
    if (isolated or unlocked or (len(found.speaks_for) > 1 and slack)) and not found.against:
        found.certainty = LIKELY
    if not found.speaks_for and found.against:
        return None
    found.settles.append(
        "the test_pages_isolated tracepoint (none for a range that was not isolated), or the same request a second later"
    )
    return found


@cause(
    "gigantic page",
    "a gigantic huge page lies in the range",
    errno=(12, 16),
    transient=False,
    seen={
        "kpageflags": "HUGE, an order above the largest block",
        "log": "page dump: order above the largest block, hugetlb",
    },
    source="mm/hugetlb.c, isolate_or_dissolve_huge_page (-ENOMEM at once); offlining needs one of its size as target",
    remedies=(
        "free the page: echo fewer into nr_hugepages of its size, or stop who uses it",
        "offlining: reserve a gigantic page on another node first, so that it has somewhere to go",
    ),
)
def gigantic_page(e: Evidence) -> Judgement | None:
    page = e.page
    if page is None or not page.hugetlb:
        return None
    largest = e.max_order if e.max_order is not None else 10
    if page.order <= largest:
        return None
    found = Judgement(
        CERTAIN,
        [
            f"pfn {page.pfn:#x}: huge page of order {page.order}"
            if page.pfn is not None
            else f"huge page of order {page.order}"
        ],
    )
    if e.max_order is None:
        found.speaks_for.append("the largest block is taken to be of order 10, as is usual")
    return found


@cause(
    "hugetlb page",
    "a huge page of the pool lies in the range",
    surest=LIKELY,
    errno=(16,),
    transient=False,
    seen={"kpageflags": "HUGE", "log": "PFNs busy for one range again and again while huge pages are reserved"},
    source="mm/page_alloc.c, alloc_contig_range: neither free nor used huge pages could be moved before 5.13",
    remedies=(
        "free the huge pages: echo 0 > /proc/sys/vm/nr_hugepages, ask, then reserve them again",
        "or lower nr_hugepages by what HugePages_Free counts: a huge page in use then gives its place back",
        "move to 5.13 or later, which replaces them",
    ),
    commits=(Commit("369fa227c219", "alloc_contig_range replaces free huge pages", "5.13"),),
)
def hugetlb_page(e: Evidence) -> Judgement | None:
    page = e.page
    if e.rule == "back to the pool":
        return Judgement(
            LIKELY,
            ["a huge page in use moves into an unused one of its pool, and its own place stays in the pool, not free"],
            settles=["HugePages_Free and HugePages_Rsvd of that moment: with none unused, the place is given back"],
        )
    if page is not None and page.hugetlb and e.errno == 16 and e.caller in ("contig", "virtio_mem"):
        if e.kernel is not None and e.kernel >= (5, 13):
            return None
        return Judgement(LIKELY, ["a huge page, and kernels before 5.13 cannot replace it"])
    if page is None and e.step == "test" and e.caller == "contig" and (e.kernel is None or e.kernel < (5, 13)):
        return Judgement(
            POSSIBLE,
            ["a caller that can meet huge pages: it asks for the same range again, as virtio-mem does"],
            settles=["HugePages_Total in meminfo; nr_hugepages by node"],
        )
    return None


@cause(
    "no target",
    "no free memory for the range's pages to move to",
    errno=(12,),
    transient=True,
    seen={
        "counts": "free pages of the zones and nodes that may be targets near their min watermark",
        "log": "migrating pfn … failed ret:-12; cma_alloc ret -12 while its bitmap has room",
    },
    source="mm/migrate.c, alloc_migration_target: -ENOMEM ends __alloc_contig_migrate_range; offlining tries again",
    remedies=(
        "free memory: echo 3 > /proc/sys/vm/drop_caches, stop a process, add swap",
        "echo 1 > /proc/sys/vm/compact_memory, where huge pages need blocks of their size",
        "huge pages: put free ones of the same size into another node's pool first",
    ),
)
def no_target(e: Evidence) -> Judgement | None:
    low = [
        f"{z.label}: {z.free:,} kB free, low watermark {z.low:,} kB"
        for z in e.zones
        if z.free is not None and z.low and z.free <= z.low
    ]
    if e.predicted and e.step == "migrate":
        return _no_target_left(e)
    if e.migrate_ret == -12:
        found = Judgement(CERTAIN, ["migration returned -12: it found no page to move to"])
        if e.page is not None and e.page.hugetlb:
            found.speaks_for.append(f"a huge page of order {e.page.order} needs another one of its size")
        found.speaks_for += low
        return found
    if e.errno != 12 or e.caller not in ("cma", "contig"):
        return None
    if e.area is not None and e.pages is not None and e.pages > e.area.pages:
        return None
    found = Judgement(POSSIBLE, low)
    if e.area is not None and e.area.places is not None:
        if e.area.places == 0:
            return Judgement(RULED_OUT, against=["nothing was tried: the bitmap has no room for the request"])
        found.certainty = LIKELY
        found.speaks_for.insert(
            0, f"the bitmap has {e.area.places:,} places for it, so one was tried and its pages found no target"
        )
    elif low:
        found.certainty = LIKELY
    if any(z.free is not None and z.low and z.free > 2 * z.low for z in e.zones) and not low:
        found.against.append("the zones listed have free memory above their low watermarks")
    found.settles.append("the bitmap (debugfs cma/NAME/bitmap, maxchunk) and Mem-Info of that moment")
    return found


def _no_target_left(e: Evidence) -> Judgement | None:
    """A state in which more would have to move than could be taken, or a huge page finds no block of its size."""
    reclaim = ["reclaim is not counted: the kernel may free memory for it meanwhile"]
    settles = ["free memory (drop caches, stop a process), then pageblock doctor again"]
    if e.moves is not None and e.targets is not None and e.moves > e.targets:
        left = f"{e.moves:,} pages to move, {e.targets:,} free pages outside the range above the watermarks"
        return Judgement(LIKELY, [left], reclaim, settles)
    if e.errno == 12 and e.page is not None and e.page.hugetlb:
        large = f"a huge page of order {e.page.order} needs a free block of its size, and none is outside the range"
        return Judgement(LIKELY, [large], ["a free one in a pool (nr_hugepages) would do, too"], settles)
    return None


@cause(
    "zone boundary",
    "the range or its pageblock reaches out of the zone, or holds no memory in part",
    errno=(16, 22),
    transient=False,
    seen={"counts": "zoneinfo: the zone starts or ends inside the pageblock", "log": "memory holes, multizone range"},
    source="mm/page_isolation.c, page_is_unmovable of a block across zones (6.10); mm/memory_hotplug.c, offline_pages (-EINVAL)",
    remedies=("ask for a range inside one zone", "leave the block online: one with holes never goes offline"),
)
def zone_boundary(e: Evidence) -> Judgement | None:
    if e.rule in ("memory holes", "multizone range"):
        return Judgement(CERTAIN, [f"the kernel says so: {e.rule}"])
    if e.rule == "no memory":
        return Judgement(CERTAIN, ["pages of what would be isolated are not there"])
    if e.rule == "may land inside":
        return Judgement(
            POSSIBLE,
            [
                "the pageblock ends outside its zone, so its free pages stay on their lists: the range's pages may move to them"
            ],
            settles=["a kernel dump: the order of the free lists decides which free page is taken"],
        )
    if e.rule == "outside the zone":
        return Judgement(CERTAIN, ["the window of the largest block, which is isolated whole, reaches out of the zone"])
    if e.crosses_zone and e.errno == 16:
        if e.kernel is not None and e.kernel < (6, 10):
            return Judgement(
                RULED_OUT, against=[f"Linux {e.kernel_text} isolates a pageblock that reaches out of its zone"]
            )
        return Judgement(
            CERTAIN if e.kernel is not None else LIKELY,
            ["a pageblock of the range reaches out of its zone, which 6.10 and later refuse"],
        )
    return None


@cause(
    "straddling page",
    "a page reaches across the edge of the range or of what is isolated",
    errno=(16,),
    transient=True,
    seen={"kpageflags": "a compound page or free block that begins before the range or its pageblock and ends behind"},
    source="mm/page_isolation.c, isolate_single_pageblock (5.19); mm/page_alloc.c, alloc_contig_range (outer_start)",
    remedies=(
        "ask for a range that begins and ends at multiples of the largest block",
        "retry: a huge page that was split or freed is in nobody's way",
    ),
)
def straddling_page(e: Evidence) -> Judgement | None:
    if e.rule != "straddles":
        return None
    words = "a free block" if e.page is None else "the compound page"
    where = f" at pfn {e.page.pfn:#x}" if e.page is not None and e.page.pfn is not None else ""
    return Judgement(
        CERTAIN if e.page is not None else LIKELY,
        [f"{words}{where} lies on both sides of the edge, and is neither split nor taken whole"],
        settles=[] if e.page is not None else ["pageblock doctor --why RANGE names it"],
    )


@cause(
    "cma type",
    "the pageblock is CMA and the request is not",
    errno=(16,),
    transient=False,
    seen={
        "counts": "pagetypeinfo: CMA blocks in the range",
        "log": "unmovable page whose dump ends in CMA, on the LRU",
    },
    source="mm/page_isolation.c, has_unmovable_pages: a CMA pageblock passes for CMA requests only; offlining is refused",
    remedies=("take memory outside the CMA area", "a smaller cma= at boot, or an area elsewhere"),
)
def cma_type(e: Evidence) -> Judgement | None:
    if e.page is None or not e.page.cma or e.step != "isolate" or e.caller == "cma":
        return None
    return Judgement(CERTAIN, ["the page lies in a CMA pageblock, which isolation refuses to other requests"])


@cause(
    "inflated reference",
    "someone took a reference while the gigantic page was being made",
    errno=(16, 12),
    transient=True,
    seen={"log": "HugeTLB page can not be used due to unexpected inflated ref count; N pages are still in use!"},
    source="mm/hugetlb.c, prep_compound_gigantic_folio; mm/page_alloc.c, free_contig_range",
    remedies=("retry: the pages are given back when the reference goes",),
)
def inflated_reference(e: Evidence) -> Judgement | None:
    if e.rule == "inflated":
        return Judgement(
            CERTAIN, ["the kernel says so: the reference count was not 1"], settles=["the same request a second later"]
        )
    if e.rule == "still in use":
        return Judgement(
            CERTAIN,
            [
                f"{e.pages:,} pages given back had another reference: who holds them uses memory that is handed out again"
            ],
            settles=["which driver released the buffer: the call trace of the warning"],
        )
    return None


@cause(
    "no free range",
    "no range of this size is free, nor can be made so",
    errno=(12,),
    transient=False,
    seen={
        "kpageflags": "an unmovable page in each aligned range",
        "log": "HugeTLB: allocating N … failed. Only allocated M",
    },
    source="mm/page_alloc.c, alloc_contig_pages: the first range of the zone list that alloc_contig_range gives",
    remedies=(
        "pageblock doctor --size SIZE says what blocks each range and what would help",
        "reserve at boot: hugepagesz=1G hugepages=N, or hugetlb_cma=",
        "echo 1 > /proc/sys/vm/compact_memory, then ask again",
        "ask for fewer, where they are more than the machine has",
    ),
)
def no_free_range(e: Evidence) -> Judgement | None:
    if e.caller != "hugetlb" or e.rule == "inflated":
        return None
    if e.wanted_pages and e.memory_pages and e.wanted_pages > e.memory_pages:
        return Judgement(
            CERTAIN, [f"{e.wanted_pages:,} pages in all were asked for, and the machine has {e.memory_pages:,}"]
        )
    found = Judgement(
        LIKELY, ["each aligned range of the size held a page that cannot move, or its pages had nowhere to go"]
    )
    if e.step == "reserve":
        found = Judgement(
            LIKELY, ["at boot nothing is to be moved: memblock has no more free aligned ranges of the size"]
        )
        found.settles.append("memblock=debug, and the memory map at the start of the log")
    else:
        found.settles.append("pageblock doctor --size SIZE on the machine: which page blocks which range")
    if stays_busy(e):
        found.settles.append("the messages of alloc_contig_range (dynamic debug: migrate failure)")
    return found
