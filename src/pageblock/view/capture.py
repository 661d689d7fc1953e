"""What ``pageblock capture`` says about the file that it wrote."""

from pathlib import Path
from typing import Any

from rich.console import Console

from ..machine.snapshot_file import SnapshotFile

__all__ = ["show", "to_json"]


def to_json(path: Path, content: SnapshotFile, nr_bytes: int) -> dict[str, Any]:
    """The file, its size, and what changed while the machine was read; see docs/snapshot.md."""
    runs = content.snapshot.runs
    return {
        "file": str(path),
        "bytes": nr_bytes,
        "runs": None if runs is None else runs.num_rows,
        "texts": list(content.texts),
        "missing": list(content.snapshot.missing),
        "seconds_read": round(content.snapshot.seconds_read, 3),
        **content.about,
    }


def show(path: Path, content: SnapshotFile, nr_bytes: int, console: Console) -> None:
    """Print what was written, and how far two readings differed."""
    snapshot = content.snapshot
    pages = sum(zone.present for zone in snapshot.zones)
    what = "no pages (kpageflags was not readable)" if snapshot.runs is None else f"{snapshot.runs.num_rows:,} runs"
    size = f"{nr_bytes / (1 << 20):,.1f} MiB" if nr_bytes >= 1 << 20 else f"{nr_bytes / 1024:,.1f} KiB"
    console.print(
        f"{path}: {size} · {snapshot.source} · {pages * snapshot.page_size / (1 << 30):.1f} GiB · {what} · "
        + (f"with {', '.join(content.texts)}" if content.texts else "without texts of /proc"),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    for change in content.about.get("changed") or ():
        place = f"{change['zone']}: " if change["zone"] else ""
        value = f"{change['before']:,} → {change['after']:,}" if change["before"] is not None else f"{change['by']:,}"
        console.print(f"  changed meanwhile: {place}{change['what']} {value}", soft_wrap=True, highlight=False)
