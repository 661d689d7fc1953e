"""Make a failing sequence short: leave out what it fails without (Zeller's delta debugging, then one operation at a time)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["shrink"]

T = TypeVar("T")


def shrink(sequence: Sequence[T], fails: Callable[[list[T]], bool], tries: int = 2000) -> list[T]:
    """A shorter sequence that still fails; no single element of it can be left out, unless ``tries`` runs were not enough."""
    kept = list(sequence)
    size = max(1, len(kept) // 2)
    while tries > 0:
        removed = False
        at = len(kept) - size
        while at > -size and tries > 0:
            rest = kept[: max(0, at)] + kept[max(0, at) + size + min(0, at) :]
            tries -= 1
            if len(rest) < len(kept) and fails(rest):
                kept = rest
                removed = True
            at -= size
        if size > 1:
            size //= 2
        elif not removed:
            break
    return kept
