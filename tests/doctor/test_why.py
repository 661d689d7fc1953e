"""``--why``: one request walked on a recorded machine says what the verdicts say, and names what is in the way."""

import numpy as np
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor.verdict import BLOCKED, FREE, MOVABLE, judge
from pageblock.doctor.why import Walk, parse_range, walk
from pageblock.errors import InputError, PageblockError
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.zones import snapshot_zones

#: A pageblock of the recorded machine: all free; LRU pages among free ones; kernel pages in its first half.
FREE_BLOCK, MOVABLE_BLOCK, KERNEL_BLOCK = 0x4600, 0x140000, 0x4800


@pytest.fixture(scope="module")
def recorded() -> Snapshot:
    return read_machine(recorded_machine())


def functions(found: Walk) -> list[str]:
    return [step.function for step in found.steps]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0x4800", (0x4800, 0x4A00)),
        ("18433", (0x4800, 0x4A00)),
        ("0x4800-0x4801", (0x4800, 0x4801)),
        (" 5 - 7 ", (5, 7)),
    ],
)
def test_a_pfn_stands_for_its_aligned_range(text: str, found: tuple[int, int]) -> None:
    assert parse_range(text, 512) == found


@pytest.mark.parametrize("text", ["", "x", "5-5", "7-5", "-5", "0x", "1-2-3", "9" * 40])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--why"):
        parse_range(text, 512)


def test_a_granted_request_goes_through_every_step(recorded: Snapshot) -> None:
    found = walk(recorded, "6.1", MOVABLE_BLOCK, MOVABLE_BLOCK + 512)
    assert found.errno == 0
    assert functions(found) == [
        "start_isolate_page_range",
        "drain_all_pages",
        "__alloc_contig_migrate_range",
        "test_pages_isolated",
        "isolate_freepages_range",
        "undo_isolate_page_range",
    ]
    assert found.moved == found.move > 0
    assert found.free + found.move + found.drop == 512
    assert found.obstacles == ()


def test_a_refused_request_stops_where_the_kernel_does_and_names_the_page(recorded: Snapshot) -> None:
    found = walk(recorded, "6.1", KERNEL_BLOCK, KERNEL_BLOCK + 512)
    assert (found.errno, found.function, found.pfn) == (16, "start_isolate_page_range", KERNEL_BLOCK)
    assert functions(found) == ["start_isolate_page_range", "undo_isolate_page_range"]
    assert "kernel pages" in found.page
    assert sum(one.end_pfn - one.start_pfn for one in found.obstacles) == found.refused == 256


def test_what_blocks_may_lie_outside_the_request(recorded: Snapshot) -> None:
    """6.1 looks at whole pageblocks: the free half of one with kernel pages is refused; the seed's patch 3 looks no further."""
    start, end = KERNEL_BLOCK + 256, KERNEL_BLOCK + 512
    found = walk(recorded, "6.1", start, end)
    assert (found.errno, found.refused) == (16, 0)
    assert found.pfn == KERNEL_BLOCK
    assert found.obstacles[0].start_pfn == KERNEL_BLOCK
    assert walk(recorded, "seed", start, end).errno == 0


@pytest.mark.slow
@pytest.mark.parametrize("release", ["5.15", "6.1", "6.12", "6.19"])
def test_it_agrees_with_the_verdicts(recorded: Snapshot, release: str) -> None:
    seed = 7
    random = np.random.default_rng(seed)
    for zone in snapshot_zones(recorded, release):
        verdicts = judge(zone, release, 512)
        for verdict in (FREE, MOVABLE, BLOCKED):
            such = np.flatnonzero(verdicts.verdict == verdict)
            for i in random.choice(such, min(3, len(such)), replace=False).tolist():
                start = verdicts.first_pfn + 512 * i
                found = walk(recorded, release, start, start + 512)
                assert (found.errno == 0) == (verdict != BLOCKED), f"seed {seed}: pageblock doctor --why {start:#x}"
                if found.function == "start_isolate_page_range":
                    assert found.pfn == verdicts.blocker_pfn[i]


@pytest.mark.parametrize(("start", "end"), [(0xFFFFFFF, 0x10000000), (0x1BFF00, 0x1C0100), (0, 1 << 40)])
def test_a_range_outside_is_refused(recorded: Snapshot, start: int, end: int) -> None:
    with pytest.raises(PageblockError):
        walk(recorded, "6.1", start, end)
