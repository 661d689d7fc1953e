"""Traces that others recorded, into events: which kind a file is, is told by its content."""

import gzip
import io
import lzma
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import zstandard

from pageblock.errors import InputError

from .alloc_events import AllocationEvents, is_events_file
from .llfree import PAGE_BYTES, events_of_llfree, looks_like_llfree
from .trace_text import events_of_text

__all__ = ["import_events"]

#: First bytes of files that a tool turns into text -> what to do.
BINARY = {
    b"\x17\x08\x44tracing": "a file of trace-cmd: give what trace-cmd report prints of it",
    b"PERFILE2": "a file of perf: give what perf script prints of it",
    b"2ELIFREP": "a file of perf of a machine of the other byte order: give what perf script prints of it there",
    b"\x7fELF": "a program or a kernel dump, not a trace",
    b"PAR1": "a Parquet file that holds no text of a trace",
}

#: Magic numbers of what is unpacked while reading.
ZSTD, GZIP, XZ = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xfd7zXZ\x00"


def import_events(
    path: Path, *, page_size: int | None = None, progress: Callable[[int, int], None] | None = None
) -> AllocationEvents:
    """Read a trace of trace-cmd, perf, ftrace (text, also packed) or LLFree (records).

    Args:
        page_size: bytes, where the trace's machine may have several.
        progress: told bytes done and all.

    Raises:
        InputError: it is none of these, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            first = file.read(PAGE_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a readable file") from error
    if not first:
        raise InputError(f"{path}: empty; name a trace")
    for magic, what in BINARY.items():
        if first.startswith(magic):
            what = "events already, as pageblock record and import write them" if is_events_file(path) else what
            raise InputError(f"{path}: {what}")
    if looks_like_llfree(first, size):
        if page_size not in (None, PAGE_BYTES):
            raise InputError(
                f"--page-size {page_size}: LLFree's records are of pages of {PAGE_BYTES} bytes; leave it out"
            )
        return events_of_llfree(path)
    if b"\0" in first and not first.startswith((ZSTD, GZIP, XZ)):
        raise InputError(
            f"{path}: neither text nor LLFree's 128-bit records; give what trace-cmd report or perf script print"
        )
    try:
        # ended before its file is closed: else it complains on stderr when it is collected
        with path.open("rb") as raw, closing(lines_of(raw, first)) as lines:
            told = None if progress is None else lambda _: progress(raw.tell(), size)
            return events_of_text(lines, str(path), page_size=page_size, progress=told)
    except (OSError, EOFError, zstandard.ZstdError, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read to its end ({str(error)[:100]}); copy it again") from error


def lines_of(raw: IO[bytes], first: bytes) -> Generator[str, None, None]:
    """The lines of a file, unpacked."""
    stream: Any = raw
    if first.startswith(ZSTD):
        stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    elif first.startswith(GZIP):
        stream = gzip.GzipFile(fileobj=raw)
    elif first.startswith(XZ):
        stream = lzma.LZMAFile(raw)  # noqa: SIM115 (its file is closed by who opened it)
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="\n")
    try:
        # not "yield from", which would close the text, and so the file, when the reader stops in between
        for line in text:  # noqa: UP028
            yield line
    finally:
        # who opened the file closes it
        text.detach()
