"""What a log says, on a terminal and as JSON (docs/explain.md)."""

from typing import Any

from rich.console import Console
from rich.text import Text

from ..doctor.causes import Certainty, Finding
from ..doctor.explain import ERRNO, Explained, LogReport
from ..errors import printable

__all__ = ["FORMAT", "show", "to_json"]

#: Raised when a reader of the JSON would break.
FORMAT = 1

_HEADS = {
    Certainty.CERTAIN: "It is",
    Certainty.LIKELY: "Most likely",
    Certainty.POSSIBLE: "Possible, not decided by this log",
}
_STYLES = {
    Certainty.CERTAIN: "bold red",
    Certainty.LIKELY: "bold yellow",
    Certainty.POSSIBLE: "bold",
    Certainty.RULED_OUT: "dim",
}

#: Lines of one kind that are printed of one cause.
_MOST = 6


def show(report: LogReport, console: Console) -> None:
    """Print a report: each failure with its causes, then what the log says besides."""
    facts = report.facts
    kernel = f"Linux {facts.kernel}" if facts.kernel else "kernel not named"
    if facts.kernel_from == "text":
        kernel += " (named in the text)"
    found = "1 finding" if len(report.explained) == 1 else f"{len(report.explained):,} findings"
    _line(console, f"{report.source} · {kernel} · {report.lines:,} {'line' if report.lines == 1 else 'lines'}, {found}")
    for explained in report.explained:
        console.print()
        _show_one(explained, console)
    if report.context:
        console.print()
        _line(console, "The log also says", "bold")
        for line in report.context:
            _line(console, f"  {line}")


def _line(console: Console, text: str, style: str = "") -> None:
    # what a log holds is never markup, and no terminal obeys it
    console.print(Text(printable(text), style=style), soft_wrap=True, highlight=False)


def _show_one(explained: Explained, console: Console) -> None:
    where = (
        f"line {explained.line:,}"
        if explained.line == explained.last_line
        else f"lines {explained.line:,} to {explained.last_line:,}"
    )
    _line(console, f"{explained.what}{_times(explained)} · {where}", "bold")
    for note in explained.notes[:_MOST]:
        _line(console, f"  {note}")
    best = explained.best
    for finding in best[:4]:
        _show_finding(finding, explained, console, first=finding is best[0])
    rest = [f for f in explained.findings if f not in best and f.judgement.certainty is not Certainty.RULED_OUT]
    for finding in rest[:4]:
        reasons = "; ".join(finding.judgement.speaks_for + [f"against: {text}" for text in finding.judgement.against])
        _line(
            console,
            f"Also {finding.judgement.certainty.value}: {finding.cause.title}{f' ({reasons})' if reasons else ''}",
        )
    if not best:
        if explained.evidence.errno is not None:
            _line(console, "The log does not say what stood in the way.")
        for text in _ruled_out(explained):
            _line(console, f"  not      {text}")
    if explained.remedies:
        _line(console, f"Do: {'; or '.join(explained.remedies[:4])}")


def _times(explained: Explained) -> str:
    if explained.times < 2:
        return ""
    if explained.seconds is None:
        return f" · {explained.times:,} times"
    span = explained.seconds
    return (
        f" · {explained.times:,} times in {span:,.0f} s"
        if span >= 1
        else f" · {explained.times:,} times in {span * 1000:,.1f} ms"
    )


def _show_finding(finding: Finding, explained: Explained, console: Console, *, first: bool) -> None:
    judgement = finding.judgement
    head = _HEADS[judgement.certainty] if first else "and" if judgement.certainty is Certainty.CERTAIN else "or"
    _line(console, f"{head}: {finding.cause.title} — {judgement.certainty.value}", _STYLES[judgement.certainty])
    rows = [("for", text) for text in judgement.speaks_for[:_MOST]] or [("for", "nothing but the errno")]
    rows += [("against", text) for text in judgement.against[:_MOST]] or [("against", "nothing in this log")]
    if first:
        rows += [("not", text) for text in _ruled_out(explained)]
    rows += [("settles", text) for text in judgement.settles[:_MOST]]
    if judgement.commits:
        rows += [("commit", f"{commit.hash}: {commit.what} ({commit.release})") for commit in finding.cause.commits]
    last = ""
    for name, text in rows:
        _line(console, f"  {name if name != last else '':<8} {text}")
        last = name


def _ruled_out(explained: Explained) -> list[str]:
    """What the log excludes, with its reason."""
    out = [
        f"{finding.cause.name}: {'; '.join(finding.judgement.against)}"
        for finding in explained.with_certainty(Certainty.RULED_OUT)
    ]
    return out[:_MOST]


def to_json(report: LogReport) -> dict[str, Any]:
    """The report as JSON; pfns absolute, sizes in the unit that the key names."""
    facts = report.facts
    return {
        "format": FORMAT,
        "source": report.source,
        "lines": report.lines,
        "kernel": facts.kernel,
        "kernel_from": facts.kernel_from,
        "page_size": facts.page_size,
        "max_order": facts.max_order,
        "areas": [{"name": name, "base": base, "bytes": size} for name, base, size in facts.areas],
        "failures": [_failure(explained) for explained in report.explained],
        "context": report.context,
        "dropped": report.dropped,
    }


def _failure(explained: Explained) -> dict[str, Any]:
    e = explained.evidence
    page = e.page
    return {
        "kind": explained.kind,
        "what": explained.what,
        "errno": None if e.errno is None else -e.errno,
        "errno_name": ERRNO[e.errno][0] if e.errno in ERRNO else None,
        "step": e.step,
        "times": explained.times,
        "seconds": explained.seconds,
        "line": explained.line,
        "last_line": explained.last_line,
        "pages": e.pages,
        "order": e.order,
        "area": None
        if e.area is None
        else {
            "pages": e.area.pages,
            "free": e.area.free,
            "largest_free_run": e.area.largest,
            "places": e.area.places,
            "align_order": e.area.align,
        },
        "page": None
        if page is None
        else {
            "pfn": page.pfn,
            "flags": None if page.flags is None else sorted(page.flags),
            "type": page.page_type,
            "order": page.order,
            "refcount": page.refcount,
            "mapcount": page.mapcount,
            "references_unexplained": page.excess,
            "a_ops": page.aops,
        },
        "notes": explained.notes,
        "causes": [_cause(finding) for finding in explained.findings],
        "remedies": explained.remedies,
    }


def _cause(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.cause.name,
        "title": finding.cause.title,
        "certainty": finding.judgement.certainty.value,
        "transient": finding.cause.transient,
        "for": finding.judgement.speaks_for,
        "against": finding.judgement.against,
        "settles": finding.judgement.settles,
        "source": finding.cause.source,
        "commits": [
            {"hash": c.hash, "what": c.what, "release": c.release}
            for c in (finding.cause.commits if finding.judgement.commits else ())
        ],
    }
