"""LLFree's 128-bit replay records, written here bit by bit as their source describes them."""

import struct
from pathlib import Path

import pytest

from pageblock.errors import InputError
from pageblock.machine.llfree import events_of_llfree, looks_like_llfree


def record(time_us: int, pfn: int, alloc: bool, order: int, flags: int, pid: int) -> bytes:
    value = time_us | pfn << 38 | alloc << 62 | order << 63 | flags << 67 | pid << 96
    return value.to_bytes(16, "little")


def trace_page(cpu: int, *records: bytes) -> bytes:
    return (struct.pack("<I", cpu).ljust(16, b"\0") + b"".join(records)).ljust(4096, b"\0")


def header(pages: int, cpus: int = 2, max_pfn: int = 0xFFFF) -> bytes:
    return struct.pack("<III", pages, cpus, max_pfn).ljust(4096, b"\0")


def written(tmp_path: Path, *pages: bytes) -> Path:
    path = tmp_path / "trace.bin"
    path.write_bytes(b"".join(pages))
    return path


def test_every_field_comes_back(tmp_path: Path) -> None:
    largest = (1 << 38) - 1
    path = written(
        tmp_path,
        header(2),
        trace_page(1, record(largest, 0xABC, True, 9, 0x08 | 0x40000, 0xFFFFFFFF), record(0, 1, True, 15, 0x10, 4)),
        trace_page(0, record(5, 0xABC, False, 9, 0, 7)),
    )
    found = events_of_llfree(path)
    rows = found.table.to_pylist()
    # in order of time, whichever CPU's page comes first; what fills a page up is nothing
    assert [(row["time_ns"], row["cpu"], row["event"], row["pfn"], row["order"]) for row in rows] == [
        (0, 1, "mm_page_alloc", 1, 15),
        (5000, 0, "mm_page_free", 0xABC, 9),
        (largest * 1000, 1, "mm_page_alloc", 0xABC, 9),
    ]
    assert [(row["migratetype"], row["gfp"], row["pid"]) for row in rows] == [
        (2, "__GFP_RECLAIMABLE", 4),
        (None, None, 7),
        (1, "__GFP_MOVABLE|__GFP_COMP", -1),
    ]
    assert (found.origin.cpus, found.origin.lost, found.origin.source) == (2, 0, "LLFree replay records")


def test_only_pages_with_a_header_that_makes_sense_look_like_it() -> None:
    assert looks_like_llfree(header(1), 8192)
    assert not looks_like_llfree(header(1), 8193)
    assert not looks_like_llfree(header(1), 4096)
    assert not looks_like_llfree(header(1, cpus=0), 8192)
    assert not looks_like_llfree(header(1, max_pfn=1 << 24), 8192)
    assert not looks_like_llfree(b"text of a trace".ljust(4096), 8192)


def test_pages_that_the_header_counts_and_the_file_lacks_are_counted(tmp_path: Path) -> None:
    found = events_of_llfree(written(tmp_path, header(3), trace_page(0, record(1, 1, True, 0, 0, 0))))
    assert (found.origin.unread, found.table.num_rows) == (2, 1)


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ((header(1), trace_page(2, record(1, 1, True, 0, 0, 0))), "page 1 is of CPU 2, the header has 2"),
        (
            (header(1, max_pfn=5), trace_page(0, record(1, 6, True, 0, 0, 0))),
            "pfn 0x6 lies beyond the header's largest, 0x5",
        ),
        ((header(1), b"\0" * 100), "no whole file"),
        ((b"x" * 4096,), "no whole file"),
    ],
)
def test_what_contradicts_itself_is_one_line(tmp_path: Path, pages: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        events_of_llfree(written(tmp_path, *pages))
    assert "\n" not in str(refused.value)
