"""``pageblock capture``, and that every command's --from takes its file and answers the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine
from pageblock.machine import Snapshot
from tests.machine.test_snapshot_file import assert_same

RECORDED = str(recorded_machine())


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = main(list(args))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("capture") / "guest.parquet"
    assert main(["capture", str(path), "--from", RECORDED]) == 0
    return str(path)


def answer(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON, without what is of the reading and not of the machine."""
    code, out, err = run(capsys, *args, "--json")
    assert err == ""
    told = json.loads(out)
    told.pop("seconds", None)
    assert told.pop("source")
    return code, told


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("doctor", "--ranges"),
        ("try", "gigantic", "--count", "2"),
        ("try", "cma", "--area", "256M", "--alloc", "16M", "--count", "3"),
    ],
)
def test_a_capture_gives_the_answer_of_its_machine(
    capsys: pytest.CaptureFixture[str], captured: str, command: tuple[str, ...]
) -> None:
    assert answer(capsys, *command, "--from", captured) == answer(capsys, *command, "--from", RECORDED)


def test_the_series_is_asked_of_the_same_machine(captured: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a minute and depends on nothing but the snapshot that it is given."""
    given: list[Snapshot] = []

    class Asked(Exception):
        pass

    def series(snapshot: Snapshot, _: object) -> None:
        given.append(replace(snapshot, source="", seconds_read=0))
        raise Asked

    monkeypatch.setattr("pageblock.cli.series.series", series)
    for source in (captured, RECORDED):
        with pytest.raises(Asked):
            main(["series", "--from", source])
    assert_same(*given)


def test_what_was_written_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    code, out, err = run(capsys, "capture", str(path), "--from", RECORDED)
    assert (code, err) == (0, "")
    assert out.startswith(f"{path}: ")
    assert "6.0 GiB · 7,032 runs · with version, zoneinfo, pagetypeinfo" in out
    code, out, _ = run(capsys, "capture", str(path), "--from", RECORDED, "--force", "--redact", "--json")
    told = json.loads(out)
    assert (code, told["bytes"], told["runs"], told["redacted"]) == (0, path.stat().st_size, 7032, True)


@pytest.mark.parametrize("what", ["there", "nowhere", "folder", "source"])
def test_a_wrong_argument_is_one_line_and_2(capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.parquet"
    source = RECORDED
    if what == "there":
        path.write_text("mine")
    elif what == "nowhere":
        path = tmp_path / "nowhere" / "a.parquet"
    elif what == "folder":
        path = tmp_path
    else:
        source = str(tmp_path / "nowhere")
    code, out, err = run(capsys, "capture", str(path), "--from", source)
    assert (code, out) == (2, "")
    assert err.startswith("pageblock: ")
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == (["a.parquet"] if what == "there" else [])


def test_an_unusable_capture_is_one_line_and_2(
    capsys: pytest.CaptureFixture[str], captured: str, tmp_path: Path
) -> None:
    path = tmp_path / "cut.parquet"
    path.write_bytes(Path(captured).read_bytes()[:-100])
    code, out, err = run(capsys, "doctor", "--from", str(path))
    assert (code, out) == (2, "")
    assert "no whole Parquet file" in err
    assert err.count("\n") == 1
