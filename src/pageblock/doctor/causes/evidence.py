"""What is known of one failure, from whatever source: a log, /proc, a vmcore. None and empty mean: not known.

Names of page flags, types and gfp flags are those that the kernel prints (include/trace/events/mmflags.h); pages of
/proc/kpageflags get the same names. The causes read nothing else, so that each source only has to fill this in.
"""

from dataclasses import dataclass, field

__all__ = ["Area", "Evidence", "PageState", "Repeats", "ZoneState"]


@dataclass(frozen=True, slots=True)
class PageState:
    """The page that stood in the way.

    ``order``: of its compound page, 0: a single page; ``refcount`` and ``mapcount`` of the head; ``isolation_ref``:
    migration itself held a reference when it was looked at; ``pins``: the count of FOLL_PIN, where the kernel keeps one.
    ``owner``: functions that allocated it (page_owner), innermost first; ``owner_type``: the migratetype asked for.
    ``told``: what the source calls a page whose flags it does not tell one by one; ``unlisted``: known to be on no free or
    per-cpu list; ``extra``: references beyond the expected ones, where the source has counted them itself.
    """

    pfn: int | None = None
    flags: frozenset[str] | None = None
    page_type: str | None = None
    order: int = 0
    refcount: int | None = None
    mapcount: int | None = None
    pins: int | None = None
    anon: bool = False
    mapping: bool | None = None
    aops: str | None = None
    cma: bool = False
    isolation_ref: bool = False
    owner: tuple[str, ...] = ()
    owner_type: str | None = None
    told: str = ""
    unlisted: bool = False
    extra: int | None = None

    def has(self, *names: str) -> bool:
        """Whether one of the flags is set; False where they are not known."""
        return self.flags is not None and not self.flags.isdisjoint(names)

    @property
    def lru(self) -> bool | None:
        """On an LRU list; None: not known."""
        return None if self.flags is None else "lru" in self.flags

    @property
    def swapcache(self) -> bool:
        """In the swap cache: the flag is PG_owner_priv_1's other name (include/linux/page-flags.h)."""
        return self.has("swapcache") or (self.has("owner_priv_1", "ownerpriv1") and self.has("swapbacked"))

    @property
    def is_file(self) -> bool:
        """In the page cache of a file, a block device or shmem."""
        return bool(self.mapping or self.aops) and not self.anon and not self.driver_movable

    @property
    def driver_movable(self) -> bool:
        """A driver's page with movable_operations (__PageMovable): balloon, zsmalloc, z3fold."""
        return self.page_type in ("zsmalloc", "balloon") or (self.aops or "").startswith(
            ("balloon", "zsmalloc", "z3fold", "vmballoon", "cmm_")
        )

    @property
    def hugetlb(self) -> bool:
        return self.page_type == "hugetlb" or self.has("hugetlb")

    @property
    def excess(self) -> int | None:
        """References beyond those that migration expects (folio_expected_refs, mm/migrate.c); None: not known.

        Expected: one a mapping, one a page of the page or swap cache, one for private data of a file's page, and
        migration's own.
        """
        if self.extra is not None:
            return self.extra
        if self.refcount is None or self.mapcount is None or self.flags is None or self.hugetlb:
            return None
        if self.has("slab", "reserved"):
            return None
        pages = 1 << self.order
        expected = self.mapcount + int(self.isolation_ref)
        if self.is_file:
            expected += pages + int(self.has("private"))
        elif self.swapcache:
            expected += pages
        return self.refcount - expected


@dataclass(frozen=True, slots=True)
class Area:
    """A CMA area at the time. ``pages``: all of it; ``largest``: its largest free run; ``places``: where the request fits.

    ``places`` counts at the alignment ``align`` (order); None where the bitmap is not known.
    """

    pages: int
    free: int | None = None
    largest: int | None = None
    runs: int | None = None
    places: int | None = None
    align: int | None = None


@dataclass(frozen=True, slots=True)
class Repeats:
    """The tries that were seen. ``times`` failures within ``seconds``.

    ``tries``: places tried; ``separate``: of them, those that share no page; ``per_try``: seconds a place;
    ``same_place``: the one place was tried each time; ``same_page``: the same page each time.
    """

    times: int = 1
    seconds: float | None = None
    tries: int | None = None
    separate: int | None = None
    per_try: float | None = None
    same_place: bool = False
    same_page: bool = False


@dataclass(frozen=True, slots=True)
class ZoneState:
    """A zone at the time, KiB; ``blocks``: free blocks by order with the letters of the types on that list.

    Letters as show_migration_types prints them: U M E(reclaimable) H(ighatomic) C(MA) I(solate).
    """

    label: str
    free: int | None = None
    minimum: int | None = None
    low: int | None = None
    free_cma: int | None = None
    reserve: int = 0
    blocks: tuple[tuple[int, str], ...] = ()

    def listed(self, page_kb: int) -> int:
        """KiB on the free lists, isolated ones with them."""
        return sum(count << order for order, (count, _) in enumerate(self.blocks)) * page_kb

    def usable(self, order: int, cma: bool) -> bool | None:
        """Whether a free block of an order is on a list that the request may use; None: the lists are not known."""
        if not self.blocks:
            return None
        good = set("UMEC" if cma else "UME")
        # before 3.11 no letters are printed
        return any(count and (not types or good & set(types)) for count, types in self.blocks[order:])


@dataclass(frozen=True, slots=True)
class Evidence:
    """One failure. ``errno`` positive.

    ``caller``: "cma", "contig", "hugetlb", "offline", "buddy", "dma", "virtio_mem", "reserve"; ``step``: where it ended:
    "bitmap", "isolate", "migrate", "test", "allocate", "reserve"; ``pages``: asked for; ``rule``: the kernel's own word
    for it (offlining, refused areas); ``max_order`` inclusive; ``isolated_kb``: free memory in isolated pageblocks;
    ``crosses_zone``: a pageblock of the range reaches out of its zone.
    ``predicted``: nothing was tried, a state was looked at; ``moves`` and ``targets``: pages that would have to move, and free
    pages that could take them.
    ``kernel_or_later``: ``kernel`` is only the least that it can be; ``wanted_pages``: of all pieces asked for together;
    ``memory_pages``: of the machine.
    ``signs``: what else was seen, "vfio in use (line 3)"; ``extfrag``: extfrag_index by order, of one zone.
    """

    errno: int | None = None
    caller: str | None = None
    step: str | None = None
    rule: str | None = None
    pages: int | None = None
    kernel: tuple[int, int] | None = None
    kernel_text: str | None = None
    kernel_or_later: bool = False
    page_size: int | None = None
    max_order: int | None = None
    pageblock_order: int | None = None
    page: PageState | None = None
    area: Area | None = None
    repeats: Repeats = field(default_factory=Repeats)
    gfp: frozenset[str] = frozenset()
    order: int | None = None
    wanted_pages: int | None = None
    memory_pages: int | None = None
    zones: tuple[ZoneState, ...] = ()
    isolated_kb: int | None = None
    isolated_blocks: int | None = None
    crosses_zone: bool | None = None
    pins_held: int | None = None
    migrate_ret: int | None = None
    poisoned_pfn: int | None = None
    signs: tuple[str, ...] = ()
    extfrag: tuple[float, ...] = ()
    predicted: bool = False
    moves: int | None = None
    targets: int | None = None

    @property
    def no_room(self) -> bool:
        """Whether the area's bitmap cannot hold the request, so that no place was tried."""
        if self.caller != "cma" or self.area is None or self.pages is None:
            return False
        return any(room is not None and room < self.pages for room in (self.area.free, self.area.largest))

    @property
    def window(self) -> int | None:
        """Pages that isolating takes at least: the larger of pageblock and largest block before 5.19, the pageblock since.

        Source: mm/page_alloc.c, pfn_max_align_down (5.15); mm/page_isolation.c (5.19, b2c9e2fbba32).
        """
        if self.kernel is not None and self.kernel >= (5, 19):
            return None if self.pageblock_order is None else 1 << self.pageblock_order
        orders = [order for order in (self.max_order, self.pageblock_order) if order is not None]
        return 1 << max(orders) if orders else None
