"""The kernel's ring buffer in binary: pages of ``per_cpu/cpuN/trace_pipe_raw`` to columns of numbers.

Source: include/linux/ring_buffer.h and kernel/trace/ring_buffer.c (6.1, 6.12): a page is a time stamp, a count of bytes and
events; an event is a word (5 bits of length or type, 27 bits of time since the one before) and its data.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pageblock.errors import InputError

from .tracepoints import Field, Format, parse_format

__all__ = ["PageLayout", "Records", "committed", "field_column", "page_layout", "records_of_pages", "text_of"]

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

#: Values of the 5 bits: up to LARGEST the length in words; 0: the length stands in the next word.
LARGEST, PADDING, TIME_EXTEND, TIME_STAMP = 28, 29, 30, 31

#: Flags in the count of bytes: events were lost before this page; how many stands after its last event.
MISSED, MISSED_STORED = 1 << 31, 1 << 30
COUNT_BITS = MISSED_STORED - 1

#: An absolute time stamp has its top 5 bits from the page.
TOP_BITS = np.uint64(0x1F << 59)

#: Pages that are taken apart at once.
PAGES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class PageLayout:
    """Where things lie in a page of the ring buffer, bytes. ``size``: of the whole page."""

    commit: int
    commit_size: int
    data: int
    size: int


@dataclass(frozen=True)
class Records:
    """Records of several pages: ``page`` and ``offset`` say where each one's data lies; ``time_ns``; ``number``: of its event.

    ``lost``: events lost before these pages, as far as they say; ``lost_unknown``: gaps of which they do not say how many.
    """

    page: I64
    offset: I64
    time_ns: I64
    number: NDArray[np.uint16]
    lost: int
    lost_unknown: int


def page_layout(header_page: str, where: str) -> PageLayout:
    """Read ``events/header_page``.

    Raises:
        InputError: it is not what is known.
    """
    if sys.byteorder != "little":
        raise InputError(
            f"{where}: the ring buffer of big-endian machines is not known here; record text and import it"
        )
    fields = parse_format(
        f"name: page\nID: 0\nfield:int common_type; offset:0; size:2; signed:0;\n{header_page}", where
    ).fields
    commit, data, stamp = (fields.get(name) for name in ("commit", "data", "timestamp"))
    if (
        commit is None
        or data is None
        or stamp is None
        or stamp.offset != 0
        or stamp.size != 8
        or commit.size not in (4, 8)
    ):
        raise InputError(f"{where}: unknown layout of the ring buffer's pages; record text and import it")
    return PageLayout(commit.offset, commit.size, data.offset, data.offset + data.size)


def records_of_pages(pages: U8, layout: PageLayout, where: str) -> Records:
    """Take pages apart: all of them in step, an event of each at a time.

    Args:
        pages: shape (pages, bytes of a page).

    Raises:
        InputError: a page is damaged.
    """
    words = np.ascontiguousarray(pages).view(np.uint32)
    n = len(words)
    time = np.ascontiguousarray(pages[:, :8]).view(np.uint64)[:, 0].copy()
    top = time & TOP_BITS
    commit = words[:, layout.commit // 4].astype(np.int64)
    end = layout.data + (commit & COUNT_BITS)
    lost, unknown = lost_before(words, commit, end, layout)
    position = np.full(n, layout.data, np.int64)
    active = np.flatnonzero(position < end)
    found: list[tuple[I64, I64, NDArray[np.uint64]]] = []
    if (end > layout.size).any():
        raise InputError(
            f"{where}: a page of the ring buffer claims more bytes than it has; it is damaged, record again"
        )
    while len(active):
        at = position[active] >> 2
        word = words[active, at]
        kind = word & 31
        delta = (word >> 5).astype(np.uint64)
        after = words[active, np.minimum(at + 1, words.shape[1] - 1)].astype(np.int64)
        # bytes of the event, its first word included; padding without a time ends the page
        length = np.where(kind == 0, after + 4, np.where(kind <= LARGEST, (kind.astype(np.int64) + 1) * 4, 8))
        length = np.where(kind == PADDING, np.where(delta == 0, layout.size, after + 4), length)
        is_data = kind <= LARGEST
        beyond = is_data & (position[active] + length > end[active])
        if (length < 4).any() or ((length & 3) != 0).any() or beyond.any():
            raise InputError(
                f"{where}: an event of the ring buffer has no possible length; it is damaged, record again"
            )
        far = delta + (after.astype(np.uint64) << np.uint64(27))
        now = time[active]
        now = np.where(kind == TIME_STAMP, far | top[active], now + np.where(kind == TIME_EXTEND, far, delta))
        time[active] = now
        if is_data.any():
            offset = position[active] + np.where(kind == 0, 8, 4)
            found.append((active[is_data], offset[is_data], now[is_data]))
        position[active] += length
        active = active[position[active] < end[active]]
    if not found:
        empty = np.zeros(0, np.int64)
        return Records(empty, empty, empty, np.zeros(0, np.uint16), lost, unknown)
    page, offset, times = (np.concatenate(column) for column in zip(*found, strict=True))
    # steps are one page's events in order: by page, then as found
    order = np.argsort(page, kind="stable")
    page, offset, times = page[order], offset[order], times[order].astype(np.int64)
    number = words.view(np.uint16)[page, offset >> 1]
    return Records(page, offset, times, number, lost, unknown)


def committed(page: bytes, layout: PageLayout) -> int:
    """Bytes of a page that are written."""
    return int.from_bytes(page[layout.commit : layout.commit + 4], "little") & COUNT_BITS


def lost_before(words: NDArray[np.uint32], commit: I64, end: I64, layout: PageLayout) -> tuple[int, int]:
    """Events lost before the pages, and gaps that do not say how many."""
    missed = (commit & MISSED) != 0
    stored = np.flatnonzero(missed & ((commit & MISSED_STORED) != 0) & (end + 8 <= layout.size))
    at = end[stored] >> 2
    counted = words[stored, at].astype(np.int64) + (words[stored, at + 1].astype(np.int64) << 32)
    return int(counted.sum()), int(missed.sum()) - len(stored)


def field_column(pages: U8, records: Records, chosen: I64, field: Field) -> NDArray[Any]:
    """One field of the records ``chosen``: int64 if the field is signed, else uint64."""
    start = records.page[chosen] * pages.shape[1] + records.offset[chosen] + field.offset
    if (records.offset[chosen] + field.offset + field.size > pages.shape[1]).any():
        raise InputError(f"an event of the ring buffer ends before its field {field.name}; it is damaged, record again")
    gathered = pages.reshape(-1)[start[:, None] + np.arange(field.size)]
    kinds = {1: "i1", 2: "i2", 4: "i4", 8: "i8"} if field.signed else {1: "u1", 2: "u2", 4: "u4", 8: "u8"}
    values = gathered.view(kinds[field.size])[:, 0]
    return np.asarray(values, np.int64 if field.signed else np.uint64)


def text_of(pages: U8, records: Records, index: int, field: Field) -> str:
    """A string field of one record: the field holds its place in the lower half, its length in the upper."""
    place = int(field_column(pages, records, np.array([index]), Field("", field.offset, 4, False))[0])
    start = int(records.offset[index]) + (place & 0xFFFF)
    return bytes(pages[records.page[index], start : start + (place >> 16)]).split(b"\0")[0].decode(errors="replace")


def known_sizes(format_: Format) -> list[Field]:
    """The fields of an event that are numbers or strings, without those that every event has."""
    return [
        field
        for name, field in format_.fields.items()
        if not name.startswith("common_") and (field.text or field.size in (1, 2, 4, 8))
    ]
