"""``pageblock sweep``, ``plot`` and ``compare``, one after the other."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pageblock.cli import main
from tests.lab.sweep.test_engine import SWEEP, after_first_file


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.toml").write_text(SWEEP)
    assert main(["sweep", str(folder / "sweep.toml"), "--out", str(folder / "out"), "--jobs", "1"]) == 0
    return folder / "out"


def test_the_sweep_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("seeds = 3", "seeds = 1"))
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "--jobs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["total"], told["here"], told["varied"]) == ("small", 4, 4, ["release", "cma"])


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("ticks", "tickz"))
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "did you mean 'ticks'" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_sweep_whose_first_run_cannot_be_had_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    (tmp_path / "sweep.toml").write_text(
        SWEEP.replace("ticks = 8", "ticks = 1048577").replace("every = 4", "every = 1")
    )
    if there:
        (tmp_path / "out").mkdir()
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 2
    assert "1048577 samples" in capsys.readouterr().err
    assert (tmp_path / "out").exists() == there
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("kind", ["bands", "survival", "heatmap"])
def test_pictures_are_what_their_name_says(swept: Path, tmp_path: Path, kind: str) -> None:
    for end in ("png", "svg", "html"):
        assert (
            main(["plot", str(swept), "--kind", kind, "--value", "had:2MiB", "--out", str(tmp_path / f"a.{end}")]) == 0
        )
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert ET.fromstring((tmp_path / "a.svg").read_text()).tag.endswith("svg")
    page = (tmp_path / "a.html").read_text()
    assert "<script" in page
    assert "src=" not in page.partition("<body>")[0]


def test_the_same_picture_is_the_same_file(swept: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        assert main(["plot", str(swept), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_numbers_of_a_picture_as_json(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(swept), "--value", "free_pages", "--by", "cma", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [curve["group"] for curve in told["curves"]] == ["cma 8 MiB", "cma 16 MiB"]
    assert [len(curve["mean"]) for curve in told["curves"]] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "a.gif"], "end it in"),
        (["--value", "had:3MiB"], "these runs judged"),
        (["--by", "releese"], "no parameter 'releese'"),
        (["--kind", "heatmap", "--x", "seed"], "no parameter 'seed' varies"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    swept: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["plot", str(swept), *arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.count("\n") == 1


def test_compare_prints_a_row_a_value(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(swept), "--value", "free_pages", "--value", "fallbacks"]) == 0
    told = capsys.readouterr().out
    assert "release 6.1 against release 5.15, 6 pairs" in told
    assert "fallbacks" in told
    assert main(["compare", str(swept), "--by", "cma", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["differences"]
    assert [one["b"] - one["a"] for one in found] == [8 << 20] * len(found)


@pytest.mark.slow
def test_an_interrupted_sweep_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("seeds = 3", "seeds = 30"))
    command = ("sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "--batch", "1", "--jobs", "1")
    process = subprocess.Popen([sys.executable, "-m", "pageblock", *command], stderr=subprocess.PIPE, text=True)
    after_first_file(tmp_path / "out", lambda: os.kill(process.pid, signal.SIGINT)).join()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "go on with --resume" in told
    assert told.count("\n") == 1


def test_two_folders_with_the_same_numbers(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(swept), "--with", str(swept)]) == 0
    assert capsys.readouterr().out.startswith("the same: 12 runs, ")
    assert main(["compare", str(swept), "--with", str(swept), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True


def test_two_folders_that_differ_exit_1(swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("seeds = 3", "seeds = 2"))
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    capsys.readouterr()
    assert main(["compare", str(swept), "--with", str(tmp_path / "out")]) == 1
    assert "4 runs only in" in capsys.readouterr().out


def test_with_takes_no_value(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(swept), "--with", str(swept), "--a", "5.15"]) == 2
    assert "leave out --by, --a" in capsys.readouterr().err
