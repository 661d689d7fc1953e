"""Files that cannot be of one machine and moment: refused in one line, before an answer is built on them.

Only gross contradictions count. Files are read one after another, so small ones are normal; of the running kernel's own
files none is refused.
"""

from collections.abc import Iterable, Mapping, Sequence

from pageblock.errors import InputError
from pageblock.mm.types import PageClass, PageFlag

from .freeblocks import heads_only
from .kpageflags import SCAN_ZERO, ScanReport
from .layout import Span
from .procfs import BuddyRow, FreeRow, IomemEntry, PageTypeInfo, ZoneRow
from .runs import PageRuns, clip

__all__ = ["check_free_words", "check_totals", "check_words", "check_zones"]

#: Pages of difference from which on a factor of two between two files counts as a contradiction.
MANY_PAGES = 4096

TOGETHER = "the files are not of one machine and moment, record them together"


def far_apart(one: int, other: int) -> bool:
    """Whether two counts of the same pages differ by a factor of two and by thousands."""
    return abs(one - other) >= MANY_PAGES and not other <= 2 * one <= 4 * other


def check_zones(
    rows: Sequence[ZoneRow], buddy: Sequence[BuddyRow], types: PageTypeInfo | None, pageblock_order: int
) -> None:
    """Compare zones, free pages and pageblocks of zoneinfo, buddyinfo and pagetypeinfo. Raises InputError."""
    zones = {(row.node, row.zone): row for row in rows if row.present}
    listed = {(row.node, row.zone): row for row in buddy}
    blocks = types.blocks if types else {}
    for name, known in (("buddyinfo", set(listed)), ("pagetypeinfo", set(blocks))):
        if zones and known and (wrong := sorted(known ^ set(zones))):
            node, zone = wrong[0]
            has, lacks = (name, "zoneinfo") if wrong[0] in known else ("zoneinfo", name)
            raise InputError(f"{has} has node {node} zone {zone} with memory, {lacks} has not; {TOGETHER}")
    for key, row in zones.items():
        place = f"node {key[0]} zone {key[1]}"
        if key in listed:
            pages = sum(count << order for order, count in enumerate(listed[key].counts))
            # present leaves out the memory map before 3.8, where managed is not given
            room = row.spanned if row.managed is None else row.present
            if far_apart(row.free, pages) or pages > room:
                raise InputError(
                    f"{place}: zoneinfo has {row.free} free pages of {room}, buddyinfo {pages}; {TOGETHER}"
                )
            if types is not None and key in types.free:
                check_type_lists(place, types.free[key].values(), pages)
        if key in blocks:
            counted = sum(blocks[key].values()) << pageblock_order
            managed = row.managed or 0
            # old kernels count pageblocks without memory too, so anything up to the span is possible
            if counted > row.spanned + (2 << pageblock_order) or (managed > counted and far_apart(managed, counted)):
                raise InputError(
                    f"{place}: zoneinfo spans {row.spanned} pages and manages {managed}, pagetypeinfo counts "
                    f"pageblocks for {counted}; {TOGETHER}"
                )


def check_totals(
    rows: Sequence[ZoneRow], meminfo: Mapping[str, int], iomem: Sequence[IomemEntry] | None, page_size: int
) -> None:
    """Compare the memory of meminfo and iomem with the zones'. Raises InputError.

    A guest that initialises memory late has more in total than it manages yet.
    """
    present = sum(row.present for row in rows)
    managed = sum(row.managed or 0 for row in rows)
    total = meminfo.get("MemTotal", 0) * 1024 // page_size
    ram = sum(e.end - e.start for e in iomem or () if e.label.startswith("System RAM")) // page_size
    if total and present and far_apart(total, min(max(total, managed), present)):
        raise InputError(f"meminfo has {total} pages in all, zoneinfo {present} present; {TOGETHER}")
    if ram and present and far_apart(ram, present):
        raise InputError(f"iomem has {ram} pages of System RAM, zoneinfo {present} present; {TOGETHER}")


def check_type_lists(place: str, rows: Iterable[FreeRow], pages: int) -> None:
    """Compare the free lists per type with buddyinfo's pages; where a cell is capped they are a lower bound."""
    lists = list(rows)
    typed = sum(count << order for row in lists for order, count in enumerate(row.counts))
    capped = any(any(row.capped) for row in lists)
    if far_apart(typed, pages) and not (capped and typed < pages):
        raise InputError(f"{place}: pagetypeinfo has {typed} free pages, buddyinfo {pages}; {TOGETHER}")


def check_words(report: ScanReport, name: str) -> None:
    """Refuse words that no kernel gives: all 0, or most of them parts of impossible compound pages."""
    if report.nr_words < MANY_PAGES:
        return
    if (report.runs.flags & SCAN_ZERO).all():
        raise InputError(f"{name}: every word is 0; record kpageflags again as root, with CAP_SYS_ADMIN")
    sound = int(report.runs.nr_pages[report.runs.flags & PageFlag.COMPOUND != 0].sum())
    if report.nr_skewed > max(MANY_PAGES, sound):
        raise InputError(
            f"{name}: {report.nr_skewed} words are parts of impossible compound pages, {sound} of sound ones; "
            "this is no copy of /proc/kpageflags, record it again"
        )


def check_free_words(
    runs: PageRuns, spans: Sequence[Span], rows: Sequence[ZoneRow], buddy: Sequence[BuddyRow], name: str
) -> None:
    """Compare the free pages of kpageflags with buddyinfo's, else zoneinfo's, zone by zone. Raises InputError."""
    counts = {(row.node, row.zone): row.counts for row in buddy}
    for i, row in enumerate(rows):
        mine = [clip(runs, span.start, span.end) for span in spans if span.zone == i]
        words = sum(int(part.nr_pages[part.page_class == PageClass.FREE].sum()) for part in mine)
        listed = counts.get((row.node, row.zone), ())
        pages, source = row.free, "zoneinfo"
        if listed:
            pages, source = sum(count << order for order, count in enumerate(listed)), "buddyinfo"
            if heads_only(words, listed) and not far_apart(words, sum(listed)):
                continue  # such a kernel marks free blocks, not free pages
        if far_apart(words, pages):
            raise InputError(
                f"{name}: {words} free pages in node {row.node} zone {row.zone}, {source} has {pages}; {TOGETHER}"
            )
