"""The allocator: an executable model of the kernel's mm/, exact to the pfn, release by release.

The rooms are compiled into one extension (``_core``). Where that could not be built, the same files run as
plain Python, 25 to 50 times slower; ``COMPILED`` says which, and a warning says it once.
"""

import os
import warnings
from typing import Any

if os.environ.get("PAGEBLOCK_UNCOMPILED"):
    from .model import OPERATION, Zone
    from .model import restored_zone as _restored_zone

    COMPILED = False
else:
    try:
        from ._core import OPERATION, Zone
        from ._core import restored_zone as _restored_zone

        COMPILED = True
    except ImportError:
        from .model import OPERATION, Zone
        from .model import restored_zone as _restored_zone

        COMPILED = False
        warnings.warn(
            "pageblock runs uncompiled, 25 to 50 times slower: install a C compiler and the Python headers, then make install again",
            RuntimeWarning,
            stacklevel=2,
        )

from .events import Event
from .geometry import Geometry
from .release import PATCHES, RELEASES, RULES, Release, Rule, release
from .results import ContigRange, Page
from .types import MOVABLE_CLASSES, Migratetype, PageClass, PageFlag

__all__ = [
    "COMPILED",
    "MOVABLE_CLASSES",
    "OPERATION",
    "PATCHES",
    "RELEASES",
    "RULES",
    "ContigRange",
    "Event",
    "Geometry",
    "Migratetype",
    "Page",
    "PageClass",
    "PageFlag",
    "Release",
    "Rule",
    "Zone",
    "release",
    "restored_zone",
]


def restored_zone(state: dict[str, Any]) -> Zone:
    """The zone of a pickled state, compiled or not."""
    return _restored_zone(state)
