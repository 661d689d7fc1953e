"""Every mistake of history is found by the plain search, by its invariant; the release without it keeps the same promise."""

import pytest

from pageblock.check.invariants import base_of
from pageblock.check.search import Broken, Tried, first_broken
from pageblock.check.shortest import Menu
from pageblock.mm import FAULTS, PLANTED

#: Four pageblocks of two pages, two to a max order block; with four to one; with CMA areas, isolation, gigantic pages.
SMALL = Menu(nr_pages=8, depth=2)
LARGE = Menu(max_order=3, depth=2)
CMA = Menu(nr_pages=8, depth=2, cma=True)
ISOLATION = Menu(nr_pages=8, depth=2, isolation=True)
GIGANTIC = Menu(depth=2, gigantic=True)

#: Bug -> the small world, the operations of its shortest sequence, and the invariants that it breaks.
FOUND = {
    "naive": (ISOLATION, ["isolate"], ["NR_FREE_PAGES"]),
    "seed-p1": (CMA, ["cma", "alloc"], ["kept apart"]),
    "seed+fa": (SMALL, ["contig"], ["nr_isolate_pageblock"]),
    "seed+fb": (SMALL, ["interrupted"], ["isolation ends", "isolated list", "kept apart", "NR_FREE_PAGES"]),
    "seed+fc": (SMALL, ["contig"], ["NR_FREE_PAGES"]),
    "seed+fd": (SMALL, ["alloc", "contig"], ["a free range is granted"]),
    "seed+ff": (LARGE, ["contig"], ["NR_FREE_PAGES"]),
    "seed+fg": (SMALL, ["alloc", "interrupted"], ["types of the request"]),
    "6.1+bug-merges-isolated": (SMALL, ["contig"], ["NR_FREE_PAGES"]),
    "6.1+bug-merges-cma": (CMA, ["cma", "alloc"], ["kept apart"]),
    "6.1+bug-uncounted-split": (SMALL, ["contig"], ["NR_FREE_PAGES"]),
    "6.1+bug-misaligned-split": (LARGE, ["contig"], ["no BUG"]),
    "6.1+bug-isolated-twice": (SMALL, ["contig"], ["a free range is granted"]),
    "6.1+bug-saved-type": (CMA, ["cma", "contig"], ["CMA stays CMA"]),
    "6.1+bug-tail-size": (GIGANTIC, ["gigantic", "contig"], ["no BUG"]),
}


def test_every_fault_and_every_planted_bug_has_its_row() -> None:
    assert {f"seed+f{letter}" for letter, fault in FAULTS.items() if not fault.not_modelled} <= set(FOUND)
    assert {f"{bug.base}+bug-{name}" for name, bug in PLANTED.items()} <= set(FOUND)


@pytest.mark.parametrize("release", FOUND)
def test_the_bug_is_found_by_its_invariant(release: str) -> None:
    menu, steps, invariants = FOUND[release]
    # of naive, whose refusals come first, the count is looked for: the seed, S1
    found = first_broken(release, menu, only="NR_FREE_PAGES" if release == "naive" else None)
    assert isinstance(found, Broken)
    assert [step.name for step in found.operations] == steps
    assert [violation.invariant for violation in found.violations] == invariants


@pytest.mark.slow
@pytest.mark.parametrize("menu", [SMALL, LARGE, CMA, ISOLATION, GIGANTIC])
@pytest.mark.parametrize("release", sorted({base_of(release) for release in FOUND} - {"naive"}))
def test_without_the_bug_nothing_is_found_there(release: str, menu: Menu) -> None:
    assert isinstance(first_broken(release, menu), Tried)


@pytest.mark.parametrize("release", ["6.1", "6.12", "6.19"])
def test_a_known_weakness_is_no_breach_of_a_promise(release: str) -> None:
    """A refused request un-isolates pageblocks that another one isolated."""
    told = first_broken(release, ISOLATION, weaknesses=True, only="isolation of others")
    assert isinstance(told, Broken)
    assert [step.name for step in told.operations] == ["isolate", "contig"]
