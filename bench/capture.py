"""``pageblock capture`` on a machine of 64 GiB, beside plain reading of the same files in the same run.

The made-up machine of ``bench.doctor``, with a kpagecount. It is read as a running machine is: twice, compared, written.
What the kernel needs to make its words is no part of it: that comes on top, and nobody can save it.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from pageblock.machine import capture
from pageblock.machine.snapshot_file import write_snapshot
from pageblock.machine.source import Folder

from .doctor import MMAP, NR_PAGES, write_machine

__all__ = ["Captured", "measure_capture"]

ROUNDS = 5


@dataclass(frozen=True)
class Captured:
    """Bytes and rows of the file; medians of the seconds over the plain reads, and of the ratio to them with quartiles."""

    name: str
    nr_bytes: int
    rows: int
    seconds_over: float
    read_seconds: float
    ratio: float
    low: float
    high: float


class Running(Folder):
    """A folder that passes for a running kernel, so that it is read twice."""

    live = True


def measure_capture(folder: Path, nr_pages: int = NR_PAGES) -> list[Captured]:
    """Time of the whole capture, and of twice reading kpageflags and kpagecount in pieces of 1 MiB."""
    words = write_machine(folder, nr_pages)
    (folder / "kpagecount").write_bytes((words >> np.uint64(11) & np.uint64(1)).astype("<u8").tobytes())
    assert MMAP == 1 << 11
    times = np.zeros((ROUNDS, 2))
    out = folder / "out.parquet"
    nr_bytes = rows = 0
    buffer = bytearray(1 << 20)
    for i in range(-1, ROUNDS):
        began = time.perf_counter()
        with mock.patch.object(capture, "open_source", return_value=Running(folder)):
            content = capture.capture_machine(folder)
        nr_bytes = write_snapshot(out, content, force=True)
        middle = time.perf_counter()
        for name in ("kpageflags", "kpagecount") * 2:
            with (folder / name).open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        ended = time.perf_counter()
        assert content.snapshot.runs is not None
        rows = content.snapshot.runs.num_rows
        if i >= 0:
            times[i] = middle - began, ended - middle
    low, ratio, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    over, read = np.median(times[:, 0] - times[:, 1]), np.median(times[:, 1])
    return [Captured("two readings, compared, written", nr_bytes, rows, *map(float, (over, read, ratio, low, high)))]
