"""What ``pageblock watch`` shows: a table that renews itself on a terminal, lines elsewhere, JSON on request."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..doctor.sizes import size_name
from ..doctor.watch import Change, Place, Round
from .doctor import headline

__all__ = ["FORMAT", "Screen", "lines", "sparkline", "to_json"]

#: Version of the JSON; a change that breaks a reader raises it.
FORMAT = 1

#: Rounds that a sparkline shows, lines of what happened, and ranges named for each size and round.
HISTORY, EVENTS, NAMED = 32, 16, 2

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[int]) -> str:
    """A bar a value, the least lowest and the greatest highest; in the middle where all are alike."""
    least, most = min(values, default=0), max(values, default=0)
    if least == most:
        return _BARS[3] * len(values)
    return "".join(_BARS[(value - least) * (len(_BARS) - 1) // (most - least)] for value in values)


def to_json(one: Round) -> dict[str, Any]:
    """A round as plain values; see docs/doctor.md."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "round": one.number,
        "time": one.time.isoformat(timespec="milliseconds"),
        "error": one.error,
    }
    report = one.report
    if report is None:
        return found
    return found | {
        "source": report.source,
        "kernel": report.kernel,
        "page_size": report.page_size,
        "confidence": None if report.confidence is None else round(report.confidence, 5),
        "seconds": {"read": round(report.seconds_read, 3), "judged": round(report.seconds_judged, 3)},
        "sizes": [_size(change) for change in one.changes],
        "bounds": [
            {"nr_pages": b.nr_pages, "free_at_least": b.free_at_least, "free_at_most": b.free_at_most}
            for b in report.bounds
        ],
    }


def _size(change: Change) -> dict[str, Any]:
    row, before = change.row, change.before
    counts = ("ranges", "free", "movable", "blocked", "uninitialised")
    found: dict[str, Any] = {"nr_pages": row.nr_pages, "release": row.release}
    found |= {name: getattr(row, name) for name in counts}
    found["cost_pages"] = {"least": row.least, "median": row.median, "total": row.total}
    if before is None:
        return found | {"since": None}
    since: dict[str, Any] = {name: getattr(row, name) - getattr(before, name) for name in counts}
    since["changed"] = change.changed
    since["reasons"] = [{"reason": r.reason, "before": r.before, "ranges": r.ranges} for r in change.reasons]
    for name, places, total in (("came", change.came, change.nr_came), ("went", change.went, change.nr_went)):
        since[name] = {"ranges": total, "listed": [_place(place) for place in places]}
    return found | {"since": since}


def _place(place: Place) -> dict[str, Any]:
    return {
        "zone": place.zone,
        "start_pfn": place.start_pfn,
        "blocker_pfn": place.blocker_pfn,
        "reasons": list(place.reasons),
    }


def lines(one: Round) -> Iterator[str]:
    """A round in words: a line a size with its counts, then what happened."""
    clock = _clock(one)
    if one.report is None:
        yield f"{clock}  not read: {one.error}"
        return
    for change in one.changes:
        row = change.row
        counts = ", ".join(
            f"{getattr(row, name):,} {name}{_difference(change, name)}" for name in ("free", "movable", "blocked")
        )
        yield f"{clock}  {size_name(row.nr_pages, one.report.page_size):>7}  {counts}"
    for bound in one.report.bounds:
        name = size_name(bound.nr_pages, one.report.page_size)
        yield f"{clock}  {name:>7}  {bound.free_at_least:,} to {bound.free_at_most:,} free"
    for event in events(one):
        yield f"{clock}    {event}"


def events(one: Round) -> Iterator[str]:
    """How often each reason blocks if that changed, what came to be blocked and what no longer is."""
    if one.report is None:
        return
    for change in one.changes:
        name = size_name(change.row.nr_pages, one.report.page_size)
        if change.reasons:
            yield f"{name} blocked by: " + ", ".join(f"{r.reason} {r.before:,} → {r.ranges:,}" for r in change.reasons)
        for sign, word, places, total in (
            ("+", "blocked", change.came, change.nr_came),
            ("-", "no longer blocked", change.went, change.nr_went),
        ):
            for place in places[:NAMED]:
                at = "" if place.blocker_pfn is None else f", pfn {place.blocker_pfn:#x}"
                yield f"{sign} {name} at {place.start_pfn:#x} {word}: {'; '.join(place.reasons)}{at} ({place.zone})"
            if total > NAMED:
                yield f"{sign} {name} {word}: {total - NAMED:,} more"


def _clock(one: Round) -> str:
    return f"{one.time.astimezone():%H:%M:%S}"


def _difference(change: Change, name: str) -> str:
    if change.before is None:
        return ""
    difference = getattr(change.row, name) - getattr(change.before, name)
    return f" ({difference:+,})" if difference else ""


class Screen:
    """A table that renews itself with each round; the terminal is as before when the context ends."""

    def __init__(self, console: Console, every: float) -> None:
        self.every = every
        self.live = Live(console=console, auto_refresh=False)
        self.history: dict[tuple[int, str], deque[int]] = {}
        self.happened: deque[str] = deque(maxlen=EVENTS)
        self.last: Round | None = None

    def __enter__(self) -> "Screen":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def show(self, one: Round) -> None:
        """Draw a round."""
        if one.report is None:
            self.happened.append(f"{_clock(one)}  not read: {one.error}")
        else:
            self.last = one
            for change in one.changes:
                self.note((change.row.nr_pages, change.row.release), change.row.free)
            for bound in one.report.bounds:
                self.note((bound.nr_pages, ""), bound.free_at_least)
            self.happened.extend(f"{_clock(one)}  {event}" for event in events(one))
        self.live.update(self.drawn(one), refresh=True)

    def note(self, key: tuple[int, str], value: int) -> None:
        """Remember a count for its sparkline."""
        self.history.setdefault(key, deque(maxlen=HISTORY)).append(value)

    def drawn(self, one: Round) -> Group:
        """The whole picture."""
        assert self.last is not None
        assert self.last.report is not None
        report = self.last.report
        parts: list[Any] = [
            Text(" · ".join([report.source, *headline(report)])),
            Text(f"round {one.number}, {_clock(one)}, every {self.every:g} s, Ctrl-C ends it\n", style="dim"),
            self.table(self.last),
        ]
        if self.happened:
            parts.append(Text("\n" + "\n".join(self.happened), no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    def table(self, one: Round) -> Table:
        """Counts, what they are to the round before, and the free ranges over time."""
        assert one.report is not None
        table = Table(box=None, pad_edge=False, header_style="bold")
        titles = ("size", "release", "free now", "movable", "blocked") if one.changes else ("size", "free now")
        for title in (*titles, "free over time"):
            table.add_column(title, justify="left" if title in ("release", "free over time") else "right", no_wrap=True)
        page_size = one.report.page_size
        for change in one.changes:
            row = change.row
            counts = [f"{getattr(row, name):,}{_difference(change, name)}" for name in ("free", "movable", "blocked")]
            table.add_row(
                size_name(row.nr_pages, page_size), row.release, *counts, self.curve((row.nr_pages, row.release))
            )
        for bound in one.report.bounds:
            free = f"{bound.free_at_least:,} to {bound.free_at_most:,}"
            table.add_row(size_name(bound.nr_pages, page_size), free, self.curve((bound.nr_pages, "")))
        return table

    def curve(self, key: tuple[int, str]) -> str:
        """The sparkline of a size with its least and greatest value."""
        values = list(self.history[key])
        return f"{sparkline(values)}  {min(values):,} to {max(values):,}"
