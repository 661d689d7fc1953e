"""The process that valgrind counts in: ``python -m bench.counted COUNTER PEER``.

Run without valgrind it does the same work and counts nothing, which is a quick check of the file.
"""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

from pageblock.mm import Zone

from . import workloads as w
from .native import Peer

__all__ = ["COUNTS", "MIXED_OPERATIONS", "MIXED_SEED"]

#: Operations a pair or batch is repeated for, so that what is left of the call's own cost vanishes.
REPEATS = 4000
BATCH = 4096
MIXED_OPERATIONS = 40_000
MIXED_SEED = 20_211
CALLS = 200

#: First page of the ranges, as in the recorded kernel's measurement.
FIRST = 32_768
SIZES = (512, 1024, 8192)
#: Free ranges allocated in one call.
RANGES = 8

MIXED = "mixed orders and types, one operation"
PAIR = "order-0 pair, split from and merged to order 10"
WARM = "order-0 pair, on a list that has pages"
BATCHES = f"order-0 batch of {BATCH}, an allocation and its free"
PCP_PAIR = "order-0 pair, per-cpu lists on"
PCP_BATCHES = f"order-0 batch of {BATCH}, per-cpu lists on"
LARGE = "order-9 pair"

#: Size and batch of the per-cpu lists of the recorded kernel, pages.
PCP_HIGH, PCP_BATCH = 7681, 31

#: Name of each count -> what its cost is divided by.
COUNTS: dict[str, int] = {
    PAIR: REPEATS,
    WARM: REPEATS,
    PCP_PAIR: REPEATS,
    BATCHES: BATCH,
    PCP_BATCHES: BATCH,
    LARGE: REPEATS,
    MIXED: 1,
}
COUNTS |= {f"alloc_contig_range, {size} free pages": RANGES for size in SIZES}
COUNTS |= {f"alloc_contig_range, {size} pages, every other movable": 1 for size in SIZES}
COUNTS |= {f"free_contig_range, {size} pages": RANGES for size in SIZES}

Run = Callable[[w.Operations, w.Handles], object]
HANDLES = 2 * BATCH
#: The handle that owns the pages which contig requests move.
MOVED = HANDLES - 1


class Counter:
    """Tells valgrind when to count. Counts nothing if the process does not run under valgrind."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))

    def count(self, name: str, run: Run, ops: w.Operations, handles: w.Handles) -> object:
        """Count the instructions of one call under a name."""
        self.library.counting_begin()
        result = run(ops, handles)
        self.library.counting_end(name.encode())
        return result


def count_simple(counter: Counter, who: str, new: Callable[[], Run]) -> None:
    """Pairs, batches and mixed orders of the core or the peer, and the call that does nothing."""
    handles = w.empty_handles(max(HANDLES, MIXED_OPERATIONS))
    run = new()
    for attempt in range(3):
        counter.count(f"{who}: nothing {attempt}", run, w.nothing(), handles)
    counter.count(f"{who}: {PAIR}", run, w.pairs(REPEATS), handles)
    counter.count(f"{who}: {LARGE}", run, w.pairs(REPEATS, 9), handles)
    counter.count(f"{who}: {BATCHES}", run, w.batch(BATCH), handles)
    held = w.pairs(1)[:1]
    held["handle"] = 1
    run(held, handles)
    counter.count(f"{who}: {WARM}", run, w.pairs(REPEATS), handles)
    run = new()
    mixed = w.mixed_orders(MIXED_OPERATIONS, w.KERNEL_ZONE_PAGES, MIXED_SEED)
    handles = w.empty_handles(MIXED_OPERATIONS)
    counter.count(f"{who}: {MIXED} / {len(mixed)}", run, mixed, handles)


def count_per_cpu(counter: Counter) -> None:
    """Pairs and batches with per-cpu lists in front of the buddy lists."""
    zone = Zone(w.KERNEL_ZONE_PAGES)
    zone.set_pcp(PCP_HIGH, PCP_BATCH)
    handles = w.empty_handles(HANDLES)
    zone.run(w.pairs(1), handles)
    counter.count(f"core: {PCP_PAIR}", zone.run, w.pairs(REPEATS), handles)
    counter.count(f"core: {PCP_BATCHES}", zone.run, w.batch(BATCH), handles)


def count_contig(counter: Counter) -> None:
    """Contiguous ranges of the core: free, free again, and every other page movable."""
    for size in SIZES:
        zone = Zone(w.KERNEL_ZONE_PAGES)
        handles = w.empty_handles(HANDLES)
        starts = [FIRST + i * max(SIZES) for i in range(RANGES)]
        zone.run(w.nothing(), handles)
        name = f"core: alloc_contig_range, {size} free pages"
        counter.count(name, zone.run, w.contig(starts, size), handles)
        name = f"core: free_contig_range, {size} pages"
        counter.count(name, zone.run, w.free_contig(starts, size), handles)
        zone = Zone(w.KERNEL_ZONE_PAGES)
        w.fill_every_other_page(zone, FIRST, size, MOVED)
        name = f"core: alloc_contig_range, {size} pages, every other movable"
        result = counter.count(name, zone.run, w.contig([FIRST], size), handles)
        if list(result) != [FIRST]:  # type: ignore[call-overload]
            raise RuntimeError(f"{name}: refused with {result}")


def count_calls(counter: Counter) -> None:
    """The same through one Python call each, with arguments checked and results as objects."""
    zone = Zone(w.KERNEL_ZONE_PAGES)

    def alloc_and_free(ops: w.Operations, handles: w.Handles) -> None:
        for _ in range(CALLS):
            zone.free(zone.alloc())

    def contig_range(ops: w.Operations, handles: w.Handles) -> None:
        zone.alloc_contig_range(FIRST, FIRST + max(SIZES))

    handles = w.empty_handles(1)
    alloc_and_free(w.nothing(), handles)
    name = f"call: Zone.alloc() and Zone.free() / {CALLS}"
    counter.count(name, alloc_and_free, w.nothing(), handles)
    w.fill_every_other_page(zone, FIRST, max(SIZES), 0)
    name = f"call: Zone.alloc_contig_range(), {max(SIZES)} pages, every other movable / 1"
    counter.count(name, contig_range, w.nothing(), handles)


def main() -> None:
    """Count everything; the arguments are the two shared libraries."""
    counter = Counter(Path(sys.argv[1]))
    count_simple(counter, "core", lambda: Zone(w.KERNEL_ZONE_PAGES).run)
    count_simple(counter, "peer", lambda: Peer(Path(sys.argv[2]), w.KERNEL_ZONE_PAGES).run)
    count_per_cpu(counter)
    count_contig(counter)
    count_calls(counter)


if __name__ == "__main__":
    main()
