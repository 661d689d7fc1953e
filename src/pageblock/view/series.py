"""What ``pageblock series`` prints: one row a switch, what goes wrong, and what that costs on the machine."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..check.shortest import BUG, SYMPTOMS, Found, Menu, Operation
from ..doctor.sizes import size_name
from ..lab.alignment import Alignment
from ..lab.passes import Pass
from ..lab.series import Row, Series
from ..mm import Migratetype

__all__ = ["show", "to_json"]


def to_json(found: Series) -> dict[str, Any]:
    """The whole answer; see docs/series.md."""
    return asdict(found)


def show(found: Series, console: Console) -> None:
    """Print the table."""
    kernel = f"Linux {found.kernel}" if found.kernel else "kernel unknown"
    sizes = (
        f"pageblock {_size(1 << found.pageblock_order, found)}, max order block {_size(1 << found.max_order, found)}"
    )
    console.print(f"{found.source} · {kernel} · {sizes}", soft_wrap=True, highlight=False)
    console.print(
        f"With the whole series (release seed) {found.whole.granted:,} of {found.whole.ranges:,} pageblocks can be had here, "
        f"and the middle half of {found.inside.granted:,}. Each row turns one switch: the shortest sequences that then go "
        "wrong, on a small zone of 16 pages with 2 pages a pageblock, and what becomes of this machine's ranges.",
        soft_wrap=True,
        highlight=False,
    )
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("switch", no_wrap=True)
    table.add_column("what goes wrong", ratio=3)
    table.add_column("on this machine", ratio=2)
    for row in found.rows:
        table.add_row(Text(row.switch), _wrong(row), Text(_cost(row, found)))
    console.print(table)


def _size(pages: int, found: Series) -> str:
    return size_name(pages, found.page_size)


def _wrong(row: Row) -> Text:
    """The title, and below it each symptom with its sequence."""
    text = Text(row.title, style="bold")
    lines: list[str] = []
    if row.note:
        lines.append(f"Not shown: {row.note}.")
    if row.alignment is not None:
        lines.append(f"A max order block instead of a pageblock: {row.alignment.what}.")
        now, before = row.alignment.answers
        if now != before:
            lines.append(f"– {row.alignment.asked}: {before}, with the series {now}")
    if row.world is not None:
        lines += [sequence(one, row.world) for one in row.found]
    for line in lines:
        text.append(f"\n{line}", style="not bold")
    return text


def sequence(found: Found, world: Menu) -> str:
    """A symptom and the operations that lead to it, on one line."""
    steps = [_step(*step) for step in zip(found.operations, found.results, strict=True)]
    blocks = 1 << (world.max_order - world.pageblock_order)
    where = f" ({blocks} pageblocks to a max order block)" if blocks != 2 else ""
    return f"– {'; '.join(steps)}{where}: {SYMPTOMS[found.symptom.name]}"


def _step(operation: Operation, results: tuple[int, int]) -> str:
    start, end = operation.start_pfn, operation.start_pfn + operation.nr_pages
    if operation.name == "cma":
        return f"CMA area [{start}, {end}) at boot"
    if operation.name == "free":
        return f"free what was had at {results[0]}"
    if operation.name == "alloc":
        return f"allocate order {operation.order} {Migratetype(operation.migratetype).name}, pfn {results[0]}"
    signal = ", interrupted" if operation.name == "interrupted" else ""
    answers = [_answer(result) for result in results]
    answer = answers[0] if answers[0] == answers[1] else f"{answers[0]}, with the series {answers[1]}"
    return f"alloc_contig_range [{start}, {end}){signal}: {answer}"


def _answer(result: int) -> str:
    return "BUG" if result == BUG else "granted" if result >= 0 else str(result)


def _cost(row: Row, found: Series) -> str:
    if row.alignment is not None:
        return _alignment(row.alignment, found)
    lines = [
        line
        for mine, seed, what in (
            (row.whole, found.whole, "pageblocks"),
            (row.inside, found.inside, "middle halves"),
        )
        if mine is not None
        for line in _differences(mine, seed, what, found)
    ]
    if row.whole is not None and not lines:
        lines = ["no difference in the state recorded"]
    return "\n".join(lines)


def _differences(mine: Pass, seed: Pass, what: str, found: Series) -> list[str]:
    """How a pass differs from that of the whole series."""
    lines: list[str] = []
    if mine.granted != seed.granted:
        lines.append(f"{seed.granted - mine.granted:,} of {seed.granted:,} {what} lost")
    if mine.bugs:
        lines.append(f"{mine.bugs:,} {what} stop the kernel")
    if mine.broken:
        lines.append(f"{mine.broken:,} {what}: a free page over pages in use")
    if mine.drift:
        lines.append(f"{what}: NR_FREE_PAGES off by {mine.drift:+,} pages ({_mib(mine.drift, found)})")
    if mine.isolated:
        lines.append(f"{what}: {mine.isolated:,} pageblocks left isolated")
    if mine.retyped != seed.retyped and not mine.bugs:
        lines.append(f"{what}: {mine.retyped:,} pageblocks change type, with the series {seed.retyped:,}")
    return lines


def _mib(pages: int, found: Series) -> str:
    return f"{pages * found.page_size / (1 << 20):+,.1f} MiB"


def _alignment(one: Alignment, found: Series) -> str:
    if one.aligned == one.aligned_before:
        return "no difference: a max order block is a pageblock here"
    first = f"{_size(one.aligned_before, found)} instead of {_size(one.aligned, found)}"
    if one.unit == "places":
        return f"{first}\n{one.figure}: {one.without:,} instead of {one.with_series:,}"
    return f"{first}\n{one.figure}: {_pages(one.without, found)} instead of {_pages(one.with_series, found)}"


def _pages(pages: int, found: Series) -> str:
    return f"{pages * found.page_size / (1 << 20):,.1f} MiB"
