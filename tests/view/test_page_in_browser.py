"""The page in headless Chromium: what pointing, keys and switches do. Skipped, visibly, where there is no Chromium."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import MOVABLE, Report, Verdicts, diagnose
from pageblock.machine import read_machine
from pageblock.view.html import to_html

from .browser import CHROMIUM, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not there: apt-get install chromium"),
]

#: What a page would do if a name of a machine were taken for markup.
HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"


@pytest.fixture(scope="module")
def report() -> Report:
    return diagnose(read_machine(recorded_machine()))


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "doctor.html"
    path.write_text(to_html(report), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Iterator[Browser]:
    chromium.open(page)
    yield chromium
    assert chromium.errors == []
    assert [url for url in chromium.requests if not url.startswith("file:")] == []


def map_box(browser: Browser, zone: int) -> dict[str, float]:
    """Place of a zone's map in the window, scrolled into it."""
    found: dict[str, float] = browser.js(
        f"(() => {{ const c = document.querySelectorAll('#zones canvas')[{zone}]; c.scrollIntoView({{block: 'center'}});"
        "const b = c.getBoundingClientRect(); return {x: b.x, y: b.y, width: b.width, height: b.height}; })()"
    )
    return found


def cell(browser: Browser, zone: int, column: int, line: int) -> tuple[float, float]:
    """Middle of a cell of 2 MiB ranges: 128 columns beside the labels."""
    box = map_box(browser, zone)
    edge = (box["width"] - 66) / 128
    return box["x"] + 66 + (column + 0.5) * edge, box["y"] + (line + 0.5) * edge


def tip(browser: Browser) -> list[str]:
    """Lines of the text at the pointer; none where it is hidden."""
    lines: list[str] = browser.js("tip.hidden ? [] : [...tip.children].map((p) => p.textContent)")
    return lines


def two_mib(report: Report) -> Verdicts:
    """Verdicts of 2 MiB ranges in Normal under the last release."""
    (row,) = [row for row in report.rows if row.nr_pages == 512 and row.release == "6.1"]
    return row.zones[2]


def test_pointing_says_pfn_verdict_and_blocker(browser: Browser, report: Report) -> None:
    # row 1, column 2 of Normal, which begins at 4 GiB: 0x100000 + (128 + 2) * 512
    browser.mouse("mouseMoved", *cell(browser, 2, 2, 1))
    assert tip(browser) == [
        "pfn 0x110400 to 0x110600",
        "2 MiB at 4.254 GiB, node 0 Normal, release 6.1",
        "blocked by kernel pages (drivers, stacks, vmalloc)",
        "likely: kernel stacks, drivers, vmalloc",
        f"first in the way: pfn {int(two_mib(report).blocker_pfn[130]):#x}",
    ]


def test_pointing_says_the_cost(browser: Browser, report: Report) -> None:
    v = two_mib(report)
    i = int((v.verdict == MOVABLE).argmax())
    browser.mouse("mouseMoved", *cell(browser, 2, i % 128, i // 128))
    assert tip(browser)[0].startswith(f"pfn {v.first_pfn + i * 512:#x} to ")
    assert tip(browser)[2].startswith(f"movable: {v.cost[i]} pages to move (")


def test_beside_the_map_nothing_is_said(browser: Browser) -> None:
    browser.mouse("mouseMoved", *cell(browser, 2, 2, 1))
    assert tip(browser)
    browser.mouse("mouseMoved", 5, 5)
    assert tip(browser) == []


def chosen(browser: Browser) -> Any:
    return browser.js(
        "({title: [...document.querySelectorAll('section.row:not([hidden]) h2')].map((h) => h.textContent),"
        " shares: [...document.querySelectorAll('.zone:not([hidden]) .what')].map((w) => w.textContent)})"
    )


def test_another_size_is_another_map_and_other_tables(browser: Browser) -> None:
    assert chosen(browser)["title"] == ["2 MiB under release 6.1"]
    browser.js("document.querySelectorAll('input[name=size]')[2].click()")
    assert chosen(browser)["title"] == ["64 MiB under release 6.1"]
    browser.js("document.querySelectorAll('input[name=size]')[3].click()")
    assert chosen(browser)["shares"] == ["1 free, 0 movable, 1 blocked", "0 free, 0 movable, 3 blocked"]


def test_another_release_counts_anew(browser: Browser, report: Report) -> None:
    browser.js("document.querySelectorAll('input[name=release]')[0].click()")
    assert chosen(browser)["title"] == ["2 MiB under release 5.15"]
    assert browser.js("document.querySelector('.card .how').textContent") == "2,122 free now"


def test_keys_walk_from_blocked_range_to_blocked_range(browser: Browser) -> None:
    browser.js("document.querySelectorAll('#zones canvas')[2].focus()")
    browser.key("End")
    assert tip(browser)[0] == "pfn 0x1bfe00 to 0x1c0000"
    browser.key("Home")
    browser.key("ArrowDown")
    assert tip(browser)[0] == "pfn 0x110000 to 0x110200"
    browser.key("n")
    assert tip(browser)[0] == "pfn 0x110200 to 0x110400"
    browser.key("Escape")
    assert tip(browser) == []


def test_a_zoomed_map_names_the_range_that_is_drawn_there(browser: Browser) -> None:
    x, y = cell(browser, 2, 2, 1)
    browser.js("document.querySelectorAll('#zones canvas')[2].focus()")
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    browser.mouse("mouseMoved", x + 1, y)
    assert tip(browser)[0] == "pfn 0x110400 to 0x110600"
    browser.mouse("mouseMoved", x + 60, y)
    # a cell is e times as wide, 22.5 px: 60 px are not seven cells but three
    assert tip(browser)[0] == "pfn 0x110a00 to 0x110c00"


def test_a_click_keeps_the_range_and_gives_the_command(browser: Browser) -> None:
    browser.click(*cell(browser, 2, 2, 1))
    command = browser.js("document.querySelector('#chosen code').textContent")
    assert command.startswith("pageblock doctor --from /")
    assert command.endswith(" --why 0x110400-0x110600 --release 6.1")


def pixel(browser: Browser, zone: int, column: int, line: int) -> list[int]:
    """Red, green and blue in the middle of a cell of 2 MiB ranges."""
    found: list[int] = browser.js(
        f"(() => {{ const m = document.querySelectorAll('#zones canvas')[{zone}], edge = (m.width - 66) / 128;"
        "const g = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});"
        f"g.drawImage(m, -Math.round(66 + {column + 0.5} * edge), -Math.round({line + 0.5} * edge));"
        "return [...g.getImageData(0, 0, 1, 1).data].slice(0, 3); })()"
    )
    return found


def test_a_reason_is_shown_on_the_map(browser: Browser) -> None:
    free, blocked = (2, 0, 11), (2, 2, 1)
    before = pixel(browser, *free), pixel(browser, *blocked)
    button = "document.querySelector('section.row:not([hidden]) tr[data-reason^=\"kernel pages\"] button')"
    browser.js(f"{button}.click()")
    assert browser.js(f"{button}.getAttribute('aria-pressed')") == "true"
    during = pixel(browser, *free), pixel(browser, *blocked)
    browser.js(f"{button}.click()")
    assert (pixel(browser, *free), pixel(browser, *blocked)) == before
    assert during[0] != before[0]
    assert during[1] == before[1]


def test_ranges_are_ranked_by_cost(browser: Browser, report: Report) -> None:
    (row,) = [r for r in report.rows if r.nr_pages == 512 and r.release == "6.1"]
    costs = sorted(int(c) for v in row.zones for c in v.cost[v.verdict == 1])
    cells = "section.row:not([hidden]) .cheapest tbody td:nth-child(3)"
    read = f"[...document.querySelectorAll('{cells}')].map((c) => +c.textContent)"
    assert browser.js(read) == [0, *costs[:10]]
    browser.js("document.querySelector('section.row:not([hidden]) .cheapest + button').click()")
    assert browser.js(read) == [0, *costs[:20]]


def test_names_of_a_machine_do_not_run(chromium: Browser, report: Report, tmp_path: Path) -> None:
    zones = tuple(replace(zone, name=HOSTILE) for zone in report.zones)
    path = tmp_path / "hostile.html"
    path.write_text(to_html(replace(report, source=HOSTILE, kernel=HOSTILE, zones=zones)), encoding="utf-8")
    chromium.open(path)
    assert chromium.js("document.title") == f"pageblock doctor: {HOSTILE}"
    assert chromium.js("document.querySelectorAll('img').length") == 0
    chromium.mouse("mouseMoved", *cell(chromium, 2, 2, 1))
    assert HOSTILE in tip(chromium)[1]
    assert chromium.errors == []


def test_what_would_run_is_stopped_by_the_policy(chromium: Browser, page: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.html"
    path.write_text(page.read_text(encoding="utf-8").replace("<main>", f"<main>{HOSTILE}"), encoding="utf-8")
    chromium.open(path)
    assert chromium.js("document.title").startswith("pageblock doctor: ")
    assert any("Content Security Policy" in error for error in chromium.errors)


def test_without_scripts_everything_is_text_and_a_drawn_map(chromium: Browser, page: Path) -> None:
    chromium.open(page, script=False)
    document = chromium.call("DOM.getDocument", depth=0)["root"]["nodeId"]

    def found(selector: str) -> int:
        return len(chromium.call("DOM.querySelectorAll", nodeId=document, selector=selector)["nodeIds"])

    assert found("noscript svg[role=img]") == 3
    assert found("section.row .blockers tbody tr") > 12
    assert found("section.row[hidden]") == 0


def test_the_dark_page_is_drawn_dark(chromium: Browser, page: Path) -> None:
    colours = []
    for dark in (False, True):
        chromium.open(page, dark=dark)
        colours.append(pixel(chromium, 1, 100, 5))
    assert colours == [[47, 127, 196], [63, 143, 214]]
    assert chromium.errors == []
