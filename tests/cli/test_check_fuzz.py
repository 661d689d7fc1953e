"""``pageblock check fuzz`` as a person or a script calls it."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pageblock.check.fuzz import Campaign, Chunk
from pageblock.cli import main


def test_no_difference_exits_0_and_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "fuzz", "--release", "6.1", "--seed", "3", "--case", "1"]) == 0
    assert re.match(
        r"4,000 operations on 6\.1, seed 3, states compared every 1,000: 0 differences", capsys.readouterr().out
    )


def test_a_difference_exits_1_and_shows_the_sequence_and_how_to_run_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["check", "fuzz", "--release", "5.15", "--model", "naive", "--ops", "64000", "--jobs", "1"]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert out.startswith("DIFFERENCE under 5.15 after ")
    again = re.search(r"^again: pageblock (.*)$", out, re.MULTILINE)
    assert again is not None
    assert main([*again[1].split(), "--no-shrink"]) == 1


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "fuzz", "--release", "6.12", "--model", "6.1", "--ops", "64000", "--jobs", "1", "--json"]
    assert main(arguments) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["releases"] == ["6.12"]
    (difference,) = report["differences"]
    assert difference["operations"]
    assert difference["reference"] != difference["model"]


def test_the_core_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "fuzz", "--core-only", "--release", "6.12", "--case", "0"]) == 0
    assert "invariants checked every 50,000: 0 violations" in capsys.readouterr().out


def test_a_run_goes_on_where_its_log_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "fuzz", "--release", "6.1", "--jobs", "1", "--log", str(tmp_path / "log")]
    assert main([*arguments, "--ops", "1"]) == 0
    first = (tmp_path / "log").read_text()
    assert main([*arguments, "--ops", "1"]) == 0
    assert (tmp_path / "log").read_text() == first
    assert capsys.readouterr().out.count("64,000 operations on 6.1") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--release", "7.0"], r"7\.0"),
        (["--release", "seed+fa"], r"the reference has no release seed\+fa: choose one of"),
        (["--core-only", "--release", "seed-as-posted"], r"seed-as-posted promises nothing"),
        (["--ops", "0"], r"--ops"),
        (["--core-only", "--model", "6.1"], r"--model"),
        (["--case", "3", "--log", "log"], r"--log: --case is one case"),
        (["--core-only", "--interval", "10"], r"--interval: --core-only has checks of its own"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "fuzz", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"pageblock: .*{message}.*\n", err)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log", b"\xff\xfe\n", "line 1: this is no line of a fuzz log"),
        ("log", b"[" * 200_000, "line 1: this is no line of a fuzz log"),
        ("log", b'{"plan": []}\n5\n', "line 2: this is no line of a fuzz log"),
        (".", None, "no regular file"),
        ("no/log", None, "no folder"),
    ],
)
def test_a_log_to_which_nothing_can_be_added_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["check", "fuzz", "--release", "6.1", "--log", str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert content is None or path.read_bytes() == content


def test_an_interrupt_says_what_was_done_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(plan: Campaign, numbers: Sequence[int], jobs: int) -> Iterator[Chunk]:
        yield Chunk(0, "6.1", 0, 64_000, None)
        raise KeyboardInterrupt

    monkeypatch.setattr("pageblock.cli.check.fuzz.campaign", interrupted)
    assert main(["check", "fuzz", "--release", "6.1", "--ops", "1000000"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("interrupted: 64,000 operations on 6.1")
    assert err == ""
