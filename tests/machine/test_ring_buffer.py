"""The kernel's ring buffer: each kind of entry, and a real one beside the kernel's own text."""

import json
import struct

import numpy as np
import pyarrow as pa
import pytest

from pageblock.errors import InputError
from pageblock.machine.record import decoded
from pageblock.machine.ring_buffer import MISSED, MISSED_STORED, PageLayout, Records, page_layout, records_of_pages
from pageblock.machine.trace_text import events_of_text
from tests.machine.alloc_data import DATA, KERNELS, recording, unpacked

LAYOUT = PageLayout(8, 8, 16, 4096)

HEADER_PAGE = """\
	field: u64 timestamp;	offset:0;	size:8;	signed:0;
	field: local_t commit;	offset:8;	size:8;	signed:1;
	field: int overwrite;	offset:8;	size:1;	signed:1;
	field: char data;	offset:16;	size:4080;	signed:1;
"""


def word(kind: int, delta: int) -> bytes:
    return struct.pack("<I", kind | delta << 5)


def event(number: int, delta: int, extra: int = 0) -> bytes:
    """An event of 4 bytes and ``extra`` words: its number, and nothing."""
    return word(1 + extra, delta) + struct.pack("<HH", number, 0) + bytes(4 * extra)


def page(time: int, *entries: bytes, flags: int = 0, behind: bytes = b"") -> bytes:
    data = b"".join(entries)
    return (struct.pack("<QQ", time, len(data) | flags) + data + behind).ljust(4096, b"\0")


def records(*pages: bytes) -> Records:
    return records_of_pages(np.frombuffer(b"".join(pages), np.uint8).reshape(-1, 4096), LAYOUT, "x")


def test_the_layout_is_read() -> None:
    assert page_layout(HEADER_PAGE, "x") == LAYOUT


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(InputError, match="unknown layout"):
        page_layout(HEADER_PAGE.replace("timestamp", "clock"), "x")


def test_times_add_up_over_every_kind_of_entry() -> None:
    found = records(
        page(
            1000,
            event(7, 5),
            word(30, 3) + struct.pack("<I", 1),  # a time extend: 2^27 + 3
            event(8, 1, extra=3),
            word(29, 10) + struct.pack("<I", 8) + bytes(4),  # padding of 12 bytes that takes time
            event(9, 2),
        )
    )
    assert found.number.tolist() == [7, 8, 9]
    assert found.time_ns.tolist() == [1005, 1005 + (1 << 27) + 3 + 1, 1005 + (1 << 27) + 3 + 1 + 12]


def test_an_absolute_time_has_its_top_from_the_page() -> None:
    top = 3 << 59
    found = records(page(top | 5, word(31, 77) + struct.pack("<I", 2), event(1, 1)))
    assert found.time_ns.tolist() == [(top | (2 << 27) + 77) + 1]


def test_a_long_event_has_its_length_in_the_next_word() -> None:
    long = word(0, 4) + struct.pack("<I", 4 + 200) + struct.pack("<HH", 5, 0) + bytes(196)
    found = records(page(0, long, event(6, 1)))
    assert found.number.tolist() == [5, 6]
    assert found.offset.tolist() == [16 + 8, 16 + 8 + 200 + 4]


def test_padding_without_a_time_ends_the_page() -> None:
    assert records(page(0, event(1, 1), word(29, 0), event(2, 1))).number.tolist() == [1]


def test_pages_are_independent_and_empty_ones_have_nothing() -> None:
    found = records(page(10, event(1, 1)), page(0), page(20, event(2, 1), event(3, 1)))
    assert (found.page.tolist(), found.number.tolist(), found.time_ns.tolist()) == ([0, 2, 2], [1, 2, 3], [11, 21, 22])


def test_lost_events_are_counted_where_the_page_says_how_many() -> None:
    counted = page(0, event(1, 1), flags=MISSED | MISSED_STORED, behind=struct.pack("<Q", 41))
    found = records(counted, page(0, event(1, 1), flags=MISSED))
    assert (found.lost, found.lost_unknown, len(found.number)) == (41, 1, 2)


@pytest.mark.parametrize(
    "broken",
    [
        page(0, event(1, 1), flags=1 << 20),
        page(0, word(0, 1) + struct.pack("<I", 2)),
        page(0, word(0, 1) + struct.pack("<I", 0xFFFFFFF0)),
    ],
)
def test_a_damaged_page_is_refused(broken: bytes) -> None:
    with pytest.raises(InputError, match="damaged"):
        records(broken)


def test_any_bytes_are_read_or_refused() -> None:
    """Whatever stands in a page: an answer or one line, in bounded time."""
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(200):
        noise = rng.integers(0, 256, 4096, np.uint8)
        noise[8:16] = np.frombuffer(struct.pack("<Q", int(rng.integers(0, 4080))), np.uint8)
        try:
            found = records(noise.tobytes())
        except InputError:
            refused += 1
        else:
            assert (found.offset + 2 <= 4096).all()
    assert 0 < refused < 200


def by_cpu(table: pa.Table) -> pa.Table:
    return table.take(pa.array(np.argsort(table["cpu"].to_numpy(), kind="stable")))


@pytest.mark.parametrize("kernel", KERNELS)
def test_binary_and_text_of_a_real_kernel_agree(kernel: str) -> None:
    """The same events by the kernel's ring buffer and by what it prints of it."""
    # events of two CPUs within a microsecond may be printed the other way round
    binary = by_cpu(decoded(recording(kernel)).table)
    text = by_cpu(events_of_text(unpacked(DATA / f"{kernel}-trace.txt.zst").decode().splitlines(), "x").table)
    assert binary.num_rows == text.num_rows > 200
    for name in ("cpu", "pid", "event", "pfn", "end_pfn", "order", "migratetype", "gfp", "percpu_refill"):
        assert binary[name].to_pylist() == text[name].to_pylist(), name
    # printed to the microsecond
    difference = binary["time_ns"].to_numpy() - text["time_ns"].to_numpy()
    assert (abs(difference) <= 500).all()
    moved = [json.loads(row["fields"]) for row in binary.to_pylist() if row["event"] == "mm_compaction_migratepages"]
    told = [json.loads(row["fields"]) for row in text.to_pylist() if row["event"] == "mm_compaction_migratepages"]
    assert moved == told != []
