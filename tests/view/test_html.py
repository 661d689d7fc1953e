"""The page that ``pageblock doctor --html`` writes: what is in it, and nothing of a dump that a browser would run."""

import base64
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import BLOCKED, MOVABLE, CheapRange, Report, diagnose
from pageblock.doctor.anywhere import Anywhere
from pageblock.doctor.remedies import Effect, Remedy
from pageblock.doctor.verdict import NO_PFN
from pageblock.errors import InputError
from pageblock.machine import Remark, Snapshot, read_machine
from pageblock.machine.cma_area import CmaArea
from pageblock.view import html as view_html
from pageblock.view.html import NO_BLOCKER, to_html

HOSTILE = "</script></title><img src=x onerror=alert(1)>\"'&{{7*7}}<!--"


class Reader(HTMLParser):
    """Elements with their attributes, and the text of the page without scripts and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append(data)
        elif self.inside != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def guest() -> Snapshot:
    return read_machine(recorded_machine())


@pytest.fixture(scope="module")
def report(guest: Snapshot) -> Report:
    return diagnose(guest)


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return to_html(report)


def script_data(page: str) -> tuple[Any, bytes]:
    """The plain values, and the columns of all ranges."""
    data, ranges, _ = Reader(page).scripts
    return json.loads(data), zlib.decompress(base64.b64decode(ranges))


def test_the_answer_of_each_size_is_text(page: str) -> None:
    text = " ".join(" ".join(Reader(page).words).split())
    for part in ("2 MiB YES 2,127 free now", "1 GiB YES 1 free now", "kernel objects (slab)", "What is not certain"):
        assert part in text


def test_causes_and_areas_of_a_kernel_dump_are_text() -> None:
    dump = read_machine(Path(__file__).parents[1] / "machine" / "data" / "core-6.1-cma.parquet")
    text = " ".join(" ".join(Reader(to_html(diagnose(dump, [512], ["6.1"]))).words).split())
    for part in (
        "likely : page pinned for long",
        "would settle it",
        "reserved [0x15c00, 0x17c00) 32 MiB: 49 of 8,192 pages given out",
        "12, certain: the CMA area has fewer free pages than asked for",
        "source : a kernel's own memory",
    ):
        assert part in text


def test_names_of_areas_are_escaped() -> None:
    dump = read_machine(Path(__file__).parents[1] / "machine" / "data" / "core-6.1-cma.parquet")
    area = CmaArea(HOSTILE, ((89088, 97280),), 0, ())
    page = to_html(diagnose(replace(dump, cma_areas=(area,)), [512], ["6.1"]))
    assert HOSTILE not in page
    assert "onerror" not in {name for _, attributes in Reader(page).elements for name in attributes}


def test_nothing_is_asked_of_the_network(page: str) -> None:
    assert not [(tag, a) for tag, a in Reader(page).elements if {"src", "href", "srcset", "data"} & set(a)]
    assert not re.search(r"url\(|@import|https?:|\bfetch\(|XMLHttpRequest|\bimport\(", page)


def test_the_columns_are_the_verdicts(page: str, report: Report) -> None:
    data, columns = script_data(page)

    def words(at: int, n: int) -> Any:
        planes = np.frombuffer(columns, np.uint8, 4 * n, at).reshape(4, n)
        return planes.T.copy().view("<u4").ravel()

    for row, plain in zip(report.rows, data["rows"], strict=True):
        for v, zone in zip(row.zones, plain["zones"], strict=True):
            n = len(v.verdict)
            assert (zone["first"], zone["n"]) == (v.first_pfn, n)
            assert columns[zone["verdict"] : zone["verdict"] + n] == v.verdict.tobytes()
            movable, blocked = v.verdict == MOVABLE, v.verdict == BLOCKED
            assert (words(zone["cost"], n)[movable] == v.cost[movable]).all()
            assert (words(zone["dropped"], n)[movable] == v.dropped[movable]).all()
            assert (words(zone["reasons"], n)[blocked] == v.reasons[blocked]).all()
            ahead = words(zone["blocker"], n)
            pfn = np.where(
                ahead == NO_BLOCKER, NO_PFN, v.start_pfn + ahead.view("<i4").astype(np.int64).astype(np.uint64)
            )
            assert (pfn[blocked] == v.blocker_pfn[blocked]).all()


def test_releases_that_agree_are_stored_once(guest: Snapshot) -> None:
    one, several = (len(script_data(to_html(diagnose(guest, releases=names)))[1]) for names in (["6.1"], ["6.1"] * 3))
    assert one == several


def test_text_of_a_machine_is_never_markup(report: Report) -> None:
    zones = tuple(replace(zone, name=HOSTILE) for zone in report.zones)
    rows = tuple(
        replace(
            row,
            zones=tuple(replace(v, zone=HOSTILE) for v in row.zones),
            cheapest=tuple(replace(r, zone=HOSTILE) for r in row.cheapest),
            blockers=tuple(replace(b, reason=HOSTILE) for b in row.blockers),
        )
        for row in report.rows
    )
    maps = tuple(replace(m, zone=HOSTILE) for m in report.maps)
    remarks = (Remark(HOSTILE, HOSTILE, 0.5, HOSTILE, 1),)
    hostile = replace(
        report, source=HOSTILE, kernel=HOSTILE, rules=HOSTILE, zones=zones, rows=rows, maps=maps, remarks=remarks
    )
    found = Reader(to_html(hostile))
    plain = Reader(to_html(report))
    assert {tag for tag, _ in found.elements} == {tag for tag, _ in plain.elements}
    assert not [a for _, a in found.elements if any(name.startswith("on") for name in a)]
    assert len(found.scripts) == 3
    assert json.loads(found.scripts[0])["zones"] == [f"node 0 {HOSTILE}"] * 3


def test_a_command_to_copy_is_quoted_for_the_shell(report: Report) -> None:
    data, _ = script_data(to_html(replace(report, source="a; rm -rf $HOME")))
    assert data["why"] == "pageblock doctor --from 'a; rm -rf $HOME'"
    data, _ = script_data(to_html(replace(report, live=True)))
    assert data["why"] == "pageblock doctor"


def test_only_the_pages_own_script_may_run(page: str) -> None:
    (policy,) = [a["content"] or "" for tag, a in Reader(page).elements if a.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_without_kpageflags_the_page_says_what_is_free(guest: Snapshot) -> None:
    found = Reader(to_html(diagnose(replace(guest, runs=None))))
    assert "2,124" in "".join(found.words)
    assert found.scripts == []


def test_remedies_are_shown_where_there_are_some(report: Report, page: str) -> None:
    assert "What would help here" not in page
    helps = Remedy("compact <b>", "echo 1 > x", "some CPU", (Effect(512, 20, 3, 1), Effect(1024, 0, 0, 1)), moved=1234)
    useless = Remedy("drop caches", "echo 1 > y", "reads", (Effect(512, 0, 0, 1),))
    text = " ".join(" ".join(Reader(to_html(report, [helps, useless])).words).split())
    assert "compact <b> echo 1 > x 2 MiB: +3 to be had, +20 free moves 1,234 pages; risk: some CPU" in text
    assert "No range more: drop caches" in text


def test_other_alignments_are_shown_where_they_were_judged(report: Report, page: str) -> None:
    assert "Where ranges may begin" not in page
    cheap = (CheapRange("node 0 Normal", 0x4A00, 262144, 7, 0),)
    found = to_html(report, (), [Anywhere("6.1", 262144, 512, 2042, 1060, 3, 1, cheap)])
    text = " ".join(" ".join(Reader(found).words).split())
    assert "Where ranges may begin at every 2 MiB" in text
    assert "1 GiB 6.1 3 1 1,060 2,042 0x4a00 7" in text


def test_more_ranges_than_a_page_can_show_are_refused(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_html, "MAX_RANGES", 100)
    with pytest.raises(InputError, match=r"ranges to show, more than 100; choose larger sizes"):
        to_html(report)


@pytest.mark.slow
def test_a_page_of_64_gib_stays_small(report: Report) -> None:
    """Even where no two ranges are alike: every column as random as it can be."""
    random = np.random.default_rng(1)
    rows = []
    for size in (512, 1024, 16384, 262144):
        for name in report.releases:
            (of_old, *_) = [row for row in report.rows if row.nr_pages == size and row.release == name]
            n = (16 << 20) // size
            v = replace(
                of_old.zones[0],
                first_pfn=0,
                origin=0,
                verdict=random.integers(0, 3, n).astype(np.uint8),
                cost=random.integers(0, size, n),
                dropped=random.integers(0, size, n),
                reasons=random.integers(1, 1 << 9, n).astype(np.uint32),
                blocker_at=(np.arange(n) * size + random.integers(0, size, n)).astype(np.uint32),
            )
            rows.append(replace(of_old, zones=(v,)))
    text = to_html(replace(report, rows=tuple(rows), zones=report.zones[:1]))
    assert len(text) < 1 << 20
