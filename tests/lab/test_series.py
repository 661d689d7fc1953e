"""What the series costs a machine: its ranges taken and given back, against what the machine itself tells."""

from pathlib import Path

import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor.verdict import judge
from pageblock.lab.passes import Pass, Setting, really_free, take_and_give_back
from pageblock.lab.series import SEED, series
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.zones import snapshot_zones
from pageblock.mm import Zone

WHOLE = Setting(512, 0, 512)
INSIDE = Setting(512, 128, 256)


@pytest.fixture(scope="module")
def recorded() -> Snapshot:
    return read_machine(recorded_machine())


@pytest.mark.slow
def test_as_many_pageblocks_are_granted_as_the_doctor_says(recorded: Snapshot) -> None:
    mine = take_and_give_back(recorded, SEED, WHOLE)
    verdicts = [judge(zone, SEED, 512) for zone in snapshot_zones(recorded, SEED)]
    assert mine.granted == sum(v.had for v in verdicts)
    assert (mine.bugs, mine.broken, mine.drift, mine.isolated) == (0, 0, 0, 0)


@pytest.mark.slow
def test_fault_a_loses_free_pages(recorded: Snapshot) -> None:
    mine = take_and_give_back(recorded, "seed+fa", INSIDE)
    seed = take_and_give_back(recorded, SEED, INSIDE)
    assert mine.drift < 0 == seed.drift
    assert mine.granted == seed.granted


@pytest.mark.slow
def test_fault_c_stops_the_kernel_or_counts_free_pages_twice(recorded: Snapshot) -> None:
    mine = take_and_give_back(recorded, "seed+fc", WHOLE)
    assert mine.bugs > 0
    assert mine.drift > 0
    assert mine.granted + mine.refused + mine.bugs == mine.ranges


@pytest.mark.slow
def test_fault_d_refuses_what_lies_inside_pageblocks_in_use(recorded: Snapshot) -> None:
    mine, seed = (take_and_give_back(recorded, release, INSIDE) for release in ("seed+fd", SEED))
    assert mine.granted < seed.granted
    assert take_and_give_back(recorded, "seed+fd", WHOLE).granted == take_and_give_back(recorded, SEED, WHOLE).granted


def test_free_pages_are_found_without_the_counter() -> None:
    zone = Zone(4096)
    zone.alloc(0)
    zone.start_isolate_page_range(1024, 1536)
    assert really_free(zone) == zone.nr_free_pages == 4095 - 512
    naive = Zone(4096, "naive")
    naive.start_isolate_page_range(0, 512)
    # the free page of two pageblocks went with its head: 512 pages too few are counted
    assert really_free(naive) - naive.nr_free_pages == 512


def test_passes_add_up() -> None:
    assert Pass(1, 2, 3, 4, 5, 6, 7, 8) + Pass(1, 1, 1, 1, 1, 1, 1, 1) == Pass(2, 3, 4, 5, 6, 7, 8, 9)


@pytest.mark.slow
def test_the_whole_table_of_a_board(shared: Path) -> None:
    """zynq: a pageblock is a max order block there, so the consumers' alignments do not differ."""
    found = series(read_machine(shared / "machines" / "zynq-256M-kpageflags"), jobs=2)
    assert [row.switch for row in found.rows] == [f"patch {n} off" for n in range(1, 8)] + [
        f"fault {letter} on" for letter in "abcdefg"
    ] + ["all off", "as posted"]
    assert all(row.found or row.alignment or row.note for row in found.rows)
    assert {row.alignment.aligned for row in found.rows if row.alignment} == {1 << found.pageblock_order}
