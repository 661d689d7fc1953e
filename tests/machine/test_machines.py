"""Recorded machines outside the repository: every one is read, with totals that add up.

The guest's recording holds the kernel's own free lists, pageblock types and per-cpu lists, so what
is inferred from /proc is measured against them.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

from pageblock.machine import Snapshot, read_machine
from pageblock.machine.source import KNOWN_FILES
from pageblock.mm.types import Migratetype, PageClass

MACHINES = Path(__file__).resolve().parents[3] / "shared" / "machines"
GUEST = MACHINES / "guest-6.1.192"
ZYNQ = MACHINES / "zynq-256M-kpageflags"

pytestmark = pytest.mark.skipif(not MACHINES.is_dir(), reason="the recorded machines (../shared/machines) are not here")


def folders() -> list[Path]:
    if not MACHINES.is_dir():
        return []
    return sorted(
        path
        for path in MACHINES.iterdir()
        if path.is_dir() and any((path / name).exists() or (path / f"{name}.zst").exists() for name in KNOWN_FILES)
    )


@pytest.mark.parametrize("path", folders(), ids=lambda path: path.name)
def test_every_recorded_machine_is_read(path: Path) -> None:
    snapshot = read_machine(path)
    assert snapshot.zones
    assert (snapshot.page_size, snapshot.max_order) == (4096, 10)
    assert snapshot.pageblock_order in (9, 10)
    for zone in snapshot.zones:
        assert 0 < zone.managed <= zone.spanned
        assert zone.free_pages <= zone.managed + 100
        # Old kernels count blocks that are all hole, so only an upper bound holds.
        assert sum((zone.block_counts or {}).values()) <= zone.spanned // 512 + 1


@pytest.mark.parametrize("path", [GUEST, ZYNQ], ids=lambda path: path.name)
def test_runs_cover_each_zone_without_gap_or_overlap(path: Path) -> None:
    snapshot = read_machine(path)
    assert snapshot.runs is not None
    for i, zone in enumerate(snapshot.zones):
        mine = snapshot.runs.filter(snapshot.runs["zone"].to_numpy() == i)
        start = mine["start_pfn"].to_numpy().astype(np.int64)
        end = start + mine["nr_pages"].to_numpy().astype(np.int64)
        assert (start[0], end[-1]) == (zone.start_pfn, zone.end_pfn)
        assert np.array_equal(start[1:], end[:-1])


def pages_of(snapshot: Snapshot, page_class: PageClass) -> int:
    assert snapshot.runs is not None
    pages = snapshot.runs["nr_pages"].to_numpy()
    return int(pages[snapshot.runs["class"].to_numpy() == page_class].sum())


def test_heads_only_free_blocks_of_zynq_are_rebuilt_within_one_percent() -> None:
    snapshot = read_machine(ZYNQ)
    assert abs(pages_of(snapshot, PageClass.FREE) - snapshot.zones[0].free_pages) < 350


def test_the_cma_area_of_zynq_is_found_where_its_free_lists_fit() -> None:
    snapshot = read_machine(ZYNQ)
    types = snapshot.zones[0].block_types
    assert types is not None
    assert np.flatnonzero(types == Migratetype.CMA).tolist() == [56, 57, 58, 59]


@dataclass
class Truth:
    """What the kernel itself dumped: blocks (pfn, order, type), types per zone, per-cpu pfns."""

    free: set[tuple[int, int, int]] = field(default_factory=set)
    types: list[list[int]] = field(default_factory=list)
    pcp: set[int] = field(default_factory=set)


@pytest.fixture(scope="module")
def truth() -> Truth:
    found = Truth()
    packed = (GUEST / "truth_512.txt.zst").open("rb")
    with packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        base = 0
        for line in io.TextIOWrapper(stream, "ascii"):
            kind, *words = line.split()
            if kind == "Z":
                base = int(dict(w.split("=") for w in words)["start_pfn"])
            elif kind == "T":
                pairs = [tuple(map(int, w.split(":"))) for w in words]
                found.types.append([t for t, count in pairs for _ in range(count)])
            elif kind == "L":
                order, migratetype = int(words[0]), int(words[1])
                found.free |= {(base + int(w), order, migratetype) for w in words[2:]}
            elif kind == "P":
                order = int(words[1]) // 3 if int(words[1]) < 12 else 9
                for w in words[2:]:
                    found.pcp |= set(range(base + int(w), base + int(w) + (1 << order)))
            elif kind == "G":
                break
    return found


@pytest.fixture(scope="module")
def guest() -> Snapshot:
    return read_machine(GUEST)


def column(snapshot: Snapshot, name: str) -> NDArray[np.int64]:
    assert snapshot.runs is not None
    values: NDArray[np.int64] = snapshot.runs[name].to_numpy().astype(np.int64)
    return values


def test_every_free_block_of_the_guest_has_its_order_and_type(guest: Snapshot, truth: Truth) -> None:
    blocks: set[tuple[int, int, int]] = set()
    for start, pages, page_class, order, migratetype in zip(
        *(column(guest, n) for n in ("start_pfn", "nr_pages", "class", "order", "migratetype")),
        strict=True,
    ):
        if page_class == PageClass.FREE:
            heads = range(int(start), int(start + pages), 1 << int(order))
            blocks |= {(pfn, int(order), int(migratetype)) for pfn in heads}
    assert blocks == truth.free


def test_every_pageblock_type_of_the_guest_is_right(guest: Snapshot, truth: Truth) -> None:
    wrong = 0
    for zone, types in zip(guest.zones, truth.types, strict=True):
        assert zone.block_types is not None
        real = np.array(types)
        wrong += int(((real != 9) & (real != zone.block_types)).sum())  # 9: hole
    assert wrong == 0


def test_no_kernel_page_of_the_guest_is_taken_for_a_per_cpu_page(guest: Snapshot, truth: Truth) -> None:
    pcp = column(guest, "class") == PageClass.PCP
    start, pages = column(guest, "start_pfn")[pcp], column(guest, "nr_pages")[pcp]
    given = {p for s, n in zip(start.tolist(), pages.tolist(), strict=True) for p in range(s, s + n)}
    assert given <= truth.pcp
    assert len(given) > 0.96 * len(truth.pcp)
