"""CMA areas with their bitmaps, where a source reads them (kernel dumps)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CmaArea", "Span", "used_spans"]

#: Pfns [start, end).
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class CmaArea:
    """One area (struct cma): its ranges of memory (one, until 6.14), and what of them the bitmap says is given out.

    ``order_per_bit``: a bit stands for 1 << order_per_bit pages. Spans ascend and do not touch.
    """

    name: str
    ranges: tuple[Span, ...]
    order_per_bit: int
    used: tuple[Span, ...]

    @property
    def nr_pages(self) -> int:
        """Pages of the area."""
        return sum(end - start for start, end in self.ranges)

    @property
    def nr_used(self) -> int:
        """Pages that its bitmap says are given out."""
        return sum(end - start for start, end in self.used)

    def free(self) -> tuple[Span, ...]:
        """Runs of the bitmap that are free."""
        found: list[Span] = []
        for start, end in self.ranges:
            at = start
            for low, high in self.used:
                if low >= end or high <= start:
                    continue
                if low > at:
                    found.append((at, low))
                at = max(at, high)
            if end > at:
                found.append((at, end))
        return tuple(found)

    def told(self) -> dict[str, Any]:
        """As plain values, for a capture."""
        return {
            "name": self.name,
            "ranges": [list(span) for span in self.ranges],
            "order_per_bit": self.order_per_bit,
            "used": [list(span) for span in self.used],
        }

    @classmethod
    def restored(cls, told: Mapping[str, Any]) -> "CmaArea":
        """What ``told`` gave. Raises ValueError, KeyError or TypeError for anything else."""
        spans = [tuple((int(low), int(high)) for low, high in told[name]) for name in ("ranges", "used")]
        for ascending in spans:
            at = 0
            for low, high in ascending:
                if not at <= low < high:
                    raise ValueError(f"CMA area {told['name']!r}: [{low}, {high}) is no span behind {at}")
                at = high
        return cls(str(told["name"]), spans[0], int(told["order_per_bit"]), spans[1])


def used_spans(bits: NDArray[np.uint8], start_pfn: int, nr_pages: int, order_per_bit: int) -> list[Span]:
    """Spans whose bits are set. ``bits``: bytes of the bitmap, least significant bit first, as a little-endian kernel has it."""
    unit = 1 << order_per_bit
    used = np.unpackbits(bits, bitorder="little")[: -(-nr_pages // unit)]
    edges = np.flatnonzero(np.diff(used, prepend=np.uint8(0), append=np.uint8(0)))
    end = start_pfn + nr_pages
    return [(start_pfn + low * unit, min(start_pfn + high * unit, end)) for low, high in edges.reshape(-1, 2).tolist()]
