"""DMA from CMA: which area, which alignment, what the kernel refuses at boot. Source: kernel/dma/contiguous.c."""

import random

import pytest

from pageblock import Migratetype, PageClass, Zone
from pageblock.consumers.cma import CmaArea
from pageblock.consumers.cma_boot import BootRefused, CmaBoot, Memblock
from pageblock.consumers.dma import (
    CmaParameter,
    Device,
    DmaAreas,
    TreeNode,
    dma_contiguous_reserve,
    early_cma,
    get_order,
    memparse,
    rmem_cma_setup,
)
from pageblock.mm.errors import UsageError
from pageblock.mm.geometry import Geometry
from pageblock.mm.memory import Member, Memory

MIB, GIB = 1 << 20, 1 << 30
GEOMETRY = Geometry(1, 0, 10, 9, 4096, None)
RELEASES = ["5.15", "seed", "6.1", "6.12", "6.19"]


# ---- cma= ----


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("64M", 64 * MIB, ""),
        ("0x10k@", 16 << 10, "@"),
        ("010", 8, ""),
        ("1g-", GIB, "-"),
        ("", 0, ""),
        ("M", 0, ""),
        ("junk", 0, "junk"),
        ("0xM", 0, "xM"),
        ("089", 0, "89"),
        ("2E", 2 << 60, ""),
        ("16E", 0, ""),
    ],
)
def test_memparse(text: str, value: int, rest: str) -> None:
    """lib/cmdline.c: bases, suffixes, wrapping; nonsense is 0."""
    assert memparse(text) == (value, rest)


@pytest.mark.parametrize(
    ("text", "parameter", "fixed"),
    [
        ("64M", CmaParameter(64 * MIB), False),
        ("64M@1G", CmaParameter(64 * MIB, GIB, GIB + 64 * MIB), True),
        ("64M@1G-2G", CmaParameter(64 * MIB, GIB, 2 * GIB), False),
        ("64M@0-64M", CmaParameter(64 * MIB, 0, 64 * MIB), True),
        ("64Mx", CmaParameter(64 * MIB, rest="x"), False),
    ],
)
def test_early_cma(text: str, parameter: CmaParameter, fixed: bool) -> None:
    assert early_cma(text) == parameter
    assert early_cma(text).fixed == fixed


def test_cma_without_a_value_is_refused() -> None:
    with pytest.raises(BootRefused) as caught:
        early_cma(None)
    assert (caught.value.errno, caught.value.function) == (22, "early_cma")


def boot(release: str = "6.1") -> CmaBoot:
    return CmaBoot(Memblock([(0, 2 * GIB, 0)]), release, GEOMETRY)


def test_the_default_area() -> None:
    """dma_contiguous_reserve: cma= before the built-in size; a size of 0 makes none."""
    area = dma_contiguous_reserve(boot(), None, default_size=16 * MIB)
    assert area is not None
    assert (area.name, area.ranges[0][1]) == ("reserved", 4096)
    assert dma_contiguous_reserve(boot(), early_cma("0"), default_size=16 * MIB) is None
    fixed = dma_contiguous_reserve(boot(), early_cma("16M@1G"))
    assert fixed is not None
    assert fixed.ranges == ((GIB // 4096, 4096),)
    with pytest.raises(BootRefused, match="must be aligned"):
        dma_contiguous_reserve(boot(), early_cma("16M@3M"))


@pytest.mark.parametrize(("release", "end"), [("6.12", 1 * GIB), ("6.19", 2 * GIB)])
def test_the_limit_of_dma_bounds_cma_until_6_19(release: str, end: int) -> None:
    area = dma_contiguous_reserve(boot(release), early_cma("16M@0-2G"), limit=1 * GIB)
    assert area is not None
    assert area.ranges == (((end - 16 * MIB) // 4096, 4096),)


# ---- device tree ----


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (TreeNode("a", GIB, 16 * MIB, reusable=False), "not reusable"),
        (TreeNode("a", GIB, 16 * MIB, no_map=True), "no-map"),
        (TreeNode("a", GIB + MIB, 16 * MIB), "incorrect alignment of CMA region: base"),
        (TreeNode("a", GIB, 17 * MIB), "incorrect alignment of CMA region: size"),
    ],
)
def test_device_tree_nodes_that_are_no_area(node: TreeNode, words: str) -> None:
    """rmem_cma_setup."""
    start = boot()
    start.memblock.reserve(GIB, 64 * MIB)
    with pytest.raises(BootRefused, match=words) as caught:
        rmem_cma_setup(start, node)
    assert caught.value.errno == 22


def test_the_alignment_of_a_node_follows_the_seed() -> None:
    """2 MiB is enough with patch 5 and since 5.19, not in 5.15."""
    had = {}
    for release in ("5.15", "seed", "seed-p5", "6.1"):
        start = boot(release)
        start.memblock.reserve(GIB + 2 * MIB, 2 * MIB)
        try:
            had[release] = rmem_cma_setup(start, TreeNode("a", GIB + 2 * MIB, 2 * MIB)).ranges
        except BootRefused:
            had[release] = ()
    place = (((GIB + 2 * MIB) // 4096, 512),)
    assert had == {"5.15": (), "seed": place, "seed-p5": (), "6.1": place}


def test_cma_on_the_command_line_replaces_the_default_node() -> None:
    start = boot()
    start.memblock.reserve(GIB, 16 * MIB)
    node = TreeNode("linux,cma", GIB, 16 * MIB, cma_default=True)
    with pytest.raises(BootRefused, match="command line") as caught:
        rmem_cma_setup(start, node, early_cma("64M"))
    assert caught.value.errno == 16
    assert rmem_cma_setup(start, node).name == "linux,cma"


# ---- at run time ----


def areas(release: str = "6.1") -> DmaAreas:
    """Node 0 and 1, each with an area of its own; the default one and a device's are on node 0."""
    zones = [Zone(8192, release), Zone(8192, release, start_pfn=8192)]
    for zone, start, end in ((zones[0], 2048, 7168), (zones[1], 10240, 12288)):
        zone.load_cma(start, end)
    memory = Memory([Member(zone, node, "Normal") for node, zone in enumerate(zones)])
    return DmaAreas(
        memory, CmaArea(memory, 2048, 2048, name="default"), {1: CmaArea(memory, 10240, 2048, name="node1")}
    )


def check(dma: DmaAreas) -> None:
    assert isinstance(dma.memory, Memory)
    for member in dma.memory.members:
        member.zone.check()


@pytest.mark.parametrize(("size", "order"), [(1, 0), (4096, 0), (4097, 1), (3 << 12, 2), (1 << 20, 8)])
def test_get_order(size: int, order: int) -> None:
    assert get_order(size) == order


def test_buffers_are_aligned_to_their_size_up_to_a_mebibyte() -> None:
    """cma_alloc_aligned: CONFIG_CMA_ALIGNMENT is 8."""
    dma = areas()
    assert dma.dma_alloc_contiguous(Device(), 2 << 12).pfn == 2048
    assert dma.dma_alloc_contiguous(Device(), 3 << 12).pfn == 2052
    assert dma.dma_alloc_contiguous(Device(), 4 << 20).pfn == 2304
    check(dma)


def test_one_page_comes_from_a_devices_own_area_only() -> None:
    dma = areas()
    assert dma.dma_alloc_contiguous(Device(), 4096).pfn is None
    own = Device(area=CmaArea(dma.memory, 5120, 1024, name="own"))
    assert dma.dma_alloc_contiguous(own, 4096).pfn == 5120
    check(dma)


def test_a_request_that_may_not_wait_gets_nothing() -> None:
    answer = areas().dma_alloc_contiguous(Device(), 1 << 20, may_block=False)
    assert (answer.pfn, answer.answers) == (None, ())


def test_the_nodes_area_comes_before_the_default_one() -> None:
    dma = areas()
    first = dma.dma_alloc_contiguous(Device(node=1), 4 << 20)
    assert first.area is dma.per_node[1]
    dma.dma_alloc_contiguous(Device(node=1), 4 << 20)
    third = dma.dma_alloc_contiguous(Device(node=1), 4 << 20)
    assert third.area is dma.default
    assert [answer.pfn is None for answer in third.answers] == [True, False]
    assert dma.dma_alloc_contiguous(Device(node=1), 8192, zone_limit="DMA32").area is dma.default
    check(dma)


def test_a_devices_area_is_the_only_one_asked() -> None:
    """dma_alloc_contiguous returns what it gives, or nothing."""
    dma = areas()
    own = Device(area=CmaArea(dma.memory, 5120, 512, name="own"))
    assert dma.dma_alloc_contiguous(own, 4 << 20).pfn is None
    assert dma.default is not None
    assert dma.default.used == 0


def test_what_no_area_gives_comes_from_the_allocator() -> None:
    """A block of the next power of two, which is aligned and is not CMA's."""
    dma = areas()
    answer = dma.alloc_pages(Device(), 4096)
    assert (answer.area, answer.pages) == (None, 1)
    answer = dma.alloc_pages(Device(), 5 << 12, may_block=False)
    assert (answer.area, answer.pages) == (None, 8)
    assert answer.pfn is not None
    assert answer.pfn % 8 == 0
    assert isinstance(dma.memory, Memory)
    page = dma.memory.member_of(answer.pfn).zone.page(answer.pfn)
    assert (page.page_class, page.pageblock_type) == (PageClass.KERNEL, Migratetype.UNMOVABLE)
    assert dma.dma_free_contiguous(Device(), answer.pfn, 5 << 12) is None
    check(dma)


def test_nothing_above_max_order_comes_from_the_allocator() -> None:
    dma = areas()
    answer = dma.alloc_pages(Device(), 8 << 20, may_block=False)
    assert (answer.pfn, answer.steps[-1].errno) == (None, 12)


def test_memory_goes_back_where_it_came_from() -> None:
    dma = areas()
    for device, size in ((Device(), 3 << 12), (Device(node=1), 5 << 12)):
        answer = dma.dma_alloc_contiguous(device, size)
        assert answer.pfn is not None
        assert dma.dma_free_contiguous(device, answer.pfn, size) is answer.area
        assert answer.area is not None
        assert answer.area.used == 0
    check(dma)


def test_dma_alloc_from_contiguous_caps_the_alignment() -> None:
    dma = areas()
    answer = dma.dma_alloc_from_contiguous(Device(), 1, 12)
    assert answer is not None
    assert answer.align == 8
    assert DmaAreas(dma.memory).dma_alloc_from_contiguous(Device(), 1, 0) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="positive size"):
        areas().dma_alloc_contiguous(Device(), 0)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("seed", range(2))
def test_random_buffers(release: str, seed: int) -> None:
    """Every buffer is apart from the others and goes back; the zones are whole after each step."""
    print(f"replay: pytest 'tests/consumers/test_dma.py::test_random_buffers[{seed}-{release}]'")
    rng = random.Random(f"{release} {seed}")
    dma = areas(release)
    devices = [Device(), Device(node=1), Device(area=CmaArea(dma.memory, 5120, 1024, name="own"))]
    held: dict[int, tuple[Device, int]] = {}
    for _ in range(80):
        if held and rng.random() < 0.4:
            pfn = rng.choice(list(held))
            device, size = held.pop(pfn)
            dma.dma_free_contiguous(device, pfn, size)
        else:
            device, size = rng.choice(devices), rng.randrange(1, 600) << 12
            answer = dma.alloc_pages(device, size, may_block=rng.random() < 0.9)
            if answer.pfn is not None:
                taken = range(answer.pfn, answer.pfn + answer.pages)
                assert not any(pfn in taken for pfn in held)
                held[answer.pfn] = (device, size)
        check(dma)
    for pfn, (device, size) in held.items():
        dma.dma_free_contiguous(device, pfn, size)
    check(dma)
    assert [area.used for area in (dma.default, dma.per_node[1], devices[2].area) if area] == [0, 0, 0]
