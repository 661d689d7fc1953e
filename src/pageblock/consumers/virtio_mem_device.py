"""A virtio-mem device as its driver sees it: what it says of itself, the states of its blocks, its smallest step.

Source: drivers/virtio/virtio_mem.c (5.15.16, 6.1.192, 6.12.117, 6.19.9). Sizes in bytes.
"""

from dataclasses import dataclass
from enum import IntEnum

from ..mm import Zone
from ..mm import constants as k
from ..mm import release as find_release

__all__ = ["PLUG_ORDER", "UNPLUG_ORDER", "BigBlock", "MemoryBlock", "VirtioMemDevice", "subblock_size"]


class MemoryBlock(IntEnum):
    """State of a memory block in sub-block mode (enum virtio_mem_sbm_mb_state)."""

    UNUSED = 0
    PLUGGED = 1
    OFFLINE = 2
    OFFLINE_PARTIAL = 3
    KERNEL = 4
    KERNEL_PARTIAL = 5
    MOVABLE = 6
    MOVABLE_PARTIAL = 7


class BigBlock(IntEnum):
    """State of a big block (enum virtio_mem_bbm_bb_state)."""

    UNUSED = 0
    PLUGGED = 1
    ADDED = 2
    FAKE_OFFLINE = 3


#: States whose memory blocks are plugged from and unplugged from, in this order (virtio_mem_sbm_plug_request, _unplug_request).
PLUG_ORDER = (MemoryBlock.KERNEL_PARTIAL, MemoryBlock.MOVABLE_PARTIAL, MemoryBlock.OFFLINE_PARTIAL)
UNPLUG_ORDER = (
    MemoryBlock.OFFLINE_PARTIAL,
    MemoryBlock.OFFLINE,
    MemoryBlock.MOVABLE_PARTIAL,
    MemoryBlock.KERNEL_PARTIAL,
    MemoryBlock.MOVABLE,
    MemoryBlock.KERNEL,
)


@dataclass(frozen=True, slots=True)
class VirtioMemDevice:
    """What the device says of itself, and the driver's module parameters; bytes.

    ``addr``, ``region_size``: where its memory may lie. ``device_block_size``: what it plugs at least.
    """

    addr: int
    region_size: int
    device_block_size: int
    force_bbm: bool = False
    bbm_block_size: int = 0
    unplug_online: bool = True


def subblock_size(release: str, zone: Zone, device_block_size: int) -> int:
    """Smallest size that is plugged and unplugged in sub-block mode, bytes (rule "virtio-mem subblock")."""
    geometry = zone.geometry
    order = geometry.pageblock_order
    if find_release(release).rules[k.RULE_VIRTIO_SUBBLOCK] == k.ALIGN_MAX_ORDER:
        order = max(order, geometry.max_order)
    return max(device_block_size, geometry.page_size << order)
