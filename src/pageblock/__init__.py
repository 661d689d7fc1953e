"""pageblock: where can this Linux machine still get physically contiguous memory, at what cost, and what is in the way?

``Zone`` is the model of one memory zone; ``pageblock.machine`` reads real machines into zones.
"""

from .errors import (
    ContigRefused,
    GeometryError,
    InputError,
    InvariantError,
    OutOfMemoryError,
    PageblockError,
    RangeError,
    ReleaseError,
    UsageError,
)
from .mm import COMPILED, OPERATION, ContigRange, Event, Migratetype, Page, PageClass, PageFlag, Zone

__version__ = "0.1.0"

__all__ = [
    "COMPILED",
    "OPERATION",
    "ContigRange",
    "ContigRefused",
    "Event",
    "GeometryError",
    "InputError",
    "InvariantError",
    "Migratetype",
    "OutOfMemoryError",
    "Page",
    "PageClass",
    "PageFlag",
    "PageblockError",
    "RangeError",
    "ReleaseError",
    "UsageError",
    "Zone",
]
