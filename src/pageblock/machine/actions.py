"""The hot loops of a replay: lines of allocations and frees into rows, rows into operations, answers against rows.

Compiled into ``_actions`` like the rooms of ``mm/``; works uncompiled too.
"""

from typing import Any

import cython
import numpy as np

from pageblock.mm.types import Migratetype, PageClass, PageFlag

if not cython.compiled:
    from pageblock.mm.constants import ENOMEM, EREMOTE, OP_FREE, OP_FREE_CONTIG

__all__ = ["ACTION", "REASONS", "first_difference", "scan_actions", "to_operations"]

#: One allocation or free of a trace. ``op``: the letter; ``kind``: the letter of an allocation; ``handle``; ``order``;
#: ``pfn``: what the kernel answered, -1 for nothing; ``line``.
ACTION = np.dtype(
    [
        ("op", np.uint8),
        ("kind", np.uint8),
        ("order", np.uint8),
        ("spare", np.uint8),
        ("line", np.uint32),
        ("handle", np.int64),
        ("pfn", np.int64),
    ]
)

#: Why a row is no operation, by the number that ``_translate`` gives.
REASONS = {
    1: "handle {handle} is out of range",
    2: "no allocation has order {order} and this kind",
    3: "pfn {pfn} is outside the zone of {nr_pages} pages",
    4: "handle {handle} was never allocated",
    5: "handle {handle} is freed as what it was not allocated for",
}


def _requests() -> Any:
    """First half of the operation that an allocation's letter stands for, without its order: 256 for order 0, 256 for others.

    Upper case is a compound page; m at order 0 and M are movable by their driver, p is pinned, h is atomic. 0: no such letter.
    """
    found = np.zeros(512, np.uint32)
    for letters, mt in (
        ("uUhH", Migratetype.UNMOVABLE),
        ("rR", Migratetype.RECLAIMABLE),
        ("mMpP", Migratetype.MOVABLE),
    ):
        for letter in letters:
            # GFP_ATOMIC or not; see OPERATION
            op = 5 if letter in "hH" else 1
            single = PageClass.MOVABLE_OPS if letter in "mM" else PageClass.KERNEL
            large = PageClass.MOVABLE_OPS if letter == "M" else PageClass.KERNEL
            flags = large | (PageFlag.COMPOUND if letter.isupper() else 0)
            found[ord(letter)] = op | mt << 16 | single << 24
            found[256 + ord(letter)] = op | mt << 16 | flags << 24
    return found


_REQUESTS = _requests()


@cython.cfunc
def _bytes(a: Any) -> cython.p_uchar:
    if cython.compiled:
        v: cython.uchar[::1] = a  # type: ignore[type-arg,valid-type]
        return cython.address(v[0])  # type: ignore[index]
    return a.data


@cython.cfunc
def _words(a: Any) -> cython.p_longlong:
    if cython.compiled:
        v: cython.longlong[::1] = a  # type: ignore[type-arg,valid-type]
        return cython.address(v[0])  # type: ignore[index]
    return a.data


@cython.cfunc
def _halves(a: Any) -> cython.p_uint:
    if cython.compiled:
        v: cython.uint[::1] = a  # type: ignore[type-arg,valid-type]
        return cython.address(v[0])  # type: ignore[index]
    return a.data


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _digits(text: cython.p_uchar, at: cython.p_longlong) -> cython.longlong:
    """The number behind the character at ``at[0]``, as ``_number``."""
    pos: cython.longlong = at[0] + 1
    value: cython.longlong = 0
    digits: cython.int = 0
    while text[pos] >= 48 and text[pos] <= 57 and digits < 13:
        value = value * 10 + (text[pos] - 48)
        pos += 1
        digits += 1
    at[0] = pos
    return value if digits > 0 and digits < 13 else -2


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _number(text: cython.p_uchar, at: cython.p_longlong) -> cython.longlong:
    """The number after one blank at ``at[0]``, which moves behind it; -2: there is none of at most 12 digits."""
    if text[at[0]] != 32:
        return -2
    return _digits(text, at)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _scan(
    text: cython.p_uchar,
    at: cython.p_longlong,
    rows: cython.p_longlong,
    capacity: cython.longlong,
    owned: cython.bint,
) -> cython.longlong:
    """Fill rows from ``at[0]`` on; returns their number. ``at[1]`` counts lines. Stops before any other line.

    Allocations and frees, or, if ``owned``, a dump's lines of live handles.

    ``rows`` are three words each (``ACTION``). The text ends with a zero byte.
    """
    n: cython.longlong = 0
    begin: cython.longlong
    handle: cython.longlong
    order: cython.longlong
    pfn: cython.longlong
    kind: cython.longlong
    op: cython.longlong
    sign: cython.longlong
    while n < capacity:
        begin = at[0]
        op = text[begin]
        if (op != 79) if owned else (op != 97 and op != 102 and op != 103):
            break
        at[0] = begin + 1
        handle = _number(text, at)
        order = 0
        kind = 0
        pfn = -1
        if handle < 0:
            at[0] = begin
            break
        if op == 79:
            # the pfn of a page in another zone may lie before this one's; order or pages, and the letter, are not read
            sign = -1 if text[at[0]] == 32 and text[at[0] + 1] == 45 else 1
            if sign < 0:
                at[0] += 1
                pfn = _digits(text, at)
            else:
                pfn = _number(text, at)
            if pfn < 0 or _number(text, at) < 0 or text[at[0]] != 32 or text[at[0] + 1] < 65:
                at[0] = begin
                break
            pfn *= sign
            at[0] += 2
        elif op == 97:
            order = _number(text, at)
            kind = text[at[0] + 1] if order >= 0 and text[at[0]] == 32 else 0
            if order < 0 or order > 255 or kind < 65:
                at[0] = begin
                break
            at[0] += 2
            if text[at[0]] == 32 and text[at[0] + 1] == 45:
                at[0] += 2
            else:
                pfn = _number(text, at)
                if pfn < 0:
                    at[0] = begin
                    break
        elif text[at[0]] == 32 and text[at[0] + 1] == 45:
            # the recorder found the handle empty: nothing was done
            at[0] += 2
            op = 0
        if text[at[0]] != 10:
            at[0] = begin
            break
        at[0] += 1
        at[1] += 1
        if op == 0:
            continue
        rows[3 * n] = op | kind << 8 | order << 16 | at[1] << 32
        rows[3 * n + 1] = handle
        rows[3 * n + 2] = pfn
        n += 1
    return n


def scan_actions(text: Any, position: int, line: int, table: Any, owned: bool = False) -> tuple[Any, int, int]:
    """Allocations and frees from ``text[position:]`` on: array of ``ACTION``, where the scan stopped, lines so far.

    Args:
        text: uint8 array of the whole trace with a zero byte at its end.
        position: byte at which a line begins.
        line: lines read before it.
        table: array of ``ACTION`` to work in; the result is a copy of its first rows.
        owned: the lines of a dump that tell live handles instead: op ``O``, handle and pfn.

    It stops before the first line that is not a well-formed one of these, or when the table is full.
    """
    place = np.array([position, line], np.int64)
    count = _scan(_bytes(text), _words(place), _words(table.view(np.int64)), len(table), owned)
    return table[:count].copy(), int(place[0]), int(place[1])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _translate(
    rows: cython.p_longlong,
    n: cython.longlong,
    ops: cython.p_longlong,
    sizes: cython.p_longlong,
    contig: cython.p_uchar,
    handles: cython.longlong,
    requests: cython.p_uint,
    max_order: cython.longlong,
    nr_pages: cython.longlong,
    why: cython.p_longlong,
) -> cython.longlong:
    """Fill ``ops`` from rows; how many. Stops before the first row that is no operation; ``why[0]`` says why."""
    i: cython.longlong
    op: cython.longlong
    order: cython.longlong
    handle: cython.longlong
    request: cython.longlong
    for i in range(n):
        op = rows[3 * i] & 0xFF
        order = rows[3 * i] >> 16 & 0xFF
        handle = rows[3 * i + 1]
        if handle < 0 or handle >= handles:
            why[0] = 1
            return i
        ops[2 * i + 1] = 0
        if op == 97:
            request = requests[(256 if order else 0) + (rows[3 * i] >> 8 & 0xFF)]
            if request == 0 or order > max_order:
                why[0] = 2
                return i
            if rows[3 * i + 2] >= nr_pages:
                why[0] = 3
                return i
            sizes[handle] = cython.cast(cython.longlong, 1) << order
            contig[handle] = 0
            ops[2 * i] = request | order << 8 | handle << 32
            continue
        if sizes[handle] < 0:
            why[0] = 4
            return i
        if (op == 103) != (contig[handle] != 0):
            why[0] = 5
            return i
        ops[2 * i] = (OP_FREE_CONTIG if op == 103 else OP_FREE) | handle << 32
        ops[2 * i + 1] = sizes[handle] << 32
    return n


def to_operations(rows: Any, ops: Any, sizes: Any, contig: Any, max_order: int, nr_pages: int) -> tuple[int, int]:
    """Turn rows into operations of ``Zone.run``; how many, and what the next row is instead (``REASONS``; 0: all were turned).

    Args:
        rows: array of ``ACTION``.
        ops: array of ``OPERATION``, as long. Every free says in ``nr`` how many pages the handle holds.
        sizes: int64, pages of each handle, negative for one that was never allocated; kept up to date.
        contig: bool, whether each handle holds a contiguous range; kept up to date.
        max_order: of the zone.
        nr_pages: of the zone.
    """
    why = np.zeros(1, np.int64)
    done = _translate(
        _words(rows.view(np.int64)),
        len(rows),
        _words(ops.view(np.int64)),
        _words(sizes),
        _bytes(contig.view(np.uint8)),
        len(sizes),
        _halves(_REQUESTS),
        max_order,
        nr_pages,
        _words(why),
    )
    return done, int(why[0])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _compare(
    rows: cython.p_longlong,
    n: cython.longlong,
    ops: cython.p_longlong,
    results: cython.p_longlong,
    start_pfn: cython.longlong,
    gained: cython.p_longlong,
) -> cython.longlong:
    """See ``first_difference``; the pages go to ``gained[0]``."""
    i: cython.longlong
    pfn: cython.longlong
    pages: cython.longlong = 0
    for i in range(n):
        if rows[3 * i] & 0xFF == 97:
            pfn = rows[3 * i + 2]
            if results[i] != (-ENOMEM if pfn < 0 else start_pfn + pfn):
                return i
            if pfn >= 0:
                pages += cython.cast(cython.longlong, 1) << (rows[3 * i] >> 16 & 0xFF)
        elif results[i] >= 0:
            pages -= ops[2 * i + 1] >> 32
        elif results[i] != -EREMOTE:
            # a free has no answer, but its handle must hold something: here, or a page that went to another zone
            return i
    gained[0] = pages
    return -1


def first_difference(rows: Any, ops: Any, results: Any, start_pfn: int) -> tuple[int, int]:
    """Index of the first row that was answered otherwise than by ``results`` (of ``Zone.run``), or -1; pages gained in all.

    Args:
        rows: array of ``ACTION``.
        ops: what ``to_operations`` made of them.
        results: what ``Zone.run`` made of those.
        start_pfn: of the zone.
    """
    gained = np.zeros(1, np.int64)
    at = _compare(
        _words(rows.view(np.int64)),
        len(rows),
        _words(ops.view(np.int64)),
        _words(results),
        start_pfn,
        _words(gained),
    )
    return at, int(gained[0])
