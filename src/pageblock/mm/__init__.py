"""The allocator: an executable model of the kernel's mm/, exact to the pfn, release by release.

The rooms are compiled into one extension (``_core``). Where that could not be built, the same files run as
plain Python, 25 to 50 times slower; ``COMPILED`` says which, and a warning says it once.
"""

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Any

from .events import Event
from .geometry import Geometry
from .release import FAULTS, PATCHES, PLANTED, RELEASES, RULES, Planted, Release, Rule, Switch, release
from .results import ContigRange, Page
from .types import MOVABLE_CLASSES, Migratetype, PageClass, PageFlag

__all__ = [
    "COMPILED",
    "FAULTS",
    "MOVABLE_CLASSES",
    "OPERATION",
    "PATCHES",
    "PLANTED",
    "RELEASES",
    "RULES",
    "ContigRange",
    "Event",
    "Geometry",
    "Migratetype",
    "Page",
    "PageClass",
    "PageFlag",
    "Planted",
    "Release",
    "Rule",
    "Switch",
    "Zone",
    "release",
    "restored_zone",
]


def _load_rooms() -> tuple[Any, bool]:
    """The module that holds Zone, and whether it is compiled."""
    if not os.environ.get("PAGEBLOCK_UNCOMPILED"):
        try:
            return importlib.import_module("._core", __name__), True
        except ImportError:
            warnings.warn(
                "the core is not compiled and runs 25 to 50 times slower: install a C compiler and the Python headers, "
                "then install pageblock again",
                RuntimeWarning,
                stacklevel=3,
            )
    return importlib.import_module(".model", __name__), False


_rooms, COMPILED = _load_rooms()

if TYPE_CHECKING:
    from .model import OPERATION, Zone
else:
    OPERATION, Zone = _rooms.OPERATION, _rooms.Zone


def restored_zone(state: dict[str, Any]) -> Zone:
    """The zone of a pickled state, compiled or not."""
    zone: Zone = _rooms.restored_zone(state)
    return zone
