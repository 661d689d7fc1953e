"""What alloc_contig_range migrates, in which order, and where to (mm/compaction.c, mm/migrate.c)."""

from ...mm import PageClass, PageFlag
from .buddy import CLASS, COMPOUND, LRU, MOVABLE
from .isolation import BY_DRIVER, Isolation

__all__ = ["ENOMEM", "Migration"]

ENOMEM = -12

FILE = int(PageClass.FILE)
ANON = int(PageClass.ANON)
THP = int(PageClass.THP)
PINNED = int(PageFlag.PINNED)
CLEAN = int(PageFlag.CLEAN)

#: Pages that one call of migrate_pages gets at least, if there are as many.
COMPACT_CLUSTER_MAX = 32


class Migration(Isolation):
    """A zone whose pages can move. ``handles``: owner -> first pfn; ``moves``: source, target and order of what moved."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.handles: dict[int, int] = {}
        self.moves: list[tuple[int, int, int]] = []

    def candidates(self, pfn: int, end: int) -> tuple[list[int], int]:
        """isolate_migratepages_range: heads of at least 32 pages that may move, and where to go on.

        Tails have no references of their own: a compound page that begins before ``pfn`` is not found.
        """
        found: list[int] = []
        nr_pages = 0
        while pfn < end:
            block = self.used.get(pfn)
            if block is None:
                pfn += 1 << self.free_order.get(pfn, 0)
                continue
            order, flags, _ = block
            kind = flags & CLASS
            if kind == BY_DRIVER or (kind in LRU and not (flags & PINNED and kind != FILE)):
                found.append(pfn)
                nr_pages += 1 << order
                pfn += 1 << order
                if nr_pages >= COMPACT_CLUSTER_MAX:
                    break
            else:
                pfn += 1
        return found, min(pfn, end)

    def drop_clean(self, heads: list[int]) -> list[int]:
        """reclaim_clean_pages_from_list: free clean file pages that nobody else refers to; those that are left."""
        kept = []
        for pfn in heads:
            flags = self.used[pfn][1]
            if flags & CLASS == FILE and flags & CLEAN and not flags & PINNED:
                self.free_used(pfn)
            else:
                kept.append(pfn)
        return kept

    def target(self, order: int) -> int | None:
        """alloc_migration_target: an ordinary movable request."""
        return self.get_page(order, MOVABLE, False)

    def move(self, source: int, target: int) -> None:
        """Move a block: its owner follows, its old place is freed."""
        order, flags, owner = self.used[source]
        self.used[target] = (order, flags, owner)
        if owner is not None and self.handles.get(owner) == source:
            self.handles[owner] = target
        self.moves.append((source, target, order))
        self.free_used(source)

    def migrate_pages(self, heads: list[int]) -> int:
        """migrate_pages of a list that begins with the highest pfn."""
        for source in reversed(heads):
            order = self.used[source][0]
            target = self.target(order)
            if target is None:
                return ENOMEM
            self.move(source, target)
        return 0

    def migrate_range(self, start: int, end: int) -> int:
        pfn = start
        while pfn < end:
            heads, pfn = self.candidates(pfn, end)
            error = self.migrate_pages(self.drop_clean(heads))
            if error:
                return error
        return 0


assert COMPOUND and ANON and THP
