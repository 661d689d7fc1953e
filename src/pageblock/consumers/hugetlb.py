"""Gigantic huge pages: a pool that nr_hugepages resizes, out of hugetlb_cma areas or by alloc_contig_pages.

Source: mm/hugetlb.c (5.15.16, 6.1.176, 6.12.19, 6.19.9), mm/hugetlb_cma.c (6.19.9), mm/page_alloc.c alloc_contig_pages.
Huge pages up to max order come from the buddy allocator and are not modelled here. Pages are never in use by anybody, so
surplus does not arise.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..mm import Geometry, Zone
from ..mm.errors import ContigRefused, UsageError
from ..mm.memory import Memory
from ..mm.types import PageClass
from .cma import CmaArea
from .cma_boot import BootRefused, CmaBoot, Reserved
from .kernel import kernel_version
from .trial import Step, given, refused

__all__ = ["Gigantic", "HugetlbPool", "gigantic_order", "hugetlb_cma_reserve"]

EINVAL = 22


def gigantic_order(size: int, geometry: Geometry) -> int:
    """Order of a gigantic page of ``size`` bytes: above max order (hstate_is_gigantic), at most 2^26 pages.

    Which sizes a processor has is not known here: 1 GiB on x86-64 (order 18); 1 GiB and 32 MiB on arm64 with 4 KiB pages.

    Raises:
        UsageError: no power of two, or a size that the buddy allocator gives itself.
    """
    pages = size // geometry.page_size
    if size < 1 or size % geometry.page_size or pages & (pages - 1):
        raise UsageError(
            f"a huge page of {size} bytes: give a power of two, at least a page of {geometry.page_size} bytes"
        )
    order = pages.bit_length() - 1
    if order <= geometry.max_order:
        raise UsageError(
            f"a huge page of {size} bytes has order {order}, not above max order {geometry.max_order}: "
            "it comes from the buddy allocator and is not gigantic"
        )
    if order > 26:
        raise UsageError(f"a huge page of {size} bytes has order {order}: the model has pages up to order 26")
    return order


def hugetlb_cma_reserve(boot: CmaBoot, size: int, order: int, nodes: Sequence[int]) -> dict[int, Reserved]:
    """hugetlb_cma=: an area on each node, ``size`` bytes in all, in whole gigantic pages; node -> area.

    The first nodes get a full share, the last perhaps none; a node without room is passed over. Areas have a bit a page in
    5.15, a bit a huge page of pageblock size since 6.1; 6.1.176 aligns them only to such pages; since 6.15 an area may
    have several ranges.

    Raises:
        UsageError: less than one gigantic page.
    """
    geometry, kernel = boot.geometry, kernel_version(boot.release)
    if not 0 <= order <= 26 or not nodes:
        raise UsageError(
            f"hugetlb_cma of pages of order {order:,} on nodes {nodes}: orders are 0 to 26, a node at least"
        )
    page = geometry.page_size << order
    if size < page:
        raise UsageError(f"hugetlb_cma={size} is less than a gigantic page of {page} bytes")
    per_node = -(-size // len(nodes))
    per_node = -(-per_node // page) * page if kernel >= (6, 15) else per_node
    bit = 0 if kernel < (6, 1) else geometry.pageblock_order
    align = geometry.page_size << geometry.pageblock_order if kernel[0] == 6 and kernel[1] < 12 else page
    found: dict[int, Reserved] = {}
    reserved = 0
    for node in nodes:
        share = -(-min(per_node, size - reserved) // page) * page
        try:
            if kernel >= (6, 15):
                found[node] = boot.declare_contiguous_multi(share, align, bit, f"hugetlb{node}", node)
            else:
                found[node] = boot.declare_contiguous(0, share, 0, align, bit, False, f"hugetlb{node}", node)
        except BootRefused:
            continue
        reserved += share
        if reserved >= size:
            break
    return found


@dataclass(frozen=True, slots=True)
class Gigantic:
    """One gigantic page: where, on which node, from which area (None: alloc_contig_pages)."""

    pfn: int
    node: int
    area: CmaArea | None


@dataclass(slots=True)
class HugetlbPool:
    """The pool of one size (struct hstate).

    Args:
        memory: zones and nodes.
        order: of the pages, see ``gigantic_order``.
        areas: node -> hugetlb_cma area.
        only_cma: hugetlb_cma_only (6.15): nothing else is tried.
        inflated: pfns that somebody raises the reference count of as soon as they are taken: the page cannot be frozen.

    Attributes:
        free: pages of the pool, those that are taken away first at the front, for each node.
        steps: all that was done, in order.
    """

    memory: Memory
    order: int
    areas: dict[int, CmaArea] = field(default_factory=dict)
    only_cma: bool = False
    inflated: Collection[int] = ()
    free: dict[int, list[Gigantic]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    next_to_alloc: int | None = None
    next_to_free: int | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for an order of which no page is gigantic."""
        largest = max(member.zone.geometry.max_order for member in self.memory.members)
        if not largest < self.order <= 26:
            raise UsageError(f"a pool of pages of order {self.order:,}: choose {largest + 1} to 26, see gigantic_order")

    @property
    def nr_pages(self) -> int:
        """Base pages of a gigantic page."""
        return 1 << self.order

    @property
    def kernel(self) -> tuple[int, int]:
        """Whose text is followed."""
        return kernel_version(self.memory.members[0].zone.release)

    @property
    def pages(self) -> list[Gigantic]:
        """All pages of the pool, by pfn."""
        return sorted((page for pages in self.free.values() for page in pages), key=lambda page: page.pfn)

    @property
    def nr_huge_pages(self) -> int:
        """Pages in the pool."""
        return sum(map(len, self.free.values()))

    # ---- nr_hugepages ----

    def set_nr_hugepages(self, count: int, node: int | None = None) -> int:
        """Write ``count`` to nr_hugepages, of a node or of all; how many there are then.

        The pool grows a page at a time, round robin over the nodes, and stops when no allowed node gives one: what was
        got stays, and the write succeeds. A node's count leaves the other nodes' pages alone.

        Raises:
            UsageError: a negative count, or a node that has no memory.
        """
        if count < 0 or (node is not None and node not in self.memory.nodes):
            raise UsageError(
                f"{count} pages at node {node}: give no negative count and one of nodes {self.memory.nodes}"
            )
        allowed = self.memory.nodes if node is None else [node]
        want = count if node is None else count + self.nr_huge_pages - len(self.free.get(node, []))
        batch: list[Gigantic] = []
        while self.nr_huge_pages + len(batch) < want:
            page = self._alloc_pool_huge_page(allowed)
            if page is None:
                break
            batch.append(page)
            if self.kernel < (6, 7):
                self._enqueue(batch.pop())
        # a batch is collected at the head of a list and then put at the head of another: the first page ends at the front
        while batch:
            self._enqueue(batch.pop())
        gone: list[Gigantic] = []
        while self.nr_huge_pages > want:
            at = self._next_with_pages(allowed)
            if at is None:
                break
            gone.append(self.free[at].pop(0))
        # until 6.6 from the head of a list, the last one first; then (with CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP) the
        # list is turned round once more
        for page in gone if self.kernel >= (6, 7) else reversed(gone):
            self._free_gigantic_page(page)
        return self.nr_huge_pages if node is None else len(self.free.get(node, []))

    def _enqueue(self, page: Gigantic) -> None:
        self.free.setdefault(page.node, []).insert(0, page)

    def _next_node(self, at: int | None, allowed: list[int]) -> int:
        """The node itself if it is allowed, else the next that is, around the end (get_valid_node_allowed)."""
        start = self.memory.nodes[0] if at is None else at
        return next((n for n in allowed if n >= start), allowed[0])

    def _alloc_pool_huge_page(self, allowed: list[int]) -> Gigantic | None:
        """One page from the next node that gives one (alloc_pool_huge_page); each allowed node is asked once."""
        for _ in allowed:
            node = self._next_node(self.next_to_alloc, allowed)
            self.next_to_alloc = self._next_node(node + 1, allowed)
            page = self.alloc_gigantic_page(node)
            if page is not None:
                return page
        return None

    def _next_with_pages(self, allowed: list[int]) -> int | None:
        for _ in allowed:
            node = self._next_node(self.next_to_free, allowed)
            self.next_to_free = self._next_node(node + 1, allowed)
            if self.free.get(node):
                return node
        return None

    # ---- one page ----

    def alloc_gigantic_page(
        self, node: int, *, thisnode: bool = True, nodemask: list[int] | None = None
    ) -> Gigantic | None:
        """One gigantic page: the node's area, other nodes' areas, then the zones of the zonelist (alloc_gigantic_page).

        Args:
            node: preferred.
            thisnode: __GFP_THISNODE, as nr_hugepages has it: no other node is asked.
            nodemask: nodes that may give; None: all.

        A page that somebody else has a reference on cannot be used: it is given back and one more attempt is made.
        """
        for _ in range(2):
            page = self._take(node, thisnode, self.memory.nodes if nodemask is None else nodemask)
            if page is None:
                return None
            held = [pfn for pfn in self.inflated if page.pfn <= pfn < page.pfn + self.nr_pages]
            if not held:
                self._zone(page.pfn).prep_compound_page(page.pfn, self.order, PageClass.HUGETLB)
                # nobody uses the pool's pages
                self._zone(page.pfn).set_hugetlb_free(page.pfn)
                return page
            self._give_back(page, held)
        return None

    def _zone(self, pfn: int) -> Zone:
        return self.memory.member_of(pfn).zone

    def _take(self, node: int, thisnode: bool, nodemask: list[int]) -> Gigantic | None:
        """2^order pages from an area or by alloc_contig_pages."""
        others = [] if thisnode else [n for n in nodemask if n != node]
        for n in (node, *others):
            area = self.areas.get(n)
            if area is None:
                continue
            answer = area.alloc(self.nr_pages, self.order)
            self.steps += [attempt.step for attempt in answer.tries]
            if answer.pfn is not None:
                return Gigantic(answer.pfn, n, area)
            self.steps.append(
                Step(
                    "cma_alloc", area.base_pfn, self.nr_pages, errno=answer.errno, rule=f"{area.name}: {answer.reason}"
                )
            )
        if self.only_cma and self.kernel >= (6, 15):
            return None
        return self._alloc_contig_pages(node, [node] if thisnode else nodemask)

    def _alloc_contig_pages(self, node: int, nodes: list[int]) -> Gigantic | None:
        """The zones of the zonelist up to Normal, each from its start in steps of the page's size (alloc_contig_pages).

        Gigantic pages do not migrate, so ZONE_MOVABLE is not asked (hugepage_movable_supported).
        """
        nr = self.nr_pages
        for member in self.memory.zonelist(node, "Normal"):
            if member.node not in nodes:
                continue
            zone = member.zone
            first = -(-zone.start_pfn // nr) * nr
            for pfn in range(first, zone.end_pfn - nr + 1, nr):
                invalid = zone.first_invalid_contig(pfn, pfn + nr)
                if invalid is not None:
                    name = zone.page(invalid).page_class.name.lower()
                    rule = f"a page is {_INVALID.get(name, name)}"
                    self.steps.append(Step("pfn_range_valid_contig", pfn, nr, pfn=invalid, rule=rule))
                    continue
                try:
                    found = zone.alloc_contig_range(pfn, pfn + nr)
                except ContigRefused as refusal:
                    self.steps.append(refused("alloc_contig_range", pfn, nr, refusal))
                    continue
                self.steps.append(given("alloc_contig_range", found, zone.name))
                return Gigantic(pfn, member.node, None)
        return None

    def _give_back(self, page: Gigantic, held: list[int]) -> None:
        """A page that could not be frozen is freed, but for what the references hold.

        Until 6.1 these are single pages, and the others are freed. Since 6.12 it is one compound page: it stays
        whole until the reference is dropped, though an area's bits are cleared at once (cma_free_folio).
        """
        zone = self._zone(page.pfn)
        end = page.pfn + self.nr_pages
        self.steps.append(
            Step(
                "folio_ref_freeze", page.pfn, self.nr_pages, pfn=held[0], errno=16, rule="the page has a reference more"
            )
        )
        if self.kernel >= (6, 12):
            zone.prep_compound_page(page.pfn, self.order, PageClass.COMPOUND)
        else:
            at = page.pfn
            for pfn in (*sorted(held), end):
                if pfn > at:
                    zone.free_contig_range(at, pfn - at)
                at = pfn + 1
        if page.area is not None:
            page.area.clear_bitmap(page.pfn, self.nr_pages)

    def dissolve(self, pfn: int) -> bool:
        """Take the free page at a pfn out of the pool and give it back; False: it is not the pool's (dissolve_free_huge_page)."""
        for pages in self.free.values():
            for page in pages:
                if page.pfn == pfn:
                    pages.remove(page)
                    self._free_gigantic_page(page)
                    return True
        return False

    def _free_gigantic_page(self, page: Gigantic) -> None:
        """Give a page back: to its area, else page by page; since 6.12 as one compound page (free_gigantic_page)."""
        zone = self._zone(page.pfn)
        if self.kernel < (6, 12):
            zone.split_page(page.pfn)
        area = self.areas.get(page.node)
        released = area is not None and area.release(page.pfn, self.nr_pages)
        if not released:
            if self.kernel < (6, 12):
                zone.free_contig_range(page.pfn, self.nr_pages)
            else:
                zone.free(page.pfn)
        function = "cma_release" if released else "free_contig_range" if self.kernel < (6, 12) else "folio_put"
        self.steps.append(Step(function, page.pfn, self.nr_pages))


#: Class of a page that makes alloc_contig_pages pass a range over -> in words.
_INVALID = {"hole": "not online", "reserved": "reserved", "hugetlb": "part of a huge page"}
