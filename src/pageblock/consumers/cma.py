"""The contiguous memory allocator: areas, their bitmaps, and how they ask alloc_contig_range.

Source: mm/cma.c (5.15.16, 6.1.176, 6.12.19, 6.19.9), mm/cma_debug.c, mm/cma_sysfs.c. How areas come to be at boot is in
``cma_boot``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..mm import Migratetype, Zone
from ..mm.errors import ContigRefused, RangeError, UsageError
from ..mm.memory import Memory
from ..mm.results import ContigRange
from ..mm.types import PageFlag
from .kernel import kernel_version
from .trial import Step, given, refused

__all__ = ["CMA_MAX_RANGES", "CmaAnswer", "CmaArea", "CmaRange", "CmaTry", "vmstat"]

EINVAL, EBUSY, ENOMEM = 22, 16, 12

#: Ranges that one area may have (mm/cma.h; c009da4258f9, 6.15).
CMA_MAX_RANGES = 8

#: First kernel whose areas have several ranges and a count of what is available (read in 6.19.9).
_MULTI_RANGE = (6, 15)


@dataclass(frozen=True, slots=True)
class CmaTry:
    """One call of alloc_contig_range for ``[start_pfn, end_pfn)``; ``errno`` 0 or positive.

    ``done``: what was moved, dropped, split and isolated, for a refused one too. ``refusal``: None if it was granted.
    """

    start_pfn: int
    end_pfn: int
    errno: int
    done: ContigRange
    refusal: ContigRefused | None

    @property
    def step(self) -> Step:
        """As a step of a trial."""
        if self.refusal is None:
            return given("alloc_contig_range", self.done)
        return refused("alloc_contig_range", self.start_pfn, self.end_pfn - self.start_pfn, self.refusal)


@dataclass(frozen=True, slots=True)
class CmaAnswer:
    """What cma_alloc answered: the first page's pfn, or None and why.

    ``errno``: positive, what the kernel's message calls ``ret``; cma_alloc itself returns no errno but NULL.
    ``reason``: in words, of a request that ended without success. ``tries``: in order.
    """

    count: int
    align: int
    pfn: int | None
    errno: int
    reason: str
    tries: tuple[CmaTry, ...]

    @property
    def moves(self) -> tuple[tuple[int, int | None, int], ...]:
        """(source, target, order) of all tries, in order."""
        return tuple(move for attempt in self.tries for move in attempt.done.moved)


@dataclass(slots=True)
class CmaRange:
    """A stretch of an area: ``[base_pfn, base_pfn + count)``, and one byte for each bit of its bitmap, 1: in use."""

    base_pfn: int
    count: int
    bits: bytearray = field(repr=False)

    @property
    def end_pfn(self) -> int:
        """One past the last pfn."""
        return self.base_pfn + self.count

    def find_next_zero_area(self, start: int, nr: int, align_mask: int, align_offset: int) -> int | None:
        """First ``nr`` clear bits from ``start`` on, at a bit whose sum with the offset is aligned; None: there are none.

        Source: lib/bitmap.c bitmap_find_next_zero_area_off.
        """
        size = len(self.bits)
        while True:
            index = self.bits.find(0, start)
            if index < 0:
                return None
            index = ((index + align_offset + align_mask) & ~align_mask) - align_offset
            if index + nr > size:
                return None
            used = self.bits.find(1, index, index + nr)
            if used < 0:
                return index
            start = used + 1

    def chunks(self) -> Iterable[tuple[int, int]]:
        """Runs of clear bits, [first, end)."""
        end = 0
        while (start := self.bits.find(0, end)) >= 0:
            end = self.bits.find(1, start)
            end = len(self.bits) if end < 0 else end
            yield start, end


class CmaArea:
    """One CMA area: its bitmap, its counters, and the zone that it lies in.

    Args:
        zone: a zone or a whole memory; its pageblocks are those that ``activate`` makes, or were loaded as CMA.
        base_pfn: first pfn.
        count: pages.
        order_per_bit: pages that a bit stands for.
        name: in messages.
        ranges: (base_pfn, count) of more ranges; only kernels since 6.15 have such areas.

    Attributes:
        counters: cma_alloc_success and cma_alloc_fail as in /proc/vmstat (calls, of this area alone), alloc_pages_success,
            alloc_pages_fail and release_pages_success (pages) as in /sys/kernel/mm/cma.

    Raises:
        RangeError: a range lies in no zone, or in more than one.
        UsageError: more ranges than the release has.

    >>> zone = Zone(4096, "6.1")
    >>> area = CmaArea(zone, 1024, 1024)
    >>> area.alloc(10, 0).errno    # nobody made its pageblocks CMA, but they are free
    0
    """

    def __init__(
        self,
        zone: Zone | Memory,
        base_pfn: int,
        count: int,
        order_per_bit: int = 0,
        name: str = "cma0",
        ranges: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.memory = zone
        self.release_name = (zone.members[0].zone if isinstance(zone, Memory) else zone).release
        self.kernel = kernel_version(self.release_name)
        self.order_per_bit = order_per_bit
        self.name = name
        if not 0 <= order_per_bit <= 26:
            raise UsageError(f"order_per_bit is {order_per_bit}: choose 0 to 26")
        places = [(base_pfn, count), *ranges]
        most = CMA_MAX_RANGES if self.kernel >= _MULTI_RANGE else 1
        if len(places) > most:
            raise UsageError(
                f"area {name} has {len(places)} ranges: areas of release {self.release_name} have at most {most}"
            )
        for base, n in places:
            self._zone_of(CmaRange(base, n, bytearray()))
        self.ranges = [CmaRange(base, n, bytearray(n >> order_per_bit)) for base, n in places]
        self.available_count = self.count
        names = ["cma_alloc_success", "cma_alloc_fail", "alloc_pages_success", "alloc_pages_fail"]
        if self.kernel >= (6, 9):
            names.append("release_pages_success")
        self.counters = dict.fromkeys(names, 0)

    def __repr__(self) -> str:
        places = ", ".join(f"[{r.base_pfn:#x}, {r.end_pfn:#x})" for r in self.ranges)
        return f"CmaArea({self.name}: {places}, order_per_bit={self.order_per_bit}, used={self.used})"

    def _zone_of(self, found: CmaRange) -> Zone:
        """The zone that holds a whole range, or RangeError."""
        if found.count < 1:
            raise RangeError(f"a range of area {self.name} has {found.count} pages: give it one at least")
        if isinstance(self.memory, Memory):
            zone = self.memory.member_of(found.base_pfn).zone
        else:
            zone = self.memory
        if found.base_pfn < zone.start_pfn or found.end_pfn > zone.end_pfn:
            raise RangeError(
                f"area {self.name}: [{found.base_pfn}, {found.end_pfn}) does not lie in one zone; "
                f"{zone.name} is [{zone.start_pfn}, {zone.end_pfn})"
            )
        return zone

    # ---- what it is ----

    @property
    def base_pfn(self) -> int:
        """First pfn of the first range."""
        return self.ranges[0].base_pfn

    @property
    def count(self) -> int:
        """Pages of all ranges; 0 after an activation that failed."""
        return sum(found.count for found in self.ranges)

    @property
    def used(self) -> int:
        """Pages whose bits are set."""
        return sum(found.bits.count(1) for found in self.ranges) << self.order_per_bit

    @property
    def maxchunk(self) -> int:
        """Pages of the longest run of clear bits."""
        runs = [end - start for found in self.ranges for start, end in found.chunks()]
        return max(runs, default=0) << self.order_per_bit

    def debugfs(self) -> dict[str, Any]:
        """What /sys/kernel/debug/cma shows: base_pfn, count, order_per_bit, used, maxchunk, bitmap (32-bit words).

        Since 6.15 base_pfn and bitmap are those of the first range, and ``ranges`` has them for each (mm/cma_debug.c).
        """
        bitmaps = []
        for found in self.ranges:
            bits = np.frombuffer(bytes(found.bits) + bytes(-len(found.bits) % 32), np.uint8)
            bitmaps.append(np.packbits(bits, bitorder="little").view("<u4").tolist())
        shown: dict[str, Any] = {
            "base_pfn": self.ranges[0].base_pfn if self.ranges else 0,
            "count": self.count,
            "order_per_bit": self.order_per_bit,
            "used": self.used,
            "maxchunk": self.maxchunk,
            "bitmap": bitmaps[0] if bitmaps else [],
        }
        if self.kernel >= _MULTI_RANGE:
            shown["ranges"] = [
                {"base_pfn": found.base_pfn, "bitmap": words} for found, words in zip(self.ranges, bitmaps, strict=True)
            ]
        return shown

    def load_bitmap(self, bits: Any, nr: int = 0) -> None:
        """Take over the bitmap of range ``nr``: one true or false value a bit, as of a running kernel.

        Raises:
            UsageError: another number of bits than the range has.
        """
        loaded = bytearray(np.asarray(bits, bool).astype(np.uint8).tobytes())
        if len(loaded) != len(self.ranges[nr].bits):
            raise UsageError(f"range {nr} of area {self.name} has {len(self.ranges[nr].bits)} bits: got {len(loaded)}")
        self.ranges[nr].bits = loaded
        self.available_count = self.count - self.used

    # ---- at boot ----

    def activate(self) -> None:
        """Give the area's reserved pageblocks to the allocator as CMA (cma_activate_area).

        Raises:
            UsageError: a page of it is not RESERVED.
        """
        for found in self.ranges:
            zone = self._zone_of(found)
            for pfn in range(found.base_pfn, found.end_pfn, 1 << zone.geometry.pageblock_order):
                zone.init_cma_reserved_pageblock(pfn)

    # ---- allocate ----

    def alloc(
        self, count: int, align: int = 0, *, owner: int | None = None, handles: Any = None, page_class: Any = None
    ) -> CmaAnswer:
        """cma_alloc: the first place by the bitmap that alloc_contig_range grants; all that was tried on the way.

        Args:
            count: pages.
            align: order; absolute, not relative to the area.
            owner, handles: as for ``Zone.alloc_contig_range``.
            page_class: class of the pages; default KERNEL.

        Raises:
            UsageError: a negative count or alignment.

        Before 6.12 a request for no page, from an area without any, or for more than the area has, counts as failed; in
        6.12.19 it does not; since 6.15 only the last of these does. No room is -ENOMEM, or -EBUSY if something was
        tried; since 6.15 always -EBUSY, which lets the next range be tried.
        """
        if count < 0 or not 0 <= align < 64:
            raise UsageError(
                f"cma_alloc of {count} pages, alignment order {align}: give a positive count, order 0 to 63"
            )
        most = max((len(found.bits) for found in self.ranges), default=0)
        too_large = self._bits(count) > most
        if not count or not self.count or (too_large and self.kernel < _MULTI_RANGE):
            reason = f"the area has {self.count} pages" if count else "no page was asked for"
            return self._ended(
                CmaAnswer(count, align, None, ENOMEM, reason, ()), counted=self.kernel < (6, 12), pages=count
            )
        tries: list[CmaTry] = []
        multi = self.kernel >= _MULTI_RANGE
        errno = EBUSY if multi else ENOMEM
        reason = "no range is long enough"
        for found in self.ranges:
            if self._bits(count) > len(found.bits):
                continue
            pfn, tried_errno, reason = self._range_alloc(found, count, align, tries, owner, handles, page_class)
            errno = tried_errno or errno
            if pfn is not None:
                return self._ended(CmaAnswer(count, align, pfn, 0, "", tuple(tries)), counted=True, pages=count)
            if tried_errno not in (0, EBUSY):
                break
        return self._ended(CmaAnswer(count, align, None, errno, reason, tuple(tries)), counted=True, pages=count)

    def _range_alloc(
        self,
        found: CmaRange,
        count: int,
        align: int,
        tries: list[CmaTry],
        owner: int | None,
        handles: Any,
        page_class: Any,
    ) -> tuple[int | None, int, str]:
        """First fit in one range: (pfn or None, errno of the last try or 0, why it ended).

        After -EBUSY the search goes on one aligned step behind the place that was busy; any other error ends it.
        """
        zone = self._zone_of(found)
        mask = (1 << (align - self.order_per_bit)) - 1 if align > self.order_per_bit else 0
        offset = (found.base_pfn & ((1 << align) - 1)) >> self.order_per_bit
        nr = self._bits(count)
        start, errno = 0, 0
        options = {} if page_class is None else {"page_class": page_class}
        while True:
            if self.kernel >= _MULTI_RANGE and count > self.available_count:
                return None, errno, f"only {self.available_count} pages of the area are available"
            bit = found.find_next_zero_area(start, nr, mask, offset)
            if bit is None:
                busy = (
                    "every place that the bitmap leaves was busy"
                    if errno
                    else "the bitmap has no such run of clear bits"
                )
                return None, errno, busy
            self._mark(found, bit, nr, count)
            pfn = found.base_pfn + (bit << self.order_per_bit)
            try:
                done = zone.alloc_contig_range(
                    pfn, pfn + count, Migratetype.CMA, owner=owner, handles=handles, **options
                )
            except ContigRefused as refusal:
                errno = refusal.errno
                done = refusal.tried or ContigRange(pfn, pfn + count, (), (), (), ())
                tries.append(CmaTry(pfn, pfn + count, errno, done, refusal))
                self._clear(found, bit, nr, count)
                if errno != EBUSY:
                    return None, errno, f"{refusal.step}: {refusal.rule}"
                start = bit + mask + 1
                continue
            tries.append(CmaTry(pfn, pfn + count, 0, done, None))
            return pfn, 0, ""

    def _ended(self, answer: CmaAnswer, counted: bool, pages: int) -> CmaAnswer:
        if counted:
            how = "fail" if answer.pfn is None else "success"
            self.counters[f"cma_alloc_{how}"] += 1
            self.counters[f"alloc_pages_{how}"] += pages
        return answer

    # ---- release ----

    def release(self, pfn: int, count: int) -> bool:
        """cma_release: whether the pages are the area's; they are freed and their bits cleared.

        Until 6.12 only the first page's place is looked at: a run past the end stops a kernel with CONFIG_DEBUG_VM. Since
        6.15 such a run is refused, and so is one of more pages than the area has.

        Raises:
            UsageError: a page is not allocated, or the run leaves the range where the release does not refuse it.
        """
        found = next((r for r in self.ranges if r.base_pfn <= pfn < r.end_pfn), None)
        if found is None or (self.kernel >= _MULTI_RANGE and pfn + count > found.end_pfn):
            return False
        if count < 1 or pfn + count > found.end_pfn:
            raise UsageError(
                f"cma_release of {count} pages at pfn {pfn}: area {self.name} ends at {found.end_pfn}, "
                "where the kernel has a VM_BUG_ON: release what was allocated"
            )
        zone = self._zone_of(found)
        if zone.page(pfn).flags & PageFlag.COMPOUND:
            self._free_compound(zone, pfn, count)
        else:
            zone.free_contig_range(pfn, count)
        self.clear_bitmap(pfn, count)
        if "release_pages_success" in self.counters:
            self.counters["release_pages_success"] += count
        return True

    def _free_compound(self, zone: Zone, pfn: int, count: int) -> None:
        """A compound page of just these pages is freed whole (free_contig_range, 6.12); before, nobody releases one."""
        page = zone.page(pfn)
        if page.head_pfn != pfn or 1 << page.order != count or self.kernel < (6, 12):
            raise UsageError(
                f"pfn {pfn} is in a compound page of order {page.order}: release {self.release_name} frees it whole"
            )
        zone.free(pfn)

    def clear_bitmap(self, pfn: int, count: int) -> None:
        """Clear the bits of pages that are freed in another way or later (cma_clear_bitmap)."""
        found = next(r for r in self.ranges if r.base_pfn <= pfn < r.end_pfn)
        self._clear(found, (pfn - found.base_pfn) >> self.order_per_bit, self._bits(count), count)

    # ---- the bitmap ----

    def _bits(self, pages: int) -> int:
        """Bits that stand for so many pages, rounded up (cma_bitmap_pages_to_bits)."""
        return (pages + (1 << self.order_per_bit) - 1) >> self.order_per_bit

    def _mark(self, found: CmaRange, bit: int, nr: int, count: int) -> None:
        found.bits[bit : bit + nr] = b"\1" * nr
        self.available_count -= count

    def _clear(self, found: CmaRange, bit: int, nr: int, count: int) -> None:
        nr = min(nr, len(found.bits) - bit)
        found.bits[bit : bit + nr] = bytes(nr)
        self.available_count += count


def vmstat(areas: Iterable[CmaArea]) -> dict[str, int]:
    """cma_alloc_success and cma_alloc_fail of /proc/vmstat: of all areas together."""
    totals = {"cma_alloc_success": 0, "cma_alloc_fail": 0}
    for area in areas:
        for name in totals:
            totals[name] += area.counters[name]
    return totals
