"""A machine's memory at one moment: zones, geometry and a table of page runs."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pageblock.errors import InputError, printable
from pageblock.mm.types import Migratetype, PageClass, PageFlag

from .cma_area import CmaArea
from .contradictions import check_free_words, check_totals, check_words, check_zones
from .held import HeldPages
from .infer import Inferred, Remark, ZoneFacts, infer_zone
from .kpageflags import SCAN_BUFFERS, ScanReport, scan_files
from .layout import Geometry, Span, find_geometry, live_memory_blocks, own_ranges, reserved_pages
from .lists import FreeLists
from .page_owner import Owners, attach_owners, read_owners
from .procfs import (
    PageTypeInfo,
    ZoneRow,
    parse_boot_image,
    parse_buddyinfo,
    parse_iomem,
    parse_kernel_version,
    parse_meminfo,
    parse_pagetypeinfo,
    parse_vmstat,
    parse_zoneinfo,
)
from .runs import PageRuns, clip, concat
from .source import Source
from .sources import source_remark
from .words import WordReader, read_pieces
from .zerowords import ram_pages

__all__ = ["RUNS_SCHEMA", "HugePool", "Remark", "Snapshot", "ZoneInfo"]

T = TypeVar("T")

Ranges = tuple[tuple[int, int], ...]

#: Columns of ``Snapshot.runs``.
RUNS_SCHEMA = pa.schema(
    [
        ("zone", pa.int32()),
        ("start_pfn", pa.uint64()),
        ("nr_pages", pa.uint64()),
        ("class", pa.uint8()),
        ("order", pa.uint8()),
        ("migratetype", pa.uint8()),
        ("flags", pa.uint8()),
    ]
)

#: What each file would add, for the remark about its absence.
USE_OF_FILE = {
    "zoneinfo": "it says where the zones lie; without it no page can be placed",
    "buddyinfo": "it counts the free blocks, against which the rebuilt ones are checked",
    "pagetypeinfo": "it counts pageblocks and free blocks per migratetype; reading it needs root",
    "kpageflags": "it says what every page is; reading it needs root (CAP_SYS_ADMIN)",
    "kpagecount": "it shows how far the files disagree in time; reading it needs root",
    "iomem": "it says where memory is reserved; real addresses need root",
    "meminfo": "it gives the page size and the huge page size",
    "vmstat": "it counts long-term pins and failed migrations",
    "version": "it names the kernel",
}


@dataclass(frozen=True)
class ZoneInfo:
    """One zone with memory. Pfns are absolute, everything else is in pages unless it says blocks.

    ``buddy_counts``, ``free_counts``: free blocks per order (all types; per type, a capped cell of
    pagetypeinfo being a lower bound). ``block_counts``: pageblocks per type. ``block_types``: the
    type of each pageblock from the one containing ``start_pfn`` on, always inferred
    (``blocks_inferred``), None without kpageflags. ``pcp_count``: free pages on per-cpu lists.
    ``uninitialised``: pfn ranges [start, end) present that the guest has not initialised yet; their class is HOLE.
    ``lru_pages``: on the zone's LRU lists, None where zoneinfo does not count them. ``start_known``: False where no file says
    where the zone lies (``start_pfn`` 0).
    """

    node: int
    name: str
    start_pfn: int
    spanned: int
    present: int
    managed: int
    free_pages: int
    free_cma: int
    wmark_min: int
    wmark_low: int
    wmark_high: int
    protection: tuple[int, ...]
    pcp_count: int
    buddy_counts: tuple[int, ...]
    free_counts: dict[Migratetype, tuple[int, ...]] | None
    block_counts: dict[Migratetype, int] | None
    block_types: NDArray[np.uint8] | None
    blocks_inferred: bool
    uninitialised: tuple[tuple[int, int], ...] = ()
    lru_pages: int | None = None
    start_known: bool = True

    @property
    def end_pfn(self) -> int:
        """First pfn after the zone."""
        return self.start_pfn + self.spanned

    @property
    def label(self) -> str:
        """Node and zone, as the kernel's messages name them."""
        return f"node {self.node} {self.name}"


@dataclass(frozen=True)
class HugePool:
    """The pool of the default huge page size (/proc/meminfo), in huge pages of ``order``.

    ``free``: unused; ``reserved``: of those, promised to mappings; ``surplus``: beyond the pool's size, given back to the
    buddy lists when freed.
    """

    order: int
    free: int
    reserved: int
    surplus: int


@dataclass(frozen=True)
class Snapshot:
    """What was read of one machine. ``runs`` (RUNS_SCHEMA) is None without kpageflags.

    Runs are sorted by zone and pfn and cover each zone's span; free runs have their block order and
    the inferred type of their list, other runs migratetype 255. Page size in bytes, ``max_order``
    inclusive. ``files`` were read, ``missing`` were not there or not readable. ``live``: of the running kernel. ``ram``,
    ``reserved``: pfn ranges [start, end) of System RAM and, in it, of the kernel's image and what boot reserved, as far as
    iomem names them; ``ram`` is None where it hides addresses. ``owners``: who allocated which pages, None without page_owner.
    ``lists``: free and per-cpu lists in their exact order, ``held``: pages with references that nothing explains, ``cma_areas``:
    with their bitmaps, ``huge_pool``: of hugetlb, each None where the source does not tell.
    """

    source: str
    kernel: str | None
    page_size: int
    max_order: int
    pageblock_order: int
    zones: tuple[ZoneInfo, ...]
    runs: pa.Table | None
    remarks: tuple[Remark, ...]
    files: tuple[str, ...]
    missing: tuple[str, ...]
    seconds_read: float
    live: bool = False
    ram: Ranges | None = None
    reserved: Ranges = ()
    owners: Owners | None = None
    lists: FreeLists | None = None
    huge_pool: HugePool | None = None
    held: HeldPages | None = None
    cma_areas: tuple[CmaArea, ...] | None = None


class Reader:
    """One reading: collects what was found and what has to be said about it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.files: list[str] = []
        self.missing: list[str] = []
        self.remarks: list[Remark] = []
        self.cut: set[str] = set()

    def note(self, name: str, found: bool, why: str = "was not read") -> None:
        if found:
            self.files.append(name)
            return
        self.missing.append(name)
        self.remarks.append(Remark("missing file", f"{name} {why}: {USE_OF_FILE[name]}"))

    def parsed(self, name: str, parse: Callable[[str, str], T]) -> T | None:
        """A file's content; None where it is absent, or unusable in a source that nobody can record again."""
        try:
            found = self.source.text(name)
            if found is not None and self.source.patient:
                found = self.whole_lines(name, *found)
            content = None if found is None else parse(*found)
        except InputError as error:
            if not self.source.patient:
                raise
            self.note(name, False, f"is of no use ({error})")
            return None
        self.note(name, found is not None)
        return content

    def whole_lines(self, name: str, text: str, shown: str) -> tuple[str, str]:
        """The text up to its last whole line. Raises InputError where there is none."""
        whole, newline, rest = text.rpartition("\n")
        if rest.strip():
            self.cut.add(name)
            self.remarks.append(
                Remark("cut off", f"{name} ends within a line, so more may be missing: {rest[:40]!r} is left out")
            )
        if not whole.strip():
            raise InputError(f"{shown}: nothing in it")
        return whole + newline, shown

    def kernel(self) -> str | None:
        """The kernel's release: of version, else of what a sosreport has of uname or dmesg, else of the boot image."""
        found = self.parsed("version", lambda text, _: parse_kernel_version(text))
        for name in () if found else ("uname", "dmesg", "cmdline"):
            beside = self.source.text(name)
            found = parse_kernel_version(beside[0]) if beside is not None else None
            if found is None and beside is not None and name == "cmdline":
                found = parse_boot_image(beside[0])
            if found is not None:
                self.remarks = [remark for remark in self.remarks if not remark.text.startswith("version ")]
                self.remarks.append(Remark("kernel", f"its release is taken from {name}: version does not say it"))
                break
        return None if found is None else printable(found)

    def words(self, name: str) -> WordReader | None:
        reader = self.source.words(name)
        self.note(name, reader is not None)
        return reader

    def read(self, progress: Callable[[int, int], None] | None) -> Snapshot:
        began = time.perf_counter()
        kernel = self.kernel()
        buddy = self.parsed("buddyinfo", parse_buddyinfo) or ()
        types = self.parsed("pagetypeinfo", parse_pagetypeinfo)
        all_rows = self.parsed("zoneinfo", parse_zoneinfo) or ()
        meminfo = self.parsed("meminfo", parse_meminfo) or {}
        vmstat = self.parsed("vmstat", parse_vmstat) or {}
        iomem = self.parsed("iomem", parse_iomem)
        if iomem is None and "iomem" in self.files:
            self.remarks.append(Remark("iomem", "iomem shows only zero addresses: it was read without root"))
        rows = [row for row in all_rows if row.spanned]
        if not all_rows:
            rows = [ZoneRow(row.node, row.zone) for row in buddy]
        if "zoneinfo" in self.cut:
            known = {(row.node, row.zone) for row in rows}
            rows += [ZoneRow(row.node, row.zone) for row in buddy if (row.node, row.zone) not in known]
        geometry, guesses = find_geometry(
            rows, buddy, types, meminfo, iomem, os.sysconf("SC_PAGESIZE") if self.source.live else None
        )
        self.remarks += guesses
        if not self.source.live:
            zones = () if "zoneinfo" in self.cut else all_rows
            check_zones(
                zones,
                () if "buddyinfo" in self.cut else buddy,
                None if "pagetypeinfo" in self.cut else types,
                geometry.pageblock_order,
            )
            check_totals(zones, meminfo, None if "iomem" in self.cut else iomem, geometry.page_size)
        self.remark_on_types(types)
        self.remark_on_hidden_pages(all_rows, vmstat)
        huge_pool = find_huge_pool(meminfo, geometry.page_size)
        counts = {(row.node, row.zone): row.counts for row in buddy}
        infos = [self.zone_info(row, counts, types) for row in rows]
        flags = self.words("kpageflags")
        try:
            map_counts = self.words("kpagecount")
        except BaseException:
            if flags is not None:
                flags.close()
            raise
        table: pa.Table | None = None
        placed = self.can_place(rows)
        if flags is not None and not placed:
            self.remarks.append(Remark("zones", "kpageflags cannot be used: no zoneinfo with each zone's start_pfn"))
        for reader in (flags, map_counts):
            if reader is not None and (flags is None or not placed):
                reader.close()
        if flags is not None and placed:
            spans = self.own(rows, geometry)
            ranges = join_ranges(spans)
            report = scan_files(flags, map_counts, ranges, live=self.source.live, progress=progress)
            if not self.source.live:
                check_words(report, flags.name)
                check_free_words(report.runs, spans, rows, buddy, flags.name)
            self.remark_on_skew(report, geometry.pageblock_order)
            report = replace(report, runs=self.with_unused_huge_pages(report.runs, huge_pool))
            self.remark_on_buffers(report.runs, geometry.pageblock_order)
            ram = ram_pages(iomem, geometry.page_size)
            inferred = self.infer(rows, infos, report.runs, spans, geometry, types, ram)
            infos = [with_types(info, found) for info, found in zip(infos, inferred, strict=True)]
            table = runs_table([found.runs for found in inferred])
        self.remarks.append(source_remark(self.source.kind, table is not None, bool(buddy or types)))
        return Snapshot(
            self.source.name,
            kernel,
            geometry.page_size,
            geometry.max_order,
            geometry.pageblock_order,
            tuple(infos),
            table,
            tuple(self.remarks),
            tuple(self.files),
            tuple(self.missing),
            time.perf_counter() - began,
            self.source.live,
            None if (found := ram_pages(iomem, geometry.page_size)) is None else tuple(found),
            reserved_pages(iomem, geometry.page_size),
            self.owners(table),
            huge_pool=huge_pool,
        )

    def owners(self, runs: pa.Table | None) -> Owners | None:
        """Who allocated the pages in use, where a page_owner dump is there."""
        found = self.source.path("page_owner") if runs is not None else None
        if found is None:
            return None
        try:
            owners, remarks = read_owners(read_pieces(*found), found[1])
        except InputError as error:
            if not (self.source.patient or self.source.live):
                raise
            self.remarks.append(Remark("page owners", f"page_owner is of no use ({error})"))
            return None
        self.remarks += remarks
        return attach_owners(runs, owners)

    def zone_info(
        self,
        row: ZoneRow,
        counts: dict[tuple[int, str], tuple[int, ...]],
        types: PageTypeInfo | None,
    ) -> ZoneInfo:
        key = (row.node, row.zone)
        free = types.free.get(key) if types else None
        blocks = types.blocks.get(key) if types else None
        return ZoneInfo(
            node=row.node,
            name=row.zone,
            start_pfn=row.start_pfn or 0,
            spanned=row.spanned,
            present=row.present,
            managed=row.present if row.managed is None else row.managed,
            free_pages=row.free,
            free_cma=row.free_cma,
            wmark_min=row.wmark_min,
            wmark_low=row.wmark_low,
            wmark_high=row.wmark_high,
            protection=row.protection,
            pcp_count=row.pcp_count,
            buddy_counts=counts.get(key, ()),
            free_counts={t: r.counts for t, r in free.items()} if free else None,
            block_counts=dict(blocks) if blocks else None,
            block_types=None,
            blocks_inferred=False,
            lru_pages=row.lru_pages,
            start_known=row.start_pfn is not None,
        )

    @staticmethod
    def can_place(rows: Sequence[ZoneRow]) -> bool:
        """Whether zones are known well enough to place the words of kpageflags."""
        return bool(rows) and all(row.spanned and row.start_pfn is not None for row in rows)

    def own(self, rows: Sequence[ZoneRow], geometry: Geometry) -> list[Span]:
        spans, remarks = own_ranges(rows)
        if remarks and self.source.live:
            blocks = live_memory_blocks(rows, geometry.page_size)
            spans, remarks = own_ranges(rows, blocks)
        self.remarks += remarks
        return spans

    def infer(
        self,
        rows: Sequence[ZoneRow],
        infos: Sequence[ZoneInfo],
        runs: PageRuns,
        spans: Sequence[Span],
        geometry: Geometry,
        types: PageTypeInfo | None,
        ram: Sequence[tuple[int, int]] | None,
    ) -> list[Inferred]:
        inferred: list[Inferred] = []
        later = self.read_again(rows)
        for i, (row, info) in enumerate(zip(rows, infos, strict=True)):
            mine = [clip(runs, span.start, span.end) for span in spans if span.zone == i]
            facts = ZoneFacts(
                info.label,
                info.start_pfn,
                info.end_pfn,
                info.present,
                min(info.pcp_count, later[i].pcp_count),
                row.cma,
                geometry.max_order,
                geometry.pageblock_order,
                info.buddy_counts,
                info.block_counts,
                types.free.get((row.node, row.zone)) if types else None,
                ram,
                row.managed,
                max(info.pcp_count, later[i].pcp_count),
                row.pcp_batch,
            )
            found = infer_zone(concat(mine or [runs.take(np.arange(0))]), facts)
            self.remarks += found.remarks
            inferred.append(found)
        return inferred

    def remark_on_types(self, types: PageTypeInfo | None) -> None:
        if types is None:
            return
        if types.has_reserve:
            self.remarks.append(
                Remark(
                    "reserve",
                    "blocks of the old type Reserve are given as HIGHATOMIC (same number)",
                )
            )
        if any(any(row.capped) for zone in types.free.values() for row in zone.values()):
            self.remarks.append(Remark("pagetypeinfo", "counts above 100000 are capped there: lower bounds"))

    def read_again(self, rows: Sequence[ZoneRow]) -> Sequence[ZoneRow]:
        """The zones after kpageflags was read, where they can be: busy per-cpu lists change meanwhile."""
        found = self.source.text("zoneinfo") if self.source.live else None
        if found is None:
            return rows
        again = {(row.node, row.zone): row for row in parse_zoneinfo(*found)}
        return [again.get((row.node, row.zone), row) for row in rows]

    def remark_on_hidden_pages(self, rows: Sequence[ZoneRow], vmstat: dict[str, int]) -> None:
        """Kinds of pages that exist by the counters and that kpageflags cannot show."""
        pinned = vmstat.get("nr_foll_pin_acquired", 0) - vmstat.get("nr_foll_pin_released", 0)
        if pinned > 0:
            self.remarks.append(Remark("pins", f"vmstat counts {pinned} pins held; /proc does not say on which pages"))
        zspages = sum(row.counters.get("nr_zspages", 0) for row in rows)
        if zspages > 0:
            self.remarks.append(
                Remark(
                    "movable drivers",
                    f"zoneinfo counts {zspages} zsmalloc pages: movable, but they look like kernel pages in kpageflags",
                )
            )

    def with_unused_huge_pages(self, runs: PageRuns, pool: HugePool | None) -> PageRuns:
        """The runs with CLEAN, unused, on huge pages only where nobody maps exactly as many as meminfo counts free.

        Those of a hugetlbfs file are in use though nobody maps them; where the counts differ, all are given as in use.
        """
        unused = (runs.page_class == PageClass.HUGETLB) & (runs.flags & PageFlag.CLEAN != 0)
        if not unused.any():
            return runs
        of_pool = unused & (runs.order == pool.order) if pool is not None else np.zeros(len(runs), np.bool_)
        number = int(runs.nr_pages[of_pool].sum()) >> pool.order if pool is not None else 0
        right = pool is not None and number == pool.free
        if pool is not None and not right:
            self.remarks.append(
                Remark(
                    "huge pages",
                    f"{number} huge pages are not mapped, but meminfo counts {pool.free} free: which lie unused in the pool is "
                    "not known, so all are taken for used",
                    pageblocks=number,
                )
            )
        in_use = unused & ~of_pool if right else unused
        return replace(runs, flags=np.where(in_use, runs.flags & np.uint8(0xFF & ~PageFlag.CLEAN), runs.flags))

    def remark_on_buffers(self, runs: PageRuns, pageblock_order: int) -> None:
        """Metadata of file systems: which buffers are in use, no file tells."""
        is_file = runs.page_class == PageClass.FILE
        held = is_file & (runs.flags & PageFlag.PINNED != 0)
        maybe = is_file & (runs.flags & SCAN_BUFFERS != 0)
        if not (held | maybe).any():
            return
        blocks = len(np.unique(runs.start_pfn[held | maybe] >> pageblock_order))
        self.remarks.append(
            Remark(
                "buffers",
                f"{int(runs.nr_pages[held].sum())} pages hold dirty metadata of a file system: taken for held by its journal "
                f"until written back (sync); {int(runs.nr_pages[maybe].sum())} hold other metadata that was used lately and may "
                "be held, too: taken for movable",
                pageblocks=blocks,
            )
        )

    def remark_on_skew(self, report: ScanReport, pageblock_order: int) -> None:
        if report.nr_skewed:
            self.remarks.append(
                Remark(
                    "skew",
                    f"{report.nr_skewed} pages of compound pages have an impossible size or place, "
                    "since memory changed while it was read; they are given as single pages",
                )
            )
        if report.nr_mapcount_skewed:
            self.remarks.append(
                Remark(
                    "skew",
                    f"{report.nr_mapcount_skewed} pages of {report.nr_words} are mapped in one of "
                    "kpageflags and kpagecount and not in the other: the files differ in time",
                    round(1 - report.nr_mapcount_skewed / report.nr_words, 5),
                    pageblocks=report.nr_words >> pageblock_order,
                )
            )


def find_huge_pool(meminfo: dict[str, int], page_size: int) -> HugePool | None:
    """The default pool as meminfo counts it; None where it does not."""
    size = meminfo.get("Hugepagesize", 0) * 1024
    order = (size // page_size).bit_length() - 1
    if size < page_size or page_size << order != size or "HugePages_Free" not in meminfo:
        return None
    return HugePool(
        order, meminfo["HugePages_Free"], meminfo.get("HugePages_Rsvd", 0), meminfo.get("HugePages_Surp", 0)
    )


def with_types(info: ZoneInfo, found: Inferred) -> ZoneInfo:
    return replace(info, block_types=found.block_types, blocks_inferred=True, uninitialised=found.uninitialised)


def join_ranges(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """The spans without their owners: ascending ranges that do not touch."""
    ranges: list[tuple[int, int]] = []
    for span in spans:
        if ranges and ranges[-1][1] == span.start:
            ranges[-1] = (ranges[-1][0], span.end)
        else:
            ranges.append((span.start, span.end))
    return ranges


def runs_table(zones: Sequence[PageRuns]) -> pa.Table:
    """The zones' runs as one Arrow table of RUNS_SCHEMA."""
    index = np.repeat(np.arange(len(zones), dtype=np.int32), [len(runs) for runs in zones])
    columns = [
        index,
        np.concatenate([runs.start_pfn for runs in zones]).astype(np.uint64),
        np.concatenate([runs.nr_pages for runs in zones]).astype(np.uint64),
        np.concatenate([runs.page_class for runs in zones]),
        np.concatenate([runs.order for runs in zones]),
        np.concatenate([runs.migratetype for runs in zones]),
        np.concatenate([runs.flags for runs in zones]),
    ]
    return pa.table([pa.array(column) for column in columns], schema=RUNS_SCHEMA)
