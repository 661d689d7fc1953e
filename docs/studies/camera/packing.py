"""The buffers of a camera by themselves: what is alive at once, and what an area's bitmap alone makes of them.

No page is modelled here: the bitmap's answer is that of a machine on which every page moves at once, for 10 µs a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from zlib import crc32

import numpy as np

from pageblock.consumers.cma import CmaRange
from pageblock.lab.workload import TICK, Amount, Cma, Lifetime, Workload, World

__all__ = ["Buffer", "Demand", "Packed", "buffers", "cameras", "demand", "packed"]

#: Bytes of a page, and pages of a MiB.
PAGE, MIB = 4096, 256

#: A machine's memory, pages; no camera here asks for a share of it.
MEMORY = 1 << 18


@dataclass(frozen=True, slots=True)
class Buffer:
    """A request of cma_alloc: ``at`` and ``end`` in parts of a tick, pages, and the order of its alignment."""

    at: int
    end: int
    nr_pages: int
    align: int


@dataclass(frozen=True, slots=True)
class Demand:
    """Pages alive at once: most and on average; ``sum_pages``: of all buffers that the actors may have at a time."""

    peak_pages: int
    mean_pages: float
    sum_pages: int
    largest_pages: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Requests, those that found no run of clear bits, and those of them for which pages enough were free."""

    asked: int
    failed: int
    fragmented: int


def buffers(workload: Workload, seed: int, ticks: int) -> list[Buffer]:
    """The requests of a run with this seed, in the order of time: those that ``pageblock.lab.run`` makes."""
    running = []
    for actor in workload.actors:
        if actor.needs_cma:
            stream = np.random.SeedSequence([seed, crc32(actor.name.encode())])
            running.append(actor.start(World(MEMORY, PAGE, 10, 9, np.random.Generator(np.random.PCG64(stream)))))
    found: list[Buffer] = []
    for tick in range(ticks):
        calls = sorted((call for one in running for call in one.calls(tick)), key=lambda call: call.at)
        for call in calls:
            at = tick * TICK + call.at
            found.append(Buffer(at, at + call.life, call.nr_pages, call.align))
    return found


def demand(workload: Workload, asked: Sequence[Buffer], ticks: int) -> Demand:
    """What these requests need at once, if each is served."""
    changes = sorted([(one.end, -one.nr_pages) for one in asked] + [(one.at, one.nr_pages) for one in asked])
    now, most, before, area = 0, 0, 0, 0
    for at, pages in changes:
        area += now * (min(at, ticks * TICK) - before)
        before = min(at, ticks * TICK)
        now += pages
        most = max(most, now)
    sizes = [(actor.count, _pages(actor)) for actor in workload.actors if isinstance(actor, Cma)]
    return Demand(
        most, area / (ticks * TICK), sum(count * pages for count, pages in sizes), max(pages for _, pages in sizes)
    )


def _pages(actor: Cma) -> int:
    return -int(-actor.size.pages(MEMORY, PAGE) // 1)


def packed(asked: Sequence[Buffer], size_pages: int, most_align: int = 8) -> Packed:
    """First fit in the bitmap of an area that begins at an aligned pfn. ``most_align``: CONFIG_CMA_ALIGNMENT, 0: none."""
    area = CmaRange(0, size_pages, bytearray(size_pages))
    held: list[tuple[int, int, int, int]] = []
    failed = fragmented = 0
    for number, one in enumerate(asked):
        while held and held[0][0] <= one.at:
            _, _, start, pages = heappop(held)
            area.bits[start : start + pages] = bytes(pages)
        align = min((one.nr_pages - 1).bit_length(), most_align)
        place = area.find_next_zero_area(0, one.nr_pages, (1 << align) - 1, 0)
        if place is None:
            failed += 1
            fragmented += area.bits.count(0) >= one.nr_pages
            continue
        area.bits[place : place + one.nr_pages] = b"\1" * one.nr_pages
        heappush(held, (one.end, number, place, one.nr_pages))
    return Packed(len(asked), failed, fragmented)


def cameras(count: int, seed: int) -> list[Workload]:
    """Cameras drawn at random: 3 to 9 kinds of buffers of 64 KiB to 24 MiB, 1 to 8 of each, one ring of a kind at a time."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        actors = []
        for kind in range(int(rng.integers(3, 10))):
            period = int(rng.integers(2, 30))
            # a ring ends before the next one of its kind can begin
            longest = (period - 1) * float(rng.uniform(0.3, 1.0))
            actors.append(
                Cma(
                    name=f"buffers-{kind}",
                    size=Amount(size=float(np.exp(rng.uniform(np.log(64 << 10), np.log(24 << 20))))),
                    count=int(rng.integers(1, 9)),
                    period=period,
                    hold=Lifetime(longest / 2, "uniform"),
                    together=bool(rng.random() < 0.7),
                )
            )
        found.append(Workload(f"camera-{number}", tuple(actors)))
    return found
