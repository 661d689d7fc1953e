"""Pageblock migratetypes from what lies in the pageblocks. /proc never says them outright.

What is known: which kinds of pages a block holds, how many blocks of each type the zone has and how
many free blocks of each order lie on each type's lists (pagetypeinfo), and that types come in
neighbouring blocks, since a block changes hands with the largest free page it is part of
(steal_suitable_fallback, change_pageblock_range). The rule, in this order:

1. CMA and ISOLATE: windows of adjacent blocks without kernel pages whose free blocks fit the lists.
2. HIGHATOMIC (or the old RESERVE): the blocks whose free blocks fit its lists best.
3. Free pages larger than a pageblock, then wholly free pageblocks: as many for UNMOVABLE and
   RECLAIMABLE as their lists hold, those nearest to such blocks first.
4. The other blocks: ranked by content, then exchanged while that brings the free lists, and the
   zero words in MOVABLE blocks, closer to their counts.

Without pagetypeinfo the kinds of pages alone decide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pageblock.mm.types import Migratetype, PageClass

from .freeblocks import FreeBlocks
from .kpageflags import SCAN_ZERO
from .procfs import FreeRow
from .runs import I64, U8, PageRuns, pieces

__all__ = ["BlockContent", "TypeGuess", "block_content", "infer_types"]

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE

#: Kinds of pages that tell types apart; the columns of BlockContent.pages.
FREE, MOVING, ZERO, KERNEL, SLAB, RESERVED, HOLE, OTHER = range(8)
NR_KINDS = 8
KIND_OF_CLASS = np.full(256, OTHER, np.int64)
KIND_OF_CLASS[PageClass.FREE] = FREE
for moving_class in (
    PageClass.ANON,
    PageClass.FILE,
    PageClass.THP,
    PageClass.HUGETLB,
    PageClass.PAGEVEC,
    PageClass.MOVABLE_OPS,
):
    KIND_OF_CLASS[moving_class] = MOVING
for kernel_class in (PageClass.KERNEL, PageClass.PGTABLE, PageClass.COMPOUND):
    KIND_OF_CLASS[kernel_class] = KERNEL
KIND_OF_CLASS[PageClass.SLAB] = SLAB
KIND_OF_CLASS[PageClass.RESERVED] = RESERVED
KIND_OF_CLASS[PageClass.HOLE] = HOLE

#: Blocks considered at all per change of type, those paired in one exchange per side, and exchanges
#: at most. All three bound the time; a zone of 1,500 pageblocks or fewer is considered whole.
EXCHANGE_POOL = 1500
EXCHANGE_CANDIDATES = 48
MAX_EXCHANGES = 96


@dataclass(frozen=True)
class BlockContent:
    """Pages of each kind per pageblock, and its free blocks per order (attributed to their head).

    ``counted``: the blocks that pagetypeinfo counts, those with memory at the page it looks at.
    """

    first_block: int
    pages: I64
    free_blocks: I64
    counted: Bools


@dataclass(frozen=True)
class TypeGuess:
    """A type per pageblock, the estimated share of right ones, and what the estimate rests on."""

    types: U8
    certain: float
    nr_unclear: int
    list_mismatch: int


def block_content(
    runs: PageRuns,
    blocks: FreeBlocks,
    start_pfn: int,
    end_pfn: int,
    pageblock_order: int,
    max_order: int,
) -> BlockContent:
    """Count kinds of pages and free blocks per pageblock of a zone [start_pfn, end_pfn).

    Which blocks count: mm/vmstat.c, pagetypeinfo_showblockcount_print, steps from the zone's first
    pfn by a pageblock and skips a pfn without online memory.
    """
    first_block = start_pfn >> pageblock_order
    nr_blocks = ((end_pfn - 1) >> pageblock_order) - first_block + 1
    kind = KIND_OF_CLASS[runs.page_class]
    kind = np.where((runs.flags & SCAN_ZERO) != 0, ZERO, kind)
    index, start, nr_pages = pieces(runs.start_pfn, runs.nr_pages, pageblock_order)
    cell = ((start >> pageblock_order) - first_block) * NR_KINDS + kind[index]
    pages = np.bincount(cell, nr_pages, nr_blocks * NR_KINDS).reshape(nr_blocks, NR_KINDS)
    cell = ((blocks.pfn >> pageblock_order) - first_block) * (max_order + 1) + blocks.order
    free = np.bincount(cell, minlength=nr_blocks * (max_order + 1))
    looked_at = np.arange(start_pfn, end_pfn, 1 << pageblock_order)
    at = np.searchsorted(runs.start_pfn, looked_at, "right") - 1
    counted = np.zeros(nr_blocks, np.bool_)
    counted[: len(looked_at)] = runs.page_class[at] != PageClass.HOLE
    return BlockContent(
        first_block,
        pages.astype(np.int64),
        free.reshape(nr_blocks, max_order + 1).astype(np.int64),
        counted,
    )


def evidence(content: BlockContent, pages_per_block: int, with_counts: bool) -> tuple[F64, F64]:
    """How much each block looks UNMOVABLE and RECLAIMABLE; 0 = no more than MOVABLE.

    RECLAIMABLE blocks hold slab and nothing else of the kernel. A block of reserved pages says
    little: boot memory that was never freed keeps the type 0 where the memory map is initialised
    late (deferred_init_memmap sets MOVABLE on free ranges only), MOVABLE elsewhere, so it counts
    only when the number of blocks to find is known.
    """
    pages = content.pages / pages_per_block
    kernel, slab, zero, moving = (pages[:, k] for k in (KERNEL, SLAB, ZERO, MOVING))
    unmovable = 2 * kernel + 1.5 * slab + zero - 2 * moving
    reclaimable = 2 * slab - 2 * (kernel + zero) - 2 * moving
    if with_counts:
        unmovable = unmovable + 0.5 * (pages[:, RESERVED] >= 1)
    return unmovable, reclaimable


def smooth(own: F64, first_block: int) -> F64:
    """Evidence of a block with half of its buddy block's and a quarter of the mean of four around."""
    n = len(own)
    buddy = ((np.arange(n) + first_block) ^ 1) - first_block
    inside = (buddy >= 0) & (buddy < n)
    from_buddy = np.where(inside, own[np.clip(buddy, 0, n - 1)], 0)
    padded = np.pad(own, 2)
    around = (padded[:n] + padded[1 : n + 1] + padded[3 : n + 3] + padded[4 : n + 4]) / 4
    result: F64 = own + 0.5 * from_buddy + 0.25 * around
    return result


def infer_types(
    content: BlockContent,
    pageblock_order: int,
    block_counts: dict[Migratetype, int] | None,
    free_rows: dict[Migratetype, FreeRow] | None,
    nr_cma_blocks: int,
    pcp_count: int,
) -> TypeGuess:
    """The most likely type of every pageblock of a zone; holes get MOVABLE, as at boot.

    ``nr_cma_blocks`` is used where pagetypeinfo's ``block_counts`` are missing (zoneinfo, 6.1 on);
    ``pcp_count`` is about how many zero words MOVABLE and CMA blocks should hold.
    """
    finder = TypeFinder(content, pageblock_order, block_counts, free_rows, nr_cma_blocks, pcp_count)
    return finder.find()


class TypeFinder:
    """One inference: the types so far and what is still to be placed."""

    def __init__(
        self,
        content: BlockContent,
        pageblock_order: int,
        block_counts: dict[Migratetype, int] | None,
        free_rows: dict[Migratetype, FreeRow] | None,
        nr_cma_blocks: int,
        pcp_count: int,
    ) -> None:
        self.content = content
        self.pcp_count = pcp_count
        self.pageblock_order = pageblock_order
        self.known = block_counts is not None
        self.left = dict(block_counts or {Migratetype.CMA: nr_cma_blocks})
        self.free_rows = free_rows or {}
        nr_blocks, nr_orders = content.free_blocks.shape
        self.nr_blocks, self.nr_orders = nr_blocks, nr_orders
        self.types = np.full(nr_blocks, M, np.uint8)
        self.open = content.counted.copy()
        ppb = 1 << pageblock_order
        self.own_u, self.own_r = evidence(content, ppb, self.known)
        self.score_u = smooth(self.own_u, content.first_block)
        self.score_r = smooth(self.own_r, content.first_block)
        # Blocks of each free page larger than a pageblock, by its head.
        self.head_span = np.ones(nr_blocks, np.int64)
        for order in range(pageblock_order + 1, nr_orders):
            self.head_span[content.free_blocks[:, order] > 0] = 1 << (order - pageblock_order)

    def find(self) -> TypeGuess:
        kinds = self.content.pages
        clean = self.open & (kinds[:, [KERNEL, SLAB, RESERVED, HOLE, OTHER]].sum(axis=1) == 0)
        for migratetype in (Migratetype.CMA, Migratetype.ISOLATE):
            self.place_window(migratetype, clean & self.open)
        self.place_best_fits(Migratetype.HIGHATOMIC)
        if not self.known:
            return self.by_content()
        for order in range(self.nr_orders - 1, self.pageblock_order - 1, -1):
            for migratetype, score in ((U, self.score_u), (R, self.score_r)):
                self.place_free(migratetype, order, score)
        self.place_ranked()
        return self.guess()

    def wanted(self, migratetype: Migratetype) -> tuple[I64, Bools]:
        """Free blocks per order on a type's lists, and for which orders that is known exactly."""
        row = self.free_rows.get(migratetype)
        if row is None or len(row.counts) != self.nr_orders:
            return np.zeros(self.nr_orders, np.int64), np.zeros(self.nr_orders, np.bool_)
        return np.array(row.counts, np.int64), ~np.array(row.capped, np.bool_)

    def assign(self, index: I64, migratetype: Migratetype) -> None:
        self.types[index] = migratetype
        self.open[index] = False
        self.left[migratetype] = max(0, self.left.get(migratetype, 0) - len(index))

    def place_window(self, migratetype: Migratetype, eligible: Bools) -> None:
        """The window of adjacent blocks whose free blocks fit the lists best; of equals the top."""
        n = self.left.get(migratetype, 0)
        if n == 0:
            return
        edges = np.flatnonzero(np.diff(np.pad(eligible.astype(np.int8), 1)))
        starts, lengths = edges[::2], edges[1::2] - edges[::2]
        sums = np.pad(np.cumsum(self.content.free_blocks, axis=0), ((1, 0), (0, 0)))
        want, exact = self.wanted(migratetype)
        places = np.pad(np.cumsum(eligible), (1, 0))
        if n <= self.nr_blocks:
            fits = np.flatnonzero(places[n:] - places[:-n] == n)
            if len(fits):
                off = np.abs((sums[fits + n] - sums[fits] - want) * exact).sum(axis=1)
                best = int(fits[len(off) - 1 - int(np.argmin(off[::-1]))])
                self.assign(np.arange(best, best + n), migratetype)
                return
        # No single area fits: several areas, the longest clean stretches first.
        for at in np.lexsort((-starts, -lengths)):
            take = min(self.left[migratetype], int(lengths[at]))
            self.assign(np.arange(starts[at], starts[at] + take), migratetype)
            if self.left[migratetype] == 0:
                return

    def place_best_fits(self, migratetype: Migratetype) -> None:
        """Scattered blocks: one after another the one that fits the type's lists best."""
        want, exact = self.wanted(migratetype)
        rest = want * exact
        # Bound: such reserves are at most 1 % of a zone, and few.
        for _ in range(min(self.left.get(migratetype, 0), 64)):
            if self.left[migratetype] == 0:
                return
            gain = np.abs(rest).sum() - np.abs(rest - self.content.free_blocks * exact).sum(axis=1)
            gain = np.where(self.open, gain + 1e-3 * self.score_u, -np.inf)
            best = int(np.argmax(gain))
            if not self.open[best]:
                return
            rest = rest - self.content.free_blocks[best] * exact
            span = np.arange(best, min(best + int(self.head_span[best]), self.nr_blocks))
            self.assign(span[self.open[span]][: self.left[migratetype]], migratetype)

    def place_free(self, migratetype: Migratetype, order: int, score: F64) -> None:
        """Free pages of a pageblock or more: as many as the type's list holds, best place first."""
        want, exact = self.wanted(migratetype)
        span = 1 << (order - self.pageblock_order)
        number = min(int(want[order]) * int(exact[order]), self.left.get(migratetype, 0) // span)
        heads = np.flatnonzero(self.open & (self.content.free_blocks[:, order] > 0))
        heads = heads[heads + span <= self.nr_blocks]
        if span == 1:
            heads = heads[self.content.pages[heads, FREE] == 1 << self.pageblock_order]
        total = np.pad(np.cumsum(score), (1, 0))
        rank = np.argsort(-(total[heads + span] - total[heads]), kind="stable")
        if number > 0:
            chosen = heads[rank[:number]]
            self.assign((chosen[:, None] + np.arange(span)).ravel(), migratetype)
        if migratetype == R and any(exact):
            # What no other list holds is on the MOVABLE list.
            rest = heads[self.open[heads]]
            self.assign((rest[:, None] + np.arange(span)).ravel(), M)

    def place_ranked(self) -> None:
        """Blocks in use: by content, then exchanged towards the free lists."""
        want_u, want_r = self.left.get(U, 0), self.left.get(R, 0)
        index = np.flatnonzero(self.open)
        best = np.maximum(self.score_u, self.score_r)[index]
        chosen = index[np.argsort(-best, kind="stable")][: want_u + want_r]
        lead = (self.score_r - self.score_u)[chosen]
        by_slab = chosen[np.argsort(-lead, kind="stable")]
        self.types[by_slab] = U
        self.types[by_slab[:want_r]] = R
        self.left[U] = self.left[R] = 0
        if want_u + want_r > len(index):
            self.place_surplus(want_u + want_r - len(index))
        if len(index):
            self.exchange(index)

    def place_surplus(self, number: int) -> None:
        """More blocks to place than are in use (files read at different times): free ones."""
        free = np.flatnonzero(self.content.counted & (self.types == M))
        rank = np.argsort(-self.score_u[free], kind="stable")
        self.types[free[rank[:number]]] = U

    def list_gap(self) -> tuple[F64, F64]:
        """Free blocks by the types so far less those listed, (3 types x orders), and weights."""
        gap = np.zeros((3, self.nr_orders))
        weight = np.zeros((3, self.nr_orders))
        for migratetype in (U, M, R):
            want, exact = self.wanted(migratetype)
            mine = self.content.free_blocks[self.types == migratetype].sum(axis=0)
            gap[migratetype] = mine - want
            weight[migratetype] = exact
        return gap, weight

    def exchange(self, index: I64) -> None:
        """Swap the types of two blocks as long as that lowers list gap less evidence.

        The last column stands for the zero words, in pageblocks: MOVABLE and CMA blocks should hold
        as many as there are pages on per-cpu lists.
        """
        ppb = 1 << self.pageblock_order
        zeros = self.content.pages[:, ZERO] / ppb
        gap, weight = self.list_gap()
        # Larger free pages are placed by their own lists already.
        below = np.arange(self.nr_orders) < max(self.pageblock_order, 1)
        movable = np.isin(self.types, np.array([M, Migratetype.CMA], np.uint8))
        zero_gap = np.array([[0.0], [zeros[movable].sum() - self.pcp_count / ppb], [0.0]])
        gap = np.hstack([gap, zero_gap])
        weight = np.hstack([weight * below, [[0.0], [1.0], [0.0]]])
        index = self.exchange_pool(index)
        vectors = np.column_stack([self.content.free_blocks[index] * below, zeros[index]])
        score = np.zeros((len(index), 3))
        score[:, U], score[:, R] = self.score_u[index], self.score_r[index]
        types = self.types[index]
        for _ in range(MAX_EXCHANGES):
            best: tuple[float, int, int] = (-1e-9, -1, -1)
            for a, b in ((U, M), (R, M), (U, R)):
                change, i, j = best_exchange(vectors, score, types, gap, weight, a, b)
                if change < best[0]:
                    best = (change, i, j)
            _, i, j = best
            if i < 0:
                break
            a, b = types[i], types[j]
            gap[a] += vectors[j] - vectors[i]
            gap[b] += vectors[i] - vectors[j]
            types[i], types[j] = b, a
        self.types[index] = types

    def exchange_pool(self, index: I64) -> I64:
        """The blocks whose type is cheapest to change, for each type and each other type."""
        scores = {U: self.score_u, M: np.zeros(self.nr_blocks), R: self.score_r}
        pool = [index[:0]]
        for mine in (U, M, R):
            members = index[self.types[index] == mine]
            for new in (U, M, R):
                if new != mine:
                    loss = (scores[mine] - scores[new])[members]
                    pool.append(members[cheapest(loss, EXCHANGE_POOL)])
        return np.unique(np.concatenate(pool))

    def by_content(self) -> TypeGuess:
        """No counts known: the kind of pages that prevails; blocks of zero words go by their neighbours.

        Those that look least UNMOVABLE become MOVABLE until their zero words make up the per-cpu pages.
        """
        kinds = self.content.pages
        zeros, own = kinds[:, ZERO], kinds[:, [KERNEL, SLAB]].sum(axis=1)
        telling = (own > 0) | (kinds[:, MOVING] > 0)
        unmovable = np.where(telling, self.own_u, self.score_u)
        reclaimable = np.where(telling, self.own_r, self.score_r)
        is_u = (unmovable > 0.25) & (own + zeros > 0)
        is_r = (reclaimable > 0) & (reclaimable >= unmovable) & (own > 0)
        found = np.where(is_r, np.uint8(R), np.where(is_u, np.uint8(U), np.uint8(M)))
        found = np.where(self.open, found, self.types)
        room = self.pcp_count - int(zeros[np.isin(found, (M, Migratetype.CMA))].sum())
        doubtful = np.flatnonzero(self.open & (found == U) & (own == 0))
        doubtful = doubtful[np.argsort(self.score_u[doubtful], kind="stable")]
        found[doubtful[np.cumsum(zeros[doubtful]) <= room]] = M
        self.types = found
        return self.guess()

    def guess(self) -> TypeGuess:
        kinds = self.content.pages
        telling = kinds[:, [MOVING, KERNEL, SLAB]].sum(axis=1)
        silent = self.content.counted & (telling == 0)
        # Of the silent blocks only those can be wrong that compete for the rarer type.
        rare = min(int((self.types[silent] == M).sum()), int((self.types[silent] != M).sum()))
        mixed = self.content.counted & (np.abs(self.score_u) < 0.5) & (telling > 0)
        mixed &= (kinds[:, MOVING] > 0) & (kinds[:, [KERNEL, SLAB]].sum(axis=1) > 0)
        gap, weight = self.list_gap()
        mismatch = int(np.abs(gap * weight).sum())
        unclear = rare + int(mixed.sum())
        if self.known and not mismatch:
            unclear //= 2
        counted = max(1, int(self.content.counted.sum()))
        return TypeGuess(self.types, 1 - min(unclear, counted) / counted, unclear, mismatch)


def cheapest(cost: F64, number: int) -> I64:
    """Places of the lowest costs, at most so many, in no order."""
    if len(cost) <= number:
        return np.arange(len(cost))
    return np.argpartition(cost, number)[:number]


def best_exchange(vectors: F64, score: F64, types: U8, gap: F64, weight: F64, a: int, b: int) -> tuple[float, int, int]:
    """The best pair (i of type a, j of type b) to swap: change of the objective, i, j."""
    ones, others = np.flatnonzero(types == a), np.flatnonzero(types == b)
    if not len(ones) or not len(others):
        return 0.0, -1, -1

    def shortlist(index: I64, mine: int, new: int) -> I64:
        loss = score[index, mine] - score[index, new]
        v = vectors[index]
        leave = (np.abs(gap[mine] - v) - np.abs(gap[mine])) @ weight[mine]
        enter = (np.abs(gap[new] + v) - np.abs(gap[new])) @ weight[new]
        half = EXCHANGE_CANDIDATES // 2
        fitting, easy = cheapest(loss + leave + enter, half), cheapest(loss, half)
        chosen: I64 = index[np.unique(np.concatenate([fitting, easy]))]
        return chosen

    i, j = shortlist(ones, a, b), shortlist(others, b, a)
    moved = vectors[j][None, :, :] - vectors[i][:, None, :]
    change = (np.abs(gap[a] + moved) - np.abs(gap[a])) @ weight[a]
    change += (np.abs(gap[b] - moved) - np.abs(gap[b])) @ weight[b]
    change += (score[i, a] - score[i, b])[:, None] + (score[j, b] - score[j, a])[None, :]
    at = int(np.argmin(change))
    x, y = divmod(at, len(j))
    return float(change[x, y]), int(i[x]), int(j[y])
