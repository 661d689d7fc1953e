"""Text of tracepoints: what ``trace-cmd report``, ``perf script`` and the files ``trace`` and ``trace_pipe`` print.

The three differ in what stands before the event; the event itself is printed by the kernel's own format in each: ``name=value``.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pageblock.errors import InputError, printable

from .alloc_events import EVENTS_SCHEMA, MOST_ORDER, MOST_PFN, AllocationEvents, Origin, in_time_order
from .gfp import describe_gfp
from .tracepoints import COLUMN_OF, GROUPS, LEFT_OFF, check_fields

__all__ = ["events_of_text"]

#: ``task-pid (tgid) [cpu] flags time: event: …``; perf writes ``task pid/tid [cpu] time: period group:event: …``. What stands
#: before the CPU is looked at from its end, as a task's name may hold anything.
EVENT = re.compile(
    r"\[(?P<cpu>\d{1,5})\]\s{1,20}(?:[^\s:\[\]]{4,7}\s{1,20})?(?P<time>\d{1,9}\.\d{3,9}):\s{1,20}"
    # perf's period, or trace-cmd's time since the event before
    r"(?:\d{1,20}\s{1,20}|\([+-]?\d{1,20}\)\s{1,20})?"
    r"(?:(?P<group>[a-z]\w{0,40}):)?(?P<event>[a-z]\w{0,80}):\s*(?P<rest>.*)"
)
TASK = re.compile(r"(?:^|[-\s])(?P<pid>\d{1,10})(?:/(?P<tid>\d{1,10}))?\s{1,20}(?:\([\s\d-]{1,12}\)\s{1,20})?$")

#: The latency format: ``task-pid CPUflags time: event: …``, the time perhaps in microseconds, with a mark of what took long.
LATENCY = re.compile(
    r"-(?P<pid>\d{1,10})\s{1,20}(?P<cpu>\d{1,5})(?:[.a-zA-Z][^\s:]{3,5})\s{1,20}(?P<time>\d{1,15}us|\d{1,9}\.\d{3,9})\s?[!+#*@$]?\s?:"
    r"\s{1,20}(?P<event>[a-z]\w{0,80}):\s*(?P<rest>.*)"
)

#: The function graph tracer: ``time | cpu) … | /* event: … */``, with or without the time.
GRAPH = re.compile(r"\s*(?:(?P<time>\d{1,9}\.\d{3,9})\s{1,20}\|\s{0,20})?(?P<cpu>\d{1,5})\)")
REMARK = re.compile(r"/\* (?P<event>[a-z]\w{0,80}):\s*(?P<rest>.*?)\s*\*/")

#: ``CPU:3 [LOST 7 EVENTS]`` of the kernel, ``CPU:3 [7 EVENTS DROPPED]`` of trace-cmd; either may lack the number.
LOST = re.compile(r"CPU:\s*\d+\s*\[(?:LOST\s+(\d*)\s*EVENTS|(\d*)\s*EVENTS DROPPED)\]")
LOST_PERF = re.compile(r"PERF_RECORD_LOST.*?\blost\s+(\d+)")

#: ``# entries-in-buffer/entries-written: 10/25   #P:8`` of the file ``trace``.
WRITTEN = re.compile(r"# entries-in-buffer/entries-written:\s*(\d+)/(\d+)\s+#P:(\d+)")
CPUS = re.compile(r"cpus=(\d+)$|# nrcpus online : (\d+)")
RELEASE = re.compile(r"# (?:os ?release :|\w+ latency trace v\S+ on) (\S+)")
MACHINE = re.compile(r"# arch : (\S+)")

VALUE = re.compile(r"(\w+)=(\([^)]*\)|\S+)")
RANGE = re.compile(r"\(\s*(\S+)\s*~\s*(\S+)\s*\)")

#: Names that older kernels gave to events.
RENAMED = {"mm_page_free_direct": "mm_page_free", "mm_pagevec_free": "mm_page_free_batched"}

#: Page sizes, bytes, of machines that have but one; others must be told.
PAGE_SIZES = {"x86_64": 4096, "i686": 4096, "i386": 4096, "s390x": 4096}

#: No line of a trace is longer.
LONGEST_LINE = 4096

#: Rows that are kept as Python objects before they become a table.
ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class Line:
    """An event as it stands in a line. ``seconds``: as printed, "" where it is not."""

    cpu: int
    seconds: str
    pid: int | None
    group: str
    event: str
    rest: str


def event_of(line: str) -> Line | None:
    """The event of a line, None where it holds none."""
    if len(line) > LONGEST_LINE:
        return None
    found = EVENT.search(line)
    if found is not None:
        task = TASK.search(line[max(0, found.start() - 80) : found.start()])
        pid = None if task is None else int(task["tid"] or task["pid"])
        return Line(int(found["cpu"]), found["time"], pid, found["group"] or "", found["event"], found["rest"])
    if (found := LATENCY.search(line)) is not None:
        return Line(int(found["cpu"]), found["time"], int(found["pid"]), "", found["event"], found["rest"])
    if "/*" not in line or (found := GRAPH.match(line)) is None or (told := REMARK.search(line)) is None:
        return None
    return Line(int(found["cpu"]), found["time"] or "", None, "", told["event"], told["rest"])


@dataclass
class Columns:
    """Rows as they are read."""

    time_ns: list[int] = field(default_factory=list)
    cpu: list[int] = field(default_factory=list)
    pid: list[int | None] = field(default_factory=list)
    event: list[str] = field(default_factory=list)
    pfn: list[int | None] = field(default_factory=list)
    end_pfn: list[int | None] = field(default_factory=list)
    order: list[int | None] = field(default_factory=list)
    migratetype: list[int | None] = field(default_factory=list)
    gfp: list[str | None] = field(default_factory=list)
    percpu_refill: list[bool | None] = field(default_factory=list)
    fields: list[str | None] = field(default_factory=list)

    def table(self) -> pa.Table:
        """The rows as a table."""
        arrays = []
        for column in EVENTS_SCHEMA:
            values = getattr(self, column.name)
            if pa.types.is_dictionary(column.type):
                arrays.append(pa.array(values, pa.string()).dictionary_encode().cast(column.type))
            else:
                arrays.append(pa.array(values, column.type))
        return pa.table(arrays, schema=EVENTS_SCHEMA)


@dataclass
class Heading:
    """What the lines between the events say."""

    lost: int = 0
    lost_unknown: bool = False
    cpus: int = 0
    kernel: str = ""
    machine: str = ""
    tool: str = ""

    def look(self, line: str) -> bool:
        """Take in a line that is no event; whether it is one that is known."""
        if (found := LOST.search(line)) is not None:
            number = found[1] or found[2]
            self.lost += int(number) if number else 0
            self.lost_unknown |= not number
        elif (found := LOST_PERF.search(line)) is not None:
            self.lost += int(found[1])
        elif (found := WRITTEN.match(line)) is not None:
            self.lost += max(0, int(found[2]) - int(found[1]))
            self.cpus = int(found[3])
        elif (found := CPUS.match(line)) is not None:
            self.cpus = int(found[1] or found[2])
            self.tool = self.tool or ("trace-cmd report" if found[1] else "perf script")
        elif (found := RELEASE.match(line)) is not None:
            self.kernel = found[1]
        elif (found := MACHINE.match(line)) is not None:
            self.machine = found[1]
        else:
            return not line.strip() or line.startswith("#")
        return True


def events_of_text(
    lines: Iterable[str], where: str, *, page_size: int | None = None, progress: Callable[[int], None] | None = None
) -> AllocationEvents:
    """Read a trace as text, whichever of the tools printed it.

    Args:
        lines: its lines. ``where``: what messages call it.
        page_size: bytes, for a machine that may have several.
        progress: told the characters read.

    Raises:
        InputError: no event of pages is in it, one has an unknown format, or the page size must be told.
    """
    columns, heading = Columns(), Heading()
    tables: list[pa.Table] = []
    unread, unread_like, others, most_cpu, characters = 0, "", 0, 0, 0
    time_ns = 0
    checked: set[str] = set()
    for number, line in enumerate(lines, 1):
        characters += len(line)
        if progress is not None and number % 8192 == 0:
            progress(characters)
        found = event_of(line)
        if found is None:
            if not heading.look(line[:LONGEST_LINE]):
                unread += 1
                unread_like = unread_like or printable(line.strip()[:120])
            continue
        name = RENAMED.get(found.event, found.event)
        if not is_read(name):
            others += 1
            continue
        values = dict(VALUE.findall(found.rest))
        if name not in checked:
            check_fields(name, values, f"{where}: line {number:,}")
            checked.add(name)
        time_ns = nanoseconds(found.seconds) if found.seconds else time_ns
        if found.group and not heading.tool:
            heading.tool = "perf script"
        try:
            add(columns, name, values)
            if not (found.cpu < 1 << 16 and (found.pid or 0) < 1 << 31):
                raise ValueError(f"CPU {found.cpu}, process {found.pid}")
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{where}: line {number:,}: {name} cannot be read ({str(error)[:80]}); mend the line or leave it out"
            ) from None
        columns.time_ns.append(time_ns)
        columns.cpu.append(found.cpu)
        columns.pid.append(found.pid)
        columns.event.append(name)
        most_cpu = max(most_cpu, found.cpu)
        if len(columns.time_ns) >= ROWS_AT_ONCE:
            tables.append(columns.table())
            columns = Columns()
    tables.append(columns.table())
    table = in_time_order(pa.concat_tables(tables).unify_dictionaries().combine_chunks())
    if not {"mm_page_alloc", "mm_page_free", "mm_page_free_batched"} & checked:
        raise InputError(what_is_missing(where, table.num_rows, others, unread_like))
    size = page_size or PAGE_SIZES.get(heading.machine or "x86_64")
    if size is None:
        raise InputError(
            f"{where}: a trace of {heading.machine}, whose page size it does not tell: say --page-size (getconf PAGE_SIZE there)"
        )
    origin = Origin(
        source=heading.tool or "ftrace text",
        kernel=heading.kernel,
        machine=heading.machine,
        page_size=size,
        cpus=heading.cpus or most_cpu + 1,
        clock="as printed",
        groups=tuple(group for group in GROUPS if group in groups_of(checked)),
        lost=heading.lost or (-1 if heading.lost_unknown else 0),
        unread=unread + others,
        unread_like=unread_like,
    )
    return AllocationEvents(table, origin)


def what_is_missing(where: str, events: int, others: int, unread_like: str) -> str:
    """Why a text cannot be used, and what to do."""
    if events or others:
        return f"{where}: a trace, but neither mm_page_alloc nor mm_page_free is in it; record the events of kmem, too"
    like = f" (it has {unread_like!r})" if unread_like else ""
    return f"{where}: no trace that is known here{like}; give what trace-cmd report, perf script or trace_pipe print"


def is_read(name: str) -> bool:
    """Whether an event is one of pages, by its name alone."""
    kmem = GROUPS["kmem"]
    return name not in LEFT_OFF and (
        name in (kmem or ()) or name.startswith(("cma_", "mm_compaction_", "mm_migrate_pages", "test_pages_isolated"))
    )


def groups_of(names: Iterable[str]) -> set[str]:
    """The groups to which events belong."""
    found = set()
    for name in names:
        if name.startswith("cma_"):
            found.add("cma")
        elif name.startswith("mm_compaction_"):
            found.add("compaction")
        elif name.startswith("mm_migrate_"):
            found.add("migrate")
        else:
            found.add("page_isolation" if name == "test_pages_isolated" else "kmem")
    return found


def nanoseconds(seconds: str) -> int:
    """Seconds as printed, with six or nine digits behind the point; or microseconds."""
    if seconds.endswith("us"):
        return int(seconds[:-2]) * 1000
    whole, _, part = seconds.partition(".")
    return int(whole) * 1_000_000_000 + int(part[:9].ljust(9, "0"))


def number_of(text: str) -> int:
    """A number of the kernel: 0x for hexadecimal, else decimal."""
    text = text.rstrip(",")
    return int(text, 16) if text.startswith("0x") else int(text)


def add(columns: Columns, name: str, values: dict[str, str]) -> None:
    """Append what an event says of pages.

    Raises:
        ValueError: a value is none that the column can hold.
    """
    row: dict[str, Any] = {}
    others: dict[str, Any] = {}
    if "range" in values and (ends := RANGE.match(values.pop("range"))) is not None:
        values["start_pfn"], values["end_pfn"] = ends[1], ends[2]
    for key, text in values.items():
        column = COLUMN_OF.get(key)
        if column == "gfp":
            row["gfp"] = describe_gfp(number_of(text)) if text[0].isdigit() else text.rstrip(",")
        elif column is not None and column not in row:
            row[column] = number_of(text)
        elif key != "page":
            others[key] = plain(text)
    pfn = row.get("pfn")
    order = row.get("order", 0 if name == "mm_page_free_batched" else None)
    for key, value, least, most in (
        ("pfn", pfn, 0, MOST_PFN),
        ("end_pfn", row.get("end_pfn"), 0, MOST_PFN),
        ("order", order, 0 if name in ONLY_COLUMNS else -1, MOST_ORDER),
        ("migratetype", row.get("migratetype"), -1, 127),
    ):
        if value is not None and not least <= value <= most:
            raise ValueError(f"{key}={value}")
    if name == "mm_page_alloc" and pfn == 0:
        # how the kernel prints that it had no page: page 0 is never handed out
        pfn = None
    columns.pfn.append(pfn)
    columns.end_pfn.append(row.get("end_pfn"))
    columns.order.append(order)
    columns.migratetype.append(row.get("migratetype"))
    columns.gfp.append(row.get("gfp"))
    refill = row.get("percpu_refill")
    columns.percpu_refill.append(None if refill is None else refill != 0)
    told = {key: value for key, value in others.items() if key not in ("fragmenting", "pageblock_order")}
    columns.fields.append(json.dumps(told) if told and name not in ONLY_COLUMNS else None)


#: Events whose every field has a column; what else is printed with them is computed.
ONLY_COLUMNS = {
    "mm_page_alloc",
    "mm_page_free",
    "mm_page_free_batched",
    "mm_page_alloc_zone_locked",
    "mm_page_pcpu_drain",
}


def plain(text: str) -> int | str:
    """A value as a number where it is one."""
    try:
        return number_of(text)
    except ValueError:
        return text.rstrip(",")
