"""Each reason of a verdict leads to a cause, as sure as the source allows; ranges of one cause count together."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import BLOCKED, diagnose
from pageblock.doctor.causes import Certainty
from pageblock.doctor.reason_causes import CauseGroup, Joiner
from pageblock.doctor.report import survey_zones
from pageblock.doctor.verdict import NO_LARGE_TARGET, NO_TARGET, REASONS, ZONE_EDGE, Verdicts
from pageblock.doctor.why import walk
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.held import HeldPages
from pageblock.machine.runs import PageRuns, clip, concat, make_runs
from pageblock.machine.snapshot import runs_table
from pageblock.mm.types import PageClass, PageFlag
from pageblock.view.doctor import show
from pageblock.view.why import show as show_why

# surveys of recorded machines in plain Python take minutes
pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "machine" / "data"
#: From here on the made-up zone has a page of each class, one in a pageblock; the recorded one is free there.
FIRST = 0x4A00
CLASSES: list[PageClass] = [c for c in PageClass if c not in (PageClass.FREE, PageClass.PCP, PageClass.HOLE)]


@pytest.fixture(scope="module")
def guest() -> Snapshot:
    return read_machine(recorded_machine())


@pytest.fixture(scope="module")
def made(guest: Snapshot) -> Snapshot:
    """The recorded machine's DMA32 with one page of each class, pinned where such pages can move."""
    info = guest.zones[1]
    runs = rows(guest, 1)
    for i, page_class in enumerate(CLASSES):
        at = FIRST + 512 * i
        flags = PageFlag.PINNED if page_class in (PageClass.ANON, PageClass.FILE) else 0
        one = make_runs(np.array([at]), np.array([1]), page_class, 0, int(flags))
        runs = concat([clip(runs, info.start_pfn, at), one, clip(runs, at + 1, info.end_pfn)])
    return replace(guest, zones=(info,), runs=runs_table([runs]))


def rows(snapshot: Snapshot, zone: int) -> PageRuns:
    assert snapshot.runs is not None
    mine = snapshot.runs.filter(snapshot.runs["zone"].to_numpy() == zone)
    names = ("start_pfn", "nr_pages", "class", "order", "flags", "migratetype")
    start, pages, *others = (mine[name].to_numpy() for name in names)
    return PageRuns(start.astype(np.int64), pages.astype(np.int64), *others)


def place(page_class: PageClass) -> int:
    return FIRST + 512 * CLASSES.index(page_class)


def group_of(snapshot: Snapshot, release: str, bits: int, pfn: int, cost: int = 0) -> CauseGroup:
    """The cause of one blocked pageblock with these reasons."""
    surveys = survey_zones(snapshot, [0])
    ones = np.array([1], np.int64)
    verdicts = Verdicts(
        snapshot.zones[0].label,
        release,
        512,
        pfn // 512 * 512,
        np.array([BLOCKED], np.uint8),
        ones * cost,
        ones * 0,
        np.array([bits], np.uint32),
        ones,
        np.array([0], np.uint32),
        pfn,
    )
    [group] = Joiner(snapshot, surveys, {0: 100}).groups(release, [(0, verdicts)], dict.fromkeys(REASONS.values(), pfn))
    return group


@pytest.mark.parametrize(
    ("page_class", "cause", "certainty"),
    [
        (PageClass.KERNEL, "kernel page", Certainty.LIKELY),
        (PageClass.SLAB, "slab", Certainty.CERTAIN),
        (PageClass.PGTABLE, "page tables", Certainty.CERTAIN),
        (PageClass.RESERVED, "reserved", Certainty.CERTAIN),
        (PageClass.COMPOUND, "kernel page", Certainty.CERTAIN),
        (PageClass.OFFLINE, "offline page", Certainty.CERTAIN),
        (PageClass.HWPOISON, "hwpoison", Certainty.CERTAIN),
        (PageClass.PAGEVEC, "lru batch", Certainty.LIKELY),
    ],
)
def test_a_page_that_isolation_refuses(made: Snapshot, page_class: PageClass, cause: str, certainty: Certainty) -> None:
    found = group_of(made, "6.1", 1 << page_class, place(page_class)).because
    assert found is not None
    assert (found.cause, found.certainty) == (cause, certainty)
    assert f"{place(page_class):#x}" in found.speaks_for[0]


@pytest.mark.parametrize("release", ["5.15", "seed", "6.1", "6.12", "6.19"])
@pytest.mark.parametrize("bit", REASONS)
def test_no_reason_is_without_a_cause(made: Snapshot, release: str, bit: int) -> None:
    page_class = bit if bit in CLASSES else PageClass.HUGETLB
    found = group_of(made, release, 1 << bit, place(PageClass(page_class)), cost=10_000)
    assert found.because is not None
    assert found.reasons == (REASONS[bit],)
    assert (
        found.because.certainty is Certainty.CERTAIN or found.because.settles or found.because.cause == "zone boundary"
    )


def test_what_settles_a_kernel_page_is_a_dump_which_knows_the_lists(made: Snapshot) -> None:
    found = group_of(made, "6.1", 1 << PageClass.KERNEL, place(PageClass.KERNEL)).because
    assert found is not None
    assert "kernel dump" in found.settles[0]
    known = read_machine(DATA / "core-6.1.0-56.parquet")
    [certain] = [g.because for g in diagnose(known, releases=["6.1"]).rows[0].causes if REASONS[1] in g.reasons]
    assert certain is not None
    assert certain.certainty is Certainty.CERTAIN


def test_too_few_targets_say_how_many_are_left(made: Snapshot) -> None:
    # the pageblock's own 511 free pages are no targets, so that none of the hundred is left
    found = group_of(made, "6.1", 1 << NO_TARGET, place(PageClass.ANON), cost=77).because
    assert found is not None
    assert found.speaks_for == ("77 pages to move, 0 free pages outside the range above the watermarks",)
    assert group_of(made, "6.1", 1 << NO_LARGE_TARGET, place(PageClass.HUGETLB)).because is not None


def test_an_edge_of_the_zone_is_another_thing_before_and_since_6_10(made: Snapshot) -> None:
    old, new = (group_of(made, release, 1 << ZONE_EDGE, FIRST).because for release in ("5.15", "6.12"))
    assert old is not None
    assert new is not None
    assert "largest block" in old.speaks_for[0]
    assert "6.10" in new.speaks_for[0]


def test_ranges_of_one_cause_count_once(guest: Snapshot) -> None:
    """Kernel pages and kernel compound pages are one cause, as often in one range."""
    row = diagnose(guest, [512], ["6.1"]).rows[0]
    blockers = {blocker.reason: blocker for blocker in row.blockers}
    [kernel] = [group for group in row.causes if group.because and group.because.cause == "kernel page"]
    assert set(kernel.reasons) == {REASONS[PageClass.KERNEL], REASONS[PageClass.COMPOUND]}
    wanted = np.uint32(1 << PageClass.KERNEL | 1 << PageClass.COMPOUND)
    reasons = np.concatenate([v.reasons[v.verdict == BLOCKED] for v in row.zones])
    assert kernel.ranges == (reasons & wanted > 0).sum()
    assert kernel.alone == (reasons & ~wanted == 0).sum()
    assert kernel.ranges <= sum(blockers[reason].ranges for reason in kernel.reasons)
    assert {reason for group in row.causes for reason in group.reasons} == set(blockers)


def told(snapshot: Snapshot) -> dict[str, CauseGroup]:
    """The kinds of stuck pages of a snapshot, at 2 MiB."""
    row = diagnose(snapshot, [512], ["6.1"]).rows[0]
    return {kind: group for group in row.causes for kind in group.kinds}


def test_stuck_pages_are_told_apart() -> None:
    dump = read_machine(DATA / "core-6.12.117+deb12.parquet")
    found = told(dump)
    assert set(found) <= {"pinned", "held by somebody"}
    pinned = found["pinned"].because
    assert pinned is not None
    assert (pinned.cause, pinned.certainty) == ("long-term pin", Certainty.LIKELY)
    assert pinned.against == ("seen at one moment: direct I/O pins pages, too, and lets them go",)


def test_a_page_with_one_reference_more_is_likelier_to_pass() -> None:
    dump = read_machine(DATA / "core-6.12.117+deb12.parquet")
    assert dump.held is not None
    piped = dump.held.take(dump.held.extra == 1).take(np.array([0]))
    found = walk(dump, "6.12", int(piped.pfn[0]), int(piped.pfn[0]) + 1).cause
    assert found is not None
    assert (found.cause, found.certainty, found.passes) == ("short-term reference", Certainty.LIKELY, True)
    assert len(found.or_else) == 1
    assert any("second dump" in words for words in found.settles)


def test_a_held_page_whose_references_are_not_kept_is_named_all_the_same(made: Snapshot) -> None:
    found = told(replace(made, held=HeldPages.of_rows([])))
    because = found["held by somebody"].because
    assert because is not None
    assert because.cause == "short-term reference"
    assert "references that no mapping" in because.speaks_for[0]


def test_the_terminal_names_what_settles_a_cause_once(guest: Snapshot) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    show(diagnose(guest), console)
    text = console.export_text()
    assert text.count("    → likely: kernel stacks, drivers, vmalloc") == 4
    assert text.count("whether it is free on a per-cpu list") == 1


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (recorded_machine(), "pins, the order of free lists, CMA bitmaps"),
        (DATA / "core-6.1.0-56.parquet", "CMA bitmaps are exact"),
    ],
)
def test_why_says_what_its_source_knows(snapshot: Path, says: str) -> None:
    machine = read_machine(snapshot)
    console = Console(width=400, record=True, file=io.StringIO())
    show_why(machine, [walk(machine, "6.1", 0x4800, 0x4A00)], console)
    assert says in console.export_text()
