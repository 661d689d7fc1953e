"""CMA areas of a kernel dump, with their bitmaps (mm/cma.c, struct cma)."""

from typing import Any

import numpy as np

from .cma_area import CmaArea, Span, used_spans

__all__ = ["read_cma_areas"]


def read_cma_areas(program: Any) -> tuple[CmaArea, ...]:
    """The areas of a kernel, by first pfn; none where it is built without CONFIG_CMA.

    An area has one range of memory up to 6.14, and ``ranges`` since (c009da4258f9). A range whose area was not activated has
    no bitmap: nothing of it is given out.
    """
    if "cma_areas" not in program:
        return ()
    found: list[CmaArea] = []
    for i in range(int(program["cma_area_count"])):
        area = program["cma_areas"][i]
        order = int(area.order_per_bit)
        ranges: list[Span] = []
        used: list[Span] = []
        parts = [area.ranges[j] for j in range(int(area.nranges))] if area.type_.has_member("ranges") else [area]
        for part in parts:
            start, pages = int(part.base_pfn), int(part.count)
            if not pages:
                continue
            ranges.append((start, start + pages))
            # as long as it is not activated, the place of the bitmap holds a pfn: no address of the kernel
            address = part.bitmap.value_()
            if address >> 63:
                longs = -(-pages // (64 << order))
                used += used_spans(np.frombuffer(program.read(address, longs * 8), np.uint8), start, pages, order)
        name = area.name.string_().decode(errors="replace")
        if ranges:
            found.append(CmaArea(name, tuple(sorted(ranges)), order, tuple(sorted(used))))
    return tuple(sorted(found, key=lambda area: area.ranges))
