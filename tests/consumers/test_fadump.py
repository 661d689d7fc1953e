"""fadump's reservation and its CMA area. Source: arch/powerpc/kernel/fadump.c."""

import random

import pytest

from pageblock import PageClass, Zone
from pageblock.consumers.cma_boot import BootRefused, CmaBoot, Memblock, activate
from pageblock.consumers.fadump import MIN_BOOT_MEM, FadumpRequest, area_size, boot_memory_size, fadump_reserve_mem
from pageblock.mm.geometry import Geometry

MIB, GIB = 1 << 20, 1 << 30
#: powerpc with 64 KiB pages: pageblocks of 2 MiB (radix), max order blocks of 16 MiB.
RADIX = Geometry(1, 0, 8, 5, 1 << 16, None)
RELEASES = ["5.15", "seed", "6.1", "6.12", "6.19"]


def boot(release: str = "6.1", memory: int = 16 * GIB) -> CmaBoot:
    return CmaBoot(Memblock([(0, memory, 0)], page_size=1 << 16), release, RADIX)


@pytest.mark.parametrize(
    ("release", "size"),
    [
        ("5.15", 336 * MIB),
        ("5.15+p7", 322 * MIB),
        ("seed-p7", 336 * MIB),
        ("seed", 322 * MIB),
        ("6.1", 322 * MIB),
        ("6.12", 322 * MIB),
        ("6.19", 321 * MIB),
    ],
)
def test_how_the_boot_memory_is_rounded(release: str, size: int) -> None:
    """FADUMP_CMA_ALIGNMENT, a max order block; with the seed's patch 7 a pageblock; 6.19 rounds to pages only."""
    assert boot_memory_size(boot(release), FadumpRequest(crashkernel=321 * MIB)) == size
    assert boot_memory_size(boot(release), FadumpRequest(crashkernel=321 * MIB, nocma=True)) == 321 * MIB


def test_how_much_boot_memory() -> None:
    """5 % in steps of 256 MiB, at least the platform's least; crashkernel= up to a quarter."""
    assert boot_memory_size(boot(), FadumpRequest()) == 768 * MIB
    assert boot_memory_size(boot(memory=4 * GIB), FadumpRequest()) == MIN_BOOT_MEM["pseries"]
    assert boot_memory_size(boot(memory=4 * GIB), FadumpRequest(platform="powernv")) == 768 * MIB
    assert boot_memory_size(boot(memory=4 * GIB), FadumpRequest(crashkernel=3 * GIB)) == GIB
    # fadump_reserve_mem= has no bound, and is not looked at beside crashkernel=
    assert boot_memory_size(boot(memory=4 * GIB), FadumpRequest(reserve_mem=3 * GIB)) == 3 * GIB
    assert boot_memory_size(boot(memory=4 * GIB), FadumpRequest(crashkernel=GIB, reserve_mem=3 * GIB)) == GIB


def test_too_little_boot_memory_turns_fadump_off() -> None:
    with pytest.raises(BootRefused, match="platform's least") as caught:
        fadump_reserve_mem(boot(), FadumpRequest(crashkernel=64 * MIB))
    assert caught.value.errno == 22


def test_no_room_turns_fadump_off() -> None:
    start = boot(memory=2 * GIB)
    start.memblock.reserve(320 * MIB, 2 * GIB)
    with pytest.raises(BootRefused, match="no free chunk"):
        fadump_reserve_mem(start, FadumpRequest())


def test_what_the_reservation_holds() -> None:
    page = 1 << 16
    request = FadumpRequest(cpu_state=100, hpte=page, metadata=7 * page)
    assert area_size(boot("5.15"), request, 320 * MIB) == 320 * MIB + 9 * page
    assert area_size(boot("6.1"), request, 320 * MIB) == 320 * MIB + 10 * page
    assert area_size(boot("6.12"), request, 320 * MIB) == 320 * MIB + 9 * page + 1024


@pytest.mark.parametrize("release", RELEASES)
def test_it_lies_behind_the_boot_memory_and_is_cma(release: str) -> None:
    found = fadump_reserve_mem(boot(release), FadumpRequest())
    assert (found.base, found.boot_memory_size) == (768 * MIB, 768 * MIB)
    assert found.area is not None
    assert found.area.ranges == ((768 * MIB >> 16, 768 * MIB >> 16),)
    assert found.area.keep_on_error == (release not in ("5.15", "seed"))
    assert fadump_reserve_mem(boot(release), FadumpRequest(nocma=True)).area is None


@pytest.mark.parametrize(
    ("release", "place"),
    [("5.15", None), ("seed", None), ("6.1", None), ("6.12", None), ("6.19", (770 * MIB, 1536 * MIB))],
)
def test_a_base_that_is_not_aligned(release: str, place: tuple[int, int] | None) -> None:
    """Until 6.12 no area, and the memory stays reserved; 6.19 makes one of what is aligned inside."""
    start = boot(release)
    start.memblock.reserve(768 * MIB, MIB)
    found = fadump_reserve_mem(start, FadumpRequest())
    assert found.base == 769 * MIB
    assert start.memblock.is_reserved(found.base, found.size)
    if place is None:
        assert found.area is None
        assert found.refusal is not None
        assert found.refusal.errno == 22
    else:
        assert found.area is not None
        base, count = found.area.ranges[0]
        assert (base << 16, base + count << 16) == place


def test_the_patches_belong_together() -> None:
    """Patch 7 without patch 5: the size is a multiple of a pageblock, and the area wants a max order block."""
    request = FadumpRequest(crashkernel=322 * MIB)
    assert fadump_reserve_mem(boot("seed"), request).area is not None
    refused = fadump_reserve_mem(boot("seed-p5"), request)
    assert refused.area is None
    assert refused.refusal is not None
    assert "multiple" in refused.refusal.rule


@pytest.mark.parametrize("release", RELEASES)
def test_its_area_is_activated(release: str) -> None:
    """On a small machine, in pages of 4 KiB: after activation the boot memory is free CMA."""
    geometry = Geometry(1, 0, 10, 9, 4096, None)
    start = CmaBoot(Memblock([(0, 2 * GIB, 0)]), release, geometry)
    found = fadump_reserve_mem(start, FadumpRequest())
    assert found.area is not None
    zone = Zone(2 * GIB >> 12, release, populate=False)
    zone.load_pages([found.base >> 12], [found.size + 4095 >> 12], [PageClass.RESERVED], [0], [0])
    area = activate(zone, found.area)
    assert area is not None
    assert zone.nr_free_cma_pages == found.boot_memory_size >> 12
    zone.check()


@pytest.mark.parametrize("seed", range(20))
def test_random_machines(seed: int) -> None:
    """The reservation lies in free memory; its area inside it, aligned."""
    print(f"replay: pytest 'tests/consumers/test_fadump.py::test_random_machines[{seed}]'")
    rng = random.Random(seed)
    start = boot(rng.choice(RELEASES), rng.randrange(2, 64) * GIB)
    for _ in range(rng.randrange(4)):
        start.memblock.reserve(rng.randrange(4 * GIB), rng.randrange(1, 100 * MIB))
    before = list(start.memblock.reserved)
    request = FadumpRequest(rng.choice([0, rng.randrange(GIB // 4, 2 * GIB)]), cpu_state=rng.randrange(1 << 20))
    try:
        found = fadump_reserve_mem(start, request)
    except BootRefused:
        return
    assert not any(low < found.base + found.size and found.base < high for low, high in before)
    if found.area is not None:
        base, size = (n << 16 for n in found.area.ranges[0])
        assert not (base | size) % start.min_alignment
        assert found.base <= base
        assert base + size <= found.base + found.boot_memory_size
