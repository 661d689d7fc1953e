"""The per-cpu lists of one CPU, between requests and the buddy lists (mm/page_alloc.c)."""

from collections import deque
from dataclasses import dataclass, field

from .buddy import ISOLATE, MOVABLE, RECLAIMABLE, Buddy

__all__ = ["FREE_HIGH_BATCH", "NR_LISTS", "PAGE_ALLOC_COSTLY_ORDER", "PerCpu"]

#: Largest order that per-cpu lists hold, huge pages apart.
PAGE_ALLOC_COSTLY_ORDER = 3

#: Types with lists of their own; the lists below those of huge pages; all lists of a kernel with huge pages until 5.15.
PCPTYPES = 3
LOW_LISTS = PCPTYPES * (PAGE_ALLOC_COSTLY_ORDER + 1)
NR_LISTS = LOW_LISTS + PCPTYPES

#: Factors double this often at most (CONFIG_PCP_BATCH_SCALE_MAX).
SCALE_MAX = 5

PREV_FREE_HIGH_ORDER, FREE_HIGH_BATCH = 1, 2


@dataclass(slots=True)
class Lists:
    """struct per_cpu_pages: sizes in pages; ``lists``: pfns, the head first; ``seen``: the type that a page remembers."""

    batch: int
    high: int
    high_min: int = 0
    high_max: int = 0
    count: int = 0
    free_factor: int = 0
    alloc_factor: int = 0
    free_count: int = 0
    flags: int = 0
    lists: list[deque[int]] = field(default_factory=lambda: [deque() for _ in range(NR_LISTS)])
    seen: dict[int, int] = field(default_factory=dict)


class PerCpu(Buddy):
    """A zone that frees and takes through per-cpu lists, if it has them."""

    pcp: Lists | None = None
    below_high = False

    def set_pcp(self, batch: int, high_min: int, high_max: int, flags: int) -> None:
        """Size the lists."""
        self.pcp = Lists(batch, high_min, high_min, high_max, flags=flags)

    def passes_pcp(self, order: int) -> bool:
        """pcp_allowed_order, where there are lists."""
        return self.pcp is not None and (order <= PAGE_ALLOC_COSTLY_ORDER or order == self.pageblock_order)

    def list_number(self, order: int, mt: int) -> int:
        """order_to_pindex."""
        if order <= PAGE_ALLOC_COSTLY_ORDER:
            return PCPTYPES * order + mt
        if self.rules.huge_lists == 3:
            return LOW_LISTS + mt
        return LOW_LISTS + int(self.rules.huge_lists == 2 and mt == MOVABLE)

    def list_order(self, number: int) -> int:
        """pindex_to_order."""
        return number // PCPTYPES if number < LOW_LISTS else self.pageblock_order

    def pcp_state(self) -> dict[str, int]:
        """Count and tuning, under the names of struct per_cpu_pages, as far as this release has them."""
        pcp = self.pcp
        if pcp is None:
            return {}
        names = ["count", "high", "batch"]
        names += (
            ["high_min", "high_max", "free_count", "alloc_factor", "flags"]
            if self.rules.self_tuning
            else ["free_factor"]
        )
        return {name: getattr(pcp, name) for name in names}

    # ---- what the buddy lists are asked and told ----

    def rmqueue_many(self, order: int, mt: int, most: int) -> list[int]:
        """Up to ``most`` blocks, as __rmqueue gives them, see ``request``."""
        raise NotImplementedError

    def above_high(self) -> bool:
        """zone_watermark_ok of the high mark, see ``request``."""
        raise NotImplementedError

    # ---- freeing ----

    def free_pages(self, pfn: int, order: int) -> None:
        """__free_pages of the last reference: to a per-cpu list, or to the buddy lists."""
        pcp = self.pcp
        mt = self.type_at(pfn)
        if pcp is None or not self.passes_pcp(order) or mt == ISOLATE:
            self.free_block(pfn, order)
            return
        pcp.seen[pfn] = mt
        if mt > RECLAIMABLE:
            mt = MOVABLE
        number = self.list_number(order, mt)
        pcp.lists[number].appendleft(pfn)
        pcp.count += 1 << order
        if self.rules.self_tuning:
            self.overflow_tuned(pcp, order, number)
        else:
            self.overflow(pcp, order, number)

    def free_used(self, pfn: int) -> None:
        """Free the block in use that begins at a pfn."""
        self.free_pages(pfn, self.used.pop(pfn)[0])

    def overflow(self, pcp: Lists, order: int, number: int) -> None:
        """What free_unref_page_commit does behind the list, until 6.6: free as many as consecutive frees have come to."""
        all_of_it = self.rules.empty_high_orders and pcp.free_factor > 0 and 0 < order <= PAGE_ALLOC_COSTLY_ORDER
        if all_of_it:
            self.bulk(pcp, pcp.count, number)
            return
        high, batch = pcp.high, pcp.batch
        if pcp.count < high:
            return
        if high < batch:
            self.bulk(pcp, 1, number)
            return
        nr_pages = batch << pcp.free_factor
        if nr_pages < high - batch and (not self.rules.capped_factor or pcp.free_factor < SCALE_MAX):
            pcp.free_factor += 1
        self.bulk(pcp, min(max(nr_pages, batch), high - batch), number)

    def overflow_tuned(self, pcp: Lists, order: int, number: int) -> None:
        """The same since 6.7, where the mark moves between two bounds."""
        batch = pcp.batch
        pcp.alloc_factor >>= 1
        empty = False
        if 0 < order <= PAGE_ALLOC_COSTLY_ORDER:
            least = batch + (pcp.high_min // 2 if self.rules.late_empty else 0)
            empty = (
                pcp.free_count >= least
                and bool(pcp.flags & PREV_FREE_HIGH_ORDER)
                and (not pcp.flags & FREE_HIGH_BATCH or pcp.count >= batch)
            )
            pcp.flags |= PREV_FREE_HIGH_ORDER
        else:
            pcp.flags &= ~PREV_FREE_HIGH_ORDER
        if pcp.free_count < batch << SCALE_MAX:
            pcp.free_count += 1 << order
        high = self.moving_high(pcp, empty)
        if pcp.count < high:
            return
        if empty:
            nr_pages = min(pcp.count, batch << SCALE_MAX)
        elif high < batch:
            nr_pages = 1
        else:
            nr_pages = min(max(pcp.free_count, batch), high - batch)
        if self.rules.overflow_slices:
            while nr_pages > 0 and pcp.count > 0:
                self.bulk(pcp, min(nr_pages, batch), number)
                nr_pages -= min(nr_pages, batch)
        else:
            self.bulk(pcp, nr_pages, number)
        if self.below_high and self.above_high():
            self.below_high = False

    def moving_high(self, pcp: Lists, empty: bool) -> int:
        """nr_pcp_high (6.7): the mark of this free, while nobody reclaims; it moves for the next ones."""
        high = pcp.high = min(max(pcp.high, pcp.high_min), pcp.high_max)
        if high == 0:
            return 0
        if empty:
            pcp.high = max(high - (pcp.batch << SCALE_MAX), pcp.high_min)
            return 0
        if pcp.high_min == pcp.high_max:
            return high
        if self.below_high:
            pcp.high = max(high - max(pcp.free_count, pcp.batch), pcp.high_min)
            return max(pcp.count, pcp.high_min)
        if pcp.count >= high:
            needed = pcp.free_count + pcp.batch
            if pcp.high < needed:
                pcp.high = min(max(needed, pcp.high_min), pcp.high_max)
        return high

    def leave(self, pcp: Lists, number: int) -> tuple[int, int, int]:
        """Take the oldest block off a list; its pfn, its order, and the type that it remembers."""
        pfn = pcp.lists[number].pop()
        order = self.list_order(number)
        pcp.count -= 1 << order
        return pfn, order, pcp.seen.pop(pfn)

    def give_to_buddy(self, pfn: int, order: int, seen: int) -> None:
        """Free a block whole, under the type that it remembers, or that its first pageblock has by now."""
        remembered = not self.rules.hygiene and not self.nr_isolated
        self.free_one_page(pfn, order, seen if remembered else self.type_at(pfn))

    def bulk(self, pcp: Lists, count: int, number: int) -> None:
        """free_pcppages_bulk: at least ``count`` pages, if there are as many."""
        count = min(count, pcp.count)
        if self.rules.round_robin:
            self.bulk_in_turn(pcp, count)
            return
        while count > 0:
            while not pcp.lists[number]:
                number = (number + 1) % NR_LISTS
            while count > 0 and pcp.lists[number]:
                pfn, order, seen = self.leave(pcp, number)
                count -= 1 << order
                self.give_to_buddy(pfn, order, seen)

    def bulk_in_turn(self, pcp: Lists, count: int) -> None:
        """free_pcppages_bulk until 5.17: from all lists in turn, more for each list that was looked at; freed at the end."""
        number = share = 0
        gone = []
        while count > 0:
            while True:
                share += 1
                number = (number + 1) % NR_LISTS
                if pcp.lists[number]:
                    break
            if share == NR_LISTS:
                share = count
            while True:
                gone.append(self.leave(pcp, number))
                count -= 1 << gone[-1][1]
                if count <= 0:
                    break
                share -= 1
                if share == 0 or not pcp.lists[number]:
                    break
        for pfn, order, seen in gone:
            self.give_to_buddy(pfn, order, seen)

    def drain(self) -> None:
        """drain_all_pages; in slices, where the release has them, which are whole batches."""
        pcp = self.pcp
        while pcp is not None and pcp.count > 0:
            self.bulk(pcp, min(pcp.count, pcp.batch << SCALE_MAX) if self.rules.capped_factor else pcp.count, 0)

    # ---- taking ----

    def from_pcp(self, order: int, mt: int) -> int | None:
        """rmqueue_pcplist: the first block of a list, which is refilled where it is empty."""
        pcp = self.pcp
        assert pcp is not None
        pcp.free_factor >>= 1
        pcp.free_count >>= 1
        entries = pcp.lists[self.list_number(order, mt)]
        if not entries:
            taken = self.rmqueue_many(order, mt, self.refill(pcp, order))
            entries.extend(taken)
            pcp.count += len(taken) << order
            if not taken:
                return None
        pfn = entries.popleft()
        del pcp.seen[pfn]
        pcp.count -= 1 << order
        return pfn

    def refill(self, pcp: Lists, order: int) -> int:
        """How many blocks a refill takes (nr_pcp_alloc; until 6.6 by the batch alone)."""
        batch = pcp.batch
        if self.rules.self_tuning:
            high = pcp.high = min(max(pcp.high, pcp.high_min), pcp.high_max)
            if high < pcp.batch:
                return 1
            if order == 0:
                batch <<= pcp.alloc_factor
            if pcp.high_min != pcp.high_max and not self.below_high:
                high = pcp.high = min(high + batch, pcp.high_max)
            if order == 0:
                most = max(high - pcp.count - pcp.batch, pcp.batch)
                if batch <= most and pcp.alloc_factor < SCALE_MAX:
                    pcp.alloc_factor += 1
                batch = min(batch, most)
        return max(batch >> order, 2) if batch > 1 else batch

    def remember(self, pfn: int, mt: int) -> None:
        """Note the list that a block of a refill comes from."""
        assert self.pcp is not None
        self.pcp.seen[pfn] = mt
