"""Every invariant of every zone is checked after every operation of a consumer, in whichever test it is called."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from pageblock import Zone
from pageblock.consumers import cma_boot
from pageblock.consumers.cma import CmaArea
from pageblock.consumers.dma import DmaAreas
from pageblock.consumers.hugetlb import HugetlbPool
from pageblock.consumers.memory_hotplug import MemoryHotplug
from pageblock.consumers.virtio_mem import VirtioMem
from pageblock.mm.errors import InvariantError
from pageblock.mm.memory import Memory

#: Consumer -> its methods that may change zones.
OPERATIONS: dict[type, tuple[str, ...]] = {
    CmaArea: ("activate", "alloc", "release"),
    DmaAreas: ("alloc_pages", "dma_alloc_contiguous", "dma_alloc_from_contiguous", "dma_free_contiguous"),
    HugetlbPool: ("alloc_gigantic_page", "dissolve", "set_nr_hugepages"),
    MemoryHotplug: ("offline_pages", "online_pages"),
    VirtioMem: ("_fake_offline", "_fake_online", "adopt", "online_block", "request"),
}


def check_zones(memory: Zone | Memory) -> None:
    """Every invariant of every zone."""
    for zone in [memory] if isinstance(memory, Zone) else [member.zone for member in memory.members]:
        zone.check()


def heal(memory: Memory) -> None:
    """Merge free pages of a recorded machine that stand apart because pages were freed while it was read."""
    for member in memory.members:
        zone = member.zone
        while (apart := free_pages_apart(zone)) is not None:
            page = zone.page(apart)
            taken = [zone.alloc(page.order, page.pageblock_type)]
            while taken[-1] != apart:
                taken.append(zone.alloc(page.order, page.pageblock_type))
            for pfn in reversed(taken):
                zone.free(pfn)


def free_pages_apart(zone: Zone) -> int | None:
    """A free page whose buddy is free, too, or None."""
    try:
        zone.check()
    except InvariantError as broken:
        if broken.invariant != "buddies merged":
            raise
        return broken.pfn
    return None


def memory_of(consumer: Any) -> Zone | Memory:
    """The zones that a consumer works on."""
    found: Zone | Memory = consumer.hotplug.memory if isinstance(consumer, VirtioMem) else consumer.memory
    return found


def checked(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The same operation, with a check behind it, also where it raises."""

    @functools.wraps(operation)
    def then_check(consumer: Any, *args: Any, **options: Any) -> Any:
        try:
            return operation(consumer, *args, **options)
        finally:
            check_zones(memory_of(consumer))

    return then_check


@pytest.fixture(autouse=True)
def every_operation_is_checked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Wrap the consumers' operations; ``activate`` is a function that test modules import by name."""
    for consumer, names in OPERATIONS.items():
        for name in names:
            monkeypatch.setattr(consumer, name, checked(getattr(consumer, name)))
    if getattr(request.module, "activate", None) is cma_boot.activate:

        def activate(memory: Zone | Memory, area: cma_boot.Reserved) -> CmaArea | None:
            try:
                return cma_boot.activate(memory, area)
            finally:
                check_zones(memory)

        monkeypatch.setattr(request.module, "activate", activate)
