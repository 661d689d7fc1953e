"""Two readings of one machine, and what is said of how they differ."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.machine import Snapshot, capture, read_machine
from pageblock.machine.capture import Change, capture_machine, change_remarks, differences
from pageblock.machine.source import Folder
from pageblock.mm.types import Migratetype, PageClass


@pytest.fixture(scope="module")
def guest() -> Snapshot:
    return read_machine(recorded_machine())


def with_class(snapshot: Snapshot, row: int, page_class: PageClass) -> Snapshot:
    assert snapshot.runs is not None
    column = snapshot.runs["class"].to_numpy().copy()
    column[row] = page_class
    at = snapshot.runs.column_names.index("class")
    return replace(snapshot, runs=snapshot.runs.set_column(at, snapshot.runs.schema.field(at), pa.array(column)))


def test_equal_readings_have_no_differences(guest: Snapshot) -> None:
    assert differences((guest, {"vmstat": "pgfree 5\n"}), (guest, {"vmstat": "pgfree 5\n"})) == []


def test_counts_that_differ_are_told_with_both_values(guest: Snapshot) -> None:
    zone = guest.zones[1]
    counts = (zone.buddy_counts[0] + 4, zone.buddy_counts[1] - 2, *zone.buddy_counts[2:])
    blocks = {**(zone.block_counts or {}), Migratetype.MOVABLE: 1400, Migratetype.UNMOVABLE: 100}
    one = replace(zone, block_counts={**blocks, Migratetype.MOVABLE: 1397, Migratetype.UNMOVABLE: 103})
    two = replace(
        zone, free_pages=zone.free_pages - 7, pcp_count=zone.pcp_count + 3, buddy_counts=counts, block_counts=blocks
    )
    first = replace(guest, zones=(guest.zones[0], one, *guest.zones[2:]))
    second = replace(guest, zones=(guest.zones[0], two, *guest.zones[2:]))
    assert differences((first, {"vmstat": "pgfree 5\n"}), (second, {"vmstat": "pgfree 25\n"})) == [
        Change(zone.label, "free pages (zoneinfo)", zone.free_pages, zone.free_pages - 7, 7),
        Change(zone.label, "pages on per-cpu lists (zoneinfo)", zone.pcp_count, zone.pcp_count + 3, 3),
        Change(zone.label, "pages in free blocks of another order (buddyinfo)", None, None, 8),
        Change(zone.label, "pageblocks of another type (pagetypeinfo)", None, None, 3),
        Change(None, "pgfree (vmstat)", 5, 25, 20),
    ]


def test_pages_that_hold_something_else_are_counted_with_their_pageblocks(guest: Snapshot) -> None:
    assert guest.runs is not None
    zone = guest.runs["zone"].to_numpy()
    row = int((zone == 1).nonzero()[0][20])
    nr_pages, start = guest.runs["nr_pages"][row].as_py(), guest.runs["start_pfn"][row].as_py()
    changes = differences((guest, {}), (with_class(guest, row, PageClass.HWPOISON), {}))
    blocks = ((start + nr_pages - 1) >> 9) - (start >> 9) + 1
    assert [(c.zone, c.by) for c in changes] == [(guest.zones[1].label, nr_pages), (guest.zones[1].label, blocks)]
    (remark,) = change_remarks(changes, guest, guest)
    assert (remark.zone, remark.pageblocks) == (guest.zones[1].label, blocks)
    assert remark.certain == pytest.approx(1 - nr_pages / (blocks * 512), abs=1e-5)


def test_a_zone_that_came_or_went_is_told(guest: Snapshot) -> None:
    fewer = replace(guest, zones=guest.zones[:-1])
    label, present = guest.zones[-1].label, guest.zones[-1].present
    assert differences((fewer, {}), (guest, {})) == [
        Change(label, "the zone itself: present pages", 0, present, present)
    ]
    assert differences((guest, {}), (fewer, {})) == [
        Change(label, "the zone itself: present pages", present, 0, present)
    ]


class Running(Folder):
    """A folder that passes for a running kernel."""

    live = True


def test_a_running_machine_is_read_twice_and_a_folder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    assert capture_machine(recorded_machine(), lambda reading: told.append(reading)).about["readings"] == 1
    monkeypatch.setattr(capture, "open_source", lambda path: Running(recorded_machine()))
    content = capture_machine(Path("/proc"), lambda reading: told.append(reading))
    assert told == [1, 1, 2]
    assert (content.about["readings"], content.about["live"], content.about["changed"]) == (2, True, [])


def test_every_companion_that_is_there_is_kept(tmp_path: Path) -> None:
    for name in ("zoneinfo", "buddyinfo"):
        (tmp_path / name).write_text((recorded_machine() / name).read_text())
    (tmp_path / "cmdline").write_text("quiet\n")
    assert set(capture_machine(tmp_path).texts) == {"zoneinfo", "buddyinfo", "cmdline"}
