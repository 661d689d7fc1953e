"""The explorer against an independent search: the same states, counted by the public methods of a zone in plain Python."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pageblock import Migratetype, PageClass, Zone
from pageblock.check.explorer import Bounds, Exploration, expand, explore
from pageblock.check.explorer import codes as codes_module
from pageblock.check.explorer import step as step_module
from pageblock.check.explorer.explore import Search
from pageblock.check.explorer.promises import promised
from pageblock.check.explorer.trace_out import trace_text
from pageblock.consumers.cma import CmaArea
from pageblock.errors import PageblockError
from pageblock.lab import replay
from pageblock.mm import release as find_release
from pageblock.view.explore import promise_table

#: The functions of mm/ by the names that the explorer calls them by.
step = vars(step_module)

RELEASES = ("5.15", "seed", "6.1", "6.12", "6.19")


class Walk:
    """A plain breadth-first search. A state is reached by doing its sequence from boot; nothing is shared with the explorer.

    Pages of a range are told apart from others by who holds them: (kind, first page) a handle.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.b = bounds
        self.block = 1 << bounds.pageblock_order
        self.window = 1 << max(bounds.max_order, bounds.pageblock_order)
        self.unit = 1 << bounds.unit_order

    def at(self, sequence: tuple[Any, ...]) -> tuple[Zone, CmaArea | None, dict[int, str]]:
        zone = self.b.boot()
        area = None
        if self.b.area is not None:
            area = CmaArea(zone, self.b.area[0], self.b.area[1] - self.b.area[0])
        held: dict[int, str] = {}
        for i, operation in enumerate(sequence):
            self.do(zone, area, held, operation, i)
        return zone, area, held

    def do(self, zone: Zone, area: CmaArea | None, held: dict[int, str], operation: Any, handle: int) -> None:
        name, *numbers = operation
        try:
            if name == "alloc":
                order, mt = numbers
                page_class = PageClass.MOVABLE_OPS if mt == Migratetype.MOVABLE else PageClass.KERNEL
                zone.alloc(order, mt, page_class, compound=order > 0, owner=handle)
                held[handle] = "block"
            elif name == "contig":
                start, count = numbers
                zone.alloc_contig_range(start, start + count, owner=handle)
                held[handle] = "range"
            elif name == "cma":
                assert area is not None
                if area.alloc(numbers[0], owner=handle).pfn is not None:
                    held[handle] = "cma"
            elif name == "isolate":
                zone.start_isolate_page_range(numbers[0], numbers[0] + self.unit)
            elif name == "undo":
                zone.undo_isolate_page_range(numbers[0], numbers[0] + self.unit)
            else:
                kind = held.pop(numbers[0])
                pfns = self.pages_of(zone, numbers[0])
                if kind == "block":
                    zone.free(pfns[0])
                elif kind == "range":
                    zone.free_contig_range(pfns[0], len(pfns))
                else:
                    assert area is not None
                    area.release(pfns[0], len(pfns))
        except PageblockError:
            pass

    def pages_of(self, zone: Zone, handle: int) -> list[int]:
        return [
            pfn for pfn in range(self.b.nr_pages) if (page := zone.page(pfn)).owner == handle and page.head_pfn == pfn
        ]

    def menu(self, zone: Zone, held: dict[int, str]) -> list[Any]:
        found: list[Any] = []
        types = zone.pageblock_types.tolist()
        isolated = {i * self.block // self.unit for i, mt in enumerate(types) if mt == Migratetype.ISOLATE}
        if len(held) < self.b.requests:
            found += [("alloc", order, mt) for order in range(self.b.max_order + 1) for mt in self.b.types]
            if "contig" in self.b.operations:
                for count in {1, self.block, 1 << self.b.max_order}:
                    for start in range(self.b.nr_pages - count + 1):
                        if self.b.across or start // self.window == (start + count - 1) // self.window:
                            found.append(("contig", start, count))
            if self.b.area is not None:
                found += [("cma", count) for count in {1, self.block}]
        found += [("free", handle) for handle in held]
        if "isolate" in self.b.operations:
            for unit in range(self.b.nr_pages // self.unit):
                if len(isolated) < self.b.isolations or unit in isolated:
                    found.append(("isolate", unit * self.unit))
                if unit in isolated:
                    found.append(("undo", unit * self.unit))
        return found

    def key(self, zone: Zone, held: dict[int, str]) -> Any:
        """Everything that a rule can read, windows in any order: the least of all exchanges."""
        pages = []
        for pfn in range(self.b.nr_pages):
            page = zone.page(pfn)
            kind = "free" if page.owner is None else held[page.owner]
            first = page.owner is not None and pfn == self.pages_of(zone, page.owner)[0]
            is_head = page.head_pfn == pfn
            pages.append((is_head, page.order if is_head else 0, int(page.page_class), kind, first) if is_head else ())
        types = zone.pageblock_types.tolist()
        lists = [
            (order, int(mt), zone.free_list(order, mt).tolist())
            for order in range(self.b.max_order + 1)
            for mt in Migratetype
        ]
        beneath = zone.saved_state()["beneath"].tolist() if self.b.release == "6.19" else [0] * len(types)
        beneath = [b if t == Migratetype.ISOLATE else 0 for b, t in zip(beneath, types, strict=True)]
        counters = (zone.nr_free_pages, zone.nr_free_cma_pages, zone.nr_isolate_pageblock)
        blocks = self.window // self.block
        folded = self.b.nr_folded
        rest = list(range(folded, -(-self.b.nr_pages // self.window)))
        keys = []
        for order in permutations(range(folded)):
            at = [*order, *rest]
            place = {w: i for i, w in enumerate(at)}
            keys.append(
                repr(
                    (
                        [pages[w * self.window : (w + 1) * self.window] for w in at],
                        [(types[w * blocks : (w + 1) * blocks], beneath[w * blocks : (w + 1) * blocks]) for w in at],
                        [
                            (o, mt, [place[p // self.window] * self.window + p % self.window for p in pfns])
                            for o, mt, pfns in lists
                        ],
                        counters,
                    )
                )
            )
        return min(keys)

    def count(self) -> tuple[int, int]:
        """States and transitions up to the bounds' depth; the last level is counted and not followed."""
        assert self.b.depth is not None
        seen = {self.key(*self.zone_and_held(()))}
        level: list[tuple[Any, ...]] = [()]
        transitions = 0
        for _ in range(self.b.depth):
            following: list[tuple[Any, ...]] = []
            for sequence in level:
                zone, _, held = self.at(sequence)
                for operation in self.menu(zone, held):
                    transitions += 1
                    longer = (*sequence, operation)
                    key = self.key(*self.zone_and_held(longer))
                    if key not in seen:
                        seen.add(key)
                        following.append(longer)
            level = following
        return len(seen), transitions

    def zone_and_held(self, sequence: tuple[Any, ...]) -> tuple[Zone, dict[int, str]]:
        zone, _, held = self.at(sequence)
        return zone, held


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("fold", [True, False])
def test_the_states_are_those_of_a_plain_search(release: str, fold: bool) -> None:
    bounds = Bounds(release, 8, depth=2, fold=fold)
    done = explore(bounds, jobs=1)
    assert (done.states, done.transitions) == Walk(bounds).count()


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_with_a_cma_area_too(release: str) -> None:
    bounds = Bounds(release, 12, operations=("alloc", "isolate", "contig", "cma"), types=(1,), depth=2)
    done = explore(bounds, jobs=1)
    assert (done.states, done.transitions) == Walk(bounds).count()


@pytest.mark.slow
def test_three_windows_exchange_six_ways() -> None:
    bounds = Bounds("6.1", 12, operations=("alloc", "isolate"), types=(0,), depth=3)
    done = explore(bounds, jobs=1)
    assert (done.states, done.transitions) == Walk(bounds).count()


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_ranges_across_windows(release: str) -> None:
    bounds = Bounds(release, 8, operations=("alloc", "contig"), types=(1,), depth=2, across=True)
    assert explore(bounds, jobs=1).states == Walk(bounds).count()[0]


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_an_exchange_of_windows_changes_no_verdict(release: str) -> None:
    """The same promises hold, and each exchange was counted: two windows, so at most twice the states."""
    folded, plain = (explore(Bounds(release, 8, requests=2, fold=fold), jobs=1) for fold in (True, False))
    assert folded.exhausted
    assert plain.exhausted
    assert folded.broken == plain.broken is None
    # the exchanged twin of a state may take more operations
    assert folded.depth <= plain.depth
    assert folded.states < plain.states <= 2 * folded.states
    assert (folded.weak == 0) == (plain.weak == 0)


@pytest.mark.parametrize("fold", [True, False])
def test_the_naive_release_has_the_bug_that_the_seed_is_about(fold: bool) -> None:
    done = explore(Bounds("naive", fold=fold), jobs=1)
    assert done.broken is not None
    assert done.sequence is not None
    assert done.broken[0] == "NR_FREE_PAGES"
    assert [step.words() for step in done.sequence.steps] == [
        "isolate [2, 4)",
        "allocate order 0 MOVABLE",
        "undo isolation of [2, 4)",
    ]
    assert (done.sequence.steps[-1].free, done.sequence.steps[-1].listed) == (17, 15)
    assert set(done.sequence.elsewhere.values()) == {"clean"}


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_releases_keep_their_promises_in_every_state_of_eight_pages(release: str) -> None:
    done = explore(Bounds(release, 8, requests=3), jobs=2)
    assert done.exhausted
    assert done.broken is None


@pytest.mark.slow
@pytest.mark.parametrize("release", ["6.1", "naive"])
def test_two_workers_find_what_one_finds(release: str) -> None:
    one, two = (explore(Bounds(release, 16, depth=7), jobs=jobs) for jobs in (1, 2))
    assert one.broken == two.broken
    assert len(one.sequence.steps if one.sequence else ()) == len(two.sequence.steps if two.sequence else ())
    if one.broken is None:
        assert (one.states, one.transitions, one.weak) == (two.states, two.transitions, two.weak)


@pytest.mark.slow
def test_a_frontier_on_disk_changes_nothing() -> None:
    bounds = Bounds("6.1", 16, depth=11)
    roomy, tight = explore(bounds, jobs=2), explore(bounds, jobs=2, memory=16 << 20)
    assert (roomy.states, roomy.transitions, roomy.stopped) == (tight.states, tight.transitions, tight.stopped)


@pytest.mark.slow
def test_without_memory_for_fingerprints_it_ends_and_says_so() -> None:
    done = explore(Bounds("6.1", 16), jobs=1, memory=1 << 20)
    assert (done.stopped, done.exhausted) == ("memory", False)
    assert done.states > 1000


def test_a_known_weakness_is_told_apart_from_a_broken_promise() -> None:
    done = explore(Bounds("6.1", 8, depth=3), jobs=1)
    assert done.broken is None
    assert done.weak > 0
    assert done.weak_sequence is not None
    assert [step.words() for step in done.weak_sequence.steps] == ["isolate [0, 2)", "alloc_contig_range [0, 1)"]
    assert explore(Bounds("seed", 8, depth=3), jobs=1).weak == 0


def test_held_to_more_than_it_promises_a_release_breaks_it() -> None:
    held = promised(find_release("6.1")) | codes_module.HOLDS_KEPT
    done = explore(Bounds("6.1", 8, promises=held), jobs=1)
    assert done.broken is not None
    assert done.broken[0] == "kept isolated"


#: Release, bounds, what is broken: a trace of it must part at what was promised.
BROKEN = {
    "naive": (Bounds("naive"), "NR_FREE_PAGES"),
    "naive-cma": (Bounds("naive", operations=("alloc", "contig", "cma")), "NR_FREE_CMA_PAGES"),
    "plain-blocks": (Bounds("6.1", plain=True), "isolated list"),
    "boot": (Bounds("naive", operations=("alloc", "cma"), promises=promised(find_release("seed"))), "mixed"),
    "neighbours": (Bounds("6.1", 8, isolations=2), "isolated list"),
    "kept": (Bounds("6.1", 8, promises=promised(find_release("seed"))), "kept isolated"),
    "posted": (Bounds("seed-as-posted"), ""),
    "fa": (Bounds("seed+fa"), ""),
    "fb": (Bounds("seed+fb", operations=("alloc", "contig", "interrupt")), "left isolated"),
    "fc": (Bounds("seed+fc"), ""),
    "ff": (Bounds("seed+ff", max_order=3), "NR_FREE_PAGES"),
    "fg": (Bounds("seed+fg", max_order=3, lengths=(1, 2)), "types beside"),
    "p4": (Bounds("seed-p4", promises=promised(find_release("seed"))), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_trace_of_a_violation_parts_in_a_replay(name: str, tmp_path: Path) -> None:
    bounds, promise = BROKEN[name]
    done: Exploration = explore(bounds, jobs=1)
    assert done.broken is not None
    assert done.sequence is not None
    assert promise in ("", done.broken[0])
    path = tmp_path / "found.txt"
    path.write_text(trace_text(bounds, done.sequence))
    result = replay(path)
    assert result.divergence is not None
    assert result.operations == len(done.sequence.steps)


def test_a_pageblock_of_the_area_that_is_cma_no_longer_is_a_breach() -> None:
    bounds = Bounds("6.1", operations=("alloc", "cma"), promises=codes_module.HOLDS_AREA)
    explorer = Search(bounds, 1, 1 << 30).new_explorer()
    state = bounds.boot().saved_state()
    record = bytearray(explorer.load(state["arrays"], state["counters"])[0])
    explorer.enter(bytes(record))
    assert explorer.judge() == 0
    # the types follow the bytes and the lists of the pages
    record[2 * bounds.nr_pages + bounds.nr_pages // 2 - 1] = Migratetype.MOVABLE
    explorer.enter(bytes(record))
    assert explorer.judge() == codes_module.BREACH_AREA


def test_the_numbers_shared_with_the_compiled_rooms_are_equal() -> None:
    folder = Path(codes_module.__file__).parent
    told = (folder / "codes.pxd").read_text().partition("cdef enum:")[2]
    theirs = {line.split(" = ")[0].strip(): int(line.split(" = ")[1], 0) for line in told.splitlines() if " = " in line}
    mine = {name: value for name, value in vars(codes_module).items() if name.isupper()}
    assert theirs == mine


def test_the_table_of_promises_in_the_documentation_is_this_one() -> None:
    document = Path(__file__).parents[2] / "docs" / "check.md"
    assert promise_table(("naive", "5.15", "seed", "6.1", "6.12", "6.19")) in document.read_text(), (
        "write view.explore.promise_table() into docs/check.md"
    )


class Hand:
    """The explorer's plain Python form in the boot state of some bounds: operation by operation."""

    def __init__(self, bounds: Bounds) -> None:
        rules = np.array(find_release(bounds.release).rules, np.uint32)
        self.rows = {tuple(row): i for i, row in enumerate(bounds.table().tolist())}
        self.explorer = expand.Explorer(
            bounds.nr_pages, bounds.max_order, bounds.pageblock_order, rules, bounds.table(), (3, 5)
        )
        self.explorer.settle(**bounds.settings())
        state = bounds.boot().saved_state()
        self.explorer.enter(self.explorer.load(state["arrays"], state["counters"])[0])

    def act(self, what: int, first: int, second: int = 0) -> int:
        """Do an operation: the promise that it breaks."""
        return int(self.explorer.act(self.rows[what, first, second])[1])


def but_the_last(free: Any) -> Any:
    """A free_contig_range that forgets the last page."""
    return lambda zone, start, end: free(zone, start, end - 1)


def test_a_page_that_is_not_given_back_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in a block of its own, so that no gap shows it."""
    hand = Hand(Bounds(release="6.1"))
    assert hand.act(codes_module.DO_CONTIG, 0, 2) == codes_module.BREACH_NONE
    monkeypatch.setitem(step, "free_contig_range", but_the_last(step["free_contig_range"]))
    assert hand.act(codes_module.DO_FREE_CONTIG, 0) == codes_module.BREACH_LOST


@pytest.mark.parametrize("answer", [0, -16])
def test_a_range_that_takes_a_page_more_loses_it(monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    hand = Hand(Bounds(release="6.1"))
    take = step["alloc_contig_range"]

    def more(zone: Any, start: int, end: int, *rest: Any) -> int:
        assert take(zone, start, end + 1, *rest) == 0
        return answer

    monkeypatch.setitem(step, "alloc_contig_range", more)
    assert hand.act(codes_module.DO_CONTIG, 0, 2) == codes_module.BREACH_LOST


def test_a_block_that_is_smaller_than_granted_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand(Bounds(release="6.1"))
    alloc = step["alloc_pages"]
    monkeypatch.setitem(step, "alloc_pages", lambda zone, order, *rest: alloc(zone, max(0, order - 1), *rest))
    assert hand.act(codes_module.DO_ALLOC, 1, int(Migratetype.MOVABLE)) == codes_module.BREACH_LOST


@pytest.mark.parametrize(("pages", "max_order"), [(10, 3), (12, 3), (20, 4), (24, 4)])
def test_a_window_that_reaches_out_of_the_zone_is_refused_rightly(pages: int, max_order: int) -> None:
    """5.15 isolates whole windows, and finds no memory behind the zone's end."""
    done = explore(Bounds(release="5.15", nr_pages=pages, max_order=max_order, depth=3), jobs=1)
    assert done.broken is None
