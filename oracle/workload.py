"""Lists of requests for the recorder, from a seed: the same seed gives the same list anywhere.

A list is lines of text, one request each (docs/oracle.md): ``a HANDLE ORDER KIND``, ``f HANDLE``,
``c HANDLE START COUNT``, ``g HANDLE``, ``s START COUNT`` and ``u START COUNT`` (isolation and its end), ``k`` (compact),
``h`` (hash the state), ``d`` (dump it). The generator never sees an answer: it knows what it asked for, not what it got.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from .errors import UsageError
from .requests import MAX_ORDER_PAGES, PAGEBLOCK_PAGES, Requests
from .stories import (
    compact,
    compact_large,
    edges,
    highatomic,
    isolated_neighbours,
    isolated_plain_block,
    isolations,
    past_end,
    pcp_overflow,
    steal_threshold,
)

__all__ = ["PAGES_PER_MIB", "PROFILES", "Profile", "generate"]

PAGES_PER_MIB = 256
#: Requests that one burst may make at most.
BURST_REQUESTS = 1500

Weights = dict[str, float]
Orders = dict[int, float]
Range = tuple[int, int]


@dataclass(frozen=True)
class Mix:
    """A random walk: what it asks for, and how full it keeps the zone.

    ``fill`` bounds the share of the zone in use, ``contig`` is the chance that a step is a contig
    request (or the return of one), ``ranges`` the kinds of range it asks for.
    """

    kinds: Weights
    orders: Orders
    fill: tuple[float, float]
    contig: float = 0.0
    ranges: tuple[str, ...] = ("block",)


def _block(rng: Random, pages: int) -> Range:
    return rng.randrange(pages // PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES, PAGEBLOCK_PAGES


def _blocks(rng: Random, pages: int) -> Range:
    count = min(rng.choice((2, 3, 4, 8, 16, 32)), pages // PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES
    return rng.randrange((pages - count) // PAGEBLOCK_PAGES + 1) * PAGEBLOCK_PAGES, count


def _any(rng: Random, pages: int) -> Range:
    count = rng.randrange(1, 4000)
    return rng.randrange(pages - count), count


def _small(rng: Random, pages: int) -> Range:
    count = rng.choice((1, 7, 64, 100, 511, 513))
    return rng.randrange(pages - count), count


def _straddle(rng: Random, pages: int) -> Range:
    boundary = rng.randrange(1, pages // MAX_ORDER_PAGES) * MAX_ORDER_PAGES
    left, right = (rng.choice((1, 50, 256, 512, 700)) for _ in range(2))
    return boundary - left, left + right


RANGES: dict[str, Callable[[Random, int], Range]] = {
    "any": _any,
    "block": _block,
    "blocks": _blocks,
    "small": _small,
    "straddle": _straddle,
}


@dataclass
class Walk:
    """One random walk over a zone."""

    mix: Mix
    rng: Random
    req: Requests
    target: float = 0.0
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def run(self, nr_ops: int) -> None:
        """Add about ``nr_ops`` requests (a burst may overshoot)."""
        self.retarget()
        while self.req.nr_ops < nr_ops:
            if self.rng.random() < 1 / 2500:
                self.retarget()
            if self.rng.random() < 1 / 3000:
                self.burst()
            elif self.rng.random() < self.mix.contig:
                self.contig()
            elif self.rng.random() < (0.62 if self.req.pages < self.target else 0.38):
                self.alloc()
            else:
                self.free()

    def retarget(self) -> None:
        """Choose how full the zone shall be from here on, in pages."""
        self.target = self.rng.uniform(*self.mix.fill) * self.req.zone_pages

    def choose_kind(self) -> str:
        """A kind of request by its weight."""
        return self.rng.choices(list(self.mix.kinds), list(self.mix.kinds.values()))[0]

    def alloc(self) -> None:
        """Ask for one block of a random order and kind."""
        order = self.rng.choices(list(self.mix.orders), list(self.mix.orders.values()))[0]
        self.req.alloc(order, self.legal(self.choose_kind(), order))

    def legal(self, kind: str, order: int) -> str:
        """The kind to write for a request of ``order``: compound or not, migratable or not."""
        if kind in "mM":
            if order == 0:
                return "m"
            kind = "M" if kind == "M" else self.rng.choice("MMp")
        if order and kind != "M" and self.rng.random() < 0.3:
            kind = kind.upper()
        return kind

    def free(self) -> None:
        """Give one block back: the youngest in a third of the cases, else any."""
        if not self.req.live:
            return
        youngest = self.rng.random() < 1 / 3
        index = len(self.req.live) - 1 if youngest else self.rng.randrange(len(self.req.live))
        self.req.free(index)

    def burst(self) -> None:
        """Walk a good part of the way to the target at once."""
        missing = int(self.target) - self.req.pages
        if missing > 0:
            kind = self.choose_kind()
            order = 9 if kind == "M" else 0
            for _ in range(min(missing >> order, BURST_REQUESTS)):
                self.req.alloc(order, kind)
        elif missing < -BURST_REQUESTS:
            self.req.free_at_random(self.rng, min(len(self.req.live) // 2, BURST_REQUESTS))

    def contig(self) -> None:
        """Ask for a range, or give one back: at most a quarter of the zone is held in ranges."""
        held = sum(count for _, count in self.ranges)
        if self.ranges and (held > self.req.zone_pages / 4 or self.rng.random() < 0.35):
            handle, _ = self.ranges.pop(self.rng.randrange(len(self.ranges)))
            self.req.release(handle)
            return
        start, count = RANGES[self.rng.choice(self.mix.ranges)](self.rng, self.req.zone_pages)
        self.ranges.append((self.req.contig(start, count), count))


@dataclass(frozen=True)
class Profile:
    """A named way to make requests.

    ``write`` adds about as many requests as asked for. ``zone_mib``, ``pcp`` and ``nr_ops`` are
    what the profile is best recorded with; ``early``: only a zone that is there at boot will do.
    """

    about: str
    write: Callable[[Random, Requests, int], None]
    zone_mib: int = 512
    pcp: bool = False
    nr_ops: int = 30_000
    early: bool = False


def _walk(about: str, mix: Mix, *, pcp: bool = False, nr_ops: int = 30_000, zone_mib: int = 128) -> Profile:
    def write(rng: Random, req: Requests, wanted: int) -> None:
        Walk(mix, rng, req).run(wanted)

    return Profile(about, write, zone_mib=zone_mib, pcp=pcp, nr_ops=nr_ops)


ORDER_0: Orders = {0: 1}
MOSTLY_SMALL: Orders = {0: 70, 1: 9, 2: 6, 3: 5, 4: 3, 5: 2, 6: 1.5, 7: 1, 8: 0.8, 9: 1.4, 10: 0.3}

MIXED = Mix(
    {"u": 25, "r": 15, "m": 55, "p": 5},
    MOSTLY_SMALL,
    (0.1, 0.85),
    0.01,
    ("block", "blocks", "any", "straddle", "small"),
)
HUGE = Mix(
    {"u": 5, "r": 5, "M": 90},
    {9: 60, 0: 20, 2: 10, 4: 10},
    (0.1, 0.7),
    0.02,
    ("block", "blocks", "any", "straddle"),
)

PROFILES: dict[str, Profile] = {
    "ord0": _walk(
        "single movable pages, whole pageblocks taken",
        Mix({"m": 1}, ORDER_0, (0.1, 0.8), 0.01, ("block", "blocks")),
    ),
    "mixed": _walk("all kinds and orders, ranges of all kinds", MIXED, nr_ops=60_000, zone_mib=256),
    "unaligned": _walk(
        "ranges that start and end anywhere",
        Mix(
            {"u": 6, "r": 4, "m": 90},
            {0: 80, 1: 8, 2: 6, 3: 6},
            (0.1, 0.7),
            0.02,
            ("any", "small", "small"),
        ),
    ),
    "straddle": _walk(
        "ranges across the boundary between two free pages of the largest order",
        Mix(
            {"u": 3, "r": 2, "m": 95},
            {0: 60, 3: 10, 9: 20, 10: 10},
            (0.05, 0.5),
            0.03,
            ("straddle", "straddle", "block"),
        ),
    ),
    "unmovable": _walk(
        "mostly kernel memory, so that most ranges are refused",
        Mix(
            {"u": 60, "r": 30, "m": 10},
            {0: 70, 1: 10, 2: 10, 3: 10},
            (0.2, 0.9),
            0.01,
            ("block", "blocks", "any"),
        ),
    ),
    "nearfull": _walk(
        "around the watermarks: requests fail, migration spills to the other node",
        Mix(
            {"u": 10, "r": 10, "m": 78, "p": 2},
            {0: 80, 1: 5, 2: 5, 3: 5, 9: 5},
            (0.85, 1.1),
            0.01,
            ("block", "blocks", "any", "small"),
        ),
    ),
    "thp": _walk("huge pages that migrate whole", HUGE, nr_ops=20_000),
    "low": _walk(
        "no ranges at all: free, merge, split and steal alone",
        Mix({"u": 30, "r": 20, "m": 50}, {0: 75, 1: 10, 2: 8, 3: 7}, (0.1, 0.9)),
    ),
    "steal": Profile(
        "pageblocks that hold just under, at and over half a block of pages of one kind",
        steal_threshold,
        zone_mib=128,
        nr_ops=40_000,
    ),
    "highatomic": Profile(
        "atomic requests below the watermarks: reserved pageblocks",
        highatomic,
        zone_mib=256,
        nr_ops=30_000,
    ),
    "pcp-mixed": _walk("mixed, with the per-cpu lists on", MIXED, pcp=True, nr_ops=40_000, zone_mib=256),
    "pcp-thp": _walk("thp, with the per-cpu lists on", HUGE, pcp=True, nr_ops=20_000),
    "pcp-overflow": Profile(
        "bursts that overflow the per-cpu lists, and what speeds up or resets their draining",
        pcp_overflow,
        zone_mib=128,
        pcp=True,
        nr_ops=40_000,
    ),
    "edges": Profile(
        "ranges one page around every boundary, over each other, and empty ones",
        edges,
        zone_mib=128,
        nr_ops=10_000,
    ),
    "past-end": Profile(
        "ranges that reach past the zone's end (with --early)",
        past_end,
        zone_mib=128,
        nr_ops=4_000,
        early=True,
    ),
    "isolate": Profile(
        "pageblocks that stay isolated while all else goes on",
        isolations,
        zone_mib=128,
        nr_ops=20_000,
    ),
    "isolate-plain": Profile(
        "a block above pageblock order that is no compound page, isolated in part and freed whole",
        isolated_plain_block,
        zone_mib=128,
        nr_ops=4,
    ),
    "isolate-neighbours": Profile(
        "two callers on neighbouring pageblocks, the first of which gives its own back",
        isolated_neighbours,
        zone_mib=128,
        nr_ops=43,
    ),
    "compact": Profile(
        "compaction of a zone that is fragmented in several ways, ranges and requests in between",
        compact,
        zone_mib=128,
        nr_ops=9_000,
    ),
    "compact-large": Profile(
        "compact, with large movable pages",
        compact_large,
        zone_mib=128,
        nr_ops=9_000,
    ),
    "pcp-compact": Profile(
        "compact, with the per-cpu lists on",
        compact,
        zone_mib=128,
        pcp=True,
        nr_ops=9_000,
    ),
    "pcp-compact-large": Profile(
        "compact-large, with the per-cpu lists on",
        compact_large,
        zone_mib=128,
        pcp=True,
        nr_ops=9_000,
    ),
}


def generate(profile: str, seed: int, nr_ops: int, zone_pages: int) -> list[str]:
    """The lines of a list of about ``nr_ops`` requests for a zone of ``zone_pages`` pages.

    Raises:
        UsageError: unknown profile, no requests, or a zone too small for any range.
    """
    if profile not in PROFILES:
        raise UsageError(f"no profile {profile!r}: one of {', '.join(PROFILES)}")
    if nr_ops < 1:
        raise UsageError(f"{nr_ops} requests: at least 1")
    if zone_pages < 128 * PAGES_PER_MIB:
        raise UsageError(f"a zone of {zone_pages} pages: at least {128 * PAGES_PER_MIB} (128 MiB)")
    req = Requests(zone_pages, hash_every=max(200, nr_ops // 200))
    req.comment(f"profile={profile} seed={seed} nr_ops={nr_ops} zone_pages={zone_pages}")
    PROFILES[profile].write(Random(seed), req, nr_ops)
    req.hash()
    return req.lines
