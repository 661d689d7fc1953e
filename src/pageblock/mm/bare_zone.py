"""What every method of a zone needs: its geometry and name, checked arguments, events, refusals."""

from typing import Any

import cython
import numpy as np

from pageblock.mm.errors import ContigRefused, InvariantError, KernelBugError, RangeError, UsageError
from pageblock.mm.events import Listener, decode
from pageblock.mm.geometry import Geometry
from pageblock.mm.results import INVARIANTS, STEPS, WHYS
from pageblock.mm.types import Migratetype, PageClass

if not cython.compiled:
    from .constants import (
        ALLOC,
        BUDDY,
        CLASS_MASK,
        C_HOLE,
        C_RESERVED,
        ENOTRECOVERABLE,
        EVENT_WORDS,
        INV_LINKS,
        NR_RULES,
        ORDER_MASK,
    )
    from .zone import ZoneState, ptr32, zone_init
    from .arguments import integer
    from .survey import find_head


#: No page, no handle; as Python sees it (the core's NONE is a C constant).
NO_PAGE = 0xFFFFFFFF

#: The log of a call without events.
NO_EVENTS = np.zeros((0, 8), np.uint64)


@cython.cclass
class BareZone(ZoneState):
    """A zone's state with what its methods share. ``model.Zone`` is what is used."""

    geometry_: Any
    release_: Any
    name_: Any
    listener: Any

    def __cinit__(self, *args: Any, **options: Any) -> None:
        # an object that never saw __init__ is a zone of one page, and no crash
        zone_init(self, 0, 1, 0, 0, np.zeros(NR_RULES, np.uint32))

    # ---- what the zone is ----

    @property
    def geometry(self) -> Geometry:
        """Size, start, orders and page size."""
        return self.geometry_

    @property
    def release(self) -> str:
        """Name of the release whose rules are followed."""
        return self.release_.name

    @property
    def name(self) -> str:
        """What messages call the zone."""
        return self.name_

    @property
    def start_pfn(self) -> int:
        """First pfn."""
        return self.base_pfn + self.zone_start

    @property
    def end_pfn(self) -> int:
        """One past the last pfn."""
        return self.base_pfn + self.zone_end

    def listed(self, head: cython.uint) -> Any:
        """Pfns of the list with this head, in order. Raises InvariantError where the links lead nowhere or round."""
        pfn: cython.uint = self.nxt[head]
        found: list[int] = []
        while pfn != head:
            if pfn >= self.nr_frames or len(found) > self.nr_frames:
                name, text = INVARIANTS[INV_LINKS]
                raise InvariantError(name, f"{text} in {self.name_}")
            found.append(pfn)
            pfn = self.nxt[pfn]
        return np.array(found, np.uint64) + np.uint64(self.base_pfn)

    # ---- arguments ----

    @cython.cfunc
    def checked_pfn(self, pfn: Any) -> int:
        """Relative pfn, or RangeError."""
        at = integer("pfn", pfn)
        if not self.base_pfn + self.zone_start <= at < self.base_pfn + self.zone_end:
            raise RangeError(f"pfn {at} is outside {self.name_} [{self.start_pfn}, {self.end_pfn})")
        return at - self.base_pfn

    @cython.cfunc
    def checked_range(self, start_pfn: Any, end_pfn: Any) -> tuple[int, int]:
        """Relative half-open range, or RangeError."""
        start, end = integer("start_pfn", start_pfn), integer("end_pfn", end_pfn)
        if start >= end:
            raise RangeError(f"range [{start}, {end}) is empty: start must be below end")
        if start < self.start_pfn or end > self.end_pfn:
            raise RangeError(f"range [{start}, {end}) is outside {self.name_} [{self.start_pfn}, {self.end_pfn})")
        return start - self.base_pfn, end - self.base_pfn

    @cython.cfunc
    def checked_count(self, nr_pages: Any) -> int:
        """A number of pages that the zone can hold, or RangeError."""
        n = integer("nr_pages", nr_pages)
        if not 1 <= n <= self.zone_end - self.zone_start:
            raise RangeError(f"nr_pages is {n}: {self.name_} has {self.zone_end - self.zone_start} pages")
        return n

    @cython.cfunc
    def checked_order(self, order: Any) -> int:
        """An order of the zone, or UsageError."""
        o = integer("order", order)
        if not 0 <= o <= self.max_order:
            raise UsageError(f"order is {o}: {self.name_} has orders 0 to {self.max_order}")
        return o

    @cython.cfunc
    def checked_migratetype(self, migratetype: Any, below: int) -> int:
        """A migratetype below a bound, or UsageError."""
        mt = integer("migratetype", migratetype)
        if not 0 <= mt < below:
            allowed = ", ".join(m.name for m in Migratetype if m < below)
            raise UsageError(f"migratetype is {mt}: choose one of {allowed}")
        return mt

    @cython.cfunc
    def checked_owner(self, owner: Any) -> int:
        """An owner handle, or UsageError."""
        if owner is None:
            return NO_PAGE
        handle = integer("owner", owner)
        if not 0 <= handle < NO_PAGE - 1:
            raise UsageError(f"owner is {handle}: choose 0 to {NO_PAGE - 2}")
        return handle

    @cython.cfunc
    def must_be_allocated(self, at: cython.uint) -> None:
        """UsageError unless the frame heads an allocated block that may be freed."""
        s: cython.uint = self.state[at]
        c: cython.uint = self.flags[at] & CLASS_MASK
        if s & ALLOC and c != C_HOLE and c != C_RESERVED:
            return
        pfn = self.base_pfn + at
        if s & ALLOC:
            raise UsageError(f"pfn {pfn} is a {PageClass(c).name.lower()} page: it was not allocated here")
        if s:
            raise UsageError(f"pfn {pfn} is free already (order {s & ORDER_MASK}): double free")
        head: cython.uint = find_head(self, at)
        if self.state[head] & BUDDY:
            raise UsageError(f"pfn {pfn} is free already, inside the block at {self.base_pfn + head}: double free")
        raise UsageError(f"pfn {pfn} lies inside an allocated block: free the block by its first pfn")

    @cython.cfunc
    def room_for_types(self, nr_pages: int) -> Any:
        """A byte for each pageblock that a request of this size can isolate."""
        window = 1 << max(self.max_order, self.pageblock_order)
        return np.zeros(((nr_pages + 3 * window) >> self.pageblock_order) + 1, np.uint8)

    # ---- handles ----

    def lend_handles(self, handles: Any) -> None:
        """Let migration update a caller's handles, or UsageError if it cannot."""
        if not isinstance(handles, np.ndarray) or handles.dtype != np.uint32 or handles.ndim != 1 or not len(handles):
            raise UsageError("handles must be a one-dimensional numpy array of uint32, filled with 2^32-1 at first")
        if not (handles.flags.c_contiguous and handles.flags.writeable and handles.flags.aligned):
            raise UsageError("handles must be contiguous and writeable: they are updated in place; pass a copy")
        self.handles_array = handles
        self.handles = ptr32(handles)
        self.nr_handles = len(handles)

    def return_handles(self) -> None:
        """Forget the caller's handles."""
        self.nr_handles = 0
        self.handles_array = np.zeros(1, np.uint32)
        self.handles = ptr32(self.handles_array)

    # ---- events ----

    @cython.cfunc
    def begin(self, record: bool) -> None:
        """Start a call: an empty log, and recording if the call or a listener needs it."""
        self.log_events = 0
        self.recording = record or self.listener is not None

    @cython.cfunc
    def finish(self) -> Any:
        """End a call: the log since ``begin``, one row an event, valid until the next call; the listener is told."""
        listener = self.listener
        self.recording = listener is not None
        if self.log_events == 0:
            return NO_EVENTS
        rows = self.log_array[: self.log_events * EVENT_WORDS].reshape(-1, EVENT_WORDS)
        self.log_events = 0
        if listener is not None:
            # the listener may use the zone, which starts the log anew, or stop listening
            rows = rows.copy()
            for row in rows.tolist():
                listener(decode(row, self.base_pfn))
        return rows

    def last_refusal(self) -> tuple[str, str, int]:
        """What refused the last refused request: the kernel's function, the rule in words, the absolute pfn."""
        return STEPS[self.refused_step], WHYS[self.refused_why], self.base_pfn + self.refused_pfn

    @cython.cfunc
    def refusal(self, errno: int) -> ContigRefused | KernelBugError:
        """The exception for what the core remembers of a refusal."""
        step, why, pfn = self.last_refusal()
        if errno == ENOTRECOVERABLE:
            return KernelBugError(why, step, pfn)
        return ContigRefused(errno, step, pfn, why)
