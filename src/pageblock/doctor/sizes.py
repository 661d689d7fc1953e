"""Sizes of ranges: what a person writes, what the doctor asks about by default."""

import re

from ..errors import InputError

__all__ = ["default_sizes", "parse_size", "size_name"]

#: Bytes that 52 bits of physical address reach.
MOST = 1 << 52

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str, page_size: int) -> int:
    """Pages of a size such as ``2M``, ``64MiB``, ``1GiB`` or ``4096`` (bytes).

    Raises:
        InputError: no size, more than 4 PiB, or not a power-of-two multiple of the page.
    """
    match = re.fullmatch(r"\s*([0-9]+)\s*([KMGT]?)(?:iB|B)?\s*", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise InputError(f"size {text[:80]!r} is not a size: write for example 2M, 64MiB or 1GiB")
    if len(match[1]) > len(str(MOST)) or int(match[1]) * _UNITS[match[2].upper()] > MOST:
        raise InputError(f"size {text[:80]!r} is more than any machine has: choose at most {MOST >> 40}T")
    size = int(match[1]) * _UNITS[match[2].upper()]
    pages, rest = divmod(size, page_size)
    if rest or pages < 1 or pages & (pages - 1):
        raise InputError(
            f"size {text!r} is {size} bytes: it must be a power-of-two multiple of the page, {page_size} bytes"
        )
    return pages


def size_name(nr_pages: int, page_size: int) -> str:
    """A size in the largest unit that divides it: ``64 MiB``."""
    size = nr_pages * page_size
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor:,} {unit}"
    return f"{size:,} B"


def default_sizes(page_size: int, pageblock_order: int, max_order: int) -> list[int]:
    """Pages of a pageblock, a max order block, 64 MiB and 1 GiB; ascending, each once."""
    sizes = {1 << pageblock_order, 1 << max_order, (64 << 20) // page_size, (1 << 30) // page_size}
    return sorted(size for size in sizes if size)
