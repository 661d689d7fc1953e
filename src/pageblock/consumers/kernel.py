"""Which kernel's text a consumer follows under a release of the model, and the alignment that CMA asks for."""

import re

from ..mm import Geometry
from ..mm import release as find_release

__all__ = ["cma_min_alignment_pages", "has_patch", "kernel_version"]

#: Releases that are Linux 5.15 with something changed.
_BASED_ON_5_15 = ("naive", "seed")

#: Patches of the seed that change consumers, not mm: CMA, virtio-mem, fadump.
_CONSUMER_PATCHES = (5, 6, 7)


def kernel_version(release: str) -> tuple[int, int]:
    """Version whose mm/cma.c, mm/hugetlb.c and drivers a release has: (6, 1) for ``6.1-vanilla``, (5, 15) for ``seed``.

    Raises:
        ReleaseError: no such release.
    """
    find_release(release)
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found and not release.startswith(_BASED_ON_5_15) else (5, 15)


def has_patch(release: str, patch: int) -> bool:
    """Whether one of the seed's patches 5 to 7 is in: they change consumers. From 5.18 on what became of them counts."""
    assert patch in _CONSUMER_PATCHES
    if f"-p{patch}" in release:
        return False
    return release.startswith("seed") or f"+p{patch}" in release or kernel_version(release) >= (5, 18)


def cma_min_alignment_pages(release: str, geometry: Geometry, patch: int = 5) -> int:
    """What an area's start and size must be multiples of, in pages.

    The larger of a max order block and a pageblock: open-coded in mm/cma.c, kernel/dma/contiguous.c and fadump.c of 5.15.
    A pageblock: the seed's patch 5 (7 for fadump); CMA_MIN_ALIGNMENT_PAGES, e16faf26780f (5.18), a pageblock since
    11ac3e87ce09 (5.19; include/linux/cma.h).
    """
    block = 1 << geometry.pageblock_order
    return block if has_patch(release, patch) else max(1 << geometry.max_order, block)
