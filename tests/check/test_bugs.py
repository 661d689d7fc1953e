"""Every mistake of history is found, by its invariant, and the release without it keeps the same promise."""

import pytest

from pageblock.check.bugs import BUGS, FUZZED, WEAKNESSES, bug_of, hunt
from pageblock.check.invariants import base_of
from pageblock.check.search import Broken, Tried, first_broken
from pageblock.cli import main
from pageblock.mm import FAULTS, PLANTED

#: Bug -> the names of the operations of its shortest sequence, and the invariants that it breaks.
FOUND = {
    "naive": (["isolate"], ["NR_FREE_PAGES"]),
    "seed-p1": (["cma", "alloc"], ["kept apart"]),
    "seed+fa": (["contig"], ["nr_isolate_pageblock"]),
    "seed+fb": (["interrupted"], ["isolation ends", "isolated list", "kept apart", "NR_FREE_PAGES"]),
    "seed+fc": (["contig"], ["NR_FREE_PAGES"]),
    "seed+fd": (["alloc", "contig"], ["a free range is granted"]),
    "seed+ff": (["contig"], ["NR_FREE_PAGES"]),
    "seed+fg": (["alloc", "interrupted"], ["types of the request"]),
    "6.1+bug-merges-isolated": (["contig"], ["NR_FREE_PAGES"]),
    "6.1+bug-merges-cma": (["cma", "alloc"], ["kept apart"]),
    "6.1+bug-uncounted-split": (["contig"], ["NR_FREE_PAGES"]),
    "6.1+bug-misaligned-split": (["contig"], ["no BUG"]),
    "6.1+bug-isolated-twice": (["contig"], ["a free range is granted"]),
    "6.1+bug-saved-type": (["cma", "contig"], ["CMA stays CMA"]),
    "6.1+bug-tail-size": (["gigantic", "contig"], ["no BUG"]),
}


def test_every_fault_and_every_planted_bug_has_its_row() -> None:
    assert [bug.release for bug in BUGS] == list(FOUND)
    assert {f"seed+f{letter}" for letter, fault in FAULTS.items() if not fault.not_modelled} <= set(FOUND)
    assert {f"{bug.base}+bug-{name}" for name, bug in PLANTED.items()} <= set(FOUND)


@pytest.mark.parametrize("release", FOUND)
def test_the_bug_is_found_by_its_invariant(release: str) -> None:
    done = hunt(bug_of(release))
    assert isinstance(done.found, Broken)
    steps = [step.name for step in done.found.operations]
    assert (steps, [violation.invariant for violation in done.found.violations]) == FOUND[release]


@pytest.mark.parametrize("release", FOUND)
def test_the_explorer_finds_what_it_can_reach(release: str) -> None:
    explored = hunt(bug_of(release)).explored
    if bug_of(release).operations:
        assert explored is not None
        assert explored.broken is not None
    else:
        assert explored is None


@pytest.mark.parametrize("release", sorted({base_of(release) for release in FOUND} - {"naive"}))
def test_without_the_bug_nothing_is_found_there(release: str) -> None:
    """All the worlds of the table, one operation fewer than the deepest sequence needs."""
    for bug in BUGS:
        if base_of(bug.release) == release and bug.menu.depth == 2 and bug.menu.nr_pages == 8:
            assert isinstance(first_broken(release, bug.menu), Tried)


@pytest.mark.parametrize("bug", WEAKNESSES, ids=lambda bug: bug.release)
def test_a_known_weakness_is_no_breach_of_a_promise(bug: object) -> None:
    found = next(one for one in WEAKNESSES if one == bug)
    assert isinstance(hunt(found).found, Broken)
    promised = first_broken(found.release, found.menu, only=found.only)
    assert isinstance(promised, Tried)


@pytest.mark.slow
@pytest.mark.parametrize("release", FUZZED)
def test_the_fuzzer_finds_what_the_explorer_does_not_reach(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = bug_of(release).fuzzed.split()[1:]
    assert main([*command, "--ops", "10000", "--jobs", "1", "--no-shrink"]) == 1
    assert "DIFFERENCE" in capsys.readouterr().out
