"""Causes that are the request, the area that it asks, or the memory that there is."""

from .cause import Certainty, Commit, Judgement, cause
from .evidence import Evidence
from .pages import MANY, stays_busy, unwaited

__all__: list[str] = []

CERTAIN, LIKELY, POSSIBLE, RULED_OUT = Certainty.CERTAIN, Certainty.LIKELY, Certainty.POSSIBLE, Certainty.RULED_OUT

#: Flags of requests that may wait and reclaim (include/linux/gfp_types.h); a request without them is atomic.
_MAY_WAIT = (
    "GFP_KERNEL",
    "GFP_KERNEL_ACCOUNT",
    "GFP_USER",
    "GFP_HIGHUSER",
    "GFP_HIGHUSER_MOVABLE",
    "GFP_NOFS",
    "GFP_NOIO",
    "GFP_TEMPORARY",
    "GFP_TRANSHUGE",
    "__GFP_RECLAIM",
    "__GFP_DIRECT_RECLAIM",
    "__GFP_WAIT",
)
_MOVABLE = ("__GFP_MOVABLE", "GFP_HIGHUSER_MOVABLE", "GFP_TRANSHUGE", "GFP_TRANSHUGE_LIGHT")

#: vm.extfrag_threshold / 1000: above it a failure counts as fragmentation (mm/vmstat.c, mm/compaction.c).
EXTFRAG = 0.5

_REFUSED = {
    "alignment": "base or size are not aligned to the smallest area there can be",
    "highmem": "it would lie across the boundary of low and high memory",
    "limit": "it reaches beyond the limit that the device or the command line sets",
    "room": "no free memory of this size where it may lie",
    "overlap": "the memory named in the device tree is not there, or reserved already",
    "setup": "the node asks for what CMA cannot take (see the line before it)",
    "slots": "there are more areas than CONFIG_CMA_AREAS",
    "activation": "its pages are not all in one zone",
    "too small": "an area must hold at least one gigantic page",
}


#: Since then cma_alloc answers -EBUSY where its bitmap has no room (mm/cma.c, cma_range_alloc; c009da4258f9).
NO_ROOM_IS_BUSY = (6, 15)

#: Share of an area that is free below which room for a request is unlikely.
NEARLY_FULL = 0.1


@cause(
    "bitmap fragmentation",
    "no run of the CMA bitmap is long enough (fragmentation or alignment)",
    errno=(12, 16),
    transient=False,
    seen={
        "counts": "debugfs cma/NAME/maxchunk below the request",
        "log": "cma_alloc ret -12; bitmap whose runs are too short",
    },
    source="mm/cma.c, cma_alloc: no bits found ends with the last errno, at first -ENOMEM, since 6.15 -EBUSY (cma_range_alloc)",
    remedies=(
        "a larger area: cma=SIZE, or the device tree's size",
        "an area of its own for the driver that takes many small buffers",
        "allocate the large buffers first and keep them",
    ),
    commits=(Commit("c009da4258f9", "an area may have several ranges, and no room in them is -EBUSY", "6.15"),),
)
def bitmap_fragmentation(e: Evidence) -> Judgement | None:
    if e.caller != "cma" or e.pages is None or e.errno not in (12, 16):
        return None
    area = e.area
    if e.errno == 16 and e.step == "test":
        return Judgement(RULED_OUT, against=["the bitmap had places: they were tried"])
    if e.errno == 16:
        return _fragmented_and_busy(e)
    if area is None or area.free is None:
        if area is not None and e.pages > area.pages:
            return None
        return Judgement(
            LIKELY,
            ["-12 is what cma_alloc answers when its bitmap has no run long enough: used up, or cut up"],
            settles=["debugfs cma/NAME/used and maxchunk, or CONFIG_CMA_DEBUG, which prints the bitmap"],
            commits=False,
        )
    if area.largest is None:
        return None
    if area.largest < e.pages <= area.free:
        return Judgement(
            CERTAIN,
            [f"{area.free:,} pages are free, the longest run is {area.largest:,}, {e.pages:,} were asked for"],
            commits=False,
        )
    if area.largest >= e.pages and area.places == 0:
        return Judgement(
            LIKELY,
            [
                f"the longest run is {area.largest:,} pages, yet none fits at an alignment of {1 << (area.align or 0):,} pages"
            ],
            settles=["CONFIG_CMA_ALIGNMENT and what the driver asks for"],
            commits=False,
        )
    if area.places:
        return Judgement(RULED_OUT, against=[f"the largest free run is {area.largest:,} pages"])
    return None


def _busy_is_no_room(e: Evidence) -> str:
    """What makes -16 mean that there was no room."""
    since = "since 6.15 cma_alloc answers -16 for that too"
    return f"Linux {e.kernel_text}: {since}" if e.kernel is not None and e.kernel >= NO_ROOM_IS_BUSY else since


def _fragmented_and_busy(e: Evidence) -> Judgement | None:
    """-16 of a bitmap without a long enough run: since 6.15 only."""
    area = e.area
    new = e.kernel is not None and e.kernel >= NO_ROOM_IS_BUSY
    if e.pages is None or (e.kernel is not None and e.kernel < NO_ROOM_IS_BUSY and not e.kernel_or_later):
        known = area is not None and area.largest is not None and e.pages is not None and area.largest >= e.pages
        return (
            Judgement(RULED_OUT, against=[f"the largest free run is {area.largest:,} pages"])
            if known and area
            else None
        )
    if area is None or area.free is None:
        return (
            Judgement(POSSIBLE, [_busy_is_no_room(e)], settles=["debugfs cma/NAME/used and maxchunk"]) if new else None
        )
    if area.largest is not None and area.largest >= e.pages and area.places != 0:
        return Judgement(RULED_OUT, against=[f"the largest free run is {area.largest:,} pages"])
    if area.free < e.pages:
        return None
    if area.largest is not None:
        text = f"{area.free:,} pages are free, the longest run is {area.largest:,}, {e.pages:,} were asked for"
        return Judgement(CERTAIN if area.largest < e.pages else LIKELY, [text, _busy_is_no_room(e)])
    if area.free < area.pages * NEARLY_FULL:
        text = f"{area.free / max(area.pages, 1):.0%} of the area is free: {area.free:,} pages, in unknown pieces"
        return Judgement(
            LIKELY if new else POSSIBLE,
            [text, _busy_is_no_room(e)],
            settles=["debugfs cma/NAME/maxchunk below the request"],
        )
    return None


@cause(
    "area used up",
    "the CMA area has fewer free pages than asked for",
    errno=(12, 16),
    transient=False,
    seen={
        "counts": "debugfs cma/NAME/used near count; CmaFree in meminfo says what the buddy has",
        "log": "bitmap: free below the request",
    },
    source="mm/cma.c, cma_alloc; since 6.15 available_count ends it at once",
    remedies=(
        "a larger area: cma=SIZE, or the device tree's size",
        "find who does not give buffers back (debugfs cma/NAME/used over time)",
    ),
    commits=(Commit("c009da4258f9", "an area may have several ranges, and no room in them is -EBUSY", "6.15"),),
)
def area_used_up(e: Evidence) -> Judgement | None:
    if e.caller != "cma" or e.pages is None or e.errno not in (12, 16) or e.area is None or e.area.free is None:
        return None
    if e.area.free < e.pages <= e.area.pages:
        found = Judgement(CERTAIN, [f"{e.area.free:,} of {e.area.pages:,} pages are free, {e.pages:,} were asked for"])
        found.commits = e.errno == 16
        if e.errno == 16:
            found.speaks_for.append(_busy_is_no_room(e))
        return found
    return None


@cause(
    "zero slack",
    "the request is as large as the area: one place only",
    errno=(16,),
    transient=False,
    seen={
        "counts": "request as large as debugfs cma/NAME/count, or one run fits",
        "log": "req-size equal to the total of the bitmap",
    },
    source="mm/cma.c, cma_alloc: there is no second place to try when a page in the first stays in use",
    remedies=(
        "a larger area than the largest request, by a quarter or more",
        "allocate it at boot, before the area fills with movable pages, and keep it",
        "make it a reserved pool instead (device tree without reusable: no page ever lies in it)",
        "retry: each try moves most of the pages",
    ),
)
def zero_slack(e: Evidence) -> Judgement | None:
    area = e.area
    if e.errno != 16 or e.caller != "cma" or area is None or e.pages is None:
        return None
    if e.pages == area.pages:
        return Judgement(
            CERTAIN,
            [f"{e.pages:,} pages of an area of {area.pages:,}: one page in use anywhere fails it"],
            settles=["which page: dynamic debug of alloc_contig_range's migrate failures, page_owner"],
        )
    if area.places == 1:
        return Judgement(
            LIKELY, [f"{e.pages:,} pages fit in one place of the area only"], settles=["the alignment asked for"]
        )
    return None


@cause(
    "larger than any",
    "the request is larger than any range it may have",
    errno=(12,),
    transient=False,
    seen={
        "counts": "request above the area's size, or above the largest block",
        "log": "req-size above the total; order above max order",
    },
    source="mm/cma.c, cma_alloc: bitmap_count > bitmap_maxno; mm/page_alloc.c: order > MAX_PAGE_ORDER",
    remedies=(
        "a larger area: cma=SIZE, or the device tree's size",
        "a CMA area at all, where buffers above the largest block are needed",
        "let the driver take pieces (scatter-gather, IOMMU, vmalloc)",
    ),
)
def larger_than_any(e: Evidence) -> Judgement | None:
    if e.caller == "cma" and e.area is not None and e.pages is not None and e.pages > e.area.pages:
        return Judgement(CERTAIN, [f"{e.pages:,} pages of an area of {e.area.pages:,}"])
    if e.caller in ("buddy", "dma") and e.order is not None:
        if e.max_order is not None and e.order > e.max_order:
            return Judgement(CERTAIN, [f"order {e.order}; the largest block is of order {e.max_order}"])
        if e.caller == "dma" and e.max_order is None and e.order > 10:
            return Judgement(
                LIKELY,
                [
                    f"{e.pages or 1 << e.order:,} pages need order {e.order}; blocks usually end at 10, and no CMA area gave it"
                ],
                settles=["whether there is a CMA area for the device: dmesg | grep -i cma"],
            )
    return None


@cause(
    "caller's gfp",
    "the caller's gfp forbids moving file system pages",
    surest=LIKELY,
    errno=(16,),
    transient=False,
    seen={
        "kpageflags": "file pages (LRU, not ANON) left in the range",
        "log": "many places given up at once; kernels of 4.10-rc, Raspberry Pi's 4.14",
    },
    source="mm/compaction.c, isolate_migratepages_block: without __GFP_FS pages of a file are skipped (4.10)",
    remedies=(
        "a kernel with the fix",
        "let the caller allocate outside NOFS and NOIO context (memalloc_nofs_save)",
        "echo 1 > /proc/sys/vm/drop_caches before the request: fewer file pages in the area",
    ),
    commits=(
        Commit("73e64c51afc5", "compaction skips file pages without __GFP_FS, and CMA passed no gfp", "4.10-rc1"),
        Commit(
            "424f6c4818bb",
            "alloc_contig_range may move file pages again (Raspberry Pi's 4.14 took it out in August 2018)",
            "4.10",
        ),
    ),
)
def callers_gfp(e: Evidence) -> Judgement | None:
    if not stays_busy(e) or e.caller != "cma":
        return None
    found = Judgement(POSSIBLE)
    text = e.kernel_text or ""
    if e.kernel == (4, 10) and "rc" in text:
        found.certainty = LIKELY
        found.speaks_for.append(f"Linux {text}: CMA could not move file pages until 4.10")
    elif e.kernel in ((4, 14), (4, 18), (4, 19)) and any(mark in text for mark in ("-v7", "-v8", "rpi", "raspi")):
        found.certainty = LIKELY
        found.speaks_for.append(f"Linux {text}: Raspberry Pi's kernels of that time had the fix taken out")
    if (e.repeats.separate or 0) >= MANY:
        found.speaks_for.append(f"{e.repeats.separate} separate places refused: a rule for many pages, not one page")
        if quick := unwaited(e):
            found.speaks_for.append(quick)
    elif e.repeats.separate == 1 and (e.repeats.tries or 0) >= 3 and not found.speaks_for:
        return None
    if not found.speaks_for:
        return None
    found.settles.append("the caller's context (NOFS scope), and the kernel's release")
    return found


@cause(
    "allocation's gfp",
    "the allocation's gfp forbids what would help",
    errno=(12,),
    transient=True,
    seen={
        "log": "atomic request; free blocks of the order in CMA pageblocks only",
        "page_owner": "gfp mask of the caller",
    },
    source="mm/page_alloc.c, __alloc_pages_slowpath (no reclaim for atomic requests), ALLOC_CMA (movable requests only)",
    remedies=(
        "let the caller allocate where it may sleep (GFP_KERNEL), or in advance",
        "raise vm.min_free_kbytes, so that more is in reserve for atomic requests",
        "a smaller cma=, where most of the free memory lies in CMA areas; or let the driver allocate from CMA",
    ),
)
def allocations_gfp(e: Evidence) -> Judgement | None:
    if e.caller != "buddy" or not e.gfp or e.order is None:
        return None
    found = Judgement(POSSIBLE)
    names = "|".join(sorted(e.gfp))
    movable = any(name in e.gfp for name in _MOVABLE)
    with_cma = [z for z in e.zones if z.usable(e.order, cma=True) and not z.usable(e.order, cma=False)]
    if with_cma and not movable:
        found.certainty = CERTAIN
        found.speaks_for.append(
            f"{with_cma[0].label}: free blocks of order {e.order} are in CMA pageblocks only, and {names} may not use them"
        )
    if not any(name in e.gfp for name in _MAY_WAIT):
        found.speaks_for.append(f"{names} may not wait: no reclaim, no compaction")
        if found.certainty is POSSIBLE:
            found.certainty = LIKELY
    elif "__GFP_NORETRY" in e.gfp:
        found.speaks_for.append("__GFP_NORETRY: it gave up after one round of reclaim and compaction")
    return found if found.speaks_for else None


@cause(
    "memory short",
    "free memory is below the watermark",
    errno=(12,),
    transient=True,
    seen={"counts": "zoneinfo: free below min or low", "log": "Mem-Info: free below min; OOM killer"},
    source="mm/page_alloc.c, zone_watermark_ok; free CMA pages do not count for requests that may not use them",
    remedies=(
        "free memory, add swap or memory; find what grew (slab, page cache under writeback, a process)",
        "raise vm.min_free_kbytes or vm.watermark_scale_factor, so that reclaim starts earlier",
    ),
)
def memory_short(e: Evidence) -> Judgement | None:
    if e.caller != "buddy":
        return None
    below: list[str] = []
    near: list[str] = []
    above: list[str] = []
    for z in e.zones:
        if z.free is None or z.minimum is None:
            continue
        free = z.free if any(name in e.gfp for name in _MOVABLE) else z.free - (z.free_cma or 0)
        words = f"{z.label}: {free:,} kB free{'' if free == z.free else ' outside CMA'}, min {z.minimum:,} kB"
        if free <= z.minimum:
            below.append(words)
        elif z.low is not None and free <= z.low:
            near.append(f"{words}, low {z.low:,} kB: kswapd is reclaiming")
        else:
            above.append(words)
    if below:
        return Judgement(CERTAIN if not (near or above) else LIKELY, below + near, above)
    if near:
        return Judgement(POSSIBLE, near, ["above min, so requests that can wait are still served"])
    if e.rule == "oom":
        return Judgement(
            LIKELY, ["the OOM killer is called when reclaim finds nothing more"], above, ["Mem-Info of that moment"]
        )
    return Judgement(RULED_OUT, against=above) if above else None


@cause(
    "fragmentation",
    "free memory is there, in pieces that are too small",
    surest=LIKELY,
    errno=(12,),
    transient=True,
    seen={
        "counts": "buddyinfo: no block of the order; extfrag_index towards 1",
        "log": "Mem-Info: free above min, 0 blocks of the order",
    },
    source="mm/page_alloc.c, __zone_watermark_ok: a block of the order must be on a list; mm/vmstat.c, fragmentation_index",
    remedies=(
        "echo 1 > /proc/sys/vm/compact_memory",
        "echo 1 > /proc/sys/vm/drop_caches, then compact: page cache gives the space to move into",
        "let the caller fall back to smaller pieces or vmalloc (__GFP_NORETRY, kvmalloc)",
        "raise vm.min_free_kbytes; vm.compaction_proactiveness",
    ),
)
def fragmentation(e: Evidence) -> Judgement | None:
    if e.caller != "buddy":
        return None
    if e.extfrag:
        failing = [order for order, value in enumerate(e.extfrag) if value > EXTFRAG]
        if not failing:
            return None
        return Judgement(
            LIKELY,
            [
                f"order {failing[0]} and above fail, index {e.extfrag[failing[0]]:.3f}: 1 is fragmentation, 0 lack of memory"
            ],
        )
    if not e.order:
        return (
            Judgement(RULED_OUT, against=["order 0: a single page needs no room beside it"]) if e.order == 0 else None
        )
    short: list[str] = []
    for z in e.zones:
        usable = z.usable(e.order, cma=any(name in e.gfp for name in _MOVABLE))
        enough = z.free is None or z.minimum is None or z.free - (z.free_cma or 0) > z.minimum
        if usable is False and enough:
            short.append(
                f"{z.label}: no usable free block of order {e.order} or above"
                + (f", {z.free:,} kB free" if z.free else "")
            )
        elif usable:
            return Judgement(
                RULED_OUT if len(e.zones) == 1 else POSSIBLE,
                short,
                [f"{z.label} has a free block of order {e.order} or above"],
            )
    if short:
        return Judgement(LIKELY, short)
    if not any(z.blocks for z in e.zones) and e.order > 3:
        return Judgement(
            POSSIBLE,
            [f"order {e.order} is costly: it needs {1 << e.order:,} pages in one piece"],
            settles=["the free lists of Mem-Info"],
        )
    return None


@cause(
    "memmap block",
    "no block for the memmap of memory that is being added",
    errno=(12,),
    transient=True,
    seen={"log": "vmemmap alloc failure: order:9 under virtio-mem, a DIMM or another hot-add"},
    source="mm/sparse-vmemmap.c, vmemmap_alloc_block; arch/x86/mm/init_64.c falls back to vmemmap_populate_basepages",
    remedies=(
        "none is needed on x86-64 if the memory came: it took single pages instead of a 2 MiB block",
        "memory_hotplug.memmap_on_memory=on takes the memmap from the added memory itself",
        "add memory before the rest is used up",
    ),
)
def memmap_block(e: Evidence) -> Judgement | None:
    if e.rule != "vmemmap":
        return None
    return Judgement(
        CERTAIN,
        [f"vmemmap asked for a block of order {e.order}, and none was free"],
        settles=["“adding memory failed” further on, or lsmem: whether the memory came"],
    )


@cause(
    "area refused",
    "the CMA area could not be had at boot",
    errno=(12, 22, 16),
    transient=False,
    seen={"log": "cma: Failed to reserve; incorrect alignment of CMA region; could not be activated …"},
    source="mm/cma.c, cma_declare_contiguous_nid, cma_activate_area; kernel/dma/contiguous.c, rmem_cma_setup",
    remedies=(
        "make base and size multiples of the smallest area: a pageblock since 5.19, the largest block before",
        "a smaller area, or another base or limit: cma=SIZE@BASE-LIMIT",
        "a smaller CONFIG_ARCH_FORCE_MAX_ORDER, where the largest block sets the alignment",
    ),
    commits=(Commit("11ac3e87ce09", "areas need the alignment of a pageblock only", "5.19"),),
)
def area_refused(e: Evidence) -> Judgement | None:
    if e.caller != "reserve" or e.rule not in _REFUSED:
        return None
    return Judgement(CERTAIN, [_REFUSED[e.rule]], commits=e.rule == "alignment")


@cause(
    "interrupted",
    "the caller was interrupted by a signal",
    errno=(4,),
    transient=True,
    seen={"log": "failed due to signal backoff; cma_alloc ret -4"},
    source="mm/memory_hotplug.c, offline_pages; mm/page_alloc.c, __alloc_contig_migrate_range (fatal signals)",
    remedies=(
        "give it more time: offlining repeats until it succeeds or is interrupted",
        "look for the page that did not move before it",
    ),
)
def interrupted(e: Evidence) -> Judgement | None:
    if e.errno != 4 and e.rule != "signal backoff":
        return None
    found = Judgement(CERTAIN, ["the kernel says so"])
    if e.rule == "signal backoff":
        found.settles.append("the migration failures before it say which page kept it busy")
    return found


@cause(
    "notifier",
    "a driver or subsystem refused that the memory goes",
    errno=(16, 22),
    transient=False,
    seen={"log": "failed due to notifier failure"},
    source="mm/memory_hotplug.c, MEM_GOING_OFFLINE notifiers (virtio-mem, kasan, s390 crash kernel until 5.8 …)",
    remedies=("let the driver that plugged the memory unplug it (virtio-mem, balloon)",),
)
def notifier(e: Evidence) -> Judgement | None:
    if e.rule != "notifier failure":
        return None
    return Judgement(CERTAIN, ["the kernel says so: notifier failure"])
