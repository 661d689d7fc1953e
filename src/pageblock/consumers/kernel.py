"""Which kernel's text a consumer follows under a release of the model, and the alignment that CMA asks for."""

import re

from ..mm import Geometry
from ..mm import constants as k
from ..mm import release as find_release

__all__ = ["cma_min_alignment_pages", "fadump_alignment_pages", "kernel_version"]


def kernel_version(release: str) -> tuple[int, int]:
    """Version whose mm/cma.c, mm/hugetlb.c and drivers a release has: (6, 1) for ``6.1-vanilla``, (5, 15) for ``seed``.

    Raises:
        ReleaseError: no such release.
    """
    find_release(release)
    found = re.match(r"(\d+)\.(\d+)", release)
    # those without a number are 5.15 with something changed
    return (int(found[1]), int(found[2])) if found else (5, 15)


def cma_min_alignment_pages(release: str, geometry: Geometry) -> int:
    """What an area's start and size must be multiples of, in pages (rule "cma alignment")."""
    return _alignment(release, geometry, k.RULE_CMA_ALIGN)


def fadump_alignment_pages(release: str, geometry: Geometry) -> int:
    """What fadump rounds its boot memory size to, in pages (rule "fadump alignment")."""
    return _alignment(release, geometry, k.RULE_FADUMP_ALIGN)


def _alignment(release: str, geometry: Geometry, rule: int) -> int:
    block = 1 << geometry.pageblock_order
    whole = find_release(release).rules[rule] == k.ALIGN_MAX_ORDER
    return max(1 << geometry.max_order, block) if whole else block
