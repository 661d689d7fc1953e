"""What changed in a zone, operation by operation: the stretch of a trace before model and kernel part."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..mm import Migratetype, Zone

__all__ = ["PCP_LISTS", "Change", "History", "list_name", "pcp_list_name"]

#: Entries of a list, and lists, that a person reads.
_SHOWN = 8
_LISTS = 6

#: Per-cpu lists, at most: 3 of orders 0 to 3 each, and those of huge pages.
PCP_LISTS = 15

#: Orders from here on have one or two per-cpu lists of their own, for huge pages.
_PCP_ORDERS = 4


def list_name(order: int, migratetype: int) -> str:
    """What messages call a free list."""
    return f"order {order} {Migratetype(migratetype).name} list"


def pcp_list_name(pindex: int) -> str:
    """What messages call a per-cpu list."""
    order, mt = divmod(pindex, 3)
    return f"per-cpu list {pindex} ({f'order {order} {Migratetype(mt).name}' if order < _PCP_ORDERS else 'huge pages'})"


@dataclass(frozen=True, slots=True)
class Change:
    """How often something changed in the stretch, and by which operation last."""

    times: int
    operation: int
    line: int
    what: str


@dataclass
class History:
    """The lists, pageblock types and counters before the last operation, and what changed each of them since ``first``.

    Args:
        first: operations before the stretch, which are not looked at.
        agreed: whether model and kernel were last compared whole, and equal, there.
    """

    first: int
    agreed: bool
    lists: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    types: npt.NDArray[np.uint8] | None = None
    counters: dict[str, int] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    was: dict[str, int] = field(default_factory=dict)
    requests: list[Change] = field(default_factory=list)

    def look(self, zone: Zone, counters: dict[str, int], operation: int, line: int, what: str) -> None:
        """Compare the zone with how it was, which becomes how it is; the first look only takes it in."""
        lists = {
            list_name(order, mt): zone.free_list(order, mt).astype(np.int64) - zone.start_pfn
            for order in range(zone.geometry.max_order + 1)
            for mt in Migratetype
        }
        for pindex in range(PCP_LISTS):
            lists[pcp_list_name(pindex)] = zone.pcp_list(pindex).astype(np.int64) - zone.start_pfn
        types = zone.pageblock_types
        if self.types is not None:
            changed = [name for name, pfns in lists.items() if not np.array_equal(pfns, self.lists[name])]
            for block in np.flatnonzero(types != self.types).tolist():
                changed.append(f"type of pageblock {block}")
                self.was.setdefault(changed[-1], int(self.types[block]))
            changed += [f"counter {name}" for name, value in counters.items() if value != self.counters[name]]
            for name in changed:
                times = self.changes[name].times if name in self.changes else 0
                self.changes[name] = Change(times + 1, operation, line, what)
        self.lists, self.types, self.counters = lists, types, counters

    def remember(self, operation: int, line: int, what: str) -> None:
        """A request of the stretch that is neither an allocation nor a free: the ones that change pageblocks."""
        self.requests.append(Change(1, operation, line, what))

    # ---- in words ----

    def since(self) -> str:
        """Where the stretch begins."""
        if not self.first:
            return "since the start"
        return f"since {'all was equal at ' if self.agreed else ''}operation {self.first:,}"

    def changed(self, name: str) -> str:
        """When one of them changed last."""
        change = self.changes.get(name)
        if change is None:
            return f"not changed {self.since()}"
        times = "once" if change.times == 1 else f"{change.times:,} times"
        return (
            f"changed {times} {self.since()}, last by operation {change.operation:,} "
            f"(line {change.line:,}): {change.what}"
        )

    def entries(self, name: str, at: int = 0) -> str:
        """The entries of a list from ``at`` on, as far as a person wants to read."""
        pfns = self.lists[name].tolist()
        if not pfns:
            return "empty"
        return (
            ("… " if at else "")
            + " ".join(map(str, pfns[at : at + _SHOWN]))
            + (" …" if len(pfns) > at + _SHOWN else "")
        )

    def describe_lists(self, names: Iterable[str], when: str) -> list[str]:
        """Each of these lists that is not empty, or was changed: what it holds, and when it last changed."""
        found: list[str] = []
        for name in names:
            if len(found) < 2 * _LISTS and (len(self.lists[name]) or name in self.changes):
                found += [f"model's {name} {when}: {self.entries(name)}", f"  {self.changed(name)}"]
        return found

    def describe_changes(self, start: tuple[str, ...], when: str) -> list[str]:
        """Everything whose name starts so and that changed, the latest change first."""
        names = sorted(
            (name for name in self.changes if name.startswith(start)),
            key=lambda name: (-self.changes[name].operation, name),
        )
        found: list[str] = []
        if not names:
            found.append(f"nothing of this changed in the model {self.since()}")
        for name in names[: 2 * _LISTS]:
            found.append(f"{name}: {self.changed(name)}")
            if name in self.lists:
                found.append(f"  {when}: {self.entries(name)}")
            elif self.types is not None and name in self.was:
                now = int(self.types[int(name.rsplit(" ", 1)[1])])
                found.append(f"  {when}: {Migratetype(now).name}, before {Migratetype(self.was[name]).name}")
        if len(names) > 2 * _LISTS:
            found.append(f"and {len(names) - 2 * _LISTS} more that changed earlier")
        for request in self.requests[: -_LISTS - 1 : -1]:
            found.append(f"{request.what}: operation {request.operation:,} (line {request.line:,})")
        return found

    def whereabouts(self, zone: Zone, pfn: int, handles: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64]) -> str:
        """Where the page was in the model before the last operation.

        Args:
            pfn: counted from the zone's first page.
            handles: frame of each handle's first page, counted from ``zone.base()``, before that operation.
            sizes: pages of each handle.
        """
        for name, pfns in self.lists.items():
            order = int(name.split()[1]) if name.startswith("order") else 0
            if name.startswith("per-cpu"):
                order = int(name.split()[2]) // 3
                order = zone.geometry.pageblock_order if order >= _PCP_ORDERS else order
            at = np.flatnonzero((pfns <= pfn) & (pfn < pfns + (1 << order)))
            if len(at):
                head = int(pfns[at[0]])
                inside = "" if head == pfn else f", inside the block at {head}"
                return f"entry {at[0]} of the {name}{inside}"
        places = handles.astype(np.int64) - (zone.start_pfn - zone.base())
        held = (handles < 0xFFFFFFFE) & (places <= pfn) & (pfn < places + np.maximum(sizes, 0))
        if held.any():
            handle = int(np.argmax(held))
            return f"in use: handle {handle}, pages [{places[handle]}, {places[handle] + sizes[handle]})"
        return "neither free nor held by a handle"
