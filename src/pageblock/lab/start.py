"""The machine that a run begins with: one as it comes out of boot, or a recorded one."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..consumers.cma import CmaArea
from ..consumers.dma import CmaParameter
from ..consumers.kernel import cma_min_alignment_pages
from ..errors import InputError
from ..machine import Snapshot
from ..machine.zones import snapshot_memory
from ..mm import Migratetype, PageClass, Zone
from ..mm.geometry import check_geometry
from ..mm.memory import KINDS
from ..mm.release import release as find_release
from .areas import NoPlace, place_area, recorded_areas

__all__ = ["Machine", "booted", "recorded"]


@dataclass(frozen=True)
class Machine:
    """Zones, the one that requests go to first comes first.

    ``marks``: high watermark of each, pages; ``total_pages``: what the allocator was given at boot; ``old_pages``: for each zone
    pfns of file pages that are there, in an order of no meaning.
    """

    zones: tuple[Zone, ...]
    marks: tuple[int, ...]
    areas: tuple[CmaArea, ...]
    total_pages: int
    page_size: int
    old_pages: tuple[npt.NDArray[np.uint64], ...]


def booted(
    release: str,
    memory_bytes: int,
    cma_bytes: int,
    reserved_bytes: int,
    max_order: int,
    pageblock_order: int,
    page_size: int,
    section_size: int | None = None,
) -> Machine:
    """A machine of one zone from pfn 0, all of it free, but for what is reserved at its end; the CMA area lies below that.

    Watermarks are those that init_per_zone_wmark_min gives a machine of this size (mm/page_alloc.c, 5.15 to 6.19).

    Raises:
        GeometryError: values that do not fit together.
        InputError: no memory is left, or an area that does not fit.
    """
    rules = find_release(release)
    # the page size must be one before anything is divided by it
    check_geometry(1, 0, max_order, pageblock_order, page_size, section_size, rules)
    nr_pages, reserved = memory_bytes // page_size, -(-reserved_bytes // page_size)
    largest = 1 << max(max_order, pageblock_order)
    if nr_pages < 2 * largest:
        raise InputError(
            f"memory of {memory_bytes} bytes is {nr_pages} pages: with max order {max_order} and pageblock order "
            f"{pageblock_order} give {2 * largest * page_size} bytes at least"
        )
    if not 0 <= reserved < nr_pages - largest:
        raise InputError(f"{reserved_bytes} bytes of {memory_bytes} are reserved: leave {largest * page_size} at least")
    zone = Zone(
        nr_pages,
        release,
        0,
        max_order,
        pageblock_order,
        page_size=page_size,
        section_size=section_size,
        populate=not reserved,
        name="Normal",
    )
    if reserved:
        _populate(zone, nr_pages - reserved)
    managed = nr_pages - reserved
    areas: tuple[CmaArea, ...] = ()
    if cma_bytes:
        areas = (_area(zone, -(-cma_bytes // page_size), managed),)
    least = _min_free_pages(managed, page_size)
    marks = (least, least + least // 4, least + least // 2)
    zone.set_watermarks(*marks, managed_pages=managed)
    return Machine((zone,), (marks[2],), areas, managed, page_size, ())


def _populate(zone: Zone, end: int) -> None:
    """Give [0, end) to an empty zone's allocator, as boot does: in the largest aligned blocks (__free_pages_core)."""
    zone.load_pages([end], [zone.geometry.nr_pages - end], [PageClass.RESERVED], [0], [0])
    starts, orders, at = [], [], 0
    while at < end:
        aligned = (at & -at).bit_length() - 1 if at else zone.geometry.max_order
        order = min(zone.geometry.max_order, (end - at).bit_length() - 1, aligned)
        starts.append(at)
        orders.append(order)
        at += 1 << order
    zone.load_free(starts, orders, [int(Migratetype.MOVABLE)] * len(starts))


def _min_free_pages(managed: int, page_size: int) -> int:
    """vm.min_free_kbytes of a machine that is one zone: 4 * sqrt(KiB of memory), 128 KiB to 256 MiB."""
    kbytes = math.isqrt(managed * page_size // 1024 * 16)
    return max(1, min(max(kbytes, 128), 262144) * 1024 // page_size)


def _area(zone: Zone, nr_pages: int, end: int) -> CmaArea:
    """An area of so many pages, rounded up as boot does, as high as it can lie below ``end``."""
    align = cma_min_alignment_pages(zone.release, zone.geometry)
    size = -(-nr_pages // align) * align
    start = (end - size) // align * align
    if start < align:
        page = zone.geometry.page_size
        raise InputError(
            f"a CMA area of {nr_pages * page} bytes ({size * page} with its alignment) does not fit into "
            f"{end * page} bytes of memory: ask for less"
        )
    zone.load_cma(start, start + size)
    return CmaArea(zone, start, size, name="reserved")


def recorded(snapshot: Snapshot, release: str, cma_bytes: int, seed: int) -> Machine:
    """A recorded machine's zones as it was; the workload comes on top.

    Its file pages may be reclaimed, in an order that the seed decides, as no source tells their age. All other pages stay for
    ever. ``cma_bytes``: an area where boot could have made one; 0: those that the machine has.

    Raises:
        InputError: no page is known, or there is no place for the area.
    """
    memory = snapshot_memory(snapshot, release)
    areas = recorded_areas(memory)
    if cma_bytes:
        placed = place_area(memory, CmaParameter(cma_bytes), snapshot.page_size)
        if isinstance(placed, NoPlace):
            raise InputError(f"{snapshot.source}: no CMA area of {cma_bytes} bytes: {placed.rule}; ask for less")
        areas = [*areas, placed]
    members = sorted(memory.members, key=lambda member: -KINDS.index(member.kind))
    marks, pages, total = [], [], 0
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x01D]))
    infos = {info.label: info for info in snapshot.zones}
    for member in members:
        zone = member.zone
        # each zone by itself: pages never leave it
        zone.set_targets_may_spill(False)
        zone.set_spill_target(None)
        info = infos[zone.name]
        total += info.managed or info.present
        # lower zones keep their reserve from requests that could go higher
        reserve = max(member.protection, default=0) if member is not members[0] else 0
        marks.append(info.wmark_high + reserve)
        pages.append(rng.permutation(_file_pages(snapshot, snapshot.zones.index(info))))
    zones = tuple(member.zone for member in members)
    return Machine(zones, tuple(marks), tuple(areas), total, snapshot.page_size, tuple(pages))


def _file_pages(snapshot: Snapshot, zone: int) -> npt.NDArray[np.uint64]:
    """Pfns of a zone's single file pages that are not pinned."""
    assert snapshot.runs is not None
    runs = snapshot.runs
    mine = (runs["zone"].to_numpy() == zone) & (runs["class"].to_numpy() == PageClass.FILE)
    mine &= (runs["order"].to_numpy() == 0) & (runs["flags"].to_numpy() & 0x10 == 0)
    start, count = runs["start_pfn"].to_numpy()[mine], runs["nr_pages"].to_numpy()[mine].astype(np.int64)
    first = np.repeat(np.cumsum(count) - count, count)
    nth = (np.arange(int(count.sum())) - first).astype(np.uint64)
    return np.asarray(np.repeat(start, count) + nth)
