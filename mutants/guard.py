"""What runs inside the child processes: the right package, bounded memory, and notes on what it was doing."""

import importlib
import os
import resource
from pathlib import Path

import pytest

from .build import NUMBER

__all__ = ["NOTES", "TREE", "check_package", "note"]

TREE, NOTES = "MUTANTS_TREE", "MUTANTS_NOTES"
#: Bytes; a mutation may loop and log without end.
MEMORY = 4 << 30


def check_package() -> None:
    """Stop unless it is the compiled mutant that runs, and the right one."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import pageblock

    core = importlib.import_module("pageblock.mm._core")

    here = Path(pageblock.__file__).resolve().parents[1]
    if here != Path(os.environ[TREE]).resolve() or core.mutant_number() != int(os.environ[NUMBER]):
        raise SystemExit(f"not mutant {os.environ[NUMBER]}, but the package in {here}")


def note(kind: str, text: str) -> None:
    with Path(os.environ[NOTES]).open("a") as file:
        file.write(f"{kind} {text}\n")


def pytest_configure() -> None:
    check_package()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that state one rule each come first: they are fast, and they name the rule."""
    items.sort(key=lambda item: not item.path.name.startswith("test_rules_"))


def pytest_runtest_logstart(nodeid: str) -> None:
    note("start", nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        note("failed", report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        note("failed", report.nodeid)
