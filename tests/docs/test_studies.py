"""docs/studies/granularity and boundary: their numbers are those of the states, their pages those of their numbers."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from docs.studies import frozen
from docs.studies.boundary import answer as boundary
from docs.studies.granularity import answer as granularity
from docs.studies.pages import with_tables
from pageblock.lab.sweep import load_sweep

STUDIES = pytest.mark.parametrize("study", [granularity, boundary], ids=["granularity", "boundary"])


def stored(study: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((study.HERE / "summary.json").read_text())
    return found


@STUDIES
def test_the_page_is_made_of_the_summary(study: ModuleType) -> None:
    text = (study.HERE / "README.md").read_text()
    assert with_tables(text, study.page(stored(study))) == text


@STUDIES
@pytest.mark.slow
def test_the_states_that_are_kept_answer_as_they_did(study: ModuleType) -> None:
    assert study.cell(*study.KEPT) == stored(study)["kept"]


@STUDIES
def test_the_sweep_can_be_run(study: ModuleType) -> None:
    plan = load_sweep(study.HERE / "sweep.toml")
    assert {run.settings.release for run in plan.runs} == {
        key.removeprefix("granted_") for row in stored(study)["kept"] for key in row if key.startswith("granted_")
    }


def test_a_state_is_not_changed_by_what_is_asked() -> None:
    machine = frozen.Machine("small", 4096, 10, 9, 64 << 20, 9)
    state = frozen.state_of(Path(granularity.HERE) / "mix.toml", machine, 0, 20, "6.12")
    asked = frozen.ranges(machine, 1 << 20, 4096, 40, 0)
    first, second = (frozen.ask(machine, "5.15", state, asked) for _ in range(2))
    assert (first.ends == second.ends).all()
    assert (first.moved == second.moved).all()
    assert first.moved.sum() > 0


def test_ranges_are_aligned_and_inside() -> None:
    machine = frozen.Machine("small", 4096, 10, 9, 64 << 20, 9)
    found = frozen.ranges(machine, 2 << 20, 1 << 20, 1000, 1)
    assert len(found) == 63
    assert all(start % 256 == 0 and end - start == 512 and end <= machine.nr_pages for start, end in found)
