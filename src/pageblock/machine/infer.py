"""What /proc does not say: block orders, pageblock types, which zero words are per-cpu pages.

Works on the runs of one zone, all in numpy. Every inference leaves a Remark with how sure it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pageblock.mm.types import Migratetype, PageClass

from .blocktypes import KERNEL, SLAB, ZERO, block_content, infer_types
from .freeblocks import FreeBlocks, decompose, heads_only, order_counts, rebuild_from_heads, unmerge
from .procfs import FreeRow
from .runs import U8, PageRuns, concat, fill_holes, make_runs, merge
from .zerowords import choose_pcp_blocks, mark_holes, split_zero_runs, untouched_blocks

__all__ = ["Inferred", "Remark", "ZoneFacts", "infer_zone"]


@dataclass(frozen=True)
class Remark:
    """A statement of uncertainty with its reason.

    ``topic`` is one word for grouping; ``certain`` the estimated share that is right, 0 to 1, or
    None where no number makes sense.
    """

    topic: str
    text: str
    certain: float | None = None


@dataclass(frozen=True)
class ZoneFacts:
    """What the text files say about one zone, as far as inference asks."""

    label: str
    start_pfn: int
    end_pfn: int
    present: int
    pcp_count: int
    cma_pages: int
    max_order: int
    pageblock_order: int
    buddy_counts: tuple[int, ...]
    block_counts: dict[Migratetype, int] | None
    free_rows: dict[Migratetype, FreeRow] | None
    ram: Sequence[tuple[int, int]] | None


@dataclass(frozen=True)
class Inferred:
    """Runs that cover the zone, free blocks with order and type, per-cpu pages as PCP; types."""

    runs: PageRuns
    block_types: U8
    remarks: tuple[Remark, ...]


def infer_zone(runs: PageRuns, facts: ZoneFacts) -> Inferred:
    """Complete the scanned runs of a zone (clipped to it, ascending). O(runs + pageblocks)."""
    remarks: list[Remark] = []
    runs = fill_holes(runs, facts.start_pfn, facts.end_pfn)
    absent = facts.end_pfn - facts.start_pfn - facts.present
    runs, nr_holes = mark_holes(runs, absent, facts.ram)
    free = runs.page_class == PageClass.FREE
    nr_buddy = int(runs.nr_pages[free].sum())
    on_heads = heads_only(nr_buddy, facts.buddy_counts)
    if on_heads:
        blocks, runs = rebuild_from_heads(runs, facts.max_order, facts.buddy_counts)
    else:
        blocks = decompose(runs.start_pfn[free], runs.nr_pages[free], facts.max_order)
    content = block_content(runs, blocks, facts.start_pfn, facts.end_pfn, facts.pageblock_order, facts.max_order)
    ppb = 1 << facts.pageblock_order
    zero_pages = content.pages[:, ZERO]
    nr_untouched = 0
    if facts.block_counts is not None:
        surplus = int(content.counted.sum()) - sum(facts.block_counts.values())
        untouched = untouched_blocks((zero_pages == ppb) & content.counted, surplus)
        nr_untouched = int(untouched.sum())
        content = replace(content, counted=content.counted & ~untouched)
        zero_pages = np.where(untouched, 0, zero_pages)
    guess = infer_types(
        content,
        facts.pageblock_order,
        facts.block_counts,
        facts.free_rows,
        facts.cma_pages >> facts.pageblock_order,
        facts.pcp_count,
    )
    guessed_splits = 0
    if facts.buddy_counts and not on_heads:
        blocks, guessed_splits = unmerge(
            blocks, guess.types, content.first_block, facts.pageblock_order, facts.buddy_counts
        )
    remarks.append(
        Remark(
            "pageblock types",
            f"{facts.label}: pageblock types are inferred from the blocks' content"
            + (
                f" and pagetypeinfo's counts; {guess.nr_unclear} blocks are unclear, the free "
                f"lists differ by {guess.list_mismatch} blocks"
                if facts.block_counts is not None
                else f" alone, without pagetypeinfo; {guess.nr_unclear} blocks are unclear"
            ),
            round(guess.certain, 3),
        )
    )
    remarks += free_block_remarks(blocks, facts, on_heads, nr_buddy, guessed_splits)
    kernel_pages = content.pages[:, [KERNEL, SLAB]].sum(axis=1)
    is_pcp = choose_pcp_blocks(zero_pages, kernel_pages, guess.types, ppb, facts.pcp_count)
    rest = split_zero_runs(runs, is_pcp, content.first_block, facts.pageblock_order)
    nr_zero = int(zero_pages.sum())
    if facts.pcp_count or nr_zero:
        remarks.append(pcp_remark(facts, nr_zero, int(zero_pages[is_pcp].sum())))
    if nr_holes:
        remarks.append(
            Remark(
                "holes",
                f"{facts.label}: this kernel gives 0, not NOPAGE, for pfns without memory; "
                f"{nr_holes} zero words are taken for such holes, as many as the zone spans "
                "without having them",
            )
        )
    if nr_untouched:
        remarks.append(
            Remark(
                "lazy memory",
                f"{facts.label}: {nr_untouched * ppb} pages in wholly zero pageblocks are neither "
                "free nor used nor counted in pagetypeinfo, as on guests that initialise memory "
                "late; they are given as kernel pages",
            )
        )
    at = (blocks.pfn >> facts.pageblock_order) - content.first_block
    free_runs = make_runs(blocks.pfn, blocks.nr_pages, PageClass.FREE, blocks.order, 0, guess.types[at])
    return Inferred(merge(concat([rest, free_runs])), guess.types, tuple(remarks))


def free_block_remarks(
    blocks: FreeBlocks, facts: ZoneFacts, on_heads: bool, nr_buddy: int, guessed_splits: int
) -> list[Remark]:
    remarks: list[Remark] = []
    pages = int(blocks.nr_pages.sum())
    certain: float | None = None
    if facts.buddy_counts:
        sizes = np.int64(1) << np.arange(facts.max_order + 1)
        counts = np.array(facts.buddy_counts, np.int64)
        off = int((np.abs(order_counts(blocks, facts.max_order) - counts) * sizes).sum())
        total = int((counts * sizes).sum())
        certain = round(1 - min(1.0, off / (2 * total)), 3) if total else 1.0
        if on_heads:
            remarks.append(
                Remark(
                    "free blocks",
                    f"{facts.label}: this kernel marks free blocks on their first page only "
                    f"({nr_buddy} marks for {total} free pages); sizes are rebuilt from alignment "
                    f"and the zero words that follow: {pages} pages",
                    certain,
                )
            )
        elif off:
            remarks.append(
                Remark(
                    "free blocks",
                    f"{facts.label}: kpageflags shows {pages} free pages, buddyinfo {total}; the "
                    f"blocks per order differ by {off} pages in all, since the files were not read "
                    "at one instant or free neighbours stayed unmerged",
                    certain,
                )
            )
    if guessed_splits:
        remarks.append(
            Remark(
                "free blocks",
                f"{facts.label}: {guessed_splits} free pages above the pageblock order are kept "
                "unmerged because buddyinfo has that many; which ones is a guess",
                None,
            )
        )
    return remarks


def pcp_remark(facts: ZoneFacts, nr_zero: int, nr_pcp: int) -> Remark:
    elsewhere = facts.pcp_count - nr_pcp
    return Remark(
        "per-cpu pages",
        f"{facts.label}: zoneinfo counts {facts.pcp_count} free pages on per-cpu lists; {nr_zero} "
        "words are 0, as for those and for plain kernel pages. "
        f"{nr_pcp} of them, in movable blocks, are taken for per-cpu pages"
        + (f"; {elsewhere} per-cpu pages lie somewhere else" if elsewhere else ""),
        round(nr_pcp / facts.pcp_count, 3) if facts.pcp_count else None,
    )
