"""A real recording of the running kernel, beside what its own counters say."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from pageblock.errors import InputError
from pageblock.machine import record as record_module
from pageblock.machine.alloc_events import read_events, write_events
from pageblock.machine.record import pages_of, record
from pageblock.machine.ring_buffer import PageLayout
from pageblock.machine.tracefs import TraceBuffer, mounted_tracefs


def vmstat() -> tuple[int, int]:
    """Pages that the kernel allocated and freed since boot."""
    told = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return sum(int(n) for name, n in told.items() if name.startswith("pgalloc_")), int(told["pgfree"])


@contextmanager
def busy(path: Path) -> Iterator[None]:
    """Page cache comes and goes meanwhile."""
    end = threading.Event()

    def write() -> None:
        while not end.is_set():
            path.write_bytes(bytes(4 << 20))
            path.unlink()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.fixture
def root() -> None:
    """Skipped, visibly, where nothing can be recorded."""
    try:
        with mounted_tracefs() as found:
            os.listdir(found / "instances")
    except (InputError, OSError) as error:
        pytest.skip(f"nothing can be recorded here: {error}")


@pytest.mark.usefixtures("root")
def test_a_recording_has_what_the_kernels_own_counters_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[int, int]] = []
    nr_pages: list[int] = []
    collect = record_module.collect

    def between_two_readings(*args: object) -> object:
        before = vmstat()
        with busy(tmp_path / "big"):
            found = collect(*args)  # type: ignore[arg-type]
        after = vmstat()
        nr_pages.append(len(found))
        counted.append((after[0] - before[0], after[1] - before[1]))
        return found

    monkeypatch.setattr(record_module, "collect", between_two_readings)
    events = record(0.5, tmp_path)
    assert events.origin.lost == 0
    assert events.origin.skipped == tuple(group for group in ("cma",) if group not in events.origin.groups)
    # pages of the ring buffer are copied when they are full: each copy is an allocation, which would feed on itself
    assert events.table.num_rows > 20 * nr_pages[0]
    # the kernel counts from a little before to a little after, and never less
    for name, pages in zip(("mm_page_alloc", "mm_page_free"), counted[0], strict=True):
        mine = events.table.filter(pc.and_(pc.equal(events.table["event"], name), pc.is_valid(events.table["pfn"])))
        traced = int((np.int64(1) << mine["order"].to_numpy().astype(np.int64)).sum())
        assert pages // 3 < traced <= pages
    assert not np.any(np.diff(events.table["time_ns"].to_numpy()) < 0)
    # a bulk free tells of each page twice: what is batched is freed, too
    freed = set(events.table.filter(pc.equal(events.table["event"], "mm_page_free"))["pfn"].to_pylist())
    batched = set(events.table.filter(pc.equal(events.table["event"], "mm_page_free_batched"))["pfn"].to_pylist())
    assert len(batched - freed) <= 64
    path = tmp_path / "a.parquet"
    write_events(path, events)
    assert read_events(path).table.num_rows == events.table.num_rows


def test_a_page_that_the_kernel_is_writing_is_the_last_of_a_turn(tmp_path: Path) -> None:
    layout = PageLayout(8, 8, 16, 4096)
    path = tmp_path / "pipe"
    path.write_bytes(b"".join(bytes(8) + n.to_bytes(8, "little") + bytes(4080) for n in (4080, 4000, 44, 4080)))
    handle = os.open(path, os.O_RDONLY)
    try:
        assert [len(list(pages_of(handle, layout))) for _ in range(3)] == [3, 1, 0]
    finally:
        os.close(handle)


@pytest.mark.usefixtures("root")
def test_events_that_the_kernel_overwrote_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer of 8 KiB a CPU that nobody reads meanwhile."""
    collect = record_module.collect
    overwritten = 0

    def without_reading(own: TraceBuffer, *args: object) -> object:
        nonlocal overwritten
        (own.path / "tracing_on").write_text("1")
        for _ in range(50):
            # pages one by one: a large file may get few large ones
            for i in range(1000):
                (tmp_path / f"small-{i}").write_bytes(bytes(4096))
            for i in range(1000):
                (tmp_path / f"small-{i}").unlink()
            overwritten = record_module.lost_events(own)
            if overwritten > 1000:
                break
        return collect(own, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(record_module, "collect", without_reading)
    lost = record(0.05, tmp_path, buffer_kib=8).origin.lost
    assert 1000 < overwritten <= lost


def test_no_room_for_the_scratch_file_is_one_line(monkeypatch: pytest.MonkeyPatch, root: None, tmp_path: Path) -> None:
    def full(*_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_module, "collect", full)
    with pytest.raises(InputError, match="No space left on device; nothing was written"):
        record(0.1, tmp_path)
