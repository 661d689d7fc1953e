"""Blockers name who allocated them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import BLOCKED, diagnose
from pageblock.machine import Snapshot, capture, read_machine
from pageblock.machine.page_owner import Owners
from pageblock.machine.snapshot_file import write_snapshot
from pageblock.mm.types import PageClass


@pytest.fixture(scope="module")
def owned() -> Snapshot:
    """The recorded machine, whose slab pages belong to one of three by their pfn."""
    snapshot = read_machine(recorded_machine())
    assert snapshot.runs is not None
    slab = [row for row in snapshot.runs.to_pylist() if row["class"] == PageClass.SLAB]
    start = np.array([row["start_pfn"] for row in slab])
    pages = np.array([row["nr_pages"] for row in slab])
    order = np.argsort(start)
    return replace(
        snapshot,
        owners=Owners(start[order], (start + pages)[order], start[order] // 777 % 3, ("a (x)", "b", "c [red]")),
    )


@pytest.mark.parametrize("nr_pages", [128, 512, 16384])
def test_holders_are_counted_by_ranges_that_they_block(owned: Snapshot, nr_pages: int) -> None:
    row = diagnose(owned, [nr_pages], ["6.1"]).rows[0]
    assert owned.owners is not None
    blocked = {
        v.first_pfn + i * nr_pages
        for v in row.zones
        for i in np.flatnonzero((v.verdict == BLOCKED) & (v.reasons >> PageClass.SLAB & 1 > 0)).tolist()
    }
    held = {
        (pfn // nr_pages * nr_pages, name) for start, end, name in owned.owners.stretches() for pfn in range(start, end)
    }
    expected = Counter(name for start, name in held if start in blocked)
    (slab,) = [b for b in row.blockers if b.reason.endswith("(slab)")]
    assert {holder.name: holder.ranges for holder in slab.holders} == dict(expected)
    assert slab.example_owner == owned.owners.of(slab.example_pfn)


def test_without_a_dump_nobody_is_named() -> None:
    row = diagnose(read_machine(recorded_machine()), [512], ["6.1"]).rows[0]
    assert [(b.holders, b.example_owner) for b in row.blockers] == [((), None)] * len(row.blockers)


@pytest.mark.slow
def test_the_answers_name_them(owned: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.parquet"
    write_snapshot(path, replace(capture.capture_machine(recorded_machine()), snapshot=owned))
    assert main(["doctor", "--from", str(path), "--size", "2M", "--release", "6.1"]) == 0
    out = capsys.readouterr().out
    assert "    allocated by " in out
    assert "c [red] in " in out
    assert main(["doctor", "--from", str(path), "--size", "2M", "--release", "6.1", "--json"]) == 0
    blockers = json.loads(capsys.readouterr().out)["sizes"][0]["blockers"]
    assert [len(b["owners"]) for b in blockers if b["reason"].endswith("(slab)")] == [3]
    main(["try", "gigantic", "--count", "6", "--from", str(path), "--release", "6.1", "--json"])
    notes = [s["note"] for s in json.loads(capsys.readouterr().out)["trials"][0]["steps"] if s["errno"]]
    assert any(note.endswith(("allocated by a (x)", "allocated by b", "allocated by c [red]")) for note in notes)
