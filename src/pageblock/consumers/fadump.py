"""Firmware-assisted dump of powerpc: the memory that it reserves, and the CMA area in it.

Source: arch/powerpc/kernel/fadump.c (5.15.16, 6.1.176, 6.12.19, 6.19.9), arch/powerpc/include/asm/fadump-internal.h
(5.15.16). Sizes and addresses in bytes. A kernel that captures a dump (dump_active) reserves everything else and is not modelled.
"""

from dataclasses import dataclass, replace

from ..mm.errors import UsageError
from .cma_boot import BootRefused, CmaBoot, Reserved
from .kernel import fadump_alignment_pages, kernel_version

__all__ = ["MIN_BOOT_MEM", "Fadump", "FadumpRequest", "fadump_cma_init", "fadump_reserve_mem"]

ENOMEM, EINVAL = 12, 22

#: Smallest boot memory by platform: pseries (RTAS_FADUMP_MIN_BOOT_MEM), powernv (OPAL_FADUMP_MIN_BOOT_MEM).
MIN_BOOT_MEM = {"pseries": (1 << 28) + (1 << 26), "powernv": 0x30000000}

#: Most of the memory that crashkernel= may ask for: a quarter (MAX_BOOT_MEM_RATIO).
MAX_BOOT_MEM_RATIO = 4


@dataclass(frozen=True, slots=True)
class FadumpRequest:
    """What the command line and the firmware say; bytes.

    ``crashkernel``: size of crashkernel=, 0: none. ``nocma``: fadump=nocma. ``cpu_state``, ``hpte``: what the firmware wants
    for registers and the hash table. ``metadata``: of the platform. ``headers``: of the dump; the rounding to pages hides
    it. ``bottom``: where memory for it is looked for from on; None: behind the boot memory. ``reserve_mem``: size of
    fadump_reserve_mem=, 0: none; crashkernel= goes first.
    """

    crashkernel: int = 0
    nocma: bool = False
    platform: str = "pseries"
    cpu_state: int = 0
    hpte: int = 0
    metadata: int = 0
    headers: int = 1024
    bottom: int | None = None
    reserve_mem: int = 0


@dataclass(frozen=True, slots=True)
class Fadump:
    """What is reserved: ``[base, base + size)``, of which boot_memory_size may be CMA's; ``area``: None without CMA.

    ``refusal``: why there is no area, None if there is one or none was wanted; the reservation stays in any case.
    """

    base: int
    size: int
    boot_memory_size: int
    area: Reserved | None = None
    refusal: BootRefused | None = None


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def boot_memory_size(boot: CmaBoot, request: FadumpRequest) -> int:
    """Memory that a kernel needs to boot, rounded for CMA (fadump_calculate_reserve_size, fadump_reserve_mem).

    crashkernel=, at most a quarter of memory; else fadump_reserve_mem=, which nothing bounds; else 5 % rounded down to
    256 MiB, but the platform's least. Until 6.12 it is rounded up to what CMA asks for (rule "fadump alignment"), unless
    CMA is off; 6.19.9 rounds it to pages only.
    """
    memory = boot.memblock.size
    if request.platform not in MIN_BOOT_MEM:
        raise UsageError(f"fadump on {request.platform!r}: choose one of {', '.join(MIN_BOOT_MEM)}")
    least = MIN_BOOT_MEM[request.platform]
    if request.crashkernel:
        size = min(request.crashkernel, memory // MAX_BOOT_MEM_RATIO)
    else:
        size = request.reserve_mem or max(memory // 20 >> 28 << 28, least)
    size = _round_up(size, boot.geometry.page_size)
    if not request.nocma and kernel_version(boot.release) < (6, 13):
        size = _round_up(size, fadump_alignment_pages(boot.release, boot.geometry) * boot.geometry.page_size)
    return size


def area_size(boot: CmaBoot, request: FadumpRequest, boot_memory: int) -> int:
    """All that is reserved (get_fadump_area_size): boot memory, registers, hash table, headers, metadata.

    5.15 rounds their sum to pages once; since then what comes before the boot memory is rounded too. 6.12 and 6.19 have no
    ELF headers in it and do not round the sum.
    """
    page, kernel = boot.geometry.page_size, kernel_version(boot.release)
    size = request.cpu_state + request.hpte
    if kernel >= (6, 1):
        size = _round_up(size, page)
    size += boot_memory + request.headers
    if kernel < (6, 12):
        # an ELF header, and a program header for the notes, each region and two more
        size = _round_up(size + 64 + 56 * (3 + len(boot.memblock.memory)), page)
    return size + request.metadata


def fadump_reserve_mem(boot: CmaBoot, request: FadumpRequest) -> Fadump:
    """Reserve memory as early as a kernel does, and make CMA of the boot memory part of it.

    It is taken at the lowest place behind the boot memory where nothing is reserved, rounded to pages only: so its start
    is a multiple of what CMA asks for only if that of the boot memory is.

    Raises:
        BootRefused: -EINVAL: less boot memory than the platform's least; -ENOMEM: no room. Fadump is then off.
    """
    function = "fadump_reserve_mem"
    size = boot_memory_size(boot, request)
    least = MIN_BOOT_MEM[request.platform]
    if size < least:
        raise BootRefused(
            EINVAL, function, f"boot memory of {size:#x} bytes is less than {least:#x}, the platform's least"
        )
    page = boot.geometry.page_size
    whole = area_size(boot, request, size)
    base = _boot_mem_top(boot, size) if request.bottom is None else request.bottom
    found = _locate(boot, base, whole, page)
    if found is None:
        raise BootRefused(ENOMEM, function, f"no free chunk of {whole:#x} bytes from {base:#x} on")
    boot.memblock.reserve(found, whole)
    return fadump_cma_init(boot, request, Fadump(found, whole, size))


def _boot_mem_top(boot: CmaBoot, size: int) -> int:
    """End of the lowest ``size`` bytes of memory, holes counted in (fadump_get_boot_mem_regions)."""
    left, last, holes = size, 0, 0
    for start, end, _ in sorted(boot.memblock.memory):
        holes += start - last
        if end - start >= left:
            break
        left -= end - start
        last = end
    return _round_up(size + holes, boot.geometry.page_size)


def _locate(boot: CmaBoot, base: int, size: int, page: int) -> int | None:
    """Lowest page from ``base`` on with so much free memory behind it (fadump_locate_reserve_mem)."""
    for start, end in boot.memblock.free():
        base = _round_up(start, page) if start > base else base
        if end > base and end - base >= size:
            return base
    return None


def fadump_cma_init(boot: CmaBoot, request: FadumpRequest, fadump: Fadump) -> Fadump:
    """Make a CMA area of the boot memory's part of the reservation.

    Until 6.12 all of it or nothing: a base that is not aligned is refused, and the memory just stays reserved. 6.19.9 rounds
    the base up and the end down. Since 6.1.y the pages stay reserved if activation fails, too.
    """
    if request.nocma or not fadump.boot_memory_size:
        return fadump
    function = "fadump_cma_init"
    base, end = fadump.base, fadump.base + fadump.boot_memory_size
    kernel = kernel_version(boot.release)
    if kernel >= (6, 13):
        align = boot.min_alignment
        base, end = _round_up(base, align), end // align * align
        if end <= base:
            return replace(fadump, refusal=BootRefused(EINVAL, function, "too little memory to give to CMA"))
    try:
        area = boot.init_reserved_mem(base, end - base, 0, "fadump_cma")
    except BootRefused as refusal:
        return replace(fadump, refusal=refusal)
    if kernel >= (6, 1):
        area = replace(area, keep_on_error=True)
        boot.areas[-1] = area
    return replace(fadump, area=area)
