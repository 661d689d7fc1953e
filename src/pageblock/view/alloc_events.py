"""What ``pageblock record`` and ``pageblock import`` say about the file that they wrote."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import printable
from ..machine.alloc_events import AllocationEvents

__all__ = ["show", "to_json"]


def to_json(path: Path, events: AllocationEvents, nr_bytes: int) -> dict[str, Any]:
    """The file, where its events come from, and how many there are of each; see docs/traces.md."""
    return {
        "file": str(path),
        "bytes": nr_bytes,
        "events": events.table.num_rows,
        "span_ns": events.span_ns,
        "counts": events.counts(),
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(events.origin).items()},
    }


def show(path: Path, events: AllocationEvents, nr_bytes: int, console: Console) -> None:
    """Print what was written, what is not in it, and what to do about that."""
    origin = events.origin

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    size = f"{nr_bytes / (1 << 20):,.1f} MiB" if nr_bytes >= 1 << 20 else f"{nr_bytes / 1024:,.1f} KiB"
    kernel = f" · Linux {printable(origin.kernel)}" if origin.kernel else ""
    cpus = f" · {origin.cpus} CPU{'s' if origin.cpus != 1 else ''}" if origin.cpus else ""
    line(
        f"{path}: {size} · {origin.source}{kernel}{cpus} · {events.table.num_rows:,} events in "
        f"{events.span_ns / 1e9:,.1f} s"
    )
    for name, number in events.counts().items():
        line(f"  {number:>12,}  {name}")
    if origin.skipped:
        line(f"  not in this kernel: {', '.join(origin.skipped)}")
    if origin.lost:
        how_many = f"{origin.lost:,} events were" if origin.lost > 0 else "some events, it is not known how many, were"
        line(f"  LOST: {how_many} lost before they were read; record again with a larger --buffer")
    if origin.unread:
        like = f", e.g. {origin.unread_like!r}" if origin.unread_like else ""
        line(f"  {origin.unread:,} lines are other events or none{like}")
