"""Reservation of CMA areas at boot: what the kernel refuses, and where it puts them. Source: mm/cma.c."""

import random

import pytest

from pageblock.consumers.cma_boot import BootRefused, CmaBoot, Memblock
from pageblock.consumers.kernel import cma_min_alignment_pages
from pageblock.mm.errors import UsageError
from pageblock.mm.geometry import Geometry

MIB, GIB = 1 << 20, 1 << 30
GEOMETRY = Geometry(1, 0, 10, 9, 4096, None)


def boot(release: str = "6.1", memory: int = 2 * GIB, *, slots: int = 20, highmem: int | None = None) -> CmaBoot:
    """A machine with one stretch of memory from 0 on."""
    return CmaBoot(Memblock([(0, memory, 0)], highmem_start=highmem), release, GEOMETRY, slots)


def refusal(request: object) -> BootRefused:
    assert callable(request)
    with pytest.raises(BootRefused) as caught:
        request()
    return caught.value


@pytest.mark.parametrize(
    ("release", "pages"),
    [("5.15", 1024), ("seed", 512), ("seed-p5", 1024), ("5.15+p5", 512), ("6.1", 512), ("6.12", 512), ("6.19", 512)],
)
def test_smallest_alignment(release: str, pages: int) -> None:
    """The seed's patch 5: a max order block before, a pageblock after."""
    assert cma_min_alignment_pages(release, GEOMETRY) == pages
    start = boot(release)
    start.memblock.reserve(2 * MIB, 16 * MIB)
    if pages == 512:
        assert start.init_reserved_mem(2 * MIB, 2 * MIB).ranges == ((512, 512),)
    else:
        found = refusal(lambda: start.init_reserved_mem(2 * MIB, 2 * MIB))
        assert (found.errno, "base 0x200000" in found.rule) == (22, True)


def test_pageblocks_larger_than_max_order_count_before_5_18() -> None:
    assert cma_min_alignment_pages("5.15", Geometry(1, 0, 10, 13, 4096, None)) == 1 << 13


def test_init_reserved_mem_refuses() -> None:
    """In the kernel's order: slots, size, reserved, bits, alignment."""
    start = boot("5.15", slots=1)
    assert refusal(lambda: start.init_reserved_mem(0, 0)).errno == 22
    assert "reserved" in refusal(lambda: start.init_reserved_mem(0, 4 * MIB)).rule
    start.memblock.reserve(0, 64 * MIB)
    assert "2^11" in refusal(lambda: start.init_reserved_mem(0, 8 * MIB, order_per_bit=11)).rule
    assert "size" in refusal(lambda: start.init_reserved_mem(0, 5 * MIB)).rule
    assert start.init_reserved_mem(4 * MIB, 4 * MIB).name == "cma0"
    assert refusal(lambda: start.init_reserved_mem(8 * MIB, 4 * MIB)).errno == 28


def test_bits_may_be_larger_than_the_alignment_since_6_1_y() -> None:
    start = boot("6.1")
    start.memblock.reserve(0, 64 * MIB)
    assert start.init_reserved_mem(0, 8 * MIB, order_per_bit=11).order_per_bit == 11


def test_declare_contiguous_refuses() -> None:
    start = boot("6.1", slots=2, highmem=1 * GIB)
    declare = start.declare_contiguous
    assert refusal(lambda: declare(0, 0)).errno == 22
    assert "power of two" in refusal(lambda: declare(0, 4 * MIB, alignment=3 * MIB)).rule
    assert "must be aligned" in refusal(lambda: declare(3 * MIB, 4 * MIB, fixed=True)).rule
    assert "bits" in refusal(lambda: declare(0, 2 * MIB, order_per_bit=10)).rule
    assert "low memory" in refusal(lambda: declare(1022 * MIB, 4 * MIB, fixed=True)).rule
    assert "limit" in refusal(lambda: declare(64 * MIB, 64 * MIB, 100 * MIB)).rule
    assert refusal(lambda: declare(0, 3 * GIB)).errno == 22
    start.memblock.reserve(100 * MIB, 1)
    assert refusal(lambda: declare(96 * MIB, 8 * MIB, fixed=True)).errno == 16
    start.memblock.reserve(0, 2 * GIB)
    assert refusal(lambda: declare(0, 8 * MIB)).errno == 12
    assert start.areas == []


def test_without_a_fixed_base_size_and_base_are_rounded_up() -> None:
    area = boot("5.15").declare_contiguous(0, 3 * MIB)
    assert area.ranges == (((2 * GIB - 4 * MIB) // 4096, 1024),)


def test_a_base_of_zero_is_not_fixed() -> None:
    assert boot().declare_contiguous(0, 8 * MIB, 64 * MIB, fixed=True).ranges == ((56 * MIB // 4096, 2048),)


def test_above_4_gib_upwards_where_memory_reaches() -> None:
    """cma_declare_contiguous_nid: bottom up from 4 GiB, else from the limit downwards."""
    assert boot(memory=8 * GIB).declare_contiguous(0, 64 * MIB).ranges[0][0] == 4 * GIB // 4096
    assert boot(memory=2 * GIB).declare_contiguous(0, 64 * MIB).ranges[0][0] == (2 * GIB - 64 * MIB) // 4096
    start = boot(memory=8 * GIB)
    start.memblock.reserve(4 * GIB, 1 * GIB)
    assert start.declare_contiguous(0, 64 * MIB).ranges[0][0] == 5 * GIB // 4096


def test_the_limit_bounds_it_also_above_4_gib() -> None:
    assert boot(memory=8 * GIB).declare_contiguous(0, 64 * MIB, 2 * GIB).ranges[0][0] == (2 * GIB - 64 * MIB) // 4096


def test_high_memory_first_until_6_1() -> None:
    """32-bit machines: above the direct map, below 4 GiB, where memory does not reach further."""
    for release in ("5.15", "6.1", "6.12", "6.19"):
        area = boot(release, highmem=1 * GIB).declare_contiguous(0, 64 * MIB)
        assert area.ranges[0][0] == (2 * GIB - 64 * MIB) // 4096


def test_until_6_1_what_was_found_in_high_memory_is_forgotten() -> None:
    """Memory above 4 GiB is asked for behind it, with low memory's end as the limit: cma_declare_contiguous_nid."""
    for release in ("5.15", "6.1", "6.12", "6.19"):
        start = boot(release, memory=5 * GIB, highmem=1 * GIB)
        area = start.declare_contiguous(0, 64 * MIB)
        low = release in ("5.15", "6.1")
        assert area.ranges[0][0] == (1 * GIB - 64 * MIB if low else 4 * GIB) // 4096
        assert start.memblock.is_reserved(5 * GIB - 64 * MIB, 64 * MIB) is low


def test_a_node_is_kept_to() -> None:
    start = CmaBoot(Memblock([(0, GIB, 0), (GIB, 2 * GIB, 1)]), "6.1", GEOMETRY)
    assert start.declare_contiguous(0, 64 * MIB, node=0).ranges[0][0] == (GIB - 64 * MIB) // 4096


def test_several_ranges_since_6_15() -> None:
    """cma_declare_contiguous_multi: the largest ranges above 4 GiB, used from the lowest."""
    memory = [(0, GIB, 0), *((base * GIB, base * GIB + size * MIB, 0) for base, size in ((4, 100), (5, 300), (6, 200)))]
    start = CmaBoot(Memblock(memory), "6.19", GEOMETRY)
    assert start.declare_contiguous_multi(600 * MIB).ranges == (((GIB - 600 * MIB) // 4096, 600 * 256),)
    start = CmaBoot(Memblock(memory[1:]), "6.19", GEOMETRY)
    area = start.declare_contiguous_multi(400 * MIB)
    assert area.ranges == ((5 * GIB // 4096, 300 * 256), (6 * GIB // 4096, 100 * 256))
    assert refusal(lambda: start.declare_contiguous_multi(400 * MIB)).errno == 12
    with pytest.raises(UsageError, match=r"6\.15"):
        boot("6.12").declare_contiguous_multi(64 * MIB)


@pytest.mark.parametrize("seed", range(30))
def test_random_areas_are_aligned_inside_and_apart(seed: int) -> None:
    """Whatever is granted lies in memory, below its limit, aligned, and over nothing else."""
    print(f"replay: pytest 'tests/consumers/test_cma_boot.py::test_random_areas_are_aligned_inside_and_apart[{seed}]'")
    rng = random.Random(seed)
    release = rng.choice(["5.15", "seed", "6.1", "6.12", "6.19"])
    edges = sorted(rng.sample(range(0, 6 * 1024, 7), 6))
    memory = [(edges[i] * MIB, edges[i + 1] * MIB, i // 2 % 2) for i in (0, 2, 4)]
    start = CmaBoot(Memblock(memory, bottom_up=rng.random() < 0.2), release, GEOMETRY)
    for _ in range(12):
        if rng.random() < 0.3:
            start.memblock.reserve(rng.randrange(6 * GIB), rng.randrange(1, 40 * MIB))
        before = list(start.memblock.reserved)
        base, size = rng.choice([0, rng.randrange(6 * GIB) // (2 * MIB) * 2 * MIB]), rng.randrange(1, 300 * MIB)
        limit = rng.choice([0, rng.randrange(1, 7 * GIB)])
        try:
            area = start.declare_contiguous(base, size, limit, fixed=rng.random() < 0.4, node=rng.choice([None, 0, 1]))
        except BootRefused:
            continue
        first, count = (n * 4096 for n in area.ranges[0])
        assert count >= size
        assert not (first | count) % start.min_alignment
        assert not any(low < first + count and first < high for low, high in before)
        assert first + count <= max(end for _, end, _ in memory)


@pytest.mark.parametrize("order_per_bit", [-1, 27])
def test_an_order_that_no_bit_stands_for_is_refused(order_per_bit: int) -> None:
    with pytest.raises(UsageError, match=f"order_per_bit is {order_per_bit}"):
        boot().declare_contiguous(0, 64 * MIB, order_per_bit=order_per_bit)
    with pytest.raises(UsageError, match=f"order_per_bit is {order_per_bit}"):
        boot().init_reserved_mem(64 * MIB, 64 * MIB, order_per_bit)
