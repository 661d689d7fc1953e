"""``pageblock try gigantic`` as a person or a script calls it."""

import json
from pathlib import Path

import pytest

from pageblock.lab.trial import TRIED_RELEASES

from .test_doctor import run


def test_the_recorded_machine_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "gigantic", "--recorded")
    assert (code, err) == (0, "")
    assert "YES, 1 of 1 gigantic pages of 1 GiB under 6.1" in out
    assert "Assumed: no hugetlb_cma area" in out


@pytest.mark.slow
def test_four_are_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "gigantic", "--recorded", "--count", "4", "--node", "0")
    assert (code, err) == (1, "")
    assert (
        "PART, 1 of 4 gigantic pages of 1 GiB under 6.1: after that, of 6 aligned ranges of 1 GiB of node 0, 4 passed over"
        in out
    )
    assert "neither on the LRU nor movable by its driver" in out


@pytest.mark.slow
def test_json_says_why_releases_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Before 4d73ba5fa710 the page that was got is tried again and refused; since then it is passed over."""
    code, out, _ = run(capsys, "try", "gigantic", "--recorded", "--count", "2", "--json")
    found = json.loads(out)
    assert code == 1
    assert found["had"] is False
    by_release = {trial["release"]: trial for trial in found["trials"]}
    assert set(by_release) == set(TRIED_RELEASES)
    assert "a gigantic huge page lies in the range" in by_release["5.15"]["explanation"]
    assert "a page is part of a huge page" in by_release["6.12"]["explanation"]
    first = by_release["6.1"]
    assert first["ranges"] == [[0x40000, 0x80000]]
    assert first["counters"] == {"nr_hugepages": 1}
    assert {"function", "start_pfn", "nr_pages", "errno", "moved", "dropped", "pfn", "rule", "note"} == set(
        first["steps"][0]
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--node", "7"], "no such node"),
        (["--size", "2M"], "not above max order"),
        (["--size", "3G"], "power-of-two"),
        (["--size", "1P"], "is not a size"),
        (["--size", "1T"], "up to order 26"),
        (["--count", "0"], "--count"),
        (["--release", "nope"], "unknown release"),
        (["--from", "nowhere", "--recorded"], "exclude each other"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], args: list[str], words: str) -> None:
    source = [] if "--from" in args else ["--recorded"]
    code, out, err = run(capsys, "try", "gigantic", *source, *args)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_machine_without_kpageflags_is_refused(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "gigantic", "--from", str(shared / "machines" / "csm442"))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
