"""The plain breadth-first search: real releases keep their promises, and what breaks one is found by its shortest way."""

import pytest

from pageblock.check.search import Broken, Tried, first_broken
from pageblock.check.shortest import Menu

#: Everything that the search can ask for.
ALL = Menu(nr_pages=8, within=8, depth=2, cma=True, isolation=True)


@pytest.mark.slow
@pytest.mark.parametrize("release", ["5.15", "seed", "6.1", "6.12", "6.19"])
def test_real_releases_and_the_seed_keep_their_promises(release: str) -> None:
    found = first_broken(release, ALL)
    assert isinstance(found, Tried), found
    assert found.tried > 2000


def test_the_naive_release_counts_what_it_has_not_isolated() -> None:
    found = first_broken("naive", ALL, only="NR_FREE_PAGES")
    assert isinstance(found, Broken)
    assert [step.name for step in found.operations] == ["isolate"]


def test_a_known_weakness_is_told_only_when_asked_for() -> None:
    """6.1 gives pageblocks back that another one isolated."""
    found = first_broken("6.1", ALL, weaknesses=True, only="isolation of others")
    assert isinstance(found, Broken)
    assert [step.name for step in found.operations] == ["isolate", "contig"]
