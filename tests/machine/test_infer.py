"""Inference over runs: free blocks, pageblock types, what zero words stand for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pageblock.machine.freeblocks import (
    FreeBlocks,
    decompose,
    heads_only,
    order_counts,
    rebuild_from_heads,
    unmerge,
)
from pageblock.machine.infer import Inferred, ZoneFacts, infer_zone
from pageblock.machine.kpageflags import scan_words
from pageblock.machine.procfs import FreeRow, IomemEntry
from pageblock.machine.runs import clip, make_runs
from pageblock.machine.zerowords import mark_holes, ram_pages
from pageblock.mm.types import Migratetype, PageClass

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE
FREE, SLAB, ANON, PGTABLE, NOPAGE, HEAD, TAIL = (
    1 << 10,
    1 << 7,
    (1 << 5) | (1 << 12),
    1 << 26,
    1 << 20,
    1 << 15,
    1 << 16,
)
PBO, MAX_ORDER = 4, 5
PPB = 1 << PBO


def blocks_of(ranges: list[tuple[int, int]], max_order: int) -> list[tuple[int, int]]:
    starts = np.array([s for s, _ in ranges], np.int64)
    pages = np.array([e - s for s, e in ranges], np.int64)
    blocks = decompose(starts, pages, max_order)
    return list(zip(blocks.pfn.tolist(), blocks.order.tolist(), strict=True))


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(0, 1)], [(0, 0)]),
        ([(1, 8)], [(1, 0), (2, 1), (4, 2)]),
        ([(8, 15)], [(8, 2), (12, 1), (14, 0)]),
        ([(3, 5)], [(3, 0), (4, 0)]),
        ([(0, 24)], [(0, 3), (8, 3), (16, 3)]),
        ([(2, 4), (6, 10)], [(2, 1), (6, 1), (8, 1)]),
        ([], []),
    ],
)
def test_free_ranges_fall_into_maximal_aligned_blocks(
    ranges: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    assert blocks_of(ranges, 3) == expected


def test_no_two_rebuilt_buddies_could_still_merge() -> None:
    rng = np.random.default_rng(1)
    cuts = np.sort(rng.choice(4096, 200, replace=False)).astype(np.int64)
    blocks = decompose(cuts[::2], cuts[1::2] - cuts[::2], 6)
    found = set(zip(blocks.pfn.tolist(), blocks.order.tolist(), strict=True))
    assert not [b for b in found if b[1] < 6 and (b[0] ^ (1 << b[1]), b[1]) in found]
    assert blocks.nr_pages.sum() == (cuts[1::2] - cuts[::2]).sum()


@pytest.mark.parametrize(
    ("nr_words", "counts", "expected"),
    [(150, (42, 18, 0, 0, 0, 32), True), (1100, (42, 18, 0, 0, 0, 32), False), (0, (5,), False)],
)
def test_kernels_that_mark_heads_only_are_told_by_the_numbers(
    nr_words: int, counts: tuple[int, ...], expected: bool
) -> None:
    assert heads_only(nr_words, counts) is expected


def test_blocks_are_rebuilt_from_their_heads_and_the_zero_words_after_them() -> None:
    words = np.array([FREE, 0, 0, 0, FREE, FREE, 0, 0, FREE, 0, 0, 0, 0, 0, 0, 0], np.uint64)
    blocks, runs = rebuild_from_heads(scan_words(words).runs, 3, (2, 0, 1, 1))
    assert blocks.pfn.tolist() == [0, 4, 5, 8]
    assert blocks.order.tolist() == [2, 0, 0, 3]
    kernel = runs.page_class == PageClass.KERNEL
    assert (runs.start_pfn[kernel].tolist(), runs.nr_pages[kernel].tolist()) == ([6], [2])


def test_a_head_takes_no_order_that_buddyinfo_has_not() -> None:
    words = np.array([FREE, 0, 0, 0], np.uint64)
    blocks, _ = rebuild_from_heads(scan_words(words).runs, 3, (0, 1, 0, 0))
    assert blocks.order.tolist() == [1]


def whole_blocks(n: int, order: int) -> FreeBlocks:
    pfn = np.arange(n, dtype=np.int64) << order
    return FreeBlocks(pfn, np.full(n, order, np.uint8))


def test_pairs_of_unmergeable_types_are_kept_apart_first() -> None:
    types = np.array([M, M, M, Migratetype.CMA, M, M], np.uint8)
    blocks, guessed = unmerge(whole_blocks(3, MAX_ORDER), types, 0, PBO, (0, 0, 0, 0, 2, 2))
    assert blocks.pfn.tolist() == [0, 32, 48, 64]
    assert blocks.order.tolist() == [5, 4, 4, 5]
    assert guessed == 0


def test_pairs_stay_merged_unless_two_orders_of_buddyinfo_ask_for_it() -> None:
    types = np.full(6, M, np.uint8)
    blocks, _ = unmerge(whole_blocks(3, MAX_ORDER), types, 0, PBO, (0, 0, 0, 0, 0, 2))
    assert len(blocks) == 3


def test_an_unmerged_pair_without_a_reason_is_said_to_be_a_guess() -> None:
    types = np.full(6, M, np.uint8)
    blocks, guessed = unmerge(whole_blocks(3, MAX_ORDER), types, 0, PBO, (0, 0, 0, 0, 2, 2))
    assert order_counts(blocks, MAX_ORDER).tolist() == [0, 0, 0, 0, 2, 2]
    assert guessed == 1


def test_clipping_cuts_a_compound_into_single_pages() -> None:
    runs = make_runs(np.array([0], np.int64), np.array([8], np.int64), PageClass.THP, 2, 0x20)
    inside = clip(runs, 2, 8)
    assert (inside.start_pfn[0], inside.nr_pages[0], inside.order[0], inside.flags[0]) == (
        2,
        6,
        0,
        0,
    )


def infer(
    blocks: list[list[int]],
    counts: dict[Migratetype, int] | None = None,
    lists: dict[Migratetype, tuple[int, ...]] | None = None,
    pcp: int = 0,
    cma_pages: int = 0,
    present: int | None = None,
    managed: int | None = None,
    batch: int = 0,
) -> Inferred:
    """Inference on a zone from pfn 0 whose pageblocks hold these words, repeated to fill them."""
    words = np.concatenate([np.resize(np.array(b, np.uint64), PPB) for b in blocks])
    runs = scan_words(words).runs
    free = runs.page_class == PageClass.FREE
    found = decompose(runs.start_pfn[free], runs.nr_pages[free], MAX_ORDER)
    rows = {t: FreeRow(row, (False,) * len(row)) for t, row in lists.items()} if lists else None
    facts = ZoneFacts(
        label="node 0 Normal",
        start_pfn=0,
        end_pfn=len(words),
        present=len(words) if present is None else present,
        pcp_count=pcp,
        cma_pages=cma_pages,
        max_order=MAX_ORDER,
        pageblock_order=PBO,
        buddy_counts=tuple(order_counts(found, MAX_ORDER).tolist()),
        block_counts=counts,
        free_rows=rows,
        ram=None,
        managed=managed,
        pcp_batch=batch,
    )
    return infer_zone(runs, facts)


def pages_of(inferred: Inferred, page_class: PageClass) -> int:
    runs = inferred.runs
    return int(runs.nr_pages[runs.page_class == page_class].sum())


def test_without_counts_the_kind_of_pages_that_prevails_decides() -> None:
    got = infer([[ANON], [ANON], [SLAB], [SLAB], [PGTABLE, 0], [0, SLAB], [FREE], [ANON, FREE]])
    assert got.block_types.tolist() == [M, M, R, R, U, U, M, M]


def test_as_many_blocks_get_a_type_as_pagetypeinfo_counts() -> None:
    got = infer([[ANON], [ANON], [PGTABLE] + [ANON] * 3, [ANON]], {U: 1, M: 3, R: 0})
    assert got.block_types.tolist() == [M, M, U, M]


def test_free_lists_decide_between_blocks_that_look_alike() -> None:
    some_free = [FREE] * 8 + [0] * 8
    less_free = [FREE] * 4 + [0] * 12
    got = infer(
        [some_free, [ANON], less_free, [ANON]],
        {U: 1, M: 3, R: 0},
        {U: (0, 0, 0, 1, 0, 0), M: (0, 0, 1, 0, 0, 0), R: (0,) * 6},
        pcp=12,
    )
    assert got.block_types.tolist() == [U, M, M, M]


def test_a_wholly_free_block_of_a_type_lies_by_others_of_it() -> None:
    got = infer(
        [[FREE], [ANON], [PGTABLE], [FREE], [ANON], [FREE]],
        {U: 2, M: 4, R: 0},
        {U: (0, 0, 0, 0, 1, 0), M: (0, 0, 0, 0, 2, 0), R: (0,) * 6},
    )
    assert got.block_types.tolist() == [M, M, U, U, M, M]


def test_cma_is_the_window_whose_free_blocks_fit_its_lists() -> None:
    got = infer(
        [[FREE], [ANON], [FREE] * 8 + [ANON] * 8, [ANON], [ANON], [SLAB]],
        {U: 1, M: 3, R: 0, Migratetype.CMA: 2},
        {Migratetype.CMA: (0, 0, 0, 1, 0, 0)},
    )
    assert got.block_types.tolist() == [M, M, 4, 4, M, U]


def test_cma_without_pagetypeinfo_takes_the_highest_clean_window() -> None:
    got = infer([[ANON], [ANON], [ANON], [SLAB, 0]], cma_pages=2 * PPB)
    assert got.block_types.tolist() == [M, 4, 4, U]


def test_free_runs_carry_order_and_type() -> None:
    got = infer([[FREE], [FREE], [ANON], [PGTABLE]], {U: 1, M: 3, R: 0})
    free = got.runs.take(got.runs.page_class == PageClass.FREE)
    assert free.order.tolist() == [MAX_ORDER]
    assert free.migratetype.tolist() == [M]


def test_zero_words_in_movable_blocks_are_per_cpu_pages() -> None:
    got = infer([[ANON, 0], [ANON], [PGTABLE, 0], [0]], {U: 2, M: 2, R: 0}, pcp=PPB // 2)
    assert pages_of(got, PageClass.PCP) == PPB // 2
    assert pages_of(got, PageClass.KERNEL) == PPB + PPB // 2


def test_more_zero_words_than_per_cpu_pages_stay_kernel_pages() -> None:
    got = infer([[ANON, 0], [ANON, ANON, ANON, 0]], {U: 0, M: 2, R: 0}, pcp=5)
    assert pages_of(got, PageClass.PCP) == 4
    assert pages_of(got, PageClass.KERNEL) == 8


def test_per_cpu_pages_are_remarked_with_their_number() -> None:
    got = infer([[ANON, 0], [ANON]], {U: 0, M: 2, R: 0}, pcp=9)
    (remark,) = [r for r in got.remarks if r.topic == "per-cpu pages"]
    assert "of which zoneinfo counts 9; all are taken for per-cpu pages" in remark.text
    assert "1 more are counted than words are 0" in remark.text


def test_all_zero_words_are_per_cpu_pages_where_there_are_no_more_of_them() -> None:
    got = infer([[FREE], [FREE, 0]], {U: 1, M: 1, R: 0}, pcp=8)
    assert pages_of(got, PageClass.PCP) == 8
    assert pages_of(got, PageClass.KERNEL) == 0


def test_one_zero_word_more_than_per_cpu_pages_may_be_any_of_them() -> None:
    got = infer([[FREE], [FREE, 0]], {U: 2, M: 0, R: 0}, pcp=7)
    assert pages_of(got, PageClass.PCP) == 0


def test_busy_lists_that_count_far_more_than_there_are_zero_words_prove_nothing() -> None:
    blocks = [[PGTABLE, 0], [ANON]]
    assert pages_of(infer(blocks, {U: 1, M: 1, R: 0}, pcp=12, batch=4), PageClass.PCP) == 8
    assert pages_of(infer(blocks, {U: 1, M: 1, R: 0}, pcp=13, batch=4), PageClass.PCP) == 0


def test_zero_words_that_are_not_managed_are_no_per_cpu_pages() -> None:
    got = infer([[FREE], [FREE, 0]], {U: 2, M: 0, R: 0}, pcp=8, managed=PPB + 8)
    assert pages_of(got, PageClass.PCP) == 0


def test_doubt_about_zero_words_is_weighed_by_the_pageblocks_that_they_alone_block() -> None:
    got = infer([[SLAB, 0], [0, FREE], [ANON]], {U: 2, M: 1, R: 0}, pcp=4)
    (remark,) = [r for r in got.remarks if r.topic == "per-cpu pages"]
    assert (remark.certain, remark.pageblocks, remark.zone) == (0.75, 1, "node 0 Normal")


def test_memory_not_initialised_yet_is_neither_counted_nor_per_cpu() -> None:
    got = infer([[ANON, 0], [ANON], [0], [0]], {U: 0, M: 2, R: 0}, pcp=100)
    assert pages_of(got, PageClass.PCP) == PPB // 2
    assert [r.topic for r in got.remarks if "32 pages" in r.text] == ["not initialised"]


def test_memory_not_initialised_yet_is_a_hole_with_its_spans_kept() -> None:
    got = infer([[ANON, 0], [ANON], [0], [0]], {U: 0, M: 2, R: 0}, pcp=8)
    assert got.uninitialised == ((2 * PPB, 4 * PPB),)
    assert pages_of(got, PageClass.HOLE) == 2 * PPB


def test_without_pagetypeinfo_unmanaged_zero_words_are_not_initialised() -> None:
    got = infer([[ANON], [ANON], [0], [0]], managed=2 * PPB)
    assert got.uninitialised == ((2 * PPB, 4 * PPB),)


def test_managed_zero_words_are_initialised_whatever_pagetypeinfo_counts() -> None:
    got = infer([[ANON], [ANON], [0], [0]], {U: 0, M: 2, R: 0}, managed=4 * PPB)
    assert got.uninitialised == ()


def test_types_are_always_remarked_as_inferred() -> None:
    got = infer([[ANON], [SLAB]])
    (remark,) = [r for r in got.remarks if r.topic == "pageblock types"]
    assert remark.certain is not None


def test_what_the_words_do_not_cover_is_a_hole() -> None:
    words = np.full(PPB, ANON, np.uint64)
    facts = ZoneFacts("z", 0, 3 * PPB, PPB, 0, 0, MAX_ORDER, PBO, (), None, None, None)
    got = infer_zone(scan_words(words, start_pfn=PPB).runs, facts)
    assert got.runs.page_class.tolist() == [PageClass.HOLE, PageClass.ANON, PageClass.HOLE]


def zeros_with_memory_between() -> NDArray[np.uint64]:
    words = np.zeros(5 * 4096, np.uint64)
    words[4096 : 2 * 4096] = ANON
    return words


def test_zero_words_outside_ram_are_holes_where_the_kernel_gives_no_nopage() -> None:
    runs = scan_words(zeros_with_memory_between()).runs
    marked, number = mark_holes(runs, 4096, [(4096, 5 * 4096)])
    hole = marked.page_class == PageClass.HOLE
    assert (marked.start_pfn[hole].tolist(), marked.nr_pages[hole].tolist()) == ([0], [4096])
    assert number == 4096


def test_without_iomem_the_end_of_the_longest_zero_stretch_is_the_hole() -> None:
    runs = scan_words(zeros_with_memory_between()).runs
    marked, _ = mark_holes(runs, 2 * 4096, None)
    hole = marked.page_class == PageClass.HOLE
    assert (marked.start_pfn[hole].tolist(), marked.nr_pages[hole].tolist()) == (
        [3 * 4096],
        [2 * 4096],
    )


def test_holes_that_nopage_explains_leave_zero_words_alone() -> None:
    words = zeros_with_memory_between()
    words[:4096] = NOPAGE
    _, number = mark_holes(scan_words(words).runs, 4096, None)
    assert number == 0


def test_ram_is_rounded_to_pages_that_have_any() -> None:
    iomem = (
        IomemEntry(0x1000, 0x9FC00, 0, "System RAM"),
        IomemEntry(0x9FC00, 0x100000, 0, "Reserved"),
        IomemEntry(0xA0000, 0x200000, 1, "System RAM (kmem)"),
    )
    assert ram_pages(iomem, 4096) == [(1, 0x200)]
