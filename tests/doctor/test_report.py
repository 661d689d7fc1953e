"""From a snapshot to the report: confidence, the rules applied, sizes refused, memory not initialised yet."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import Report, ZoneSurvey, diagnose, judge, parse_size
from pageblock.doctor.kernel import nearest_release, rules_remark
from pageblock.errors import InputError
from pageblock.machine import Remark, Snapshot, read_machine
from pageblock.machine.runs import PageRuns, clip, concat, make_runs
from pageblock.machine.snapshot import runs_table
from pageblock.mm import Zone
from pageblock.mm.types import PageClass
from pageblock.view.doctor import show
from pageblock.view.doctor_json import to_json

LATE = (0x160000, 0x170000)


@pytest.fixture(scope="module")
def guest() -> Snapshot:
    return read_machine(recorded_machine())


@pytest.fixture(scope="module")
def report(guest: Snapshot) -> Report:
    return diagnose(guest)


def test_confidence_weighs_each_remark_by_the_pageblocks_it_can_change(report: Report) -> None:
    remarks = (Remark("a", "", 0.0, None, 10), Remark("b", "", 0.5, None, 20), Remark("c", "", None, None, 1000))
    assert replace(report, remarks=remarks, pageblocks=100).confidence == pytest.approx(0.8)


def test_a_remark_that_changes_no_verdict_takes_no_confidence(report: Report) -> None:
    assert replace(report, remarks=(Remark("a", "", 0.0),)).confidence == 1


def test_the_guests_pageblocks_are_the_weight(report: Report) -> None:
    assert report.pageblocks == (3998 + 782295 + 786432) // 512
    assert report.confidence is not None
    assert 0.99 < report.confidence < 1


def test_remarks_of_other_zones_are_left_out(guest: Snapshot) -> None:
    assert {r.zone for r in diagnose(guest, zones=["DMA"]).remarks} <= {None, "node 0 DMA"}


@pytest.mark.parametrize(
    ("kernel", "release"),
    [
        ("4.4.0-xilinx", "5.15"),
        ("5.18.1", "5.15"),
        ("5.19", "6.1"),
        ("6.9.12", "6.1"),
        ("6.10.0-rc1", "6.12"),
        ("6.16.9", "6.12"),
        ("6.17", "6.19"),
        ("6.18.44-fc", "6.19"),
        ("7.0", "6.19"),
        ("strange", None),
    ],
)
def test_the_nearest_release_follows_from_the_kernels_version(kernel: str, release: str | None) -> None:
    assert nearest_release(kernel) == release


def test_no_rules_remark_where_the_kernels_own_release_is_judged() -> None:
    assert rules_remark("6.1.0-18-amd64", ["5.15", "6.1"]) is None


@pytest.mark.parametrize(
    ("kernel", "releases", "says"),
    [
        ("6.18.44", ["5.15", "6.1"], "nearest to its own are those of 6.19: --release 6.19"),
        ("6.18.44", ["6.19"], "nearest to its own are those of 6.19, no recording of 6.18 was compared"),
        ("6.1.192", ["5.15"], "nearest to its own are those of 6.1: --release 6.1"),
        (None, ["5.15"], "the kernel's release is not known"),
    ],
)
def test_rules_that_are_not_the_kernels_own_are_said(kernel: str | None, releases: list[str], says: str) -> None:
    assert says in (rules_remark(kernel, releases) or "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1152921504606846976T", "more than any machine has: choose at most 4096T"),
        ("9" * 5000, "more than any machine has"),
        ("٣M", "is not a size"),
        ("0", "must be a power-of-two multiple"),
    ],
)
def test_sizes_beyond_any_machine_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        parse_size(text, 4096)
    assert len(str(caught.value)) < 200


def test_the_largest_size_is_read() -> None:
    assert parse_size("4096T", 4096) == 1 << 40


def test_a_size_of_which_there_are_too_many_ranges_is_refused(guest: Snapshot) -> None:
    zones = (replace(guest.zones[2], spanned=1 << 25),)
    with pytest.raises(InputError, match=r"33,554,432 ranges to judge, more than 16,777,216; choose 8KiB or more"):
        diagnose(replace(guest, zones=zones), [1])


def test_single_pages_are_ranges_too(guest: Snapshot) -> None:
    (row,) = diagnose(guest, [1], ["6.1"], ["DMA"]).rows
    # 3,584 free, 256 kernel and 255 reserved pages
    assert (row.ranges, row.free, row.movable, row.blocked) == (4095, 3584, 0, 511)


@pytest.fixture(scope="module")
def late(guest: Snapshot) -> Report:
    """The guest as if a part of its Normal zone were not initialised yet."""
    assert guest.runs is not None
    parts = []
    for i, info in enumerate(guest.zones):
        mine = guest.runs.filter(guest.runs["zone"].to_numpy() == i)
        names = ("start_pfn", "nr_pages", "class", "order", "flags", "migratetype")
        start, pages, *bytes_ = (mine[name].to_numpy() for name in names)
        runs = PageRuns(start.astype(np.int64), pages.astype(np.int64), *bytes_)
        if i == 2:
            hole = make_runs(np.array([LATE[0]]), np.array([LATE[1] - LATE[0]]), PageClass.HOLE)
            runs = concat([clip(runs, info.start_pfn, LATE[0]), hole, clip(runs, LATE[1], info.end_pfn)])
        parts.append(runs)
    zones = (*guest.zones[:2], replace(guest.zones[2], uninitialised=(LATE,)))
    return diagnose(replace(guest, runs=runs_table(parts), zones=zones), releases=["6.1"])


def test_ranges_of_memory_not_initialised_yet_count_apart(late: Report, report: Report) -> None:
    blocks = (LATE[1] - LATE[0]) // 512
    assert late.rows[0].uninitialised == blocks
    assert late.rows[0].ranges == report.rows[0].ranges - blocks
    assert late.pageblocks == report.pageblocks - blocks


def test_memory_not_initialised_yet_has_a_letter_of_its_own(late: Report) -> None:
    cells = late.maps[2].cells
    assert "u" in cells
    assert late.maps[2].nr_pages * cells.count("u") <= LATE[1] - LATE[0]


def test_memory_not_initialised_yet_is_no_kernel_memory(late: Report) -> None:
    letters = to_json(late, False)["sizes"][0]["zones"][2]["verdicts"]
    first = (LATE[0] - 0x100000) // 512
    assert set(letters[first : first + 128]) == {"u"}


def shown(report: Report, width: int, color: bool = False) -> str:
    console = Console(width=width, record=True, force_terminal=color, file=io.StringIO())
    show(report, console)
    return console.export_text(styles=color)


def test_the_table_says_how_much_is_not_initialised(late: Report) -> None:
    text = shown(late, 140)
    assert "6.0 GiB, 0.2 of them not initialised yet" in text
    assert "uninitialised" in text
    assert "·" in text.split("node 0 Normal, one cell", 1)[1]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_is_cut_off_on_a_narrow_terminal(report: Report, width: int) -> None:
    text = shown(report, width)
    table = text[text.index("  size") : text.index("node 0 DMA,")]
    assert "…" not in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    for number in ("2,127", "675", "269", "7 / 458"):
        assert number in table


def test_the_headline_is_not_highlighted(report: Report) -> None:
    assert "\x1b" not in shown(report, 120, color=True).splitlines()[0]


def test_a_recording_without_kpageflags_is_not_told_to_run_as_root(guest: Snapshot) -> None:
    report = diagnose(replace(guest, runs=None))
    assert "record kpageflags as root" in shown(report, 120)
    assert "run as root" in shown(replace(report, live=True), 120)


def test_json_never_names_a_pfn_that_is_none(report: Report) -> None:
    for row in to_json(report, True)["sizes"]:
        for zone in row["zones"]:
            assert all(r["blocker_pfn"] is None or r["blocker_pfn"] < 1 << 52 for r in zone["ranges"])


def test_one_survey_serves_every_size_of_a_zone_that_ends_inside_a_window() -> None:
    """Ranges below and of the size of a window share a survey, and have windows of their own."""
    survey = ZoneSurvey(Zone(1024 + 480, "5.15"))
    assert [len(judge(survey, "5.15", size).verdict) for size in (512, 1024)] == [2, 1]
