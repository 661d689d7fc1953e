"""Runs, traces and replays as a timeline: counters over time, and slices for what took from then to then or was tried then."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..machine.trace import CmaAlloc, Compaction, Contig, Record
from ..mm import Migratetype, Zone
from ..mm import release as find_release
from .alloc_trace import NEVER, AllocationTrace, Attempt
from .replay import replay
from .sample import SERIES, TYPES
from .series_file import RUN_KEY

__all__ = [
    "Counter",
    "Sampler",
    "Slice",
    "Timeline",
    "attempt_slices",
    "is_run_file",
    "replay_timeline",
    "run_timeline",
    "trace_timeline",
]

Ints = npt.NDArray[np.int64]
Args = dict[str, int | str]

#: Samples of a timeline that is made by running, if nobody says more.
SAMPLES = 1000

#: A replay has no clock: nanoseconds that stand for an operation.
OPERATION_NS = 1000

#: Free blocks of which room is left when a trace is run on a machine that nobody described: parts of what it needs at once.
SPARE = 4


@dataclass(frozen=True)
class Counter:
    """A value over time. ``group``: what it belongs to; ``times_ns`` ascending, ``values`` from each time on."""

    group: str
    name: str
    unit: str
    times_ns: Ints
    values: Ints


@dataclass(frozen=True, slots=True)
class Slice:
    """Something that took from ``start_ns`` to ``end_ns``, perhaps no time. ``group``: which of its kind are shown together."""

    group: str
    name: str
    start_ns: int
    end_ns: int
    args: Args = field(default_factory=dict)


@dataclass(frozen=True)
class Timeline:
    """``name`` of the whole, and ``about``: what is to be known of it."""

    name: str
    about: Args
    counters: Sequence[Counter]
    slices: Sequence[Slice]


class Sampler:
    """Looks at zones again and again."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self.zones = list(zones)
        self.times: list[int] = []
        self.free: list[Ints] = []
        self.pages: list[int] = []

    def look(self, time_ns: int) -> None:
        """Free blocks of each order and type, and free pages, from this time on."""
        self.times.append(time_ns)
        counts = [zone.free_counts().astype(np.int64) for zone in self.zones]
        height = max(len(count) for count in counts)
        self.free.append(np.sum([np.pad(count, ((0, height - len(count)), (0, 0))) for count in counts], axis=0))
        self.pages.append(sum(zone.nr_free_pages for zone in self.zones))

    def counters(self) -> list[Counter]:
        """All that was ever above 0."""
        times = np.array(self.times, np.int64)
        free = np.array(self.free, np.int64)
        return [
            Counter("memory", "free pages", "pages", times, np.array(self.pages, np.int64)),
            *free_counters(times, free),
        ]


def free_counters(times: Ints, free: Ints) -> list[Counter]:
    """Counters of free blocks. ``free``: shape (times, orders, types)."""
    return [
        Counter(
            f"free blocks {Migratetype(mt).name}",
            f"order {order} {Migratetype(mt).name}",
            "blocks",
            times,
            free[:, order, mt],
        )
        for mt in range(free.shape[2])
        for order in range(free.shape[1])
        if free[:, order, mt].any()
    ]


# ---- a trace of real allocation ----


def machine_for(trace: AllocationTrace, release: str) -> Zone:
    """A zone that has room for all that the trace has in use at once, and a quarter more."""
    needed = trace.most_pages + trace.most_pages // SPARE
    unit = 1 << 12
    return Zone(-(-max(needed, unit) // unit) * unit, release, page_size=trace.events.origin.page_size)


def trace_timeline(
    trace: AllocationTrace,
    release: str = "6.1",
    samples: int = SAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> Timeline:
    """A trace run on a machine of just its size; the ranges that were tried are as the traced kernel answered them.

    Args:
        release: whose rules.
        progress: called with operations done and all.

    Raises:
        InputError: the trace asks for blocks that the machine does not have.
    """
    zone = machine_for(trace, release)
    if trace.largest_order > zone.geometry.max_order:
        raise InputError(
            f"{trace.name}: a block of order {trace.largest_order}, and max order is {zone.geometry.max_order}: "
            "record it on a kernel of that geometry"
        )
    sampler = Sampler([zone])
    handles = np.full(max(trace.nr_handles, 1), 0xFFFFFFFF, np.uint32)
    total = len(trace.blocks) + int((trace.blocks["end_ns"] != NEVER).sum())
    every = max(1, trace.span_ns // samples)
    done = failed = 0
    sampler.look(0)
    for batch in trace.batches():
        ends = np.flatnonzero(np.diff(batch.time_ns // every)) + 1
        for operations, last in zip(np.split(batch.operations, ends), [*(ends - 1).tolist(), -1], strict=True):
            results = zone.run(operations, handles)
            done += len(operations)
            # frees of what was refused are no requests
            failed += int(((results < 0) & (operations["op"] != 2)).sum())
            sampler.look(int(batch.time_ns[last]))
        if progress is not None:
            progress(done, total)
    unknown = {name: str(value) for name, value in vars(trace.unknown).items() if value}
    about: Args = {
        "source": trace.events.origin.source,
        "kernel": trace.events.origin.kernel,
        "release": release,
        "pages": zone.geometry.nr_pages,
        "operations": done,
        "refused": failed,
        **unknown,
    }
    return Timeline(trace.name, about, sampler.counters(), attempt_slices(trace.attempts, trace.span_ns))


def attempt_slices(attempts: Sequence[Attempt], span_ns: int) -> list[Slice]:
    """Each attempt with its outcome, and each range that was had until it is given back."""
    found = []
    for one in attempts:
        outcome = "had" if not one.errno else f"errno -{one.errno}"
        what = "cma_alloc" if one.kind == "cma" else "contiguous range"
        args = attempt_args(one.nr_pages, one.errno, one.pfn, outcome)
        if one.why:
            args["why" if one.errno else "area"] = one.why
        found.append(Slice("attempts", f"{what} of {one.nr_pages:,} pages: {outcome}", one.start_ns, one.done_ns, args))
        if not one.errno:
            end = span_ns if one.end_ns == NEVER else one.end_ns
            found.append(Slice("ranges in use", f"{one.nr_pages:,} pages", one.done_ns, max(end, one.done_ns), args))
    return found


# ---- a run ----


def is_run_file(path: Path) -> bool:
    """Whether a file is one of ``write_series``."""
    try:
        return RUN_KEY.encode() in (pq.read_metadata(path).metadata or {})
    except (OSError, ValueError, pa.ArrowException):
        # ValueError: a name in the footer that is no text
        return False


def run_timeline(path: Path) -> Timeline:
    """A run's series (``pageblock run --out``), and each range that the workload asked for.

    Raises:
        InputError: the file is not whole, or its columns are not those of a run.
    """
    try:
        table = pq.read_table(path)
        told = json.loads(table.schema.metadata[RUN_KEY.encode()])
        settings = dict(told["settings"])
        settings["release"] = find_release(settings["release"]).name
        return _timeline_of_run(whole_series(table), str(told["workload"]), settings)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, ArithmeticError, LookupError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path}: no whole run ({line}); run it again with --out") from error


def whole_series(table: pa.Table) -> pa.Table:
    """A run's series as ``SERIES``. Raises ValueError or ArrowException where it is none."""
    table = table.select(SERIES.names).cast(SERIES)
    if not len(table):
        raise ValueError("no sample in it")
    empty = [name for name in SERIES.names if table[name].null_count]
    if empty:
        raise ValueError(f"{empty[0]} is missing in a sample")
    for name in ("tick", "seconds"):
        values = table[name].to_numpy()
        # beyond 2^33 seconds nanoseconds do not fit; not a number is in no order
        if not (values[0] >= 0 and values[-1] < 1 << 33 and bool(np.all(values[1:] >= values[:-1]))):
            raise ValueError(f"{name} does not ascend from 0")
    return table


def _timeline_of_run(table: pa.Table, name: str, settings: Mapping[str, Any]) -> Timeline:
    times = (table["seconds"].to_numpy() * 1e9).astype(np.int64)
    free = np.stack([_lists(table[f"free_{one}"]) for one in TYPES], axis=2)
    counters = [
        *(
            Counter("memory", one.replace("_", " "), "pages", times, table[one].to_numpy().astype(np.int64))
            for one in ("free_pages", "free_cma_pages", "cma_used_pages", "pages_moved", "pages_reclaimed")
        ),
        *free_counters(times, free),
    ]
    pages = int(settings.get("page_size", 4096))
    sizes = [size // pages for size in table["size_bytes"][0].as_py()]
    for column in ("ranges_free", "ranges_movable", "ranges_blocked"):
        values = _lists(table[column])
        for i, size in enumerate(sizes):
            counters.append(
                Counter(f"ranges of {size:,} pages", column.replace("_", " "), "ranges", times, values[:, i])
            )
    last = table.num_rows - 1
    tick_ns = times[last] / table["tick"][last].as_py() if last > 0 else 0.0
    slices = [
        Slice(
            "attempts", f"{_ASKED.get(one['kind'], one['kind'])} of {one['nr_pages']:,} pages: {outcome}", at, at, args
        )
        for rows in table["attempts"].to_pylist()
        for one in rows or ()
        for at, outcome in [(int(one["tick"] * tick_ns), f"errno -{one['errno']}" if one["errno"] else "had")]
        for args in [attempt_args(one["nr_pages"], one["errno"], one["pfn"], outcome)]
    ]
    about: Args = {
        key: value if isinstance(value, int) and abs(value) < 1 << 63 else str(value) for key, value in settings.items()
    }
    return Timeline(name, {"workload": name, **about}, counters, slices)


#: What a kind of call stands for.
_ASKED = {
    "cma": "cma_alloc",
    "first": "alloc_contig_pages",
    "placed": "alloc_contig_range",
    "range": "alloc_contig_range",
}


def _lists(column: pa.ChunkedArray) -> Ints:
    """A column of lists of one length: shape (rows, length)."""
    return np.array(column.to_pylist(), np.int64).reshape(len(column), -1)


def attempt_args(nr_pages: int, errno: int, pfn: int | None, outcome: str) -> Args:
    """What a slice says of an attempt."""
    args: Args = {"pages": nr_pages, "errno": -errno, "outcome": outcome}
    if pfn is not None:
        args["pfn"] = hex(pfn)
    return args


# ---- a replay of a recorded kernel ----


def replay_timeline(
    path: Path,
    release: str | None = None,
    samples: int = SAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> Timeline:
    """A trace of the recorder, replayed: the model's lists, and each contiguous range with the kernel's answer.

    It has no clock: an operation is shown as a microsecond.

    Raises:
        InputError: a trace that cannot be read, with its line.
    """
    sampler: Sampler | None = None
    slices: list[Slice] = []
    reached = 0

    def seen(zone: Zone, record: Record, operations: int) -> None:
        nonlocal sampler, reached
        now = operations * OPERATION_NS
        if sampler is None:
            sampler = Sampler([zone])
        slices.extend(record_slices(record, now))
        if not sampler.times or now > reached:
            sampler.look(now)
            reached = now

    done = replay(path, release, None, progress, seen)
    if sampler is None:
        raise InputError(f"{path}: nothing of it can be replayed; name a trace of the recorder")
    about: Args = {"kernel": done.kernel, "release": done.release, "operations": done.operations}
    if done.divergence is not None:
        about["divergence"] = f"operation {done.divergence.operations}: {done.divergence.what}"
    return Timeline(done.trace, about, [thinned(one, samples) for one in sampler.counters()], slices)


def record_slices(record: Record, now: int) -> list[Slice]:
    """A request for a contiguous range or a compaction, as the operation that ended now."""
    start = max(0, now - OPERATION_NS)
    if isinstance(record, Contig):
        outcome = "had" if record.errno == 0 else "BUG" if record.errno is None else f"errno {record.errno}"
        args: Args = {
            "start": record.start,
            "pages": record.nr_pages,
            "migrated": len(record.moves),
            "outcome": outcome,
        }
        if record.why is not None:
            args["why"] = f"{'unmovable' if record.why[0] == 'U' else 'not free'} at pfn {record.why[1]}"
        name = f"contiguous range of {record.nr_pages:,} pages: {outcome}"
        return [Slice("attempts", name, start, now, args)]
    if isinstance(record, CmaAlloc):
        outcome = "had" if record.pfn is not None else "refused"
        args = {"pages": record.count, "align": record.align, "tries": len(record.tries), "outcome": outcome}
        return [Slice("attempts", f"cma_alloc of {record.count:,} pages: {outcome}", start, now, args)]
    if isinstance(record, Compaction):
        return [Slice("compaction", "compact_memory", start, now, {"migrated": len(record.moves)})]
    return []


def thinned(counter: Counter, samples: int) -> Counter:
    """A counter with so many samples at most, the last one among them."""
    n = len(counter.times_ns)
    if n <= samples:
        return counter
    kept = np.unique(np.append(np.arange(0, n, -(-n // samples)), n - 1))
    return Counter(counter.group, counter.name, counter.unit, counter.times_ns[kept], counter.values[kept])
