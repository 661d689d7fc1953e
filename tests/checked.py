"""Every invariant of every zone, checked after every operation of a consumer."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from pageblock import Zone
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


def check_zones(memory: Zone | Memory, *, recorded: bool = False) -> None:
    """Every invariant of every zone. ``recorded``: free pages may stand apart, as pages were freed while they were read."""
    for zone in [memory] if isinstance(memory, Zone) else [member.zone for member in memory.members]:
        try:
            zone.check()
        except InvariantError as broken:
            if not recorded or broken.invariant != "buddies merged":
                raise


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


def checked(operation: Callable[..., Any], *, recorded: bool = False) -> Callable[..., Any]:
    """The same operation, with a check behind it, also where it raises."""

    @functools.wraps(operation)
    def then_check(consumer: Any, *args: Any, **options: Any) -> Any:
        try:
            return operation(consumer, *args, **options)
        finally:
            check_zones(memory_of(consumer), recorded=recorded)

    return then_check


def check_every_operation(monkeypatch: pytest.MonkeyPatch, *, recorded: bool = False) -> None:
    """Wrap the consumers' operations for one test."""
    for consumer, names in OPERATIONS.items():
        for name in names:
            monkeypatch.setattr(consumer, name, checked(getattr(consumer, name), recorded=recorded))
