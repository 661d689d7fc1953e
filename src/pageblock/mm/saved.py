"""Whether a saved state can be taken over: the core trusts its links and sizes, so all of them are looked at before.

What a caller may well want to load is let through: counters that have drifted, pages on the list of another type.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import UsageError

__all__ = ["NR_COUNTERS", "check_saved"]

#: Counters of a saved state; from the 19th on those of the per-cpu lists.
NR_COUNTERS = 28
FIRST_PCP, PCP_COUNT, PCP_BATCH, PCP_SHIFTS = 18, 19, 21, (22, 26)

#: Parts of it.
PARTS = ("geometry", "options", "counters", "beneath", "overlap", "arrays")


def damaged(what: str) -> UsageError:
    return UsageError(f"the saved state is damaged: {what}; save it again")


def check_saved(
    state: Any,
    mine: Mapping[str, Any],
    frames: tuple[int, int],
    max_order: int,
    heads: Any,
    masks: tuple[int, int, int, int],
) -> None:
    """Refuse a saved state that the core cannot work on.

    Args:
        mine: the parts of this zone's own state, whose shapes and types the other must have.
        frames: first frame of the zone, and one past its last.
        heads: state byte that pages on the list of each head have, 0: no list of pages.
        masks: bits of a state byte: order, allocated, on a free list, on a per-cpu list.

    Raises:
        UsageError: what is missing, of another geometry, or inconsistent.
    """
    if not isinstance(state, Mapping) or any(part not in state for part in PARTS):
        raise UsageError(f"no saved state of a zone: it is a dict with {', '.join(PARTS)}")
    for part in ("arrays", "overlap"):
        check_arrays(part, state[part], mine[part])
    check_arrays("beneath", (state["beneath"],), (mine["beneath"],))
    check_counters(state["counters"])
    nxt, prv, states, flags, types = state["arrays"]
    for name, array in (("pageblock type", types), ("type beneath", state["beneath"])):
        if array.size and int(array.max()) >= 6:
            raise damaged(f"{name} {int(array.max())}, the last is 5")
    order_mask, _, buddy, onpcp = masks
    check_blocks(states, frames, max_order, masks, overlapping=state["overlap"] is not None)
    kind = np.concatenate([np.where(states & (buddy | onpcp), states, 0), heads]).astype(np.uint8)
    listed = np.flatnonzero(kind)
    for name, links, back in (("next", nxt, prv), ("previous", prv, nxt)):
        to = links[listed].astype(np.int64)
        wrong = to >= len(links)
        to = np.where(wrong, 0, to)
        wrong |= (kind[to] != kind[listed]) | (back[to] != listed)
        if wrong.any():
            raise damaged(f"the link to the {name} page of frame {int(listed[np.argmax(wrong)])} leads nowhere")
    # heads of lists that are empty between calls, and of those that end a search
    others = np.flatnonzero(heads == 0) + len(states)
    for links, own in ((nxt, mine["arrays"][0]), (prv, mine["arrays"][1])):
        if not np.array_equal(links[others], own[others]):
            raise damaged("a list that is empty between calls is not")
    waiting = np.flatnonzero(states & onpcp)
    if waiting.size and int(flags[waiting].max()) >= 6:
        # a page on a per-cpu list keeps the type there that it was freed under
        raise damaged(f"a page on a per-cpu list of type {int(flags[waiting].max())}, the last is 5")
    pages = int((np.int64(1) << (states[waiting] & order_mask).astype(np.int64)).sum())
    if pages != state["counters"][PCP_COUNT]:
        raise damaged(f"{state['counters'][PCP_COUNT]} pages on per-cpu lists, really {pages}")


def check_arrays(part: str, given: Any, mine: Any) -> None:
    """Arrays of the same shapes and types; for ``overlap`` also none."""
    if part == "overlap" and given is None:
        return
    same = isinstance(given, tuple | list) and all(isinstance(a, np.ndarray) for a in given)
    if (
        not same
        or any(not a.flags.c_contiguous for a in given)
        or [(a.shape, a.dtype) for a in given] != [(a.shape, a.dtype) for a in mine]
    ):
        raise UsageError(f"the saved state has another geometry than this zone, or is damaged ({part})")


def check_counters(counters: Any) -> None:
    """So many whole numbers, each of which a kernel may have."""
    if not isinstance(counters, tuple | list) or len(counters) != NR_COUNTERS:
        raise damaged(f"counters are not {NR_COUNTERS} numbers")
    for at, value in enumerate(counters):
        if not isinstance(value, int) or not -(1 << 52) < value < 1 << 52:
            raise damaged(f"counter {at} is {value!r:.40}")
        if at >= FIRST_PCP and not 0 <= value < 1 << 31:
            raise damaged(f"per-cpu setting {at - FIRST_PCP} is {value}")
    if counters[PCP_BATCH] < 1 or any(counters[at] > 31 for at in PCP_SHIFTS):
        raise damaged("per-cpu lists cannot have these settings")


def check_blocks(
    states: Any, frames: tuple[int, int], max_order: int, masks: tuple[int, int, int, int], *, overlapping: bool
) -> None:
    """Blocks of one kind each that lie in the zone, and unless pages in use lie under free ones, beside each other."""
    order_mask, alloc, buddy, onpcp = masks
    heads = np.flatnonzero(states)
    if not heads.size:
        return
    bytes_ = states[heads].astype(np.int64)
    order = bytes_ & order_mask
    size = np.int64(1) << order
    listed = (bytes_ & (buddy | onpcp)) != 0
    wrong = ~np.isin(bytes_ & ~np.int64(order_mask), (alloc, buddy, onpcp))
    wrong |= (heads < frames[0]) | (heads + size > frames[1])
    # blocks above max order are allocated ones, or per-cpu pages of pageblock order
    wrong |= ((bytes_ & buddy) != 0) & (order > max_order)
    if not overlapping:
        wrong |= listed & (heads % size != 0)
        wrong[:-1] |= heads[1:] < (heads + size)[:-1]
    if wrong.any():
        raise damaged(f"no block can begin at frame {int(heads[np.argmax(wrong)])} as it says")
