"""From a log's events to evidence for the causes: what belongs to one failure, and how often it happened."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from ..machine.log_events import (
    AllocationFailure,
    AreaRefused,
    BusyWalk,
    CmaFailure,
    DmaFailure,
    Event,
    Facts,
    FragTable,
    HugetlbInflated,
    HugetlbShort,
    HwPoison,
    MemInfo,
    MemInfoBlock,
    MigrationFailure,
    OfflineFailure,
    PageDump,
    PageDumped,
    StillInUse,
    VirtioMemFailure,
)
from .causes import Area, Evidence, PageState, Repeats, ZoneState
from .kernel import kernel_version

__all__ = ["Case", "cases", "evidence_of", "request_order"]

#: CONFIG_CMA_ALIGNMENT's default: DMA buffers are aligned to their size up to this order (kernel/dma/contiguous.c).
CMA_ALIGNMENT = 8

#: Lines, and seconds, within which what follows a failure belongs to it.
NEAR_LINES, NEAR_SECONDS = 120, 10.0

#: Seconds that offlining tried for before it gave up (__offline_pages until 4.20).
OFFLINE_SECONDS = 130.0

#: Seconds of a boot during which huge pages are reserved from memblock.
BOOT = 30.0

#: Reasons of page dumps that are about contiguous memory; other dumps are bugs of another kind.
DUMP_REASONS = ("unmovable page", "migration failure", "isolation failed")


@dataclass(slots=True)
class Case:
    """One failure, or the same one many times: its events, in order, and what else belongs to it."""

    events: list[Event]
    walks: list[BusyWalk] = field(default_factory=list)
    mem: MemInfo | None = None
    drivers: list[DmaFailure] = field(default_factory=list)
    offline: OfflineFailure | None = None

    @property
    def first(self) -> Event:
        return self.events[0]

    @property
    def seconds(self) -> float | None:
        """From the first to the last, None where the log has no times or another clock."""
        last = self.events[-1]
        end = last.until if isinstance(last, BusyWalk) and last.until is not None else last.seconds
        if self.first.seconds is None or end is None or self.first.clock != last.clock or end < self.first.seconds:
            return None
        return end - self.first.seconds


def near(before: Event, after: Event, lines: int = NEAR_LINES, within: float = NEAR_SECONDS) -> bool:
    """Whether an event follows another closely enough to belong to it."""
    line, seconds = before.line, before.seconds
    if isinstance(before, BusyWalk):
        line, seconds = before.last_line, before.until
    if not 0 <= after.line - line <= lines:
        return False
    if seconds is None or after.seconds is None or before.clock != after.clock:
        return True
    return after.seconds - seconds <= within


def _of_range(case: Case, event: OfflineFailure, page_size: int) -> bool:
    """Whether a page that stood in the way can lie in the range that failed."""
    pages = [
        e.page.pfn if isinstance(e, PageDumped) else e.pfn
        for e in case.events
        if isinstance(e, PageDumped | MigrationFailure)
    ]
    known = [pfn for pfn in pages if pfn is not None]
    if not known or event.start is None or event.end is None:
        return True
    return any(event.start // page_size <= pfn <= event.end // page_size for pfn in known)


def cases(events: Sequence[Event], page_size: int = 4096, *, areas_known: bool = False) -> list[Case]:
    """Group events that are one failure, then those that are the same failure again; in order of the first line."""
    single: list[Case] = []
    for event in events:
        last = single[-1] if single else None
        if isinstance(event, DmaFailure) and last is not None and isinstance(last.first, CmaFailure | BusyWalk):
            if near(last.events[-1], event, 12):
                last.drivers.append(event)
                continue
        elif isinstance(event, MemInfoBlock) and last is not None and isinstance(last.first, CmaFailure):
            if last.mem is None and near(last.first, event):
                last.mem = event.mem
                continue
        elif isinstance(event, CmaFailure):
            case = Case([event])
            if single and isinstance(driver := single[-1].first, DmaFailure) and near(driver, event, 3):
                # some drivers complain before cma_alloc's own line
                case.drivers.append(driver)
                single.pop()
            while single and event.errno == 16 and isinstance(walk := single[-1].first, BusyWalk) and near(walk, event):
                case.walks.insert(0, walk)
                single.pop()
            single.append(case)
            continue
        elif (
            isinstance(event, FragTable)
            and last is not None
            and isinstance(last.first, FragTable)
            and near(last.events[-1], event)
        ):
            last.events.append(event)
            continue
        elif isinstance(event, OfflineFailure):
            known = event.reason in (None, "unmovable page", "failure to isolate range")
            owner = last if last is not None and isinstance(last.first, PageDumped | MigrationFailure) else None
            if (
                owner is not None
                and near(owner.events[-1], event, within=OFFLINE_SECONDS)
                and _of_range(owner, event, page_size)
            ):
                owner.offline = owner.offline or event
                if known:
                    continue
            elif known and last is not None and isinstance(last.first, OfflineFailure) and near(last.first, event):
                # the kernel's line and the driver core's are one failure
                last.first.block = last.first.block or event.block
                continue
        elif isinstance(event, PageDumped) and event.page.reason is not None and event.page.reason not in DUMP_REASONS:
            continue
        single.append(Case([event]))
    return _merged(single, areas_known)


def _merged(single: list[Case], areas_known: bool) -> list[Case]:
    # where nothing but the errno is known, sizes make no difference
    apart = any(isinstance(case.first, CmaFailure) and (case.first.bitmap or case.walks) for case in single)
    found: dict[object, Case] = {}
    for case in single:
        key = _key(case.first)
        if isinstance(case.first, CmaFailure) and not apart and not areas_known:
            key = ("cma", case.first.area, case.first.errno)
        known = found.get(key)
        if known is None:
            found[key] = case
            continue
        known.events += case.events
        known.walks = (known.walks + case.walks)[:256]
        known.drivers = (known.drivers + case.drivers)[:256]
        known.mem = known.mem or case.mem
        known.offline = known.offline or case.offline
        if isinstance(case.first, CmaFailure) and isinstance(known.first, CmaFailure) and known.first.bitmap is None:
            known.first.bitmap = case.first.bitmap
    return list(found.values())


def _page_key(page: PageDump | None) -> object:
    if page is None:
        return None
    return (page.flags, page.page_type, page.aops, page.order, page.anon, page.reason)


def _key(event: Event) -> object:
    """Events with the same key are the same failure again."""
    match event:
        case CmaFailure():
            return ("cma", event.area, event.pages, event.errno)
        case BusyWalk():
            return ("busy",)
        case MigrationFailure():
            return ("migration", event.ret is None, (event.ret or 0) < 0 and event.ret, _page_key(event.page))
        case PageDumped():
            return ("page", _page_key(event.page))
        case OfflineFailure():
            return ("offline", event.reason)
        case AllocationFailure():
            return ("allocation", event.what, event.order, event.mode)
        case HugetlbShort():
            return ("hugetlb", event.wanted, event.size, event.got, event.node)
        case VirtioMemFailure():
            return ("virtio", event.device, event.action, event.errno)
        case AreaRefused():
            return ("area", event.rule, event.text)
        case DmaFailure():
            return ("dma", event.device, event.size)
        case HwPoison():
            return ("poison", event.pfn)
        case HugetlbInflated() | StillInUse():
            return (type(event).__name__,)
        case _:
            return (type(event).__name__, event.line)


def request_order(pages: int) -> int:
    """The least order whose block holds so many pages (get_order)."""
    return max(pages - 1, 0).bit_length()


def evidence_of(case: Case, facts: Facts) -> Evidence:
    """What a case and the log's facts tell."""
    event = case.first
    base = Evidence(
        kernel=kernel_version(facts.kernel) if facts.kernel else None,
        kernel_text=facts.kernel,
        page_size=facts.page_size,
        max_order=facts.max_order,
        repeats=Repeats(times=len(case.events), seconds=case.seconds),
        signs=tuple(f"{sign} in the log (line {line})" for sign, line in facts.signs.items()),
    )
    match event:
        case CmaFailure():
            return _of_cma(case, event, facts, base)
        case BusyWalk():
            walks = [walk for walk in case.events if isinstance(walk, BusyWalk)]
            # cma_alloc goes on to the next place; who asks for one again and again is another caller
            again = [walk for walk in walks if walk.tries > 1 and walk.step == 0]
            caller = "contig" if again else "cma"
            base = replace(base, errno=16, caller=caller, step="test", pages=min(walk.shortest for walk in walks))
            return replace(base, repeats=_walked(walks, case))
        case MigrationFailure():
            ret = event.ret
            return replace(
                base,
                errno=-ret if ret is not None and ret < 0 else 16,
                caller="offline",
                step="migrate",
                migrate_ret=ret,
                page=_page(event.page, event.pfn, isolation_ref=ret is not None),
                repeats=replace(
                    base.repeats, same_page=len({e.pfn for e in case.events if isinstance(e, MigrationFailure)}) == 1
                ),
            )
        case PageDumped():
            return _of_dump(case, event, facts, base)
        case OfflineFailure():
            failed = 22 if event.reason in ("memory holes", "multizone range") else 16
            return replace(base, errno=failed, caller="offline", rule=event.reason)
        case AllocationFailure():
            rule = {"oom": "oom", "vmemmap alloc": "vmemmap"}.get(event.what)
            if event.order < 0:
                return replace(base, caller="oom by hand")
            gfp = event.gfp or _old_gfp(event.mode)
            return replace(
                base,
                errno=12,
                caller="buddy",
                step="allocate",
                order=event.order,
                gfp=gfp,
                rule=rule,
                zones=_zones(event.mem, gfp),
            )
        case MemInfoBlock():
            return replace(base, caller="buddy", zones=_zones(event.mem, frozenset(("GFP_KERNEL",))))
        case FragTable():
            tables = [e for e in case.events if isinstance(e, FragTable) and e.name == "extfrag_index"]
            extfrag = _worst(tables[0]) if tables else ()
            return replace(base, errno=12, caller="buddy", extfrag=extfrag, repeats=Repeats())
        case HugetlbShort():
            early = event.clock == "boot" and event.seconds is not None and event.seconds < BOOT
            pages = event.size // (facts.page_size or 4096)
            memory = None if facts.memory_kb is None else (facts.memory_kb << 10) // (facts.page_size or 4096)
            return replace(
                base,
                errno=12,
                caller="hugetlb",
                step="reserve" if early else "allocate",
                pages=pages,
                wanted_pages=event.wanted * pages,
                memory_pages=memory,
            )
        case HugetlbInflated():
            return replace(base, errno=16, caller="hugetlb", rule="inflated")
        case StillInUse():
            return replace(base, caller="cma", rule="still in use", pages=event.pages)
        case VirtioMemFailure():
            return replace(base, errno=event.errno or None, caller="virtio_mem")
        case AreaRefused():
            return replace(base, caller="reserve", step="reserve", rule=event.rule)
        case DmaFailure():
            asked = None if event.size is None else -(-event.size // (facts.page_size or 4096))
            order = None if asked is None else request_order(asked)
            return replace(base, errno=12, caller="dma", pages=asked, order=order)
        case HwPoison():
            return replace(base, poisoned_pfn=event.pfn)
        case _:
            return base


def _of_cma(case: Case, event: CmaFailure, facts: Facts, base: Evidence) -> Evidence:
    area: Area | None = None
    if event.bitmap is not None:
        bitmap = event.bitmap
        whole = bool(bitmap.runs) or bitmap.free == 0
        per_bit = bitmap.order_per_bit or 0
        align = min(request_order(event.pages), CMA_ALIGNMENT)
        area = Area(
            pages=bitmap.total,
            free=bitmap.free,
            largest=bitmap.largest if whole else None,
            runs=len(bitmap.runs) or None,
            places=bitmap.fits(event.pages, align, per_bit) if whole else None,
            align=align,
        )
    elif (size := _area_bytes(event.area, facts)) is not None:
        area = Area(pages=size // (facts.page_size or 4096))
    zones = _zones(case.mem, frozenset(("GFP_KERNEL",)), every=True)
    pages = min(e.pages for e in case.events if isinstance(e, CmaFailure))
    if base.kernel is None and event.since is not None:
        text = f"{event.since[0]}.{event.since[1]} or later (by its message)"
        base = replace(base, kernel=event.since, kernel_text=text, kernel_or_later=True)
    found = replace(
        base,
        errno=event.errno,
        caller="cma",
        pages=pages,
        area=area,
        zones=zones,
        isolated_kb=_isolated(zones, facts),
    )
    if case.walks:
        walked = _walked(case.walks, case)
        return replace(found, step="test", repeats=replace(walked, times=len(case.events), seconds=case.seconds))
    # one place in the area: the same one each time
    same = area is not None and area.pages == event.pages
    return replace(found, repeats=replace(base.repeats, same_place=same))


def _walked(walks: Sequence[BusyWalk], case: Case) -> Repeats:
    """Tries of all walks: how many, how quick, how many that share no page (of the longest walk)."""
    quick = [walk.per_try for walk in walks if walk.per_try is not None]
    places = {(walk.first, walk.final) for walk in walks}
    tries = sum(walk.tries for walk in walks)
    return Repeats(
        times=len(case.events),
        seconds=case.seconds,
        tries=tries,
        separate=max(max(walk.separate for walk in walks), _apart(walks)),
        per_try=median(quick) if quick else None,
        same_place=len(places) == 1 and tries > 1 and walks[0].separate == 1,
    )


def _apart(walks: Sequence[BusyWalk]) -> int:
    """Walks whose last ranges share no page."""
    count, end = 0, -1
    for start, stop in sorted({walk.final for walk in walks}, key=lambda pair: pair[1]):
        if start >= end:
            count, end = count + 1, stop
    return count


def _of_dump(case: Case, event: PageDumped, facts: Facts, base: Evidence) -> Evidence:
    page = event.page
    reason = page.reason
    step = {"unmovable page": "isolate", "migration failure": "migrate", "isolation failed": "migrate"}.get(
        reason or ""
    )
    signs = base.signs
    if page.flags and "reserved" in page.flags and facts.crash_kernel is not None:
        start, end = facts.crash_kernel
        signs += (f"/proc/iomem in the log has a Crash kernel region [{start:#x}, {end:#x}]",)
    pfns = {e.page.pfn for e in case.events if isinstance(e, PageDumped)}
    return replace(
        base,
        errno=16,
        caller="contig" if reason == "migration failure" else "offline",
        step=step,
        migrate_ret=1 if reason == "migration failure" else None,
        page=_page(page, page.pfn, isolation_ref=reason == "migration failure"),
        signs=signs,
        repeats=replace(base.repeats, same_page=len(pfns) == 1 and pfns != {None}),
    )


def _page(page: PageDump | None, pfn: int | None, *, isolation_ref: bool) -> PageState:
    if page is None:
        return PageState(pfn=pfn)
    owner = page.owner if page.owner is not None and page.owner.allocated else None
    skip = (
        "prep_new_page",
        "post_alloc_hook",
        "get_page_from_freelist",
        "__alloc_",
        "alloc_pages",
        "alloc_frozen",
        "set_page_owner",
    )
    return PageState(
        pfn=pfn,
        flags=page.flags,
        page_type=page.page_type,
        order=page.order or 0,
        refcount=page.refcount,
        mapcount=page.mapcount,
        pins=page.pincount,
        anon=page.anon,
        mapping=page.mapping,
        aops=page.aops,
        cma=page.cma,
        isolation_ref=isolation_ref,
        owner=tuple(name for name in owner.stack if not name.startswith(skip)) if owner is not None else (),
        owner_type=owner.migratetype if owner is not None else None,
    )


def _zones(mem: MemInfo | None, gfp: frozenset[str], *, every: bool = False) -> tuple[ZoneState, ...]:
    """The zones that a request may use: ZONE_DMA is for those that ask for it, unless it is all there is."""
    if mem is None:
        return ()
    dma = (
        every or any(name in gfp for name in ("GFP_DMA", "__GFP_DMA")) or all(zone.name == "DMA" for zone in mem.zones)
    )
    return tuple(
        ZoneState(
            label=zone.label,
            free=zone.kb.get("free"),
            minimum=zone.kb.get("min"),
            low=zone.kb.get("low"),
            free_cma=zone.kb.get("free_cma"),
            blocks=tuple(zone.blocks),
        )
        for zone in mem.zones
        if dma or zone.name != "DMA"
    )


def _isolated(zones: Sequence[ZoneState], facts: Facts) -> int | None:
    """KiB that are on free lists and not counted as free: what lies in isolated pageblocks (mm/page_isolation.c)."""
    total = 0
    for zone in zones:
        if zone.free is not None and any("I" in types for _, types in zone.blocks):
            total += max(0, zone.listed((facts.page_size or 4096) >> 10) - zone.free)
    return total or None


def _area_bytes(name: str | None, facts: Facts) -> int | None:
    """Bytes of the area a message names, else of the largest that the log knows of."""
    if name is not None:
        named = [size for known, _, size in facts.areas if known is not None and known.startswith(name)]
        if named:
            return max(named)
    if facts.areas:
        return max(size for _, _, size in facts.areas)
    return facts.cma_kb << 10 if facts.cma_kb else None


def _old_gfp(mode: int) -> frozenset[str]:
    """What a mode without names says: before 4.4 bit 4 lets a request wait, bit 5 makes it high priority."""
    if mode & 0x10:
        return frozenset(("__GFP_WAIT",))
    return frozenset(("GFP_ATOMIC",)) if mode & 0x20 and mode < 0x400000 else frozenset()


def _worst(table: FragTable) -> tuple[float, ...]:
    """The row of an extfrag_index in which the smallest order fails."""
    rows = [values for _, _, values in table.rows]
    return min(
        rows,
        key=lambda values: next((order for order, value in enumerate(values) if value > 0.5), len(values)),
        default=(),
    )
