"""The compiled core alone: random operations by the hundred thousand, its invariants after each batch.

Nothing is compared, so that 10^9 operations take minutes; what is looked for is a state that no release may reach, an
operation that is refused as malformed, a crash.
"""

from dataclasses import dataclass, replace
from random import Random

import numpy as np
import numpy.typing as npt

from ..mm import OPERATION, Migratetype, PageClass, Zone
from .invariants import violations
from .world import World, random_world

__all__ = ["BATCH", "BATCHES", "CoreFinding", "run_core"]

#: Operations of a batch, after which the invariants are checked, and batches of one zone.
BATCH = 50_000
BATCHES = 10

#: Handles of a zone, at most.
_HANDLES = 4096

_EMPTY = 0xFFFFFFFF

#: What is allocated: migratetype, class and flags of a single page, of a larger block.
_KINDS = np.array(
    [
        [Migratetype.MOVABLE, PageClass.ANON, PageClass.THP | 0x20],
        [Migratetype.MOVABLE, PageClass.FILE, PageClass.THP | 0x20],
        [Migratetype.MOVABLE, PageClass.FILE | 0x40, PageClass.THP | 0x30],
        [Migratetype.MOVABLE, PageClass.ANON | 0x10, PageClass.THP | 0x20],
        [Migratetype.UNMOVABLE, PageClass.KERNEL, PageClass.KERNEL],
        [Migratetype.RECLAIMABLE, PageClass.SLAB, PageClass.SLAB | 0x20],
    ],
    np.uint8,
)


@dataclass(frozen=True, slots=True)
class CoreFinding:
    """An invariant that broke: in which world, in which batch, what."""

    case: int
    world: World
    batch: int
    invariant: str
    message: str


def _turns(handles: npt.NDArray[np.int64], free: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """For each visit to a handle whether it is to be freed then: each handle is allocated and freed in turn.

    ``free``: handle -> whether its first visit frees it.
    """
    order = np.argsort(handles, kind="stable")
    ordered = handles[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(first)
    nth = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    odd = np.empty(len(handles), np.bool_)
    odd[order] = (nth & 1).astype(np.bool_)
    return odd ^ free[handles]


class _Batches:
    """Draws batches of operations for one zone."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.draw = np.random.Generator(np.random.PCG64(random.getrandbits(64)))
        self.count = min(_HANDLES, max(8, world.nr_pages * random.choice((1, 2, 4)) // 4))
        # the last handles hold ranges
        self.ranges = max(2, self.count // 32)
        self.handles = np.full(self.count + self.ranges, _EMPTY, np.uint32)
        self.lengths = np.ones(self.ranges, np.uint32)
        self.large = random.choice((0.0, 0.05, 0.3))
        self.kinds = _KINDS[: random.choice((1, 4, 5, 6))]
        self.share = random.choice((0.0, 0.002, 0.02))
        self.atomic = random.choice((0.0, 0.02))

    def next(self) -> npt.NDArray[np.void]:
        """A batch: blocks allocated and freed in turn, and among them ranges."""
        draw, world = self.draw, self.world
        ops = np.zeros(BATCH, OPERATION)
        handles = draw.integers(0, self.count, BATCH)
        free = _turns(handles, self.handles[: self.count] != _EMPTY)
        orders = np.where(draw.random(BATCH) < self.large, draw.integers(0, world.max_order + 1, BATCH), 0)
        kinds = self.kinds[draw.integers(0, len(self.kinds), BATCH)]
        ops["op"] = np.where(free, 2, np.where(draw.random(BATCH) < self.atomic, 5, 1))
        ops["order"] = orders
        ops["migratetype"] = kinds[:, 0]
        ops["flags"] = np.where(orders == 0, kinds[:, 1], kinds[:, 2])
        ops["handle"] = handles
        self.add_ranges(ops)
        return ops

    def add_ranges(self, ops: npt.NDArray[np.void]) -> None:
        """Make some operations requests for ranges, or frees of those: near the boundaries of pageblocks."""
        draw, world = self.draw, self.world
        at = np.flatnonzero(draw.random(BATCH) < self.share)
        if not len(at):
            return
        which = draw.integers(0, self.ranges, len(at))
        free = _turns(which, self.handles[self.count :] != _EMPTY)
        block = 1 << world.pageblock_order
        start = draw.integers(0, world.nr_pages, len(at)) // block * block
        start = np.clip(start + draw.choice([0, 0, -1, 1, block // 2], len(at)), 0, world.nr_pages - 1)
        length = draw.choice([1, 2, block // 2 or 1, block, block, block + 1, 2 * block, 3 * block], len(at))
        length = np.minimum(length, world.nr_pages - start)
        ops["op"][at] = np.where(free, 4, 3)
        ops["migratetype"][at] = Migratetype.MOVABLE
        if world.cma and draw.random() < 0.5:
            first = world.start_pfn + start
            inside = [world.foreign_cma or world.in_area(*ends) for ends in zip(first, first + length, strict=True)]
            ops["migratetype"][at[inside]] = Migratetype.CMA
        ops["flags"][at] = PageClass.KERNEL
        ops["order"][at] = 0
        ops["handle"][at] = self.count + which
        # a range is freed with the length that it was asked with: that of the visit before
        for index, handle, frees in zip(at.tolist(), which.tolist(), free.tolist(), strict=True):
            if frees:
                ops["nr"][index] = self.lengths[handle]
                continue
            position = int(np.searchsorted(at, index))
            ops["start"][index], ops["nr"][index] = start[position], length[position]
            self.lengths[handle] = length[position]


def run_core(release: str, seed: int, case: int) -> tuple[int, CoreFinding | None]:
    """Run one zone of the core; operations done, and the first invariant that broke."""
    random = Random(f"core/{release}/{seed}/{case}")
    world = random_world(release, random)
    zone: Zone = world.zone()
    batches = _Batches(world, random)
    # nothing here isolates by itself or gives up reserves
    circumstances = replace(world.circumstances, isolations=False, unreserved=False)
    for number in range(BATCHES):
        zone.run(batches.next(), batches.handles)
        broken = violations(zone, circumstances)
        if broken:
            return (number + 1) * BATCH, CoreFinding(case, world, number, broken[0].invariant, str(broken[0]))
    return BATCHES * BATCH, None
