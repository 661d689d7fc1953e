"""One snapshot of a machine, as consistent as reading it can be, with what the kernel's text files said meanwhile.

The running kernel changes while it is read. It is read twice, close together; the second reading is kept (the first
one's own allocations are over by then), and how far the two differ is recorded: the uncertainty of either.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pageblock.errors import InputError

from .infer import Remark
from .procfs import parse_kernel_version, parse_vmstat
from .runs import pieces
from .snapshot import Reader, Snapshot, ZoneInfo
from .snapshot_file import SnapshotFile, read_snapshot
from .source import Source
from .sources import is_core, is_snapshot_file, open_source
from .words import WordReader

__all__ = ["COMPANIONS", "Change", "capture_machine", "differences", "redacted"]

Progress = Callable[[int, int], None]

#: Text files that go into the file's metadata, where they are.
COMPANIONS = (
    "version",
    "cmdline",
    "zoneinfo",
    "pagetypeinfo",
    "buddyinfo",
    "meminfo",
    "vmstat",
    "iomem",
    "slabinfo",
)

#: Events of vmstat that tell how much went on between two readings.
EVENTS = ("pgfree", "pgmigrate_success", "compact_isolated", "pgsteal_kswapd", "pgsteal_direct", "cma_alloc_success")

#: Labels of iomem that name no device, vendor or user; what else stands there is a name.
PLAIN_LABELS: tuple[str, ...] = (
    "System RAM",
    "Kernel code",
    "Kernel data",
    "Kernel rodata",
    "Kernel bss",
    "Crash kernel",
    "Reserved",
)
PLAIN_LABELS += ("reserved", "ACPI Tables", "ACPI Non-volatile Storage", "Persistent Memory", "System ROM")


@dataclass(frozen=True)
class Change:
    """A count that differed between two readings. ``zone``: its label, None for the machine; ``by``: how much differs.

    Of a single number ``before`` and ``after`` are its values; of lists of counts None, and ``by`` the sum of differences.
    """

    zone: str | None
    what: str
    before: int | None
    after: int | None
    by: int


class Tape(Source):
    """A source that keeps the texts that were read from it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.live = source.live
        self.kind = source.kind
        self.patient = source.patient
        self.texts: dict[str, str] = {}

    def text(self, name: str) -> tuple[str, str] | None:
        found = self.source.text(name)
        # zoneinfo is read again after kpageflags; the first goes with the other texts
        if found is not None and name not in self.texts:
            self.texts[name] = found[0]
        return found

    def keep(self, name: str) -> None:
        """Read a text that no answer needs, where it can be read."""
        with suppress(InputError):
            self.text(name)

    def words(self, name: str) -> WordReader | None:
        return self.source.words(name)

    def path(self, name: str) -> tuple[Path, str] | None:
        return self.source.path(name)


def capture_machine(
    path: Path | None,
    progress: Callable[[int], Progress | None] | None = None,
    now: datetime | None = None,
    symbols: Path | None = None,
) -> SnapshotFile:
    """Read the running machine (None) twice, or a recorded one once, ready to be written.

    ``progress(reading)`` gives the function that is told pages while that reading (1, 2) goes on; ``symbols``: vmlinux of a
    kernel dump. Raises InputError as ``read_machine``, and for symbols of what is no dump.
    """
    taken = now or datetime.now(UTC)
    if path is not None and is_core(path):
        from .drgn_source import read_core

        snapshot = read_core(path, symbols, progress(1) if progress else None)
        return SnapshotFile(snapshot, {}, about_of(taken, snapshot.live, 1, []))
    if symbols is not None:
        raise InputError(f"{symbols}: symbols go with a kernel dump, and {path or 'the running machine'} is none")
    if path is not None and is_snapshot_file(path):
        return read_snapshot(path)
    readings: list[tuple[Snapshot, dict[str, str]]] = []
    while True:
        with closing(open_source(path)) as source:
            tape = Tape(source)
            snapshot = Reader(tape).read(progress(len(readings) + 1) if progress else None)
            for name in COMPANIONS:
                tape.keep(name)
        readings.append((snapshot, {name: tape.texts[name] for name in COMPANIONS if name in tape.texts}))
        if len(readings) == 2 or not source.live:
            break
    snapshot, texts = readings[-1]
    changes = differences(readings[0], readings[1]) if len(readings) == 2 else []
    if len(readings) == 2:
        remarks = change_remarks(changes, readings[0][0], snapshot)
        snapshot = replace(snapshot, remarks=snapshot.remarks + tuple(remarks))
    return SnapshotFile(snapshot, texts, about_of(taken, snapshot.live, len(readings), changes))


def about_of(taken: datetime, live: bool, readings: int, changes: list[Change]) -> dict[str, Any]:
    """How a snapshot was taken, for ``SnapshotFile.about``."""
    return {
        "taken_at": taken.isoformat(timespec="seconds"),
        "live": live,
        "readings": readings,
        "changed": [asdict(change) for change in changes],
        "redacted": False,
    }


def differences(first: tuple[Snapshot, dict[str, str]], second: tuple[Snapshot, dict[str, str]]) -> list[Change]:
    """What differs between two readings of a machine, zone by zone; only what does."""
    before = {zone.label: zone for zone in first[0].zones}
    after = {zone.label: zone for zone in second[0].zones}
    found: list[Change] = []
    for label in before | after:
        if label not in before or label not in after:
            pages = (before | after)[label].present
            found.append(
                Change(label, "the zone itself: present pages", *((pages, 0) if label in before else (0, pages)), pages)
            )
            continue
        found += zone_changes(before[label], after[label])
    found += page_changes(first[0], second[0])
    found += event_changes(first[1].get("vmstat"), second[1].get("vmstat"))
    return [change for change in found if change.by]


def zone_changes(one: ZoneInfo, two: ZoneInfo) -> Iterator[Change]:
    for what, a, b in (
        ("present pages (zoneinfo)", one.present, two.present),
        ("free pages (zoneinfo)", one.free_pages, two.free_pages),
        ("pages on per-cpu lists (zoneinfo)", one.pcp_count, two.pcp_count),
    ):
        yield Change(one.label, what, a, b, abs(a - b))
    if len(one.buddy_counts) == len(two.buddy_counts):
        gaps = (
            abs(a - b) << order for order, (a, b) in enumerate(zip(one.buddy_counts, two.buddy_counts, strict=True))
        )
        yield Change(one.label, "pages in free blocks of another order (buddyinfo)", None, None, sum(gaps))
    types, types_after = one.block_counts or {}, two.block_counts or {}
    moved = sum(abs(types.get(t, 0) - types_after.get(t, 0)) for t in types | types_after)
    yield Change(one.label, "pageblocks of another type (pagetypeinfo)", None, None, -(-moved // 2))


def page_changes(first: Snapshot, second: Snapshot) -> Iterator[Change]:
    """Pages that hold something else, and the pageblocks in which they lie."""
    for label, (start, nr_pages) in changed_pages(first, second).items():
        yield Change(label, "pages that hold something else (kpageflags)", None, None, int(nr_pages.sum()))
        blocks = touched_blocks(start, nr_pages, second.pageblock_order)
        yield Change(label, "pageblocks with such pages", None, None, blocks)


def touched_blocks(start: NDArray[np.int64], nr_pages: NDArray[np.int64], pageblock_order: int) -> int:
    if not len(start):
        return 0
    _, at, _ = pieces(start, nr_pages, pageblock_order)
    return len(np.unique(at >> pageblock_order))


def changed_pages(first: Snapshot, second: Snapshot) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Of each zone of both: start and pages of the stretches whose class differs."""
    found: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    index = {zone.label: i for i, zone in enumerate(first.zones)}
    for j, zone in enumerate(second.zones):
        if first.runs is None or second.runs is None or zone.label not in index:
            continue
        sides = (columns(first, index[zone.label]), columns(second, j))
        low = max(int(start[0]) for start, _ in sides)
        high = min(first.zones[index[zone.label]].end_pfn, zone.end_pfn)
        edges = np.unique(np.concatenate([*(start for start, _ in sides), np.array([high])]))
        edges = edges[(edges >= low) & (edges <= high)]
        at = [held[np.searchsorted(start, edges[:-1], "right") - 1] for start, held in sides]
        differs = at[0] != at[1]
        found[zone.label] = edges[:-1][differs], np.diff(edges)[differs]
    return found


def columns(snapshot: Snapshot, zone: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Start and class of a zone's runs."""
    assert snapshot.runs is not None
    first, last = np.searchsorted(snapshot.runs["zone"].to_numpy(), [zone, zone + 1])
    start = snapshot.runs["start_pfn"].to_numpy()[first:last].astype(np.int64)
    return start, snapshot.runs["class"].to_numpy()[first:last]


def event_changes(before: str | None, after: str | None) -> Iterator[Change]:
    if before is None or after is None:
        return
    one, two = parse_vmstat(before, "vmstat"), parse_vmstat(after, "vmstat")
    for name in EVENTS:
        if name in one and name in two:
            yield Change(None, f"{name} (vmstat)", one[name], two[name], abs(two[name] - one[name]))


def change_remarks(changes: list[Change], first: Snapshot, second: Snapshot) -> list[Remark]:
    """One remark a zone: what changed. The certainty is that of a page in a pageblock where any changed."""
    remarks: list[Remark] = []
    touched = {c.zone: c.by for c in changes if c.what == "pageblocks with such pages"}
    pages = {c.zone: c.by for c in changes if c.what.startswith("pages that hold something else")}
    for zone in second.zones:
        mine = [change for change in changes if change.zone == zone.label]
        if not mine:
            continue
        told = ", ".join(
            f"{c.what} {f'{c.before:,} → {c.after:,}' if c.before is not None else f'{c.by:,}'}" for c in mine
        )
        blocks = touched.get(zone.label, 0)
        certain = round(1 - pages[zone.label] / (blocks << second.pageblock_order), 5) if blocks else None
        text = (
            f"{zone.label}: the machine was read twice, {first.seconds_read:.1f} s apart; between them differ: {told}"
        )
        remarks.append(Remark("changed meanwhile", text, certain, zone.label, blocks))
    return remarks


def redacted(content: SnapshotFile) -> SnapshotFile:
    """The same without command lines and names; which, stands in docs/snapshot.md. No answer changes by it."""
    texts = {name: text for name, text in content.texts.items() if name not in ("cmdline", "slabinfo")}
    if "version" in texts:
        texts["version"] = f"Linux version {parse_kernel_version(texts['version']) or 'unknown'}\n"
    if "iomem" in texts:
        texts["iomem"] = "".join(f"{plain_label(line)}\n" for line in texts["iomem"].splitlines())
    name = "live /proc" if content.about.get("live") else "redacted"
    owners = content.snapshot.owners
    if owners is not None:
        owners = replace(owners, names=tuple(name.partition(" (")[0] for name in owners.names))
    snapshot = replace(content.snapshot, source=name, owners=owners)
    return SnapshotFile(snapshot, texts, {**content.about, "redacted": True})


def plain_label(line: str) -> str:
    place, colon, label = line.partition(" : ")
    return line if label.startswith(PLAIN_LABELS) else f"{place}{colon}redacted"
