"""``pageblock series`` as a person or a script calls it."""

import json
import re
from pathlib import Path

import pytest

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine


def test_a_machine_without_kpageflags_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zoneinfo").write_text((recorded_machine() / "zoneinfo").read_text())
    assert main(["series", "--from", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"pageblock: .*kpageflags.*\n", err)


def test_a_folder_that_is_not_there_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["series", "--from", "/no/such/folder"]) == 2
    assert re.fullmatch(r"pageblock: .*no such folder.*\n", capsys.readouterr().err)


@pytest.mark.slow
def test_json_has_a_row_for_each_switch(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    assert main(["series", "--json", "--from", str(shared / "machines" / "zynq-256M-kpageflags")]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 16
    fault_d = next(row for row in rows if row["switch"] == "fault d on")
    assert fault_d["found"][0]["symptom"]["name"] == "busy"
    assert fault_d["inside"]["ranges"] == fault_d["inside"]["granted"] + fault_d["inside"]["refused"]
