"""The hot loop of reading a trace: lines of allocations and frees into an array of operations.

Compiled into ``_actions`` like the rooms of ``mm/``; works uncompiled too.
"""

from typing import Any

import cython
import numpy as np

__all__ = ["ACTION", "scan_actions"]

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
@cython.nogil
@cython.exceptval(check=False)
def _number(text: cython.p_uchar, at: cython.p_longlong) -> cython.longlong:
    """The number after one blank at ``at[0]``, which moves behind it; -2: there is none of at most 12 digits."""
    pos: cython.longlong = at[0]
    value: cython.longlong = 0
    digits: cython.int = 0
    if text[pos] != 32:
        return -2
    pos += 1
    while text[pos] >= 48 and text[pos] <= 57 and digits < 13:
        value = value * 10 + (text[pos] - 48)
        pos += 1
        digits += 1
    at[0] = pos
    return value if digits > 0 and digits < 13 else -2


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _scan(
    text: cython.p_uchar,
    at: cython.p_longlong,
    rows: cython.p_uchar,
    words: cython.p_longlong,
    capacity: cython.longlong,
) -> cython.longlong:
    """Fill rows from ``at[0]`` on; returns their number. ``at[1]`` counts lines. Stops before any other line.

    ``rows`` and ``words`` are the same array seen as bytes and as 64-bit words. The text ends with a zero byte.
    """
    n: cython.longlong = 0
    begin: cython.longlong
    handle: cython.longlong
    order: cython.longlong
    pfn: cython.longlong
    line: cython.longlong
    kind: cython.uint
    op: cython.uint
    i: cython.uint
    while n < capacity:
        begin = at[0]
        op = text[begin]
        if op != 97 and op != 102 and op != 103:
            break
        at[0] = begin + 1
        handle = _number(text, at)
        order = 0
        kind = 0
        pfn = -1
        if handle < 0:
            at[0] = begin
            break
        if op == 97:
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
        line = at[1]
        rows[24 * n] = op
        rows[24 * n + 1] = kind
        rows[24 * n + 2] = cython.cast(cython.uint, order)
        for i in range(4):
            rows[24 * n + 4 + i] = line >> (8 * i) & 255
        words[3 * n + 1] = handle
        words[3 * n + 2] = pfn
        n += 1
    return n


def scan_actions(text: Any, position: int, line: int, capacity: int) -> tuple[Any, int, int]:
    """Allocations and frees from ``text[position:]`` on: array of ``ACTION``, where the scan stopped, lines so far.

    Args:
        text: uint8 array of the whole trace with a zero byte at its end.
        position: byte at which a line begins.
        line: lines read before it.
        capacity: rows at most.

    It stops before the first line that is not a well-formed allocation or free.
    """
    table = np.zeros(capacity, ACTION)
    place = np.array([position, line], np.int64)
    count = _scan(_bytes(text), _words(place), _bytes(table.view(np.uint8)), _words(table.view(np.int64)), capacity)
    return table[:count], int(place[0]), int(place[1])
