"""What it costs to make a zone: memory per page, and time beside numpy zero-filling as many bytes.

Each size in a process of its own, ``python -m bench.creation PAGES``, so that memory of one is not
mistaken for memory of another.
"""

import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import pageblock
from pageblock.mm import Zone

__all__ = ["SIZES", "Creation", "measure_creations"]

ROOT = Path(__file__).parent.parent
MI = 1 << 20
#: Pages: 4 GiB, 256 GiB and 1 TiB of memory in pages of 4 KiB.
SIZES = (1 * MI, 64 * MI, 256 * MI, 268 * MI)
PAGEBLOCK_PAGES = 512
BYTES_A_PAGE = 10


@dataclass(frozen=True)
class Creation:
    """A zone of ``nr_pages``: bytes a page mapped and resident after creation; times in seconds."""

    nr_pages: int
    mapped: float
    resident: float
    zone_seconds: float
    fill_seconds: float
    fill_bytes: int

    @property
    def ratio(self) -> float:
        """Time of the zone : time of numpy filling as many bytes with zeros."""
        return self.zone_seconds / self.fill_seconds


def memory() -> tuple[int, int]:
    """Bytes that the process has mapped, and that are resident."""
    mapped, resident = Path("/proc/self/statm").read_text().split()[:2]
    page = os.sysconf("SC_PAGE_SIZE")
    return int(mapped) * page, int(resident) * page


def measure(nr_pages: int) -> Creation:
    """Make the zone and fill the bytes by turns; least time of each, memory of the first zone."""
    Zone(4096)
    nr_bytes = BYTES_A_PAGE * nr_pages + nr_pages // PAGEBLOCK_PAGES
    zone_times: list[float] = []
    fill_times: list[float] = []
    sizes: list[tuple[int, int]] = []
    for _ in range(3):
        before = memory()
        began = time.perf_counter()
        zone = Zone(nr_pages)
        zone_times.append(time.perf_counter() - began)
        after = memory()
        sizes.append((after[0] - before[0], after[1] - before[1]))
        del zone
        gc.collect()
        began = time.perf_counter()
        block = np.empty(nr_bytes, np.uint8)
        block.fill(0)
        fill_times.append(time.perf_counter() - began)
        del block
        gc.collect()
    mapped, resident = sizes[0]
    return Creation(
        nr_pages,
        mapped / nr_pages,
        resident / nr_pages,
        min(zone_times),
        min(fill_times),
        nr_bytes,
    )


def measure_creations(sizes: tuple[int, ...] = SIZES) -> list[Creation]:
    """Every size that fits into three quarters of the memory, each in its own process."""
    results: list[Creation] = []
    room = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    source = Path(pageblock.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{source}"}
    for nr_pages in sizes:
        if nr_pages * BYTES_A_PAGE > room * 3 // 4:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "bench.creation", str(nr_pages)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        results.append(Creation(**json.loads(done.stdout)))
    return results


if __name__ == "__main__":
    print(json.dumps(asdict(measure(int(sys.argv[1])))))
