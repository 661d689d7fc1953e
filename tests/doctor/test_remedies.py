"""Remedies: what the model says they yield, counted again from the zones themselves."""

from pathlib import Path

import numpy as np
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import diagnose
from pageblock.doctor.remedies import Remedy, remedies
from pageblock.doctor.report import Report
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.zones import snapshot_zones
from pageblock.mm import PageClass, PageFlag, Zone

SIZE = 512


@pytest.fixture(scope="module")
def recorded() -> tuple[Snapshot, Report]:
    snapshot = read_machine(recorded_machine())
    return snapshot, diagnose(snapshot, [SIZE, 16384], ["6.1"])


def named(found: tuple[Remedy, ...], title: str) -> Remedy:
    return next(remedy for remedy in found if remedy.title.startswith(title))


def free_ranges(zone: Zone, nr_pages: int) -> int:
    """Aligned ranges in which every page is free, counted from a survey page by page."""
    first = -(-zone.start_pfn // nr_pages) * nr_pages
    count = (zone.end_pfn - first) // nr_pages
    return int((zone.survey(first, nr_pages, count)[:, 0] == nr_pages).sum())


def test_compaction_yields_what_a_compacted_zone_has(recorded: tuple[Snapshot, Report]) -> None:
    snapshot, report = recorded
    compact = named(remedies(snapshot, report), "compact")
    zones = snapshot_zones(snapshot, "6.1")
    before = sum(free_ranges(zone, SIZE) for zone in zones)
    moved = sum(len(zone.compact_memory()) for zone in zones)
    after = sum(free_ranges(zone, SIZE) for zone in zones)
    assert (compact.effects[0].nr_pages, compact.effects[0].free) == (SIZE, after - before)
    assert compact.moved == moved > 0
    assert compact.helps
    # what cannot move blocks as before
    assert compact.effects[0].had == 0


def test_pages_in_an_lru_batch_block_until_the_next_request(recorded: tuple[Snapshot, Report]) -> None:
    """The kernel refused pfn 0x16bddc's range when kpageflags was read, and granted it later."""
    again = named(remedies(*recorded), "ask again")
    assert [effect.had for effect in again.effects] == [1, 1]


def test_boot_gives_what_only_the_running_kernel_has_taken(recorded: tuple[Snapshot, Report]) -> None:
    snapshot, report = recorded
    boot = named(remedies(snapshot, report), "reserve at boot")
    for row, effect in zip(report.rows, boot.effects, strict=True):
        assert 0 < effect.had <= row.blocked
        assert effect.free == effect.had + row.movable


@pytest.mark.slow
def test_dropping_the_page_cache_frees_the_clean_pages(shared: Path) -> None:
    snapshot = read_machine(shared / "machines" / "zynq-256M-kpageflags")
    report = diagnose(snapshot, [], ["6.1"])
    found = remedies(snapshot, report)
    drop, both = named(found, "drop the page cache"), named(found, "drop the page cache, then")
    assert snapshot.runs is not None
    runs = snapshot.runs
    clean = (runs["class"].to_numpy() == PageClass.FILE) & (runs["flags"].to_numpy() & PageFlag.CLEAN > 0)
    assert drop.freed == both.freed == int(runs["nr_pages"].to_numpy()[clean].sum())
    assert both.effects[0].free >= drop.effects[0].free > 0


def test_a_zone_without_clean_pages_drops_none() -> None:
    zone = Zone(4096)
    zone.alloc(0, page_class=PageClass.FILE)
    assert zone.drop_clean_pages() == 0
    zone.check()


def test_clean_pages_are_dropped_and_pinned_ones_stay() -> None:
    zone = Zone(1024, populate=False)
    file, kernel = int(PageClass.FILE), int(PageClass.KERNEL)
    clean, pinned = int(PageFlag.CLEAN), int(PageFlag.CLEAN | PageFlag.PINNED)
    zone.load_pageblocks(np.ones(2, np.uint8))
    zone.load_pages([0, 1, 2], [1, 1, 1022], [file, file, kernel], [0, 0, 0], [clean, pinned, 0])
    assert zone.drop_clean_pages() == 1
    assert zone.free_list(0, 1).tolist() == [0]
    zone.check()
