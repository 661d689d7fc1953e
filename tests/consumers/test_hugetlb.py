"""Gigantic huge pages: nr_hugepages, where pages come from and go to. Source: mm/hugetlb.c."""

import random
from pathlib import Path

import pytest

from pageblock import Migratetype, PageClass, Zone
from pageblock.consumers.cma import CmaArea
from pageblock.consumers.cma_boot import CmaBoot, Memblock
from pageblock.consumers.hugetlb import HugetlbPool, gigantic_order, hugetlb_cma_reserve
from pageblock.machine import read_machine
from pageblock.machine.zones import snapshot_memory
from pageblock.mm.errors import UsageError
from pageblock.mm.geometry import Geometry
from pageblock.mm.memory import Member, Memory
from tests.doctor.test_truth import kernel_answers

MIB, GIB = 1 << 20, 1 << 30
GEOMETRY = Geometry(1, 0, 10, 9, 4096, None)
RELEASES = ["5.15", "seed", "6.1", "6.1-vanilla", "6.12", "6.19"]
ORDER = 12
SIZE = 1 << ORDER


def memory(release: str = "6.1", nodes: int = 1, pages: int = 4) -> Memory:
    """Nodes with a free zone of so many aligned ranges of order 12."""
    zones = [Zone(pages * SIZE, release, start_pfn=n * pages * SIZE) for n in range(nodes)]
    return Memory([Member(zone, n, "Normal") for n, zone in enumerate(zones)])


def check(of: Memory) -> None:
    for member in of.members:
        member.zone.check()


def free_pages(of: Memory) -> int:
    return sum(member.zone.nr_free_pages + member.zone.nr_pcp_pages for member in of.members)


def test_sizes() -> None:
    """hstate_is_gigantic: above max order."""
    assert gigantic_order(GIB, GEOMETRY) == 18
    assert gigantic_order(32 * MIB, GEOMETRY) == 13
    # arm64 with pages of 64 KiB: 512 MiB is a max order block, 16 GiB is gigantic
    assert gigantic_order(16 * GIB, Geometry(1, 0, 13, 13, 1 << 16, None)) == 18
    for size, words in ((2 * MIB, "not above max order"), (3 * GIB, "power of two"), (1 << 40, "up to order 26")):
        with pytest.raises(UsageError, match=words):
            gigantic_order(size, GEOMETRY)


@pytest.mark.parametrize("release", RELEASES)
def test_pages_taken_away_in_one_write_are_freed_last_first_until_6_6(release: str) -> None:
    """set_max_huge_pages collects them at the head of a list; hugetlb_vmemmap_restore_folios (6.7) turns it round."""
    of = memory(release, pages=3)
    pool = HugetlbPool(of, ORDER)
    pool.set_nr_hugepages(3)
    removed = [page.pfn for page in pool.free[0]]
    pool.steps.clear()
    assert pool.set_nr_hugepages(0) == 0
    freed = [step.start_pfn for step in pool.steps]
    assert freed == (removed if release in ("6.12", "6.19") else removed[::-1])
    check(of)


@pytest.mark.parametrize("release", RELEASES)
def test_a_page_is_one_compound_page_that_stays(release: str) -> None:
    of = memory(release, pages=2)
    pool = HugetlbPool(of, ORDER)
    assert pool.set_nr_hugepages(1) == 1
    page = of.members[0].zone.page(100)
    assert (page.head_pfn, page.order, page.page_class) == (0, ORDER, PageClass.HUGETLB)
    check(of)
    # the range is passed over, or tried and refused: 4d73ba5fa710
    assert pool.set_nr_hugepages(3) == 2
    step = pool.steps[-2]
    if release in ("5.15", "seed", "6.1-vanilla"):
        assert (step.function, step.errno) == ("alloc_contig_range", 12)
    else:
        assert (step.function, step.rule) == ("pfn_range_valid_contig", "a page is part of a huge page")
    check(of)


@pytest.mark.parametrize("release", RELEASES)
def test_pages_go_back_and_the_zone_is_as_before(release: str) -> None:
    of = memory(release)
    before = free_pages(of)
    pool = HugetlbPool(of, ORDER)
    assert pool.set_nr_hugepages(3) == 3
    assert free_pages(of) == before - 3 * SIZE
    assert pool.set_nr_hugepages(0) == 0
    assert free_pages(of) == before
    check(of)


def test_the_pool_grows_round_robin_and_keeps_what_it_got() -> None:
    """set_max_huge_pages: it stops when no allowed node gives a page."""
    of = memory(nodes=2, pages=2)
    of.members[1].zone.alloc(0, Migratetype.UNMOVABLE)
    pool = HugetlbPool(of, ORDER)
    assert pool.set_nr_hugepages(8) == 3
    assert [(page.node, page.pfn // SIZE) for page in pool.pages] == [(0, 0), (0, 1), (1, 3)]
    granted = [
        step.start_pfn // SIZE for step in pool.steps if step.function == "alloc_contig_range" and not step.errno
    ]
    assert granted == [0, 3, 1]
    check(of)


def test_a_nodes_count_leaves_the_others_alone() -> None:
    of = memory(nodes=2)
    pool = HugetlbPool(of, ORDER)
    assert pool.set_nr_hugepages(1, node=0) == 1
    assert pool.set_nr_hugepages(3, node=1) == 3
    assert pool.set_nr_hugepages(0, node=1) == 0
    assert [page.node for page in pool.pages] == [0]
    with pytest.raises(UsageError, match="one of nodes"):
        pool.set_nr_hugepages(1, node=5)
    check(of)


@pytest.mark.parametrize(("release", "left"), [("6.1", [0, 1]), ("6.12", [1, 2])])
def test_which_page_is_taken_away_first(release: str, left: list[int]) -> None:
    """The last that was got; since 6.7 pages are put there in a batch, turned round: the first."""
    pool = HugetlbPool(memory(release), ORDER)
    pool.set_nr_hugepages(3)
    pool.set_nr_hugepages(2)
    assert [page.pfn // SIZE for page in pool.pages] == left


def test_zones_up_to_normal_are_asked_highest_first() -> None:
    """Gigantic pages do not migrate, so ZONE_MOVABLE gives none."""
    kinds = ("DMA32", "Normal", "Movable")
    zones = [Zone(SIZE, "6.1", start_pfn=n * SIZE, zone_movable=kind == "Movable") for n, kind in enumerate(kinds)]
    of = Memory([Member(zone, 0, kind) for zone, kind in zip(zones, kinds, strict=True)])
    pool = HugetlbPool(of, ORDER)
    assert pool.set_nr_hugepages(3) == 2
    assert [step.start_pfn // SIZE for step in pool.steps if not step.rule] == [1, 0]


def with_areas(release: str = "6.1") -> HugetlbPool:
    """Two nodes with an area of one gigantic page each."""
    of = memory(release, nodes=2)
    areas = {}
    for node, member in enumerate(of.members):
        start = member.zone.start_pfn + SIZE
        member.zone.load_cma(start, start + SIZE)
        areas[node] = CmaArea(of, start, SIZE, name=f"hugetlb{node}")
    return HugetlbPool(of, ORDER, areas)


@pytest.mark.parametrize("release", RELEASES)
def test_areas_come_first(release: str) -> None:
    """alloc_gigantic_page: hugetlb_cma of the node, then alloc_contig_pages; freed pages go back to the area."""
    pool = with_areas(release)
    assert pool.set_nr_hugepages(2, node=0) == 2
    assert [(page.pfn // SIZE, page.area is not None) for page in pool.pages] == [(0, False), (1, True)]
    check(pool.memory)
    assert pool.set_nr_hugepages(0, node=0) == 0
    assert pool.areas[0].used == 0
    assert {step.function for step in pool.steps[-2:]} == {
        "cma_release",
        "free_contig_range" if release in ("5.15", "seed", "6.1", "6.1-vanilla") else "folio_put",
    }
    check(pool.memory)


def test_other_nodes_areas_only_without_thisnode() -> None:
    pool = with_areas()
    assert pool.alloc_gigantic_page(0) is not None
    other = pool.alloc_gigantic_page(0, thisnode=False)
    assert other is not None
    assert (other.node, other.area is pool.areas[1]) == (1, True)
    here = pool.alloc_gigantic_page(0, thisnode=True)
    assert here is not None
    assert (here.node, here.area) == (0, None)
    check(pool.memory)


def test_areas_only_if_the_command_line_says_so() -> None:
    """hugetlb_cma_only (6.15)."""
    for release, had in (("6.12", 2), ("6.19", 1)):
        pool = with_areas(release)
        pool.only_cma = True
        assert pool.set_nr_hugepages(2, node=0) == had


@pytest.mark.parametrize(
    ("release", "class_"),
    [("5.15", PageClass.KERNEL), ("6.1", PageClass.KERNEL), ("6.12", PageClass.COMPOUND), ("6.19", PageClass.COMPOUND)],
)
def test_a_page_that_somebody_else_refers_to(release: str, class_: PageClass) -> None:
    """The range is given back but for what is referred to, and one more attempt is made, elsewhere."""
    of = memory(release)
    pool = HugetlbPool(of, ORDER, inflated={7})
    assert pool.set_nr_hugepages(1) == 1
    assert pool.pages[0].pfn == SIZE
    zone = of.members[0].zone
    assert zone.page(7).page_class == class_
    assert (zone.page(100).page_class == PageClass.FREE) == (class_ == PageClass.KERNEL)
    check(of)


def test_two_such_pages_in_a_row_end_it() -> None:
    pool = HugetlbPool(memory(), ORDER, inflated={7, SIZE + 7})
    assert pool.set_nr_hugepages(1) == 0
    check(pool.memory)


def test_an_area_is_clear_after_an_attempt_with_a_reference() -> None:
    for release in ("6.1", "6.12"):
        pool = with_areas(release)
        pool.inflated = {SIZE + 7}
        assert pool.set_nr_hugepages(1, node=0) == 1
        assert pool.areas[0].used == 0
        check(pool.memory)


@pytest.mark.parametrize(("release", "bits"), [("5.15", 0), ("6.1", 9), ("6.12", 9), ("6.19", 9)])
def test_hugetlb_cma_at_boot(release: str, bits: int) -> None:
    """3 GiB over four nodes: one on each of the first three."""
    nodes = [(n * 4 * GIB, (n + 1) * 4 * GIB, n) for n in range(4)]
    boot = CmaBoot(Memblock(nodes), release, GEOMETRY)
    areas = hugetlb_cma_reserve(boot, 3 * GIB, 18, [0, 1, 2, 3])
    assert sorted(areas) == [0, 1, 2]
    assert {(area.order_per_bit, area.ranges[0][1]) for area in areas.values()} == {(bits, 1 << 18)}
    with pytest.raises(UsageError, match="less than a gigantic page"):
        hugetlb_cma_reserve(boot, GIB // 2, 18, [0])


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("seed", range(3))
def test_random_pools(release: str, seed: int) -> None:
    """Pages are aligned and apart, the count is what the pool says, zones are whole after each step."""
    print(f"replay: pytest 'tests/consumers/test_hugetlb.py::test_random_pools[{seed}-{release}]'")
    rng = random.Random(f"{release} {seed}")
    pool = with_areas(release)
    of = pool.memory
    for _ in range(rng.randrange(3000)):
        page = of.alloc(0, Migratetype.MOVABLE, PageClass.ANON, node=rng.randrange(2))
        if rng.random() < 0.5:
            of.free(page)
    for _ in range(3):
        member = rng.choice(of.members)
        member.zone.alloc(rng.choice([0, 2]), Migratetype.UNMOVABLE)
    for _ in range(8):
        node = rng.choice([None, 0, 1])
        had = pool.set_nr_hugepages(rng.randrange(6), node)
        assert had == (pool.nr_huge_pages if node is None else len(pool.free.get(node, [])))
        pages = pool.pages
        assert all(page.pfn % SIZE == 0 and of.member_of(page.pfn).node == page.node for page in pages)
        assert len({page.pfn for page in pages}) == len(pages)
        check(of)
    pool.set_nr_hugepages(0)
    assert [area.used for area in pool.areas.values()] == [0, 0]
    check(of)


def test_against_the_guests_kernel(shared: Path) -> None:
    """Every aligned GiB of a recorded guest: alloc_contig_pages gives just those that the kernel gave."""
    folder = shared / "machines" / "guest-6.1.192"
    answers = kernel_answers(folder, 1 << 18)
    of = snapshot_memory(read_machine(folder), "6.1")
    pool = HugetlbPool(of, 18)
    pool.set_nr_hugepages(8)
    assert [page.pfn for page in pool.pages] == [pfn for pfn, answer in answers.items() if answer == "0"]
    refused = {step.start_pfn for step in pool.steps if step.rule} - {page.pfn for page in pool.pages}
    assert {pfn for pfn, answer in answers.items() if answer == "-16"} <= refused
    check(of)


def test_the_first_of_64_mib_is_the_kernels_first(shared: Path) -> None:
    """The highest zone first, its lowest range first: what is refused on the way the kernel refused too."""
    folder = shared / "machines" / "guest-6.1.192"
    answers = kernel_answers(folder, 1 << 14)
    of = snapshot_memory(read_machine(folder), "6.1")
    pool = HugetlbPool(of, 14)
    assert pool.set_nr_hugepages(1) == 1
    normal = of.zonelist(0, "Normal")[0].zone
    assert pool.pages[0].pfn == next(pfn for pfn in sorted(answers) if pfn >= normal.start_pfn and answers[pfn] == "0")
    assert all(answers[step.start_pfn] == "-16" for step in pool.steps if step.errno)
    check(of)
