"""The exceptions of the package: one base class, few leaves.

Each message is one line: what was wrong, the value, and what to do next. The command line prints it
and exits 2.
"""

from .mm.errors import (
    ContigRefused,
    GeometryError,
    InvariantError,
    KernelBugError,
    OutOfMemoryError,
    PageblockError,
    RangeError,
    ReleaseError,
    UsageError,
)

__all__ = [
    "ContigRefused",
    "GeometryError",
    "InputError",
    "InvariantError",
    "KernelBugError",
    "OutOfMemoryError",
    "PageblockError",
    "RangeError",
    "ReleaseError",
    "UsageError",
    "printable",
]


class InputError(PageblockError):
    """A file, folder or argument that cannot be read or does not make sense."""


def printable(text: str) -> str:
    """The text with all that a terminal would obey escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
