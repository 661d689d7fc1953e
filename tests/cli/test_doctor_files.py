"""``pageblock doctor --html FILE`` and ``--metrics FILE``: written whole, or not at all."""

import json
import os
import stat
from pathlib import Path

import pytest

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.html"


def doctor(*args: str | Path) -> int:
    return main(["doctor", "--recorded", "--size", "64M", *map(str, args)])


def failure(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    """The one line on stderr of a call that must exit with 2 and print nothing."""
    code = doctor(*args)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_a_page_is_written_and_nothing_printed(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("--html", page) == 0
    assert capsys.readouterr() == ("", "")
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_a_page_that_is_there_is_kept_without_force(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page.write_text("mine")
    assert "there already; choose another name, or --force" in failure(capsys, "--html", page)
    assert page.read_text() == "mine"
    assert doctor("--html", page, "--force") == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_nothing_else_is_left_in_the_folder(page: Path) -> None:
    assert doctor("--html", page) == 0
    assert os.listdir(page.parent) == [page.name]


def test_a_file_that_cannot_be_written_leaves_nothing(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    page.write_text("mine")
    monkeypatch.setattr(os, "fsync", no_space)
    assert "No space left on device; nothing was written" in failure(capsys, "--html", page, "--force")
    assert os.listdir(page.parent) == [page.name]
    assert page.read_text() == "mine"


@pytest.mark.parametrize("option", ["--html", "--metrics"])
def test_a_place_for_no_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert "no regular file" in failure(capsys, option, tmp_path)
    assert "no regular file" in failure(capsys, option, "/dev/null")
    assert "no folder" in failure(capsys, option, tmp_path / "nowhere" / "file")
    assert "holds a NUL" in failure(capsys, option, "a\0b")
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in failure(capsys, option, tmp_path / "pipe")


def test_json_is_printed_beside_both_files(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = page.with_suffix(".prom")
    assert doctor("--html", page, "--metrics", metrics, "--json") == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1
    assert page.stat().st_size > 10_000
    assert metrics.read_text().startswith("# HELP pageblock_info")


def test_metrics_are_replaced_each_time_and_everyone_may_read_them(page: Path) -> None:
    page.write_text("old")
    mask = os.umask(0o022)
    try:
        assert doctor("--metrics", page) == 0
    finally:
        os.umask(mask)
    assert page.read_text().startswith("# HELP")
    assert stat.S_IMODE(page.stat().st_mode) == 0o644


def test_a_link_stays_a_link(page: Path) -> None:
    target = page.with_name("target")
    target.write_text("old")
    page.symlink_to(target)
    assert doctor("--metrics", page) == 0
    assert page.is_symlink()
    assert target.read_text().startswith("# HELP")


@pytest.mark.parametrize("option", ["--html", "--metrics"])
def test_a_folder_whose_name_is_no_text_is_no_obstacle(page: Path, option: str) -> None:
    folder = page.with_name(os.fsdecode(b"machine-\xff"))
    folder.symlink_to(recorded_machine())
    assert main(["doctor", "--from", str(folder), "--size", "1G", option, str(page)]) == 0
    assert "machine-?" in page.read_text(encoding="utf-8")


def test_metrics_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("--metrics", "-") == 0
    assert capsys.readouterr().out.startswith("# HELP pageblock_info")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--force"], "--force goes with --html"),
        (["--json", "--metrics", "-"], "choose one"),
        (["--why", "0x4800", "--html", "x"], "--why goes neither with --html"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    assert says in failure(capsys, *args)
