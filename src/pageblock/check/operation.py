"""One step of a sequence: what is asked of a zone."""

from dataclasses import dataclass

__all__ = ["BUG", "Operation"]

#: What ``Zone.run`` answers where the kernel would stop (-ENOTRECOVERABLE).
BUG = -131


@dataclass(frozen=True, slots=True)
class Operation:
    """One step.

    ``name``: "cma" (a CMA area at boot), "alloc", "free", "contig", "interrupted" (contig with a fatal signal pending),
    "isolate", "undo", "gigantic" (contig, and the range becomes one huge page of hugetlb). ``start_pfn``, ``nr_pages``: of the
    range; ``order``, ``migratetype``: of the allocation, the latter also of a range (0: MOVABLE); ``handle``: what is
    allocated or freed.
    """

    name: str
    handle: int = 0
    order: int = 0
    migratetype: int = 0
    start_pfn: int = 0
    nr_pages: int = 0

    @property
    def end_pfn(self) -> int:
        """One past the range."""
        return self.start_pfn + self.nr_pages
