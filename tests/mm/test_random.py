"""Random operations: every invariant holds, refusals give everything back, compiled and uncompiled agree."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pageblock
from pageblock import PageClass, PageFlag, Zone

from .workload import operations

RELEASES = ["5.15", "seed", "6.1"]

#: nr_pages, start_pfn, max_order, pageblock_order: x86, one block a window, four blocks a window, odd starts, tiny
GEOMETRIES = [
    (16384, 0, 10, 9),
    (16384, 1 << 20, 9, 9),
    (8192, 512, 10, 9),
    (16384, 4096, 11, 9),
    (64, 128, 2, 1),
    (4096, 8192, 5, 3),
]


def run_and_check(zone: Zone, seed: int, count: int, every: int) -> str:
    """Run, check every so many operations; digest of all results."""
    ops = operations(seed, count, zone)
    handles = np.full(int(ops["handle"].max()) + 1, 0xFFFFFFFF, np.uint32)
    digest = hashlib.sha256()
    for at in range(0, count, every):
        digest.update(zone.run(ops[at : at + every], handles).tobytes())
        try:
            zone.check()
        except pageblock.InvariantError as error:
            pytest.fail(f"{error}; replay: run_and_check({zone!r}, seed={seed}, count={at + every}, every={every})")
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_million_operations_break_no_invariant(release: str) -> None:
    for seed in range(4):
        run_and_check(Zone(32768, release), seed, 250_000, 10_000)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_any_geometry_holds_its_invariants(release: str, geometry: tuple[int, int, int, int]) -> None:
    nr_pages, start, max_order, block_order = geometry
    zone = Zone(nr_pages, release, start, max_order, block_order)
    run_and_check(zone, 7, 2_000, 100)


def test_pageblocks_above_max_order_are_the_old_rules_own() -> None:
    run_and_check(Zone(8192, "5.15", 0, 8, 10), 3, 5_000, 500)


@pytest.mark.parametrize("release", [*RELEASES, "6.12", "6.19"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_pages_move_alike_whether_somebody_listens_or_not(release: str, geometry: tuple[int, int, int, int]) -> None:
    # batches of which nobody is told take a loop of their own
    nr_pages, start, max_order, block_order = geometry
    alone, heard = (Zone(nr_pages, release, start, max_order, block_order) for _ in range(2))
    heard.observe(lambda event: None)
    for seed in range(3):
        ops = operations(seed, 600, alone, contig_share=0.05)
        ops["flags"][(ops["flags"] == PageClass.FILE) & (ops["handle"] % 4 == 0)] |= np.uint8(PageFlag.CLEAN)
        results = [zone.run(ops).tolist() for zone in (alone, heard)]
        assert results[0] == results[1], f"replay: seed={seed}"
        alone.check()
        assert alone == heard, f"replay: seed={seed}"


def isolate_while_others_allocate(release: str) -> Zone:
    """Isolate random pageblocks, run a few operations, give them back; check after each."""
    zone = Zone(16384, release)
    ops = operations(1, 4_000, zone, contig_share=0.0)
    handles = np.full(int(ops["handle"].max()) + 1, 0xFFFFFFFF, np.uint32)
    for at in range(0, len(ops), 40):
        start = (at * 7919) % 32 * 512
        try:
            zone.start_isolate_page_range(start, start + 512)
        except pageblock.ContigRefused:
            continue
        zone.run(ops[at : at + 40], handles)
        zone.undo_isolate_page_range(start, start + 512)
        zone.check()
    return zone


@pytest.mark.parametrize("release", RELEASES)
def test_isolation_beside_allocation_keeps_the_counters(release: str) -> None:
    isolate_while_others_allocate(release)


def test_everything_freed_is_the_boot_state_but_for_list_order() -> None:
    zone = Zone(8192, "6.1")
    ops = operations(5, 3_000, zone, contig_share=0.0)
    handles = np.full(int(ops["handle"].max()) + 1, 0xFFFFFFFF, np.uint32)
    zone.run(ops, handles)
    for handle in np.flatnonzero(handles != 0xFFFFFFFF).tolist():
        zone.free(int(handles[handle]))
    zone.check()
    assert zone.nr_free_pages == 8192
    assert sorted(pfn for mt in range(3) for pfn in zone.free_list(10, mt).tolist()) == [*range(0, 8192, 1024)]


SCRIPT = """
import hashlib, numpy as np, pageblock
from tests.mm.workload import operations
for release in ("naive", "5.15", "seed", "6.1"):
    zone = pageblock.Zone(4096, release)
    ops = operations(11, 4000, zone, 0.02)
    print(pageblock.COMPILED, release, hashlib.sha256(zone.run(ops).tobytes()).hexdigest(), zone.nr_free_pages)
"""


@pytest.mark.slow
def test_compiled_and_uncompiled_give_the_same_pfns() -> None:
    root = Path(__file__).parents[2]
    outputs = []
    for uncompiled in ("", "1"):
        env = {**os.environ, "PAGEBLOCK_UNCOMPILED": uncompiled, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True, cwd=root
        )
        outputs.append(done.stdout)
    assert outputs[0].replace("True", "") == outputs[1].replace("False", "")
    assert "True" in outputs[0]
    assert "False" in outputs[1]
