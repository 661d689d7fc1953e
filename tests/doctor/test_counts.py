"""What the counters alone tell of a size."""

from dataclasses import replace
from pathlib import Path

import pytest

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine
from pageblock.doctor.counts import Bound, bound, count_touched
from pageblock.doctor.report import diagnose
from pageblock.doctor.verdict import BLOCKED
from pageblock.machine import Snapshot, ZoneInfo, read_machine
from pageblock.mm.types import Migratetype

#: Nothing free, one zone of 16 pageblocks of 512 pages, nothing known of types.
ZONE = ZoneInfo(0, "Normal", 1024, 8192, 8192, 8000, 0, 0, 0, 0, 0, (), 0, (0,) * 11, None, None, None, False)


def machine(zone: ZoneInfo, **more: object) -> Snapshot:
    snapshot = Snapshot("here", None, 4096, 10, 9, (zone,), None, (), (), (), 0.0)
    return replace(snapshot, **more)  # type: ignore[arg-type]


def test_without_iomem_and_types_only_free_blocks_count() -> None:
    zone = replace(ZONE, buddy_counts=(0,) * 9 + (3, 1))
    assert bound(machine(zone), [0], 512) == Bound(512, 5, 5, None, None, None)
    assert bound(machine(zone), [0], 1024) == Bound(1024, 1, 2, None, None, None)


def test_ranges_lie_whole_in_ram_and_zone() -> None:
    snapshot = machine(ZONE, ram=((0, 2000), (2048, 20000)))
    # [1024, 1536) of the first; [2048, 9216) of the second
    assert bound(snapshot, [0], 512).ranges == 1 + 14
    assert bound(snapshot, [0], 1024).ranges == 7


def test_ranges_with_the_kernel_image_can_never_be_had() -> None:
    snapshot = machine(ZONE, ram=((0, 20000),), reserved=((1030, 1031), (1535, 1537), (3000, 4096), (30000, 30001)))
    assert bound(snapshot, [0], 512).reserved_at_least == 2 + 3
    assert bound(snapshot, [0], 1024).reserved_at_least == 1 + 2


def test_a_zone_of_unknown_place_has_no_ranges() -> None:
    assert bound(machine(replace(ZONE, start_known=False), ram=((0, 20000),)), [0], 512).ranges is None


def test_types_count_movable_pageblocks_and_free_ones_of_others() -> None:
    types = {Migratetype.UNMOVABLE: 9, Migratetype.MOVABLE: 6, Migratetype.CMA: 1}
    lists: dict[Migratetype, tuple[int, ...]]
    lists = {Migratetype.UNMOVABLE: (9,) * 9 + (1, 1), Migratetype.CMA: (0,) * 9 + (1, 0)}
    snapshot = machine(replace(ZONE, block_counts=types, free_counts=lists))
    assert bound(snapshot, [0], 512).by_types == 6 + 3
    assert bound(snapshot, [0], 1024).by_types == 4


def test_touched_ranges_are_counted_once() -> None:
    assert count_touched([(0, 10)], [(0, 1), (1, 2), (5, 25), (24, 31)], 10) == 4


@pytest.mark.parametrize("nr_pages", [512, 1024, 16384, 262144])
def test_the_recorded_machine_keeps_within_what_its_counters_tell(tmp_path: Path, nr_pages: int) -> None:
    """With kpageflags the free ranges are within the bounds, and blocked ones are no fewer than the reserved."""
    for file in recorded_machine().iterdir():
        if not file.name.startswith("kpage"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (told,) = diagnose(read_machine(tmp_path), [nr_pages]).bounds
    row = diagnose(read_machine(recorded_machine()), [nr_pages], ["6.1"]).rows[0]
    assert told.ranges is not None
    assert told.reserved_at_least is not None
    # pages on per-cpu lists are in no free block, and each may be all that a range lacks
    per_cpu = sum(zone.pcp_count for zone in read_machine(tmp_path).zones)
    assert told.free_at_least <= row.free <= told.free_at_most + per_cpu
    assert told.reserved_at_least <= sum(v.count(BLOCKED) for v in row.zones)
    assert told.ranges <= row.ranges


def test_the_answer_without_kpageflags_is_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared: Path
) -> None:
    assert main(["doctor", "--from", str(shared / "machines" / "coreos-sosreport")]) == 0
    out = capsys.readouterr().out
    assert "2 MiB          4,092         238     1,207                     14 or more" in out
    assert "node 0 DMA32       1,654      298           24" in out
    assert "node 0 DMA32   UNMOVABLE     49   24   16   13" in out
    assert "source: files of /proc: without kpageflags there are only counts" in out
