"""Memory blocks of a recorded machine: how large they are, which there are, and which a virtio-mem device could own."""

from collections import Counter
from pathlib import Path

import numpy as np

from ..consumers.memory_hotplug import SECTION_SIZE, MemoryHotplug, memory_block_size
from ..consumers.virtio_mem import VirtioMem
from ..consumers.virtio_mem_device import VirtioMemDevice
from ..doctor.sizes import size_name
from ..errors import InputError
from ..machine import Snapshot
from ..mm.memory import Memory
from ..mm.types import PageClass

__all__ = ["Blocks", "find_blocks", "place_device"]

#: Where a running kernel says how large its memory blocks are.
_LIVE = Path("/sys/devices/system/memory/block_size_bytes")


class Blocks:
    """The memory blocks of a machine.

    Attributes:
        section_pages, block_pages: pages of a section and of a block.
        online: numbers of the blocks in which a page is online, ascending.
        assumption: how their size was found, a sentence.
    """

    def __init__(self, snapshot: Snapshot, size: int, section: int, assumption: str) -> None:
        self.section_pages = section // snapshot.page_size
        self.block_pages = size // snapshot.page_size
        self.assumption = assumption
        if snapshot.runs is None:
            raise InputError(f"{snapshot.source}: no page is known without kpageflags; record it as root")
        there = snapshot.runs["class"].to_numpy() != PageClass.HOLE
        start = snapshot.runs["start_pfn"].to_numpy()[there].astype(np.int64)
        end = start + snapshot.runs["nr_pages"].to_numpy()[there].astype(np.int64)
        found: set[int] = set()
        for first, last in np.unique(np.stack([start, end - 1], 1) // self.block_pages, axis=0).tolist():
            found.update(range(first, last + 1))
        self.online = sorted(found)

    def whole_pages(self, snapshot: Snapshot) -> int:
        """Pages of the blocks all of which is online in one zone."""
        assert snapshot.runs is not None
        there = snapshot.runs["class"].to_numpy() != PageClass.HOLE
        zone = snapshot.runs["zone"].to_numpy()[there].tolist()
        start = snapshot.runs["start_pfn"].to_numpy()[there].tolist()
        count = snapshot.runs["nr_pages"].to_numpy()[there].tolist()
        pages: Counter[tuple[int, int]] = Counter()
        for of, first, nr in zip(zone, start, count, strict=True):
            at = first
            while at < first + nr:
                end = min(first + nr, (at // self.block_pages + 1) * self.block_pages)
                pages[of, at // self.block_pages] += end - at
                at = end
        return sum(nr for nr in pages.values() if nr == self.block_pages)

    def hotplug(self, memory: Memory) -> MemoryHotplug:
        """The consumer for these blocks."""
        return MemoryHotplug(memory, self.block_pages, section_pages=self.section_pages)

    def names(self) -> str:
        """The online blocks as ranges: ``0-22, 32-40``."""
        edges = np.flatnonzero(np.diff(self.online) > 1)
        parts = np.split(np.array(self.online), edges + 1)
        return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts if len(part))


def find_blocks(snapshot: Snapshot, wanted: int | None) -> Blocks:
    """The machine's blocks: of a size that was asked for (bytes), that the running kernel says, or that x86-64 would choose.

    Raises:
        InputError: a size that is no whole number of sections, or a machine without kpageflags.
    """
    section = max(SECTION_SIZE, snapshot.page_size << max(snapshot.max_order, snapshot.pageblock_order))
    if wanted is not None:
        if wanted % section:
            raise InputError(
                f"--block-size {size_name(wanted // snapshot.page_size, snapshot.page_size)}: "
                f"a memory block is a whole number of sections of {section >> 20} MiB"
            )
        return Blocks(snapshot, wanted, section, f"memory blocks of {wanted >> 20:,} MiB, as --block-size says")
    if snapshot.live:
        try:
            size = int(_LIVE.read_text(), 16)
        except (OSError, ValueError):
            size = 0
        if size and size % section == 0:
            return Blocks(snapshot, size, section, f"memory blocks of {size >> 20:,} MiB: the kernel says so")
    end = max(zone.end_pfn for zone in snapshot.zones) * snapshot.page_size
    size = max(section, memory_block_size(end, hypervisor=False))
    why = (
        "memory ends below 64 GiB"
        if size == section
        else "memory ends at 64 GiB or above, and no hypervisor is assumed"
    )
    return Blocks(
        snapshot,
        size,
        section,
        f"memory blocks of {size >> 20:,} MiB, as x86-64 chooses them: {why} (--block-size says else)",
    )


def place_device(blocks: Blocks, memory: Memory, device_block: int) -> VirtioMem:
    """A device that owns every whole block that is online in one zone; what is between them is its unplugged memory."""
    page = memory.members[0].zone.geometry.page_size
    unit = max(blocks.block_pages * page, device_block)
    start = blocks.online[0] * blocks.block_pages * page // unit * unit
    end = -(-(blocks.online[-1] + 1) * blocks.block_pages * page // unit) * unit
    driver = VirtioMem(blocks.hotplug(memory), VirtioMemDevice(start, end - start, device_block))
    driver.adopt()
    return driver
