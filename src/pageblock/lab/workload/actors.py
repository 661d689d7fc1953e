"""The actors that ship: each a small description that can be written in TOML, and what it asks for tick by tick.

They stand for kinds of use, not for one program: what differs between them is what the allocator sees: migratetype, class,
order, how many at a time and for how long. Where a default has a source it is named.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ...mm import Migratetype, PageClass, PageFlag
from .quantities import FOREVER, QUANTILES, TICK, Amount, Lifetime, Orders, mean_one
from .requests import (
    Call,
    Requests,
    Running,
    World,
    at_random,
    make_requests,
    most_in_a_tick,
    no_requests,
    within,
)

__all__ = [
    "KINDS",
    "Anonymous",
    "Balloon",
    "Base",
    "Cma",
    "Contig",
    "Kernel",
    "Network",
    "PageCache",
    "Slab",
    "VirtualMachines",
]

U8 = npt.NDArray[np.uint8]

_ALLOC, _ALLOC_ATOMIC = 1, 5
_ANON = int(PageClass.ANON)
_THP = int(PageClass.THP) | int(PageFlag.COMPOUND)
_FILE = int(PageClass.FILE)
_CLEAN_FILE = int(PageClass.FILE) | int(PageFlag.CLEAN)
_PINNED = np.uint8(PageFlag.PINNED)
_PGTABLE = int(PageClass.PGTABLE)
_KERNEL = int(PageClass.KERNEL)
_COMPOUND = int(PageClass.COMPOUND) | int(PageFlag.COMPOUND)
_SLAB = int(PageClass.SLAB)
_BALLOON = int(PageClass.MOVABLE_OPS)

#: Pages that one page table maps: 4096 bytes of 8-byte entries.
_PER_TABLE = 512


@dataclass(frozen=True, kw_only=True)
class Base:
    """What every actor has."""

    kind: ClassVar[str] = ""
    name: str
    evictable: ClassVar[bool] = False
    splits: ClassVar[bool] = False
    needs_cma: ClassVar[bool] = False

    def share(self, **values: float) -> None:
        """Check values that are shares."""
        for name, value in values.items():
            if not 0 <= value <= 1:
                raise InputError(f"actor {self.name}: {name} is {value}: it is a share, 0 to 1")

    def positive(self, **values: float) -> None:
        """Check values that must not be negative, and not absurd."""
        for name, value in values.items():
            if not 0 <= value <= 1e12:
                raise InputError(f"actor {self.name}: {name} is {value}: give 0 to 10^12")

    def most_pages(self, world: World) -> int:
        """No limit."""
        return 0


def _arrivals(rng: np.random.Generator, mean: float, most: int) -> int:
    """How many come in a tick. Raises InputError for more than ``most`` on average."""
    return int(rng.poisson(within(mean, most))) if mean > 0 else 0


class _Asks:
    """An actor at work that calls for no contiguous range."""

    def calls(self, tick: int) -> list[Call]:
        return []


class _Steady(_Asks):
    """Single requests that keep ``pages`` in use: all of them in the first tick, then as many as come to their end.

    A workload so begins in its steady state, and not in an empty machine.
    """

    def __init__(self, actor: "Slab | Kernel", world: World, pages: float) -> None:
        self.actor = actor
        self.rng = world.rng
        at_once = pages / actor.orders.mean_pages
        self.most = most_in_a_tick(world)
        self.at_once = round(within(at_once, self.most))
        # those kept for ever are there from the start
        mean = max(actor.lifetime.mean, 1 / TICK)
        self.a_tick = at_once * (1 - actor.lifetime.forever) / mean
        self.short = Lifetime(actor.lifetime.mean, actor.lifetime.shape, actor.lifetime.sigma)

    def requests(self, tick: int) -> Requests:
        life = self.short.draw(self.rng, _arrivals(self.rng, self.a_tick, self.most))
        if tick == 0:
            life = np.concatenate([self.actor.lifetime.draw_left(self.rng, self.at_once), life])
        count = len(life)
        orders = self.actor.orders.draw(self.rng, count)
        migratetype, flags = self.actor.looks(self.rng, orders)
        return make_requests(at_random(self.rng, count), orders, migratetype, flags, life)


@dataclass(frozen=True, kw_only=True)
class Slab(Base):
    """Kernel objects: ``size`` in use, each slab for ``lifetime``; ``reclaimable`` of them dentries, inodes and the like."""

    kind: ClassVar[str] = "slab"
    size: Amount
    lifetime: Lifetime = Lifetime(500, "lognormal")
    orders: Orders = Orders(((0, 0.5), (1, 0.2), (2, 0.15), (3, 0.15)))
    reclaimable: float = 0.5

    def __post_init__(self) -> None:
        self.share(reclaimable=self.reclaimable)

    def start(self, world: World) -> Running:
        """At work."""
        return _Steady(self, world, self.size.pages(world.total_pages, world.page_size))

    def looks(self, rng: np.random.Generator, orders: U8) -> tuple[U8, U8]:
        """Migratetypes and flags."""
        reclaimable = rng.integers(0, QUANTILES, len(orders), np.uint16) < round(self.reclaimable * QUANTILES)
        types = np.where(reclaimable, int(Migratetype.RECLAIMABLE), int(Migratetype.UNMOVABLE)).astype(np.uint8)
        return types, np.where(orders > 0, _SLAB | int(PageFlag.COMPOUND), _SLAB).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Kernel(Base):
    """Other kernel memory that cannot move: drivers, stacks, vmalloc, rings."""

    kind: ClassVar[str] = "kernel"
    size: Amount
    lifetime: Lifetime = Lifetime(2000, "lognormal", forever=0.5)
    orders: Orders = Orders(((0, 0.8), (2, 0.2)))

    def start(self, world: World) -> Running:
        """At work."""
        return _Steady(self, world, self.size.pages(world.total_pages, world.page_size))

    def looks(self, rng: np.random.Generator, orders: U8) -> tuple[U8, U8]:
        """Migratetypes and flags."""
        return np.full(len(orders), int(Migratetype.UNMOVABLE), np.uint8), np.full(len(orders), _KERNEL, np.uint8)


@dataclass(frozen=True, kw_only=True)
class Network(Base):
    """Packets: ``rate`` of memory passes through buffers a tick, each held for a fraction of a tick.

    ``atomic``: share that asks with GFP_ATOMIC.

    ``burst``: sigma of the lognormal factor by which ticks differ. Order 3 is SKB_FRAG_PAGE_ORDER (net/core/sock.c).
    """

    kind: ClassVar[str] = "network"
    rate: Amount
    lifetime: Lifetime = Lifetime(0.2, "lognormal")
    orders: Orders = Orders(((0, 0.7), (3, 0.3)))
    atomic: float = 0.5
    burst: float = 0.5

    def __post_init__(self) -> None:
        self.share(atomic=self.atomic)
        if not 0 <= self.burst <= 4:
            raise InputError(f"actor {self.name}: burst is {self.burst}: give 0 to 4")

    def start(self, world: World) -> Running:
        """At work."""
        return _Packets(self, world)


class _Packets(_Asks):
    def __init__(self, actor: Network, world: World) -> None:
        self.actor, self.rng = actor, world.rng
        self.most = most_in_a_tick(world)
        self.a_tick = actor.rate.pages(world.total_pages, world.page_size) / actor.orders.mean_pages

    def requests(self, tick: int) -> Requests:
        rng, actor = self.rng, self.actor
        factor = mean_one("lognormal", actor.burst)[int(rng.integers(0, QUANTILES))]
        count = _arrivals(rng, self.a_tick * factor, self.most)
        orders = actor.orders.draw(rng, count)
        atomic = rng.integers(0, QUANTILES, count, np.uint16) < round(actor.atomic * QUANTILES)
        return make_requests(
            at_random(rng, count),
            orders,
            int(Migratetype.UNMOVABLE),
            np.where(orders > 0, _COMPOUND, _KERNEL).astype(np.uint8),
            actor.lifetime.draw(rng, count),
            op=np.where(atomic, _ALLOC_ATOMIC, _ALLOC).astype(np.uint8),
        )


@dataclass(frozen=True, kw_only=True)
class PageCache(Base):
    """File pages: ``rate`` read or written a tick, kept until reclaim takes them (the oldest first) or the file is deleted.

    ``size``: never more than this; ``file_size``: mean size of a file, read at one go and deleted whole; ``until``: tick after
    which nothing is read any more, 0: none; ``dirty``: share that must be migrated, the rest may be dropped; ``reread``: share
    that reclaim passes over once, as it was used again; ``orders``: large folios (since 5.18, where the file system has them).
    """

    kind: ClassVar[str] = "page-cache"
    evictable: ClassVar[bool] = True
    splits: ClassVar[bool] = True
    rate: Amount
    size: Amount = Amount(share=1.0)
    lifetime: Lifetime = Lifetime(0, "fixed", forever=1.0)
    file_size: Amount = Amount(size=64 << 10)
    until: int = 0
    orders: Orders = Orders()
    dirty: float = 0.1
    reread: float = 0.3

    def __post_init__(self) -> None:
        self.share(dirty=self.dirty, reread=self.reread)
        self.positive(until=self.until)

    def most_pages(self, world: World) -> int:
        """What ``size`` is on this machine."""
        return max(1, round(self.size.pages(world.total_pages, world.page_size)))

    def start(self, world: World) -> Running:
        """At work."""
        return _Reads(self, world)


class _Reads(_Asks):
    def __init__(self, actor: PageCache, world: World) -> None:
        self.actor, self.rng = actor, world.rng
        self.most = most_in_a_tick(world)
        of_file = max(1.0, actor.file_size.pages(world.total_pages, world.page_size) / actor.orders.mean_pages)
        self.files = actor.rate.pages(world.total_pages, world.page_size) / actor.orders.mean_pages / of_file
        self.requests_of = _sizes(of_file, 1.0 if of_file > 1 else 0.0, world.total_pages)

    def requests(self, tick: int) -> Requests:
        rng, actor = self.rng, self.actor
        files = _arrivals(rng, self.files, self.most) if not actor.until or tick < actor.until else 0
        of_file = self.requests_of[rng.integers(0, QUANTILES, files, np.uint16)]
        count = int(within(int(of_file.sum()), self.most))
        orders = actor.orders.draw(rng, count)
        chance = rng.integers(0, QUANTILES, count, np.uint16)
        # one draw for both: a share of the dirty and of the clean is read again
        dirty = chance < round(actor.dirty * QUANTILES)
        again = chance * 797 % QUANTILES < round(actor.reread * QUANTILES)
        flags = np.where(orders > 0, _THP, np.where(dirty, _FILE, _CLEAN_FILE)).astype(np.uint8)
        return make_requests(
            np.repeat(at_random(rng, files), of_file),
            orders,
            int(Migratetype.MOVABLE),
            flags,
            np.repeat(actor.lifetime.draw(rng, files), of_file),
            spare=again.astype(np.uint8),
        )


def _sizes(mean: float, sigma: float, most: int) -> npt.NDArray[np.int64]:
    """Quantiles of whole sizes, lognormal, 1 to ``most``."""
    return np.array([min(max(1, round(factor * mean)), most) for factor in mean_one("lognormal", sigma)], np.int64)


@dataclass(frozen=True, kw_only=True)
class Anonymous(Base):
    """Processes: ``rate`` start a tick, each with ``size`` of memory (lognormal with ``spread``) until it ends.

    ``thp``: share of a process's memory in huge pages of ``thp_order``, where one can be had, else in base pages;
    ``page_tables``: one UNMOVABLE page for each 512; ``until``: tick after which none start any more, 0: none;
    ``pinned``: share of the base pages that somebody else holds a reference on as long as they live, so that they cannot
    move (get_user_pages: with a short ``lifetime``, direct I/O in flight).

    In the first tick as many start as a steady state has.
    """

    kind: ClassVar[str] = "anonymous"
    splits: ClassVar[bool] = True
    rate: float
    size: Amount
    lifetime: Lifetime = Lifetime(100, "lognormal")
    spread: float = 1.0
    thp: float = 0.5
    thp_order: int = 9
    page_tables: bool = True
    until: int = 0
    pinned: float = 0.0

    def __post_init__(self) -> None:
        self.share(thp=self.thp, pinned=self.pinned)
        self.positive(rate=self.rate, until=self.until)
        if not 0 <= self.spread <= 3 or not 1 <= self.thp_order <= 26:
            raise InputError(
                f"actor {self.name}: spread is {self.spread}, thp_order {self.thp_order}: give 0 to 3, and 1 to 26"
            )

    def start(self, world: World) -> Running:
        """At work."""
        return _Processes(self, world)


class _Processes(_Asks):
    def __init__(self, actor: Anonymous, world: World) -> None:
        self.actor, self.rng = actor, world.rng
        self.most = most_in_a_tick(world)
        mean = actor.size.pages(world.total_pages, world.page_size)
        # none alone has more than the machine
        self.sizes = _sizes(mean, actor.spread, world.total_pages)
        # a machine without blocks of that order has no such huge pages
        self.thp = actor.thp if actor.thp_order <= world.max_order else 0.0

    def requests(self, tick: int) -> Requests:
        rng, actor = self.rng, self.actor
        if actor.until and tick >= actor.until:
            return no_requests()
        life = _lives(rng, actor.lifetime, actor.rate, tick, self.most)
        sizes = self.sizes[rng.integers(0, QUANTILES, len(life), np.uint16)]
        return _faults(rng, sizes, life, self.thp, actor.thp_order, actor.page_tables, self.most, actor.pinned)


def _lives(rng: np.random.Generator, lifetime: Lifetime, rate: float, tick: int, most: int) -> npt.NDArray[np.int64]:
    """Lives of those that begin in a tick; with the first, of as many as a steady state has."""
    life = lifetime.draw(rng, _arrivals(rng, rate, most))
    if tick:
        return life
    return np.concatenate([lifetime.draw_left(rng, _arrivals(rng, rate * lifetime.mean, most)), life])


def _faults(
    rng: np.random.Generator,
    sizes: npt.NDArray[np.int64],
    life: npt.NDArray[np.int64],
    thp: float,
    thp_order: int,
    page_tables: bool,
    most: int,
    pinned: float = 0.0,
) -> Requests:
    """The pages of processes of these sizes, touched in the course of the tick; all of one process end together."""
    within(float(sizes.sum()), most)
    huge = (sizes * thp).astype(np.int64) >> thp_order
    base = sizes - (huge << thp_order)
    tables = sizes // _PER_TABLE + 1 if page_tables else np.zeros_like(sizes)
    parts = []
    for counts, order, migratetype, flags in (
        (huge, thp_order, Migratetype.MOVABLE, _THP),
        (base, 0, Migratetype.MOVABLE, _ANON),
        (tables, 0, Migratetype.UNMOVABLE, _PGTABLE),
    ):
        nr = int(counts.sum())
        if nr:
            made = make_requests(at_random(rng, nr), order, int(migratetype), flags, np.repeat(life, counts))
            if pinned and flags == _ANON:
                made["flags"] |= np.where(
                    rng.integers(0, QUANTILES, nr, np.uint16) < round(pinned * QUANTILES), _PINNED, 0
                )
            parts.append(made)
    return np.concatenate(parts) if parts else no_requests()


@dataclass(frozen=True, kw_only=True)
class VirtualMachines(Base):
    """A host's guests: ``rate`` start a tick, each with ``size`` of memory, touched at once, until it ends.

    ``balloon``: share of a guest's memory that its balloon gives back to the host and takes again, by turns of
    ``balloon_period`` ticks; it is base pages, as balloons work in pages of 4 KiB.
    """

    kind: ClassVar[str] = "vm"
    splits: ClassVar[bool] = True
    rate: float
    size: Amount
    lifetime: Lifetime = Lifetime(500, "lognormal", 1.0)
    thp: float = 0.8
    thp_order: int = 9
    balloon: float = 0.2
    balloon_period: int = 50

    def __post_init__(self) -> None:
        self.share(thp=self.thp, balloon=self.balloon)
        self.positive(rate=self.rate)
        if not 1 <= self.thp_order <= 26 or not 1 <= self.balloon_period <= 1 << 30:
            raise InputError(
                f"actor {self.name}: thp_order is {self.thp_order}, balloon_period {self.balloon_period}: "
                "give 1 to 26, and 1 or more ticks"
            )

    def start(self, world: World) -> Running:
        """At work."""
        return _Guests(self, world)


class _Guests(_Asks):
    """Each guest's ballooned part is a request of its own for each turn that the host backs it."""

    def __init__(self, actor: VirtualMachines, world: World) -> None:
        self.actor, self.rng = actor, world.rng
        self.most = most_in_a_tick(world)
        self.size = max(1, round(actor.size.pages(world.total_pages, world.page_size)))
        self.thp = actor.thp if actor.thp_order <= world.max_order else 0.0
        # tick of the next deflation, tick of the end
        self.guests: list[tuple[int, int]] = []

    def requests(self, tick: int) -> Requests:
        rng, actor = self.rng, self.actor
        life = _lives(rng, actor.lifetime, actor.rate, tick, self.most)
        count = len(life)
        parts = []
        ballooned = int(self.size * actor.balloon)
        if count:
            fixed = np.full(count, self.size - ballooned, np.int64)
            parts.append(_faults(rng, fixed, life, self.thp, actor.thp_order, True, self.most))
        ends = np.where(life == FOREVER, 1 << 60, tick + life // TICK).tolist()
        turn = actor.balloon_period
        due = [end for at, end in self.guests if at == tick and end > tick] + ends
        if due and ballooned:
            back = np.array([min(turn, max(end - tick, 1)) for end in due], np.int64) * TICK
            parts.append(_faults(rng, np.full(len(due), ballooned, np.int64), back, 0.0, 1, False, self.most))
        self.guests = [(at, end) for at, end in self.guests if at > tick and end > tick]
        self.guests += [(tick + 2 * turn, end) for end in due]
        return np.concatenate(parts) if parts else no_requests()


@dataclass(frozen=True, kw_only=True)
class Balloon(Base):
    """The balloon inside a guest: takes ``size``, page by page, in ``inflate`` ticks, holds it, gives it back.

    So every ``period`` ticks.

    Its pages are MOVABLE_OPS: the driver can move them (drivers/virtio/virtio_balloon.c with CONFIG_BALLOON_COMPACTION).
    """

    kind: ClassVar[str] = "balloon"
    size: Amount
    period: int = 100
    inflate: int = 10
    hold: float = 50

    def __post_init__(self) -> None:
        self.positive(hold=self.hold)
        if not 1 <= self.inflate <= self.period <= 1 << 30:
            raise InputError(
                f"actor {self.name}: inflate is {self.inflate}, period {self.period}: give 1 <= inflate <= period ticks"
            )

    def start(self, world: World) -> Running:
        """At work."""
        return _Inflates(self, world)


class _Inflates(_Asks):
    def __init__(self, actor: Balloon, world: World) -> None:
        self.actor, self.rng = actor, world.rng
        self.pages = round(actor.size.pages(world.total_pages, world.page_size))

    def requests(self, tick: int) -> Requests:
        actor = self.actor
        phase = tick % actor.period
        if phase >= actor.inflate:
            return no_requests()
        count = self.pages * (phase + 1) // actor.inflate - self.pages * phase // actor.inflate
        life = int(actor.hold * TICK)
        return make_requests(at_random(self.rng, count), 0, int(Migratetype.MOVABLE), _BALLOON, life)


@dataclass(frozen=True, kw_only=True)
class Cma(Base):
    """A camera or a display: every ``period`` ticks ``count`` buffers of ``size`` by cma_alloc, kept for ``hold`` ticks.

    ``align``: order of their alignment; by default that of their size, at most CONFIG_CMA_ALIGNMENT's 8
    (kernel/dma/contiguous.c); ``first``: tick of the first; ``together``: the buffers of one time are given back at one time,
    too, as a stream's ring is.
    """

    kind: ClassVar[str] = "cma"
    needs_cma: ClassVar[bool] = True
    size: Amount
    count: int = 1
    period: float = 10
    hold: Lifetime = Lifetime(5, "uniform")
    align: int = -1
    first: int = 0
    together: bool = False

    def __post_init__(self) -> None:
        self.positive(period=self.period, first=self.first)
        if not 1 <= self.count <= 1 << 16 or not -1 <= self.align < 64 or self.period <= 0:
            raise InputError(
                f"actor {self.name}: count is {self.count}, align {self.align}, period {self.period}: "
                "give 1 to 65536 buffers, an order up to 63, and a period above 0"
            )

    def start(self, world: World) -> Running:
        """At work."""
        return _Buffers(self, world)


class _Buffers:
    def __init__(self, actor: Cma, world: World) -> None:
        self.actor, self.rng = actor, world.rng
        self.pages = max(1, math.ceil(actor.size.pages(world.total_pages, world.page_size)))
        size_order = (self.pages - 1).bit_length()
        self.align = min(size_order, 8) if actor.align < 0 else actor.align
        self.next = float(actor.first)

    def requests(self, tick: int) -> Requests:
        return no_requests()

    def calls(self, tick: int) -> list[Call]:
        calls: list[Call] = []
        while self.next < tick + 1:
            at = int(self.rng.integers(0, TICK)) if self.actor.period >= 1 else int((self.next - tick) * TICK)
            lives = self.actor.hold.draw(self.rng, 1 if self.actor.together else self.actor.count).tolist()
            for life in lives * (self.actor.count // len(lives)):
                calls.append(Call(at, "cma", self.pages, self.align, life))
            self.next += self.actor.period
        return calls


@dataclass(frozen=True, kw_only=True)
class Contig(Base):
    """Ranges by alloc_contig_range: every ``period`` ticks ``count`` of ``size``, kept for ``hold`` ticks.

    ``place``: ``first``, the first that can be had, as gigantic huge pages do (alloc_contig_pages), or ``random``, each at an
    aligned place of its own, as drivers that want a certain range do (virtio-mem).
    """

    kind: ClassVar[str] = "contig"
    size: Amount
    count: int = 1
    period: int = 10
    hold: Lifetime = Lifetime(0, "fixed")
    place: str = "random"

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1 << 16 or not 1 <= self.period <= 1 << 30:
            raise InputError(
                f"actor {self.name}: count is {self.count}, period {self.period}: give 1 to 65536 ranges, 1 or more ticks"
            )
        if self.place not in ("first", "random"):
            raise InputError(f"actor {self.name}: place is {self.place!r}: choose first or random")

    def start(self, world: World) -> Running:
        """At work."""
        return _Ranges(self, world)


@dataclass
class _Ranges:
    actor: Contig
    world: World
    pages: int = field(init=False)

    def __post_init__(self) -> None:
        pages = int(self.actor.size.pages(self.world.total_pages, self.world.page_size))
        if pages < 1 or pages & (pages - 1):
            raise InputError(
                f"actor {self.actor.name}: size is {pages} pages: alloc_contig_pages aligns to it, so give a power of two"
            )
        self.pages = pages

    def requests(self, tick: int) -> Requests:
        return no_requests()

    def calls(self, tick: int) -> list[Call]:
        if tick % self.actor.period:
            return []
        rng, kind = self.world.rng, "first" if self.actor.place == "first" else "placed"
        places = at_random(rng, self.actor.count).tolist()
        lives = self.actor.hold.draw(rng, self.actor.count).tolist()
        times = sorted(at_random(rng, self.actor.count).tolist())
        return [
            Call(at, kind, self.pages, 0, life, place) for at, life, place in zip(times, lives, places, strict=True)
        ]


#: Name in a workload file -> class.
KINDS: dict[str, type[Base]] = {
    kind.kind: kind for kind in (Anonymous, Balloon, Cma, Contig, Kernel, Network, PageCache, Slab, VirtualMachines)
}
