"""The doctor on a machine of 64 GiB, beside numpy reading the same words in the same run.

The machine is made up: a folder with the files of /proc whose 16 Mi words mix free blocks,
anonymous and file pages with stray free pages between, THPs, slabs, page tables, kernel pages and
reserved memory: 38 runs in 1000 pages, many times more than on a machine that has just booted. It
goes through the same public functions that a recorded machine goes through.
"""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NR_PAGES", "Step", "measure_doctor", "write_machine"]

NR_PAGES = 16 << 20
PAGE = 4096
MAX_ORDER = 10
WINDOW = 1 << MAX_ORDER
#: Variants of each kind of window; the machine repeats them in random order.
VARIANTS = 64
ROUNDS = 7
SEED = 20_213
RELEASE = "6.1"

Words = npt.NDArray[np.uint64]

# Bits of a kpageflags word, include/uapi/linux/kernel-page-flags.h
REFERENCED, UPTODATE, DIRTY, LRU, ACTIVE = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6
SLAB, BUDDY, MMAP, ANON, SWAPBACKED = 1 << 7, 1 << 10, 1 << 11, 1 << 12, 1 << 14
HEAD, TAIL, THP, PGTABLE, RESERVED = 1 << 15, 1 << 16, 1 << 22, 1 << 26, 1 << 32

#: Kind of window -> its share, and the index in ``TYPE_NAMES`` of its pageblocks' type.
KINDS: dict[str, tuple[float, int]] = {
    "free": (0.20, 1),
    "anon": (0.28, 1),
    "thp": (0.12, 1),
    "file": (0.25, 1),
    "slab": (0.06, 2),
    "kernel": (0.07, 0),
    "reserved": (0.02, 0),
}
TYPE_NAMES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate")


@dataclass(frozen=True)
class Step:
    """One step of the doctor: its time to that of numpy's sum of the words; seconds of both."""

    name: str
    ratio: float
    low: float
    high: float
    seconds: float
    numpy_seconds: float


def window(kind: str, random: np.random.Generator) -> Words:
    """The words of one max order block of this kind."""
    words = np.zeros(WINDOW, np.uint64)
    if kind == "free":
        words[:] = BUDDY
    elif kind == "thp":
        words[:] = TAIL | THP | LRU | ANON | SWAPBACKED | UPTODATE | MMAP
        words[::512] = HEAD | THP | LRU | ANON | SWAPBACKED | UPTODATE | MMAP
    elif kind in ("anon", "file"):
        base = LRU | UPTODATE | (ANON | SWAPBACKED | MMAP if kind == "anon" else 0)
        words[:] = base
        words[random.random(WINDOW) < 0.3] |= np.uint64(ACTIVE)
        words[random.random(WINDOW) < 0.2] |= np.uint64(REFERENCED)
        for start in random.integers(0, WINDOW - 32, 4 if kind == "file" else 0):
            words[start : start + int(random.integers(1, 32))] |= np.uint64(DIRTY)
        for order in random.integers(0, 5, 12):
            at = int(random.integers(0, WINDOW >> order)) << int(order)
            words[at : at + (1 << int(order))] = BUDDY
    elif kind == "slab":
        at = 0
        while at < WINDOW:
            order = min(int(random.integers(0, 4)), (at & -at).bit_length() - 1 if at else 3)
            words[at : at + (1 << order)] = SLAB | (TAIL if order else 0)
            words[at] = SLAB | (HEAD if order else 0)
            at += 1 << order
        words[random.integers(0, WINDOW // 8) * 8 :][:8] = BUDDY
    elif kind == "kernel":
        words[random.random(WINDOW) < 0.1] = PGTABLE | MMAP
    else:
        words[:] = RESERVED
    return words


def free_counts(words: Words) -> npt.NDArray[np.int64]:
    """Free blocks of each order, merged as far as they go; words begin at a max order block."""
    free = words & np.uint64(BUDDY) != 0
    counts = np.zeros(MAX_ORDER + 1, np.int64)
    for order in range(MAX_ORDER, -1, -1):
        blocks = free.reshape(-1, 1 << order)
        whole = blocks.all(axis=1)
        counts[order] = whole.sum()
        blocks[whole] = False
    return counts


def write_machine(folder: Path, nr_pages: int = NR_PAGES) -> Words:
    """Write the files of a made-up machine of one zone; its words."""
    random = np.random.default_rng(SEED)
    kinds = list(KINDS)
    pool = np.stack([window(kind, random) for kind in kinds for _ in range(VARIANTS)])
    counts = np.stack([free_counts(one) for one in pool])
    windows = nr_pages // WINDOW
    kind = random.choice(len(kinds), windows, p=[share for share, _ in KINDS.values()])
    chosen = kind * VARIANTS + random.integers(0, VARIANTS, windows)
    words: Words = pool[chosen].reshape(-1)
    types = np.array([mt for _, mt in KINDS.values()])[kind]
    per_type = np.stack([counts[chosen[types == mt]].sum(axis=0) for mt in range(len(TYPE_NAMES))])
    total = per_type.sum(axis=0)
    free_pages = int((total << np.arange(MAX_ORDER + 1)).sum())

    def row(values: npt.NDArray[np.int64]) -> str:
        return " ".join(f"{value:6d}" for value in values)

    (folder / "kpageflags").write_bytes(words.astype("<u8").tobytes())
    (folder / "buddyinfo").write_text(f"Node 0, zone   Normal {row(total)} \n")
    lines = ["Page block order: 9", "Pages per block:  512", ""]
    orders = row(np.arange(MAX_ORDER + 1))
    lines.append(f"Free pages count per migrate type at order {orders} ")
    for mt, name in enumerate(TYPE_NAMES):
        lines.append(f"Node    0, zone   Normal, type {name:>12} {row(per_type[mt])} ")
    blocks = np.bincount(types, minlength=len(TYPE_NAMES)) * 2
    lines += ["", "Number of blocks type " + " ".join(f"{name:>12}" for name in TYPE_NAMES) + " "]
    lines.append("Node 0, zone   Normal " + " ".join(f"{count:12d}" for count in blocks) + " ")
    (folder / "pagetypeinfo").write_text("\n".join(lines) + "\n")
    (folder / "zoneinfo").write_text(
        f"Node 0, zone   Normal\n  pages free     {free_pages}\n        boost    0\n"
        f"        min      16384\n        low      20480\n        high     24576\n"
        f"        spanned  {nr_pages}\n        present  {nr_pages}\n        managed  {nr_pages}\n"
        "        cma      0\n        protection: (0, 0, 0, 0, 0)\n"
        f"      nr_free_pages {free_pages}\n  pagesets\n    cpu: 0\n              count: 0\n"
        "              high:  0\n              batch: 1\n  start_pfn:           0\n"
    )
    (folder / "iomem").write_text(f"00000000-{nr_pages * PAGE - 1:x} : System RAM\n")
    (folder / "meminfo").write_text(
        f"MemTotal: {nr_pages * 4} kB\nMemFree: {free_pages * 4} kB\nHugepagesize: 2048 kB\n"
    )
    return words


def compare(name: str, step: Callable[[], object], words: Words, rounds: int) -> Step:
    """Time a step and numpy's sum of the words by turns; median and quartiles of the ratio."""
    times = np.zeros((rounds, 2))
    for i in range(-1, rounds):
        began = time.perf_counter()
        step()
        middle = time.perf_counter()
        words.sum()
        ended = time.perf_counter()
        if i >= 0:
            times[i] = middle - began, ended - middle
    low, ratio, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    seconds, numpy_seconds = np.median(times, axis=0)
    return Step(name, float(ratio), float(low), float(high), float(seconds), float(numpy_seconds))


def optional(module: str) -> Any:
    """A module of the package that this build may not have; None then."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def measure_doctor(folder: Path, nr_pages: int = NR_PAGES) -> list[Step]:
    """Scan, snapshot, zone, verdicts and the whole answer, as far as these parts exist."""
    steps: list[Step] = []
    words = write_machine(folder, nr_pages)
    kpageflags = optional("pageblock.machine.kpageflags")
    if kpageflags is None:
        return steps
    compiled = "" if kpageflags.SCAN_COMPILED else " (not compiled)"
    rounds = ROUNDS if kpageflags.SCAN_COMPILED else 1
    scan = kpageflags.scan_words
    steps.append(compare(f"scan of kpageflags{compiled}", lambda: scan(words), words, rounds))
    machine = optional("pageblock.machine")
    zones = optional("pageblock.machine.zones")
    if machine is None or zones is None:
        return steps
    snapshot = machine.read_machine(folder)
    name = f"snapshot: read, scan and inference, {snapshot.runs.num_rows:,} runs"
    steps.append(compare(name, lambda: machine.read_machine(folder), words, rounds))
    name = "model zone of the snapshot"
    make = zones.snapshot_zones
    steps.append(compare(name, lambda: make(snapshot, RELEASE), words, rounds))
    verdict = optional("pageblock.doctor.verdict")
    if verdict is None:
        return steps
    (zone,) = zones.snapshot_zones(snapshot, RELEASE)

    def judge() -> None:
        for size in (512, 1 << 18):
            verdict.judge(zone, RELEASE, size)

    name = f"verdict of every 2 MiB and every 1 GiB range, release {RELEASE}"
    steps.append(compare(name, judge, words, ROUNDS))
    doctor = optional("pageblock.doctor")
    if doctor is not None:
        name = "diagnose(): the whole answer after the read"
        steps.append(compare(name, lambda: doctor.diagnose(snapshot), words, rounds))
    return steps
