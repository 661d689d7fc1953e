"""The shortest sequences that go wrong: each switch of the seed's series has its consequence, and the series itself has none.

What the search says is run again on zones of its own, by the public methods, so that the search cannot flatter itself.
"""

from functools import cache

import pytest

from pageblock import KernelBugError, Migratetype, PageClass, Zone
from pageblock.check.shortest import SYMPTOMS, Found, Menu, Operation, boot, consequences
from pageblock.errors import ContigRefused, InvariantError, ReleaseError
from pageblock.lab.series import SEED, WORLDS
from pageblock.mm import PATCHES
from pageblock.mm import release as find_release

#: Switch -> (the symptom, after how many operations, the first world that shows it). From recorded.md of the seed: what the
#: posted patch did on a running kernel, in as few steps as the rules allow.
CONSEQUENCES = {
    "seed-p1": [("mixed", 1), ("drift", 2)],
    "seed-p3": [("busy", 2)],
    "seed-p4": [("retyped", 2)],
    "seed+fa": [("count", 1), ("list", 2)],
    "seed+fb": [("drift", 1), ("list", 1), ("mixed", 1), ("isolated", 1), ("busy", 2)],
    "seed+fc": [("drift", 1), ("bug", 2)],
    "seed+fd": [("busy", 2)],
    "seed+ff": [("drift", 1)],
    "5.15": [("mixed", 1), ("busy", 2)],
    "seed-as-posted": [
        ("drift", 1),
        ("list", 1),
        ("count", 1),
        ("mixed", 1),
        ("isolated", 1),
        ("bug", 2),
        ("busy", 2),
    ],
}


@cache
def found_by(release: str) -> tuple[tuple[Found, ...], Menu]:
    for world in WORLDS[:2]:
        found = consequences(release, SEED, world)
        if found:
            return found, world
    return (), WORLDS[1]


@pytest.mark.parametrize("release", CONSEQUENCES)
def test_each_switch_has_its_symptoms(release: str) -> None:
    found, _ = found_by(release)
    assert [(one.symptom.name, len(one.operations)) for one in found] == CONSEQUENCES[release]


@pytest.mark.slow
def test_fault_g_takes_three_operations() -> None:
    """A failed request gives the pageblock beside it its own type: one page in it, one that makes the request fail."""
    assert not consequences("seed+fg", SEED, Menu())
    (found,) = consequences("seed+fg", SEED, Menu(depth=3))
    assert found.symptom.name == "retyped"
    assert [step.name for step in found.operations] == ["alloc", "alloc", "contig"]


@pytest.mark.parametrize(
    ("release", "symptom"), [(release, name) for release, names in CONSEQUENCES.items() for name, _ in names]
)
def test_the_sequence_goes_wrong_when_it_is_run_again(release: str, symptom: str) -> None:
    found, world = found_by(release)
    one = next(one for one in found if one.symptom.name == symptom)
    assert symptom in run_again(release, world, one.operations)
    assert symptom not in run_again(SEED, world, one.operations)


def run_again(release: str, world: Menu, operations: tuple[Operation, ...]) -> set[str]:
    """The symptoms that the public methods show after these operations."""
    area = next(((step.start_pfn, step.start_pfn + step.nr_pages) for step in operations if step.name == "cma"), None)
    zone = boot(release, world, area)
    before = zone.pageblock_types
    seen: set[str] = set()
    step = operations[0]
    for step in operations:
        before = zone.pageblock_types
        zone.set_signal_pending(step.name == "interrupted")
        end = step.start_pfn + step.nr_pages
        try:
            if step.name == "alloc":
                kernel = step.migratetype == Migratetype.UNMOVABLE
                zone.alloc(step.order, step.migratetype, PageClass.KERNEL if kernel else None)
            elif step.name in ("contig", "interrupted"):
                zone.alloc_contig_range(step.start_pfn, end)
        except ContigRefused as refusal:
            if step.name == "contig" and refusal.errno == 16:
                seen.add("busy")
        except KernelBugError:
            seen.add("bug")
    return seen | symptoms_of(zone, before, step, world)


def symptoms_of(zone: Zone, before: list[int], last: Operation, world: Menu) -> set[str]:
    seen: set[str] = set()
    try:
        zone.check()
    except InvariantError as error:
        counters = {"NR_FREE_PAGES": "drift", "NR_FREE_CMA_PAGES": "drift", "nr_isolate_pageblock": "count"}
        seen.add(counters.get(error.invariant, "list"))
    types = zone.pageblock_types.tolist()
    if Migratetype.ISOLATE in types:
        seen.add("isolated")
    size = 1 << world.pageblock_order
    for i, (was, now) in enumerate(zip(before, types, strict=True)):
        asked = last.start_pfn < (i + 1) * size and i * size < last.start_pfn + last.nr_pages
        if was != now and now != Migratetype.ISOLATE and not asked and last.name == "contig":
            seen.add("retyped")
    blocks = 1 << (world.max_order - world.pageblock_order)
    for migratetype in Migratetype:
        for pfn in zone.free_list(world.max_order, migratetype).tolist():
            covered = set(types[pfn // size : pfn // size + blocks])
            if len(covered) > 1 and covered & {Migratetype.CMA, Migratetype.ISOLATE}:
                seen.add("mixed")
    return seen


def test_the_series_has_no_symptom_that_it_does_not_have_itself() -> None:
    assert consequences(SEED, SEED, Menu(cma=True)) == ()


def test_patch_2_changes_no_rule_and_fault_e_needs_a_second_cpu() -> None:
    assert find_release("seed-p2").rules == find_release("seed").rules
    assert PATCHES[2].not_modelled
    with pytest.raises(ReleaseError, match="one CPU"):
        find_release("seed+fe")


def test_the_naive_release_drifts_after_one_isolation() -> None:
    """S1: only the head of a free page decides; its second pageblock goes with it, or stays behind."""
    found = consequences("naive", "5.15", Menu(isolation=True, depth=1))
    drift = next(one for one in found if one.symptom.name == "drift")
    assert [step.name for step in drift.operations] == ["isolate"]
    assert "drift -2" in drift.symptom.detail


def test_every_symptom_has_its_words() -> None:
    assert {name for names in CONSEQUENCES.values() for name, _ in names} <= set(SYMPTOMS)
