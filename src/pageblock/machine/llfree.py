"""LLFree's replay records: 128 bits an allocation or free.

Source of the layout: luhsra/llfree-rs, eval/src/bin/replay.rs (before March 2026 bench/src/bin/replay.rs), since commit b848456
of 3 March 2026. Pages of 4096 bytes, little endian. The first: three words, namely pages that follow, CPUs, largest pfn. Each
other one: the CPU's number, filled up to 16 bytes, then 255 records. A record, from its lowest bit: 38 bits microseconds, 24
bits pfn, 1 bit allocation (else free), 4 bits order, 29 bits gfp flags, 32 bits process. The records before that commit had 96
bits and no first page; they cannot be told from other data and are not read.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pageblock.errors import InputError

from .alloc_events import EVENTS_SCHEMA, AllocationEvents, Origin, in_time_order
from .gfp import GFP_BITS, describe_gfp, understand_gfp

__all__ = ["PAGE_BYTES", "events_of_llfree", "looks_like_llfree"]

PAGE_BYTES = 4096
RECORDS_A_PAGE = 255
MOST_CPUS = 4096

#: LLFree's kernel notes with a bit of its own that the page is for the page cache.
NAMES = (*GFP_BITS, (0x200, "__GFP_ATOMIC"), (0x800000, "__GFP_ZEROTAGS"), (0x10000000, "page_cache"))


@dataclass(frozen=True, slots=True)
class Header:
    """The first page: pages that follow, CPUs, largest pfn."""

    pages: int
    cpus: int
    max_pfn: int


def header_of(first: bytes) -> Header | None:
    """The header, None if a page is none: three words that make sense, and nothing else."""
    if len(first) < PAGE_BYTES or any(first[12:PAGE_BYTES]):
        return None
    pages, cpus, max_pfn = (int(word) for word in np.frombuffer(first[:12], "<u4"))
    return Header(pages, cpus, max_pfn) if 1 <= cpus <= MOST_CPUS and 1 <= max_pfn < 1 << 24 else None


def looks_like_llfree(first: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes that begins like this is one of LLFree's."""
    return size >= 2 * PAGE_BYTES and size % PAGE_BYTES == 0 and header_of(first) is not None


def events_of_llfree(path: Path) -> AllocationEvents:
    """Read a file of records.

    Raises:
        InputError: it is cut off, or its records contradict its header.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make it a readable file") from error
    header = header_of(content[:PAGE_BYTES].tobytes())
    if header is None or len(content) % PAGE_BYTES:
        raise InputError(f"{path}: no whole file of LLFree's records (pages of {PAGE_BYTES} bytes); copy it again")
    pages = content.reshape(-1, PAGE_BYTES)[1:]
    cpus = np.ascontiguousarray(pages[:, :4]).view("<u4")[:, 0]
    if (cpus >= header.cpus).any():
        at = int(np.argmax(cpus >= header.cpus))
        raise InputError(
            f"{path}: page {at + 1} is of CPU {cpus[at]}, the header has {header.cpus}; not LLFree's 128-bit records"
        )
    words = np.ascontiguousarray(pages[:, 16:]).view("<u8").reshape(-1, 2)
    # the last page of each CPU is filled up with zeroes
    used = words.any(axis=1)
    low, high = words[used, 0], words[used, 1]
    cpu = np.repeat(cpus, RECORDS_A_PAGE)[used].astype(np.uint16)
    time = (low & np.uint64((1 << 38) - 1)).astype(np.int64) * 1000
    pfn = low >> np.uint64(38) & np.uint64((1 << 24) - 1)
    alloc = (low >> np.uint64(62) & np.uint64(1)).astype(bool)
    order = ((low >> np.uint64(63)) | (high & np.uint64(7)) << np.uint64(1)).astype(np.int8)
    gfp = high >> np.uint64(3) & np.uint64((1 << 29) - 1)
    pid = (high >> np.uint64(32)).astype(np.uint32).view(np.int32)
    if (pfn > header.max_pfn).any():
        raise InputError(
            f"{path}: pfn {int(pfn.max()):#x} lies beyond the header's largest, {header.max_pfn:#x}; not LLFree's 128-bit records"
        )
    table = table_of(time, cpu, pid, alloc, pfn, order, gfp)
    origin = Origin(
        source="LLFree replay records",
        page_size=4096,
        cpus=header.cpus,
        clock="as recorded, microseconds",
        groups=("kmem",),
        unread=max(0, header.pages - len(pages)),
        unread_like="pages that the header counts and the file lacks" if header.pages > len(pages) else "",
    )
    return AllocationEvents(in_time_order(table), origin)


def table_of(
    time: NDArray[np.int64],
    cpu: NDArray[np.uint16],
    pid: NDArray[np.int32],
    alloc: NDArray[np.bool_],
    pfn: NDArray[np.uint64],
    order: NDArray[np.int8],
    gfp: NDArray[np.uint64],
) -> pa.Table:
    """Records as events; an allocation's migratetype is what its flags ask for."""
    numbers, index = np.unique(gfp, return_inverse=True)
    words = [describe_gfp(int(number), NAMES) for number in numbers]
    types = np.array([understand_gfp(word).migratetype for word in words], np.int8)
    n = len(time)
    return pa.table(
        [
            pa.array(time),
            pa.array(cpu),
            pa.array(pid),
            pa.DictionaryArray.from_arrays(
                pa.array(np.where(alloc, 0, 1).astype(np.int32)), ["mm_page_alloc", "mm_page_free"]
            ),
            pa.array(pfn),
            pa.nulls(n, pa.uint64()),
            pa.array(order),
            pa.array(types[index] if n else np.zeros(0, np.int8), pa.int8(), mask=~alloc),
            pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32), mask=~alloc), pa.array(words, pa.string())),
            pa.nulls(n, pa.bool_()),
            pa.nulls(n, pa.string()),
        ],
        schema=EVENTS_SCHEMA,
    )
