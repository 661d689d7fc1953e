"""The Python face of the model: every method with sound and with senseless arguments.

A call that is refused leaves the zone as it was; nothing but the package's own exceptions leaves a call; and whatever was
accepted, what follows must not crash.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from ...errors import GeometryError, InputError, InvariantError, PageblockError, RangeError, ReleaseError, UsageError
from ...mm import OPERATION, Migratetype, PageClass, Zone
from ..reference import RELEASES
from ..world import random_world
from .judge import Fault, Outcome, where
from .mutate import NUMBERS, odd_value

__all__ = ["REFUSALS", "ask_batch", "ask_state", "ask_zone", "odd_argument"]

#: Refused before anything was done; the others (-EBUSY, out of memory, a kernel's BUG) are answers.
REFUSALS = (UsageError, RangeError, GeometryError, ReleaseError, InputError)

#: Pages of a zone from which on it would take the machine's memory, up to where it is refused.
LARGE, REFUSED = 1 << 20, 1 << 32


class Index:
    """Something that can be a whole number."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value  # type: ignore[no-any-return]


def odd_argument(random: Random) -> Any:
    """What should be a number, and is a strange one or none."""
    how = random.randrange(8)
    if how < 5:
        return odd_value(random)
    if how == 5:
        return random.choice(
            (np.uint64(2**64 - 1), np.int8(-1), np.float64(3), np.bool_(True), np.int64(5), np.array(3), np.array([3]))
        )
    if how == 6:
        return Index(random.choice((3, -1, 2**70, "x", None)))
    return random.choice((Migratetype.CMA, PageClass.THP, PageClass.HOLE, Zone, len))


def small(zone: Zone, random: Random) -> dict[str, Callable[[], Any]]:
    """Sound values by what they are."""
    order = zone.geometry.pageblock_order
    block = 1 << order

    def aligned() -> int:
        return random.randrange(zone.start_pfn, zone.end_pfn + 1) >> order << order

    return {
        "pfn": lambda: random.randrange(zone.start_pfn, zone.end_pfn),
        "block": aligned,
        "end": lambda: random.choice(
            (zone.end_pfn, aligned(), aligned() + block, random.randrange(zone.start_pfn, zone.end_pfn + 1))
        ),
        "order": lambda: random.randint(0, zone.geometry.max_order),
        "mt": lambda: random.choice(list(Migratetype)),
        "class": lambda: random.choice(list(PageClass)),
        "pages": lambda: random.choice((1, 2, 4, block, 3 * block, zone.geometry.nr_pages)),
        "bool": lambda: random.random() < 0.5,
        "few": lambda: random.randint(0, 8),
        "flags": lambda: random.choice((0, 2, 3, 32, 39)),
        "pfns": lambda: numbers(zone.start_pfn, zone.end_pfn, random),
        "counts": lambda: numbers(1, block + 1, random),
        "orders": lambda: numbers(0, zone.geometry.max_order + 1, random),
        "mts": lambda: numbers(0, 6, random),
        "classes": lambda: numbers(0, 16, random),
        "bits": lambda: np.zeros(random.choice((1, 2)), np.uint8),
        "types": lambda: np.array([random.choice((0, 1, 1, 2, 3, 4, 5)) for _ in zone.pageblock_types]),
        "handles": lambda: random.choice(
            (None, np.full(4, 2**32 - 1, np.uint32), np.array([0, 1, 2**32 - 2], np.uint32), np.arange(3))
        ),
    }


def numbers(low: int, high: int, random: Random) -> Any:
    """An array of one or two numbers, sometimes of an odd type, shape or length."""
    values = [random.randrange(low, high) for _ in range(random.choice((1, 1, 1, 2, 2, 0)))]
    how = random.random()
    if how < 0.8:
        return values
    if how < 0.9:
        return np.array(
            values, random.choice((np.int32, np.uint32, np.int64, np.uint64, np.float64, object, "U3", bool))
        )
    return random.choice(
        (
            np.array([values]),
            np.zeros((0, 3)),
            [values],
            [None],
            [random.choice(NUMBERS)],
            np.array(values * 2)[::-1],
            values * 1000,
        )
    )


#: Method -> what it takes. A word with ``=`` is a keyword, which may be left out.
METHODS: dict[str, str] = {
    "alloc": "order mt page_class=class compound=bool pinned=bool clean=bool owner=few atomic=bool",
    "free": "pfn",
    "free_list": "order mt",
    "page": "pfn",
    "survey": "pfn pages few",
    "init_cma_reserved_pageblock": "block",
    "alloc_contig_range": "pfn end mt page_class=class owner=few handles=handles",
    "alloc_contig_pages": "pages page_class=class owner=few",
    "free_contig_range": "pfn pages",
    "first_invalid_contig": "pfn end",
    "prep_compound_page": "pfn order class",
    "split_page": "pfn",
    "free_reserved_page": "pfn",
    "start_isolate_page_range": "pfn end mt",
    "undo_isolate_page_range": "pfn end mt",
    "compact_memory": "handles",
    "compact_quietly": "",
    "digests": "mt",
    "observe": "bool",
    "copy": "",
    "load_pageblocks": "types",
    "load_pages": "pfns counts classes orders bits",
    "load_free": "pfns orders mts",
    "load_cma": "block end",
    "set_watermarks": "few few few lowmem_reserve=few managed_pages=pages boost=few boost_factor=few",
    "set_highatomic": "pages few",
    "set_counters": "nr_free_pages=few nr_free_cma_pages=few nr_isolate_pageblock=few",
    "set_pcp": "pages few free_factor=few high_min=few high_max=few free_count=few alloc_factor=few flags=few",
    "load_pcp": "few pfns",
    "pcp_list": "few",
    "pcp_state": "",
    "reserves": "",
    "blocks_in": "pfn end",
    "drain_all_pages": "",
    "unreserve_highatomic_pageblock": "mt bool",
    "set_targets_may_spill": "bool",
    "set_spill_target": "bool",
    "set_stat_threshold": "few",
    "vm_stats": "",
    "refresh_vm_stats": "",
    "get_page": "order mt flags",
    "set_signal_pending": "bool",
    "zone_pcp_disable": "",
    "zone_pcp_enable": "bool",
    "lru_cache_disable": "",
    "drop_clean_pages": "",
    "set_targets_elsewhere": "bool",
    "isolate_for_offline": "block end",
    "undo_isolate_for_offline": "block end",
    "set_hugetlb_free": "pfn bool",
    "scan_movable_pages": "pfn end bool",
    "do_migrate_range": "pfn end",
    "why_not_isolated": "pfn end",
    "offline_isolated_pages": "block end",
    "move_pfn_range_to_zone": "block end",
    "generic_online_page": "pfn order",
    "adjust_managed_page_count": "few",
    "first_hole": "pfn end",
    "nr_holes": "pfn end",
    "nr_free_hugetlb": "order",
    "is_offline": "pfn end",
}


def used_zone(random: Random) -> Zone:
    """A small zone of some release after some sound operations."""
    world = random_world(random.choice(list(RELEASES)), random)
    if random.random() < 0.15:
        zone = Zone(
            world.nr_pages, world.release, world.start_pfn, world.max_order, world.pageblock_order, populate=False
        )
    else:
        zone = world.zone()
    if random.random() < 0.3:
        zone.set_pcp(random.choice((0, 8, 60)), random.choice((1, 4, 15)))
    taken: list[int] = []
    for _ in range(random.choice((0, 5, 40))):
        try:
            if taken and random.random() < 0.4:
                zone.free(taken.pop(random.randrange(len(taken))))
            else:
                mt = random.choice((0, 1, 1, 2))
                taken.append(
                    zone.alloc(
                        random.choice((0, 0, 0, 1, 2)), mt, pinned=random.random() < 0.1, atomic=random.random() < 0.1
                    )
                )
        except PageblockError:
            continue
    return zone


def same(one: Any, other: Any) -> bool:
    """Whether two saved states are equal in every value."""
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, dict):
        return all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def call(zone: Zone, name: str, function: Callable[..., Any], args: list[Any], named: dict[str, Any]) -> Outcome:
    """Make a call; how it ended. Raises Fault where it raised what it may not, or changed a zone and refused."""
    before = zone.saved_state()
    shown = (
        f"{zone!r}.{name}({', '.join([*(f'{a!r:.60}' for a in args), *(f'{k}={v!r:.60}' for k, v in named.items())])})"
    )
    try:
        function(*args, **named)
    except REFUSALS as error:
        text = str(error)
        if "\n" in text or len(text) > 1000 or len(text) < 10:
            raise Fault(f"not a clear line: {name}", f"{text[:300]!r}, {shown}") from error
        if not same(before, zone.saved_state()):
            raise Fault(f"refused, but the zone changed: {name}", f"{text}, {shown}") from error
        return "refused"
    except PageblockError as error:
        if "\n" in str(error):
            raise Fault(f"not a clear line: {name}", f"{str(error)!r:.300}, {shown}") from error
        return "no"
    except BaseException as error:
        raise Fault(f"traceback: {where(error)} in {name}", f"{' '.join(str(error).split())[:200]}, {shown}") from error
    return "answered"


def arguments(zone: Zone, takes: str, odd: float, random: Random) -> tuple[list[Any], dict[str, Any]]:
    """Arguments for a method, each odd with some probability."""
    sound = small(zone, random)
    args: list[Any] = []
    named: dict[str, Any] = {}
    for word in takes.split():
        key, equals, kind = word.rpartition("=")
        if equals and random.random() < 0.7:
            continue
        given = odd_argument(random) if random.random() < odd else sound[kind]()
        if equals:
            named[key] = given
        else:
            args.append(given)
    return args, named


#: After these a zone need not be consistent: they load what a kernel had, and the caller says what that was.
LOADING = {
    "load_pageblocks", "load_pages", "load_free", "load_pcp", "load_cma", "set_counters", "set_highatomic", "load_state", "run",
    "start_isolate_page_range", "undo_isolate_page_range", "isolate_for_offline", "undo_isolate_for_offline",
    "move_pfn_range_to_zone",
    "offline_isolated_pages", "generic_online_page", "alloc_contig_range", "alloc_contig_pages", "init_cma_reserved_pageblock",
    "free_reserved_page",
}  # fmt: skip


def ask_zone(random: Random) -> Outcome:
    """Some calls on one zone, sound and not; "refused" if one was."""
    if random.random() < 0.1:
        return ask_creation(random)
    zone = used_zone(random)
    ended: set[Outcome] = set()
    # naive and 5.15 merge CMA with others and miscount by themselves
    loaded = not sound(zone)
    for _ in range(random.choice((1, 4, 12))):
        name = random.choice(list(METHODS))
        args, named = arguments(zone, METHODS[name], random.choice((0.0, 0.2, 0.5, 1.0)), random)
        if name == "observe":
            args = [random.choice((None, 5, "x", lambda event: None))]
        if name == "set_spill_target":
            args = [random.choice((None, None, 5, "x"))]
        ended.add(call(zone, name, getattr(zone, name), args, named))
        loaded |= name in LOADING
        look(zone, name, loaded)
    return "refused" if "refused" in ended else "no" if "no" in ended else "answered"


def sound(zone: Zone) -> bool:
    """Whether every invariant holds."""
    try:
        zone.check()
    except InvariantError:
        return False
    return True


def look(zone: Zone, name: str, loaded: bool) -> None:
    """Every invariant, where nothing was loaded that may break one; else that asking for them does no harm."""
    try:
        zone.check()
        zone.free_counts()
        _ = zone.free_blocks, zone.pageblock_types, zone.watermarks, zone.nr_pcp_pages
    except InvariantError as error:
        if not loaded:
            raise Fault(f"invariant broken after {name}", str(error)) from error
    except BaseException as error:
        raise Fault(f"traceback: {where(error)} in check after {name}", str(error)[:200]) from error


def ask_creation(random: Random) -> Outcome:
    """A zone with some geometry, consistent or not."""
    values: dict[str, Any] = {
        "nr_pages": random.choice((1, 64, 1000, 4096)),
        "release": random.choice(list(RELEASES)),
        "start_pfn": random.choice((0, 512, 77)),
        "max_order": random.choice((0, 3, 10)),
        "pageblock_order": random.choice((0, 3, 9)),
        "page_size": random.choice((4096, 65536)),
        "section_size": random.choice((None, 1 << 27)),
    }
    for name in values:
        if random.random() < 0.3:
            values[name] = odd_argument(random)
            if name == "nr_pages" and isinstance(values[name], int) and LARGE <= values[name] < REFUSED:
                values[name] = 0
    dummy = Zone(16, max_order=2, pageblock_order=2)
    return call(dummy, "Zone", Zone, [], values)


def ask_batch(random: Random) -> Outcome:
    """Operations in an array, some of them malformed, with handles that may be nobody's."""
    zone = used_zone(random)
    n = random.choice((0, 1, 5, 50))
    ops = np.zeros(n, OPERATION)
    for op in ops:
        kind = random.choice((1, 1, 1, 2, 2, 3, 4, 5))
        op["op"], op["order"] = kind, random.choice((0, 0, 1, 2)) if kind in (1, 5) else 0
        op["migratetype"] = 1 if kind == 3 else random.choice((0, 1, 2)) if kind in (1, 5) else 0
        op["flags"] = (
            (int(PageClass.KERNEL) if not op["order"] or op["migratetype"] != 1 else int(PageClass.THP) | 32)
            if kind in (1, 3, 5)
            else 0
        )
        op["handle"], op["start"] = random.randrange(8), random.randrange(zone.geometry.nr_pages)
        op["nr"] = random.randint(1, 8) if kind in (3, 4) else 0
    for _ in range(random.choice((0, 0, 1, 3)) if n else 0):
        field = random.choice(list(OPERATION.names or ()))
        size = OPERATION[field].itemsize * 8
        ops[random.randrange(n)][field] = random.choice(
            (2**size - 1, 2 ** (size - 1), random.getrandbits(size), random.randrange(8))
        )
    handles: Any = np.full(8, 2**32 - 1, np.uint32)
    how = random.randrange(8)
    if how < 3:
        # what lies there need not be anybody's page
        for at in range(8):
            handles[at] = random.choice((2**32 - 1, 2**32 - 2, random.randrange(4096), random.getrandbits(32)))
    elif how == 3:
        handles = random.choice(
            (
                None,
                None,
                [],
                np.zeros(0, np.uint32),
                np.zeros(8, np.int64),
                np.zeros(16, np.uint32)[::2],
                np.zeros(2, np.uint32),
            )
        )
    given: Any = ops
    if random.random() < 0.1:
        given = random.choice(
            (ops[::2], ops[::-1], ops.reshape(1, -1), ops.tolist(), ops.view(np.uint8), None, ops[:0])
        )
    moves: Any = random.choice((None, []))
    ended = call(zone, "run", zone.run, [given, handles, moves], {})
    look(zone, "run", True)
    return ended


def ask_state(random: Random) -> Outcome:
    """A saved state with some of it changed, loaded into a zone, which is then used."""
    zone = used_zone(random)
    state = zone.saved_state()
    for _ in range(random.choice((1, 1, 2))):
        spoil_state(state, random)
    ended = call(zone, "load_state", zone.load_state, [state], {})
    look(zone, "load_state", True)
    for _ in range(4):
        name = random.choice(("alloc", "free", "alloc_contig_range", "compact_memory", "drain_all_pages", "set_pcp"))
        args, named = arguments(zone, METHODS[name], 0.0, random)
        if name == "compact_memory":
            args = []
        call(zone, name, getattr(zone, name), args, named)
        look(zone, name, True)
    return ended


def spoil_state(state: dict[str, Any], random: Random) -> None:
    """Break a saved state in place: a number, a link, a byte, a shape, or what is there at all."""
    how = random.randrange(8)
    arrays = list(state["arrays"]) if isinstance(state.get("arrays"), tuple) else []
    if how < 4 and arrays:
        at = random.randrange(len(arrays))
        array = arrays[at]
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind != "u":
            # spoilt already
            return
        array = array.copy()
        for _ in range(random.choice((1, 1, 4)) if array.size else 0):
            size = array.dtype.itemsize * 8
            array[random.randrange(len(array))] = random.choice(
                (0, 1, 2**size - 1, random.getrandbits(size), random.randrange(64))
            )
        if random.random() < 0.15:
            array = random.choice(
                (array[:-1], array[::-1], array.astype(np.int64), array.reshape(1, -1), array.tolist(), None)
            )
        arrays[at] = array
        state["arrays"] = tuple(arrays)
    elif how < 6 and isinstance(state.get("counters"), tuple):
        counters = list(state["counters"])
        at = random.randrange(len(counters))
        counters[at] = odd_argument(random)
        if random.random() < 0.2:
            del counters[at]
        state["counters"] = tuple(counters)
    elif how == 6:
        state[random.choice(list(state))] = odd_argument(random)
    elif state:
        del state[random.choice(list(state))]
