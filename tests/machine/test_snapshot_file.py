"""A snapshot written to Parquet and read again is the same; every other file is refused in one line."""

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.errors import InputError
from pageblock.machine import HugePool, Snapshot, read_machine
from pageblock.machine.capture import capture_machine, redacted
from pageblock.machine.snapshot_file import SNAPSHOT_KEY, VERSION_KEY, SnapshotFile, read_snapshot, write_snapshot

#: What is of the reading, not of the machine.
OF_THE_READING = ("source", "seconds_read")


def assert_same(one: Snapshot, other: Snapshot) -> None:
    for name in (f.name for f in fields(Snapshot)):
        a, b = getattr(one, name), getattr(other, name)
        if name == "zones":
            assert [replace(z, block_types=None) for z in a] == [replace(z, block_types=None) for z in b]
            for z, y in zip(a, b, strict=True):
                assert np.array_equal(z.block_types, y.block_types)
        elif name not in OF_THE_READING:
            assert a == b, name


@pytest.fixture(scope="module")
def guest() -> SnapshotFile:
    return capture_machine(recorded_machine())


@pytest.fixture
def written(guest: SnapshotFile, tmp_path: Path) -> Path:
    path = tmp_path / "guest.parquet"
    write_snapshot(path, guest)
    return path


def test_a_file_is_the_machine_it_was_taken_from(written: Path) -> None:
    assert_same(read_machine(written), read_machine(recorded_machine()))


def test_a_file_of_a_file_is_the_same_again(written: Path, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "again.parquet", capture_machine(written))
    assert_same(read_machine(tmp_path / "again.parquet"), read_machine(written))


def test_the_pool_of_huge_pages_is_kept(guest: SnapshotFile, tmp_path: Path) -> None:
    pool = HugePool(9, free=3, reserved=1, surplus=2)
    write_snapshot(tmp_path / "with.parquet", replace(guest, snapshot=replace(guest.snapshot, huge_pool=pool)))
    assert read_snapshot(tmp_path / "with.parquet").snapshot.huge_pool == pool


def test_a_machine_without_kpageflags_stays_one(tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    folder.mkdir()
    for name in ("buddyinfo", "zoneinfo", "meminfo"):
        (folder / name).write_bytes((recorded_machine() / name).read_bytes())
    write_snapshot(tmp_path / "a.parquet", capture_machine(folder))
    found = read_machine(tmp_path / "a.parquet")
    assert found.runs is None
    assert_same(found, read_machine(folder))


def test_the_texts_of_proc_lie_beside_the_rows(written: Path) -> None:
    content = read_snapshot(written)
    for name in ("zoneinfo", "pagetypeinfo", "buddyinfo", "meminfo", "vmstat", "iomem", "version"):
        assert content.texts[name] == (recorded_machine() / name).read_text()


def test_only_the_owner_may_read_it(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten_without_force(guest: SnapshotFile, written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(InputError, match="there already; choose another name, or --force"):
        write_snapshot(written, guest)
    assert written.read_bytes() == before
    write_snapshot(written, replace(guest, about={"taken_at": "later"}), force=True)
    assert read_snapshot(written).about["taken_at"] == "later"


def test_a_file_that_appears_meanwhile_is_not_replaced(
    guest: SnapshotFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    real = os.fsync

    def appears(handle: int) -> None:
        path.write_text("mine")
        real(handle)

    monkeypatch.setattr(os, "fsync", appears)
    with pytest.raises(InputError, match="there already"):
        write_snapshot(path, guest)
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["a.parquet"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_midway_leaves_the_previous_file(
    guest: SnapshotFile, written: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    before = written.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        write_snapshot(written, guest, force=True)
    assert isinstance(caught.value, KeyboardInterrupt) or "No space left on device; nothing was written" in str(
        caught.value
    )
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == [written.name]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "no regular file"),
        ("/dev/null", "no regular file"),
        ("nowhere/a", "no folder"),
        ("a\0b", "not a usable name"),
    ],
)
def test_what_is_no_name_for_a_file_is_refused(guest: SnapshotFile, tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        write_snapshot(tmp_path / path, guest, force=True)


@pytest.mark.parametrize("keep", [4, 12, 1000, -1, -9, -20_000])
def test_a_truncated_file_is_one_line(written: Path, keep: int) -> None:
    written.write_bytes(written.read_bytes()[:keep])
    with pytest.raises(InputError, match="no whole Parquet file") as caught:
        read_machine(written)
    assert "\n" not in str(caught.value)


def test_a_foreign_parquet_file_is_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="a Parquet file, but no snapshot"):
        read_machine(tmp_path / "a.parquet")


def rewrite(path: Path, metadata: dict[str, str], table: pa.Table | None = None) -> None:
    """The same file with other metadata, or with other rows."""
    with pq.ParquetFile(path) as file:
        found = {k.decode(): v.decode() for k, v in file.metadata.metadata.items()}
        rows = file.read() if table is None else table
    with pq.ParquetWriter(path, rows.schema, store_schema=False) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata(found | metadata)


def test_another_version_is_one_line(written: Path) -> None:
    rewrite(written, {VERSION_KEY: "2"})
    with pytest.raises(InputError, match="schema version '2', this program reads 1"):
        read_machine(written)


def damage(key: str, value: Any) -> Any:
    def change(told: dict[str, Any]) -> None:
        told[key] = value

    return change


def shorten_types(told: dict[str, Any]) -> None:
    told["zones"][1]["block_types"].pop()


@pytest.mark.parametrize(
    "change",
    [
        damage("zones", None),
        damage("zones", [{}]),
        damage("remarks", [{"a": 1}]),
        damage("max_order", "x"),
        shorten_types,
    ],
)
def test_damaged_metadata_is_one_line(written: Path, change: Any) -> None:
    with pq.ParquetFile(written) as file:
        told = json.loads(file.metadata.metadata[SNAPSHOT_KEY.encode()])
    change(told)
    rewrite(written, {SNAPSHOT_KEY: json.dumps(told)})
    with pytest.raises(InputError, match=r"its pageblock\.snapshot is damaged"):
        read_machine(written)


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("zone", 0, 1),
        ("zone", -1, 9),
        ("start_pfn", 5, 1),
        ("nr_pages", 3, 0),
        ("nr_pages", -1, 1 << 63),
        ("class", 2, 16),
        ("order", 4, 40),
        ("order", 1, 20),
    ],
)
def test_rows_that_do_not_cover_the_zones_are_one_line(written: Path, column: str, row: int, value: int) -> None:
    with pq.ParquetFile(written) as file:
        rows = file.read()
    cells = rows[column].to_numpy().copy()
    cells[row] = value
    at = rows.column_names.index(column)
    rewrite(written, {}, rows.set_column(at, rows.schema.field(at), pa.array(cells)))
    with pytest.raises(InputError, match="its runs do not cover its zones"):
        read_machine(written)


def test_redacting_leaves_out_command_lines_and_names() -> None:
    texts = {
        "cmdline": "root=UUID=secret",
        "slabinfo": "kmalloc-8(12:secret.service) 1\n",
        "version": "Linux version 6.1.0-18-amd64 (secret@builder) (gcc 12) #1 SMP secret\n",
        "iomem": "00001000-0009ffff : System RAM\n  00002000-00002fff : Kernel code\nf0000000-f0000fff : secret:00\n",
        "meminfo": "MemTotal: 1 kB\n",
    }
    guest = capture_machine(recorded_machine())
    found = redacted(replace(guest, texts=texts, snapshot=replace(guest.snapshot, source="/home/secret/dump")))
    assert "secret" not in str(found.texts) + found.snapshot.source
    assert found.texts == {
        "version": "Linux version 6.1.0-18-amd64\n",
        "iomem": "00001000-0009ffff : System RAM\n  00002000-00002fff : Kernel code\nf0000000-f0000fff : redacted\n",
        "meminfo": "MemTotal: 1 kB\n",
    }
    assert found.about["redacted"] is True
    assert_same(found.snapshot, guest.snapshot)


@pytest.mark.parametrize(
    ("key", "value"),
    [("page_size", 5000), ("page_size", "4096"), ("max_order", 1 << 31), ("pageblock_order", -1), ("kernel", 7)],
)
def test_a_geometry_that_no_kernel_has_is_one_line(written: Path, key: str, value: Any) -> None:
    told = json.loads(pq.read_metadata(written).metadata[SNAPSHOT_KEY.encode()])
    rewrite(written, {SNAPSHOT_KEY: json.dumps({**told, key: value}), VERSION_KEY: "1"})
    with pytest.raises(InputError, match="is damaged"):
        read_snapshot(written)
