"""``pageblock try cma``: allocations from a CMA area."""

import click

from ...consumers import Step, Trial
from ...consumers.cma import CmaAnswer, CmaArea, vmstat
from ...consumers.dma import CMA_ALIGNMENT, CmaParameter, early_cma, get_order
from ...consumers.kernel import cma_min_alignment_pages
from ...doctor.sizes import size_name
from ...errors import InputError
from ...lab.areas import NoPlace, place_area, recorded_areas
from ...lab.explain import explain_cma
from ...machine import Snapshot
from ...mm import Geometry
from ...mm.memory import Memory
from ...mm.types import Migratetype
from .asking import MOST, answer, machine_options, read, tried_releases, whole_pages

__all__ = ["command"]


@click.command(name="cma")
@click.option(
    "--area",
    metavar="SIZE[@BASE[-LIMIT]]",
    help="An area as cma= of the kernel reserves it. [default: the machine's own]",
)
@click.option("--alloc", "size", metavar="SIZE", required=True, help="Of one allocation.")
@click.option("--count", metavar="N", type=click.IntRange(1, 65536), default=1, show_default=True, help="How many.")
@click.option(
    "--align",
    metavar="ORDER",
    type=click.IntRange(0, 40),
    help=f"Of each, absolute. [default: as DMA buffers have it, that of the size but at most {CMA_ALIGNMENT}]",
)
@machine_options
@click.pass_context
def command(
    ctx: click.Context,
    area: str | None,
    size: str,
    count: int,
    align: int | None,
    source: str | None,
    recorded: bool,
    releases: tuple[str, ...],
    as_json: bool,
) -> None:
    """Allocations from a CMA area: which place of the bitmap, what was moved, what refused."""
    snapshot = read(source, recorded)
    pages = whole_pages("--alloc", size, snapshot)
    # what the release that answers refuses is a mistake in the question; what another refuses, a difference to tell
    first = tried_releases(snapshot, releases)[0]
    wanted = _area(area, snapshot, first) if area is not None else None
    order = min(get_order(pages * snapshot.page_size, snapshot.page_size), CMA_ALIGNMENT) if align is None else align
    has_cma = any(
        zone.block_types is not None and (zone.block_types == Migratetype.CMA).any() for zone in snapshot.zones
    )
    if wanted is None and not has_cma:
        raise InputError(f"{snapshot.source} has no CMA pageblocks: say with --area how large an area to assume")
    name = size_name(pages, snapshot.page_size)

    def ask(memory: Memory) -> Trial:
        release = memory.members[0].zone.release
        unit = f"allocations of {name}"
        areas: list[CmaArea] = []
        if has_cma:
            areas = recorded_areas(memory)
        elif wanted is not None:
            placed = place_area(memory, wanted, snapshot.page_size)
            if isinstance(placed, NoPlace):
                return Trial(release, count, 0, unit, (), (), {}, f"there is no area: {placed.rule}")
            areas = [placed]
        answers, ranges, steps = _allocate(areas, pages, order, count)
        counters = vmstat(areas)
        for found in areas:
            for counter, value in found.counters.items():
                counters[f"{found.name}/{counter}"] = value
        places = ", ".join(f"[{a.base_pfn:#x}, {a.base_pfn + a.count:#x})" for a in areas)
        why = explain_cma(areas, answers, snapshot.page_size)
        return Trial(release, count, len(ranges), unit, tuple(ranges), tuple(steps), counters, f"area {places}: {why}")

    question = f"{count:,} × {name} from CMA, aligned to order {order}"
    ctx.exit(answer(snapshot, releases, question, ask, _assumptions(area, has_cma), as_json))


def _allocate(
    areas: list[CmaArea], pages: int, order: int, count: int
) -> tuple[list[CmaAnswer], list[tuple[int, int]], list[Step]]:
    """Ask so often, each time the areas in turn; the first request that no area grants ends it."""
    answers: list[CmaAnswer] = []
    ranges: list[tuple[int, int]] = []
    steps: list[Step] = []
    for _ in range(count):
        for area in areas:
            answers.append(area.alloc(pages, order))
            last = answers[-1]
            steps += [attempt.step for attempt in last.tries]
            if last.pfn is not None:
                ranges.append((last.pfn, last.pfn + pages))
                break
            steps.append(Step("cma_alloc", area.base_pfn, pages, errno=last.errno, rule=f"{area.name}: {last.reason}"))
        else:
            break
    return answers, ranges, steps


def _assumptions(area: str | None, has_cma: bool) -> list[str]:
    lines = ["free lists in pfn order, and no page pinned but those that the record tells; nothing else runs meanwhile"]
    if has_cma:
        lines.append(
            "each run of CMA pageblocks is an area, a bit a page; pages in it that are neither free nor movable are its "
            "allocations"
        )
        if area is not None:
            lines.append(f"--area {area} is not used: the machine has areas of its own")
    else:
        lines.append(
            "the machine has no CMA: an area is assumed where boot would reserve it (above 4 GiB upwards, else from the "
            "limit downwards), at the first place that holds only pages which CMA lends out; they stay there"
        )
    return lines


def _area(text: str, snapshot: Snapshot, release: str) -> CmaParameter:
    """cma= as the kernel reads it, but nothing that it would silently pass over, nor that the release that answers refuses."""
    wanted = early_cma(text)
    if wanted.rest or not text[:1].isdigit() or not wanted.size or "@-" in text or text.endswith(("@", "-")):
        raise InputError(f"--area {text[:80]!r} is no size[@base[-limit]]: write for example 256M, 64M@2G or 64M@0-4G")
    if max(wanted.size, wanted.base, wanted.limit) > MOST:
        raise InputError(f"--area {text[:80]!r} is more than any machine has: choose at most {MOST >> 40}T")
    block = snapshot.page_size << snapshot.pageblock_order
    for what, value in (("size", wanted.size), ("base", wanted.base)):
        if value % block:
            raise InputError(
                f"--area {text}: {what} {value:#x} is not aligned: every release wants a multiple of a pageblock, "
                f"{size_name(1 << snapshot.pageblock_order, snapshot.page_size)}"
            )
    present = sum(zone.present for zone in snapshot.zones) * snapshot.page_size
    if wanted.size > present:
        raise InputError(f"--area {text}: the machine has {present >> 20:,} MiB of memory in all: choose less")
    end = max(zone.end_pfn for zone in snapshot.zones) * snapshot.page_size
    if wanted.base + wanted.size > end:
        raise InputError(f"--area {text}: it reaches beyond the end of memory, {end:#x}: choose a lower base")
    geometry = Geometry(1, 0, snapshot.max_order, snapshot.pageblock_order, snapshot.page_size, None)
    align = cma_min_alignment_pages(release, geometry) * snapshot.page_size
    if wanted.fixed and wanted.base % align:
        raise InputError(
            f"--area {text}: {release} refuses with -22 (cma_declare_contiguous_nid): region at {wanted.base:#x} must be "
            f"aligned to {align:#x} bytes"
        )
    return wanted
