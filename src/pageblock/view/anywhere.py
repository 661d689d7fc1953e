"""Ranges at other alignments, as the doctor prints them."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.anywhere import Anywhere
from ..doctor.sizes import size_name

__all__ = ["show_anywhere"]


def show_anywhere(found: Sequence[Anywhere], page_size: int, console: Console) -> None:
    """Print one row a size and release; nothing without any."""
    if not found:
        return
    step = size_name(found[0].align, page_size)
    console.print(Text(f"Where ranges may begin at every {step}, not only at multiples of their size", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "size",
        "release",
        "side by side",
        "aligned to its size",
        "places that can be had",
        "cheapest: first pfn, pages to move",
    ):
        table.add_column(
            title, justify="left" if title in ("release", "cheapest: first pfn, pages to move") else "right"
        )
    last = None
    for row in found:
        name = size_name(row.nr_pages, page_size)
        cheapest = "   ".join(f"{r.start_pfn:#x} {r.cost:,}" for r in row.cheapest[:3])
        places = f"{row.had:,} of {row.places:,}"
        table.add_row(
            name if name != last else "",
            row.release,
            f"{row.side_by_side:,}",
            f"{row.aligned:,}",
            places,
            cheapest or "none",
        )
        last = name
    console.print(table)
    console.print()
