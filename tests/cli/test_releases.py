"""``pageblock releases``."""

import json

import pytest

from pageblock.cli import main
from pageblock.mm import PLANTED, RELEASES, release


def test_every_name_is_told_and_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["releases", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["releases"]] == list(RELEASES)
    assert len(told["bugs"]) == len(PLANTED)
    for one in [*told["releases"], *told["bugs"]]:
        assert release(one["name"]).name == one["name"]
    assert [one["switch"] for one in told["faults"] if one["not_modelled"]] == ["fe"]


def test_the_table_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["releases"]) == 0
    out = capsys.readouterr().out
    assert "6.1+bug-saved-type" in out
    assert "seed-as-posted" in out
    assert "p7" in out
