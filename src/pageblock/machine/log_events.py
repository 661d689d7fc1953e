"""What a kernel log says about contiguous memory: one class a kind of message, and the facts about the machine.

Names of flags, types and fields are those that the kernel prints (mm/debug.c, mm/show_mem.c, mm/cma.c).
"""

from dataclasses import dataclass, field
from math import gcd

__all__ = [
    "RANGE_BITS",
    "AllocationFailure",
    "AreaRefused",
    "Bitmap",
    "BusyWalk",
    "CmaFailure",
    "DmaFailure",
    "Event",
    "Facts",
    "FragTable",
    "HugetlbInflated",
    "HugetlbShort",
    "HwPoison",
    "KernelLog",
    "MemInfo",
    "MemInfoBlock",
    "MigrationFailure",
    "OfflineFailure",
    "Offlined",
    "PageDump",
    "PageDumped",
    "PageOwner",
    "StillInUse",
    "VirtioMemFailure",
    "ZoneMem",
]


#: Between the bits of an area's ranges (several since 6.15), so that none overlap: more than any bitmap has.
RANGE_BITS = 1 << 40


@dataclass(slots=True, kw_only=True)
class Event:
    """A message: the line on which it begins, and when (seconds; None: not told; ``clock`` as in ``LogLine``)."""

    line: int
    seconds: float | None = None
    clock: str = ""


@dataclass(slots=True)
class PageOwner:
    """What page_owner says of a page (mm/page_owner.c, __dump_page_owner). ``stack``: functions, innermost first."""

    allocated: bool = True
    order: int | None = None
    migratetype: str | None = None
    gfp: frozenset[str] = frozenset()
    comm: str | None = None
    stack: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PageDump:
    """A page as dump_page prints it (mm/debug.c; forms of 3.x to 6.19). None: not printed.

    ``mapping``: whether it has one; ``order``: of its compound page, None for a single page; ``cma``: in a CMA pageblock;
    ``isolated``: it was dumped while migration held a reference of its own to it.
    """

    pfn: int | None = None
    refcount: int | None = None
    mapcount: int | None = None
    mapping: bool | None = None
    flags: frozenset[str] | None = None
    page_type: str | None = None
    order: int | None = None
    pincount: int | None = None
    anon: bool = False
    aops: str | None = None
    ino: str | None = None
    dentry: str | None = None
    cma: bool = False
    node: int | None = None
    zone: int | None = None
    poisoned: bool = False
    reason: str | None = None
    owner: PageOwner | None = None


@dataclass(slots=True)
class Bitmap:
    """An area's bitmap (cma_debug_show_areas; CONFIG_CMA_DEBUG): ``runs`` of free pages (pages, first bit)."""

    runs: tuple[tuple[int, int], ...]
    free: int
    total: int

    @property
    def largest(self) -> int:
        """Pages of the largest free run."""
        return max((pages for pages, _ in self.runs), default=0)

    @property
    def order_per_bit(self) -> int | None:
        """The least order a bit can stand for so that the runs do not overlap; None: none fits, as if cut or garbled."""
        if not self.runs or self.runs[-1][1] >= RANGE_BITS:
            return 0
        for order in range(32):
            bits = (self.total + (1 << order) - 1) >> order
            ends = [first + (pages >> order) for pages, first in self.runs]
            starts = [first for _, first in self.runs[1:]] + [bits + 1]
            if all(end < start for end, start in zip(ends, starts, strict=True)) and all(
                pages % (1 << order) == 0 for pages, _ in self.runs
            ):
                return order
        return None

    def fits(self, pages: int, align: int, order_per_bit: int = 0) -> int:
        """Places where ``pages`` fit at an alignment (order), the area's own start being aligned that far at least."""
        found = 0
        for run, first in self.runs:
            start = first << order_per_bit
            aligned = (start + (1 << align) - 1) >> align << align
            room = start + run - aligned - pages
            if room >= 0:
                found += (room >> align) + 1
        return found


@dataclass(slots=True, kw_only=True)
class CmaFailure(Event):
    """cma_alloc gave up (mm/cma.c; the reason since 4.11, the area's name in newer kernels). ``errno`` positive.

    ``since``: the first kernel with this form of the message, where it says that much.
    """

    area: str | None
    pages: int
    errno: int
    bitmap: Bitmap | None = None
    since: tuple[int, int] | None = None


@dataclass(slots=True, kw_only=True)
class BusyWalk(Event):
    """A series of "PFNs busy": one request that went through the places it could have had (mm/page_alloc.c, up to 5.12).

    ``first``, ``final``: [start, end) pfns of the first and last try; ``separate``: tries that overlap no other counted
    one, so at least as many pages are in use; ``step``: pages from a place to the next (0: one place, tried again);
    ``shortest``: pages of the shortest range told, the request is at most that long; ``until`` and ``last_line``: when and
    where the last.
    """

    first: tuple[int, int]
    final: tuple[int, int]
    tries: int = 1
    separate: int = 1
    step: int = 0
    shortest: int = 0
    until: float | None = None
    last_line: int = 0
    separate_end: int = 0

    def add(self, start: int, end: int, line: int, seconds: float | None) -> None:
        """One more try of the same request."""
        self.last_line = line
        self.step = gcd(self.step, abs(end - self.final[1]))
        self.tries += 1
        self.shortest = min(self.shortest, end - start)
        if start >= self.separate_end:
            self.separate += 1
            self.separate_end = end
        self.final = (start, end)
        self.until = seconds

    @property
    def per_try(self) -> float | None:
        """Seconds from one try to the next; None where the log has no times."""
        if self.tries < 2 or self.seconds is None or self.until is None or self.until < self.seconds:
            return None
        return (self.until - self.seconds) / (self.tries - 1)


@dataclass(slots=True, kw_only=True)
class MigrationFailure(Event):
    """A page that offlining could not move or take off its list (do_migrate_range, mm/memory_hotplug.c).

    ``ret``: what migrate_pages returned: negative errno, or how many pages stayed; None: isolating it failed.
    """

    pfn: int | None
    ret: int | None
    page: PageDump | None = None


@dataclass(slots=True, kw_only=True)
class PageDumped(Event):
    """A page dump without a message before it: what isolation refused, or an assertion."""

    page: PageDump


@dataclass(slots=True, kw_only=True)
class OfflineFailure(Event):
    """Offlining failed: bytes [start, end] where they are told, ``reason`` in the kernel's words (since 5.0)."""

    start: int | None = None
    end: int | None = None
    reason: str | None = None
    block: str | None = None


@dataclass(slots=True, kw_only=True)
class Offlined(Event):
    """Pages that went offline."""

    pages: int


@dataclass(slots=True)
class ZoneMem:
    """A zone in a Mem-Info block: ``kb``: its figures by the kernel's names; ``blocks``: free blocks (count, types) by order."""

    node: int | None
    name: str
    kb: dict[str, int] = field(default_factory=dict)
    blocks: list[tuple[int, str]] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"node {self.node} {self.name}" if self.node is not None else self.name


@dataclass(slots=True)
class MemInfo:
    """A Mem-Info block (show_mem, mm/show_mem.c)."""

    zones: list[ZoneMem] = field(default_factory=list)

    def zone(self, node: int | None, name: str) -> ZoneMem:
        """The zone of this name, made if it is new."""
        for zone in self.zones:
            if zone.name == name and node in (None, zone.node):
                return zone
        self.zones.append(ZoneMem(node, name))
        return self.zones[-1]


@dataclass(slots=True, kw_only=True)
class MemInfoBlock(Event):
    """A Mem-Info block that no failure stands before."""

    mem: MemInfo


@dataclass(slots=True, kw_only=True)
class AllocationFailure(Event):
    """The page allocator gave nothing (warn_alloc, mm/page_alloc.c) or called the OOM killer (mm/oom_kill.c).

    ``what``: "page allocation", "vmemmap alloc", "oom" …; ``mode``: gfp bits; ``gfp``: their names, empty before 4.6.
    """

    comm: str
    what: str
    order: int
    mode: int
    gfp: frozenset[str] = frozenset()
    mem: MemInfo | None = None


@dataclass(slots=True, kw_only=True)
class HugetlbShort(Event):
    """Fewer huge pages than asked for (mm/hugetlb.c). ``size`` bytes."""

    wanted: int
    got: int
    size: int
    node: int | None = None


@dataclass(slots=True, kw_only=True)
class HugetlbInflated(Event):
    """A gigantic page that someone held a reference to as it was made (mm/hugetlb.c)."""


@dataclass(slots=True, kw_only=True)
class VirtioMemFailure(Event):
    """A step of virtio-mem failed (drivers/virtio/virtio_mem.c). ``errno`` positive, 0: not told."""

    device: str
    action: str
    errno: int


@dataclass(slots=True, kw_only=True)
class AreaRefused(Event):
    """A CMA area that could not be had at boot. ``rule``: key of what refused it; ``text``: the message."""

    rule: str
    text: str


@dataclass(slots=True, kw_only=True)
class DmaFailure(Event):
    """A driver got no contiguous buffer. ``size`` bytes; None: not told."""

    device: str | None
    size: int | None


@dataclass(slots=True, kw_only=True)
class HwPoison(Event):
    """Memory failure handling of a page (mm/memory-failure.c)."""

    pfn: int
    text: str


@dataclass(slots=True, kw_only=True)
class StillInUse(Event):
    """free_contig_range met pages with another reference (mm/page_alloc.c)."""

    pages: int


@dataclass(slots=True, kw_only=True)
class FragTable(Event):
    """extfrag_index or unusable_index (mm/vmstat.c): (node, zone, value by order) a row."""

    name: str
    rows: list[tuple[int, str, tuple[float, ...]]] = field(default_factory=list)


@dataclass(slots=True)
class Facts:
    """What the log says about the machine; None or empty: nothing.

    ``areas``: CMA areas (name, base, bytes); ``signs``: words that matter (vfio …) -> first line; ``virtio``: device ->
    banner values, bytes; ``crash_kernel``: [start, end] bytes.
    """

    kernel: str | None = None
    kernel_from: str | None = None
    page_size: int | None = None
    max_order: int | None = None
    areas: list[tuple[str | None, int, int]] = field(default_factory=list)
    cma_kb: int | None = None
    memory_kb: int | None = None
    crash_kernel: tuple[int, int] | None = None
    signs: dict[str, int] = field(default_factory=dict)
    virtio: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class KernelLog:
    """A parsed log. ``dropped``: events beyond the most that are kept; ``suppressed``: messages that the kernel left out."""

    events: list[Event] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    lines: int = 0
    dropped: int = 0
    suppressed: int = 0
