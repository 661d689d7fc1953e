"""A list of requests in the making."""

from dataclasses import dataclass, field
from random import Random

__all__ = ["MAX_HANDLES", "MAX_ORDER_PAGES", "PAGEBLOCK_ORDER", "PAGEBLOCK_PAGES", "Requests"]

PAGEBLOCK_ORDER = 9
PAGEBLOCK_PAGES = 1 << PAGEBLOCK_ORDER
MAX_ORDER = 10
MAX_ORDER_PAGES = 1 << MAX_ORDER
#: Handles that the module has room for (MAX_HANDLES in oracle.h).
MAX_HANDLES = 1 << 20


@dataclass
class Requests:
    """The lines so far, and what they hold if every request was granted.

    ``live`` are blocks not given back yet, as (handle, pages); ``pages`` counts those of blocks and
    ranges. The state is hashed after every ``hash_every`` requests.
    """

    zone_pages: int
    hash_every: int
    lines: list[str] = field(default_factory=list)
    live: list[tuple[int, int]] = field(default_factory=list)
    pages: int = 0
    nr_ops: int = 0
    _next_handle: int = 0
    _place: dict[int, int] = field(default_factory=dict)
    _ranges: dict[int, int] = field(default_factory=dict)

    def _op(self, line: str) -> None:
        self.lines.append(line)
        self.nr_ops += 1
        if self.nr_ops % self.hash_every == 0:
            self.hash()

    def _handle(self) -> int:
        assert self._next_handle < MAX_HANDLES, "the module has no room for more handles"
        self._next_handle += 1
        return self._next_handle - 1

    def comment(self, text: str) -> None:
        """A line that the module skips."""
        self.lines.append(f"# {text}")

    def hash(self) -> None:
        """Hash the whole state of the zone."""
        self.lines.append("h")

    def dump(self) -> None:
        """Write down the whole state of the zone."""
        self.lines.append("d")

    def alloc(self, order: int, kind: str) -> int:
        """Ask for 2**order pages; returns the handle.

        A migratable page is written ``m`` at order 0 and ``M`` above. migrate_pages() of 6.1 never
        returns from a migratable page above the pageblock order: there it is asked for pinned.
        """
        if kind in "mM":
            kind = "m" if order == 0 else "M"
            if order > PAGEBLOCK_ORDER:
                kind = "P"
        handle = self._handle()
        self._op(f"a {handle} {order} {kind}")
        self._place[handle] = len(self.live)
        self.live.append((handle, 1 << order))
        self.pages += 1 << order
        return handle

    def free(self, index: int) -> None:
        """Give ``live[index]`` back; the last one takes its place in ``live``."""
        last = self.live[-1]
        handle, nr_pages = self.live[index]
        self.live[index] = last
        self._place[last[0]] = index
        self.live.pop()
        del self._place[handle]
        self.pages -= nr_pages
        self._op(f"f {handle}")

    def free_handles(self, handles: list[int]) -> None:
        """Give these blocks back, in this order."""
        for handle in handles:
            self.free(self._place[handle])

    def free_at_random(self, rng: Random, nr_blocks: int) -> None:
        """Give back that many blocks, any."""
        for _ in range(min(nr_blocks, len(self.live))):
            self.free(rng.randrange(len(self.live)))

    def contig(self, start: int, count: int) -> int:
        """Ask for the range [start, start + count) of the zone; returns the handle."""
        assert count >= 0, "alloc_contig_range() frees twice if the end lies before the start"
        assert 0 <= start <= start + count <= self.zone_pages, "outside the zone"
        handle = self._handle()
        self._op(f"c {handle} {start} {count}")
        self._ranges[handle] = count
        self.pages += count
        return handle

    def past_end(self, start: int, count: int) -> None:
        """Ask for a range that begins in the zone and ends behind it: every kernel refuses."""
        assert 0 <= start < self.zone_pages < start + count, "not past the zone's end"
        self._op(f"x {self._handle()} {start} {count}")

    def isolate(self, start: int, count: int) -> None:
        """Isolate the pageblocks of [start, start + count), and leave them so."""
        assert 0 <= start < start + count <= self.zone_pages, "outside the zone"
        self._op(f"s {start} {count}")

    def undo_isolation(self, start: int, count: int) -> None:
        """Give the isolated ones of these pageblocks back."""
        assert 0 <= start < start + count <= self.zone_pages, "outside the zone"
        self._op(f"u {start} {count}")

    def compact(self) -> None:
        """Compact the node, and hash what that left."""
        self._op("k")
        self.hash()

    def release(self, handle: int) -> None:
        """Give a range back."""
        self.pages -= self._ranges.pop(handle)
        self._op(f"g {handle}")
