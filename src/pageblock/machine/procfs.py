"""Parsers of the text files in /proc that describe physical memory.

Each takes the text of a file and its name, which error messages quote. They accept the layouts of
kernels 3.x to 6.19 and ignore lines that they do not need; a line that they do need and cannot
read raises InputError with the file, the line number, the text and what to do. So does a number
that no machine has: below 0, above 2^52, an order above 26.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from pageblock.errors import InputError
from pageblock.mm.types import Migratetype

__all__ = [
    "BuddyRow",
    "FreeRow",
    "IomemEntry",
    "PageTypeInfo",
    "ZoneRow",
    "parse_boot_image",
    "parse_buddyinfo",
    "parse_iomem",
    "parse_kernel_version",
    "parse_meminfo",
    "parse_pagetypeinfo",
    "parse_vmstat",
    "parse_zoneinfo",
]

ZoneKey = tuple[int, str]

#: Column names of pagetypeinfo. "Reserve" (MIGRATE_RESERVE, before 4.4) has HIGHATOMIC's number
#: and, like it, neither falls back nor is fallen back to.
TYPE_NAMES = {
    "Unmovable": Migratetype.UNMOVABLE,
    "Movable": Migratetype.MOVABLE,
    "Reclaimable": Migratetype.RECLAIMABLE,
    "HighAtomic": Migratetype.HIGHATOMIC,
    "Reserve": Migratetype.HIGHATOMIC,
    "CMA": Migratetype.CMA,
    "Isolate": Migratetype.ISOLATE,
}

BUDDY_LINE = re.compile(r"Node\s+([0-9]{1,6}),\s+zone\s+(\S+)\s+(.*)")
FREE_LINE = re.compile(r"Node\s+([0-9]{1,6}),\s+zone\s+(\S+),\s+type\s+(\S+)\s+(.*)")
ZONE_LINE = re.compile(r"Node\s+([0-9]{1,6}),\s+zone\s+(\S+)\s*$")
IOMEM_LINE = re.compile(r"(\s*)([0-9a-fA-F]{1,16})-([0-9a-fA-F]{1,16}) : (.*)")
WHOLE_NUMBER = re.compile(r"[0-9]+|-[0-9]+")

LRU_COUNTERS = ("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable")

#: The largest value of any field, and of any sum of pages: physical addresses have at most 64 bits.
MOST = 1 << 52

#: The largest order of a block: 2^26 pages of 4 KiB are 256 GiB.
MOST_ORDER = 26

#: From here on a counter is a negative one that the kernel printed as unsigned (per-cpu drift).
WRAPPED = 1 << 63


@dataclass(frozen=True)
class BuddyRow:
    """One zone of /proc/buddyinfo: free blocks per order, all migratetypes, ISOLATE included."""

    node: int
    zone: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class FreeRow:
    """One free list row of pagetypeinfo. Where ``capped``, the count is only a lower bound."""

    counts: tuple[int, ...]
    capped: tuple[bool, ...]


@dataclass(frozen=True)
class PageTypeInfo:
    """/proc/pagetypeinfo: geometry, free blocks per (zone, type, order), pageblocks per type."""

    pageblock_order: int | None
    pages_per_block: int | None
    free: dict[ZoneKey, dict[Migratetype, FreeRow]]
    blocks: dict[ZoneKey, dict[Migratetype, int]]
    has_reserve: bool


@dataclass
class ZoneRow:
    """One zone of /proc/zoneinfo, in pages. ``start_pfn`` is None where the file does not say."""

    node: int
    zone: str
    start_pfn: int | None = None
    free: int = 0
    wmark_min: int = 0
    wmark_low: int = 0
    wmark_high: int = 0
    spanned: int = 0
    present: int = 0
    managed: int | None = None
    cma: int = 0
    protection: tuple[int, ...] = ()
    pcp_count: int = 0
    pcp_high: int = 0
    pcp_batch: int = 0
    pcp_cpus: int = 0
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def free_cma(self) -> int:
        """Free pages on CMA free lists (nr_free_cma); 0 on kernels without CMA."""
        return self.counters.get("nr_free_cma", 0)

    @property
    def lru_pages(self) -> int | None:
        """Pages on the zone's LRU lists (nr_zone_* since 4.8, nr_* before); None where they are not counted."""
        for prefix in ("nr_zone_", "nr_"):
            names = [f"{prefix}{name}" for name in LRU_COUNTERS]
            if all(name in self.counters for name in names):
                return sum(self.counters[name] for name in names)
        return None


@dataclass(frozen=True)
class IomemEntry:
    """One line of /proc/iomem: bytes [start, end), nesting depth (0 = top) and label."""

    start: int
    end: int
    depth: int
    label: str


def malformed(source: str, number: int, line: str, expected: str) -> NoReturn:
    raise InputError(
        f"{source}, line {number}: expected {expected}, got {line.strip()[:80]!r}; "
        f"record the file again (cat /proc/{source.rsplit('/', 1)[-1].removesuffix('.zst')})"
    )


def content_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def integers(source: str, number: int, line: str, words: list[str], what: str, most: int = MOST) -> tuple[int, ...]:
    """Whole numbers from 0 to ``most``; anything else is refused with its value."""
    values: list[int] = []
    for word in words:
        if not WHOLE_NUMBER.fullmatch(word):
            malformed(source, number, line, what)
        # int() of a very long word would raise
        value = int(word) if len(word) <= 20 else None
        if value is None or not 0 <= value <= most:
            malformed(source, number, line, f"numbers from 0 to {most}, not {word[:24]}{'…' * (len(word) > 24)}")
        values.append(value)
    return tuple(values)


def free_counts(source: str, number: int, line: str, words: list[str]) -> tuple[int, ...]:
    """Free blocks, one number an order from 0 up, which together make at most ``MOST`` pages."""
    counts = integers(source, number, line, words, "one whole number per order")
    if not 1 <= len(counts) <= MOST_ORDER + 1:
        malformed(source, number, line, f"counts of the orders 0 to {MOST_ORDER} at most, not {len(counts)} counts")
    pages = sum(count << order for order, count in enumerate(counts))
    if pages > MOST:
        malformed(source, number, line, f"at most {MOST} free pages, not {pages}")
    return counts


def counter(source: str, number: int, line: str, word: str, what: str) -> int:
    """An event or page counter; one that is below 0 for the moment counts as 0, as the kernel itself shows most."""
    (value,) = integers(source, number, line, [word], what, (1 << 64) - 1)
    if value >= WRAPPED:
        return 0
    return integers(source, number, line, [word], what)[0]


def parse_buddyinfo(text: str, source: str) -> tuple[BuddyRow, ...]:
    """Read /proc/buddyinfo. The number of columns less one is the inclusive max order.

    Raises InputError on a malformed line, on rows of different lengths and on an empty file.
    """
    rows: list[BuddyRow] = []
    for number, line in content_lines(text):
        match = BUDDY_LINE.match(line)
        if not match:
            malformed(source, number, line, "'Node N, zone NAME' and one count per order")
        node, zone, rest = match.groups()
        counts = free_counts(source, number, line, rest.split())
        if rows and len(counts) != len(rows[0].counts):
            malformed(source, number, line, f"{len(rows[0].counts)} counts as in the first row")
        rows.append(BuddyRow(int(node), zone, counts))
    if not rows:
        raise InputError(f"{source}: no 'Node N, zone NAME' line in it; record /proc/buddyinfo again")
    return tuple(rows)


def parse_pagetypeinfo(text: str, source: str) -> PageTypeInfo:
    """Read /proc/pagetypeinfo; type columns and rows may come in any order.

    A cell capped by the kernel (">100000") keeps its number as a lower bound. Raises InputError on
    a malformed line, an unknown type or a pageblock order that contradicts the pages per block.
    """
    pageblock_order: int | None = None
    pages_per_block: int | None = None
    free: dict[ZoneKey, dict[Migratetype, FreeRow]] = {}
    blocks: dict[ZoneKey, dict[Migratetype, int]] = {}
    columns: list[Migratetype] | None = None
    has_reserve = False
    for number, line in content_lines(text):
        stripped = line.strip()
        if stripped.startswith("Page block order:"):
            value = stripped.partition(":")[2].split()
            (pageblock_order,) = integers(source, number, line, value[:1] or ["?"], "a number", MOST_ORDER)
        elif stripped.startswith("Pages per block:"):
            value = stripped.partition(":")[2].split()
            (pages_per_block,) = integers(source, number, line, value[:1] or ["?"], "a number", 1 << MOST_ORDER)
            if pages_per_block.bit_count() != 1:
                malformed(source, number, line, "a power of two")
        elif stripped.startswith("Free pages count per migrate type"):
            continue
        elif stripped.startswith("Number of blocks type"):
            names = stripped.removeprefix("Number of blocks type").split()
            unknown = [name for name in names if name not in TYPE_NAMES]
            if unknown:
                malformed(source, number, line, f"known migratetypes, not {unknown[0]!r}")
            has_reserve = has_reserve or "Reserve" in names
            columns = [TYPE_NAMES[name] for name in names]
        elif match := FREE_LINE.match(stripped):
            node, zone, name, rest = match.groups()
            if name not in TYPE_NAMES:
                malformed(source, number, line, f"a known migratetype, not {name!r}")
            has_reserve = has_reserve or name == "Reserve"
            words = rest.replace("> ", ">").split()
            counts = free_counts(source, number, line, [w.removeprefix(">") for w in words])
            capped = tuple(w.startswith(">") for w in words)
            free.setdefault((int(node), zone), {})[TYPE_NAMES[name]] = FreeRow(counts, capped)
        elif match := BUDDY_LINE.match(stripped):
            node, zone, rest = match.groups()
            counts = integers(source, number, line, rest.split(), "one block count per type")
            if columns is None:
                continue  # a buddyinfo row quoted above the table, as mails do
            if len(counts) != len(columns):
                malformed(source, number, line, f"{len(columns)} block counts as in the heading")
            row = blocks.setdefault((int(node), zone), {})
            for migratetype, count in zip(columns, counts, strict=True):
                row[migratetype] = row.get(migratetype, 0) + count
        elif stripped.startswith("Number of mixed blocks"):
            break  # CONFIG_PAGE_OWNER appends a third table, which nothing here needs
        else:
            malformed(source, number, line, "a heading or a 'Node N, zone NAME' row")
    if not free and not blocks:
        raise InputError(f"{source}: no free list row in it; record /proc/pagetypeinfo again as root")
    if pageblock_order is not None and pages_per_block not in (None, 1 << pageblock_order):
        raise InputError(
            f"{source}: page block order {pageblock_order} and {pages_per_block} pages per block "
            "contradict each other; record /proc/pagetypeinfo again"
        )
    if pageblock_order is None and pages_per_block is not None:
        pageblock_order = pages_per_block.bit_length() - 1
    return PageTypeInfo(pageblock_order, pages_per_block, free, blocks, has_reserve)


ZONE_FIELDS = {
    "min": "wmark_min",
    "low": "wmark_low",
    "high": "wmark_high",
    "spanned": "spanned",
    "present": "present",
    "managed": "managed",
    "cma": "cma",
}
PAGESET_FIELDS = {"count:": "pcp_count", "high:": "pcp_high", "batch:": "pcp_batch"}


def parse_zoneinfo(text: str, source: str) -> tuple[ZoneRow, ...]:
    """Read /proc/zoneinfo of kernels 3.x to 6.19; empty zones are kept.

    Per-cpu page sets are summed over the CPUs. ``managed`` is None before 3.8. Counters (``nr_*``)
    of the zone, not of its node, are in ``counters``. Raises InputError on a malformed number and
    on a file without any zone.
    """
    rows: list[ZoneRow] = []
    section = ""
    for number, line in content_lines(text):
        if match := ZONE_LINE.match(line.strip()):
            rows.append(ZoneRow(int(match[1]), match[2]))
            section = "zone"
            continue
        words = line.split()
        if not rows:
            malformed(source, number, line, "'Node N, zone NAME' before any other line")
        row = rows[-1]
        key = words[0]
        if words[:2] == ["per-node", "stats"]:
            section = "node"
        elif words[:2] == ["pages", "free"]:
            section = "zone"
            (row.free,) = integers(source, number, line, words[2:3] or ["?"], "'pages free N'")
        elif key == "pagesets":
            section = "pagesets"
        elif key.startswith("protection:"):
            inside = line.partition("(")[2].partition(")")[0].replace(",", " ").split()
            row.protection = integers(source, number, line, inside, "'protection: (N, ...)'")
        elif key == "start_pfn:":
            (row.start_pfn,) = integers(source, number, line, words[1:2] or ["?"], "'start_pfn: N'")
        elif section == "pagesets" and key == "cpu:":
            row.pcp_cpus += 1
        elif section == "pagesets" and key in PAGESET_FIELDS:
            (value,) = integers(source, number, line, words[1:2] or ["?"], f"'{key} N'")
            name = PAGESET_FIELDS[key]
            setattr(row, name, getattr(row, name) + value)
        elif section == "zone" and key in ZONE_FIELDS:
            (value,) = integers(source, number, line, words[1:2] or ["?"], f"'{key} N'")
            setattr(row, ZONE_FIELDS[key], value)
        elif section == "zone" and key.startswith("nr_"):
            row.counters[key] = counter(source, number, line, (words[1:2] or ["?"])[0], f"'{key} N'")
    if not rows:
        raise InputError(f"{source}: no 'Node N, zone NAME' line in it; record /proc/zoneinfo again")
    return tuple(rows)


def parse_iomem(text: str, source: str) -> tuple[IomemEntry, ...] | None:
    """Read /proc/iomem as byte ranges; None when every address is zero, as unprivileged users see.

    Raises InputError on a malformed line.
    """
    entries: list[IomemEntry] = []
    for number, line in content_lines(text):
        match = IOMEM_LINE.match(line)
        if not match:
            malformed(source, number, line, "'START-END : LABEL' in hexadecimal")
        indent, start, end, label = match.groups()
        entries.append(IomemEntry(int(start, 16), int(end, 16) + 1, len(indent) // 2, label.strip()))
    if all(entry.start == 0 and entry.end == 1 for entry in entries):
        return None
    return tuple(entries)


def parse_meminfo(text: str, source: str) -> dict[str, int]:
    """Read /proc/meminfo: name to kB (HugePages_* are plain counts). Raises InputError."""
    values: dict[str, int] = {}
    for number, line in content_lines(text):
        name, colon, rest = line.partition(":")
        words = rest.split()
        if not colon or not words:
            malformed(source, number, line, "'NAME: N kB'")
        (values[name.strip()],) = integers(source, number, line, words[:1], "'NAME: N kB'")
    return values


def parse_vmstat(text: str, source: str) -> dict[str, int]:
    """Read /proc/vmstat: counter name to value. Raises InputError."""
    values: dict[str, int] = {}
    for number, line in content_lines(text):
        words = line.split()
        if len(words) != 2:
            malformed(source, number, line, "'NAME N'")
        values[words[0]] = counter(source, number, line, words[1], "'NAME N'")
    return values


def parse_kernel_version(text: str) -> str | None:
    """The release out of /proc/version or `uname -a` ("6.1.0-18-amd64"); None if it names none."""
    match = re.search(r"(?:Linux version|Linux \S+) (\d+\.\d+\S*)", text)
    return match[1] if match else None


def parse_boot_image(cmdline: str) -> str | None:
    """The release out of the name of the boot image on the command line ("vmlinuz-4.18.0-80.el8"); None if it has none."""
    match = re.search(r"BOOT_IMAGE=\S*?vmlinu[xz]-(\d+\.\d+\S*)", cmdline)
    return match[1] if match else None
