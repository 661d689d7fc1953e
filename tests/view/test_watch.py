"""How the rounds of ``pageblock watch`` look."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import Report, diagnose
from pageblock.doctor.watch import Place, Round, changes
from pageblock.machine import read_machine
from pageblock.view.watch import Screen, lines, sparkline, to_json

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def report() -> Report:
    return diagnose(read_machine(recorded_machine()), [512, 1024], ["6.1"])


@pytest.fixture(scope="module")
def later(report: Report) -> Round:
    """A second round: three ranges fewer are free, five are blocked of which four are named, one went."""
    before = replace(report, rows=(replace(report.rows[0], free=report.rows[0].free + 3), report.rows[1]))
    first, second = changes(before, report)
    place = Place("node 0 Normal", 0x120000, 0x120003, ("kernel objects (slab)",))
    return Round(2, NOON, report, (replace(first, came=(place,) * 4, nr_came=5, went=(place,), nr_went=1), second))


@pytest.mark.parametrize(
    ("values", "bars"), [([], ""), ([5], "▄"), ([5, 5], "▄▄"), ([0, 7], "▁█"), ([10, 11, 12, 14, 17], "▁▂▃▅█")]
)
def test_a_sparkline_runs_from_the_least_to_the_greatest(values: list[int], bars: str) -> None:
    assert sparkline(values) == bars


def test_lines_name_counts_differences_and_places(later: Round) -> None:
    found = [line.split("  ", 1)[1].strip() for line in lines(later)]
    assert found[0] == "2 MiB  2,127 free (-3), 675 movable, 269 blocked"
    assert found[1] == "4 MiB  1,037 free, 361 movable, 137 blocked"
    of_range = "kernel objects (slab), pfn 0x120003 (node 0 Normal)"
    assert found[2:5] == [f"+ 2 MiB at 0x120000 blocked: {of_range}"] * 2 + ["+ 2 MiB blocked: 3 more"]
    assert found[5] == f"- 2 MiB at 0x120000 no longer blocked: {of_range}"


def test_json_of_a_first_round_has_nothing_before_it(report: Report) -> None:
    found = to_json(Round(1, NOON, report, changes(None, report)))
    assert (found["round"], found["time"], found["error"]) == (1, "2026-01-02T12:00:00.000+00:00", None)
    assert [size["since"] for size in found["sizes"]] == [None, None]
    assert found["sizes"][0]["free"] == 2127


def test_json_of_a_later_round_says_what_changed(later: Round) -> None:
    since = to_json(later)["sizes"][0]["since"]
    assert (since["free"], since["blocked"], since["changed"]) == (-3, 0, 0)
    assert (since["came"]["ranges"], len(since["came"]["listed"])) == (5, 4)
    assert since["came"]["listed"][0] == {
        "zone": "node 0 Normal",
        "start_pfn": 0x120000,
        "blocker_pfn": 0x120003,
        "reasons": ["kernel objects (slab)"],
    }


def test_json_of_a_round_that_could_not_be_read_is_its_error() -> None:
    found = to_json(Round(3, NOON, None, (), "kpageflags: cut off"))
    assert found == {"format": 1, "round": 3, "time": "2026-01-02T12:00:00.000+00:00", "error": "kpageflags: cut off"}


def screen(width: int = 120) -> tuple[Screen, io.StringIO]:
    written = io.StringIO()
    return Screen(Console(file=written, force_terminal=True, width=width, height=40), 10.0), written


def test_the_screen_has_a_curve_a_size_and_the_last_events(report: Report, later: Round) -> None:
    shown, written = screen()
    with shown:
        shown.show(Round(1, NOON, replace(report, rows=()), ()))
        shown.show(Round(1, NOON, report, changes(None, report)))
        shown.show(later)
        shown.show(Round(3, NOON, None, (), "kpageflags: cut off"))
    last = written.getvalue().rsplit("round 3", 1)[1]
    assert "2,127 (-3)" in last
    assert "▄▄  2,127 to 2,127" in last
    assert "+ 2 MiB blocked: 3 more" in last
    assert "not read: kpageflags: cut off" in last


def test_the_cursor_is_back_when_the_screen_ends_by_an_exception(report: Report) -> None:
    shown, written = screen()

    def interrupted() -> None:
        with shown:
            shown.show(Round(1, NOON, report, changes(None, report)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = written.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_without_kpageflags_free_memory_is_followed(report: Report) -> None:
    snapshot = read_machine(recorded_machine())
    free_only = diagnose(replace(snapshot, runs=None), [512])
    shown, written = screen()
    with shown:
        shown.show(Round(1, NOON, free_only, ()))
    assert "2,124 to 2,124" in written.getvalue()
    assert [line.split("  ", 1)[1].strip() for line in lines(Round(1, NOON, free_only, ()))] == [
        "2 MiB  2,124 to 2,124 free"
    ]
