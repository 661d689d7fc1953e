"""What /proc does not say: block orders, pageblock types, which zero words are per-cpu pages.

Works on the runs of one zone, all in numpy. Every inference leaves a Remark with how sure it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pageblock.mm.types import Migratetype, PageClass

from .blocktypes import (
    FREE,
    HOLE,
    KERNEL,
    MOVING,
    RESERVED,
    SLAB,
    ZERO,
    BlockContent,
    TypeGuess,
    block_content,
    infer_types,
)
from .freeblocks import FreeBlocks, decompose, heads_only, order_counts, rebuild_from_heads, unmerge
from .procfs import FreeRow
from .runs import I64, U8, PageRuns, concat, fill_holes, make_runs, merge
from .zerowords import block_spans, choose_pcp_blocks, mark_holes, split_zero_runs, untouched_blocks

__all__ = ["Inferred", "Remark", "ZoneFacts", "infer_zone"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Remark:
    """A statement of uncertainty with its reason.

    ``topic`` is one word for grouping; ``certain`` the estimated share that is right, 0 to 1, or
    None where no number makes sense. ``zone``: the label of the zone that it speaks of, None: the whole machine.
    ``pageblocks``: how many of them would be judged otherwise where it is wrong; 0: it changes no verdict.
    """

    topic: str
    text: str
    certain: float | None = None
    zone: str | None = None
    pageblocks: int = 0


@dataclass(frozen=True)
class ZoneFacts:
    """What the text files say about one zone, as far as inference asks.

    ``pcp_count``: free pages on per-cpu lists; the least, ``pcp_most`` the most where zoneinfo was read twice.
    ``pcp_batch``: pages that all CPUs together move to or from those lists at a time. ``managed``: None where unknown.
    """

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
    managed: int | None = None
    pcp_most: int = 0
    pcp_batch: int = 0


@dataclass(frozen=True)
class Inferred:
    """Runs that cover the zone, free blocks with order and type, per-cpu pages as PCP; types.

    ``uninitialised``: pfn ranges [start, end) that the kernel has and has not initialised; HOLE in the runs.
    """

    runs: PageRuns
    block_types: U8
    uninitialised: tuple[tuple[int, int], ...]
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
    untouched = find_untouched(content, ppb, facts)
    zero_pages = np.where(untouched, 0, content.pages[:, ZERO])
    content = replace(content, counted=content.counted & ~untouched)
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
    kernel_pages = content.pages[:, [KERNEL, SLAB]].sum(axis=1)
    # blocks that hold nothing that cannot move, unless their zero words are kernel pages
    open_blocks = (zero_pages > 0) & (content.pages.sum(axis=1) == content.pages[:, [FREE, MOVING, ZERO]].sum(axis=1))
    remarks.append(type_remark(guess, facts, int(open_blocks.sum())))
    remarks += free_block_remarks(blocks, facts, on_heads, nr_buddy, guessed_splits, len(untouched))
    if only_per_cpu(content, zero_pages, facts):
        is_pcp = zero_pages > 0
    else:
        is_pcp = choose_pcp_blocks(zero_pages, kernel_pages, guess.types, ppb, facts.pcp_count)
    rest = split_zero_runs(runs, is_pcp, untouched, content.first_block, facts.pageblock_order)
    nr_zero = int(zero_pages.sum())
    if facts.pcp_count or nr_zero:
        in_doubt = int((open_blocks & ~is_pcp).sum())
        remarks.append(pcp_remark(facts, nr_zero, int(zero_pages[is_pcp].sum()), in_doubt))
    if nr_holes:
        remarks.append(
            Remark(
                "holes",
                f"{facts.label}: this kernel gives 0, not NOPAGE, for pfns without memory; "
                f"{nr_holes} zero words are taken for such holes, as many as the zone spans "
                "without having them",
                zone=facts.label,
            )
        )
    spans = block_spans(untouched, content.first_block, facts.pageblock_order)
    if spans:
        remarks.append(
            Remark(
                "not initialised",
                f"{facts.label}: {int(untouched.sum()) * ppb} pages in wholly zero pageblocks are neither managed nor "
                "counted in pagetypeinfo: a guest that initialises memory late has not done so yet; they are "
                "neither free nor in use",
                zone=facts.label,
            )
        )
    at = (blocks.pfn >> facts.pageblock_order) - content.first_block
    free_runs = make_runs(blocks.pfn, blocks.nr_pages, PageClass.FREE, blocks.order, 0, guess.types[at])
    return Inferred(merge(concat([rest, free_runs])), guess.types, spans, tuple(remarks))


def managed_zeros(content: BlockContent, managed: int) -> int:
    """Zero words of managed pages: managed - free - used. Reserved pages count as not managed, so at most this."""
    known = content.pages.sum(axis=0)
    used = int(known.sum() - known[[FREE, ZERO, RESERVED, HOLE]].sum())
    return managed - int(known[FREE]) - used


def find_untouched(content: BlockContent, pages_per_block: int, facts: ZoneFacts) -> Bools:
    """Pageblocks that the kernel has not initialised yet: wholly zero, and by the counters not managed.

    pagetypeinfo tells their number, as it does not count them; without it, what is managed does.
    """
    whole_zero = (content.pages[:, ZERO] == pages_per_block) & content.counted
    number = 0
    if facts.block_counts is not None:
        number = int(content.counted.sum()) - sum(facts.block_counts.values())
    if facts.managed is not None:
        unmanaged = int(content.pages[:, ZERO].sum()) - managed_zeros(content, facts.managed)
        if facts.block_counts is None:
            number = unmanaged // pages_per_block
        elif 2 * unmanaged < number * pages_per_block:
            number = 0  # the pages are managed; the counts are of another moment
    return untouched_blocks(whole_zero, number)


def only_per_cpu(content: BlockContent, zero_pages: I64, facts: ZoneFacts) -> bool:
    """Whether every zero word of the zone is a page on a per-cpu list: there are no more of them than such pages.

    Where the kernel has other pages in the zone, the counters must also be of that moment: within one batch of each
    CPU of the zero words. Busy lists change by thousands while the files are read.
    """
    nr_zero = int(zero_pages.sum())
    if not 0 < nr_zero <= facts.pcp_count:
        return False
    if facts.managed is not None and managed_zeros(content, facts.managed) < nr_zero - facts.pcp_batch:
        return False
    has_kernel = content.pages[:, [KERNEL, SLAB]].any()
    return not has_kernel or max(facts.pcp_count, facts.pcp_most) - nr_zero <= facts.pcp_batch


def type_remark(guess: TypeGuess, facts: ZoneFacts, nr_open: int) -> Remark:
    """The types decide where zero words are per-cpu pages, and which pageblocks are CMA or isolated."""
    special = int(np.isin(guess.types, np.array([Migratetype.CMA, Migratetype.ISOLATE], np.uint8)).sum())
    return Remark(
        "pageblock types",
        f"{facts.label}: pageblock types are inferred from the blocks' content"
        + (
            f" and pagetypeinfo's counts; {guess.nr_unclear} blocks are unclear, the free "
            f"lists differ by {guess.list_mismatch} blocks"
            if facts.block_counts is not None
            else f" alone, without pagetypeinfo; {guess.nr_unclear} blocks are unclear"
        ),
        round(guess.certain, 5),
        facts.label,
        nr_open + special,
    )


def free_block_remarks(
    blocks: FreeBlocks, facts: ZoneFacts, on_heads: bool, nr_buddy: int, guessed_splits: int, nr_blocks: int
) -> list[Remark]:
    """How far the rebuilt free blocks agree with buddyinfo. Only where sizes are rebuilt can that change a verdict."""
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
                    facts.label,
                    nr_blocks,
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
                    facts.label,
                )
            )
    if guessed_splits:
        remarks.append(
            Remark(
                "free blocks",
                f"{facts.label}: {guessed_splits} free pages above the pageblock order are kept "
                "unmerged because buddyinfo has that many; which ones is a guess",
                zone=facts.label,
            )
        )
    return remarks


def pcp_remark(facts: ZoneFacts, nr_zero: int, nr_pcp: int, in_doubt: int) -> Remark:
    """How many zero words are per-cpu pages, and of how many of the others that is not known.

    ``in_doubt``: pageblocks where zero words given as kernel pages are all that stands in the way. The certainty is that
    of one such word: of the words left, the count says how many must be per-cpu pages, not which.
    """
    left = nr_zero - nr_pcp
    elsewhere = max(0, facts.pcp_count - nr_pcp)
    unknown = min(elsewhere, left)
    text = f"{facts.label}: {nr_zero} words are 0, as of kernel pages and of free pages on per-cpu lists, of which zoneinfo "
    text += f"counts {facts.pcp_count}"
    if facts.pcp_most > facts.pcp_count:
        text += f", later {facts.pcp_most}" if left else f" to {facts.pcp_most}"
    if nr_pcp and not left:
        text += "; all are taken for per-cpu pages"
    else:
        text += f"; {nr_pcp} are taken for per-cpu pages, {left} for kernel pages"
    if unknown:
        text += f", of which {unknown} are per-cpu pages too, nobody knows which"
    elif elsewhere:
        text += f"; {elsewhere} more are counted than words are 0: the files differ in time"
    certain = round(1 - unknown / left, 5) if left else 1.0
    return Remark("per-cpu pages", text, certain, facts.label, in_doubt)
