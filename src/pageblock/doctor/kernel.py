"""Which release's rules are nearest to the kernel that a machine runs."""

import re
from collections.abc import Sequence

from ..mm import release as find_release

__all__ = ["nearest_release", "replaces_freed_huge_pages", "rules_remark"]

#: First kernel of each release's rules (mm/page_isolation.c): windows of max order before, pageblocks since 5.19
#: (b2c9e2fbba32), free lists that agree with the types since 6.10 (fd919a85cd55), isolation beside the type since 6.17.
ERAS = (((6, 17), "6.19"), ((6, 10), "6.12"), ((5, 19), "6.1"), ((0, 0), "5.15"))


def kernel_version(kernel: str) -> tuple[int, int] | None:
    """Version and patch level of ``6.1.0-18-amd64``."""
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})(?![0-9])", kernel)
    return (int(match[1]), int(match[2])) if match else None


def nearest_release(kernel: str) -> str | None:
    """The release whose rules are nearest to a kernel's; None if it says no version."""
    version = kernel_version(kernel)
    if version is None:
        return None
    return next(name for since, name in ERAS if version >= since)


def replaces_freed_huge_pages(release: str) -> bool:
    """Whether alloc_contig_range gives huge pages back that its migration left unused in their pool, in the range.

    mm/hugetlb.c, replace_free_hugepage_folios: since 6.14, not in 6.12.117.
    """
    version = kernel_version(release)
    return version is not None and version >= (6, 14)


def rules_remark(kernel: str | None, releases: Sequence[str]) -> str | None:
    """What to say where the rules applied are not those of the kernel that runs; None where they are."""
    version = kernel_version(kernel) if kernel else None
    if kernel is None or version is None:
        return f"the kernel's release is not known; judged by the rules of {', '.join(releases)}"
    own = f"{version[0]}.{version[1]}"
    if own in releases:
        return None
    nearest = nearest_release(kernel)
    text = f"the machine runs Linux {kernel}, judged by the rules of {', '.join(releases)}"
    if nearest not in releases:
        known = find_release(nearest or own).name
        return f"{text}; nearest to its own are those of {known}: --release {known}"
    return f"{text}; nearest to its own are those of {nearest}, no recording of {own} was compared"
