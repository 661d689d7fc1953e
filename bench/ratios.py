"""Time of the core as a ratio to the plain-C allocator, both driven by the same operations in turn.

The two take turns, so that whatever else the machine does meets both; of the pairs of times the
median ratio counts, and the quartiles show how noisy the run was. Equal results are demanded.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pageblock.mm import Zone

from . import workloads as w
from .native import Peer, build

__all__ = ["Ratio", "core_to_plain_c"]

ZONE_PAGES = 1 << 20
ROUNDS = 21
SEED = 20_212


@dataclass(frozen=True)
class Ratio:
    """Core time : plain C time, median and quartiles, and the median ns an operation of both."""

    name: str
    operations: int
    ratio: float
    low: float
    high: float
    core_ns: float
    plain_c_ns: float


def timed(run: Callable[[], object]) -> tuple[int, object]:
    """Nanoseconds of a call, and its result."""
    began = time.process_time_ns()
    result = run()
    return time.process_time_ns() - began, result


def compare(name: str, ops: w.Operations, library: Path, rounds: int) -> Ratio:
    """Run the operations in the core and in C by turns. RuntimeError if they disagree."""
    zone, peer = Zone(ZONE_PAGES), Peer(library, ZONE_PAGES)
    ours = w.empty_handles(int(ops["handle"].max()) + 1)
    theirs = ours.copy()
    times = np.zeros((rounds, 2))
    for i in range(-1, rounds):
        core_ns, mine = timed(lambda: zone.run(ops, ours))
        peer_ns, other = timed(lambda: peer.run(ops, theirs))
        if not np.array_equal(np.asarray(mine), np.asarray(other)):
            raise RuntimeError(f"{name}: the core and plain C gave different pages in round {i}")
        if i >= 0:  # the first round only warms up
            times[i] = core_ns, peer_ns
    low, middle, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    per = np.median(times, axis=0) / len(ops)
    core, plain_c = float(per[0]), float(per[1])
    return Ratio(name, len(ops), float(middle), float(low), float(high), core, plain_c)


def core_to_plain_c(folder: Path, rounds: int = ROUNDS) -> list[Ratio]:
    """The ratio for each workload, in a zone of 1 Mi pages. Raises MissingToolError."""
    library = build("peer.c", folder)
    loads = {
        "order-0 pairs": w.pairs(200_000),
        "order-0 batch of 100,000": w.batch(100_000),
        "order-9 pairs": w.pairs(200_000, 9),
        "mixed orders and types": w.mixed_orders(200_000, ZONE_PAGES, SEED),
    }
    return [compare(name, ops, library, rounds) for name, ops in loads.items()]
