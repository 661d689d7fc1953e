"""virtio-mem: modes and sizes, plug and unplug order, retries, what the driver answers when memory goes offline.

Source: drivers/virtio/virtio_mem.c. Memory blocks have 4 sections of 4 MiB here; zones are checked after each step (conftest).
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pageblock import Migratetype, PageClass, UsageError, Zone
from pageblock.consumers.memory_hotplug import MemoryHotplug, MemoryNotifier, Range
from pageblock.consumers.virtio_mem import FAKE_OFFLINE_TRIES, OFFLINE_THRESHOLD, VirtioMem
from pageblock.consumers.virtio_mem_device import BigBlock, MemoryBlock, VirtioMemDevice, subblock_size
from pageblock.lab.blocks import find_blocks, place_device
from pageblock.machine import read_machine
from pageblock.machine.zones import snapshot_memory
from pageblock.mm.geometry import Geometry
from pageblock.mm.memory import Member, Memory
from tests.checked import heal

from .test_memory_hotplug import STUCK, alloc_at

M, U = Migratetype.MOVABLE, Migratetype.UNMOVABLE
MIB = 1 << 20
SECTION, BLOCK = 1024, 4096
BLOCK_SIZE = BLOCK * 4096
RELEASES = ["5.15", "seed", "6.1", "6.1-vanilla", "6.12", "6.19"]
ALL = pytest.mark.parametrize("release", RELEASES)
#: Two of each: sub-blocks of 4 MiB and of 2 MiB.
STEPS = pytest.mark.parametrize(("release", "step"), [("5.15", 4), ("seed", 2), ("6.1", 2), ("6.12", 2), ("6.19", 2)])


def device_of(
    release: str = "6.1",
    blocks: int = 4,
    device_block: int = 2 * MIB,
    *,
    movable: bool = False,
    online: bool = True,
    **options: Any,
) -> tuple[VirtioMem, Zone]:
    """A zone of so many memory blocks, the first of which is not the device's; all of it is plugged."""
    kind = "Movable" if movable else "Normal"
    zone = Zone(blocks * BLOCK, release, zone_movable=movable)
    hotplug = MemoryHotplug(Memory([Member(zone, 0, kind)]), BLOCK, section_pages=SECTION)
    start = max(BLOCK_SIZE, device_block)
    size = (blocks * BLOCK_SIZE - start) // device_block * device_block
    driver = VirtioMem(hotplug, VirtioMemDevice(start, size, device_block, **options), online=kind if online else None)
    driver.adopt()
    return driver, zone


def empty_device(release: str = "6.1", blocks: int = 4, **options: Any) -> tuple[VirtioMem, Zone]:
    """The same with nothing plugged: the zone has holes there."""
    driver, zone = device_of(release, blocks, **options)
    assert driver.request(0) == 0
    driver.steps.clear()
    return driver, zone


def functions(driver: VirtioMem, *names: str) -> list[tuple[str, int, int]]:
    """(function, first pfn, pages) of those steps."""
    return [(step.function, step.start_pfn, step.nr_pages) for step in driver.steps if step.function in names]


def unplugged(driver: VirtioMem) -> list[tuple[int, int]]:
    """First MiB and MiB of each range that the device took back, in order."""
    return [(pfn // 256, nr // 256) for _, pfn, nr in functions(driver, "VIRTIO_MEM_REQ_UNPLUG")]


# ---- sizes and modes ----


@pytest.mark.parametrize("release", [*RELEASES, "seed-p6", "5.15+p6"])
def test_the_smallest_sub_block_before_and_after_the_series(release: str) -> None:
    """Rule "virtio-mem subblock": a max order block, since the seed's patch 6 a pageblock; never below the device's block."""
    whole = release in ("5.15", "seed-p6")
    zone = Zone(4096, release)
    assert subblock_size(release, zone, 4096) == (4 if whole else 2) * MIB
    assert subblock_size(release, zone, 4 * MIB) == 4 * MIB
    assert subblock_size(release, zone, 8 * MIB) == 8 * MIB


def test_a_pageblock_above_max_order_counts() -> None:
    zone = Zone(4096, "5.15", max_order=8, pageblock_order=10)
    assert zone.geometry == Geometry(4096, 0, 8, 10, 4096, None)
    assert subblock_size("5.15", zone, 4096) == 4 * MIB


@pytest.mark.parametrize(
    ("device_block", "options", "sub_block", "big_block"),
    [
        (2 * MIB, {}, 2 * MIB, 0),
        (8 * MIB, {}, 8 * MIB, 0),
        (16 * MIB, {}, 0, 16 * MIB),
        (32 * MIB, {}, 0, 32 * MIB),
        (2 * MIB, {"force_bbm": True}, 0, 16 * MIB),
        (2 * MIB, {"force_bbm": True, "bbm_block_size": 32 * MIB}, 0, 32 * MIB),
        (2 * MIB, {"force_bbm": True, "bbm_block_size": 48 * MIB}, 0, 16 * MIB),
        (2 * MIB, {"force_bbm": True, "bbm_block_size": 8 * MIB}, 0, 16 * MIB),
        (2 * MIB, {"bbm_block_size": 32 * MIB}, 2 * MIB, 0),
    ],
)
def test_sub_blocks_if_two_fit_into_a_memory_block(
    device_block: int, options: dict[str, Any], sub_block: int, big_block: int
) -> None:
    driver, _ = device_of(blocks=5, device_block=device_block, **options)
    assert (driver.sb_size, driver.bb_size, driver.sub_block_mode) == (sub_block, big_block, bool(sub_block))


@pytest.mark.parametrize(
    ("addr", "size", "block", "words"),
    [
        (0, 16 * MIB, 3 * MIB, "a power of two"),
        (0, 16 * MIB, 2048, "at least a page"),
        (MIB, 16 * MIB, 2 * MIB, "multiples of its block"),
        (0, 15 * MIB, 2 * MIB, "multiples of its block"),
        (0, 0, 2 * MIB, "multiples of its block"),
        (0, 1 << 50, 2 * MIB, "memory blocks"),
        (1 << 52, 16 * MIB, 2 * MIB, "below 2"),
    ],
)
def test_devices_that_there_are_not(addr: int, size: int, block: int, words: str) -> None:
    hotplug = MemoryHotplug(Memory([Member(Zone(4 * BLOCK))]), BLOCK, section_pages=SECTION)
    with pytest.raises(UsageError, match=words):
        VirtioMem(hotplug, VirtioMemDevice(addr, size, block))


def test_only_whole_memory_blocks_of_the_region_are_used() -> None:
    hotplug = MemoryHotplug(Memory([Member(Zone(4 * BLOCK))]), BLOCK, section_pages=SECTION)
    driver = VirtioMem(hotplug, VirtioMemDevice(2 * MIB, 3 * BLOCK_SIZE, 2 * MIB))
    driver.adopt()
    assert (sorted(driver.blocks), driver.plugged_size) == ([1, 2], 2 * BLOCK_SIZE)


# ---- unplugging ----


@STEPS
def test_the_highest_sub_block_of_the_highest_block_first(release: str, step: int) -> None:
    driver, zone = device_of(release)
    assert driver.request(driver.plugged_size - 4 * MIB) == 0
    assert unplugged(driver) == ([(60, 4)] if step == 4 else [(62, 2), (60, 2)])
    assert zone.page(4 * BLOCK - 1).page_class == PageClass.OFFLINE
    assert zone.nr_managed_pages == 4 * BLOCK - 1024
    assert driver.states() == {"KERNEL": 2, "KERNEL_PARTIAL": 1}


@STEPS
def test_less_than_a_sub_block_is_nothing(release: str, step: int) -> None:
    driver, _ = device_of(release)
    for mib, done in ((step - 1, 0), (step, step), (2 * step - 1, step)):
        before = driver.plugged_size
        assert driver.request(before - mib * MIB) == 0
        assert before - driver.plugged_size == done * MIB


@ALL
def test_a_whole_block_is_taken_in_one_go_and_removed(release: str) -> None:
    """Fake offline, unplug, offline and remove: nothing of it is left."""
    driver, zone = device_of(release)
    zone.alloc(0)
    assert driver.request(driver.plugged_size - BLOCK_SIZE) == 0
    assert [step.function for step in driver.steps] == [
        "virtio_mem_fake_offline",
        "VIRTIO_MEM_REQ_UNPLUG",
        "start_isolate_page_range",
        "offline_pages",
        "remove_memory",
    ]
    assert zone.is_offline(3 * BLOCK, 4 * BLOCK)
    assert (zone.nr_managed_pages, zone.nr_free_pages) == (3 * BLOCK, 3 * BLOCK - 1)
    assert (driver.states(), driver.offline_size) == ({"KERNEL": 2, "UNUSED": 1}, 0)


@STEPS
def test_a_busy_block_gives_what_is_not_busy(release: str, step: int) -> None:
    """The whole is refused, then each sub-block is tried, and the next block; -EBUSY if it does not suffice."""
    driver, zone = device_of(release)
    for block in (1, 2, 3):
        alloc_at(zone, block * BLOCK + 1500, PageClass.KERNEL)
    assert driver.request(0) == 16
    # the sub-block of the page stays in each block
    assert driver.plugged_size == 3 * step * MIB
    assert driver.states() == {"KERNEL_PARTIAL": 3}
    tries = functions(driver, "virtio_mem_fake_offline")
    assert [(pfn, nr) for _, pfn, nr in tries][:3] == [
        (3 * BLOCK, BLOCK),
        (4 * BLOCK - step * 256, step * 256),
        (4 * BLOCK - 2 * step * 256, step * 256),
    ]
    assert len(tries) == 3 * (1 + 16 // step)


def test_partly_plugged_blocks_come_first() -> None:
    """Lower block, but partly unplugged already: the work of the last request is finished first."""
    driver, zone = device_of("6.1")
    alloc_at(zone, 3 * BLOCK, PageClass.KERNEL)
    # all but the first sub-block of block 3, then the highest of block 2
    assert driver.request(driver.plugged_size - 16 * MIB) == 0
    assert driver.states() == {"KERNEL": 1, "KERNEL_PARTIAL": 2}
    driver.steps.clear()
    zone.free(3 * BLOCK)
    assert driver.request(driver.plugged_size - 2 * MIB) == 0
    assert unplugged(driver) == [(48, 2)]
    assert driver.states() == {"KERNEL": 1, "KERNEL_PARTIAL": 1, "UNUSED": 1}


def in_two_zones(release: str = "6.1", **options: bool) -> VirtioMem:
    """Blocks 1 and 2 in Normal, 3 and 4 in ZONE_MOVABLE; 5 is added and offline; 0 is not the device's."""
    zones = [Zone(3 * BLOCK, release), Zone(3 * BLOCK, release, start_pfn=3 * BLOCK, zone_movable=True)]
    memory = Memory([Member(zone, 0, kind) for zone, kind in zip(zones, ("Normal", "Movable"), strict=True)])
    hotplug = MemoryHotplug(memory, BLOCK, section_pages=SECTION)
    driver = VirtioMem(hotplug, VirtioMemDevice(BLOCK_SIZE, 5 * BLOCK_SIZE, 2 * MIB, **options))
    driver.adopt()
    assert hotplug.offline_block(5).errno == 0
    driver.steps.clear()
    return driver


def test_offline_blocks_then_movable_ones_then_the_others() -> None:
    driver = in_two_zones()
    assert driver.states() == {"KERNEL": 2, "MOVABLE": 2, "OFFLINE": 1}
    assert driver.request(0) == 0
    assert [pfn // BLOCK for _, pfn, _ in functions(driver, "remove_memory")] == [5, 4, 3, 2, 1]


def test_partly_plugged_ones_before_whole_ones_in_that_order() -> None:
    driver = in_two_zones()
    for block in (1, 3):
        driver.blocks[block] = MemoryBlock(driver.blocks[block] + 1)
        driver._unplug_sub_blocks(block, 7, 1)
    driver.steps.clear()
    assert driver.request(0) == 0
    assert [pfn // BLOCK for _, pfn, _ in functions(driver, "remove_memory")] == [5, 3, 1, 4, 2]


def test_an_offline_block_is_unplugged_from_its_end_without_the_allocator() -> None:
    driver = in_two_zones()
    assert driver.request(driver.plugged_size - 4 * MIB) == 0
    assert unplugged(driver) == [(92, 4)]
    assert driver.states() == {"KERNEL": 2, "MOVABLE": 2, "OFFLINE_PARTIAL": 1}
    assert driver.request(driver.plugged_size - 12 * MIB) == 0
    assert unplugged(driver)[1:] == [(80, 12)]
    assert (driver.states()["UNUSED"], driver.offline_size) == (1, 0)


def test_online_memory_is_left_alone_if_so_configured() -> None:
    driver = in_two_zones(unplug_online=False)
    assert driver.request(0) == 0
    assert driver.states() == {"KERNEL": 2, "MOVABLE": 2, "UNUSED": 1}
    assert driver.plugged_size == 4 * BLOCK_SIZE


# ---- fake offline ----


@ALL
@pytest.mark.parametrize(("movable", "tries"), [(True, FAKE_OFFLINE_TRIES), (False, 1)])
def test_zone_movable_is_tried_five_times(release: str, movable: bool, tries: int) -> None:
    driver, zone = device_of(release, 2, movable=movable)
    alloc_at(zone, BLOCK + 5, pinned=True)
    assert driver.request(driver.plugged_size - BLOCK_SIZE) == 16
    whole = [step for step in driver.steps if step.nr_pages == BLOCK and step.function == "virtio_mem_fake_offline"]
    assert [(step.errno, step.note) for step in whole] == [
        (16, f"try {number}" if number > 1 else "") for number in range(1, tries + 1)
    ]


@ALL
def test_without_memory_it_ends_at_once(release: str) -> None:
    """-ENOMEM: neither a second try nor another sub-block, and the run ends."""
    driver, zone = device_of(release, 2)
    while zone.nr_free_pages:
        zone.alloc(0)
    assert driver.request(0) == 12
    assert [step.errno for step in driver.steps] == [12]
    assert driver.plugged_size == BLOCK_SIZE


class Refuses(MemoryNotifier):
    """Another driver, that refuses as often as told."""

    def __init__(self, times: int) -> None:
        self.times = times

    def going_offline(self, start_pfn: int, nr_pages: int) -> tuple[int, list[Range]]:
        self.times -= 1
        return (16 if self.times >= 0 else 0), []


@pytest.mark.parametrize(
    ("release", "errnos", "unused"), [("5.15", [0, 0], 0), ("6.1", [0, 0], 0), ("6.12", [16, 0], 1)]
)
def test_a_block_that_is_unplugged_and_cannot_go(release: str, errnos: list[int], unused: int) -> None:
    """Since 6.6 it is remembered and tried again; before it stays, without any plugged sub-block."""
    driver, zone = device_of(release, 2)
    driver.hotplug.notifiers.append(Refuses(1))
    assert driver.request(0) == errnos[0]
    assert (driver.plugged_size, driver.states()) == (0, {"KERNEL_PARTIAL": 1})
    assert not zone.is_offline(BLOCK, 2 * BLOCK)
    assert driver.request(0) == errnos[1]
    assert driver.states() == ({"UNUSED": 1} if unused else {"KERNEL_PARTIAL": 1})


# ---- plugging ----


@STEPS
def test_new_blocks_are_plugged_from_their_start_and_go_online(release: str, step: int) -> None:
    """What is not plugged of the block stays PageOffline, and does not count as managed."""
    driver, zone = empty_device(release)
    free = zone.nr_free_pages
    assert driver.request(BLOCK_SIZE + 2 * step * MIB) == 0
    assert functions(driver, "VIRTIO_MEM_REQ_PLUG") == [
        ("VIRTIO_MEM_REQ_PLUG", BLOCK, BLOCK),
        ("VIRTIO_MEM_REQ_PLUG", 2 * BLOCK, 2 * step * 256),
    ]
    assert zone.nr_free_pages == free + BLOCK + 2 * step * 256 == zone.nr_managed_pages
    assert driver.states() == {"KERNEL": 1, "KERNEL_PARTIAL": 1, "UNUSED": 1}
    edge = 2 * BLOCK + 2 * step * 256
    assert [zone.page(pfn).page_class for pfn in (edge - 1, edge)] == [PageClass.FREE, PageClass.OFFLINE]


def test_sub_blocks_smaller_than_a_max_order_block_are_kept_apart() -> None:
    """virtio_mem_online_page: the block of 4 MiB that goes online is half plugged (5.17)."""
    driver, zone = empty_device("6.1")
    assert driver.request(6 * MIB) == 0
    assert zone.page(BLOCK + 1024).order == 9
    assert zone.page(BLOCK + 1536).page_class == PageClass.OFFLINE
    assert driver.request(8 * MIB) == 0
    # never online before: handed over as new, and merged
    assert zone.page(BLOCK + 1024).order == 10
    assert not driver.never_onlined & set(range((BLOCK + 1024) // 512, (BLOCK + 2048) // 512))


@ALL
def test_partly_plugged_blocks_are_filled_first_from_their_lowest_gap(release: str) -> None:
    driver, zone = device_of(release)
    whole = driver.plugged_size
    assert driver.request(whole - 8 * MIB) == 0
    driver.steps.clear()
    assert driver.request(whole - 4 * MIB) == 0
    assert functions(driver, "VIRTIO_MEM_REQ_PLUG") == [("VIRTIO_MEM_REQ_PLUG", 3 * BLOCK + 2048, 1024)]
    assert zone.nr_managed_pages == 4 * BLOCK - 1024
    assert driver.request(whole) == 0
    assert (driver.states(), zone.nr_free_pages) == ({"KERNEL": 3}, 4 * BLOCK)


def test_blocks_that_stay_offline_are_limited() -> None:
    """virtio_mem_could_add_memory: 1 GiB, or two blocks."""
    driver, zone = empty_device("6.1", online=False)
    assert driver.offline_threshold == OFFLINE_THRESHOLD
    driver.offline_threshold = 2 * BLOCK_SIZE
    assert driver.request(3 * BLOCK_SIZE) == 28
    assert (driver.plugged_size, driver.offline_size) == (2 * BLOCK_SIZE, 2 * BLOCK_SIZE)
    assert driver.states() == {"OFFLINE": 2, "UNUSED": 1}
    assert driver.online_block(1, "Normal") == 0
    assert driver.request(3 * BLOCK_SIZE) == 0
    assert driver.states() == {"KERNEL": 1, "OFFLINE": 2}
    assert zone.nr_managed_pages == 2 * BLOCK


def test_more_than_the_region_is_not_there() -> None:
    driver, _ = empty_device("6.1")
    assert driver.request(4 * BLOCK_SIZE) == 28
    assert driver.plugged_size == 3 * BLOCK_SIZE


# ---- what Linux tells the driver ----


@ALL
def test_unplugged_memory_goes_offline_with_its_block_and_stays_unplugged(release: str) -> None:
    """MEM_GOING_OFFLINE lets go of it; back online, it is kept PageOffline and not managed."""
    driver, zone = device_of(release)
    assert driver.request(driver.plugged_size - 4 * MIB) == 0
    free, managed = zone.nr_free_pages, zone.nr_managed_pages
    assert driver.hotplug.offline_block(3).errno == 0
    assert (driver.states(), driver.offline_size) == ({"KERNEL": 2, "OFFLINE_PARTIAL": 1}, BLOCK_SIZE)
    assert zone.nr_managed_pages == managed - (BLOCK - 1024)
    assert driver.online_block(3) == 0
    assert (zone.nr_free_pages, zone.nr_managed_pages) == (free, managed)
    assert (driver.states(), driver.offline_size) == ({"KERNEL": 2, "KERNEL_PARTIAL": 1}, 0)
    assert zone.page(4 * BLOCK - 1).page_class == PageClass.OFFLINE


def test_a_block_that_does_not_go_offline_is_as_before() -> None:
    driver, zone = device_of("6.1")
    assert driver.request(driver.plugged_size - 4 * MIB) == 0
    alloc_at(zone, 3 * BLOCK + 7, pinned=True)
    managed = zone.nr_managed_pages
    assert driver.hotplug.offline_block(3).for_ever
    assert (driver.states(), zone.nr_managed_pages) == ({"KERNEL": 2, "KERNEL_PARTIAL": 1}, managed)


def test_only_its_own_whole_blocks_go_offline_and_only_added_ones_online() -> None:
    driver, _ = device_of("6.1")
    assert driver.hotplug.offline_pages(BLOCK, 2 * BLOCK).reason == "notifier failure"
    # memory that is not the device's is none of its business
    assert driver.hotplug.offline_block(0).errno == 0
    assert driver.hotplug.online_pages(0, BLOCK) == 0
    assert driver.request(driver.plugged_size - BLOCK_SIZE) == 0
    assert driver.online_block(3) == 22


# ---- big blocks ----


@ALL
def test_big_blocks_go_whole(release: str) -> None:
    driver, zone = device_of(release, 5, 32 * MIB)
    assert (driver.bb_size, driver.states()) == (32 * MIB, {"ADDED": 1})
    assert driver.request(0) == 0
    # section by section fake offline, then block by block offline
    assert [(pfn, nr) for _, pfn, nr in functions(driver, "virtio_mem_fake_offline")] == [
        (pfn, SECTION) for pfn in range(2 * BLOCK, 4 * BLOCK, SECTION)
    ]
    assert [pfn for _, pfn, _ in functions(driver, "offline_pages")] == [2 * BLOCK, 3 * BLOCK]
    assert zone.is_offline(2 * BLOCK, 4 * BLOCK)
    assert (driver.states(), driver.plugged_size, driver.offline_size) == ({"UNUSED": 1}, 0, 0)
    assert driver.request(32 * MIB) == 0
    assert (driver.states(), zone.nr_free_pages) == ({"ADDED": 1}, 5 * BLOCK)


@ALL
def test_a_busy_big_block_is_undone(release: str) -> None:
    """rollback: what was fake-offline is free again, and counted."""
    driver, zone = device_of(release, 3, 16 * MIB)
    for block in (1, 2):
        alloc_at(zone, block * BLOCK + 2 * SECTION + 5, PageClass.KERNEL)
    free = zone.nr_free_pages
    assert driver.request(0) == 16
    assert (zone.nr_free_pages, zone.nr_managed_pages) == (free, 3 * BLOCK)
    assert driver.states() == {"ADDED": 2}
    # in the last of three turns, as neither is offline or in ZONE_MOVABLE
    assert len(functions(driver, "virtio_mem_fake_offline")) == 2 * 3


@ALL
def test_a_second_block_that_does_not_go_brings_the_first_back(release: str) -> None:
    """offline_and_remove_memory puts it online, where the driver keeps it until its own rollback."""
    driver, zone = device_of(release, 5, 32 * MIB)
    driver.hotplug.notifiers.append(AfterFirst())
    free = zone.nr_free_pages
    assert driver.request(0) == 16
    assert (zone.nr_free_pages, zone.nr_managed_pages) == (free, 5 * BLOCK)
    assert (driver.states(), driver.offline_size, driver.never_onlined) == ({"ADDED": 1}, 0, set())


class AfterFirst(MemoryNotifier):
    """Refuses all but the first block."""

    asked = 0

    def going_offline(self, start_pfn: int, nr_pages: int) -> tuple[int, list[Range]]:
        self.asked += 1
        return (0 if self.asked == 1 else 16), []


def test_offline_big_blocks_then_movable_ones() -> None:
    zones = [Zone(3 * BLOCK), Zone(3 * BLOCK, start_pfn=3 * BLOCK, zone_movable=True)]
    memory = Memory([Member(zone, 0, kind) for zone, kind in zip(zones, ("Normal", "Movable"), strict=True)])
    hotplug = MemoryHotplug(memory, BLOCK, section_pages=SECTION)
    driver = VirtioMem(hotplug, VirtioMemDevice(BLOCK_SIZE, 5 * BLOCK_SIZE, 2 * MIB, force_bbm=True))
    driver.adopt()
    assert hotplug.offline_block(1).errno == 0
    assert driver.big_blocks[1] is BigBlock.ADDED
    driver.steps.clear()
    assert driver.request(0) == 0
    assert [pfn // BLOCK for _, pfn, _ in functions(driver, "remove_memory")] == [1, 5, 4, 3, 2]


# ---- at large ----


@ALL
@pytest.mark.parametrize("seed", range(2))
def test_random_requests(release: str, seed: int) -> None:
    """Sizes come and go; what is plugged, managed and in use agrees after each request."""
    print(f"replay: pytest 'tests/consumers/test_virtio_mem.py::test_random_requests[{seed}-{release}]'")
    rng = random.Random(f"{release} {seed}")
    driver, zone = device_of(release, 5, movable=rng.random() < 0.5)
    for _ in range(rng.randrange(3000)):
        pfn = zone.alloc(rng.choices([0, 1, 9], [70, 29, 1])[0], M, pinned=rng.random() < 0.001)
        if rng.random() < 0.5:
            zone.free(pfn)
    used = zone.geometry.nr_pages - zone.nr_free_pages
    for _ in range(12):
        asked = rng.randrange(0, 4 * BLOCK_SIZE + 1, 2 * MIB)
        if rng.random() < 0.2:
            block = rng.randrange(1, 5)
            if driver.hotplug.block_is_online(block):
                driver.hotplug.offline_block(block)
            elif driver.blocks[block] is not MemoryBlock.UNUSED:
                assert driver.online_block(block) == 0
        rc = driver.request(asked)
        step = driver.step_size
        if rc == 0:
            assert abs(driver.plugged_size - asked) < step
        plugged = {(mb, i) for mb, bits in driver.sub_blocks.items() for i, bit in enumerate(bits) if bit}
        assert driver.plugged_size == len(plugged) * step
        online = [mb for mb in driver.blocks if driver.hotplug.block_is_online(mb)]
        assert {mb for mb, state in driver.blocks.items() if state >= MemoryBlock.KERNEL} == set(online)
        expected = BLOCK + sum(sum(driver.sub_blocks[mb]) for mb in online) * step // 4096
        assert (zone.nr_managed_pages, zone.nr_managed_pages - zone.nr_free_pages) == (expected, used)
        assert driver.offline_size == BLOCK_SIZE * sum(
            state in (MemoryBlock.OFFLINE, MemoryBlock.OFFLINE_PARTIAL) for state in driver.blocks.values()
        )


@pytest.mark.slow
@pytest.mark.parametrize("release", ["5.15", "seed", "6.1", "6.12", "6.19"])
@pytest.mark.parametrize("machine", ["guest-6.1.192", "zynq-256M-kpageflags"])
def test_sub_blocks_of_a_machine(shared: Path, machine: str, release: str) -> None:
    """Isolation refuses a sub-block just if CMA, or a page of a class that it refuses, lies in it; the end is no room or busy."""
    snapshot = read_machine(shared / "machines" / machine)
    memory = snapshot_memory(snapshot, release)
    heal(memory)
    driver = place_device(find_blocks(snapshot, None), memory, 2 * MIB)
    owned = driver.plugged_size
    rc = driver.request(max(0, owned - 384 * MIB))
    assert rc == (16 if machine == "zynq-256M-kpageflags" else 0)
    assert 0 < driver.plugged_size < owned
    assert snapshot.runs is not None
    start, nr, kind = (snapshot.runs[name].to_numpy().astype(np.int64) for name in ("start_pfn", "nr_pages", "class"))
    pages = driver.sb_size // 4096
    tries = [s for s in driver.steps if s.function == "virtio_mem_fake_offline" and s.nr_pages == pages]
    for step in tries:
        first = step.start_pfn
        inside = (start < first + pages) & (start + nr > first)
        zone = memory.member_of(first).zone
        blocks = range(first, first + pages, 1 << snapshot.pageblock_order)
        cma = any(zone.page(pfn).pageblock_type == Migratetype.CMA for pfn in blocks)
        refuses = cma or np.isin(kind[inside], [*STUCK, PageClass.PAGEVEC]).any()
        assert step.rule.startswith("start_isolate_page_range") == refuses, step
    assert sum(step.nr_pages for step in driver.steps if step.function == "VIRTIO_MEM_REQ_UNPLUG") * 4096 == (
        owned - driver.plugged_size
    )
    assert len(tries) > 10
