"""What the Python face accepts: whole numbers, arrays of them, and the classes that a page can have.

Everything is checked here, before the core sees it: the core trusts its arguments.
"""

import operator
from typing import Any

import cython
import numpy as np

from pageblock.mm.errors import UsageError
from pageblock.mm.types import PageClass

if not cython.compiled:
    from .constants import (
        CLASS_MASK,
        C_ANON,
        C_COMPOUND,
        C_FILE,
        C_FREE,
        C_HOLE,
        C_HUGETLB,
        C_KERNEL,
        C_MOVABLE_OPS,
        C_PAGEVEC,
        C_PCP,
        C_RESERVED,
        C_SLAB,
        C_THP,
        MOVABLE,
        PG_CLEAN,
        PG_COMPOUND,
        PG_PINNED,
        RECLAIMABLE,
        UNMOVABLE,
    )


#: Largest number that an array of pfns, pages or orders may hold: arithmetic on it stays far from 64 bits.
LARGEST = 1 << 53


@cython.cfunc
def integer(what: str, value: Any) -> int:
    """A whole number (int, IntEnum, numpy integer), or UsageError."""
    if type(value) is int:
        return value
    try:
        return int(operator.index(value))
    except TypeError:
        raise UsageError(f"{what} must be a whole number, not {value!r:.60}") from None


@cython.cfunc
def whole_numbers(what: str, values: Any) -> Any:
    """A one-dimensional int64 array of numbers between 0 and LARGEST, or UsageError."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"{what} must be an array of whole numbers, not {values!r:.60}") from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise UsageError(f"{what} must be a one-dimensional array of whole numbers, not {array.dtype} {array.shape}")
    if array.size and (int(array.min()) < 0 or int(array.max()) > LARGEST):
        raise UsageError(f"{what} must lie between 0 and 2^53: found {int(array.min())} to {int(array.max())}")
    return np.ascontiguousarray(array, np.int64)


@cython.cfunc
def one_length(first: Any, second: Any, third: Any) -> None:
    """UsageError unless three arrays have one length."""
    if len(first) != len(second) or len(first) != len(third):
        raise UsageError(
            f"arrays of different shapes: {len(first)}, {len(second)} and {len(third)} entries; give one to each block"
        )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def flags_fit(order: cython.uint, flags: cython.uint) -> cython.bint:
    """Whether an allocated block of this order can have this class and these flags.

    LRU pages above order 0 are THPs; THPs, hugetlb and other compound pages are compound; only file pages are clean.
    """
    c: cython.uint = flags & CLASS_MASK
    compound: cython.bint = flags & PG_COMPOUND != 0
    if flags > 255 or flags & ~(CLASS_MASK | PG_PINNED | PG_COMPOUND | PG_CLEAN):
        return False
    if c == C_FREE or c == C_RESERVED or c == C_HOLE or c == C_PCP:
        return False
    if flags & PG_CLEAN and c != C_FILE:
        return False
    if order == 0:
        return not compound and c != C_THP and c != C_COMPOUND
    if c == C_ANON or c == C_FILE or c == C_PAGEVEC:
        return False
    return compound or (c != C_THP and c != C_COMPOUND and c != C_HUGETLB)


@cython.cfunc
def page_flags(order: int, mt: int, page_class: Any, compound: Any, pinned: Any, clean: Any) -> int:
    """Flags byte of a page to allocate, or UsageError for a class that cannot be allocated like this."""
    if page_class is None and compound is None and not pinned and not clean:
        if mt == MOVABLE:
            return C_THP | PG_COMPOUND if order else C_ANON
        return C_KERNEL if mt == UNMOVABLE else C_SLAB | (PG_COMPOUND if order else 0)
    if page_class is None:
        page_class = {UNMOVABLE: C_KERNEL, RECLAIMABLE: C_SLAB}.get(mt, C_THP if order else C_ANON)
    c = integer("page_class", page_class)
    if c in (C_FREE, C_RESERVED, C_HOLE, C_PCP) or not 0 <= c <= CLASS_MASK:
        raise UsageError(f"page_class is {c}: a page is not allocated as free, reserved, hole or per-cpu")
    always = c in (C_THP, C_COMPOUND, C_HUGETLB)
    is_compound = order > 0 and (always or c in (C_SLAB, C_MOVABLE_OPS) if compound is None else bool(compound))
    flags = c | (PG_COMPOUND if is_compound else 0) | (PG_PINNED if pinned else 0) | (PG_CLEAN if clean else 0)
    if not flags_fit(order, flags):
        name = PageClass(c).name
        if order == 0:
            raise UsageError(
                f"a {name} page of order 0 cannot be {'clean' if clean else 'one'}: give it an order or a class"
            )
        if c in (C_ANON, C_FILE, C_PAGEVEC):
            raise UsageError(f"an LRU page of order {order} is a compound page: use PageClass.THP")
        raise UsageError(f"a {name} page of order {order} cannot be like this: {'not compound' if always else 'clean'}")
    return flags
