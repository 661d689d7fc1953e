"""``pageblock fit``: the distances, and the workload that it writes."""

import json
from pathlib import Path

import pytest

from pageblock.cli import main
from pageblock.lab.workload import load_workload

pytest.importorskip("scipy")

QUICK = ["--trials", "10", "--ticks", "4", "--memory", "32M"]


@pytest.fixture
def machine(shared: Path) -> str:
    return str(shared / "machines" / "jmr540")


def test_a_fit_is_told_and_written(machine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    assert main(["fit", machine, *QUICK, "--held-back", machine, "--out", str(path)]) == 0
    out = capsys.readouterr().out
    assert "the fitted workload" in out
    assert "a machine out of boot" in out
    assert f"the workload to {machine}" in " ".join(out.split())
    assert load_workload(path).name == "mine"
    assert main(["run", str(path), "--memory", "32M", "--ticks", "4"]) == 0


def test_json_has_the_workload_and_every_distance(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", machine, *QUICK, "--json", "--release", "5.15"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"]["release"] == "5.15"
    assert set(told["distances"]) == {"free_lists_tv", "free_order_emd", "pageblock_types_tv", "free_memory", "mean"}
    assert all(0 <= value <= 1 for value in told["distances"].values())
    assert "[[actor]]" in told["workload"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["/nowhere"], "/nowhere"), (["MACHINE", "--memory", "x"], "no amount"), (["MACHINE", "--release", "9"], "9")],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, machine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *(machine if argument == "MACHINE" else argument for argument in arguments)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
