"""What a kernel log says about contiguous memory: each failure, its causes, how sure, and what to do."""

from dataclasses import dataclass, field

from ..machine.log_events import (
    AllocationFailure,
    AreaRefused,
    BusyWalk,
    CmaFailure,
    DmaFailure,
    Event,
    Facts,
    FragTable,
    HugetlbInflated,
    HugetlbShort,
    HwPoison,
    KernelLog,
    MemInfoBlock,
    MigrationFailure,
    Offlined,
    OfflineFailure,
    PageDumped,
    StillInUse,
    VirtioMemFailure,
)
from .causes import Certainty, Evidence, Finding, judge
from .log_evidence import Case, cases, evidence_of

__all__ = ["ERRNO", "Explained", "LogReport", "explain_log"]

#: errno -> its name and the word for it.
ERRNO = {4: ("EINTR", "interrupted"), 12: ("ENOMEM", "no memory"), 16: ("EBUSY", "busy"), 22: ("EINVAL", "invalid")}


@dataclass(slots=True)
class Explained:
    """One failure: ``what`` in one line, how often, its causes (the surest first), and notes.

    ``kind``: the event's name in the JSON; ``seconds``: from the first to the last time, None: not told.
    """

    kind: str
    what: str
    times: int
    line: int
    last_line: int
    seconds: float | None
    evidence: Evidence
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)

    def with_certainty(self, *wanted: Certainty) -> list[Finding]:
        """Findings that are as sure as one of these."""
        return [finding for finding in self.findings if finding.judgement.certainty in wanted]

    @property
    def best(self) -> list[Finding]:
        """The causes to act on: the certain ones, else the likely ones, else the possible ones."""
        for certainty in (Certainty.CERTAIN, Certainty.LIKELY, Certainty.POSSIBLE):
            if found := self.with_certainty(certainty):
                return found
        return []

    @property
    def remedies(self) -> list[str]:
        """What to do, of the best causes; where several are only possible, the first of each."""
        best = self.best
        if len(best) > 2 and best[0].judgement.certainty is Certainty.POSSIBLE:
            return list(dict.fromkeys(finding.cause.remedies[0] for finding in best))
        return list(dict.fromkeys(remedy for finding in best[:2] for remedy in finding.cause.remedies))


@dataclass(slots=True)
class LogReport:
    """The answer for one log. ``context``: what the log says that is no failure."""

    source: str
    facts: Facts
    lines: int
    explained: list[Explained]
    context: list[str]
    dropped: int

    @property
    def recognised(self) -> bool:
        """Whether the log holds any message of these kinds, be it no failure."""
        return bool(self.explained or self.context)


def explain_log(log: KernelLog, source: str) -> LogReport:
    """Explain each failure of a log."""
    told: list[Event] = [event for event in log.events if not isinstance(event, Offlined)]
    explained: list[Explained] = []
    for case in cases(told, log.facts.page_size or 4096, areas_known=bool(log.facts.areas or log.facts.cma_kb)):
        evidence = evidence_of(case, log.facts)
        last = case.events[-1]
        found = Explained(
            kind=_KINDS[type(case.first)],
            what=_what(case, evidence),
            times=evidence.repeats.times,
            line=case.first.line,
            last_line=last.last_line if isinstance(last, BusyWalk) else last.line,
            seconds=case.seconds,
            evidence=evidence,
            findings=judge(evidence),
            notes=_notes(case, evidence, log),
        )
        explained.append(found)
    explained.sort(key=lambda found: found.line)
    return LogReport(source, log.facts, log.lines, explained, _context(log), log.dropped)


_KINDS: dict[type[Event], str] = {
    AllocationFailure: "allocation failure",
    AreaRefused: "area refused",
    BusyWalk: "range busy",
    CmaFailure: "cma failure",
    DmaFailure: "dma failure",
    FragTable: "fragmentation index",
    HugetlbInflated: "inflated reference",
    HugetlbShort: "too few huge pages",
    HwPoison: "poisoned page",
    MemInfoBlock: "memory state",
    MigrationFailure: "migration failure",
    OfflineFailure: "offlining failed",
    PageDumped: "page dump",
    StillInUse: "pages still in use",
    VirtioMemFailure: "virtio-mem failure",
}


def _errno(errno: int) -> str:
    return f"-{errno} ({ERRNO[errno][1]})" if errno in ERRNO else f"-{errno}"


def _count(number: int, what: str) -> str:
    """``1 page``, ``2 pages``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _bytes(size: int) -> str:
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            value = size / (1 << shift)
            return f"{value:,.0f} {unit}" if value == int(value) else f"{value:,.1f} {unit}"
    return f"{size:,} B"


def _what(case: Case, e: Evidence) -> str:
    """One line with the figures."""
    event = case.first
    match event:
        case CmaFailure():
            area = f" {event.area}" if event.area else ""
            sizes = sorted({e.pages for e in case.events if isinstance(e, CmaFailure)})
            pages = _count(sizes[0], "page") if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} pages"
            text = f"cma_alloc{area}: {pages} refused, ret {_errno(event.errno)}"
            if event.bitmap is not None:
                text += f", {event.bitmap.free:,} of {event.bitmap.total:,} pages free"
            return text
        case BusyWalk():
            return _what_busy(case)
        case MigrationFailure():
            return _what_migration(case, event)
        case PageDumped():
            page = event.page
            where = f"pfn {page.pfn:#x}" if page.pfn is not None else "a page"
            others = len({e.page.pfn for e in case.events if isinstance(e, PageDumped)})
            more = f" and {others - 1} more" if others > 1 else ""
            return {
                "unmovable page": f"isolation refused {where}{more}: unmovable page, {_errno(16)}",
                "migration failure": f"alloc_contig_range could not move {where}{more}",
                "isolation failed": f"offlining could not take {where}{more} off its list",
            }.get(page.reason or "", f"page dump of {where}{more}, its reason is not in the log")
        case OfflineFailure():
            return f"offlining {_block(event)} failed: {event.reason or 'the kernel gives no reason'}"
        case AllocationFailure():
            return _what_allocation(event, e)
        case MemInfoBlock():
            zones = "; ".join(f"{z.label} {z.free:,} kB free" for z in e.zones if z.free is not None)
            orders = [order for z in e.zones for order, (count, _) in enumerate(z.blocks) if count]
            largest = f"; largest free block of order {max(orders)}" if orders else ""
            return f"Mem-Info without a failure before it: {zones or 'free lists only'}{largest}"
        case FragTable():
            names = " and ".join(dict.fromkeys(t.name for t in case.events if isinstance(t, FragTable)))
            return f"{names} of {_count(len(event.rows), 'zone')}"
        case HugetlbShort():
            node = f" on node {event.node}" if event.node is not None else ""
            return f"{event.got:,} of {event.wanted:,} huge pages of {_bytes(event.size)} could be had{node}"
        case HugetlbInflated():
            return "a gigantic page was given back: someone held a reference to it"
        case StillInUse():
            return f"free_contig_range: {event.pages:,} pages are still in use"
        case VirtioMemFailure():
            return f"virtio-mem {event.device}: {event.action} failed" + (
                f", {_errno(event.errno)}" if event.errno else ""
            )
        case AreaRefused():
            return f"CMA area refused at boot: {event.text}"
        case DmaFailure():
            size = f" of {event.size:,} bytes ({e.pages:,} pages)" if event.size is not None else ""
            return f"{event.device or 'a driver'} got no contiguous buffer{size}"
        case HwPoison():
            return f"pfn {event.pfn:#x} poisoned: {event.text}"
        case _:
            return type(event).__name__


def _what_busy(case: Case) -> str:
    walks = [walk for walk in case.events if isinstance(walk, BusyWalk)]
    tries = sum(walk.tries for walk in walks)
    low = min(min(walk.first[0], walk.final[0]) for walk in walks)
    high = max(max(walk.first[1], walk.final[1]) for walk in walks)
    pages = min(walk.shortest for walk in walks)
    size = f"at most {_count(pages, 'page')}" if len(walks) == 1 else f"ranges of {_count(pages, 'page')} and more"
    text = f"alloc_contig_range: {size} refused, {_errno(16)}, at {tries:,} places in [{low:#x}, {high:#x})"
    if tries == 1:
        text = f"alloc_contig_range: [{low:#x}, {high:#x}) refused, {_errno(16)}"
    elif len(walks) == 1 and walks[0].step:
        text += f", one every {_count(walks[0].step, 'page')}: one request that tried them all"
    elif len(walks) == 1:
        text = f"alloc_contig_range: [{low:#x}, {high:#x}) refused, {_errno(16)}, {tries:,} times"
    return text


def _what_migration(case: Case, event: MigrationFailure) -> str:
    pfns = sorted({e.pfn for e in case.events if isinstance(e, MigrationFailure) and e.pfn is not None})
    where = (
        f"pfn {event.pfn:#x}"
        if len(pfns) < 2 and event.pfn is not None
        else f"{len(pfns):,} pages, the first pfn {pfns[0]:#x},"
    )
    if event.ret is None:
        return f"offlining could not isolate {where}"
    if event.ret < 0:
        return f"offlining could not move {where}: {_errno(-event.ret)}"
    return f"offlining could not move {where}" + (
        f": {_count(event.ret, 'page')} of the batch stayed" if event.ret else ""
    )


def _what_allocation(event: AllocationFailure, e: Evidence) -> str:
    size = _bytes((e.page_size or 4096) << max(event.order, 0))
    gfp = "|".join(sorted(event.gfp)) or f"mode {event.mode:#x}"
    if event.what == "oom" and event.order < 0:
        return f"{event.comm} called the OOM killer by hand (SysRq f), not for lack of memory"
    if event.what == "oom":
        return f"{event.comm} called the OOM killer for order {event.order} ({gfp})"
    if event.what.startswith("vmemmap"):
        return f"{event.comm or 'memory'}: no block of order {event.order} ({size}) for the memmap of memory that is being added"
    return f"{event.comm or 'a process'}: {event.what} of order {event.order} ({size}) failed ({gfp})"


def _block(event: OfflineFailure) -> str:
    if event.start is not None and event.end is not None:
        return f"[mem {event.start:#x}-{event.end:#x}]" + (f" ({event.block})" if event.block else "")
    return event.block or "a memory block"


def _notes(case: Case, e: Evidence, log: KernelLog) -> list[str]:
    """What belongs to the failure and is no cause."""
    event = case.first
    notes: list[str] = []
    for driver in case.drivers[:1]:
        size = f" of {driver.size:,} bytes" if driver.size is not None else ""
        notes.append(
            f"so {driver.device or 'a driver'} got no buffer{size} ({len(case.drivers)} times)"
            if len(case.drivers) > 1
            else f"so {driver.device or 'a driver'} got no buffer{size}"
        )
    if case.offline is not None and not isinstance(event, OfflineFailure):
        reason = f": {case.offline.reason}" if case.offline.reason else ""
        notes.append(f"then offlining {_block(case.offline)} failed{reason}")
    if isinstance(event, BusyWalk) or case.walks:
        walks = case.walks or [walk for walk in case.events if isinstance(walk, BusyWalk)]
        tries, separate = sum(walk.tries for walk in walks), e.repeats.separate or 1
        if tries > 1:
            notes.append(
                f"{tries:,} tries, of which {separate:,} share no page: at least {_count(separate, 'page')} in use"
            )
        if e.kernel is None:
            notes.append("only kernels up to 5.12 print this message")
    if isinstance(event, CmaFailure) and event.bitmap is not None:
        notes += _bitmap_notes(event, e)
    for table in case.events:
        if isinstance(table, FragTable):
            notes += _frag_notes(table)
    if isinstance(event, AllocationFailure) and event.what.startswith("vmemmap"):
        failed = [f for f in log.events if isinstance(f, VirtioMemFailure) and f.action.startswith("adding")]
        notes.append(
            "the memory was not added: the driver says so further on"
            if failed
            else "x86-64 falls back to single pages: the memory was added all the same, unless “adding memory failed” follows"
        )
    return notes


def _bitmap_notes(event: CmaFailure, e: Evidence) -> list[str]:
    bitmap, area = event.bitmap, e.area
    if bitmap is None or area is None:
        return []
    if area.largest is None:
        return ["pieces of the bitmap are missing in the log: only its sums are known"]
    per_bit = bitmap.order_per_bit
    align = f"the usual alignment of {1 << (area.align or 0):,} pages (the log does not tell it)"
    bits = "one bit a page" if not per_bit else f"one bit for {1 << per_bit:,} pages"
    if per_bit is None:
        bits = "one bit a page is assumed; the runs overlap"
    return [
        f"{_count(len(bitmap.runs), 'free run')}, the largest {bitmap.largest:,} pages; the request fits in "
        f"{_count(area.places or 0, 'place')} at {align}; {bits}"
    ]


def _frag_notes(event: FragTable) -> list[str]:
    notes: list[str] = []
    for node, zone, values in event.rows:
        if event.name == "extfrag_index":
            failing = [order for order, value in enumerate(values) if value >= 0]
            text = f"fails from order {failing[0]} on, index {values[failing[0]]:.3f}" if failing else "no order fails"
        else:
            half = next((order for order, value in enumerate(values) if value > 0.5), None)
            text = (
                "most of the free memory is usable at every order"
                if half is None
                else (
                    f"{values[half]:.0%} of the free memory is useless for order {half}, {values[-1]:.0%} for the largest"
                )
            )
        notes.append(f"node {node} {zone}: {text}")
    return notes


def _context(log: KernelLog) -> list[str]:
    facts = log.facts
    found: list[str] = []
    offlined = [event.pages for event in log.events if isinstance(event, Offlined)]
    if offlined:
        found.append(f"{_count(len(offlined), 'time')} memory went offline, {sum(offlined):,} pages in all")
    if facts.areas:
        areas = ", ".join(f"{name or 'an area'} {_bytes(size)} at {base:#x}" for name, base, size in facts.areas[:8])
        found.append(f"CMA at boot: {areas}")
    elif facts.cma_kb:
        found.append(f"CMA at boot: {facts.cma_kb:,} kB in all")
    for device, sizes in list(facts.virtio.items())[:4]:
        parts = [f"{name} {_bytes(size)}" for name, size in sizes.items() if name.endswith("block size")]
        if parts:
            line = f"virtio-mem {device}: {', '.join(parts)}"
            if "subblock size" in sizes:
                line += " (a subblock is a pageblock since 5.19, the largest block before)"
            found.append(line)
    if log.suppressed:
        found.append(f"the kernel left out {_count(log.suppressed, 'further message')} of cma_alloc")
    if log.dropped:
        found.append(f"{log.dropped:,} further messages of these kinds are only counted")
    return found
