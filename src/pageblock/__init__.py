"""pageblock: where can this Linux machine still get physically contiguous memory, at what cost, and what is in the way?

``Zone`` is the model of one memory zone; ``pageblock.machine`` reads real machines into zones.
"""

from typing import TYPE_CHECKING, Any

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
    "KernelBugError",
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

if TYPE_CHECKING:
    from .errors import (
        ContigRefused,
        GeometryError,
        InputError,
        InvariantError,
        KernelBugError,
        OutOfMemoryError,
        PageblockError,
        RangeError,
        ReleaseError,
        UsageError,
    )
    from .mm import COMPILED, OPERATION, ContigRange, Event, Migratetype, Page, PageClass, PageFlag, Zone


def __getattr__(name: str) -> Any:
    """Load the core when something of it is asked for: the command line's help must not wait for numpy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import errors, mm

    value = getattr(errors, name) if hasattr(errors, name) else getattr(mm, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
