"""What actors hand to the engine: requests for pages, as arrays, and calls for contiguous ranges."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...errors import InputError

__all__ = [
    "REQUEST",
    "Actor",
    "Call",
    "Requests",
    "Running",
    "World",
    "at_random",
    "make_requests",
    "most_in_a_tick",
    "no_requests",
    "within",
]

#: One request for a block of pages. ``at``: when in its tick, in parts of a tick; ``op``: 1 allocate, 5 as GFP_ATOMIC;
#: ``flags``: page class and flags; ``spare``: how often reclaim passes it over; ``life``: parts of a tick, or FOREVER.
REQUEST = np.dtype(
    [
        ("life", np.int64),
        ("at", np.uint16),
        ("op", np.uint8),
        ("order", np.uint8),
        ("migratetype", np.uint8),
        ("flags", np.uint8),
        ("actor", np.uint8),
        ("spare", np.uint8),
    ]
)

Requests = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Call:
    """One call for a contiguous range of ``nr_pages``.

    ``at``: when in its tick; ``kind``: ``cma`` (cma_alloc), ``first`` (alloc_contig_pages), ``placed`` (alloc_contig_range at
    the aligned place that ``place``, 0 to 2^16-1, stands for in the memory) or ``range`` (the same at the page ``place``, counted
    from the first zone's first); ``align``: order, of cma_alloc; ``life`` as in REQUEST.
    """

    at: int
    kind: str
    nr_pages: int
    align: int
    life: int
    place: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What an actor may know of the machine: its size and geometry, nothing of its state, so that releases see equal requests.

    ``rng``: the actor's own stream.
    """

    total_pages: int
    page_size: int
    max_order: int
    pageblock_order: int
    rng: np.random.Generator


class Running(Protocol):
    """An actor at work."""

    def requests(self, tick: int) -> Requests:
        """What it asks for in this tick; ``actor`` is filled in by the engine. Called once a tick, ascending from 0."""

    def calls(self, tick: int) -> list[Call]:
        """Contiguous ranges that it asks for in this tick."""


class Actor(Protocol):
    """A part of a workload. Anything that has these serves; it must be picklable for runs in other processes.

    ``evictable``: reclaim may take its pages, the oldest first, and whatever is beyond ``most_pages``; ``splits``: what is
    refused above order 0 is asked for again page by page; ``needs_cma``: without a CMA area it cannot be run.
    """

    @property
    def name(self) -> str: ...

    @property
    def evictable(self) -> bool: ...

    @property
    def splits(self) -> bool: ...

    @property
    def needs_cma(self) -> bool: ...

    def most_pages(self, world: World) -> int:
        """Pages beyond which its oldest are evicted; 0: no limit."""

    def start(self, world: World) -> Running: ...


def no_requests() -> Requests:
    """None."""
    return np.zeros(0, REQUEST)


def at_random(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint16]:
    """Times within a tick."""
    return rng.integers(0, 1 << 16, count, np.uint16)


def make_requests(
    at: npt.NDArray[np.uint16],
    order: npt.NDArray[np.uint8] | int,
    migratetype: npt.NDArray[np.uint8] | int,
    flags: npt.NDArray[np.uint8] | int,
    life: npt.NDArray[np.int64] | int,
    op: npt.NDArray[np.uint8] | int = 1,
    spare: npt.NDArray[np.uint8] | int = 0,
) -> Requests:
    """Requests from their columns."""
    made = np.zeros(len(at), REQUEST)
    made["at"] = at
    made["order"] = order
    made["migratetype"] = migratetype
    made["flags"] = flags
    made["life"] = life
    made["op"] = op
    made["spare"] = spare
    return made


#: Requests of an actor in a tick that any machine takes.
_LEAST = 1 << 22


def most_in_a_tick(world: World) -> int:
    """Requests of an actor in a tick, at most: far beyond what the machine has room for."""
    return max(_LEAST, 16 * world.total_pages)


def within(count: float, most: int) -> float:
    """So many requests, unless they are more than ``most``. Raises InputError."""
    if count > most:
        raise InputError(
            f"{count:,.0f} requests of one actor in a tick: at most {most:,}; "
            "lower its rate, its size or its lifetime, or give more memory"
        )
    return count
