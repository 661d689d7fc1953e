"""Size, start, orders and page size of a zone: arguments, any consistent values (seed, S9)."""

import operator
from dataclasses import dataclass
from typing import Any

from . import constants as k
from .errors import GeometryError
from .release import Release

__all__ = ["Geometry", "check_geometry"]

#: Largest order that the state byte holds with room for gigantic pages.
LARGEST_ORDER = 26


@dataclass(frozen=True, slots=True)
class Geometry:
    """Pages, pfns and orders of a zone; ``page_size`` and ``section_size`` in bytes (None: unknown)."""

    nr_pages: int
    start_pfn: int
    max_order: int
    pageblock_order: int
    page_size: int
    section_size: int | None


def _integer(what: str, value: Any, least: int, most: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise GeometryError(f"{what} must be a whole number, not {value!r:.60}") from None
    if not least <= number <= most:
        raise GeometryError(f"{what} is {number}: choose {least} to {most}")
    return number


def check_geometry(
    nr_pages: Any,
    start_pfn: Any,
    max_order: Any,
    pageblock_order: Any,
    page_size: Any,
    section_size: Any,
    release: Release,
) -> Geometry:
    """The geometry of these values, or a GeometryError that names the rule which they break.

    Rules: mm/Kconfig and include/linux/mmzone.h: MAX_ORDER + PAGE_SHIFT must not exceed
    SECTION_SIZE_BITS; b3d40a2b6d10 (5.18): pageblock_order must not exceed max order.
    """
    pages = _integer("nr_pages", nr_pages, 1, (1 << 32) - (1 << 28))
    start = _integer("start_pfn", start_pfn, 0, (1 << 52) - pages)
    largest = _integer("max_order", max_order, 0, LARGEST_ORDER)
    block = _integer("pageblock_order", pageblock_order, 0, LARGEST_ORDER)
    size = _integer("page_size", page_size, 1 << 10, 1 << 20)
    if size & (size - 1):
        raise GeometryError(f"page_size is {size} bytes: it must be a power of two")
    may_exceed = release.rules[k.RULE_SPAN] == k.SPAN_MAX_ORDER or release.rules[k.RULE_MERGE] != k.MERGE_MERGEABLE
    if block > largest and not may_exceed:
        raise GeometryError(
            f"pageblock_order {block} exceeds max_order {largest}, which release {release.name} forbids "
            "(mm: enforce pageblock_order < MAX_ORDER, 5.18): lower it, or choose release 5.15"
        )
    if section_size is not None:
        section = _integer("section_size", section_size, size, 1 << 50)
        if section & (section - 1):
            raise GeometryError(f"section_size is {section} bytes: it must be a power of two")
        if size << max(largest, block) > section:
            raise GeometryError(
                f"max_order {largest} and pageblock_order {block} with pages of {size} bytes make a block of "
                f"{size << max(largest, block)} bytes, more than a section of {section} bytes: "
                "MAX_ORDER + PAGE_SHIFT must not exceed SECTION_SIZE_BITS"
            )
    else:
        section = None
    return Geometry(pages, start, largest, block, size, section)
