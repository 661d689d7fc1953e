"""What the allocator model raises. Each message is one line: what was wrong, the value, what to do."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .results import ContigRange

__all__ = [
    "ContigRefused",
    "GeometryError",
    "InvariantError",
    "KernelBugError",
    "OutOfMemoryError",
    "PageblockError",
    "RangeError",
    "ReleaseError",
    "UsageError",
]


class PageblockError(Exception):
    """Base class of every error that the package raises on purpose."""


class GeometryError(PageblockError):
    """A zone cannot have this size, start, page size, max order or pageblock order."""


class ReleaseError(PageblockError):
    """No release, or no switch of a release, has this name."""


class RangeError(PageblockError):
    """A pfn or a range of pfns lies outside the zone, is empty or not aligned."""


class UsageError(PageblockError):
    """An operation that the state forbids: a double free, a free inside a block, a wrong type."""


class OutOfMemoryError(PageblockError):
    """The zone has no free block for the request (the kernel returns NULL)."""


class ContigRefused(PageblockError):
    """alloc_contig_range or alloc_contig_pages said no.

    Attributes: ``errno`` (positive: 16 EBUSY, 12 ENOMEM, 4 EINTR), ``step`` (the kernel function that
    refused), ``pfn`` (absolute; the page or pageblock that stood in the way), ``rule`` (why, in words),
    ``tried`` (a ContigRange: what had been moved, split and isolated by then; None: not known).
    """

    def __init__(self, errno: int, step: str, pfn: int, rule: str, tried: "ContigRange | None" = None) -> None:
        super().__init__(f"refused with -{errno} by {step} at pfn {pfn:#x}: {rule}")
        self.tried = tried
        self.errno = errno
        self.step = step
        self.pfn = pfn
        self.rule = rule

    def __reduce__(self) -> tuple[type["ContigRefused"], tuple[int, str, int, str, "ContigRange | None"]]:
        return ContigRefused, (self.errno, self.step, self.pfn, self.rule, self.tried)


class KernelBugError(PageblockError):
    """The kernel would stop here with a BUG (CONFIG_DEBUG_VM); the zone is left as the kernel would leave it.

    Attributes: ``assertion`` (which one fires, and in which function), ``step`` (the function that ran into it),
    ``pfn`` (absolute; the page that it is about).
    """

    def __init__(self, assertion: str, step: str, pfn: int) -> None:
        super().__init__(f"kernel BUG in {step} at pfn {pfn:#x}: {assertion}")
        self.assertion = assertion
        self.step = step
        self.pfn = pfn

    def __reduce__(self) -> tuple[type["KernelBugError"], tuple[str, str, int]]:
        return KernelBugError, (self.assertion, self.step, self.pfn)


class InvariantError(PageblockError):
    """``Zone.check`` found a broken invariant: ``invariant`` names it, ``pfn`` says where (None: no place)."""

    def __init__(self, invariant: str, message: str, pfn: int | None = None) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant
        self.message = message
        self.pfn = pfn

    def __reduce__(self) -> tuple[type["InvariantError"], tuple[str, str, int | None]]:
        return InvariantError, (self.invariant, self.message, self.pfn)
