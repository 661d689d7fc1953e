"""DMA memory from CMA: the default area, cma= and the device tree at boot, and dma_alloc_contiguous.

Source: kernel/dma/contiguous.c (5.15.16, 6.1.176, 6.12.19, 6.19.9); kernel/dma/direct.c for what follows
a NULL; lib/cmdline.c memparse.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from ..mm import Migratetype, Zone
from ..mm.errors import OutOfMemoryError, UsageError
from ..mm.memory import Memory
from ..mm.types import PageClass
from .cma import CmaAnswer, CmaArea
from .cma_boot import BootRefused, CmaBoot, Reserved
from .kernel import kernel_version
from .trial import Step

__all__ = [
    "CMA_ALIGNMENT",
    "CmaParameter",
    "Device",
    "DmaAnswer",
    "DmaAreas",
    "TreeNode",
    "dma_contiguous_reserve",
    "early_cma",
    "get_order",
    "memparse",
    "rmem_cma_setup",
]

EINVAL, EBUSY = 22, 16

#: CONFIG_CMA_ALIGNMENT: order above which buffers are not aligned to their size (kernel/dma/Kconfig, 2 to 12).
CMA_ALIGNMENT = 8


def memparse(text: str) -> tuple[int, str]:
    """A number with a suffix K, M, G, T, P or E, and what follows it. 0x: hexadecimal, 0: octal; no number is 0.

    Numbers wrap at 2^64 as the kernel's do. Source: lib/cmdline.c memparse, lib/vsprintf.c simple_strtoull.
    """
    found = re.match(r"0[xX](?=[0-9a-fA-F])[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*", text)
    digits = found[0] if found else ""
    base = 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10
    value = int(digits or "0", base)
    rest = text[len(digits) :]
    power = "KMGTPE".find(rest[:1].upper()) + 1 if rest else 0
    return (value << 10 * power) & ((1 << 64) - 1), rest[1:] if power else rest


@dataclass(frozen=True, slots=True)
class CmaParameter:
    """cma= of the kernel's command line, bytes. ``rest``: what the kernel did not look at."""

    size: int
    base: int = 0
    limit: int = 0
    rest: str = ""

    @property
    def fixed(self) -> bool:
        """Whether the area must lie exactly at ``base``: the limit leaves no choice (dma_contiguous_reserve)."""
        return self.base + self.size == self.limit


def early_cma(text: str | None) -> CmaParameter:
    """``size[@base[-limit]]``; base without a limit is a fixed place.

    The kernel refuses only an option without a value; of a malformed one it reads what it can, and a size of 0 makes no area.

    Raises:
        BootRefused: -EINVAL without a value.
    """
    if text is None:
        raise BootRefused(EINVAL, "early_cma", "cma= has no value")
    size, rest = memparse(text)
    if not rest.startswith("@"):
        return CmaParameter(size, rest=rest)
    base, rest = memparse(rest[1:])
    if not rest.startswith("-"):
        return CmaParameter(size, base, (base + size) & ((1 << 64) - 1), rest)
    limit, rest = memparse(rest[1:])
    return CmaParameter(size, base, limit, rest)


def dma_contiguous_reserve(
    boot: CmaBoot, parameter: CmaParameter | None, limit: int = 0, default_size: int = 0
) -> Reserved | None:
    """The default area (dma_contiguous_reserve): by cma=, else of the size that the kernel was built with; None: none.

    Args:
        boot: where it is reserved.
        parameter: cma=, None: not given.
        limit: end of the memory that DMA reaches, bytes; 0: any. It bounds cma= too, since 6.19 only where
            that names no limit.
        default_size: CONFIG_CMA_SIZE_…, bytes.

    Raises:
        BootRefused: as ``CmaBoot.declare_contiguous``.
    """
    if parameter is None:
        size, base, end, fixed = default_size, 0, limit, False
    else:
        size, base, fixed = parameter.size, parameter.base, parameter.fixed
        if kernel_version(boot.release) >= (6, 19):
            end = parameter.limit or limit
        else:
            end = min(filter(None, (parameter.limit, limit)), default=0)
    if not size:
        return None
    return boot.declare_contiguous(base, size, end, 0, 0, fixed, "reserved")


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A reserved-memory node of the device tree with compatible ``shared-dma-pool``; addresses and sizes in bytes."""

    name: str
    base: int
    size: int
    reusable: bool = True
    no_map: bool = False
    cma_default: bool = False


def rmem_cma_setup(boot: CmaBoot, node: TreeNode, parameter: CmaParameter | None = None) -> Reserved:
    """Make an area of a device tree node (rmem_cma_setup). ``parameter``: cma= of the command line.

    Raises:
        BootRefused: -EBUSY if cma= is given and the node would be the default area; -EINVAL if it is not reusable or
            has no-map, or for "incorrect alignment of CMA region"; then as ``CmaBoot.init_reserved_mem``.

    In this order until 6.12; in 6.19 the command line is looked at before, by whoever reserves the memory.
    """
    function = "rmem_cma_setup"
    if parameter is not None and node.cma_default:
        raise BootRefused(EBUSY, function, f"{node.name} is bypassed: cma= of the command line is used instead")
    if not node.reusable:
        raise BootRefused(EINVAL, function, f"{node.name} is not reusable: it is no CMA area")
    if node.no_map:
        raise BootRefused(EINVAL, function, f"{node.name} has no-map: it is no CMA area")
    align = boot.min_alignment
    if (node.base | node.size) % align:
        what, value = ("base", node.base) if node.base % align else ("size", node.size)
        raise BootRefused(
            EINVAL, function, f"incorrect alignment of CMA region: {what} {value:#x} is no multiple of {align:#x} bytes"
        )
    return boot.init_reserved_mem(node.base, node.size, 0, node.name)


# ---- at run time ----


@dataclass(frozen=True, slots=True)
class Device:
    """Who asks: its node (None: no node) and the area that belongs to it alone."""

    node: int | None = None
    area: CmaArea | None = None


@dataclass(frozen=True, slots=True)
class DmaAnswer:
    """What a request got: ``pfn`` or None; ``area``: None if it came from the page allocator; steps in order.

    ``pages``: what is taken: the page allocator gives 2^order pages, more than was asked for.
    """

    pfn: int | None
    pages: int
    area: CmaArea | None
    steps: tuple[Step, ...]
    answers: tuple[CmaAnswer, ...] = ()


def get_order(size: int, page_size: int = 4096) -> int:
    """Order of the smallest block that holds ``size`` bytes (include/asm-generic/getorder.h)."""
    return max(0, (max(size, 1) - 1) // page_size).bit_length()


@dataclass(slots=True)
class DmaAreas:
    """The areas that DMA may use, and the zones behind.

    ``per_node``: cma_pernuma=; ``numa``: numa_cma= of one node (6.7; read in 6.12.19 and 6.19.9), asked after it.
    ``alignment``: CONFIG_CMA_ALIGNMENT.
    """

    memory: Zone | Memory
    default: CmaArea | None = None
    per_node: dict[int, CmaArea] = field(default_factory=dict)
    numa: dict[int, CmaArea] = field(default_factory=dict)
    alignment: int = CMA_ALIGNMENT

    @property
    def page_size(self) -> int:
        """Bytes."""
        zone = self.memory.members[0].zone if isinstance(self.memory, Memory) else self.memory
        return zone.geometry.page_size

    def dma_alloc_from_contiguous(self, device: Device, count: int, align: int) -> CmaAnswer | None:
        """``count`` pages from the device's area or the default one, aligned to CMA_ALIGNMENT at most; None: no area."""
        area = device.area or self.default
        return area.alloc(count, min(align, self.alignment)) if area else None

    def dma_alloc_contiguous(
        self, device: Device, size: int, *, may_block: bool = True, zone_limit: str | None = None
    ) -> DmaAnswer:
        """Which area gives: the device's alone, or the node's areas and then the default one.

        Args:
            device: who asks.
            size: bytes; whole pages of it are taken (size >> PAGE_SHIFT).
            may_block: the gfp flags allow waiting; if not, no area is asked.
            zone_limit: DMA or DMA32 for a request with that flag: it passes the nodes' areas over.

        Raises:
            UsageError: no size, or an unknown limit.

        One page comes from no area but the device's own.
        """
        if size < 1 or zone_limit not in (None, "DMA", "DMA32"):
            raise UsageError(
                f"a request of {size} bytes limited to {zone_limit}: give a positive size, and DMA or DMA32"
            )
        if not may_block:
            return self._none("the request may not wait")
        if device.area:
            return self._ask([device.area], size)
        if size <= self.page_size:
            return self._none("one page is contiguous anyway: it is left to the page allocator")
        areas = []
        if device.node is not None and zone_limit is None:
            areas = [found[device.node] for found in (self.per_node, self.numa) if device.node in found]
        if self.default:
            areas.append(self.default)
        return self._ask(areas, size) if areas else self._none("there is no area")

    def _none(self, note: str) -> DmaAnswer:
        return DmaAnswer(None, 0, None, (Step("dma_alloc_contiguous", 0, 0, note=note),))

    def _ask(self, areas: list[CmaArea], size: int) -> DmaAnswer:
        align = min(get_order(size, self.page_size), self.alignment)
        count = size // self.page_size
        answers: list[CmaAnswer] = []
        steps: list[Step] = []
        for area in areas:
            answers.append(area.alloc(count, align))
            steps += [attempt.step for attempt in answers[-1].tries]
            if answers[-1].pfn is not None:
                return DmaAnswer(answers[-1].pfn, count, area, tuple(steps), tuple(answers))
            steps.append(
                Step(
                    "cma_alloc",
                    area.base_pfn,
                    count,
                    errno=answers[-1].errno,
                    rule=f"{area.name}: {answers[-1].reason}",
                )
            )
        return DmaAnswer(None, 0, None, tuple(steps), tuple(answers))

    def alloc_pages(
        self, device: Device, size: int, *, may_block: bool = True, zone_limit: str | None = None
    ) -> DmaAnswer:
        """An area's pages, or else a block of 2^get_order(size) pages of the allocator (__dma_direct_alloc_pages).

        Such a block is contiguous too, but cannot be larger than a max order block, and is aligned to its size. Every page that
        comes from an area is within the device's reach here: masks are not modelled.
        """
        answer = self.dma_alloc_contiguous(device, size, may_block=may_block, zone_limit=zone_limit)
        if answer.pfn is not None:
            return answer
        order = get_order(size, self.page_size)
        step = Step("alloc_pages_node", 0, 1 << order, note=f"order {order}")
        try:
            if isinstance(self.memory, Memory):
                pfn = self.memory.alloc(
                    order,
                    Migratetype.UNMOVABLE,
                    PageClass.KERNEL,
                    node=device.node if device.node is not None else self.memory.nodes[0],
                    highest=zone_limit or "Normal",
                )
            else:
                if order > self.memory.geometry.max_order:
                    raise OutOfMemoryError(f"order {order} is above max order {self.memory.geometry.max_order}")
                pfn = self.memory.alloc(order, Migratetype.UNMOVABLE, PageClass.KERNEL)
        except OutOfMemoryError as none:
            failed = replace(step, errno=12, rule=str(none))
            return DmaAnswer(None, 0, None, (*answer.steps, failed), answer.answers)
        return DmaAnswer(pfn, 1 << order, None, (*answer.steps, replace(step, start_pfn=pfn)), answer.answers)

    def dma_free_contiguous(self, device: Device, pfn: int, size: int) -> CmaArea | None:
        """Give memory back: to the device's area, or to the node's and the default one, else to the allocator; to whom.

        Raises:
            UsageError: the allocator gave no such block.
        """
        count = -(-size // self.page_size)
        areas: list[Any] = [device.area]
        if device.area is None:
            node = self.memory.member_of(pfn).node if isinstance(self.memory, Memory) else 0
            areas = [self.per_node.get(node), self.numa.get(node), self.default]
        for area in areas:
            if area is not None and area.release(pfn, count):
                found: CmaArea = area
                return found
        self.memory.free(pfn)
        return None
