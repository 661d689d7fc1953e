"""Remedies: what the model says they yield, counted again from the zones themselves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import diagnose
from pageblock.doctor.anywhere import anywhere
from pageblock.doctor.remedies import Remedy, remedies
from pageblock.doctor.report import Report
from pageblock.doctor.verdict import REASONS
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.kpageflags import SCAN_MAPPED
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
def test_another_alignment_gives_what_anywhere_counts(recorded: tuple[Snapshot, Report]) -> None:
    snapshot, report = recorded
    effects = named(remedies(snapshot, report), "ask for ranges that begin at any pageblock").effects
    (there,) = anywhere(snapshot, [16384], ["6.1"], SIZE)
    assert [effect.had for effect in effects] == [0, there.side_by_side - there.aligned]
    assert effects[1].had > 0


@pytest.mark.slow
def test_other_zones_are_offered_where_some_were_asked_for(recorded: tuple[Snapshot, Report]) -> None:
    snapshot, report = recorded
    assert not any(remedy.title.startswith("ask in another zone") for remedy in remedies(snapshot, report))
    only = diagnose(snapshot, [SIZE, 16384], ["6.1"], ["0:Normal"])
    other = named(remedies(snapshot, only), "ask in another zone or on another node: 0:DMA, 0:DMA32")
    for effect, row, mine in zip(other.effects, report.rows, only.rows, strict=True):
        assert effect.had == row.free + row.movable - mine.free - mine.movable > 0


@pytest.mark.slow
def test_without_kernel_pages_the_ranges_with_no_other_blocker_are_had(recorded: tuple[Snapshot, Report]) -> None:
    snapshot, report = recorded
    found = remedies(snapshot, report)
    slab, movable, boot = (named(found, title) for title in ("shrink the slab", "keep kernel pages out", "reserve"))
    for row, some, more, most in zip(report.rows, slab.effects, movable.effects, boot.effects, strict=True):
        alone = next(b.alone for b in row.blockers if b.reason == REASONS[PageClass.SLAB])
        assert 0 < alone == some.had < more.had <= most.had


@pytest.mark.slow
def test_taking_kernel_pages_away_gives_the_ranges_that_are_said(recorded: tuple[Snapshot, Report]) -> None:
    """The same counted in a machine without these pages."""
    snapshot, report = recorded
    assert snapshot.runs is not None
    kinds = [PageClass.KERNEL, PageClass.SLAB, PageClass.PGTABLE, PageClass.COMPOUND]
    column = snapshot.runs["class"].to_numpy()
    gone = np.where(np.isin(column, kinds), np.uint8(PageClass.FILE), column)
    at = snapshot.runs.column_names.index("class")
    without = replace(snapshot, runs=snapshot.runs.set_column(at, "class", [gone]))
    effects = named(remedies(snapshot, report), "keep kernel pages out").effects
    for row, before, effect in zip(diagnose(without, [SIZE, 16384], ["6.1"]).rows, report.rows, effects, strict=True):
        assert row.free + row.movable - before.free - before.movable == effect.had > 0


@pytest.mark.slow
def test_dropping_the_page_cache_frees_the_clean_pages(shared: Path) -> None:
    snapshot = read_machine(shared / "machines" / "zynq-256M-kpageflags")
    report = diagnose(snapshot, [], ["6.1"])
    found = remedies(snapshot, report)
    drop, both = named(found, "drop the page cache"), named(found, "drop the page cache, then")
    assert snapshot.runs is not None
    runs = snapshot.runs
    flags, nr_pages = runs["flags"].to_numpy(), runs["nr_pages"].to_numpy()
    clean = (runs["class"].to_numpy() == PageClass.FILE) & (flags & PageFlag.CLEAN > 0)
    mapped = clean & (flags & SCAN_MAPPED > 0)
    assert mapped.any()
    assert drop.freed == both.freed == int(nr_pages[clean].sum() - nr_pages[mapped].sum())
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
