"""How findings of ``pageblock check fuzz`` look."""

from typing import Any

from rich.console import Console
from rich.table import Table

from ..check.core import CoreFinding
from ..check.fuzz import Finding
from ..check.lockstep import (
    ALLOC,
    ATOMIC,
    CONTIG,
    CONTIG_PAGES,
    FREE,
    FREE_CONTIG,
    ISOLATE,
    UNDO,
    Lockstep,
    Operation,
)
from ..check.workload import HANDLES
from ..check.world import World
from ..mm import Migratetype, PageClass, PageFlag
from .terminal import counted

__all__ = ["core_finding_json", "describe", "finding_json", "show_core_finding", "show_finding"]

#: Longest text of a list that is shown.
_WIDTH = 300


def describe(operation: Operation, start_pfn: int) -> str:
    """An operation in words; pfns absolute."""
    kind, order, mt, flags, handle, start, nr_pages = operation
    name = Migratetype(mt).name
    first = start_pfn + start
    where = f"[{first}, {first + nr_pages})"
    if kind in (ALLOC, ATOMIC):
        kinds = [PageClass(flags & 15).name] + [f.name or "" for f in PageFlag if flags & f]
        atomic = "atomic " if kind == ATOMIC else ""
        return f"#{handle} = {atomic}allocate order {order} {name} ({', '.join(kinds)})"
    if kind == FREE:
        return f"free #{handle}"
    if kind == CONTIG:
        return f"#{handle} = alloc_contig_range {where} {name}"
    if kind == FREE_CONTIG:
        return f"free_contig_range #{handle}, {nr_pages} pages"
    if kind == ISOLATE:
        return f"start_isolate_page_range {where} {name}"
    if kind == UNDO:
        return f"undo_isolate_page_range {where} {name}"
    if kind == CONTIG_PAGES:
        return f"#{handle} = alloc_contig_pages {nr_pages}"
    return f"unreserve_highatomic_pageblock {name}{', force' if flags else ''}"


def replay_line(finding: Finding) -> str:
    """The command that runs the case again."""
    case = finding.case
    model = f" --model {case.model}" if case.model else ""
    return f"pageblock check fuzz --release {case.release} --seed {case.seed} --case {case.number}{model}"


def steps(finding: Finding) -> list[tuple[str, str, str]]:
    """Each operation in words, with the model's answer and the reference's."""
    pair = Lockstep(finding.world, HANDLES)
    rows = []
    for operation in finding.operations:
        answer = pair.apply(operation)
        difference = pair.compare(False)
        mine = str(answer) if difference is None else difference.model
        rows.append((describe(operation, finding.world.start_pfn), mine, str(answer)))
        if difference is not None:
            break
    return rows


def show_world(world: World, console: Console) -> None:
    """One line: the zone, and what was in it at boot."""
    places = [f"zone [{world.start_pfn}, {world.end_pfn})", f"max order {world.max_order}"]
    places.append(f"pageblock order {world.pageblock_order}")
    places += [f"CMA [{a}, {b})" for a, b in world.cma] + [f"reserved [{a}, {b})" for a, b in world.reserved]
    if world.zone_movable:
        places.append("ZONE_MOVABLE")
    if world.low:
        places.append(f"watermarks {world.minimum}, {world.low}")
    console.print(", ".join(places), markup=False, highlight=False)


def show_core_finding(finding: CoreFinding, seed: int, console: Console) -> None:
    """The invariant, the world, the line that replays it."""
    console.print(f"VIOLATED under {finding.world.release}: {finding.message}", markup=False, highlight=False)
    show_world(finding.world, console)
    console.print(f"again: {core_replay_line(finding, seed)}", markup=False, highlight=False, soft_wrap=True)


def core_replay_line(finding: CoreFinding, seed: int) -> str:
    """The command that runs the case of the core again."""
    return f"pageblock check fuzz --core-only --release {finding.world.release} --seed {seed} --case {finding.case}"


def show_finding(finding: Finding, console: Console) -> None:
    """The world, the sequence as a table, where they parted, the line that replays it."""
    world, difference = finding.world, finding.difference
    parted = "DIFFERENCE" if difference.reference is not None else "VIOLATED"
    console.print(
        f"{parted} under {world.release} after {counted(len(finding.operations), 'operation')}: {difference.what}",
        markup=False,
    )
    show_world(world, console)
    table = Table(box=None)
    for column in ("", "operation", "model", "reference"):
        table.add_column(column, justify="left" if column == "operation" else "right")
    for number, (what, mine, theirs) in enumerate(steps(finding), 1):
        table.add_row(str(number), what, mine, theirs)
    console.print(table)
    console.print(f"model      {difference.model:.{_WIDTH}}", markup=False, highlight=False, soft_wrap=True)
    if difference.reference is not None:
        console.print(f"reference  {difference.reference:.{_WIDTH}}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"again: {replay_line(finding)}", markup=False, highlight=False, soft_wrap=True)


def world_json(world: World) -> dict[str, Any]:
    """A world as JSON."""
    return {
        "start_pfn": world.start_pfn,
        "nr_pages": world.nr_pages,
        "max_order": world.max_order,
        "pageblock_order": world.pageblock_order,
        "cma": world.cma,
        "reserved": world.reserved,
        "watermarks": [world.minimum, world.low],
        "zone_movable": world.zone_movable,
    }


def core_finding_json(finding: CoreFinding, seed: int) -> dict[str, Any]:
    """A finding of the core as JSON."""
    return {
        "release": finding.world.release,
        "case": finding.case,
        "what": finding.invariant,
        "model": finding.message,
        "reference": None,
        "zone": world_json(finding.world),
        "operations": [],
        "again": core_replay_line(finding, seed),
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    world, difference = finding.world, finding.difference
    return {
        "release": world.release,
        "case": finding.case.number,
        "what": difference.what,
        "model": difference.model,
        "reference": difference.reference,
        "zone": world_json(world),
        "operations": [describe(operation, world.start_pfn) for operation in finding.operations],
        "again": replay_line(finding),
    }
