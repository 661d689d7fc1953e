"""The doctor on 1 TiB: time beside numpy's sum of as many words, processor time, and memory beyond the words.

A process of its own, so that the most memory it ever held is its own.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .doctor import RELEASE, write_machine

__all__ = ["TERABYTE", "Terabyte", "measure_terabyte"]

TERABYTE = 1 << 28
SIZES = (512, 1 << 18)
ROUNDS = 3


@dataclass(frozen=True)
class Terabyte:
    """``seconds`` on the clock and ``busy`` of the processors, least of some rounds; ``megabytes`` held at most in it.

    ``numpy_seconds``: numpy's sum over the words. ``words_megabytes``: the words; ``runs`` that they make.
    """

    name: str
    seconds: float
    busy: float
    numpy_seconds: float
    megabytes: float
    words_megabytes: float
    runs: int


def measure_terabyte(folder: Path, nr_pages: int = TERABYTE) -> list[Terabyte]:
    """Reading, then the verdict of every 2 MiB and 1 GiB range, then the whole answer."""
    write_machine(folder, nr_pages)
    done = subprocess.run(
        [sys.executable, "-m", "bench.terabyte", str(folder)], check=True, capture_output=True, text=True
    )
    return [Terabyte(**one) for one in json.loads(done.stdout)]


def megabytes() -> float:
    """The most memory that this process held so far."""
    # getrusage() would count what the parent held before exec
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def main(folder: Path) -> list[dict[str, float | str]]:
    """The steps, in this process."""
    from pageblock.doctor import diagnose
    from pageblock.machine import read_machine

    began = time.perf_counter(), time.process_time()
    snapshot = read_machine(folder)
    assert snapshot.runs is not None
    runs = snapshot.runs.num_rows
    name = f"read, scan and inference, {runs:,} runs"
    found = [(name, time.perf_counter() - began[0], time.process_time() - began[1], megabytes())]
    for name, sizes, releases in (
        (f"verdict of every 2 MiB and every 1 GiB range, release {RELEASE}", SIZES, [RELEASE]),
        ("diagnose(): four sizes, three releases", (), ["5.15", "seed", "6.1"]),
    ):
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter(), time.process_time()
            diagnose(snapshot, sizes, releases)
            times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        found.append((name, *min(times), megabytes()))
    words = np.fromfile(folder / "kpageflags", np.uint64)
    sums = []
    for _ in range(ROUNDS):
        began = time.perf_counter(), 0
        words.sum()
        sums.append(time.perf_counter() - began[0])
    columns = ("name", "seconds", "busy", "megabytes")
    beside = {"numpy_seconds": min(sums), "words_megabytes": words.nbytes / 1e6, "runs": runs}
    return [{**dict(zip(columns, one, strict=True)), **beside} for one in found]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
