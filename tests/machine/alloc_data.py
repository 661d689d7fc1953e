"""Recorded pieces of traces for the tests: a real kernel's ring buffer and its text of the same events."""

import io
import re
from pathlib import Path

import numpy as np
import zstandard

from pageblock.machine.alloc_events import Origin
from pageblock.machine.record import Recording
from pageblock.machine.ring_buffer import page_layout
from pageblock.machine.tracepoints import parse_format

DATA = Path(__file__).parent / "data" / "alloc"

#: What trace-cmd report, perf script and the kernel's file ``trace`` printed; 6.18.
TEXTS = {
    "trace-cmd report": DATA / "trace-cmd.txt",
    "perf script": DATA / "perf-script.txt",
    "ftrace text": DATA / "6.18-trace.txt.zst",
}


def unpacked(path: Path) -> bytes:
    """A packed file's content."""
    return zstandard.ZstdDecompressor().decompress(path.read_bytes(), 1 << 24)


#: Kernels of which there are ring buffer pages and what the kernel itself printed of the same events. Two are Debian's.
KERNELS = ("6.1", "6.12", "6.18")


def recording(kernel: str = "6.18") -> Recording:
    """The pages, as ``record`` has them before it understands them."""
    raw = np.load(io.BytesIO(unpacked(DATA / f"{kernel}-raw.npz.zst")))
    formats = [
        parse_format(text, "x") for text in re.split(r"(?=^name: )", str(raw["formats"]), flags=re.M) if text.strip()
    ]
    return Recording(raw["pages"], raw["cpus"], page_layout(str(raw["header_page"]), "x"), formats, Origin("tracefs"))
