"""Several zones and nodes: zonelists, and requests and migration targets that go from zone to zone.

Source: mm/page_alloc.c: __alloc_pages, get_page_from_freelist, alloc_flags_nofragment, alloc_contig_pages (6.1); mm/migrate.c:
alloc_migration_target. Zones are modelled one by one; this room only decides which is asked, in which order.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ContigRefused, OutOfMemoryError, RangeError, UsageError
from .results import ContigRange
from .types import Migratetype, PageClass

if TYPE_CHECKING:
    from .model import Zone

__all__ = ["KINDS", "Member", "Memory"]

#: Kinds of zones, lowest first (enum zone_type, x86-64).
KINDS = ("DMA", "DMA32", "Normal", "Movable")


@dataclass(frozen=True, slots=True)
class Member:
    """A zone and its place. ``protection``: lowmem_reserve in pages against requests for each of KINDS; () for none."""

    zone: "Zone"
    node: int = 0
    kind: str = "Normal"
    protection: tuple[int, ...] = ()


class Memory:
    """The zones of a machine.

    Args:
        members: zones with node and kind, no two of one node and kind.
        distances: nodes by distance from each node; default: the node itself, then the others ascending.

    Raises:
        UsageError: an unknown kind, or a place that is taken twice.
    """

    def __init__(self, members: Sequence[Member], distances: dict[int, Sequence[int]] | None = None) -> None:
        places = [(member.node, member.kind) for member in members]
        for node, kind in places:
            if kind not in KINDS:
                raise UsageError(f"zone kind {kind!r} of node {node}: choose one of {', '.join(KINDS)}")
            if places.count((node, kind)) > 1:
                raise UsageError(f"node {node} has two zones {kind}: a node has one of each kind")
        self.members = tuple(members)
        self.nodes = sorted({member.node for member in members})
        self.distances = distances or {node: [node, *(n for n in self.nodes if n != node)] for node in self.nodes}
        for member in self.members:
            member.zone.set_targets_may_spill(True)
            member.zone.set_spill_target(self._target_finder(member))

    def zonelist(self, node: int, highest: str) -> list[Member]:
        """Zones in the order in which a request at a node is served: the node's own downwards, then the next node's."""
        if node not in self.distances or highest not in KINDS:
            raise UsageError(
                f"zones up to {highest} of node {node}: choose one of nodes {self.nodes}, up to {KINDS[-1]}"
            )
        top = KINDS.index(highest)
        return [
            member
            for n in self.distances[node]
            for member in sorted(self.members, key=lambda m: -KINDS.index(m.kind))
            if member.node == n and KINDS.index(member.kind) <= top
        ]

    def alloc(
        self,
        order: int = 0,
        migratetype: int = Migratetype.MOVABLE,
        page_class: PageClass = PageClass.KERNEL,
        *,
        node: int = 0,
        highest: str = "Normal",
        flags: int = 0,
        owner: int | None = None,
    ) -> int:
        """Allocate from the first zone of the zonelist that may give; its pfn. ``flags``: bits of PageFlag.

        Above the low watermarks first, without fragmenting where the kernel avoids it, then above min.

        Raises:
            OutOfMemoryError: no zone gives.
        """
        zones = self.zonelist(node, highest)
        byte = int(page_class) | flags
        pfn = self._first_page(zones, self._passes(zones), highest, order, migratetype, byte, owner)
        if pfn is not None:
            return pfn
        raise OutOfMemoryError(f"no zone of node {node} up to {highest} has a block of order {order}")

    def _passes(self, zones: Sequence[Member]) -> tuple[tuple[bool, bool], ...]:
        """The rounds over a zonelist: (above the low watermark, without fragmenting)."""
        first = ((True, True), (True, False)) if self._avoids_fragments(zones) else ((True, False),)
        return (*first, (False, False))

    def _first_page(
        self,
        zones: Sequence[Member],
        passes: Sequence[tuple[bool, bool]],
        highest: str,
        order: int,
        migratetype: int,
        byte: int,
        owner: int | None,
    ) -> int | None:
        """The page of the first zone that gives, round by round."""
        for low, nofragment in passes:
            for member in zones:
                # going to another node matters more than fragments
                if nofragment and member.node != zones[0].node:
                    break
                pfn = self._get_page(member, highest, order, migratetype, byte, owner, low, nofragment)
                if pfn is not None:
                    return pfn
        return None

    def _avoids_fragments(self, zones: Sequence[Member]) -> bool:
        """ALLOC_NOFRAGMENT: the preferred zone is Normal, and not a node without DMA32 beside others."""
        if not zones or zones[0].kind != "Normal":
            return False
        has_dma32 = any(member.node == zones[0].node and member.kind == "DMA32" for member in self.members)
        return len(self.nodes) == 1 or has_dma32

    def _get_page(
        self,
        member: Member,
        highest: str,
        order: int,
        migratetype: int,
        byte: int,
        owner: int | None,
        low: bool,
        nofragment: bool = False,
    ) -> int | None:
        if order > member.zone.geometry.max_order:
            return None
        top = KINDS.index(highest)
        reserve = member.protection[top] if top < len(member.protection) else 0
        pfn: int | None = member.zone.get_page(
            order, migratetype, byte, owner, low=low, lowmem_reserve=reserve, nofragment=nofragment
        )
        return pfn

    def _target_finder(self, member: Member) -> Any:
        """What the zone asks when it has no migration target above its own low watermark."""

        def find(order: int, flags: int, owner: int) -> int:
            # a huge page's target may come from ZONE_MOVABLE, as GFP_TRANSHUGE says; a base page's only from its own kind down
            highest = "Movable" if order or member.kind == "Movable" else member.kind
            handle = None if owner == 0xFFFFFFFF else owner
            zones = self.zonelist(member.node, highest)
            for low in (True, False):
                for other in zones:
                    if low and other is member:
                        continue
                    pfn = self._get_page(other, highest, order, Migratetype.MOVABLE, flags, handle, low)
                    if pfn is not None:
                        return pfn
            return -1

        return find

    @contextmanager
    def offline_targets(self, member: Member) -> Iterator[None]:
        """Meanwhile pages of this zone migrate to where do_migrate_range sends them (mm/memory_hotplug.c, 5.15 to 6.19).

        To other nodes with memory if there are any, else to the page's own. A base page goes to the highest kernel zone
        first, also one of a lower zone; one of ZONE_MOVABLE and huge pages may go to ZONE_MOVABLE
        (mm/migrate.c, alloc_migration_target).
        """
        others = {m.node for m in self.members if m.node != member.node and m.zone.nr_managed_pages > 0}
        nodes = others or {member.node}
        lists = {
            highest: [m for m in self.zonelist(member.node, highest) if m.node in nodes]
            for highest in ("Normal", "Movable")
        }
        passes = {highest: self._passes(zones) for highest, zones in lists.items()}

        def find(order: int, flags: int, owner: int) -> int:
            highest = "Movable" if order or member.kind == "Movable" else "Normal"
            handle = None if owner == 0xFFFFFFFF else owner
            pfn = self._first_page(lists[highest], passes[highest], highest, order, Migratetype.MOVABLE, flags, handle)
            return -1 if pfn is None else pfn

        kept = member.zone.get_spill_target()
        member.zone.set_spill_target(find)
        member.zone.set_targets_elsewhere(True)
        try:
            yield
        finally:
            member.zone.set_targets_elsewhere(False)
            member.zone.set_spill_target(kept)

    def member_of(self, pfn: int) -> Member:
        """The zone that holds a pfn. Raises RangeError if none does."""
        for member in self.members:
            if member.zone.start_pfn <= pfn < member.zone.end_pfn:
                return member
        raise RangeError(f"pfn {pfn} is in no zone of this memory")

    def free(self, pfn: int) -> None:
        """Free the block that a pfn heads."""
        self.member_of(pfn).zone.free(pfn)

    def alloc_contig_range(self, start_pfn: int, end_pfn: int, migratetype: int = Migratetype.MOVABLE) -> ContigRange:
        """As ``Zone.alloc_contig_range``; what has no room in the zone moves to others of its zonelist."""
        return self.member_of(start_pfn).zone.alloc_contig_range(start_pfn, end_pfn, migratetype)

    def alloc_contig_pages(self, nr_pages: int, *, node: int = 0, highest: str = "Normal") -> ContigRange:
        """First range of ``nr_pages`` that a zone of the zonelist gives, the highest zone first (alloc_contig_pages).

        Raises:
            ContigRefused: no zone gives; the last refusal.
        """
        refusal: ContigRefused | None = None
        for member in self.zonelist(node, highest):
            if nr_pages > member.zone.geometry.nr_pages:
                continue
            try:
                return member.zone.alloc_contig_pages(nr_pages)
            except ContigRefused as refused:
                refusal = refused
        raise refusal or ContigRefused(16, "alloc_contig_pages", 0, f"no zone has {nr_pages} pages")
