"""The state of the model against what a trace says the kernel's was: digests, counters, dumps."""

import numpy as np
import numpy.typing as npt

from ..machine.trace import ACTION, Dump, Hash
from ..mm import Migratetype, Zone
from .accounting import accounting
from .history import PCP_LISTS, list_name, pcp_list_name
from .replay_state import EMPTY, MOST_HANDLES, OFFNODE, Parted, ReplayState

__all__ = ["compare_dump", "compare_hash"]

#: Watermarks and counters of a dump that the model follows, by their names in the trace.
_DUMPED = ("min", "low", "lowmem_reserve", "boost", "highatomic", "free_highatomic")

#: What the three digests are of, and what the names of that begin with in a history.
_DIGESTS = (("free lists", "order "), ("pageblock types", "type of pageblock"), ("per-cpu lists", "per-cpu list"))


def compare_hash(state: ReplayState, h: Hash) -> None:
    """Digests and counters."""
    zone = state.need_zone(h.line)
    if h.digests is not None:
        for (name, about), theirs, ours in zip(_DIGESTS, h.digests, zone.digests(state.isolate_number), strict=True):
            if theirs != ours:
                raise Parted(h.line, f"digest of the {name}", f"{theirs:016x}", f"{ours:016x}", (about,))
    ours_by_name = state.counters(zone) if h.op == "H" else accounting(zone, state.handles, state.sizes)
    for name, theirs in h.counters.items():
        if name in ours_by_name and ours_by_name[name] != theirs:
            whatever = ("counter", "type of pageblock")
            abouts = (f"counter {name}",) if h.op == "H" else whatever
            raise Parted(h.line, f"counter {name}", theirs, ours_by_name[name], abouts)


def compare_dump(state: ReplayState, dump: Dump) -> None:
    """A later dump against the zone: types, every list in order, per-cpu lists, reserves, live handles."""
    zone = state.need_zone(dump.line)
    first = zone.start_pfn
    if not dump.types and dump.after_bug:
        return
    check_dump(state, dump, zone)
    types = np.concatenate([np.full(count, state.type_of(mt), np.uint8) for mt, count in dump.types])
    holes = np.concatenate([np.full(count, mt == 9) for mt, count in dump.types])
    ours = zone.pageblock_types
    if len(types) != len(ours):
        raise state.reader.fail(f"the dump has {len(types)} pageblocks, the zone {len(ours)}", dump.line)
    different = np.flatnonzero((types != ours) & ~holes)
    if len(different):
        block = int(different[0])
        raise Parted(
            dump.line,
            f"type of pageblock {block}",
            Migratetype(types[block]).name,
            Migratetype(ours[block]).name,
            (f"type of pageblock {block}",),
        )
    for order in range(zone.geometry.max_order + 1):
        for number in range(state.isolate_number + 1):
            theirs = dump.free.get((order, number), np.zeros(0, np.int64))
            mine = zone.free_list(order, state.type_of(number)).astype(np.int64) - first
            compare_list(dump.line, list_name(order, state.type_of(number)), theirs, mine)
    if state.reader.header.per_cpu_lists:
        for pindex in range(PCP_LISTS):
            mine = zone.pcp_list(pindex).astype(np.int64) - first
            compare_list(dump.line, pcp_list_name(pindex), dump.pcp_lists.get(pindex, np.zeros(0, np.int64)), mine)
        tuning = zone.pcp_state()
        for name, theirs_q in dump.pcp.items():
            if name in tuning and tuning[name] != theirs_q:
                raise Parted(dump.line, f"per-cpu {name}", theirs_q, tuning[name], ("per-cpu list",))
    free, free_cma = zone.vm_stats()
    for name, theirs_n, ours in (
        ("NR_FREE_PAGES", dump.counted.get("stat_free"), free),
        ("NR_FREE_CMA_PAGES", dump.cma.get("nr_free_cma"), free_cma),
        ("nr_isolate_pageblock", dump.watermarks.get("nr_isolate"), zone.nr_isolate_pageblock),
    ):
        if theirs_n is not None and theirs_n != ours:
            raise Parted(dump.line, f"counter {name}", theirs_n, ours, ("counter", "type of pageblock"))
    marks = dict(zip(("min", "low", "lowmem_reserve"), zone.watermarks, strict=True)) | zone.reserves()
    for name in _DUMPED:
        if name in dump.watermarks and name in marks and dump.watermarks[name] != marks[name]:
            raise Parted(dump.line, f"watermark line, {name}", dump.watermarks[name], marks[name])
    if dump.owned or dump.tag == "final":
        compare_owned(state, dump, zone)


def check_dump(state: ReplayState, dump: Dump, zone: Zone) -> None:
    """A later dump that lacks a part, or is of another zone, is malformed: nothing of it goes unread."""
    g = zone.geometry
    for letter, part in (("Z", dump.zone), ("T", dump.types), ("W", dump.watermarks), ("Q", dump.pcp)):
        if not part and (letter != "Q" or state.reader.header.per_cpu_lists):
            raise state.reader.fail(f"the dump has no {letter} line: record the trace again", dump.line)
    for key, ours in (("start_pfn", zone.start_pfn), ("spanned", g.nr_pages)):
        if dump.number(key) != ours:
            raise state.reader.fail(f"the dump has {key} {dump.number(key)}, the first one {ours}", dump.line)
    for order, number in dump.free:
        if order > g.max_order or not 0 <= number <= state.isolate_number:
            raise state.reader.fail(f"no free list has order {order} and type {number}", dump.line)
    for pindex in dump.pcp_lists:
        if not 0 <= pindex < PCP_LISTS:
            raise state.reader.fail(f"there is no per-cpu list {pindex}", dump.line)


def compare_list(line: int, what: str, theirs: npt.NDArray[np.int64], mine: npt.NDArray[np.int64]) -> None:
    if np.array_equal(theirs, mine):
        return
    at = next((i for i, (a, b) in enumerate(zip(theirs, mine, strict=False)) if a != b), min(len(theirs), len(mine)))
    raise Parted(
        line,
        f"{what}, entry {at}",
        entries_from(theirs, at),
        entries_from(mine, at),
        (what,),
        tuple(int(pfns[at]) for pfns in (theirs, mine) if at < len(pfns)),
        whole=True,
    )


def compare_owned(state: ReplayState, dump: Dump, zone: Zone) -> None:
    """Live handles: the same ones, at the same pfns, those in other zones apart."""
    owned = np.concatenate([*dump.owned, np.zeros(0, ACTION)])
    handles, pfns = owned["handle"], owned["pfn"]
    highest = int(handles.max(initial=0))
    if highest < MOST_HANDLES:
        state.room_for(highest, dump.line)
    places = state.handles[np.minimum(handles, len(state.handles) - 1)].astype(np.int64)
    inside = (pfns >= 0) & (pfns < zone.geometry.nr_pages)
    # handles hold pfns counted from the zone's base
    here = places - (zone.start_pfn - zone.base())
    wrong = ((places < OFFNODE) != inside) | (inside & (here != pfns))
    if wrong.any():
        i = int(np.argmax(wrong))
        theirs = int(pfns[i]) if inside[i] else "another zone"
        mine = int(here[i]) if places[i] < OFFNODE else None
        raise Parted(dump.line, f"handle {handles[i]}", theirs, mine, (), (int(pfns[i]), mine), whole=True)
    more = np.setdiff1d(np.flatnonzero(state.handles != EMPTY), handles)
    if len(more):
        raise Parted(dump.line, "live handles", "none more", f"also {more[:5].tolist()}")


def entries_from(pfns: npt.NDArray[np.int64], at: int) -> str:
    """The entries of a list from ``at`` on, as far as a person wants to read."""
    shown = " ".join(map(str, pfns[at : at + 6])) or "no more"
    return f"{len(pfns)} entries{', from there on' if at else ''}: {shown}{' …' if len(pfns) > at + 6 else ''}"
