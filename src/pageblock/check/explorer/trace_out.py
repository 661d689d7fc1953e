"""A sequence that the explorer found, as a trace that ``pageblock replay`` reads: format version 5 (docs/check.md)."""

from collections.abc import Iterator
from itertools import groupby

from ...mm import Migratetype, Zone
from . import codes as c
from .bounds import Bounds
from .sequence import Sequence, Stage, Step

__all__ = ["trace_text"]


def trace_text(bounds: Bounds, sequence: Sequence) -> str:
    """The trace. What the model answers is written down, and at the end what the release promises (``A``).

    Where the promise is about the answer itself (a range is granted, the kernel does not stop), the promised answer is written.
    """
    zone = bounds.boot()
    lines = [f"V oracle 5 kernel=pageblock-{bounds.release} release={bounds.release} mode=explored pcp=0 alone=1"]
    lines += _dump(bounds, zone)
    stage = Stage(bounds)
    types = zone.pageblock_types.tolist()
    for i, step in enumerate(sequence.steps):
        types = stage.zone.pageblock_types.tolist()
        stage.do(step.what, step.first, step.second)
        last = i + 1 == len(sequence.steps)
        lines.append(_step(step, bounds, granted=last and sequence.breach in (c.BREACH_GRANT, c.BREACH_BUG)))
    lines += _promise(bounds, sequence, types, stage.zone.pageblock_types.tolist())
    lines.append(f"E ops={len(sequence.steps)}")
    return "\n".join(lines) + "\n"


def _dump(bounds: Bounds, zone: Zone) -> Iterator[str]:
    """The zone at boot."""
    n = bounds.nr_pages
    yield "D begin initial"
    yield (
        f"Z node=0 zone=explored start_pfn=0 spanned={n} present={n} managed={n} max_order={bounds.max_order + 1} "
        f"pageblock_order={bounds.pageblock_order} migratetypes=6"
    )
    yield "W min=0 low=0 high=0 boost=0 lowmem_reserve=0 highatomic=0 nr_isolate=0 flags=0"
    if bounds.area is not None:
        start, end = bounds.area
        yield f"B start={start} count={end - start} order_per_bit=0 nr_free_cma={zone.nr_free_cma_pages}"
    yield "T " + " ".join(f"{mt}:{len(list(run))}" for mt, run in groupby(zone.pageblock_types.tolist()))
    for order in range(bounds.max_order + 1):
        for mt in Migratetype:
            pfns = zone.free_list(order, mt).tolist()
            if pfns:
                yield f"L {order} {int(mt)} " + " ".join(map(str, pfns))
    yield f"D end stat_free={zone.nr_free_pages} own=0 offnode=0 foreign=0"


def _step(step: Step, bounds: Bounds, *, granted: bool) -> str:
    """One operation."""
    first, second, handle = step.first, step.second, step.handle
    result = 0 if granted else step.result
    if step.what == c.DO_ALLOC:
        kind = {Migratetype.UNMOVABLE: "u", Migratetype.MOVABLE: "m", Migratetype.RECLAIMABLE: "r"}[Migratetype(second)]
        if first and (kind == "m" or not bounds.plain):
            kind = kind.upper()
        return f"a {handle} {first} {kind} {result if result >= 0 else '-'}"
    if step.what == c.DO_FREE:
        return f"f {handle}"
    if step.what in (c.DO_CONTIG, c.DO_INTERRUPTED):
        return f"{'c' if step.what == c.DO_CONTIG else 'I'} {handle} {first} {second} :{_moves(step.moves)} = {min(result, 0)}"
    if step.what == c.DO_FREE_CONTIG:
        return f"g {handle}"
    if step.what == c.DO_ISOLATE:
        return f"S {first} {second} = {result}"
    if step.what == c.DO_UNDO:
        return f"U {first} {second}"
    if step.what == c.DO_CMA_ALLOC:
        tries = "".join(f" @{start}{_moves(moves)} ={errno}" for start, moves, errno in step.tries)
        return f"C {handle} {first} 0 :{tries} = {result}"
    return f"R {handle}"


def _moves(moves: tuple[tuple[int, int], ...]) -> str:
    return "".join(f" {source}>{target}" for source, target in moves)


def _promise(bounds: Bounds, sequence: Sequence, before: list[int], after: list[int]) -> Iterator[str]:
    """What should hold behind the last operation; the pageblock types before and behind it."""
    breach = sequence.breach
    size = 1 << bounds.pageblock_order
    if breach == c.BREACH_MIXED:
        yield "A unmixed"
        return
    if breach == c.BREACH_AREA and bounds.area is not None:
        start, end = bounds.area
        area = range(start // size, end // size)
        kept = (i in area and mt != Migratetype.ISOLATE for i, mt in enumerate(after))
        yield "A types " + " ".join(str(int(Migratetype.CMA)) if stays else "-" for stays in kept)
        return
    if breach == c.BREACH_LOST:
        yield "A held"
    if not sequence.steps or breach == c.BREACH_LOST or breach >= c.BREACH_ZONE:
        yield "A invariants"
        return
    last = sequence.steps[-1]
    if breach in (c.BREACH_TAKEN, c.BREACH_CMA):
        wrong = Migratetype.ISOLATE if breach == c.BREACH_TAKEN else Migratetype.CMA
        yield f"A outside {int(wrong)} {last.result} {1 << last.first}"
    elif breach == c.BREACH_TYPES:
        start, end = last.first // size, (last.first + last.second - 1) // size
        window = 1 << (bounds.window_order - bounds.pageblock_order)
        first, stop = start // window * window, (end // window + 1) * window
        told = [str(mt) if first <= i < stop and not start <= i <= end else "-" for i, mt in enumerate(before)]
        yield "A types " + " ".join(told)
    else:
        # whatever ended or began isolation, or (0) the known weakness: the same pageblocks stay isolated
        isolated = {i * size for i, mt in enumerate(before) if mt == Migratetype.ISOLATE}
        if last.what in (c.DO_ISOLATE, c.DO_UNDO):
            touched = set(range(last.first, last.first + last.second, size))
            granted = last.what == c.DO_ISOLATE and last.result >= 0
            isolated = isolated | touched if granted else isolated - touched if last.what == c.DO_UNDO else isolated
        yield "A isolated" + "".join(f" {pfn}" for pfn in sorted(isolated))
