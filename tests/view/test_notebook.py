"""What a notebook shows of a report."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import Report, diagnose
from pageblock.machine import Snapshot, read_machine

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def guest() -> Snapshot:
    return read_machine(recorded_machine())


@pytest.fixture(scope="module")
def report(guest: Snapshot) -> Report:
    return diagnose(guest)


def parsed(report: Report) -> ElementTree.Element:
    return ElementTree.fromstring(report._repr_html_())


def test_the_table_has_a_row_a_size(report: Report) -> None:
    rows = [["".join(cell.itertext()) for cell in line] for line in parsed(report).iter("tr")]
    assert rows[0] == ["size", "release 6.1", "ranges", "free", "movable", "blocked"]
    assert rows[1] == ["2 MiB", "YES, 2,127 free now", "3,071", "2,127", "675", "269"]
    assert [row[0] for row in rows[1:]] == ["2 MiB", "4 MiB", "64 MiB", "1 GiB"]


def test_each_zone_is_drawn_with_all_its_cells(report: Report) -> None:
    drawings = list(parsed(report).iter("svg"))
    assert len(drawings) == len(report.maps)
    for drawing, zone_map in zip(drawings, report.maps, strict=True):
        cells = sum((int(rect.attrib["width"]) + 1) // 10 for rect in drawing)
        assert cells == len(zone_map.cells)
        kinds = {"F": "free", "c": "cheap", "m": "movable", "b": "blocked", "-": "hole"}
        assert {rect.attrib["class"] for rect in drawing} == {kinds[letter] for letter in zone_map.cells}


def test_neighbours_alike_are_one_rectangle(report: Report) -> None:
    (one, *_) = [replace(m, cells="FFFFbbm-") for m in report.maps]
    drawing = next(parsed(replace(report, maps=(one,))).iter("svg"))
    assert [(r.attrib["class"], r.attrib["x"], r.attrib["width"]) for r in drawing] == [
        ("free", "0", "39"),
        ("blocked", "40", "19"),
        ("movable", "60", "9"),
        ("hole", "70", "9"),
    ]


def test_names_of_a_machine_are_escaped(report: Report) -> None:
    maps = tuple(replace(m, zone=HOSTILE) for m in report.maps)
    found = parsed(replace(report, source=HOSTILE, kernel=HOSTILE, maps=maps))
    assert not list(found.iter("script"))
    assert HOSTILE in "".join(found.itertext())


def test_it_is_compact(report: Report) -> None:
    assert len(report._repr_html_()) < 20_000


def test_without_kpageflags_free_memory_is_shown(guest: Snapshot) -> None:
    rows = list(parsed(diagnose(replace(guest, runs=None))).iter("tr"))
    assert "".join(rows[0].itertext()) == "2 MiB2,124 to 2,124 free"
