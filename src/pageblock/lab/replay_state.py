"""What a replay knows between two records of a trace: the zone, and where each handle's pages are."""

import numpy as np
import numpy.typing as npt

from ..consumers.cma import CmaArea
from ..errors import InputError, PageblockError
from ..machine.trace import Dump, TraceReader
from ..mm import Migratetype, PageClass, Zone
from .history import list_name, pcp_list_name

__all__ = ["EMPTY", "MOST_HANDLES", "OFFNODE", "Parted", "ReplayState"]

#: A handle that holds nothing; one whose pages went to another zone.
EMPTY = 0xFFFFFFFF
OFFNODE = 0xFFFFFFFE
#: Handles that the tables have room for at first, and at most.
_GROW = 1 << 10
MOST_HANDLES = 1 << 28

#: Trace letter of a page that is not the trace's -> class. Tails without a reference (0) are no page of their own.
_FOREIGN = {"R": PageClass.RESERVED, "S": PageClass.SLAB, "T": PageClass.PGTABLE, "0": PageClass.FREE}


class Parted(Exception):
    """Carries the divergence out of the comparison."""

    def __init__(
        self,
        line: int,
        what: str,
        kernel: object,
        model: object,
        about: tuple[str, ...] = (),
        pfns: tuple[int | None, ...] = (),
        *,
        whole: bool = False,
    ) -> None:
        """Both answers, and what is worth a look.

        Args:
            about: names of lists, or what the names of everything that is meant begin with (``History``).
            pfns: pages, counted from the zone's first.
            whole: it is the state as a whole that differs, and no operation's answer.
        """
        super().__init__(what)
        self.line, self.what, self.about, self.whole = line, what, about, whole
        self.pfns = tuple(dict.fromkeys(pfn for pfn in pfns if pfn is not None and pfn >= 0))
        self.kernel, self.model = str(kernel), str(model)


class ReplayState:
    """The zone of a trace and its handles.

    ``handles``: the first frame that each holds, counted from the zone's base, EMPTY or OFFNODE; ``sizes``: pages (-1: never
    used); ``own``: pages of the zone that live handles hold; ``foreign``: pages of the zone that nobody in the trace asked for.
    """

    def __init__(self, reader: TraceReader) -> None:
        self.reader = reader
        self.zone: Zone | None = None
        self.area: CmaArea | None = None
        self.isolate_number = 5
        self.foreign = 0
        self.own = 0
        self.handles: npt.NDArray[np.uint32] = np.full(_GROW, EMPTY, np.uint32)
        self.sizes: npt.NDArray[np.int64] = np.full(_GROW, -1, np.int64)
        self.is_contig: npt.NDArray[np.bool_] = np.zeros(_GROW, np.bool_)

    def begin(self, dump: Dump) -> None:
        """Make the zone of the first dump; a dump that no zone can have is malformed, whatever is wrong with it."""
        try:
            self.zone = self.load(dump)
        except InputError:
            raise
        except KeyError as missing:
            raise self.reader.fail(f"the dump lacks the number {missing}: record the trace again", dump.line) from None
        except (PageblockError, OverflowError) as error:
            raise self.reader.fail(f"no zone is like this dump ({error})", dump.line) from None

    def load(self, dump: Dump) -> Zone:
        """The zone of the first dump."""
        if dump.after_bug or not dump.types:
            raise self.reader.fail("the first dump is not of a whole zone: record the trace again", dump.line)
        self.isolate_number = dump.number("migratetypes") - 1
        start = dump.number("start_pfn")
        zone = Zone(
            dump.number("spanned"),
            self.reader.header.release,
            start,
            # the trace has the kernel's old exclusive bound
            dump.number("max_order") - 1,
            dump.number("pageblock_order"),
            populate=False,
            name=self.reader.path.name,
        )
        types = np.concatenate([np.full(count, self.type_of(mt), np.uint8) for mt, count in dump.types])
        zone.load_pageblocks(types)
        for first, count, letter in dump.foreign:
            page_class = _FOREIGN.get(letter, PageClass.KERNEL)
            zone.load_pages([start + first], [count], [page_class], [0], [0])
            self.foreign += count
        for (order, mt), pfns in dump.free.items():
            n = len(pfns)
            zone.load_free(pfns + start, np.full(n, order), np.full(n, self.type_of(mt)))
        marks = dump.watermarks
        zone.set_watermarks(
            marks["min"],
            marks["low"],
            marks["high"],
            lowmem_reserve=marks["lowmem_reserve"],
            managed_pages=dump.number("managed"),
            boost=marks.get("boost", 0),
        )
        zone.set_highatomic(marks.get("highatomic", 0), marks.get("free_highatomic", 0))
        zone.set_counters(
            nr_free_pages=dump.counted.get("stat_free"),
            nr_free_cma_pages=dump.cma.get("nr_free_cma"),
            nr_isolate_pageblock=marks.get("nr_isolate"),
        )
        zone.set_stat_threshold(dump.pcp.get("stat_threshold", 0))
        zone.set_targets_may_spill(not self.reader.header.alone)
        if self.reader.header.per_cpu_lists:
            self.load_pcp(zone, dump)
        if dump.cma:
            self.area = CmaArea(zone, start + dump.cma["start"], dump.cma["count"], dump.cma.get("order_per_bit", 0))
        return zone

    def load_pcp(self, zone: Zone, dump: Dump) -> None:
        """The per-cpu lists and their tuning."""
        q = dump.pcp
        high = q["high"]
        zone.set_pcp(
            high,
            q["batch"],
            free_factor=q.get("free_factor", 0),
            high_min=q.get("high_min", high),
            high_max=q.get("high_max", high),
            free_count=q.get("free_count", 0),
            alloc_factor=q.get("alloc_factor", 0),
            flags=q.get("flags", 0),
        )
        for pindex, pfns in dump.pcp_lists.items():
            zone.load_pcp(pindex, (pfns + zone.start_pfn).tolist())

    def type_of(self, number: int) -> int:
        """Migratetype of the trace's number: ISOLATE is 4 without CONFIG_CMA; holes count as MOVABLE."""
        if number == self.isolate_number:
            return int(Migratetype.ISOLATE)
        return int(Migratetype.MOVABLE) if number == 9 else number

    def need_zone(self, line: int) -> Zone:
        if self.zone is None:
            raise self.reader.fail("an operation comes before the first dump", line)
        return self.zone

    def room_for(self, handle: int, line: int) -> None:
        """Make the tables long enough for a handle."""
        if not 0 <= handle < MOST_HANDLES:
            raise self.reader.fail(f"handle {handle} is out of range", line)
        if handle >= len(self.handles):
            more = max(handle + 1 - len(self.handles), len(self.handles))
            self.handles = np.concatenate([self.handles, np.full(more, EMPTY, np.uint32)])
            self.sizes = np.concatenate([self.sizes, np.full(more, -1, np.int64)])
            self.is_contig = np.concatenate([self.is_contig, np.zeros(more, np.bool_)])

    def count_own_pages(self) -> int:
        """Pages of the zone that live handles hold, counted anew."""
        return int(self.sizes[np.flatnonzero(self.handles < OFFNODE)].sum())

    def lists_of(self, order: int, mt: int) -> tuple[str, ...]:
        """Names of the lists that an allocation looks at, in its order."""
        assert self.zone is not None
        g = self.zone.geometry
        names = [list_name(o, mt) for o in range(order, g.max_order + 1)]
        if self.reader.header.per_cpu_lists and (order <= 3 or order == g.pageblock_order):
            names.insert(0, pcp_list_name(3 * order + mt if order <= 3 else 12 + (mt == Migratetype.MOVABLE)))
        return tuple(names)

    def counters(self, zone: Zone) -> dict[str, int]:
        """What an ``H`` line counts."""
        blocks = zone.free_blocks
        listed = int((blocks << np.arange(len(blocks), dtype=np.uint64)).sum())
        free, free_cma = zone.vm_stats()
        return {
            "free": listed,
            "stat": free,
            "pcp": zone.nr_pcp_pages,
            "own": self.own,
            "foreign": self.foreign,
            "cma": free_cma,
        }
