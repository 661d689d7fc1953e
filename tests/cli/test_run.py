"""``pageblock run``: what it prints, writes and refuses."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pageblock.cli import main
from pageblock.lab.sample import SERIES

RECORDED = Path(__file__).parent.parent / "recordings" / "6.1-thp-s106.txt.zst"
SHORT = ["--memory", "32M", "--ticks", "12", "--every", "4"]


def test_a_run_is_told_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "camera", *SHORT, "--cma", "16M"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("camera · release 6.1 · 32 MiB · seed 0 · 12 ticks, 12 s")
    assert "cma_alloc: " in out
    assert "2 MiB" in out


def test_json_is_the_series_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "desktop", *SHORT, "--json", "--release", "6.12", "--seed", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["workload"], told["settings"]["release"], told["settings"]["seed"]) == (
        1,
        "desktop",
        "6.12",
        3,
    )
    assert [row["tick"] for row in told["series"]] == [0, 4, 8, 12]
    assert told["summary"]["requests"] == told["series"][-1]["requests"] > 0


def test_the_series_is_written_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.parquet"
    assert main(["run", "desktop", *SHORT, "--out", str(path)]) == 0
    table = pq.read_table(path)
    assert table.schema.remove_metadata().equals(SERIES)
    told = json.loads(table.schema.metadata[b"pageblock.run"])
    assert told["settings"]["memory_bytes"] == 32 << 20
    assert [file.name for file in tmp_path.iterdir()] == ["run.parquet"]


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.parquet"
    path.write_text("mine")
    assert main(["run", "desktop", *SHORT, "--out", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "there already" in capsys.readouterr().err
    assert main(["run", "desktop", *SHORT, "--out", str(path), "--force"]) == 0
    assert pq.read_table(path).num_rows == 4


def test_a_trace_runs_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(RECORDED), "--memory", "128M", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["series"][-1]["tick"] == 20


def test_model_time_can_be_said_in_days(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "desktop", "--memory", "32M", "--for", "0.1m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["ticks"] == 6


def test_geometry_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--geometry", "max-order=8,pageblock-order=7,page-size=16K", "--memory", "128M", "--ticks", "2"]
    assert main(["run", "desktop", *options, "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["max_order"], settings["pageblock_order"], settings["page_size"]) == (8, 7, 16384)


@pytest.mark.slow
def test_a_recorded_machine_is_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Path(__file__).parent.parent.parent / "src" / "pageblock" / "recorded" / "guest-6.1.192"
    assert main(["run", "desktop", "--from", str(machine), "--ticks", "3", "--size", "1G", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["series"][0]["size_bytes"] == [1 << 30]
    assert told["series"][0]["free_pages"] > told["series"][-1]["free_pages"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["desktoq"], "did you mean 'desktop'?"),
        (["camera"], "needs a CMA area"),
        (["desktop", "--cma", "2G"], "does not fit"),
        (["desktop", "--geometry", "max-order=8"], "exceeds max_order 8"),
        (["desktop", "--geometry", "max-ordr=8"], "--geometry has 'max-ordr=8'"),
        (["desktop", "--geometry", "max-order=x"], "give a whole number"),
        (["desktop", "--memory", "lots"], "no amount of memory"),
        (["desktop", "--memory", "50%"], "a share of memory"),
        (["desktop", "--memory", "1K"], "at least"),
        (["desktop", "--release", "7"], "7"),
        (["desktop", "--for", "soon"], "no time"),
        (["desktop", "--for", "1h", "--ticks", "3"], "give one"),
        (["desktop", "--from", "x", "--memory", "1G"], "leave out --memory"),
        (["desktop", "--from", "/nowhere/at/all"], "/nowhere/at/all"),
        (["desktop", "--out", "/nowhere/at/all"], "no folder"),
        (["desktop", "--size", "3M"], "power of two"),
        ([str(Path(__file__))], "no trace starts with"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
