"""A vmcore or the running kernel through drgn: what no /proc file tells, read from the kernel's own structures.

Exact are the order of free and per-cpu lists, the types of pageblocks, and the references of each page. struct pages are read in
bulk, a memory section at a time, and their fields taken apart in numpy; only lists' heads and zones go through drgn's objects.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pageblock.errors import InputError
from pageblock.mm.types import Migratetype, PageClass, PageFlag

from . import kpf
from .cma_area import CmaArea
from .drgn_cma import read_cma_areas
from .drgn_large import LargeLayout, large_pages
from .held import MOST_HELD, HeldPages
from .infer import Remark
from .kpageflags import SCAN_ZERO, scan_pieces
from .lists import COSTLY_ORDER, PCP_TYPES, FreeLists
from .page_structs import Bits, PageColumns, kpageflags_words, movable_by_driver, unexplained_references
from .runs import PageRuns, clip, concat, fill_holes, make_runs, merge
from .snapshot import Snapshot, ZoneInfo, runs_table
from .sources import core_remark

__all__ = ["read_core"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Progress = Callable[[int, int], None]

#: Entries of one list at most: a loop in a torn dump must end.
MOST_LIST = 1 << 26


def read_core(path: Path, symbols: Path | None = None, progress: Progress | None = None) -> Snapshot:
    """The machine in a kernel dump; /proc/kcore is one of the running kernel.

    ``symbols``: the kernel's vmlinux with debug information; without it drgn looks where distributions put it. Raises
    InputError: drgn is not installed, the file is no kernel dump, cut off, or without debug information.
    """
    began = time.perf_counter()
    try:
        import drgn
    except ImportError as error:
        raise InputError(f"{path}: a kernel dump needs drgn: pip install 'pageblock[drgn]'") from error
    # what is missing is said by the error, in one line
    logging.getLogger("drgn").setLevel(logging.CRITICAL)
    program = drgn.Program()
    try:
        program.set_core_dump(path)
        if not program.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
            raise InputError(f"{path}: a core dump, but of no kernel: it has no VMCOREINFO")
        load_symbols(program, symbols)
        return CoreReader(program, path, progress).read(began)
    except drgn.MissingDebugInfoError as error:
        raise InputError(
            f"{path}: no debug information for its kernel ({reason(error)}); install it, or name vmlinux with capture --symbols"
        ) from error
    except drgn.FaultError as error:
        raise InputError(
            f"{path}: memory that is needed is not in the dump ({reason(error)}); dump again, whole"
        ) from error
    except InputError:
        raise
    except Exception as error:
        # drgn passes libelf's and libdw's errors on as plain Exception
        raise InputError(f"{path}: no kernel dump that can be read ({reason(error)})") from error


def load_symbols(program: Any, symbols: Path | None) -> None:
    if symbols is None:
        program.load_default_debug_info()
    else:
        program.load_debug_info([symbols])


def reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]


@dataclass(frozen=True)
class PageLayout:
    """Where struct pages lie, and fields in them: offsets in bytes. Only memory maps that are one array are read."""

    base: int
    size: int
    offsets: dict[str, int]

    def column(self, raw: NDArray[np.uint8], name: str, kind: str) -> NDArray[Any]:
        """One field of all struct pages of a piece of the memory map."""
        pages = raw.reshape(-1, self.size)
        offset = self.offsets[name]
        return np.ascontiguousarray(pages[:, offset : offset + np.dtype(kind).itemsize]).view(kind).ravel()


class CoreReader:
    """One reading of a program."""

    def __init__(self, program: Any, path: Path, progress: Progress | None) -> None:
        from drgn import offsetof
        from drgn.helpers.linux.mm import pfn_to_page

        self.program = program
        self.path = path
        self.progress = progress
        self.remarks: list[Remark] = []
        page = program.type("struct page")
        names = ("flags", "lru", "compound_head", "mapping", "page_type", "_refcount")
        offsets = {name: offsetof(page, name) for name in names}
        self.layout = PageLayout(pfn_to_page(program, 0).value_(), page.size, offsets)
        self.release: str = program["init_uts_ns"].name.release.string_().decode(errors="replace")
        self.large = LargeLayout.of(program, version_of(self.release))
        enums = {"flags": self.enumerators("enum pageflags"), "types": self.enumerators("enum pagetype")}
        self.bits = Bits(enums["flags"], {n[5:]: v for n, v in enums["types"].items() if n.startswith("PGTY_")})
        kernel_types = {value: name[8:] for name, value in self.enumerators("enum migratetype").items()}
        kernel_types |= {self.enumerators("enum migratetype")["MIGRATE_HIGHATOMIC"]: "HIGHATOMIC"}
        #: the kernel's number of a type -> ours: without CMA the kernel counts differently
        self.types = np.full(256, Migratetype.MOVABLE, np.uint8)
        for value, name in kernel_types.items():
            if name in Migratetype.__members__:
                self.types[value] = Migratetype[name]
        self.section_pages = 1 << int(program["SECTION_SIZE_BITS"]) - int(program["PAGE_SHIFT"])
        #: lru.next of the pages of each section, by its first pfn
        self.nexts: dict[int, U64] = {}

    def enumerators(self, name: str) -> dict[str, int]:
        """Names and values of an enumeration; none where this kernel has none of the name."""
        try:
            return dict(self.program.type(name).enumerators)
        except LookupError:
            return {}

    def read(self, began: float) -> Snapshot:
        program = self.program
        page_size = int(program["PAGE_SIZE"])
        zones = list(self.zones())
        max_order = zones[0].free_area.type_.length - 1
        # a huge page is a page of page table entries (8 bytes each) on every architecture that is read here
        pageblock_order = min((page_size // 8).bit_length() - 1, max_order) if "hstates" in program else max_order
        if "pageblock_order" in program:
            pageblock_order = int(program["pageblock_order"])
        spans = [(int(z.zone_start_pfn), int(z.zone_start_pfn) + int(z.spanned_pages)) for z in zones]
        sections = list(self.sections(min(s for s, _ in spans), max(e for _, e in spans)))
        words, counted, drivers = self.read_pages(sections, spans)
        held = without(counted, self.batched())
        lists = self.lists(zones, max_order, pageblock_order)
        for i in range(len(lists.pfn)):
            self.mark_free(words, int(lists.pfn[i]), 1 << int(lists.order[i]))
        runs = self.runs_of(words)
        infos: list[ZoneInfo] = []
        parts: list[PageRuns] = []
        at = np.maximum(np.searchsorted(runs.start_pfn, held.pfn, "right") - 1, 0)
        held = replace(held, order=runs.order[at].astype(np.int64)) if len(held) else held
        types = self.pageblock_types(sections, spans, pageblock_order)
        for i, (zone, (start, end)) in enumerate(zip(zones, spans, strict=True)):
            mine = lists.take(lists.zone == i)
            part = self.zone_runs(clip(runs, start, end), mine, zone, start, end)
            part = marked(part, held.pfn, None, PageFlag.PINNED)
            parts.append(merge(marked(part, np.array(drivers, np.int64), PageClass.MOVABLE_OPS, 0)))
            infos.append(self.zone_info(zone, mine, types[i], pageblock_order, max_order))
        areas = read_cma_areas(program)
        self.remark(held, drivers, areas)
        known = sorted((start, start + len(piece)) for start, piece in words.items())
        return Snapshot(
            str(self.path),
            self.release,
            page_size,
            max_order,
            pageblock_order,
            tuple(infos),
            runs_table(parts),
            tuple(self.remarks),
            ("vmcore",),
            (),
            time.perf_counter() - began,
            ram=tuple(known),
            lists=lists,
            held=held.take(np.arange(min(len(held), MOST_HELD))),
            cma_areas=areas,
        )

    def zones(self) -> Iterator[Any]:
        """Zones with memory, by node and kind."""
        from drgn.helpers.linux.mmzone import for_each_online_pgdat

        for node in for_each_online_pgdat(self.program):
            for zone in node.node_zones:
                if zone.present_pages:
                    yield zone

    def sections(self, start: int, end: int) -> Iterator[tuple[int, int, Any]]:
        """Start, pages and mem_section of each online section that has pages in [start, end)."""
        from drgn.helpers.linux.mmzone import nr_to_section, online_section

        pages = self.section_pages
        for number in range(start // pages, -(-end // pages)):
            section = nr_to_section(self.program, number)
            if online_section(section):
                yield number * pages, pages, section

    def read_pages(
        self, sections: list[tuple[int, int, Any]], spans: list[tuple[int, int]]
    ) -> tuple[dict[int, U64], HeldPages, list[int]]:
        """Words by section start; pages with references beyond the expected ones; pfns of pages that drivers can move."""
        words: dict[int, U64] = {}
        held: list[I64] = []
        drivers: list[int] = []
        total = sum(pages for _, pages, _ in sections)
        for done, (start, pages, _) in enumerate(sections, 1):
            # the zones may end inside the section, and the memory map with them
            last = max(min(end, start + pages) for low, end in spans if end > start and low < start + pages)
            size = (last - start) * self.layout.size
            raw = np.frombuffer(self.program.read(self.layout.base + start * self.layout.size, size), np.uint8)
            columns = self.columns_of(raw)
            words[start] = kpageflags_words(columns, self.bits)
            self.nexts[start] = self.layout.column(raw, "lru", "<u8")
            held.append(self.held_in(start, raw, columns, words[start]))
            drivers += (np.flatnonzero(movable_by_driver(columns, self.bits)) + start).tolist()
            if self.progress is not None:
                self.progress(min(done * pages, total), total)
        return words, HeldPages.of_rows(np.concatenate([*held, np.empty((0, 7), np.int64)])), drivers

    def held_in(self, start: int, raw: NDArray[np.uint8], columns: PageColumns, words: U64) -> I64:
        """Rows of ``HeldPages`` of one piece of the memory map, orders left out (0)."""
        table = raw.reshape(-1, self.layout.size)

        def count(heads: I64, offset: int, kind: str) -> NDArray[Any]:
            ahead, inside = divmod(offset, self.layout.size)
            field = table[heads + ahead, inside : inside + np.dtype(kind).itemsize]
            return np.ascontiguousarray(field).view(kind).ravel()

        extra = unexplained_references(columns, self.bits)
        single = np.flatnonzero(extra).astype(np.int64)
        large = large_pages(columns, self.bits, self.large, count)
        some = large.extra > 0
        at = np.concatenate([single, large.at[some]])
        mapped = columns.page_type[single].astype(np.int32).astype(np.int64) + 1
        rows = np.column_stack(
            [
                start + at,
                np.zeros(len(at), np.int64),
                columns.refcount[at],
                np.concatenate([mapped, large.mapcount[some]]),
                np.concatenate([np.full(len(single), -1, np.int64), large.pins[some]]),
                np.concatenate([extra[single], large.extra[some]]),
                words[at].astype(np.int64),
            ]
        )
        return rows[np.argsort(rows[:, 0])]

    def columns_of(self, raw: NDArray[np.uint8]) -> PageColumns:
        column = self.layout.column
        page_type: NDArray[np.uint32] = column(raw, "page_type", "<u4")
        hugetlb = self.bits.of_type(page_type, "hugetlb")
        if "PGTY_hugetlb" not in self.enumerators("enum pagetype"):
            hugetlb = self.hugetlb_by_destructor(raw)
        return PageColumns(
            column(raw, "flags", "<u8"),
            column(raw, "compound_head", "<u8"),
            column(raw, "mapping", "<u8"),
            page_type,
            column(raw, "_refcount", "<i4"),
            hugetlb,
        )

    def hugetlb_by_destructor(self, raw: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Heads whose first tail names hugetlb's destructor, up to 6.5."""
        from drgn import offsetof

        found = np.zeros(len(raw) // self.layout.size, np.bool_)
        number = self.enumerators("enum compound_dtor_id").get("HUGETLB_PAGE_DTOR")
        if number is not None:
            offset = offsetof(self.program.type("struct page"), "compound_dtor")
            found[:-1] = raw.reshape(-1, self.layout.size)[1:, offset] == number
        return found

    def batched(self) -> dict[int, int]:
        """References that per-cpu LRU batches hold, by pfn."""
        from drgn.helpers.linux.cpumask import for_each_online_cpu
        from drgn.helpers.linux.percpu import per_cpu

        found: dict[int, int] = {}
        for name in ("cpu_fbatches", "lru_rotate"):
            if name not in self.program:
                continue
            for cpu in for_each_online_cpu(self.program):
                value = per_cpu(self.program[name], cpu)
                for member in value.type_.members:
                    if member.type.type_name() != "struct folio_batch":
                        continue
                    batch = getattr(value, member.name)
                    for i in range(min(int(batch.nr), batch.folios.type_.length)):
                        pfn = self.pfn_of(batch.folios[i].value_())
                        found[pfn] = found.get(pfn, 0) + 1
        return found

    def pfn_of(self, address: int) -> int:
        return (address - self.layout.base) // self.layout.size

    def section_start(self, pfn: int) -> int:
        return pfn // self.section_pages * self.section_pages

    def walk(self, head: Any) -> list[int]:
        """Pfns of the pages of one list, head first. Raises ValueError where it does not end at its head."""
        end, at = head.address_, head.next.value_()
        offset = self.layout.offsets["lru"]
        found: list[int] = []
        while at != end:
            pfn = self.pfn_of(at - offset)
            start = self.section_start(pfn)
            piece = self.nexts.get(start)
            if piece is None or pfn - start >= len(piece) or len(found) >= MOST_LIST:
                raise ValueError(f"a free list leads to {at:#x}, which is no page: the dump was taken while it changed")
            found.append(pfn)
            at = int(piece[pfn - start])
        return found

    def lists(self, zones: list[Any], max_order: int, pageblock_order: int) -> FreeLists:
        """All free lists and per-cpu lists in their order."""
        rows: list[tuple[int, list[int], int, int, bool]] = []
        for i, zone in enumerate(zones):
            for order in range(max_order + 1):
                for kernel_type, head in enumerate(zone.free_area[order].free_list):
                    rows.append((i, self.walk(head), order, int(self.types[kernel_type]), False))
            for pages in self.pagesets(zone):
                for index, head in enumerate(pages.lists):
                    order, migratetype = pcp_kind(index, pages.lists.type_.length, pageblock_order)
                    rows.append((i, self.walk(head), order, migratetype, True))
        sizes = [len(row[1]) for row in rows]
        return FreeLists(
            np.repeat([row[0] for row in rows], sizes).astype(np.int64),
            np.array([pfn for row in rows for pfn in row[1]], np.int64),
            np.repeat([row[2] for row in rows], sizes).astype(np.int64),
            np.repeat([row[3] for row in rows], sizes).astype(np.int64),
            np.repeat([row[4] for row in rows], sizes).astype(np.bool_),
        )

    def pagesets(self, zone: Any) -> Iterator[Any]:
        """struct per_cpu_pages of each CPU (5.14 and later; before, per-cpu pages are not told apart)."""
        from drgn.helpers.linux.cpumask import for_each_online_cpu
        from drgn.helpers.linux.percpu import per_cpu_ptr

        if zone.type_.has_member("per_cpu_pageset"):
            for cpu in for_each_online_cpu(self.program):
                yield per_cpu_ptr(zone.per_cpu_pageset, cpu)

    def mark_free(self, words: dict[int, U64], pfn: int, nr_pages: int) -> None:
        """Give the pages of a listed block the word of free pages."""
        while nr_pages:
            start = self.section_start(pfn)
            step = min(nr_pages, start + self.section_pages - pfn)
            if start in words:
                words[start][pfn - start : pfn - start + step] = kpf.KPF_BUDDY
            pfn, nr_pages = pfn + step, nr_pages - step

    def runs_of(self, words: dict[int, U64]) -> PageRuns:
        found = scan_pieces(sorted(words.items()))
        return make_runs(
            found.start_pfn, found.nr_pages, found.page_class, found.order, found.flags & np.uint8(0xFF & ~SCAN_ZERO)
        )

    def zone_runs(self, runs: PageRuns, mine: FreeLists, zone: Any, start: int, end: int) -> PageRuns:
        """The zone's runs with free blocks and per-cpu pages as the lists have them."""
        page_class = np.where(mine.pcp, np.uint8(PageClass.PCP), np.uint8(PageClass.FREE))
        listed = make_runs(
            mine.pfn,
            np.int64(1) << mine.order,
            page_class,
            mine.order.astype(np.uint8),
            0,
            mine.migratetype.astype(np.uint8),
        )
        others = runs.take(runs.page_class != PageClass.FREE)
        return fill_holes(concat([others, listed]), start, end)

    def pageblock_types(
        self, sections: list[tuple[int, int, Any]], spans: list[tuple[int, int]], pageblock_order: int
    ) -> list[NDArray[np.uint8]]:
        """The types of each zone's pageblocks (mem_section_usage.pageblock_flags); MOVABLE where there is no memory."""
        bits = self.enumerators("enum pageblock_bits")
        width = bits.get("NR_PAGEBLOCK_BITS") or 1 << (bits["__NR_PAGEBLOCK_BITS"] - 1).bit_length()
        found: dict[int, NDArray[np.uint8]] = {}
        for start, pages, section in sections:
            blocks = pages >> pageblock_order
            address = section.usage.pageblock_flags.address_of_().value_()
            raw = np.frombuffer(self.program.read(address, max(8, blocks * width // 8)), np.uint8)
            cells = np.unpackbits(raw, bitorder="little").reshape(-1, width)[:blocks]
            kernel_type = cells[:, 0] | cells[:, 1] << 1 | cells[:, 2] << 2
            if "PB_migrate_isolate" in bits:
                isolated = cells[:, bits["PB_migrate_isolate"]] > 0
                kernel_type = np.where(isolated, self.enumerators("enum migratetype")["MIGRATE_ISOLATE"], kernel_type)
            found[start >> pageblock_order] = self.types[kernel_type]
        zones: list[NDArray[np.uint8]] = []
        for start, end in spans:
            first, last = start >> pageblock_order, ((end - 1) >> pageblock_order) + 1
            types = np.full(last - first, Migratetype.MOVABLE, np.uint8)
            for block, piece in found.items():
                low, high = max(block, first), min(block + len(piece), last)
                if high > low:
                    types[low - first : high - first] = piece[low - block : high - block]
            zones.append(types)
        return zones

    def zone_info(
        self, zone: Any, mine: FreeLists, types: NDArray[np.uint8], pageblock_order: int, max_order: int
    ) -> ZoneInfo:
        items = self.enumerators("enum zone_stat_item")

        def counter(name: str) -> int:
            return max(0, int(zone.vm_stat[items[name]].counter)) if name in items else 0

        buddy = mine.take(~mine.pcp)
        free = {
            t: tuple(np.bincount(buddy.order[buddy.migratetype == t], minlength=max_order + 1).tolist())
            for t in Migratetype
        }
        boost = int(zone.watermark_boost) if zone.type_.has_member("watermark_boost") else 0
        lru = ("INACTIVE_ANON", "ACTIVE_ANON", "INACTIVE_FILE", "ACTIVE_FILE", "UNEVICTABLE")
        return ZoneInfo(
            node=int(zone.zone_pgdat.node_id),
            name=zone.name.string_().decode(errors="replace"),
            start_pfn=int(zone.zone_start_pfn),
            spanned=int(zone.spanned_pages),
            present=int(zone.present_pages),
            managed=int(zone.managed_pages.counter),
            free_pages=counter("NR_FREE_PAGES"),
            free_cma=counter("NR_FREE_CMA_PAGES"),
            wmark_min=int(zone._watermark[0]) + boost,
            wmark_low=int(zone._watermark[1]) + boost,
            wmark_high=int(zone._watermark[2]) + boost,
            protection=tuple(int(value) for value in zone.lowmem_reserve),
            pcp_count=int((np.int64(1) << mine.order[mine.pcp]).sum()),
            buddy_counts=tuple(np.bincount(buddy.order, minlength=max_order + 1).tolist()),
            free_counts=free,
            block_counts={t: int((types == t).sum()) for t in Migratetype},
            block_types=types,
            blocks_inferred=False,
            lru_pages=sum(counter(f"NR_ZONE_{name}") for name in lru),
        )

    def remark(self, held: HeldPages, drivers: list[int], areas: Sequence[CmaArea]) -> None:
        self.remarks.append(core_remark())
        large = int((held.order > 0).sum())
        text = f"{len(held):,} pages that migration takes, {large:,} of them huge, "
        text += "have references that no mapping, cache, buffer or LRU batch explains"
        if len(held):
            text += f", e.g. pfn {int(held.pfn[0]):#x}; they count as pinned, which may pass"
        self.remarks.append(Remark("pins", text))
        names = ", ".join(f"{area.name} ({area.nr_used:,} of {area.nr_pages:,} pages given out)" for area in areas)
        self.remarks.append(Remark("CMA areas", names or "none, or a kernel without CONFIG_CMA", 1.0))
        if drivers:
            self.remarks.append(Remark("movable drivers", f"{len(drivers):,} pages that their driver can move"))


def pcp_kind(index: int, nr_lists: int, pageblock_order: int) -> tuple[int, int]:
    """Order and type of a per-cpu list (pindex_to_order, mm/page_alloc.c): single pages, small orders, huge pages."""
    if index < PCP_TYPES * (COSTLY_ORDER + 1):
        return index // PCP_TYPES, index % PCP_TYPES
    thp_lists = nr_lists - PCP_TYPES * (COSTLY_ORDER + 1)
    at = index - PCP_TYPES * (COSTLY_ORDER + 1)
    # one list for huge pages, or one for movable ones and one for the rest, or one a type (5.15)
    movable = thp_lists == 1 or at == Migratetype.MOVABLE
    return pageblock_order, Migratetype.MOVABLE if movable else at


def marked(runs: PageRuns, pfns: I64, page_class: PageClass | None, flag: int) -> PageRuns:
    """Runs with single units (pages, compound pages by their head) made another class, or given a flag. ``pfns`` ascend."""
    if not len(runs):
        return runs
    at = np.searchsorted(runs.start_pfn, pfns, "right") - 1
    unit = np.int64(1) << runs.order[at].astype(np.int64)
    keep = (at >= 0) & (pfns < runs.end_pfn[at]) & ((pfns - runs.start_pfn[at]) % unit == 0)
    pfn, unit = pfns[keep], unit[keep]
    if not len(pfn):
        return runs
    # cut the runs before and after each unit
    edges = np.unique(np.concatenate([runs.start_pfn, pfn, pfn + unit]))
    owner = np.searchsorted(runs.start_pfn, edges, "right") - 1
    inside = edges < runs.end_pfn[owner]
    edges, owner = edges[inside], owner[inside]
    ends = np.minimum(np.append(edges[1:], runs.end_pfn[-1]), runs.end_pfn[owner])
    pieces = runs.take(owner)
    chosen = np.isin(edges, pfn)
    return PageRuns(
        edges,
        ends - edges,
        pieces.page_class if page_class is None else np.where(chosen, np.uint8(page_class), pieces.page_class),
        pieces.order,
        np.where(chosen, pieces.flags | np.uint8(flag), pieces.flags),
        pieces.migratetype,
    )


def without(held: HeldPages, batched: Mapping[int, int]) -> HeldPages:
    """The pages that are still held when the references of LRU batches, by pfn, are taken off."""
    extra = held.extra - np.array([batched.get(pfn, 0) for pfn in held.pfn.tolist()], np.int64)
    return replace(held, extra=extra).take(extra > 0)


def version_of(release: str) -> tuple[int, int]:
    """Version and patch level of a kernel's release; (0, 0) where it says none."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
