"""docs/bugs.md: every planted bug is found, and as the table says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pageblock.mm.release import FAULTS, PLANTED

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bugs = load("bugs")


def test_every_planted_bug_has_a_row() -> None:
    named = {bug.release for bug in bugs.BUGS}
    assert {f"{one.base}+bug-{name}" for name, one in PLANTED.items()} <= named
    # e takes an interrupt at one place
    assert {f"seed+f{letter}" for letter in FAULTS} - named == {"seed+fe"}
    assert "naive" in named


@pytest.mark.slow
def test_the_table_is_what_is_found_now() -> None:
    text = (DOCS / "bugs.md").read_text()
    assert bugs.rewritten(text) == text
