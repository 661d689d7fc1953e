"""Gfp flags in the kernel's words: from numbers to names, and what a request's names say of the page.

Source: include/linux/gfp_types.h and include/trace/events/mmflags.h (6.1, 6.12, 6.19).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

__all__ = ["GFP_BITS", "Request", "describe_gfp", "understand_gfp"]

#: Numbers of the flags that all kernels since 5.10 share, for sources that do not bring names of their own.
GFP_BITS = (
    (0x01, "__GFP_DMA"),
    (0x02, "__GFP_HIGHMEM"),
    (0x04, "__GFP_DMA32"),
    (0x08, "__GFP_MOVABLE"),
    (0x10, "__GFP_RECLAIMABLE"),
    (0x20, "__GFP_HIGH"),
    (0x40, "__GFP_IO"),
    (0x80, "__GFP_FS"),
    (0x100, "__GFP_ZERO"),
    (0x400, "__GFP_DIRECT_RECLAIM"),
    (0x800, "__GFP_KSWAPD_RECLAIM"),
    (0x1000, "__GFP_WRITE"),
    (0x2000, "__GFP_NOWARN"),
    (0x4000, "__GFP_RETRY_MAYFAIL"),
    (0x8000, "__GFP_NOFAIL"),
    (0x10000, "__GFP_NORETRY"),
    (0x20000, "__GFP_MEMALLOC"),
    (0x40000, "__GFP_COMP"),
    (0x80000, "__GFP_NOMEMALLOC"),
    (0x100000, "__GFP_HARDWALL"),
    (0x200000, "__GFP_THISNODE"),
    (0x400000, "__GFP_ACCOUNT"),
)

#: What the compound names stand for, of what is asked here. GFP_ATOMIC is all that may neither sleep nor be refused lightly.
COMPOUND_NAMES = {
    "GFP_TRANSHUGE": ("__GFP_COMP", "__GFP_MOVABLE", "__GFP_HIGHMEM", "__GFP_DIRECT_RECLAIM"),
    "GFP_TRANSHUGE_LIGHT": ("__GFP_COMP", "__GFP_MOVABLE", "__GFP_HIGHMEM"),
    "GFP_HIGHUSER_MOVABLE": ("__GFP_MOVABLE", "__GFP_HIGHMEM", "__GFP_DIRECT_RECLAIM"),
    "GFP_HIGHUSER": ("__GFP_HIGHMEM", "__GFP_DIRECT_RECLAIM"),
    "GFP_USER": ("__GFP_DIRECT_RECLAIM",),
    "GFP_KERNEL_ACCOUNT": ("__GFP_DIRECT_RECLAIM",),
    "GFP_KERNEL": ("__GFP_DIRECT_RECLAIM",),
    "GFP_NOFS": ("__GFP_DIRECT_RECLAIM",),
    "GFP_NOIO": ("__GFP_DIRECT_RECLAIM",),
    "GFP_TEMPORARY": ("__GFP_RECLAIMABLE", "__GFP_DIRECT_RECLAIM"),
    "GFP_ATOMIC": ("__GFP_HIGH",),
    "GFP_NOWAIT": (),
    "GFP_DMA": ("__GFP_DMA",),
    "GFP_DMA32": ("__GFP_DMA32",),
    "__GFP_RECLAIM": ("__GFP_DIRECT_RECLAIM",),
    # the names that kernels before 4.8 printed
    "GFP_COMP": ("__GFP_COMP",),
    "GFP_HIGH": ("__GFP_HIGH",),
    "GFP_MOVABLE": ("__GFP_MOVABLE",),
    "GFP_RECLAIMABLE": ("__GFP_RECLAIMABLE",),
    "GFP_WAIT": ("__GFP_DIRECT_RECLAIM",),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What gfp flags ask for. ``zone``: highest zone allowed; ``migratetype``: by mobility, 0 to 2."""

    compound: bool
    atomic: bool
    zone: str
    migratetype: int


def describe_gfp(number: int, names: Iterable[tuple[int, str]] = GFP_BITS) -> str:
    """Flags as the kernel prints them: names joined by |, what has no name as a number; "none" for 0."""
    left, found = number, []
    for mask, name in names:
        if mask and left & mask == mask:
            found.append(name)
            left &= ~mask
    if left:
        found.append(hex(left))
    return "|".join(found) or "none"


@cache
def understand_gfp(gfp: str) -> Request:
    """What flags as the kernel prints them ask for; a name that is not known asks for nothing."""
    flags: set[str] = set()
    for word in gfp.split("|"):
        if word[:1].isdigit():
            number = int(word, 16) if word.startswith("0x") else int(word) if word.isdigit() else 0
            flags.update(name for mask, name in GFP_BITS if number & mask)
        else:
            flags.update(COMPOUND_NAMES.get(word, (word,)))
    highest = "Normal"
    if "__GFP_DMA" in flags:
        highest = "DMA"
    elif "__GFP_DMA32" in flags:
        highest = "DMA32"
    elif {"__GFP_HIGHMEM", "__GFP_MOVABLE"} <= flags:
        highest = "Movable"
    mobility = 1 if "__GFP_MOVABLE" in flags else 2 if "__GFP_RECLAIMABLE" in flags else 0
    return Request(
        "__GFP_COMP" in flags, "__GFP_HIGH" in flags and "__GFP_DIRECT_RECLAIM" not in flags, highest, mobility
    )
