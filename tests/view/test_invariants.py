"""docs/invariants.md is made of the invariants' own words."""

from pathlib import Path

from pageblock.check.effects import EFFECTS
from pageblock.check.invariants import INVARIANTS
from pageblock.view.invariants import markdown


def test_docs_invariants_is_not_stale() -> None:
    stored = Path(__file__).parents[2] / "docs" / "invariants.md"
    assert stored.read_text() == markdown(), "run make docs"


def test_every_invariant_has_one_row_of_four_cells() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| ")]
    for invariant in (*INVARIANTS, *EFFECTS):
        (row,) = (line for line in rows if line.startswith(f"| {invariant.name} |"))
        assert row.count("|") == 5
