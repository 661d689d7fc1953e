"""Events in a file: what was written is read again, anything else is refused in one line."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pageblock.errors import InputError
from pageblock.machine.alloc_events import (
    EVENTS_SCHEMA,
    AllocationEvents,
    Origin,
    is_events_file,
    read_events,
    write_events,
)


def events(*rows: dict[str, Any], **origin: Any) -> AllocationEvents:
    """Rows with what every event must have."""
    whole = [{"time_ns": 0, "cpu": 0, "event": "mm_page_free", **row} for row in rows]
    columns = [pa.array([row.get(f.name) for row in whole], f.type) for f in EVENTS_SCHEMA]
    return AllocationEvents(pa.table(columns, schema=EVENTS_SCHEMA), Origin("test", **origin))


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    before = events(
        {"time_ns": 5, "pfn": 7, "order": 0, "gfp": "GFP_KERNEL", "fields": '{"x": 1}', "percpu_refill": True},
        {"time_ns": 9, "event": "test_pages_isolated", "pfn": 1, "end_pfn": 9, "migratetype": 5, "pid": -1},
        kernel="6.1",
        skipped=("cma",),
        lost=-1,
        seconds=1.5,
    )
    assert write_events(path, before) == path.stat().st_size
    after = read_events(path)
    assert after.origin == before.origin
    assert after.table.to_pylist() == before.table.to_pylist()
    assert (after.span_ns, after.counts()) == (4, {"mm_page_free": 1, "test_pages_isolated": 1})
    assert path.stat().st_mode & 0o077 == 0
    assert is_events_file(path)


def test_an_empty_recording_is_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_events(path, events())
    assert (read_events(path).table.num_rows, read_events(path).span_ns) == (0, 0)


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("mine")
    with pytest.raises(InputError, match="there already"):
        write_events(path, events())
    assert path.read_text() == "mine"


def other(path: Path, what: str) -> None:
    """A file that is none of ours, or not whole."""
    write_events(path, events({"pfn": 1}))
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif what == "foreign":
        pq.write_table(pa.table({"a": [1]}), path)
    elif what == "text":
        path.write_text("PAR1 but no")
    elif what == "version":
        pq.write_table(read_events(path).table.replace_schema_metadata({"pageblock.events": "99"}), path)
    elif what == "columns":
        pq.write_table(
            pa.table({"a": [1]}).replace_schema_metadata({"pageblock.events": "1", "pageblock.origin": "{}"}), path
        )


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cut", "no whole file of events"),
        ("foreign", "a Parquet file, but no events"),
        ("text", "no whole file of events"),
        ("version", "schema version '99', this program reads 1"),
        ("columns", "no whole file of events|its columns are not those"),
    ],
)
def test_any_other_file_is_one_line(tmp_path: Path, what: str, message: str) -> None:
    path = tmp_path / "a.parquet"
    other(path, what)
    with pytest.raises(InputError, match=message) as refused:
        read_events(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "rows",
    [
        [{"time_ns": 2}, {"time_ns": 1}],
        [{"pfn": 1 << 60}],
        [{"order": 99}],
        [{"order": -2}],
        [{"pfn": 1, "end_pfn": 1 << 63}],
    ],
)
def test_events_that_no_kernel_has_are_refused(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "a.parquet"
    write_events(path, events(*rows))
    with pytest.raises(InputError, match="damaged"):
        read_events(path)
