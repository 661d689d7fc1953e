"""Recording allocation on the running kernel: its ring buffers to a scratch file, and that to events."""

import contextlib
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pageblock.errors import InputError

from .alloc_events import EVENTS_SCHEMA, AllocationEvents, Origin, in_time_order
from .gfp import GFP_BITS, describe_gfp
from .ring_buffer import (
    PAGES_AT_ONCE,
    PageLayout,
    Records,
    committed,
    field_column,
    known_sizes,
    page_layout,
    records_of_pages,
    text_of,
)
from .tracefs import TraceBuffer, buffer, mounted_tracefs, setting, switch_on
from .tracepoints import COLUMN_OF, Format, check_fields, gfp_names, parse_format

__all__ = ["Recording", "record"]

#: Room in the kernel for each CPU, KiB: a second of a million events.
BUFFER_KIB = 64 << 10

#: Seconds between two looks into the kernel's buffers.
PAUSE = 0.02

#: Pages read of one CPU before the next is asked.
PAGES_A_TURN = 256

Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Recording:
    """What was read, before it is understood: ``pages`` of shape (pages, bytes), the CPU of each, and the kernel's formats."""

    pages: NDArray[np.uint8]
    cpus: NDArray[np.uint16]
    layout: PageLayout
    formats: Sequence[Format]
    origin: Origin


def record(
    seconds: float,
    scratch: Path,
    *,
    buffer_kib: int = BUFFER_KIB,
    recording: Progress = None,
    decoding: Progress = None,
) -> AllocationEvents:
    """Record the running kernel for ``seconds``; raw pages go to an unnamed file in the folder ``scratch`` meanwhile.

    Args:
        recording: told milliseconds done and wanted. ``decoding``: pages done and all.

    Raises:
        InputError: not root, no tracefs, a tracepoint whose format is not known, or no room for the scratch file.
    """
    with mounted_tracefs() as tracefs, buffer(tracefs) as own, tempfile.TemporaryFile(dir=scratch, buffering=0) as file:
        switched = switch_on(own, buffer_kib)
        formats = [read_format(own, group, name) for group, name in switched.events]
        layout = page_layout(own.read("events/header_page"), str(own.path / "events/header_page"))
        began = time.monotonic()
        try:
            cpus = collect(own, layout, seconds, cast(RawIOBase, file), recording)
        except OSError as error:
            raise InputError(
                f"{scratch}: {error.strerror or error}; nothing was written, choose another place"
            ) from error
        origin = Origin(
            source="tracefs",
            kernel=platform.release(),
            machine=platform.machine(),
            page_size=os.sysconf("SC_PAGE_SIZE"),
            cpus=len(list((own.path / "per_cpu").glob("cpu[0-9]*"))),
            clock=setting(own.read("trace_clock")),
            seconds=round(time.monotonic() - began, 3),
            groups=tuple(dict.fromkeys(group for group, _ in switched.events)),
            skipped=tuple(switched.skipped),
            left_off=tuple(switched.left_off),
            lost=lost_events(own),
        )
        pages = (
            np.memmap(file, np.uint8, "r", shape=(len(cpus), layout.size))
            if cpus
            else np.zeros((0, layout.size), np.uint8)
        )
        return decoded(Recording(pages, np.array(cpus, np.uint16), layout, formats, origin), decoding)


def read_format(own: TraceBuffer, group: str, name: str) -> Format:
    """The format of one tracepoint. Raises InputError where it cannot be understood."""
    path = f"events/{group}/{name}/format"
    found = parse_format(own.read(path), str(own.path / path))
    check_fields(name, found.fields, str(own.path / path))
    return found


def collect(own: TraceBuffer, layout: PageLayout, seconds: float, file: RawIOBase, progress: Progress) -> list[int]:
    """Let the kernel record for ``seconds`` and copy its pages to a file; the CPU of each page."""
    cpus: list[int] = []
    with contextlib.ExitStack() as stack:
        pipes = []
        for folder in (own.path / "per_cpu").glob("cpu[0-9]*"):
            handle = os.open(folder / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
            stack.callback(os.close, handle)
            pipes.append((int(folder.name.removeprefix("cpu")), handle))

        def look() -> int:
            """Copy what there is; most pages of one CPU."""
            most = 0
            for cpu, handle in pipes:
                pages = list(pages_of(handle, layout))
                write_all(file, b"".join(pages))
                cpus.extend([cpu] * len(pages))
                most = max(most, len(pages))
            return most

        own.write("tracing_on", "1")
        began = time.monotonic()
        try:
            while (left := began + seconds - time.monotonic()) > 0:
                if look() < PAGES_A_TURN:
                    time.sleep(min(PAUSE, left))
                if progress is not None:
                    progress(int((time.monotonic() - began) * 1000), int(seconds * 1000))
        finally:
            (own.path / "tracing_on").write_text("0")
        while look():
            pass
    return cpus


def write_all(file: RawIOBase, content: bytes) -> None:
    """Write all of it. The file has no buffer: what is left in one fails where nobody expects it. Raises OSError."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) or 0 :]


def pages_of(handle: int, layout: PageLayout) -> Iterator[bytes]:
    """What a CPU's buffer holds, at most PAGES_A_TURN pages.

    The kernel gives the page that it is writing, too. That is the last of the turn: to ask again at once would get an event a
    page, and as each page that is copied is an allocation, an event for each page: a recording of nothing but itself.
    """
    for _ in range(PAGES_A_TURN):
        try:
            page = os.read(handle, layout.size)
        except BlockingIOError:
            return
        if len(page) < layout.size:
            return
        yield page
        if committed(page, layout) < (layout.size - layout.data) // 2:
            return


def lost_events(own: TraceBuffer) -> int:
    """Events that no reader got: overwritten before they were read, or dropped."""
    lost = 0
    for path in (own.path / "per_cpu").glob("cpu[0-9]*/stats"):
        lost += sum(
            int(number)
            for number in re.findall(r"^(?:overrun|dropped events|commit overrun): (\d+)$", path.read_text(), re.M)
        )
    return lost


def decoded(recording: Recording, progress: Progress = None) -> AllocationEvents:
    """The events of the pages, in order of time.

    Raises:
        InputError: a page is damaged, or one of an event that nobody turned on.
    """
    tables = []
    lost = unknown = 0
    total = len(recording.pages)
    for first in range(0, total, PAGES_AT_ONCE):
        pages = np.asarray(recording.pages[first : first + PAGES_AT_ONCE])
        records = records_of_pages(pages, recording.layout, "trace_pipe_raw")
        lost, unknown = lost + records.lost, unknown + records.lost_unknown
        cpus = recording.cpus[first : first + PAGES_AT_ONCE]
        tables += [event_rows(pages, records, cpus, format_) for format_ in recording.formats]
        if progress is not None:
            progress(min(first + PAGES_AT_ONCE, total), total)
    table = pa.concat_tables(tables) if tables else EVENTS_SCHEMA.empty_table()
    table = in_time_order(table.unify_dictionaries().combine_chunks())
    origin = recording.origin
    # the kernel's own count is of the whole; the pages' is for a kernel that has none
    if not origin.lost and (lost or unknown):
        origin = replace(origin, lost=lost or -1)
    return AllocationEvents(table, origin)


def event_rows(pages: NDArray[np.uint8], records: Records, cpus: NDArray[np.uint16], format_: Format) -> pa.Table:
    """All records of one tracepoint as rows."""
    chosen = np.flatnonzero(records.number == format_.number)
    n = len(chosen)
    values = {
        field.name: field_column(pages, records, chosen, field) for field in known_sizes(format_) if not field.text
    }
    columns: dict[str, pa.Array] = {
        "time_ns": pa.array(records.time_ns[chosen], pa.int64()),
        "cpu": pa.array(cpus[records.page[chosen]], pa.uint16()),
        "pid": pa.array(
            field_column(pages, records, chosen, format_.fields["common_pid"]).astype(np.int32), pa.int32()
        ),
        "event": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([format_.name])),
    }
    others = []
    for name in values:
        column = COLUMN_OF.get(name)
        if column is None or column in columns:
            others.append(name)
        else:
            columns[column] = event_column(column, values[name], format_)
    texts = [field for field in known_sizes(format_) if field.text]
    if others or texts:
        plain = {name: values[name].tolist() for name in others}
        plain |= {field.name: [text_of(pages, records, int(i), field) for i in chosen] for field in texts}
        columns["fields"] = pa.array(
            [json.dumps({name: plain[name][i] for name in plain}) for i in range(n)], pa.string()
        )
    if format_.name == "mm_page_free_batched":
        columns["order"] = pa.array(np.zeros(n, np.int8), pa.int8())
    whole = [columns.get(field.name, pa.nulls(n, field.type)) for field in EVENTS_SCHEMA]
    return pa.table(whole, schema=EVENTS_SCHEMA)


def event_column(column: str, values: NDArray[Any], format_: Format) -> pa.Array:
    """Numbers of the kernel as a column of the schema."""
    if column == "gfp":
        names = gfp_names(format_.print_format) or GFP_BITS
        numbers, index = np.unique(values, return_inverse=True)
        words = pa.array([describe_gfp(int(number), names) for number in numbers], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), words)
    kind = EVENTS_SCHEMA.field(column).type
    if column in ("pfn", "end_pfn"):
        # no page: -1 of the kernel's unsigned long
        return pa.array(values.astype(np.uint64), kind, mask=values == values.dtype.type(-1 & 0xFFFFFFFFFFFFFFFF))
    if column == "percpu_refill":
        return pa.array(values != 0, kind)
    return pa.array(values.astype(np.int8), kind)
