"""How CMA areas come to be at boot: reservation, its checks, placement, and activation.

Source: mm/cma.c (5.15.16, 6.1.176, 6.12.19, 6.19.9); mm/memblock.c memblock_find_in_range_node. Addresses in bytes here,
as in the kernel; an area of the running system (``cma.CmaArea``) counts in pages.
"""

from dataclasses import dataclass, field

from ..mm import Geometry, Zone
from ..mm.errors import PageblockError, RangeError, UsageError
from ..mm.memory import Memory
from .cma import CMA_MAX_RANGES, CmaArea
from .kernel import cma_min_alignment_pages, kernel_version

__all__ = ["BootRefused", "CmaBoot", "Memblock", "Reserved", "activate"]

ENOMEM, EBUSY, EINVAL, ENOSPC = 12, 16, 22, 28

_4G = 1 << 32


class BootRefused(PageblockError):
    """A reservation that the kernel refuses: ``errno`` (positive), ``function``, ``rule`` in words."""

    def __init__(self, errno: int, function: str, rule: str) -> None:
        super().__init__(f"refused with -{errno} by {function}: {rule}")
        self.errno, self.function, self.rule = errno, function, rule

    def __reduce__(self) -> tuple[type["BootRefused"], tuple[int, str, str]]:
        return BootRefused, (self.errno, self.function, self.rule)


@dataclass(frozen=True, slots=True)
class Reserved:
    """An area before it is activated: ``ranges`` of (base_pfn, count).

    ``keep_on_error``: its pages stay reserved if activation fails (cma_reserve_pages_on_error).
    """

    name: str
    ranges: tuple[tuple[int, int], ...]
    order_per_bit: int
    node: int | None = None
    keep_on_error: bool = False


@dataclass(slots=True)
class Memblock:
    """The allocator of early boot: what memory there is, and what of it is reserved; addresses in bytes.

    ``memory``: (start, end, node); ``reserved``: (start, end); ``highmem_start``: where memory without a direct map begins,
    None: there is none. ``bottom_up``: from low to high, as on machines with movable nodes.
    """

    memory: list[tuple[int, int, int]]
    reserved: list[tuple[int, int]] = field(default_factory=list)
    highmem_start: int | None = None
    bottom_up: bool = False
    page_size: int = 4096

    @property
    def end_of_dram(self) -> int:
        """One past the last byte."""
        return max(end for _, end, _ in self.memory)

    @property
    def size(self) -> int:
        """Bytes of memory (memblock_phys_mem_size)."""
        return sum(end - start for start, end, _ in self.memory)

    def free(self, node: int | None = None) -> list[tuple[int, int]]:
        """Free ranges of a node, or of all, ascending; neighbours of one node are one range."""
        found = []
        for start, end, where in sorted(self.memory):
            if node is not None and where != node:
                continue
            at = start
            for first, last in sorted(self.reserved):
                if last <= at or first >= end:
                    continue
                if first > at:
                    found.append((at, first))
                at = max(at, last)
            if at < end:
                found.append((at, end))
        return found

    def is_reserved(self, start: int, size: int) -> bool:
        """Whether the range meets a reserved one (memblock_is_region_reserved: overlap is enough)."""
        return any(first < start + size and start < last for first, last in self.reserved)

    def reserve(self, start: int, size: int) -> None:
        """Take a range out (memblock_reserve)."""
        self.reserved.append((start, start + size))

    def alloc_range(self, size: int, align: int, start: int, end: int, node: int | None, bottom_up: bool) -> int | None:
        """Reserve an aligned range inside [start, end): the lowest or the highest; its address, or None.

        The first page of memory is never given. Source: mm/memblock.c __memblock_find_range_bottom_up, _top_down.
        """
        start = max(start, self.page_size)
        end = max(start, end)
        ranges = self.free(node)
        for low, high in ranges if bottom_up else reversed(ranges):
            low, high = min(max(low, start), end), min(max(high, start), end)
            if bottom_up:
                found = -(-low // align) * align
                fits = found < high and high - found >= size
            else:
                if high < size:
                    continue
                found = (high - size) // align * align
                fits = found >= low
            if fits:
                self.reserve(found, size)
                return found
        return None


@dataclass(slots=True)
class CmaBoot:
    """The areas that boot has reserved (cma_areas) and where they may go.

    Args:
        memblock: memory of the machine.
        release: whose rules.
        geometry: page size, max order and pageblock order.
        slots: areas that the kernel has room for (MAX_CMA_AREAS: 8, 20 on a kernel for several nodes).
    """

    memblock: Memblock
    release: str
    geometry: Geometry
    slots: int = 20
    areas: list[Reserved] = field(default_factory=list)

    @property
    def min_alignment(self) -> int:
        """Bytes that a base and a size must be multiples of."""
        return cma_min_alignment_pages(self.release, self.geometry) * self.geometry.page_size

    def _new_area(
        self, function: str, name: str | None, ranges: list[tuple[int, int]], order_per_bit: int, node: int | None
    ) -> Reserved:
        """Fill a slot. The kernel names an area without a name by its number: counted from 0, since 6.15 from 1."""
        self._need_slot(function)
        number = len(self.areas) + (1 if kernel_version(self.release) >= (6, 15) else 0)
        pages = tuple((base // self.geometry.page_size, size // self.geometry.page_size) for base, size in ranges)
        area = Reserved(name or f"cma{number}", pages, order_per_bit, node)
        self.areas.append(area)
        return area

    def _need_slot(self, function: str) -> None:
        if len(self.areas) >= self.slots:
            raise BootRefused(ENOSPC, function, f"all {self.slots} slots for CMA areas are taken (CONFIG_CMA_AREAS)")

    def init_reserved_mem(
        self, base: int, size: int, order_per_bit: int = 0, name: str | None = None, node: int | None = None
    ) -> Reserved:
        """Make an area of memory that is reserved already (cma_init_reserved_mem).

        Raises:
            BootRefused: -ENOSPC without a free slot; -EINVAL for no size, memory that is not reserved, a base or size that is
                not aligned, or (5.15, 6.1 as released) more pages a bit than the alignment has. The kernel says nothing.
        """
        _need_order_per_bit(order_per_bit)
        function = "cma_init_reserved_mem"
        kernel = kernel_version(self.release)
        if kernel < (6, 15):
            self._need_slot(function)
        if not size:
            raise BootRefused(EINVAL, function, "the size is 0")
        if not self.memblock.is_reserved(base, size):
            raise BootRefused(EINVAL, function, f"no byte of [{base:#x}, {base + size:#x}) is reserved in memblock")
        align = self.min_alignment
        # 6.1.y took over the removal; its first releases had the test
        tests_bits = kernel < (6, 1) or self.release == "6.1-vanilla"
        if tests_bits and (align // self.geometry.page_size) & ((1 << order_per_bit) - 1):
            raise BootRefused(
                EINVAL, function, f"a bit of 2^{order_per_bit} pages is more than the alignment of {align} bytes"
            )
        self._need_aligned(function, base, size, align)
        return self._new_area(function, name, [(base, size)], order_per_bit, node)

    @staticmethod
    def _need_aligned(function: str, base: int, size: int, align: int) -> None:
        for what, value in (("base", base), ("size", size)):
            if value % align:
                raise BootRefused(
                    EINVAL, function, f"{what} {value:#x} is not a multiple of the smallest alignment, {align:#x} bytes"
                )

    def declare_contiguous(
        self,
        base: int,
        size: int,
        limit: int = 0,
        alignment: int = 0,
        order_per_bit: int = 0,
        fixed: bool = False,
        name: str | None = None,
        node: int | None = None,
    ) -> Reserved:
        """Reserve an area at ``base`` (fixed), or between base and limit (cma_declare_contiguous_nid).

        Without ``fixed`` base and size are rounded up; memory above 4 GiB is tried first, from low to high, where there is
        enough, then everything from the limit downwards.

        Raises:
            BootRefused: -ENOSPC; -EINVAL for no size, an alignment that is no power of two, a fixed base that is not aligned, a
                size that is no whole number of bits, a fixed range over the end of low memory, or one past the
                limit; -EBUSY: a fixed range is taken; -ENOMEM: no room.
        """
        _need_order_per_bit(order_per_bit)
        function = "cma_declare_contiguous_nid"
        self._need_slot(function)
        if not size:
            raise BootRefused(EINVAL, function, "the size is 0")
        if alignment & (alignment - 1):
            raise BootRefused(EINVAL, function, f"the alignment {alignment:#x} is no power of two")
        alignment = max(alignment, self.min_alignment)
        if fixed and base % alignment:
            raise BootRefused(EINVAL, function, f"region at {base:#x} must be aligned to {alignment:#x} bytes")
        base, size = -(-base // alignment) * alignment, -(-size // alignment) * alignment
        limit = limit // alignment * alignment
        fixed = fixed and base > 0
        if (size // self.geometry.page_size) % (1 << order_per_bit):
            raise BootRefused(EINVAL, function, f"size {size:#x} is no whole number of bits of 2^{order_per_bit} pages")
        high = self.memblock.highmem_start
        if fixed and high is not None and base < high < base + size:
            raise BootRefused(EINVAL, function, f"region at {base:#x} lies over the end of low memory, {high:#x}")
        dram = self.memblock.end_of_dram
        if limit == 0 or limit > dram:
            limit = dram
        if base + size > limit:
            raise BootRefused(
                EINVAL, function, f"size {size:#x} of the region at {base:#x} exceeds the limit {limit:#x}"
            )
        if fixed:
            if self.memblock.is_reserved(base, size):
                raise BootRefused(EBUSY, function, f"[{base:#x}, {base + size:#x}) overlaps memory that is reserved")
            self.memblock.reserve(base, size)
        else:
            found = self._place(base, size, alignment, limit, node)
            if found is None:
                raise BootRefused(
                    ENOMEM, function, f"no free range of {size:#x} bytes, aligned to {alignment:#x}, below {limit:#x}"
                )
            base = found
        return self.init_reserved_mem(base, size, order_per_bit, name, node)

    def _place(self, base: int, size: int, align: int, limit: int, node: int | None) -> int | None:
        """Where an area without a fixed base goes (cma_alloc_mem; before 6.15 part of its caller).

        5.15 and 6.1 look in high memory first, later kernels above 4 GiB first. The first two forget what they found
        there if memory reaches above 4 GiB, too: it stays reserved, and the area goes below. The test for enough memory
        above 4 GiB is against the end of memory, since 6.15 against the limit.
        """
        kernel = kernel_version(self.release)
        block = self.memblock
        found: int | None = None
        high = block.highmem_start
        high_first = kernel < (6, 12)
        over_high = high is not None and base < high < limit
        if over_high and high is not None and high_first:
            found = block.alloc_range(size, align, high, limit, node, block.bottom_up)
            limit = high
        reaches = limit if kernel >= (6, 15) else block.end_of_dram
        if not block.bottom_up and reaches >= _4G + size:
            found = block.alloc_range(size, align, _4G, limit, node, True)
        if found is None and over_high and high is not None and not high_first:
            found = block.alloc_range(size, align, high, limit, node, block.bottom_up)
            limit = high
        if found is None:
            found = block.alloc_range(size, align, base, limit, node, block.bottom_up)
        return found

    def declare_contiguous_multi(
        self, size: int, alignment: int = 0, order_per_bit: int = 0, name: str | None = None, node: int | None = None
    ) -> Reserved:
        """One range if there is room, else up to eight above 4 GiB (cma_declare_contiguous_multi, c009da4258f9, 6.15).

        The eight largest count; of these the lowest are used, the last perhaps in part.

        Raises:
            UsageError: the release has no such areas.
            BootRefused: as ``declare_contiguous``; -ENOMEM: the ranges have too little together.
        """
        if kernel_version(self.release) < (6, 15):
            raise UsageError(f"release {self.release} has no areas of several ranges (6.15): use declare_contiguous")
        try:
            return self.declare_contiguous(0, size, 0, alignment, order_per_bit, False, name, node)
        except BootRefused as refusal:
            if refusal.errno != ENOMEM:
                raise
        function = "cma_declare_contiguous_multi"
        self._need_slot(function)
        align = max(alignment, self.min_alignment)
        # the size is not rounded here
        bit = self.geometry.page_size << order_per_bit
        largest: list[tuple[int, int]] = []
        for start, end in self.memblock.free(node):
            # what begins below 4 GiB is passed over whole
            if start < _4G:
                continue
            first, last = -(-start // align) * align, end // align * align
            length = (last - first) // bit * bit
            if last <= first or not length:
                continue
            if len(largest) == CMA_MAX_RANGES:
                if length < largest[-1][1]:
                    continue
                largest.pop()
            # before the first that is not larger
            at = next((i for i, (_, other) in enumerate(largest) if other <= length), len(largest))
            largest.insert(at, (first, length))
        if sum(length for _, length in largest) < size:
            raise BootRefused(
                ENOMEM,
                function,
                f"the {len(largest)} largest free ranges above 4 GiB have {sum(n for _, n in largest):#x} of {size:#x} bytes",
            )
        # enough of the largest, then these by address
        chosen: list[tuple[int, int]] = []
        for found in largest:
            chosen.append(found)
            if sum(length for _, length in chosen) >= size:
                break
        left, ranges = size, []
        for first, length in sorted(chosen):
            part = min(left, length)
            self.memblock.reserve(first, part)
            ranges.append((first, part))
            left -= part
            if not left:
                break
        return self._new_area(function, name, ranges, order_per_bit, node)


def _need_order_per_bit(order_per_bit: int) -> None:
    """An order that the kernel can shift by; UsageError."""
    if not 0 <= order_per_bit <= 26:
        raise UsageError(f"order_per_bit is {order_per_bit}: choose 0 to 26")


def activate(memory: Zone | Memory, area: Reserved) -> CmaArea | None:
    """Give a reserved area's pageblocks to the allocator as CMA; None if it cannot be activated (cma_activate_area).

    It cannot where a range is not in one zone; then every page of it goes to the allocator as an ordinary one, unless the area
    keeps them (fadump, 6.1). Its pages must have been loaded as RESERVED.

    Raises:
        RangeError: a page of the area is in no zone.
        UsageError: a page of it is not RESERVED, or several ranges in a release before 6.15.
    """
    (base, count), *more = area.ranges
    zones = memory.members if isinstance(memory, Memory) else ()
    for start, n in area.ranges:
        within = [m.zone for m in zones if m.zone.start_pfn <= start < m.zone.end_pfn] if zones else [memory]
        if not within:
            raise RangeError(f"area {area.name}: pfn {start} is in no zone")
        zone = within[0]
        assert isinstance(zone, Zone)
        if start < zone.start_pfn or start + n > zone.end_pfn:
            if not area.keep_on_error:
                _free_reserved(memory, area)
            return None
    active = CmaArea(memory, base, count, area.order_per_bit, area.name, more)
    active.activate()
    return active


def _free_reserved(memory: Zone | Memory, area: Reserved) -> None:
    """All pages of an area that is not activated, ascending (free_reserved_page)."""
    for start, n in area.ranges:
        for pfn in range(start, start + n):
            zone = memory.member_of(pfn).zone if isinstance(memory, Memory) else memory
            zone.free_reserved_page(pfn)
