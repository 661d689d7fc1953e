"""Steps of ``pageblock try`` on a terminal: those alike in a row are one line, and the numbers stay those of the steps."""

import io

from rich.console import Console

from pageblock.consumers import Step, Trial
from pageblock.lab.trial import Tried
from pageblock.view.trial import show


def shown(steps: tuple[Step, ...]) -> list[str]:
    trial = Trial("6.1", 1, 0, "ranges", (), steps, {}, "nothing")
    out = io.StringIO()
    show(Tried("here", None, "a range", 4096, (), (trial,)), Console(file=out, width=200))
    return out.getvalue().split("What was done", 1)[1].splitlines()[2:]


def passed(start: int, rule: str = "a page is not online", moved: int = 0) -> Step:
    return Step("pfn_range_valid_contig", start, 512, pfn=start, rule=rule, moved=moved)


def test_ranges_passed_over_for_one_reason_are_one_line() -> None:
    lines = shown((passed(0), passed(512), passed(1024), Step("alloc_contig_range", 1536, 512)))
    assert len(lines) == 2
    assert lines[0].split()[:2] == ["1–3", "pfn_range_valid_contig"]
    assert "[0x0, 0x600) 2 MiB each, 3 ranges" in lines[0]
    assert lines[1].split()[:2] == ["4", "alloc_contig_range"]


def test_other_reasons_places_and_moves_stand_for_themselves() -> None:
    assert len(shown((passed(0), passed(512, "a page is reserved"), passed(2048), passed(4096)))) == 4
    assert len(shown((passed(0, moved=1), passed(512, moved=1)))) == 2


def test_of_a_long_list_the_middle_is_counted() -> None:
    steps = tuple(passed(1024 * i) for i in range(30))
    lines = shown(steps)
    assert len(lines) == 25
    assert lines[12].split() == ["…", "6", "more"]
