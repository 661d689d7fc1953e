"""What is said on stderr is one line that a terminal only shows, whatever stands in the input."""

from pathlib import Path

import pytest

from pageblock.cli import complain, main


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    complain("zone \x1b[2J\x00 and\nmore \udcff")
    assert capsys.readouterr().err == "pageblock: zone \\x1b[2J\\x00 and more \\udcff\n"


def test_a_long_name_is_cut_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    complain("begin " + "x" * 100_000 + " end")
    err = capsys.readouterr().err
    assert len(err) < 1000
    assert err.startswith("pageblock: begin x")
    assert err.endswith("x end\n")


def test_a_trace_that_cannot_be_read_prints_no_empty_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["replay", "--json", str(tmp_path / "none")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["/dev/zero", "a\0b"])
def test_a_trace_is_no_device_and_has_a_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["replay", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_answers_that_are_no_file_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "truth_512.txt").symlink_to("/dev/zero")
    assert main(["score", str(tmp_path)]) == 2
    assert "no regular file" in capsys.readouterr().err


def test_a_nul_in_an_argument_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["export", "a\0b", "c"], ["doctor", "--from", "x\0"], ["run", "w\0"]):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert "NUL" in told
        assert told.count("\n") == 1
