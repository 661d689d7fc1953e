"""Causes that are one page in the way: what it is, or who holds it."""

from .cause import Certainty, Commit, Judgement, cause
from .evidence import Evidence, PageState

__all__: list[str] = []

CERTAIN, LIKELY, POSSIBLE, RULED_OUT = Certainty.CERTAIN, Certainty.LIKELY, Certainty.POSSIBLE, Certainty.RULED_OUT

#: GUP_PIN_COUNTING_BIAS (include/linux/mm.h): what one FOLL_PIN adds to the reference count of a small page.
PIN_BIAS = 1024

#: A reference that lasts as long as this, seconds, is not a passing one.
LASTING = 10.0

#: A place given up faster than this, seconds, was not waited for: not for writeback, nor for ten passes of migration.
UNWAITED = 0.001

#: Separate pages from which on a shared reason is likelier than so many single ones.
MANY = 5

_HOLDERS: tuple[str, ...] = (
    "get_user_pages",
    "pin_user_pages",
    "gup_",
    "iov_iter_get_pages",
    "ib_umem",
    "vfio",
    "io_sqe_buffer",
)
#: What is known of a page whose references were counted once, and are not told any more.
_HELD = "references that no mapping, cache, buffer or LRU batch explains"
_AGAIN = "the same page again in a minute, or in a second dump: a pin stays, other references pass"
_SETTLES_PAGE = "page_owner=on at boot (who allocated it), or a kernel dump (whether it is free on a per-cpu list)"


def stays_busy(e: Evidence) -> bool:
    """Whether a range was refused since a page in it stayed in use, and which page is not known."""
    tried = e.errno == 16 and e.page is None and not e.no_room and not e.predicted
    return tried and e.caller in ("cma", "contig", "virtio_mem", "hugetlb")


def unwaited(e: Evidence) -> str | None:
    """Words for tries that were given up at once."""
    per_try = e.repeats.per_try
    if per_try is None or per_try >= UNWAITED:
        return None
    return f"each place was given up after {per_try * 1e6:,.0f} µs: pages were skipped, none was waited for"


def _named(page: PageState) -> str:
    where = f"pfn {page.pfn:#x}" if page.pfn is not None else "the page"
    names = "|".join(sorted(page.flags)) if page.flags else page.told or "no flags"
    return f"{where} ({names}{f', type {page.page_type}' if page.page_type else ''})"


@cause(
    "reserved",
    "reserved or boot memory",
    errno=(16,),
    transient=False,
    seen={"kpageflags": "RESERVED", "log": "page dump with flag reserved, unmovable page"},
    source="mm/page_isolation.c, has_unmovable_pages: PG_reserved refuses even in ZONE_MOVABLE (4.x to 6.19)",
    remedies=(
        "nothing short of a reboot frees it: ask for another range or memory block",
        "if a boot parameter reserved it (crashkernel=, hugepages=, memmap=, a device tree node): make that smaller or place it "
        "elsewhere, and reboot",
    ),
)
def reserved(e: Evidence) -> Judgement | None:
    if e.page is None or not e.page.has("reserved"):
        return None
    found = Judgement(CERTAIN, [f"{_named(e.page)}: isolation refuses each reserved page"])
    found.speaks_for += [sign for sign in e.signs if "Crash kernel" in sign]
    found.settles.append("/proc/iomem and the memblock lines of the boot log say who reserved it")
    return found


@cause(
    "slab",
    "kernel objects (slab)",
    errno=(16,),
    transient=False,
    seen={
        "kpageflags": "SLAB",
        "page_owner": "type Unmovable or Reclaimable",
        "log": "page dump with flag or type slab",
    },
    source="mm/page_isolation.c, has_unmovable_pages: neither LRU nor movable by its driver",
    remedies=(
        "echo 2 > /proc/sys/vm/drop_caches frees dentries and inodes; it helps only where those hold the page",
        "online memory that is to go again as movable (movable_node, online_movable), so that no slab gets there",
    ),
)
def slab(e: Evidence) -> Judgement | None:
    if e.page is None or not (e.page.has("slab") or e.page.page_type == "slab"):
        return None
    return Judgement(CERTAIN, [f"{_named(e.page)}: objects in a slab page cannot move"])


@cause(
    "page tables",
    "page tables",
    errno=(16,),
    transient=False,
    seen={"kpageflags": "PGTABLE", "log": "page dump with page_type pgtable or table"},
    source="mm/page_isolation.c, has_unmovable_pages; types in include/linux/page-flags.h",
    remedies=("end or restart the process whose tables they are", "huge pages need fewer tables"),
)
def page_tables(e: Evidence) -> Judgement | None:
    if e.page is None or not (e.page.page_type in ("pgtable", "table") or e.page.has("pgtable")):
        return None
    return Judgement(CERTAIN, [f"{_named(e.page)}: page tables cannot move"])


@cause(
    "kernel page",
    "kernel stacks, drivers, vmalloc",
    errno=(16,),
    transient=False,
    seen={
        "kpageflags": "0 (as a page on a per-cpu list)",
        "page_owner": "type Unmovable",
        "log": "unmovable page without mapping, type or LRU flag",
    },
    source="mm/page_isolation.c, has_unmovable_pages: page_count > 0 and not on the LRU",
    remedies=(
        "unload or stop the driver or process that allocated it",
        "online memory that is to go again as movable; movablecore= or movable_node keeps kernel memory out",
        "nothing moves it: ask for another range",
    ),
)
def kernel_page(e: Evidence) -> Judgement | None:
    page = e.page
    if page is None or page.flags is None or e.step != "isolate":
        return None
    if (
        page.has("slab", "reserved", "lru", "hwpoison")
        or page.page_type
        or page.anon
        or page.is_file
        or page.driver_movable
    ):
        return None
    if page.owner_type in ("Unmovable", "Reclaimable") or page.owner:
        who = f", allocated by {page.owner[0]}" if page.owner else ""
        return Judgement(CERTAIN, [f"{_named(page)}{who}: neither on the LRU nor movable by its driver"])
    if page.unlisted:
        return Judgement(
            CERTAIN,
            [f"{_named(page)} is in use, on no free list and not on the LRU"],
            settles=["page_owner=on at boot says who allocated it"],
        )
    return Judgement(
        LIKELY,
        [f"{_named(page)} is in use, has no mapping, and is not on the LRU"],
        ["a page that was just freed to a per-cpu list, or taken from one, looks the same for a moment"],
        [_SETTLES_PAGE],
    )


@cause(
    "lru batch",
    "page waiting in a per-cpu LRU batch, or taken off the LRU by reclaim or compaction",
    surest=LIKELY,
    errno=(16,),
    transient=True,
    seen={
        "kpageflags": "ANON, SWAPBACKED or a file's flags without LRU",
        "log": "page dump of anon or file page without lru",
    },
    source="mm/swap.c, lru_add_drain; alloc_contig_range isolates before it drains (mm/page_alloc.c), offlining drains first",
    remedies=("retry: the batch is drained by the next try",),
)
def lru_batch(e: Evidence) -> Judgement | None:
    page = e.page
    if page is not None:
        if (
            page.flags is None
            or page.has("lru", "slab", "reserved", "unevictable")
            or page.hugetlb
            or page.driver_movable
        ):
            return None
        if not (page.anon or page.is_file) or not (
            e.step == "isolate" or (e.step == "migrate" and e.migrate_ret is None)
        ):
            return None
        found = Judgement(LIKELY, [f"{_named(page)} is a user's page, and not on the LRU at that moment"])
        if (e.repeats.seconds or 0) > LASTING and e.repeats.same_page:
            found.certainty = POSSIBLE
            found.against.append(f"the same page for {e.repeats.seconds:,.0f} s; a batch lasts until the next drain")
        found.settles.append("the same request a second later")
        return found
    if not stays_busy(e) or e.caller not in ("cma", "contig") or (e.kernel is not None and e.kernel >= (5, 13)):
        return None
    if (e.repeats.seconds or 0) > LASTING and e.repeats.same_place:
        return Judgement(
            RULED_OUT, against=[f"refused for {e.repeats.seconds:,.0f} s, and each try drains the batches"]
        )
    if (e.repeats.separate or 0) >= MANY:
        return Judgement(
            RULED_OUT, against=[f"{e.repeats.separate} separate places, and a batch holds 15 pages of a CPU"]
        )
    found = Judgement(POSSIBLE, settles=["the same request a second later"])
    if e.kernel is None:
        found.settles.append("the kernel's release: since 5.13 there are no batches during the request (d479960e44f2)")
    return found


@cause(
    "long-term pin",
    "page pinned for long (RDMA, VFIO, io_uring buffers, DMA to user memory)",
    errno=(16,),
    transient=False,
    seen={
        "kpageflags": "an LRU page that stays; pins do not show",
        "counts": "vmstat: nr_foll_pin_acquired above nr_foll_pin_released; pgmigrate_fail rises",
        "log": "refcount beyond what maps and caches it (1024 a pin), pincount, the same page each time",
    },
    source="mm/gup.c, FOLL_LONGTERM moves pages out of CMA and ZONE_MOVABLE first since 5.2; mm/migrate.c expected references",
    remedies=(
        "stop or move what pinned the page (the VM with a passed-through device, the RDMA or io_uring application)",
        "let it start, and pin, before the area is needed, or give it memory of another zone or node",
        "move to a kernel whose driver pins with FOLL_LONGTERM, so that pages leave CMA and ZONE_MOVABLE before",
    ),
)
def long_term_pin(e: Evidence) -> Judgement | None:
    holders = [sign for sign in e.signs if sign.startswith(("vfio", "rdma", "mlx5", "io_uring", "dpdk", "spdk"))]
    page = e.page
    if page is not None:
        if e.step != "migrate" or e.migrate_ret is None or page.driver_movable:
            return None
        excess = page.excess
        if page.pins is not None and page.pins > 0:
            found = Judgement(CERTAIN, [f"{_named(page)}: pincount {page.pins}"])
            if page.refcount is not None:
                found.speaks_for.append(_references(page))
        elif excess is not None and excess >= PIN_BIAS:
            found = Judgement(CERTAIN, [f"{_named(page)}: {excess:,} references too many, {PIN_BIAS} stand for a pin"])
        elif excess is not None and excess > 0:
            found = Judgement(POSSIBLE, [f"{_named(page)}: {_references(page)}"])
            users = [name for name in page.owner if any(holder in name for holder in _HOLDERS)]
            if users:
                found.speaks_for.append(f"allocated on behalf of {users[0]}")
            if e.repeats.same_page and (e.repeats.seconds or 0) > LASTING:
                found.certainty = LIKELY
                found.speaks_for.append(f"the same page for {e.repeats.seconds:,.0f} s")
            elif holders:
                found.certainty = LIKELY
        elif excess is not None and excess <= 0:
            return Judgement(RULED_OUT, against=[f"{_references(page)}: nobody else holds the page"])
        elif e.rule == "held":
            found = Judgement(POSSIBLE, [f"{_named(page)}: {_HELD}"])
        else:
            return None
        if e.predicted and found.certainty is CERTAIN:
            found.certainty = LIKELY
            found.against.append("seen at one moment: direct I/O pins pages, too, and lets them go")
        found.speaks_for += holders
        found.settles.append(
            _AGAIN if e.predicted else "the same page again in a minute; a vmcore or drgn shows who holds it"
        )
        return found
    if e.pins_held is not None and e.pins_held <= 0 and stays_busy(e):
        return Judgement(RULED_OUT, against=["vmstat: all pins that were taken are released"])
    if not stays_busy(e):
        return None
    found = Judgement(POSSIBLE, list(holders))
    if holders:
        found.certainty = LIKELY
    if e.repeats.same_place and (e.repeats.seconds or 0) > LASTING:
        found.certainty = LIKELY
        found.speaks_for.append(f"the same place for {e.repeats.seconds:,.0f} s")
    if e.repeats.separate == 1 and (e.repeats.tries or 0) >= 3:
        found.speaks_for.append(f"all {e.repeats.tries} places overlap: one page that stays fails them all")
    if e.area is not None and e.area.places == 1:
        found.speaks_for.append("one pinned page anywhere in the area is enough")
    _against_many(found, e)
    if quick := unwaited(e):
        found.speaks_for.append(quick)
    found.settles.append("vmstat: nr_foll_pin_acquired minus nr_foll_pin_released; the same place again in a minute")
    return found


@cause(
    "short-term reference",
    "short-lived extra reference (direct I/O, fork, a fault in progress, speculative look-up)",
    surest=LIKELY,
    errno=(16,),
    transient=True,
    seen={"kpageflags": "an ordinary LRU page", "log": "one reference too many, another page each time"},
    source="mm/migrate.c, folio_migrate_mapping: references beyond the expected ones give -EAGAIN",
    remedies=("wait and retry", "retry in the caller: cma_alloc tries each place once"),
)
def short_term_reference(e: Evidence) -> Judgement | None:
    page = e.page
    lasting = (e.repeats.seconds or 0) > LASTING and (e.repeats.same_page or e.repeats.same_place)
    if page is not None:
        excess = page.excess
        if e.step != "migrate" or e.migrate_ret is None or page.driver_movable:
            return None
        if excess is None:
            held = [f"{_named(page)}: {_HELD}"]
            return Judgement(LIKELY, held, settles=[_AGAIN]) if e.rule == "held" and not page.pins else None
        if excess <= 0 or (page.pins or 0) > 0 or excess >= PIN_BIAS:
            return None
        settles = [_AGAIN if e.predicted else "the same request a second later"]
        found = Judgement(LIKELY, [f"{_named(page)}: {_references(page)}"], settles=settles)
        if lasting:
            found.certainty = RULED_OUT
            found.against.append(f"the same page for {e.repeats.seconds:,.0f} s")
        return found
    if not stays_busy(e):
        return None
    found = Judgement(POSSIBLE, settles=["the same request a second later"])
    if lasting:
        return Judgement(RULED_OUT, against=[f"the same place for {e.repeats.seconds:,.0f} s"])
    _against_many(found, e)
    return found


@cause(
    "buffers",
    "buffer-head or journal page (file system metadata)",
    errno=(16,),
    transient=True,
    seen={
        "kpageflags": "LRU, PRIVATE, often DIRTY, not ANON",
        "log": "page dump with flag private and a_ops of a block device or journal, no reference too many",
    },
    source="mm/migrate.c, buffer_migrate_folio_norefs: a buffer in use gives -EAGAIN; offlining then tries for ever",
    remedies=(
        "sync, then retry: a committed transaction lets its buffers go",
        "freeze or unmount the file system if the page stays (fsfreeze -f, then -u)",
        "offlining: interrupt it and choose another block; it does not give up by itself",
    ),
)
def buffers(e: Evidence) -> Judgement | None:
    page = e.page
    if (
        page is None
        or e.step != "migrate"
        or e.migrate_ret is None
        or not page.has("private", "private_2")
        or page.anon
    ):
        return None
    block_device = page.aops in ("def_blk_aops", "blkdev_aops") or "def_blk" in (page.aops or "")
    excess = page.excess
    if excess is not None and excess > 0:
        return Judgement(
            POSSIBLE,
            [f"{_named(page)} has buffers"],
            [f"{_references(page)}: someone holds the page itself too"],
            ["the same request after sync"],
        )
    found = Judgement(LIKELY, [f"{_named(page)} has buffers"])
    if block_device:
        found.certainty = CERTAIN
        found.speaks_for.append(f"{page.aops}: a block device's own page, file system metadata")
    if excess is not None:
        found.speaks_for.append(f"{_references(page)}: its buffers are what is held")
    found.settles.append("the same request after sync")
    return found


@cause(
    "writeback",
    "dirty page or page under writeback",
    surest=LIKELY,
    errno=(16,),
    transient=True,
    seen={"kpageflags": "DIRTY or WRITEBACK, file", "log": "page dump with flag writeback or dirty"},
    source="mm/migrate.c, migrate_folio_unmap and fallback_migrate_folio: MIGRATE_SYNC waits from the third pass on",
    remedies=("sync, then retry", "look for a slow or failing disk or network file system"),
)
def writeback(e: Evidence) -> Judgement | None:
    page = e.page
    if page is not None:
        if e.step != "migrate" or e.migrate_ret is None:
            return None
        if page.has("writeback"):
            return Judgement(LIKELY, [f"{_named(page)} is being written"], settles=["the same request after sync"])
        if page.has("dirty") and page.is_file and (page.excess or 0) <= 0 and not page.has("private"):
            return Judgement(POSSIBLE, [f"{_named(page)} is dirty"], settles=["the same request after sync"])
        return None
    if stays_busy(e) and (quick := unwaited(e)):
        return Judgement(RULED_OUT, against=[quick])
    return None


@cause(
    "swap cache count",
    "swap cache page whose references the kernel counts wrong",
    surest=LIKELY,
    errno=(16,),
    transient=True,
    seen={"log": "migration failure of a page with a_ops swap_aops, not anonymous, no reference too many"},
    source="include/linux/mm.h, folio_expected_ref_count",
    remedies=("move to a kernel with the fix", "swapoff -a, offline, swapon -a: a page out of the swap cache migrates"),
    commits=(
        Commit("86ebd50224c0", "folio_expected_ref_count leaves out the swap cache of shmem pages", "introduced it"),
    ),
)
def swap_cache_count(e: Evidence) -> Judgement | None:
    page = e.page
    if page is None or e.step != "migrate" or e.migrate_ret is None or page.aops != "swap_aops" or page.anon:
        return None
    if page.excess is None or page.excess > 0:
        return None
    found = Judgement(LIKELY, [f"{_named(page)} is in the swap cache and not anonymous; {_references(page)}"])
    if e.kernel is not None and e.kernel < (6, 12):
        found.certainty = POSSIBLE
        found.against.append(f"Linux {e.kernel_text} may be older than the miscount")
    found.settles.append(
        "whether the kernel's folio_expected_ref_count counts the swap cache of pages that are not anonymous"
    )
    return found


@cause(
    "driver-movable",
    "page of a balloon, zsmalloc or z3fold that its driver does not give up",
    errno=(16,),
    transient=True,
    seen={
        "kpageflags": "0, or OFFLINE for a balloon",
        "log": "a_ops balloon, zsmalloc or z3fold; failed to isolate pfn",
    },
    source="mm/migrate.c, isolate_movable_page: the driver may refuse (z3fold: buddies mapped twice)",
    remedies=(
        "retry",
        "zram or zswap: swapoff it, or write its pages back (echo huge_idle > /sys/block/zram0/writeback)",
        "balloon: let the host deflate it",
    ),
)
def driver_movable(e: Evidence) -> Judgement | None:
    page = e.page
    if page is None or not page.driver_movable:
        return None
    found = Judgement(CERTAIN, [f"{_named(page)} belongs to {page.aops or page.page_type}"])
    if e.repeats.times > 1 and e.repeats.same_page:
        found.speaks_for.append(f"refused {e.repeats.times} times: its driver holds on to it")
    return found


@cause(
    "hwpoison",
    "poisoned memory (hardware error)",
    errno=(16,),
    transient=False,
    seen={"kpageflags": "HWPOISON", "log": "Memory failure: 0xPFN …; page dump with flag hwpoison"},
    source="mm/page_isolation.c, has_unmovable_pages: passes for offlining only (MEMORY_OFFLINE)",
    remedies=("offline the memory block: that is allowed", "replace the DIMM", "ask for another range"),
)
def hwpoison(e: Evidence) -> Judgement | None:
    if e.page is not None and e.page.has("hwpoison"):
        return Judgement(CERTAIN, [f"{_named(e.page)}"])
    if e.poisoned_pfn is not None:
        return Judgement(
            CERTAIN, [f"pfn {e.poisoned_pfn:#x} was poisoned: a range that holds it is refused from then on"]
        )
    return None


@cause(
    "offline page",
    "page that is logically offline (balloon, virtio-mem, Hyper-V, Xen)",
    errno=(16,),
    transient=False,
    seen={"kpageflags": "OFFLINE", "log": "page dump with page_type offline"},
    source="mm/page_isolation.c: PageOffline passes for offlining, if its driver dropped its reference",
    remedies=("let the host deflate the balloon or plug the memory", "ask for another range"),
)
def offline_page(e: Evidence) -> Judgement | None:
    if e.page is None or not (e.page.page_type == "offline" or e.page.has("offline")):
        return None
    return Judgement(CERTAIN, [f"{_named(e.page)}"])


def _references(page: PageState) -> str:
    """The page's references against the expected ones, in words."""
    excess = page.excess or 0
    parts = [f"{page.mapcount} mapping it"]
    if page.is_file:
        parts.append("1 page cache" if page.order == 0 else f"{1 << page.order} page cache")
        if page.has("private"):
            parts.append("1 buffers")
    elif page.swapcache:
        parts.append("1 swap cache")
    if page.isolation_ref:
        parts.append("1 migration")
    total = f"refcount {page.refcount}: {', '.join(parts)}"
    return f"{total}, {excess:,} more" if excess > 0 else total


def _against_many(found: Judgement, e: Evidence) -> None:
    """What speaks against single pages where many places failed."""
    separate = e.repeats.separate or 0
    if separate >= MANY:
        found.certainty = POSSIBLE if found.certainty is LIKELY else found.certainty
        found.against.append(f"{separate} places that share no page were refused: each would need a page of its own")
    elif e.area is not None and (e.area.places or 0) >= 16:
        found.certainty = POSSIBLE if found.certainty is LIKELY else found.certainty
        runs = f" in {e.area.runs} runs" if e.area.runs else ""
        found.against.append(f"the request fits in {e.area.places:,} places{runs}, and all were refused")
