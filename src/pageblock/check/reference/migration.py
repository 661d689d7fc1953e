"""What alloc_contig_range migrates, in which order, and where to (mm/compaction.c, mm/migrate.c)."""

from ...mm import PageClass, PageFlag
from .buddy import CLASS, COMPOUND, LRU, MOVABLE
from .isolation import BY_DRIVER, Isolation

__all__ = ["ENOMEM", "Migration"]

ENOMEM = -12

FILE = int(PageClass.FILE)
ANON = int(PageClass.ANON)
PINNED = int(PageFlag.PINNED)
CLEAN = int(PageFlag.CLEAN)

#: Pages that one call of migrate_pages gets at least, if there are as many.
COMPACT_CLUSTER_MAX = 32


class Migration(Isolation):
    """A zone whose pages can move. ``handles``: owner -> first pfn; ``moves``: source, target and order of what moved."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.handles: dict[int, int] = {}
        self.moves: list[tuple[int, int | None, int]] = []

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
                    # the scan goes pageblock by pageblock, and does not look beyond the one it is in
                    return found, min(pfn, (found[-1] // self.pageblock + 1) * self.pageblock, end)
            else:
                pfn += 1
        return found, min(pfn, end)

    def drop_clean(self, heads: list[int]) -> list[int]:
        """reclaim_clean_pages_from_list: free clean file pages that nobody else refers to; those that are left.

        The list of what is freed is turned round twice until 6.1: the lowest goes first. Since 6.12 the highest does.
        """
        kept = []
        for pfn in reversed(heads) if self.rules.hygiene else heads:
            flags = self.used[pfn][1]
            if flags & CLASS == FILE and flags & CLEAN and not flags & PINNED:
                owner = self.used[pfn][2]
                if owner is not None:
                    self.handles.pop(owner, None)
                self.free_used(pfn)
            else:
                kept.append(pfn)
        return sorted(kept)

    def target(self, order: int) -> int | None:
        """alloc_migration_target: an ordinary movable request."""
        return self.get_page(order, MOVABLE, False)

    def move(self, source: int, target: int) -> None:
        """Move a block: its owner follows, its old place is freed."""
        order, flags, owner = self.used[source]
        self.used[target] = (order, flags, owner)
        if owner is not None:
            # pages of a huge page that was split have one owner: the last that moved counts
            self.handles[owner] = target
        self.moves.append((source, target, order))
        self.free_used(source)

    def split(self, source: int) -> list[int]:
        """Make single pages of a huge page for which there is no target; those of its tails, then its head."""
        order, flags, owner = self.used[source]
        flags = flags & ~(CLASS | COMPOUND) | ANON
        for pfn in range(source, source + (1 << order)):
            self.used[pfn] = (0, flags, owner)
        tails = list(range(source + 1, source + (1 << order)))
        return [*(tails if self.rules.split_ascending else reversed(tails)), source]

    def migrate_list(self, sources: list[int]) -> tuple[int, list[int]]:
        """Move blocks in order; what happened, and the single pages of those that had to be split."""
        pieces: list[int] = []
        for source in sources:
            order = self.used[source][0]
            target = self.target(order)
            if target is not None:
                self.move(source, target)
            elif order == 0:
                return ENOMEM, pieces
            else:
                pieces += self.split(source)
        return 0, pieces

    def migrate_at_once(self, sources: list[int]) -> int:
        """migrate_pages of 5.15: a split page's head is tried again at once, its tails after all others."""
        queue = list(sources)
        while queue:
            source = queue.pop(0)
            error, pieces = self.migrate_list([source])
            if error:
                return error
            if pieces:
                queue.insert(0, pieces.pop())
                queue += pieces
        return 0

    def batches(self, sources: list[int]) -> list[list[int]]:
        """Cut a list where migrate_pages does: before (6.1.192) or behind (6.12) the page that fills a huge page's size."""
        if not self.rules.batches:
            return [sources]
        found: list[list[int]] = [[]]
        nr_pages = 0
        for source in sources:
            size = 1 << self.used[source][0]
            nr_pages += size
            if not self.rules.hygiene and nr_pages > self.pageblock and found[-1]:
                found.append([])
                nr_pages = size
            found[-1].append(source)
            if self.rules.hygiene and nr_pages >= self.pageblock:
                found.append([])
                nr_pages = 0
        return found

    def migrate_pages(self, sources: list[int]) -> int:
        """migrate_pages of a list, first source first: 0 or -ENOMEM."""
        if not self.rules.split_later:
            return self.migrate_at_once(sources)
        stuck = False
        for batch in self.batches(sources):
            error, pieces = self.migrate_list(batch)
            if error:
                return error
            error, _ = self.migrate_list(pieces)
            if error and not self.rules.hygiene:
                return error
            stuck = stuck or error != 0
        # what is left of split pages is tried again, and finds no target either
        return ENOMEM if stuck else 0

    def migrate_range(self, start: int, end: int) -> int:
        pfn = start
        while pfn < end:
            heads, pfn = self.candidates(pfn, end)
            # each page is put before those found earlier
            error = self.migrate_pages(list(reversed(self.drop_clean(heads))))
            if error:
                return error
        return 0
