"""A snapshot as one Parquet file: runs as rows, everything else in its key-value metadata (docs/snapshot.md).

What was inferred is kept, so that a file gives the answer of the machine that it was taken from, whatever later
versions would infer; the texts of /proc lie beside it for whoever wants to infer anew.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pageblock.errors import InputError
from pageblock.mm.types import Migratetype, PageClass
from pageblock.output import check_output, whole_file

from .cma_area import CmaArea
from .held import HeldPages
from .infer import Remark
from .lists import FreeLists
from .page_owner import Owners, joined, owner_column, split_by_owner
from .snapshot import RUNS_SCHEMA, HugePool, Snapshot, ZoneInfo

__all__ = ["SCHEMA_VERSION", "SnapshotFile", "read_snapshot", "write_snapshot"]

#: Raised when a reader of the older version would misread a file.
SCHEMA_VERSION = 1

VERSION_KEY = "pageblock.schema"
SNAPSHOT_KEY = "pageblock.snapshot"
TEXT_KEY = "proc/"

#: The column beside those of RUNS_SCHEMA: who allocated the pages, null where no page_owner dump told.
OWNER = "owner"

#: And the place of a free block or per-cpu page in its list, 0 at the head; null where the order is not known.
POSITION = "position"
FILE_SCHEMA = RUNS_SCHEMA.append(pa.field(OWNER, pa.string())).append(pa.field(POSITION, pa.int32()))

#: Classes of pages on a list.
LISTED = np.array([PageClass.FREE, PageClass.PCP], np.uint8)

#: The largest order of a block.
MOST_ORDER = 26

#: Most rows that a file may have: more runs than 16 TiB of memory with a run in 100 pages.
MOST_ROWS = 1 << 26

#: Fields of ZoneInfo that JSON keeps as they are, or as a list in place of a tuple.
PLAIN = {f.name for f in fields(ZoneInfo)} - {"free_counts", "block_counts", "block_types"}


@dataclass(frozen=True)
class SnapshotFile:
    """A snapshot, the texts of /proc by name, and what else is to be known of how it was taken.

    ``about``: plain values: ``taken_at`` (ISO 8601, UTC), ``live``, ``readings``, ``changed``, ``redacted``.
    """

    snapshot: Snapshot
    texts: Mapping[str, str]
    about: Mapping[str, Any] = field(default_factory=dict)


def write_snapshot(path: Path, content: SnapshotFile, *, force: bool = False) -> int:
    """Write a snapshot under a temporary name in the same folder, then rename it; the bytes written.

    Only the owner may read it, as /proc/kpageflags is only root's. Raises InputError where the file is there already
    and not ``force``, or cannot be written; then nothing is left behind and the previous file is untouched.
    """
    check_output(path, force=force)
    rows = file_rows(content.snapshot)
    metadata = {VERSION_KEY: str(SCHEMA_VERSION), SNAPSHOT_KEY: json.dumps(describe(content), ensure_ascii=False)}
    metadata |= {TEXT_KEY + name: text for name, text in content.texts.items()}
    with whole_file(path, force=force, private=True) as file:
        with pq.ParquetWriter(
            file,
            rows.schema,
            compression="zstd",
            use_dictionary=[name for name in rows.column_names if name != "start_pfn"],
            column_encoding={"start_pfn": "DELTA_BINARY_PACKED"},
            store_schema=False,  # every reader sees the same types
        ) as writer:
            writer.write_table(rows)
            writer.add_key_value_metadata(metadata)
        return file.tell()


def file_rows(snapshot: Snapshot) -> pa.Table:
    """The snapshot's runs with two columns more: cut where owners change, and where lists are known a row a block on them."""
    runs = RUNS_SCHEMA.empty_table() if snapshot.runs is None else snapshot.runs
    if snapshot.owners is not None:
        runs, owner = split_by_owner(runs, snapshot.owners)
        column = owner_column(owner, snapshot.owners.names)
    else:
        column = pa.nulls(runs.num_rows, pa.string())
    rows = runs.append_column(OWNER, column).append_column(POSITION, pa.nulls(runs.num_rows, pa.int32()))
    return rows if snapshot.lists is None else with_positions(rows, snapshot.lists)


def with_positions(rows: pa.Table, lists: FreeLists) -> pa.Table:
    """The rows with those of free and per-cpu pages replaced by one for each block on a list."""
    lists = lists.sorted()
    fresh = np.ones(len(lists.pfn), np.bool_)
    for name in ("zone", "pcp", "order", "migratetype"):
        column = getattr(lists, name)
        fresh[1:] &= column[1:] == column[:-1]
    fresh[1:] = ~fresh[1:]
    first = np.maximum.accumulate(np.where(fresh, np.arange(len(fresh)), 0))
    others = rows.filter(pa.array(~np.isin(rows["class"].to_numpy(), LISTED)))
    listed = pa.table(
        {
            "zone": lists.zone.astype(np.int32),
            "start_pfn": lists.pfn.astype(np.uint64),
            "nr_pages": (np.int64(1) << lists.order).astype(np.uint64),
            "class": np.where(lists.pcp, np.uint8(PageClass.PCP), np.uint8(PageClass.FREE)),
            "order": lists.order.astype(np.uint8),
            "migratetype": lists.migratetype.astype(np.uint8),
            "flags": np.zeros(len(lists.pfn), np.uint8),
            OWNER: pa.nulls(len(lists.pfn), pa.string()),
            POSITION: (np.arange(len(fresh)) - first).astype(np.int32),
        },
        schema=FILE_SCHEMA,
    )
    return pa.concat_tables([others, listed]).sort_by([("zone", "ascending"), ("start_pfn", "ascending")])


def restore_lists(rows: pa.Table) -> FreeLists:
    """The lists of a file's rows, in order."""
    listed = rows.filter(pa.compute.is_valid(rows[POSITION])).sort_by(POSITION)
    if any(listed[name].null_count for name in ("zone", "start_pfn", "order", "migratetype")):
        raise ValueError("a free block without its place, order or type")
    zone, pfn, order, migratetype = (
        listed[name].to_numpy().astype(np.int64) for name in ("zone", "start_pfn", "order", "migratetype")
    )
    return FreeLists(zone, pfn, order, migratetype, listed["class"].to_numpy() == PageClass.PCP).sorted()


def restore_owners(rows: pa.Table) -> Owners:
    """The owners of a file's rows."""
    if rows["start_pfn"].null_count or rows["nr_pages"].null_count:
        raise ValueError("an owner without pages")
    column = rows[OWNER].combine_chunks().dictionary_encode()
    owner = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    start = rows["start_pfn"].to_numpy().astype(np.int64)
    end = start + rows["nr_pages"].to_numpy().astype(np.int64)
    return joined(start, end, owner, tuple(column.dictionary.to_pylist()))


def whole_runs(rows: pa.Table) -> pa.Table:
    """The rows without what ``file_rows`` added, and without the cuts that it made."""
    runs = rows.select(RUNS_SCHEMA.names)
    columns = {name: runs[name].to_numpy() for name in runs.column_names}
    fresh = np.ones(runs.num_rows, np.bool_)
    fresh[1:] = columns["start_pfn"][1:] != columns["start_pfn"][:-1] + columns["nr_pages"][:-1]
    for name in ("zone", "class", "order", "migratetype", "flags"):
        fresh[1:] |= columns[name][1:] != columns[name][:-1]
    first = np.flatnonzero(fresh)
    if len(first) == len(fresh):
        return runs
    pages = np.add.reduceat(columns["nr_pages"], first)
    at = runs.column_names.index("nr_pages")
    return runs.take(pa.array(first)).set_column(at, runs.schema.field(at), pa.array(pages))


def describe(content: SnapshotFile) -> dict[str, Any]:
    """All of a snapshot but its rows, as plain values."""
    snapshot = content.snapshot
    return {
        **content.about,
        "source": snapshot.source,
        "kernel": snapshot.kernel,
        "page_size": snapshot.page_size,
        "max_order": snapshot.max_order,
        "pageblock_order": snapshot.pageblock_order,
        "pages_known": snapshot.runs is not None,
        "owners_known": snapshot.owners is not None,
        "lists_known": snapshot.lists is not None,
        "held": None if snapshot.held is None else snapshot.held.rows(),
        "cma_areas": None if snapshot.cma_areas is None else [area.told() for area in snapshot.cma_areas],
        "seconds_read": round(snapshot.seconds_read, 3),
        "zones": [describe_zone(zone) for zone in snapshot.zones],
        "remarks": [asdict(remark) for remark in snapshot.remarks],
        "files": list(snapshot.files),
        "missing": list(snapshot.missing),
        "ram": snapshot.ram,
        "reserved": snapshot.reserved,
        "huge_pool": None if snapshot.huge_pool is None else asdict(snapshot.huge_pool),
    }


def describe_zone(zone: ZoneInfo) -> dict[str, Any]:
    """A zone as plain values: migratetypes by name, pageblock types as [type, how many] from the first on."""
    named: dict[str, Any] = {name: getattr(zone, name) for name in sorted(PLAIN)}
    for name in ("free_counts", "block_counts"):
        value = getattr(zone, name)
        named[name] = None if value is None else {Migratetype(t).name: counts for t, counts in value.items()}
    types = zone.block_types
    if types is None:
        return {**named, "block_types": None}
    first = np.flatnonzero(np.diff(types, prepend=np.int16(-1)))
    lengths = np.diff(first, append=len(types))
    return {**named, "block_types": list(zip(types[first].tolist(), lengths.tolist(), strict=True))}


def read_snapshot(path: Path) -> SnapshotFile:
    """Read what ``write_snapshot`` wrote.

    Raises InputError: cut off, not written by this program, of another version, or not consistent in itself.
    """
    began = time.perf_counter()
    try:
        with pq.ParquetFile(path) as file:
            found = file.metadata.metadata or {}
            texts = {key.decode(): value.decode("utf-8", "replace") for key, value in found.items()}
            check_version(path, texts.get(VERSION_KEY), SNAPSHOT_KEY in texts)
            if file.metadata.num_rows > MOST_ROWS:
                raise InputError(f"{path}: {file.metadata.num_rows:,} runs, more than {MOST_ROWS:,}; capture it again")
            rows = file.read(columns=FILE_SCHEMA.names).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{path}: {error.strerror}; make it a readable file") from error
        raise InputError(f"{path}: no whole Parquet file ({first_line(error)}); capture it again") from error
    try:
        told = json.loads(texts[SNAPSHOT_KEY])
        snapshot = replace(restore(path, told, rows), seconds_read=time.perf_counter() - began)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: its {SNAPSHOT_KEY} is damaged ({first_line(error)}); capture it again") from error
    if snapshot.runs is not None:
        check_rows(path, snapshot)
    about = {key: told.get(key) for key in ("taken_at", "live", "readings", "changed", "redacted")}
    proc = {key.removeprefix(TEXT_KEY): text for key, text in texts.items() if key.startswith(TEXT_KEY)}
    return SnapshotFile(snapshot, proc, about)


def check_version(path: Path, version: str | None, has_snapshot: bool) -> None:
    if version is None or not has_snapshot:
        raise InputError(f"{path}: a Parquet file, but no snapshot: make one with pageblock capture")
    if version != str(SCHEMA_VERSION):
        raise InputError(
            f"{path}: a snapshot of schema version {version[:20]!r}, this program reads {SCHEMA_VERSION}; "
            "capture it again, or use the version that wrote it"
        )


def first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]


def restore(path: Path, told: Mapping[str, Any], rows: pa.Table) -> Snapshot:
    """The snapshot of a file's description and rows."""
    if rows.schema != FILE_SCHEMA:
        raise ValueError("its columns are not those of docs/snapshot.md")
    if not isinstance(told["kernel"], str | None) or not (told["kernel"] or " ").isprintable():
        raise ValueError("the kernel's release is no text")
    check_geometry(told)
    known = bool(told["pages_known"])
    return Snapshot(
        str(path),
        told["kernel"],
        int(told["page_size"]),
        int(told["max_order"]),
        int(told["pageblock_order"]),
        tuple(restore_zone(zone, int(told["pageblock_order"])) for zone in told["zones"]),
        whole_runs(rows.combine_chunks()) if known else None,
        tuple(Remark(**remark) for remark in told["remarks"]),
        tuple(told["files"]),
        tuple(told["missing"]),
        0.0,
        ram=None if told["ram"] is None else pairs(told["ram"]),
        reserved=pairs(told["reserved"]),
        owners=restore_owners(rows) if known and told["owners_known"] else None,
        lists=restore_lists(rows) if known and told["lists_known"] else None,
        huge_pool=HugePool(**pool) if (pool := told.get("huge_pool")) is not None else None,
        # captures of earlier versions have neither
        held=None if told.get("held") is None else HeldPages.of_rows(told["held"]),
        cma_areas=None if (areas := told.get("cma_areas")) is None else tuple(map(CmaArea.restored, areas)),
    )


def check_geometry(told: Mapping[str, Any]) -> None:
    """Raise ValueError for a page size or an order that no kernel has."""
    size = told["page_size"]
    if not isinstance(size, int) or not 1 << 10 <= size <= 1 << 20 or size & (size - 1):
        raise ValueError(f"a page size of {size!r:.30} bytes")
    for name in ("max_order", "pageblock_order"):
        if not isinstance(told[name], int) or not 0 <= told[name] <= MOST_ORDER:
            raise ValueError(f"a {name} of {told[name]!r:.30}")


def pairs(told: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(start), int(end)) for start, end in told)


def restore_zone(told: Mapping[str, Any], pageblock_order: int) -> ZoneInfo:
    plain: dict[str, Any] = {}
    for name in PLAIN:
        value = told[name]
        if isinstance(value, list):
            value = tuple(tuple(one) if isinstance(one, list) else one for one in value)
        plain[name] = value
    free, blocks = told["free_counts"], told["block_counts"]
    types: NDArray[np.uint8] | None = None
    if told["block_types"] is not None:
        pairs = np.array(told["block_types"], np.int64).reshape(-1, 2)
        start, spanned = int(told["start_pfn"]), int(told["spanned"])
        number = ((start + spanned - 1) >> pageblock_order) - (start >> pageblock_order) + 1
        if (pairs < 0).any() or pairs[:, 0].max(initial=0) > max(Migratetype) or pairs[:, 1].sum() != number:
            raise ValueError(f"pageblock types of zone {told['name']} do not fit it")
        types = np.repeat(pairs[:, 0].astype(np.uint8), pairs[:, 1])
    return ZoneInfo(
        **plain,
        free_counts=None if free is None else {Migratetype[t]: tuple(counts) for t, counts in free.items()},
        block_counts=None if blocks is None else {Migratetype[t]: int(n) for t, n in blocks.items()},
        block_types=types,
    )


def check_rows(path: Path, snapshot: Snapshot) -> None:
    """Refuse rows that do not cover the zones, in order and without gaps, by known classes and possible orders."""
    assert snapshot.runs is not None
    columns: Sequence[NDArray[Any]] = [snapshot.runs[name].to_numpy() for name in RUNS_SCHEMA.names]
    zone, start, nr_pages, page_class, order, migratetype = columns[:6]
    wrong = snapshot.runs.num_rows == 0 or any(column.null_count for column in snapshot.runs.columns)
    first = np.searchsorted(zone, np.arange(len(snapshot.zones) + 1))
    wrong = wrong or bool((np.diff(zone) < 0).any() or first[0] != 0 or first[-1] != len(zone) or (nr_pages == 0).any())
    if not wrong:
        end = start + nr_pages
        inside = zone[1:] == zone[:-1]
        wrong = bool((start[1:] != end[:-1])[inside].any() or (end < start).any())
        for i, info in enumerate(snapshot.zones):
            low, high = first[i], first[i + 1]
            wrong = wrong or low == high or start[low] != info.start_pfn or end[high - 1] != info.end_pfn
        units = (np.uint64(1) << order.astype(np.uint64)) - np.uint64(1)
        wrong = wrong or bool((order > 32).any() or ((start | nr_pages) & units).any())
        is_free = page_class == PageClass.FREE
        wrong = wrong or bool((page_class > max(PageClass)).any() or (order[is_free] > snapshot.max_order).any())
        wrong = wrong or bool((migratetype[is_free] > max(Migratetype)).any())
    if wrong:
        raise InputError(f"{path}: its runs do not cover its zones; the file is damaged, capture it again")
