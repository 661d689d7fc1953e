"""Memory offlining and onlining: memory blocks, what refuses them, and the drivers that are asked.

Source: mm/memory_hotplug.c (offline_pages, online_pages, offline_and_remove_memory), drivers/base/memory.c
(memory_block_offline), mm/hugetlb.c (dissolve_free_huge_pages), arch/x86/mm/init_64.c (probe_memory_block_size) in 5.15.16,
6.1.192, 6.12.117 and 6.19.9. What they do to one zone is in ``mm/memory_hotplug.py``. Watermarks and per-cpu list sizes are
not computed anew afterwards (init_per_zone_wmark_min); memmap_on_memory is off.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..mm import Geometry, Zone
from ..mm.errors import ContigRefused, RangeError, UsageError
from ..mm.memory import Member, Memory
from ..mm.types import PageClass, PageFlag
from .hugetlb import HugetlbPool
from .kernel import kernel_version
from .trial import Step, refused

__all__ = ["SECTION_SIZE", "MemoryHotplug", "MemoryNotifier", "Offlined", "memory_block_size"]

EINTR, EBUSY, EINVAL = 4, 16, 22

#: Bytes of a sparse memory section: x86-64, and arm64 with pages of 4 KiB (SECTION_SIZE_BITS 27).
SECTION_SIZE = 128 << 20

#: Largest memory block of x86-64, and from which size of memory on blocks are larger than a section.
MAX_BLOCK_SIZE, MEM_SIZE_FOR_LARGE_BLOCK = 2 << 30, 64 << 30

#: [start, end) in pfns.
Range = tuple[int, int]


def memory_block_size(memory_end: int, *, hypervisor: bool) -> int:
    """Bytes of a memory block of x86-64 (probe_memory_block_size, 5.15 to 6.19).

    Args:
        memory_end: end of memory at boot, bytes (max_pfn).
        hypervisor: whether the processor says that it runs in a virtual machine.

    A section below 64 GiB. From there on 2 GiB on bare metal, and in a virtual machine the largest size up to that to which the
    end of memory is aligned. What a platform sets or advises (UV, CXL) is not known here.
    """
    if memory_end < MEM_SIZE_FOR_LARGE_BLOCK:
        return SECTION_SIZE
    size = MAX_BLOCK_SIZE
    while hypervisor and size > SECTION_SIZE and memory_end % size:
        size >>= 1
    return size


class MemoryNotifier:
    """A driver that is told of memory going offline and online; errno 0: it agrees. Pfns absolute."""

    def going_offline(self, start_pfn: int, nr_pages: int) -> tuple[int, Sequence[Range]]:
        """MEM_GOING_OFFLINE: errno, and the ranges whose PageOffline pages it lets go of."""
        return 0, ()

    def cancel_offline(self, start_pfn: int, nr_pages: int) -> None:
        """MEM_CANCEL_OFFLINE; also those that were not asked are told."""

    def offline(self, start_pfn: int, nr_pages: int) -> None:
        """MEM_OFFLINE."""

    def going_online(self, start_pfn: int, nr_pages: int) -> int:
        """MEM_GOING_ONLINE: errno."""
        return 0

    def cancel_online(self, start_pfn: int, nr_pages: int) -> None:
        """MEM_CANCEL_ONLINE."""

    def online(self, start_pfn: int, nr_pages: int, *, movable: bool) -> None:
        """MEM_ONLINE; ``movable``: to ZONE_MOVABLE."""


@dataclass(frozen=True, slots=True)
class Offlined:
    """How one call of offline_pages ended.

    ``errno``: 0 or positive. ``reason``: the kernel's word for a failure ("failure to isolate range" …). ``pfn``, ``rule``: the
    page or pageblock in the way, and why. ``for_ever``: the kernel goes on trying; only a signal ends it, which is what the
    answer then is. ``moved``: base pages, of a failed call too. ``dissolved``: heads of huge pages given back.
    """

    start_pfn: int
    nr_pages: int
    errno: int = 0
    reason: str = ""
    pfn: int | None = None
    rule: str = ""
    for_ever: bool = False
    moved: int = 0
    dissolved: tuple[int, ...] = ()


@dataclass(slots=True)
class _Attempt:
    """What an offline_pages that is under way has done so far."""

    start: int
    nr: int
    moved: int = 0
    dissolved: list[int] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + self.nr

    def failed(self, errno: int, reason: str, rule: str, pfn: int | None = None, *, for_ever: bool = False) -> Offlined:
        return Offlined(self.start, self.nr, errno, reason, pfn, rule, for_ever, self.moved, tuple(self.dissolved))


class MemoryHotplug:
    """Memory that goes offline and online in blocks.

    Args:
        memory: zones and nodes.
        block_pages: pages of a memory block; default: a section.
        section_pages: pages of a sparse section; default: 128 MiB.
        notifiers: drivers, in the order in which they are asked.
        pools: hugetlb pools whose pages may be dissolved.
        reserved_huge: order -> huge pages that somebody reserved (resv_huge_pages): so many free ones must stay.

    Attributes:
        steps: all that was done, in order.

    Raises:
        UsageError: a section that is no power of two or smaller than a largest block or a pageblock, or a block that is
            no whole number of sections.

    >>> zone = Zone(4 * 1024, "6.1")
    >>> hotplug = MemoryHotplug(Memory([Member(zone)]), section_pages=1024)
    >>> hotplug.offline_block(3).errno, zone.nr_free_pages
    (0, 3072)
    """

    def __init__(
        self,
        memory: Memory,
        block_pages: int | None = None,
        *,
        section_pages: int | None = None,
        notifiers: Sequence[MemoryNotifier] = (),
        pools: Sequence[HugetlbPool] = (),
        reserved_huge: dict[int, int] | None = None,
    ) -> None:
        geometry = memory.members[0].zone.geometry
        self.memory = memory
        self.section_pages = SECTION_SIZE // geometry.page_size if section_pages is None else section_pages
        self.block_pages = self.section_pages if block_pages is None else block_pages
        self.notifiers = list(notifiers)
        self.pools = tuple(pools)
        self.reserved_huge = dict(reserved_huge or {})
        self.steps: list[Step] = []
        self._check_sizes(geometry)

    def _check_sizes(self, geometry: Geometry) -> None:
        section, largest = self.section_pages, 1 << max(geometry.max_order, geometry.pageblock_order)
        if section < largest or section & (section - 1):
            raise UsageError(
                f"a section of {section} pages: give a power of two, at least the largest block of {largest} pages"
            )
        if self.block_pages < section or self.block_pages % section:
            raise UsageError(
                f"a memory block of {self.block_pages} pages: give a whole number of sections of {section} pages"
            )

    @property
    def kernel(self) -> tuple[int, int]:
        """Whose text is followed."""
        return kernel_version(self.memory.members[0].zone.release)

    # ---- blocks ----

    def block_range(self, block: int) -> Range:
        """Pfns of memory block N: /sys/devices/system/memory/memoryN."""
        return block * self.block_pages, (block + 1) * self.block_pages

    def block_is_online(self, block: int) -> bool:
        """Whether a page of it is online."""
        return any(not zone.is_offline(start, end) for zone, start, end in self._pieces(*self.block_range(block)))

    def _pieces(self, start: int, end: int) -> Iterator[tuple[Zone, int, int]]:
        """What of a range lies in which zone."""
        for member in self.memory.members:
            first, last = max(start, member.zone.start_pfn), min(end, member.zone.end_pfn)
            if first < last:
                yield member.zone, first, last

    def counters(self) -> dict[str, int]:
        """managed and present pages of each zone; present: those that are online."""
        found: dict[str, int] = {}
        for member in self.memory.members:
            zone = member.zone
            name = f"node {member.node} {member.kind}"
            found[f"{name}/managed"] = zone.nr_managed_pages
            found[f"{name}/present"] = zone.geometry.nr_pages - zone.nr_holes(zone.start_pfn, zone.end_pfn)
        return found

    def offline_block(self, block: int, *, signal: bool = False) -> Offlined:
        """Write ``offline`` to a block's state: memory_block_offline.

        Since 5.18 (395f6081bad4) a block in which several zones lie is refused before anything is looked at.
        """
        start, end = self.block_range(block)
        zones = list(self._pieces(start, end))
        if self.kernel >= (5, 18) and len(zones) > 1:
            rule = "the block lies in more than one zone"
            self.steps.append(Step("memory_block_offline", start, end - start, EINVAL, pfn=zones[1][1], rule=rule))
            return Offlined(start, end - start, EINVAL, "", zones[1][1], rule)
        return self.offline_pages(start, end - start, signal=signal)

    # ---- offlining ----

    def offline_pages(self, start_pfn: int, nr_pages: int, *, signal: bool = False) -> Offlined:
        """Take a range offline; ``signal``: one is pending, which ends the work before anything is migrated.

        The start is a pageblock's and the end a section's: -EINVAL without a word otherwise. Then: "memory holes", "multizone
        range"; "failure to isolate range"; "notifier failure"; "signal backoff", "unmovable page" and "failure to
        dissolve huge pages". After each of them the pageblocks are as they were, but for what was migrated, and but for
        their types: until 6.16 they are MOVABLE.

        The kernel tries for ever to migrate what can be in theory. Here nothing else runs, so a pass that moves nothing is the
        last: it is answered as the signal that would end it.
        """
        at = _Attempt(start_pfn, nr_pages)
        answer = self._refused_at_once(at)
        if answer is None:
            answer = self._offline(at, self.memory.member_of(start_pfn), signal)
        rule = f"{answer.reason}: {answer.rule}" if answer.reason and answer.rule else answer.reason or answer.rule
        self.steps.append(
            Step(
                "offline_pages", start_pfn, nr_pages, answer.errno, pfn=answer.pfn if answer.errno else None, rule=rule
            )
        )
        return answer

    def _refused_at_once(self, at: _Attempt) -> Offlined | None:
        """What is asked before anything is touched."""
        geometry = self.memory.members[0].zone.geometry
        if at.nr < 1 or at.start % (1 << geometry.pageblock_order) or at.end % self.section_pages:
            rule = "the start is no pageblock's or the end no section's"
            return at.failed(EINVAL, "", rule, at.start)
        pieces = list(self._pieces(at.start, at.end))
        if sum(last - first for _, first, last in pieces) < at.nr:
            return at.failed(EINVAL, "memory holes", "a page of the range is in no zone", _outside(pieces, at))
        for zone, first, last in pieces:
            hole = zone.first_hole(first, last)
            if hole is not None:
                return at.failed(EINVAL, "memory holes", "a page of the range is not online", hole)
        if len(pieces) > 1:
            other = sorted(piece[1] for piece in pieces)[1]
            return at.failed(EINVAL, "multizone range", "another zone begins in the range", other)
        return None

    def _offline(self, at: _Attempt, member: Member, signal: bool) -> Offlined:
        zone = member.zone
        pcp = zone.zone_pcp_disable()
        # every CPU's batches of every zone (lru_cache_disable)
        for each in self.memory.members:
            each.zone.lru_cache_disable()
        try:
            try:
                zone.isolate_for_offline(at.start, at.end)
            except ContigRefused as refusal:
                self.steps.append(refused("start_isolate_page_range", at.start, at.nr, refusal))
                return at.failed(refusal.errno, "failure to isolate range", str(refusal.rule), refusal.pfn)
            self.steps.append(Step("start_isolate_page_range", at.start, at.nr))
            failure = self._empty(at, member, signal)
            if failure is not None:
                zone.undo_isolate_for_offline(at.start, at.end)
                for notifier in self.notifiers:
                    notifier.cancel_offline(at.start, at.nr)
                return failure
            zone.offline_isolated_pages(at.start, at.end)
        finally:
            zone.zone_pcp_enable(pcp)
        for notifier in self.notifiers:
            notifier.offline(at.start, at.nr)
        return Offlined(at.start, at.nr, moved=at.moved, dissolved=tuple(at.dissolved))

    def _empty(self, at: _Attempt, member: Member, signal: bool) -> Offlined | None:
        """Ask the drivers, then migrate and dissolve until the range is free; why not, or None."""
        let_go: list[Range] = []
        for notifier in self.notifiers:
            errno, ranges = notifier.going_offline(at.start, at.nr)
            if errno:
                self.steps.append(
                    Step("memory_notify", at.start, at.nr, errno, rule="a driver refuses MEM_GOING_OFFLINE")
                )
                return at.failed(errno, "notifier failure", f"{type(notifier).__name__} refuses MEM_GOING_OFFLINE")
            let_go += ranges
        zone = member.zone
        failure = self._migrate(at, member, _cut(at.start, at.end, let_go), signal) or self._dissolve(at, zone)
        if failure is not None:
            return failure
        left = zone.why_not_isolated(at.start, at.end)
        # in use and not to be migrated: the kernel scans, dissolves and tests again, for ever
        return None if left is None else self._stuck(at, zone, left.pfn, str(left.rule))

    def _migrate(
        self, at: _Attempt, member: Member, segments: Sequence[tuple[int, int, bool]], signal: bool
    ) -> Offlined | None:
        """scan_movable_pages and do_migrate_range in turn until there is nothing to move."""
        zone = member.zone
        still = 0
        while True:
            if signal:
                return at.failed(EINTR, "signal backoff", "a signal is pending")
            try:
                pfn = _scan(zone, segments)
            except ContigRefused as kept:
                self.steps.append(refused("scan_movable_pages", at.start, at.nr, kept))
                return at.failed(kept.errno, "unmovable page", str(kept.rule), kept.pfn)
            if pfn is None:
                return None
            with self.memory.offline_targets(member):
                done = zone.do_migrate_range(pfn, at.end)
            at.moved += done.moved
            left = f"{done.failed:,} pages stay: {done.rule}" if done.failed else ""
            self.steps.append(Step("do_migrate_range", pfn, at.end - pfn, moved=done.moved, pfn=done.pfn, rule=left))
            # a pass that moves nothing may still have split a huge page: the next one tells
            still = 0 if done.moved else still + 1
            if still == 2:
                return self._stuck(at, zone, done.pfn, done.rule)

    def _stuck(self, at: _Attempt, zone: Zone, pfn: int | None, rule: str) -> Offlined:
        """The kernel's endless loop, cut."""
        what = f"page {pfn:#x}" if pfn is not None else "a page"
        name = f" ({zone.page(pfn).page_class.name.lower()})" if pfn is not None else ""
        why = f"would loop for ever: {what}{name} cannot be migrated because {rule}"
        return at.failed(EINTR, "signal backoff", why, pfn, for_ever=True)

    # ---- huge pages ----

    def _dissolve(self, at: _Attempt, zone: Zone) -> Offlined | None:
        """dissolve_free_huge_pages: those that lie unused in their pool, of each size, ascending."""
        pfn = at.start
        while pfn < at.end:
            page = zone.page(pfn)
            if page.page_class != PageClass.HUGETLB:
                pfn = max(page.head_pfn + (1 << page.order), pfn + 1)
                continue
            head, pages = page.head_pfn, 1 << page.order
            if not page.flags & PageFlag.CLEAN:
                return self._cannot_dissolve(at, head, pages, "the huge page is in use")
            if self._free_huge(page.order) <= self.reserved_huge.get(page.order, 0):
                return self._cannot_dissolve(at, head, pages, "all free huge pages of its size are reserved")
            if not any(pool.dissolve(head) for pool in self.pools):
                _free_huge_page(zone, head, self.kernel)
            at.dissolved.append(head)
            self.steps.append(Step("dissolve_free_huge_page", head, pages))
            pfn = head + pages
        return None

    def _cannot_dissolve(self, at: _Attempt, head: int, pages: int, rule: str) -> Offlined:
        self.steps.append(Step("dissolve_free_huge_page", head, pages, EBUSY, pfn=head, rule=rule))
        return at.failed(EBUSY, "failure to dissolve huge pages", rule, head)

    def _free_huge(self, order: int) -> int:
        """Unused huge pages of a size, on all nodes."""
        return sum(member.zone.nr_free_hugetlb(order) for member in self.memory.members)

    # ---- onlining ----

    def online_pages(
        self,
        start_pfn: int,
        nr_pages: int,
        kind: str | None = None,
        *,
        online_page: Callable[[Zone, int, int], bool] | None = None,
    ) -> int:
        """Put a range of holes into a zone; errno.

        Args:
            kind: of the zone; default: that which spans the range.
            online_page: driver's callback for each block of pages, ``(zone, pfn, order)``; False: it is not the driver's.

        Pages go to the tails of the lists in blocks as large as their alignment allows; the pageblocks are MOVABLE and
        isolated until all are there.

        Raises:
            RangeError: no zone of this kind spans the range.
        """
        zone = self._zone_for(start_pfn, nr_pages, kind)
        geometry = zone.geometry
        end = start_pfn + nr_pages
        if nr_pages < 1 or start_pfn % (1 << geometry.pageblock_order) or end % self.section_pages:
            self.steps.append(Step("online_pages", start_pfn, nr_pages, EINVAL, rule="no whole memory block"))
            return EINVAL
        if not zone.is_offline(start_pfn, end):
            raise UsageError(f"range [{start_pfn}, {end}) has online pages: offline it first")
        for notifier in self.notifiers:
            errno = notifier.going_online(start_pfn, nr_pages)
            if errno:
                for other in self.notifiers:
                    other.cancel_online(start_pfn, nr_pages)
                self.steps.append(
                    Step("online_pages", start_pfn, nr_pages, errno, rule="a driver refuses MEM_GOING_ONLINE")
                )
                return errno
        zone.move_pfn_range_to_zone(start_pfn, end)
        pfn = start_pfn
        while pfn < end:
            order = min(geometry.max_order, (pfn & -pfn).bit_length() - 1) if pfn else geometry.max_order
            if online_page is None or not online_page(zone, pfn, order):
                zone.generic_online_page(pfn, order)
            pfn += 1 << order
        zone.undo_isolate_for_offline(start_pfn, end)
        for notifier in self.notifiers:
            notifier.online(start_pfn, nr_pages, movable=zone.is_zone_movable)
        self.steps.append(Step("online_pages", start_pfn, nr_pages, note=zone.name))
        return 0

    def _zone_for(self, start_pfn: int, nr_pages: int, kind: str | None) -> Zone:
        for member in self.memory.members:
            zone = member.zone
            if kind in (None, member.kind) and zone.start_pfn <= start_pfn and start_pfn + nr_pages <= zone.end_pfn:
                return zone
        raise RangeError(
            f"no zone{f' {kind}' if kind else ''} spans [{start_pfn}, {start_pfn + nr_pages}): the model's zones do not grow"
        )


def _outside(pieces: Sequence[tuple[Zone, int, int]], at: _Attempt) -> int:
    """First pfn of a range that no zone has."""
    pfn = at.start
    for _, first, last in sorted(pieces, key=lambda piece: piece[1]):
        if first > pfn:
            break
        pfn = last
    return pfn


def _cut(start: int, end: int, let_go: Sequence[Range]) -> list[tuple[int, int, bool]]:
    """[start, end) in pieces: whether PageOffline pages in them are let go of."""
    inside = [(max(first, start), min(last, end)) for first, last in let_go if first < end and last > start]
    edges = sorted({start, end, *(edge for piece in inside for edge in piece)})
    return [(first, last, any(a <= first and last <= b for a, b in inside)) for first, last in pairwise(edges)]


def _scan(zone: Zone, segments: Sequence[tuple[int, int, bool]]) -> int | None:
    """scan_movable_pages over the pieces; the first page that can be moved."""
    for first, last, let_go in segments:
        pfn = zone.scan_movable_pages(first, last, let_go)
        if pfn is not None:
            return pfn
    return None


def _free_huge_page(zone: Zone, head: int, kernel: tuple[int, int]) -> None:
    """Give a huge page to the allocator: whole, but a gigantic one page by page until 6.1 (update_and_free_page)."""
    order = zone.page(head).order
    zone.set_hugetlb_free(head, False)
    if order > zone.geometry.max_order and kernel < (6, 12):
        zone.split_page(head)
        zone.free_contig_range(head, 1 << order)
    else:
        zone.free(head)
