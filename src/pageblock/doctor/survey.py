"""One zone surveyed once, for ranges of every size under every release.

``Zone.survey`` counts what each pageblock holds; larger ranges are sums over pageblocks. Only ranges smaller than a
pageblock need a survey of their own, read piece by piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..machine.slices import SlicedZone
from ..machine.snapshot import HugePool
from ..mm import Migratetype, PageClass, Zone
from ..mm import constants as k

__all__ = ["Held", "Windows", "ZoneSurvey", "over"]

Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
Number = TypeVar("Number", np.int64, np.uint32, np.bool_)

#: Stretches surveyed at a time: the raw table takes 36 bytes a stretch.
CHUNK = 1 << 18

#: Index arrays of the frames' state and flags in ``Zone.saved_state()["arrays"]``.
STATE, FLAGS = 2, 3

MOVABLE_CLASSES = np.array(
    [PageClass.ANON, PageClass.FILE, PageClass.THP, PageClass.MOVABLE_OPS, PageClass.HUGETLB], np.uint8
)


@dataclass(frozen=True)
class Held:
    """What consecutive stretches of ``unit`` pages from ``start_pfn`` hold; arrays with one entry a stretch.

    ``free``, ``move`` (to migrate), ``drop`` (clean file pages) and ``refused`` (by isolation) in pages; ``refused_at``
    and ``stuck_at``: the first page that isolation refuses, or passes although it cannot migrate, counted from the
    survey's origin (2^32-1: none); ``classes``: bit set of the classes refused; ``cut``: order of a movable compound page
    whose head lies before the stretch; ``hole``: a page is missing; ``uninitialised``: one is not initialised yet.
    """

    unit: int
    start_pfn: int
    free: Words
    move: Words
    drop: Words
    refused: Words
    refused_at: U32
    stuck_at: U32
    classes: U32
    cut: npt.NDArray[np.uint8]
    hole: Bools
    uninitialised: Bools

    def __len__(self) -> int:
        return len(self.free)

    def part(self, first: int, last: int) -> "Held":
        """The stretches [first, last)."""
        columns = {name: value[first:last] for name, value in self.columns().items()}
        return Held(self.unit, self.start_pfn + first * self.unit, **columns)

    def columns(self) -> dict[str, Any]:
        """The arrays by name."""
        return {name: value for name, value in vars(self).items() if name not in ("unit", "start_pfn")}

    def joined(self, unit: int) -> "Held":
        """The same in larger stretches; the number of stretches must be a multiple of those joined."""
        width = unit // self.unit
        if width == 1:
            return self
        table = {name: value.reshape(-1, width) for name, value in self.columns().items()}
        joined: dict[str, Any] = {"cut": table["cut"][:, 0]}
        joined |= {name: table[name].sum(axis=1) for name in ("free", "move", "drop", "refused")}
        joined |= {name: table[name].min(axis=1, initial=k.NONE) for name in ("refused_at", "stuck_at")}
        joined |= {name: table[name].any(axis=1) for name in ("hole", "uninitialised")}
        joined["classes"] = np.bitwise_or.reduce(table["classes"], axis=1)
        return Held(unit, self.start_pfn, **joined)


@dataclass(frozen=True)
class Windows:
    """Windows of whole pageblocks, [begin, end) each, that are isolated; the other arrays as in ``Held``, one entry a window."""

    begin: Words
    end: Words
    free: Words
    refused: Words
    refused_at: U32
    classes: U32

    def __len__(self) -> int:
        return len(self.begin)


def over(values: npt.NDArray[Number], begin: Words, end: Words, combine: np.ufunc) -> npt.NDArray[Number]:
    """``combine`` (np.add, np.minimum, …) over values[begin:end] of each pair; no pair is empty, pairs may overlap."""
    if not len(begin):
        return values[:0]
    width = int(end[0] - begin[0])
    if (
        begin[-1] == begin[0] + width * (len(begin) - 1)
        and end[-1] == begin[-1] + width
        and (np.diff(begin) == width).all()
    ):
        side_by_side: npt.NDArray[Number] = combine.reduce(values[begin[0] : end[-1]].reshape(-1, width), axis=1)
        return side_by_side.astype(values.dtype)
    pairs = np.column_stack([begin, end]).ravel()
    # an index behind the last value is allowed for ends only
    found: npt.NDArray[Number] = combine.reduceat(np.append(values, values[:1]), pairs)[::2]
    return found.astype(values.dtype)


@dataclass(frozen=True)
class LargePages:
    """Movable blocks above order 0: frame counted from the survey's origin, order and class, ascending.

    ``unused``: huge pages that lie in their pool.
    """

    at: Words
    order: Words
    page_class: npt.NDArray[np.uint8]
    unused: Bools


def compound_heads(zone: Zone | SlicedZone) -> tuple[Words, npt.NDArray[np.uint8], npt.NDArray[np.uint8], Bools]:
    """Pfn, order, class and whether it is CLEAN of every block in use above order 0, ascending."""
    if isinstance(zone, SlicedZone):
        return zone.compound_heads()
    arrays = zone.saved_state()["arrays"]
    state, flags = arrays[STATE], arrays[FLAGS]
    heads = np.flatnonzero((state & k.ALLOC != 0) & (state & k.ORDER_MASK > 0))
    clean = flags[heads] & np.uint8(k.PG_CLEAN) != 0
    return heads + zone.base(), state[heads] & np.uint8(k.ORDER_MASK), flags[heads] & np.uint8(k.CLASS_MASK), clean


class ZoneSurvey:
    """A zone's pageblocks, and ranges of any size made of them.

    Args:
        zone: the state; it must not change while the survey is used.
        uninitialised: pfn ranges [start, end) of whole pageblocks that the kernel has not initialised; holes in the zone.
        may_hold_huge: whether pages that never split (hugetlb) may be in the zone. Looking for them costs a copy of it.
        huge_pool: the machine's pool of huge pages, None where unknown.
        huge_targets: by order, free blocks of the node's other zones that a huge page of hugetlb may move to.
    """

    def __init__(
        self,
        zone: Zone | SlicedZone,
        uninitialised: Sequence[tuple[int, int]] = (),
        *,
        may_hold_huge: bool = True,
        huge_pool: HugePool | None = None,
        huge_targets: Sequence[int] = (),
    ) -> None:
        self.may_hold_huge = may_hold_huge
        self.huge_pool = huge_pool
        self.huge_targets = tuple(huge_targets)
        g = zone.geometry
        self.zone = zone
        self.block = 1 << g.pageblock_order
        self.window = max(self.block, 1 << g.max_order)
        self.origin = zone.start_pfn // self.window * self.window
        self.nr_blocks = -(-(zone.end_pfn - self.origin) // self.window) * (self.window // self.block)
        self.not_ready = np.zeros(self.nr_blocks, np.bool_)
        for start, end in uninitialised:
            self.not_ready[(start - self.origin) // self.block : (end - self.origin) // self.block] = True
        self.blocks = self.read(self.block, self.origin, self.nr_blocks)
        starts = self.origin + np.arange(self.nr_blocks, dtype=np.int64) * self.block
        in_zone = np.minimum(starts + self.block, zone.end_pfn) - np.maximum(starts, zone.start_pfn)
        #: pageblocks that begin before the zone, or end after it
        self.outside = in_zone <= 0
        self.begins_outside = (in_zone > 0) & (starts < zone.start_pfn)
        self.ends_outside = (in_zone > 0) & (starts + self.block > zone.end_pfn)
        # isolation passes over pageblocks without any page (__first_valid_page)
        empty = (self.blocks.classes == 1 << PageClass.HOLE) & (self.blocks.refused == in_zone)
        columns = self.blocks.columns()
        columns["classes"] = np.where(empty, np.uint32(0), self.blocks.classes)
        columns["refused"] = np.where(empty, 0, self.blocks.refused)
        columns["refused_at"] = np.where(empty, np.uint32(k.NONE), self.blocks.refused_at)
        self.isolable = Held(self.block, self.origin, **columns)
        self.types = np.full(self.nr_blocks, Migratetype.MOVABLE, np.uint8)
        first = (zone.start_pfn - self.origin) // self.block
        known = zone.pageblock_types
        self.types[first : first + len(known)] = known
        self._ranges: dict[int, Held] = {}
        self._isolated: dict[tuple[int, int], Windows] = {}
        self._crossed: Bools | None = None
        self._large: LargePages | None = None

    def read(self, unit: int, start_pfn: int, count: int) -> Held:
        """Survey ``count`` stretches of ``unit`` pages, at most a pageblock."""
        parts: list[dict[str, Any]] = []
        words: type[Any] = np.int64 if unit >= self.block else np.uint32
        for first in range(0, count, CHUNK):
            n = min(CHUNK, count - first)
            table = self.zone.survey(start_pfn + first * unit, unit, n)
            offset = np.uint32(start_pfn - self.origin + first * unit)
            blocks = (int(offset) + np.arange(n, dtype=np.int64) * unit) // self.block
            not_ready = self.not_ready[blocks]
            classes = table[:, 5]
            missing = (classes >> np.uint32(PageClass.HOLE) & 1 > 0) | (table[:, 7] < unit)
            part = {name: table[:, i].astype(words) for i, name in enumerate(("free", "move", "drop", "refused"))}
            for column, name in ((4, "refused_at"), (6, "stuck_at")):
                at = table[:, column]
                part[name] = np.where(at == k.NONE, at, at + offset)
            part |= {"classes": classes.copy(), "cut": table[:, 8].astype(np.uint8)}
            part |= {"hole": missing & ~not_ready, "uninitialised": not_ready}
            parts.append(part)
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
        if not columns:
            columns = {name: value[:0] for name, value in self.blocks.columns().items()}
        return Held(unit, start_pfn, **columns)

    def first_range(self, nr_pages: int, offset: int) -> tuple[int, int]:
        """First pfn of the ranges that begin ``offset`` pages behind a multiple of their size, and how many lie in the zone."""
        start = -(-(self.zone.start_pfn - offset) // nr_pages) * nr_pages + offset
        return start, max(0, (self.zone.end_pfn - start) // nr_pages)

    def ranges(self, nr_pages: int, offset: int = 0) -> Held:
        """What every range of ``nr_pages`` holds that lies in the zone and begins ``offset`` pages behind a multiple of its size.

        ``offset``: whole pageblocks, less than the size. ``move`` counts whole compound pages, also where a range covers a part
        of one: migration moves them whole.
        """
        start, count = self.first_range(nr_pages, offset)
        if offset:
            first = (start - self.origin) // self.block
            held = self.blocks.part(first, first + count * (nr_pages // self.block)).joined(nr_pages)
            return replace(held, move=held.move + self.beyond(held))
        if nr_pages not in self._ranges:
            if nr_pages < self.block:
                # such tables are large: only the last one is kept
                self._ranges = {size: held for size, held in self._ranges.items() if size >= self.block}
                held = self.read(nr_pages, start, count)
            elif count:
                first = (start - self.origin) // self.block
                held = self.blocks.part(first, first + count * (nr_pages // self.block)).joined(nr_pages)
            else:
                held = self.read(self.block, start, 0)
            if nr_pages < 1 << self.zone.geometry.max_order:
                held = replace(held, move=self.whole_pages(held))
            self._ranges[nr_pages] = held
        return self._ranges[nr_pages]

    def whole_pages(self, held: Held) -> Words:
        """``move`` of ranges with the size of the larger movable block where one covers a range.

        Blocks are aligned to their size, so one that is cut by a range of a power of two covers it all.
        """
        nr_pages = held.unit
        full = held.move == nr_pages
        if not (full[1:] & full[:-1]).any():
            return held.move
        if nr_pages >= self.block and not self.may_hold_huge and (self.blocks.cut < nr_pages.bit_length()).all():
            return held.move
        large = self.large_pages()
        larger = large.order >= nr_pages.bit_length()
        sizes = np.int64(1) << large.order[larger]
        first = np.clip((large.at[larger] - held.start_pfn + self.origin) // nr_pages, 0, len(held))
        last = np.clip((large.at[larger] + sizes - held.start_pfn + self.origin) // nr_pages, 0, len(held))
        per_head = last - first
        index = np.repeat(first - (np.cumsum(per_head) - per_head), per_head) + np.arange(int(per_head.sum()))
        move = held.move.copy()
        move[index] = np.repeat(sizes, per_head)
        return move

    def beyond(self, held: Held) -> Words:
        """Pages outside each range of movable blocks that lie in it in part: they move with it.

        Blocks up to a pageblock never do, as these ranges begin and end with one.
        """
        extra = np.zeros(len(held), np.int64)
        large = self.large_pages()
        larger = large.order > self.zone.geometry.pageblock_order
        at = large.at[larger] - held.start_pfn + self.origin
        size = np.int64(1) << large.order[larger]
        first, last = at // held.unit, (at + size - 1) // held.unit
        for nth in range(int((last - first).max(initial=-1)) + 1):
            index = first + nth
            inside = np.minimum(at + size, (index + 1) * held.unit) - np.maximum(at, index * held.unit)
            counts = (index <= last) & (index >= 0) & (index < len(held))
            np.add.at(extra, index[counts], (size - inside)[counts])
        return extra

    def large_pages(self) -> LargePages:
        """The zone's movable blocks above order 0."""
        if self._large is None:
            at, order, page_class, clean = compound_heads(self.zone)
            movable = np.isin(page_class, MOVABLE_CLASSES)
            unused = clean & (page_class == PageClass.HUGETLB)
            self._large = LargePages(
                at[movable] - self.origin, order[movable].astype(np.int64), page_class[movable], unused[movable]
            )
        return self._large

    def isolated(self, nr_pages: int, window: int, offset: int = 0) -> tuple["Windows", Words | None]:
        """The windows that are isolated with ranges, and for each range the index of its own; None: one each."""
        start, count = self.first_range(nr_pages, offset)
        if offset % window:
            starts = start - self.origin + np.arange(count, dtype=np.int64) * nr_pages
            begin = starts // window * (window // self.block)
            end = np.minimum(-(-(starts + nr_pages) // window) * (window // self.block), self.nr_blocks)
            return self.windows(begin, end), None
        # windows of smaller ranges reach over the zone's end, those of larger ones do not
        key = (max(nr_pages, window), start if nr_pages >= window else -1)
        if key not in self._isolated:
            first, last = 0, self.nr_blocks
            if nr_pages >= window:
                first = min((start - self.origin) // self.block, self.nr_blocks)
                last = first + count * (nr_pages // self.block)
            begin = np.arange(first, last, key[0] // self.block, dtype=np.int64)
            self._isolated[key] = self.windows(begin, begin + key[0] // self.block)
        if nr_pages >= window:
            return self._isolated[key], None
        return self._isolated[key], (start - self.origin + np.arange(count, dtype=np.int64) * nr_pages) // window

    def windows(self, begin: Words, end: Words) -> "Windows":
        """What the pageblocks [begin, end) hold of which isolation takes notice, for each pair."""
        whole = self.isolable
        return Windows(
            begin,
            end,
            over(whole.free, begin, end, np.add),
            over(whole.refused, begin, end, np.add),
            over(whole.refused_at, begin, end, np.minimum),
            over(whole.classes, begin, end, np.bitwise_or),
        )

    def first_of_class(self, bit: int, start_pfn: int, end_pfn: int) -> int | None:
        """First pfn of the range that isolation refuses for being of this class; None: there is none."""
        first = (max(start_pfn, self.zone.start_pfn) - self.origin) // self.block
        last = -((self.origin - min(end_pfn, self.zone.end_pfn)) // self.block)
        for i in np.flatnonzero(self.blocks.classes[first:last] >> np.uint32(bit) & 1).tolist():
            at = self.origin + (first + i) * self.block
            begin, end = max(at, start_pfn, self.zone.start_pfn), min(at + self.block, end_pfn, self.zone.end_pfn)
            hits = np.flatnonzero(self.zone.survey(begin, 1, end - begin)[:, 5] >> np.uint32(bit) & 1)
            if len(hits):
                return begin + int(hits[0])
        return None

    def crossed_by_free(self) -> Bools:
        """Pageblocks that lie in a free page whose head lies before them; one entry more than there are pageblocks."""
        if self._crossed is None:
            self._crossed = np.zeros(self.nr_blocks + 1, np.bool_)
            g = self.zone.geometry
            for order in range(g.pageblock_order + 1, g.max_order + 1):
                for migratetype in Migratetype:
                    heads = self.zone.free_list(order, migratetype).astype(np.int64)
                    inside = (heads - self.origin)[:, None] // self.block + np.arange(1, (1 << order) // self.block)
                    self._crossed[inside.ravel()] = True
        return self._crossed
