"""A kernel log into events: what it says of contiguous memory, by the messages, not by their surroundings.

The wordings are those of Linux 3.x to 6.19 (the sources are named with each event in ``log_events``). What is malformed is
left out; nothing in a log can make reading it fail or take more than linear time.
"""

import re
from collections.abc import Callable, Iterable

from .log_broken import joined
from .log_events import (
    RANGE_BITS,
    AllocationFailure,
    AreaRefused,
    Bitmap,
    BusyWalk,
    CmaFailure,
    DmaFailure,
    Event,
    FragTable,
    HugetlbInflated,
    HugetlbShort,
    HwPoison,
    KernelLog,
    MemInfo,
    MemInfoBlock,
    MigrationFailure,
    Offlined,
    OfflineFailure,
    PageDump,
    PageDumped,
    StillInUse,
    VirtioMemFailure,
)
from .log_memory import frag_row, free_list, zone_line
from .log_page import PageReader, gfp_names
from .log_text import LogLine

__all__ = ["parse_log"]

#: Events kept of one log; a machine that writes gigabytes of one message is told by its first ones and their number.
MOST_EVENTS = 50_000

#: Characters of a message that are looked at, other than a bitmap: printk cuts at 1 KiB.
LONGEST = 2048

#: Lines of a Mem-Info block between its first and its last.
_BLOCK_LINES = 400

#: Tries of one request follow each other faster than this, seconds.
_WALK_GAP = 2.0

_CMA = re.compile(
    r"(\w{0,8}cma_alloc\w{0,16}): (?:([^\s:]{1,64}): )?alloc failed, req-size: {0,2}(\d{1,18}) pages, ret: {0,2}-?(\d{1,4})"
)
_BITMAP = re.compile(r"=> ?(\d{1,18}) free of (\d{1,18}) total pages")
_SUPPRESSED = re.compile(r"cma_alloc\w{0,16}: (\d{1,9}) callbacks suppressed")
_RANGE = re.compile(r"\brange \d{1,2}: ?")
_RUN = re.compile(r"(\d{1,18})@(\d{1,18})")
_BUSY = re.compile(r"alloc_contig_range: \[(?:0x)?([0-9a-f]{1,16}), ?(?:0x)?([0-9a-f]{1,16})\) PFNs busy")
_BUSY_3 = re.compile(r"alloc_contig_range:? test_pages_isolated\(([0-9a-f]{1,16}), ([0-9a-f]{1,16})\) failed")
_MIGRATING = re.compile(r"migrating pfn ([0-9a-f]{1,16}) failed(?: ret: ?(-?\d{1,9}))?")
_ISOLATING = re.compile(r"failed to isolate pfn ([0-9a-f]{1,16})|removing pfn ([0-9a-f]{1,16}) from LRU failed")
_OFFLINING = re.compile(
    r"memory offlining (?:\[mem )?(0x[0-9a-f]{1,16})(?: to |-)(0x[0-9a-f]{1,16})\]? failed(?: due to ([a-z ]{1,60}))?"
)
_OFFLINE_BLOCK = re.compile(r"memory (memory\d{1,9}): Offline failed")
_OFFLINED = re.compile(r"Offlined Pages (\d{1,18})")
_FAILURE = re.compile(
    r"(?:(\S.{0,63}?): )?([a-z][a-z ]{2,30}?) (?:failure|stalls for \d{1,12}ms)[:.,] order: ?(\d{1,3}), mode: ?0x([0-9a-f]{1,8})"
    r"(?:\(([^)]{0,400})\))?"
)
_OOM = re.compile(
    r"(\S.{0,63}?) invoked oom-killer: gfp_mask=0x([0-9a-f]{1,8})(?:\(([^)]{0,400})\))?.{0,80}? order=(-?\d{1,3})"
)
_HUGETLB = re.compile(
    r"HugeTLB: allocating (\d{1,12}) of page size ([\d.]{1,8}) ([KMGT]i?B) failed(?: node(\d{1,4}))?\. {1,4}"
    r"Only allocated (\d{1,12}) hugepages"
)
_INFLATED = re.compile(r"HugeTLB.{0,60}(?:inflated (?:folio )?ref ?count|unexpected refcount)")
_VIRTIO = re.compile(
    r"virtio_mem ([\w.:-]{1,32}): ([a-z][a-z ]{3,60}?)(?: failed| denied|, marking device broken)(?:: ?-?(\d{1,4}))?"
)
_VIRTIO_SIZE = re.compile(r"virtio_mem ([\w.:-]{1,32}): ([a-z][a-z ]{3,30} size|start address): 0x([0-9a-f]{1,16})")
_STILL = re.compile(r"\b(\d{1,18}) pages are still in use!")
_POISON = re.compile(r"(?:Memory failure|soft offline): (?:0x)?([0-9a-f]{1,16}):? (.{1,160})", re.IGNORECASE)
#: What names a buffer that could not be had, by what each contains.
_DMA_FORMS = (
    (
        ": failed to allocate ",
        re.compile(
            r"(?:^|\] )([\w.,:@ -]{1,64}?): failed to allocate (?:\w{1,20} ){0,3}(?:with|of) size (?:=|:)? ?(\d{1,18})"
        ),
    ),
    (
        ": swiotlb: coherent",
        re.compile(
            r"([\w.,:@ -]{1,64}?): swiotlb: coherent allocation failed,? (?:for device \S{1,64} )?size[=: ]{1,2}(\d{1,18})"
        ),
    ),
    ("dma alloc of size", re.compile(r"([\w.,:@ -]{0,64}?):? dma alloc of size (\d{1,18}) failed")),
    ("dma_alloc_", re.compile(r"([\w.,:@ -]{0,64}?):? ?dma_alloc_\w{1,24}(?:\(\))?,? (?:of size (\d{1,18}) )?fail")),
)
_VERSION = re.compile(r"\bLinux version (\d{1,2}\.\d{1,3}\S{0,64})")
_TRACE_VERSION = re.compile(
    r"(?:PID|Pid): ?\d{1,8},? (?:UID: \d{1,10} )?[Cc]omm: .{1,32}? "
    r"(?:Not tainted|Tainted: [A-Z ]{1,24}(?:\[[^\]]{0,60}\] )?[- ]{0,16})"
    r" ?\(?(\d\.\d{1,3}\.?\S{0,64}?)\)?(?: #|$)"
)
_TEXT_VERSION = re.compile(
    r"\b(?:[Ll]inux|[Kk]ernel):?(?: version)? (?:\w{1,32} )?v?([2-7]\.\d{1,3}(?:\.\d{1,3})?(?:[-+][\w.+-]{0,64})?)(?=[\s,;:)]|$)"
)
_RC = re.compile(r"\b([2-7]\.\d{1,2}(?:\.0)?-rc\d{1,2})(?![\d.])")
_AREA_FORMS = (
    re.compile(r"cma: Reserved (?P<mib>\d{1,9}) MiB at (?P<base>0x[0-9a-f]{1,16})"),
    re.compile(r"Reserved memory: created CMA memory pool at (?P<base>0x[0-9a-f]{1,16}), size (?P<mib>\d{1,9}) MiB"),
    re.compile(r"cma: Reserved (?P<mib>\d{1,9}) MiB in (?P<base>\d{1,2}) range"),
)
_POOL_NODE = re.compile(
    r"reserved mem: initialized node ([^\s,]{1,64}(?:,[^\s,]{1,64})?), compatible id shared-dma-pool"
)
_MEMORY = re.compile(r"Memory: \d{1,15}[kK]/(\d{1,15})[kK] available")
_CMA_KB = re.compile(r"\b(\d{1,15})[kK] cma-reserved|\b(\d{1,15}) pages cma reserved")
_CRASH = re.compile(r"^([0-9a-f]{6,16})-([0-9a-f]{6,16}) : Crash kernel")

#: Refusals at boot: (marker, the rule's key). mm/cma.c, kernel/dma/contiguous.c, drivers/of, mm/hugetlb.c, arch/powerpc.
_REFUSALS = (
    ("could not be activated", "activation"),
    ("Not enough slots for CMA reserved regions", "slots"),
    ("must be aligned to", "alignment"),
    ("defined on low/high memory boundary", "highmem"),
    ("exceeds limit", "limit"),
    ("cma: Failed to reserve", "room"),
    ("incorrect alignment of CMA region", "alignment"),
    ("unable to setup CMA region", "setup"),
    ("Reserved memory: failed to reserve memory for node", "overlap"),
    ("reserved mem: failed to allocate memory for node", "room"),
    ("hugetlb_cma: reservation failed", "room"),
    ("hugetlb_cma: cma area should be at least", "too small"),
    ("dma_pernuma_cma_reserve: reservation failed", "room"),
    ("dma_contiguous_reserve: reservation failed", "room"),
)
_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
_SIGNS = ("vfio", "rdma", "mlx5", "io_uring", "dpdk", "spdk", "zram", "zswap", "balloon")


def parse_log(lines: Iterable[LogLine]) -> KernelLog:
    """Read a log's lines into events and facts."""
    parser = _Parser()
    for line in joined(parser.counted(lines)):
        parser.feed(line)
    return parser.log


class _Parser:
    """One pass over the lines. Messages that belong together (a failure and its bitmap, page or Mem-Info) are joined."""

    def __init__(self) -> None:
        self.log = KernelLog()
        self.pages = PageReader(self._page)
        self.line = LogLine(0, "", None, "", False)
        #: the migration failure whose page dump comes next, and the failure whose Mem-Info does
        self.migration: MigrationFailure | None = None
        self.mem: MemInfo | None = None
        self.mem_line = 0
        self.failure: AllocationFailure | None = None
        self.cma: CmaFailure | None = None
        self.bitmap: tuple[int, Bitmap] | None = None
        self.walk: BusyWalk | None = None
        self.frag: dict[str, FragTable] = {}
        #: marker -> what reads a line that contains it
        self.readers: tuple[tuple[str, Callable[[str], bool]], ...] = (
            ("PFNs busy", self._busy),
            ("test_pages_isolated(", self._busy),
            ("alloc failed, req-size", self._cma),
            ("total pages", self._bitmap),
            ("migrating pfn", self._migrating),
            ("isolate pfn", self._isolating),
            ("from LRU failed", self._isolating),
            (" free:", self._zone),
            ("kB", self._free_list),
            ("callbacks suppressed", self._suppressed),
            ("order:", self._failure),
            ("oom-killer", self._oom),
            ("memory offlining", self._offlining),
            ("Offline failed", self._offline_block),
            ("Offlined Pages", self._offlined),
            ("HugeTLB", self._hugetlb),
            ("virtio_mem ", self._virtio),
            ("still in use", self._still),
            ("emory failure: ", self._poison),
            ("oft offline: ", self._poison),
            (", zone ", self._frag),
            ("alloc", self._dma),
            ("CMA", self._refused),
            ("cma", self._refused),
            ("eserved mem", self._refused),
            ("must be aligned", self._refused),
            ("exceeds limit", self._refused),
        )

    def counted(self, lines: Iterable[LogLine]) -> Iterable[LogLine]:
        """The lines as they come, counted; facts are read here, where a message is not yet put together."""
        for line in lines:
            self.log.lines = line.number
            self._facts(line)
            yield line

    def feed(self, line: LogLine) -> None:
        """Read one message."""
        self.line = line
        text = line.text
        if len(text) > LONGEST and "total pages" not in text:
            text = text[:LONGEST]
        if self.pages.feed(text, line.number):
            return
        for marker, reader in self.readers:
            if marker in text and reader(text):
                return

    def _add(self, event: Event) -> None:
        event.line, event.seconds, event.clock = self.line.number, self.line.seconds, self.line.clock
        if len(self.log.events) < MOST_EVENTS:
            self.log.events.append(event)
        else:
            self.log.dropped += 1
        if not isinstance(event, BusyWalk):
            self.walk = None

    # facts

    def _facts(self, line: LogLine) -> None:
        text, facts = line.text[:LONGEST], self.log.facts
        # the banner is sure, a trace's header nearly, a version in a sentence only better than nothing
        if "Linux version" in text and (match := _VERSION.search(text)):
            facts.kernel, facts.kernel_from = match[1], "banner"
        elif "omm: " in text and facts.kernel_from != "banner" and (match := _TRACE_VERSION.search(text)):
            facts.kernel, facts.kernel_from = match[1], "trace"
        elif facts.kernel is None and (match := self._in_text(text)):
            facts.kernel, facts.kernel_from = match[1], "text"
        if "MiB" in text:
            for form in _AREA_FORMS:
                if match := form.search(text):
                    base = int(match["base"], 0) if match["base"].startswith("0x") else 0
                    if len(facts.areas) < 256:
                        facts.areas.append((None, base, int(match["mib"]) << 20))
                    break
        if "shared-dma-pool" in text and facts.areas and (match := _POOL_NODE.search(text)):
            facts.areas[-1] = (match[1], *facts.areas[-1][1:])
        if "Memory: " in text and (match := _MEMORY.search(text)):
            facts.memory_kb = int(match[1])
        if "cma" in text and (match := _CMA_KB.search(text)):
            facts.cma_kb = int(match[1]) if match[1] else int(match[2]) * (facts.page_size or 4096) >> 10
        if "Crash kernel" in text and (match := _CRASH.match(text)):
            facts.crash_kernel = (int(match[1], 16), int(match[2], 16))
        lower = text.lower()
        for sign in _SIGNS:
            if sign in lower and sign not in facts.signs:
                facts.signs[sign] = line.number

    @staticmethod
    def _in_text(text: str) -> re.Match[str] | None:
        """A release that a sentence names."""
        if "inux" not in text and "ernel" not in text and "-rc" not in text:
            return None
        return _TEXT_VERSION.search(text) or _RC.search(text)

    # contiguous ranges

    def _busy(self, text: str) -> bool:
        match = _BUSY.search(text) or _BUSY_3.search(text)
        if match is None:
            return False
        start, end = int(match[1], 16), int(match[2], 16)
        if end <= start:
            return True
        seconds = self.line.seconds
        walk = self.walk
        if walk is not None:
            near = walk.until is None or seconds is None or 0 <= seconds - walk.until < _WALK_GAP
            same = (start, end) == walk.final and (walk.step == 0 or walk.tries == 1)
            onward = end > walk.final[1] and start >= walk.final[0] and not (walk.step == 0 and walk.tries > 1)
            if near and (same or onward):
                walk.add(start, end, self.line.number, seconds)
                return True
        self.walk = BusyWalk(
            line=0, first=(start, end), final=(start, end), shortest=end - start, until=seconds, separate_end=end
        )
        self.walk.last_line = self.line.number
        self._add(self.walk)
        return True

    def _cma(self, text: str) -> bool:
        match = _CMA.search(text)
        if match is None:
            return False
        failure = CmaFailure(line=0, area=match[2], pages=int(match[3]), errno=int(match[4]))
        if match[1].startswith("__"):
            failure.since = (6, 12)
        self._add(failure)
        self.cma = failure
        if self.bitmap is not None and self.line.number - self.bitmap[0] <= 2:
            # a log read backwards, or sorted
            failure.bitmap, self.bitmap = self.bitmap[1], None
        return True

    def _bitmap(self, text: str) -> bool:
        match = _BITMAP.search(text)
        if match is None:
            return False
        # what was cut out of the runs, or lost before them, shows in their sum
        ranges = _RANGE.split(text[: match.start()])
        runs = tuple(
            (int(pages), int(first) + max(number - 1, 0) * RANGE_BITS)
            for number, part in enumerate(ranges)
            for pages, first in _RUN.findall(part)
        )
        bitmap = Bitmap(runs, int(match[1]), int(match[2]))
        if sum(pages for pages, _ in runs) != bitmap.free:
            # pieces are missing: the sums stay, places can't be told
            bitmap = Bitmap((), bitmap.free, bitmap.total)
        if self.cma is not None and self.cma.bitmap is None and self.line.number - self.cma.line < 200:
            self.cma.bitmap = bitmap
            if len(ranges) > 1:
                self.cma.since = (6, 15)
        else:
            self.bitmap = (self.line.number, bitmap)
        self.cma = None
        return True

    def _dma(self, text: str) -> bool:
        if "fail" not in text or "CMA" in text:
            return False
        for marker, form in _DMA_FORMS:
            at = text.find(marker)
            if at >= 0 and (match := form.search(text, max(0, at - 100), at + 200)):
                device = match[1].strip() or None
                self._add(DmaFailure(line=0, device=device, size=int(match[2]) if match[2] else None))
                return True
        return False

    def _refused(self, text: str) -> bool:
        for marker, rule in _REFUSALS:
            if marker in text and (
                "cma" in text.lower() or "eserved mem" in text or "Region at" in text or "Size (" in text
            ):
                self._add(AreaRefused(line=0, rule=rule, text=text[:240]))
                return True
        return False

    def _suppressed(self, text: str) -> bool:
        if match := _SUPPRESSED.search(text):
            self.log.suppressed += int(match[1])
        return match is not None

    def _still(self, text: str) -> bool:
        if match := _STILL.search(text):
            self._add(StillInUse(line=0, pages=int(match[1])))
        return match is not None

    # offlining and pages

    def _page(self, page: PageDump, number: int) -> None:
        before = self.migration
        self.migration = None
        if before is not None and number - before.line <= 6:
            before.page = page
            if page.pfn is None:
                page.pfn = before.pfn
        else:
            self._add(PageDumped(line=0, page=page))

    def _migrating(self, text: str) -> bool:
        if match := _MIGRATING.search(text):
            self._moved(int(match[1], 16), int(match[2]) if match[2] else 0)
        return match is not None

    def _isolating(self, text: str) -> bool:
        if match := _ISOLATING.search(text):
            self._moved(int(match[1] or match[2], 16), None)
        return match is not None

    def _moved(self, pfn: int, ret: int | None) -> None:
        self.migration = MigrationFailure(line=0, pfn=pfn, ret=ret)
        self._add(self.migration)

    def _offlining(self, text: str) -> bool:
        if match := _OFFLINING.search(text):
            reason = match[3].strip() if match[3] else None
            self._add(OfflineFailure(line=0, start=int(match[1], 16), end=int(match[2], 16), reason=reason))
        return match is not None

    def _offline_block(self, text: str) -> bool:
        if match := _OFFLINE_BLOCK.search(text):
            self._add(OfflineFailure(line=0, block=match[1]))
        return match is not None

    def _offlined(self, text: str) -> bool:
        if match := _OFFLINED.search(text):
            self._add(Offlined(line=0, pages=int(match[1])))
        return match is not None

    # memory

    def _failure(self, text: str) -> bool:
        # names stand before the word, so that what is searched stays short
        at = max(text.find(" failure"), text.find(" stalls for"))
        match = _FAILURE.search(text, max(0, at - 100)) if at >= 0 else None
        if match is None:
            return False
        self._failed(match[1] or "", match[2], int(match[3]), int(match[4], 16), match[5])
        return True

    def _oom(self, text: str) -> bool:
        if match := _OOM.search(text):
            self._failed(match[1], "oom", int(match[4]), int(match[2], 16), match[3])
        return match is not None

    def _failed(self, comm: str, what: str, order: int, mode: int, names: str | None) -> None:
        self.failure = AllocationFailure(line=0, comm=comm, what=what, order=order, mode=mode, gfp=gfp_names(names))
        self._add(self.failure)
        self.mem = None

    def _mem_info(self) -> MemInfo:
        """The block that a line belongs to: the failure's before it, the CMA failure's, or one of its own."""
        if self.mem is not None and self.line.number - self.mem_line > _BLOCK_LINES:
            self.mem = self.failure = None
        if self.mem is None:
            self.mem, self.mem_line = MemInfo(), self.line.number
            if self.failure is not None and self.line.number - self.failure.line < _BLOCK_LINES:
                self.failure.mem = self.mem
            else:
                self._add(MemInfoBlock(line=0, mem=self.mem))
            self.failure = None
        return self.mem

    def _zone(self, text: str) -> bool:
        if "kB" not in text or not zone_line(text, probe := MemInfo()):
            return False
        zone = probe.zones[0]
        if self.mem is not None and any(z.kb and (z.node, z.name) == (zone.node, zone.name) for z in self.mem.zones):
            # the same zone again: another block has begun
            self.mem = None
        return zone_line(text, self._mem_info())

    def _free_list(self, text: str) -> bool:
        if "*" not in text or not free_list(text, probe := MemInfo(), self.log.facts):
            return False
        # broken lines are taken, but make no block
        return not probe.zones or free_list(text, self._mem_info(), self.log.facts)

    def _frag(self, text: str) -> bool:
        row = frag_row(text)
        if row is None:
            return False
        table, values = row
        known = self.frag.get(table.name)
        if known is None or (values[0], values[1]) in [(node, zone) for node, zone, _ in known.rows]:
            known = self.frag[table.name] = table
            self._add(known)
        if len(known.rows) < 4096:
            known.rows.append(values)
        return True

    # huge pages, devices

    def _hugetlb(self, text: str) -> bool:
        if match := _HUGETLB.search(text):
            try:
                size = int(float(match[2]) * (1 << _UNITS[match[3][0]]))
            except ValueError:
                return False
            node = int(match[4]) if match[4] else None
            self._add(HugetlbShort(line=0, wanted=int(match[1]), got=int(match[5]), size=size, node=node))
            return True
        if _INFLATED.search(text):
            self._add(HugetlbInflated(line=0))
            return True
        return False

    def _virtio(self, text: str) -> bool:
        if match := _VIRTIO_SIZE.search(text):
            if len(self.log.facts.virtio) < 256:
                self.log.facts.virtio.setdefault(match[1], {})[match[2]] = int(match[3], 16)
            return True
        if match := _VIRTIO.search(text):
            self._add(VirtioMemFailure(line=0, device=match[1], action=match[2], errno=int(match[3] or 0)))
        return match is not None

    def _poison(self, text: str) -> bool:
        if match := _POISON.search(text):
            self._add(HwPoison(line=0, pfn=int(match[1], 16), text=match[2]))
        return match is not None
