"""Events of real allocation: one table for all sources, and its file (docs/traces.md)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pageblock.errors import InputError
from pageblock.output import check_output, whole_file

__all__ = [
    "EVENTS_SCHEMA",
    "EVENTS_VERSION",
    "AllocationEvents",
    "Origin",
    "is_events_file",
    "read_events",
    "write_events",
]

#: Raised when a reader of the older version would misread a file.
EVENTS_VERSION = 1

VERSION_KEY = b"pageblock.events"
ORIGIN_KEY = b"pageblock.origin"

WORDS = pa.dictionary(pa.int32(), pa.string())

#: One event a row, in order of time. ``event``: the tracepoint's own name. ``pfn``: null where no page was had.
#: ``end_pfn``: of events that are about a range. ``gfp``: as the kernel prints it. ``fields``: all that has no column, as JSON.
EVENTS_SCHEMA = pa.schema(
    [
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("cpu", pa.uint16(), nullable=False),
        pa.field("pid", pa.int32()),
        pa.field("event", WORDS, nullable=False),
        pa.field("pfn", pa.uint64()),
        pa.field("end_pfn", pa.uint64()),
        pa.field("order", pa.int8()),
        pa.field("migratetype", pa.int8()),
        pa.field("gfp", WORDS),
        pa.field("percpu_refill", pa.bool_()),
        pa.field("fields", pa.string()),
    ]
)

#: More than any kernel has.
MOST_ORDER, MOST_PFN = 30, 1 << 52

#: Events that one file may hold.
MOST_EVENTS = 1 << 30

ROWS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Where events come from, and what is not among them.

    Args:
        source: what recorded them, in words.
        kernel: release; "" where the source does not say. ``machine``: architecture, likewise.
        page_size: bytes.
        cpus: how many CPUs recorded; 0 where not known.
        clock: of ``time_ns``.
        seconds: how long was recorded, by the clock of whoever recorded; 0 where not known.
        groups: of tracepoints that were on. ``skipped``: that the kernel lacks. ``left_off``: events that stayed off.
        lost: events that the source lost, -1 where it lost some and does not say how many.
        unread: lines of the source that are events of other kinds or none. ``unread_like``: the first of them.
    """

    source: str
    kernel: str = ""
    machine: str = ""
    page_size: int = 4096
    cpus: int = 0
    clock: str = ""
    seconds: float = 0.0
    groups: Sequence[str] = ()
    skipped: Sequence[str] = ()
    left_off: Sequence[str] = ()
    lost: int = 0
    unread: int = 0
    unread_like: str = ""


@dataclass(frozen=True)
class AllocationEvents:
    """Events of EVENTS_SCHEMA in order of time, and where they come from."""

    table: pa.Table
    origin: Origin

    def counts(self) -> dict[str, int]:
        """How many of each event, the most frequent first."""
        counted = [(row["values"], row["counts"]) for row in pc.value_counts(self.table["event"]).to_pylist()]
        return dict(sorted(counted, key=lambda pair: (-pair[1], pair[0])))

    @property
    def span_ns(self) -> int:
        """From the first event to the last, nanoseconds."""
        times = self.table["time_ns"]
        return times[-1].as_py() - times[0].as_py() if len(times) else 0


def write_events(path: Path, events: AllocationEvents, *, force: bool = False) -> int:
    """Write events to a Parquet file, whole or not at all; the bytes written.

    Only the owner may read it: it tells what processes do. Raises InputError where it cannot be written.
    """
    check_output(path, force=force)
    metadata = {VERSION_KEY: str(EVENTS_VERSION), ORIGIN_KEY: json.dumps(asdict(events.origin), ensure_ascii=False)}
    with whole_file(path, force=force, private=True) as file:
        with pq.ParquetWriter(
            file,
            EVENTS_SCHEMA,
            compression="zstd",
            use_dictionary=[field.name for field in EVENTS_SCHEMA if field.name != "time_ns"],
            column_encoding={"time_ns": "DELTA_BINARY_PACKED"},
        ) as writer:
            for first in range(0, events.table.num_rows, ROWS_AT_ONCE):
                writer.write_table(events.table.slice(first, ROWS_AT_ONCE))
            writer.add_key_value_metadata(metadata)
        return file.tell()


def is_events_file(path: Path) -> bool:
    """Whether a file is one of ``write_events``, by its first bytes and its metadata."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return False
        return VERSION_KEY in (pq.read_metadata(path).metadata or {})
    except (OSError, ValueError, pa.ArrowException):
        # ValueError: a name in the footer that is no text
        return False


def read_events(path: Path) -> AllocationEvents:
    """Read what ``write_events`` wrote.

    Raises:
        InputError: cut off, not written by this program, or of another version.
    """
    try:
        with pq.ParquetFile(path) as file:
            found = file.metadata.metadata or {}
            version = found.get(VERSION_KEY)
            if version is None:
                raise InputError(f"{path}: a Parquet file, but no events: make one with pageblock record or import")
            if version.decode() != str(EVENTS_VERSION):
                raise InputError(
                    f"{path}: events of schema version {version.decode()[:20]!r}, this program reads {EVENTS_VERSION}; "
                    "record them again, or use the version that wrote it"
                )
            if file.metadata.num_rows > MOST_EVENTS:
                raise InputError(f"{path}: {file.metadata.num_rows:,} events, more than {MOST_EVENTS:,}; record less")
            table = file.read(columns=EVENTS_SCHEMA.names)
            origin = restored(json.loads(found[ORIGIN_KEY]))
            if [field.name for field in table.schema] != EVENTS_SCHEMA.names:
                raise InputError(f"{path}: its columns are not those of docs/traces.md; record it again")
            table = table.cast(EVENTS_SCHEMA)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{path}: {error.strerror}; make it a readable file") from error
        line = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path}: no whole file of events ({line}); record it again") from error
    check_events(path, table)
    return AllocationEvents(table.unify_dictionaries().combine_chunks(), origin)


def check_events(path: Path, table: pa.Table) -> None:
    """Refuse events that no kernel can have told of."""
    wrong = table.num_rows > 0 and bool(np.any(np.diff(table["time_ns"].to_numpy()) < 0))
    wrong = wrong or any(table[field.name].null_count for field in EVENTS_SCHEMA if not field.nullable)
    # what was allocated is a block, of an order
    given = table.filter(
        pc.and_(pc.equal(table["event"].cast(pa.string()), "mm_page_alloc"), pc.is_valid(table["pfn"]))
    )
    wrong = wrong or bool(np.any(given["order"].fill_null(-1).to_numpy() < 0))
    for name, least, most in (
        ("order", -1, MOST_ORDER),
        ("migratetype", -1, 127),
        ("pfn", 0, MOST_PFN),
        ("end_pfn", 0, MOST_PFN),
    ):
        found = pc.min_max(table[name]).as_py()
        wrong = wrong or (found["min"] is not None and not (least <= found["min"] and found["max"] <= most))
    if wrong:
        raise InputError(
            f"{path}: its events are not in order of time, or of no possible page; it is damaged, record it again"
        )


def restored(told: Mapping[str, object]) -> Origin:
    known = {field.name for field in fields(Origin)}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items() if name in known}
    return Origin(**plain)  # type: ignore[arg-type]


def in_time_order(table: pa.Table) -> pa.Table:
    """The rows by time; rows of one time stay as they are."""
    times = table["time_ns"].to_numpy()
    if not np.any(np.diff(times) < 0):
        return table
    order: NDArray[np.int64] = np.argsort(times, kind="stable")
    return table.take(pa.array(order))
