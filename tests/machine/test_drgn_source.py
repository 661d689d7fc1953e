"""A kernel dump read through drgn, and what was read of one.

The dumps themselves are made by ``python -m oracle.core --kernel 6.1`` (and 6.12) and are too large to keep: where they or drgn
are missing, the tests that need them are skipped. What was read of two is kept, as captures.
"""

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oracle.core import core_folder
from pageblock.errors import InputError
from pageblock.machine import Snapshot, read_machine
from pageblock.machine.capture import capture_machine
from pageblock.machine.drgn_source import marked
from pageblock.machine.lists import FreeLists, pcp_index
from pageblock.machine.runs import make_runs
from pageblock.machine.snapshot_file import write_snapshot
from pageblock.machine.zones import snapshot_zones
from pageblock.mm.types import Migratetype, PageClass, PageFlag
from tests.machine.test_snapshot_file import assert_same

DATA = Path(__file__).parent / "data"
KEPT = {"6.1": DATA / "core-6.1.0-56.parquet", "6.12": DATA / "core-6.12.117+deb12.parquet"}
#: And of one of Linux 6.1.192, built with CONFIG_CMA.
KEPT_CMA = DATA / "core-6.1-cma.parquet"

#: Which pages oracle/core_pins.c held in each, as it told itself.
HELD = {
    KEPT["6.1"]: "pinned 30827 pinned 30828 pinned-hugetlb 32256 pinned-thp 32768 pinned-file 30813 piped 30805",
    KEPT["6.12"]: "pinned 26787 pinned 26786 pinned-hugetlb 27648 pinned-thp 29184 pinned-file 26771 piped 26779",
    KEPT_CMA: "pinned 14831 pinned 14899 pinned-hugetlb 19456 pinned-thp 19968 pinned-file 17267 piped 14833",
}


@pytest.fixture(scope="module", params=list(KEPT))
def series(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def kept(series: str) -> Snapshot:
    """What was read of a dump."""
    return read_machine(KEPT[series])


def test_the_model_starts_with_the_lists_of_the_kernel(series: str, kept: Snapshot) -> None:
    assert kept.lists is not None
    for i, zone in enumerate(snapshot_zones(kept, series)):
        zone.check()
        mine = kept.lists.take(kept.lists.zone == i)
        for order in range(kept.max_order + 1):
            for migratetype in Migratetype:
                wanted = mine.take(~mine.pcp & (mine.order == order) & (mine.migratetype == migratetype))
                assert zone.free_list(order, migratetype).tolist() == wanted.pfn.tolist()
        for migratetype in (Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE):
            for order in (*range(4), kept.pageblock_order):
                wanted = mine.take(mine.pcp & (mine.order == order) & (mine.migratetype == migratetype))
                if order < 4 or migratetype == Migratetype.MOVABLE:
                    assert zone.pcp_list(pcp_index(order, migratetype)).tolist() == wanted.pfn.tolist()


def test_counters_and_lists_of_the_kernel_agree(kept: Snapshot) -> None:
    for zone in kept.zones:
        assert sum(count << order for order, count in enumerate(zone.buddy_counts)) == zone.free_pages
        assert zone.free_counts is not None
        assert tuple(map(sum, zip(*zone.free_counts.values(), strict=True))) == zone.buddy_counts
        assert not zone.blocks_inferred


def test_lists_are_not_in_pfn_order(kept: Snapshot) -> None:
    """Else nothing above would show that their order was read."""
    assert kept.lists is not None
    lists = kept.lists.sorted()
    same_list = np.ones(len(lists.pfn) - 1, np.bool_)
    for column in (lists.zone, lists.pcp, lists.order, lists.migratetype):
        same_list &= column[1:] == column[:-1]
    assert ((np.diff(lists.pfn) < 0) & same_list).any()


def test_a_capture_of_it_is_the_same_again(kept: Snapshot, series: str, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "a.parquet", capture_machine(KEPT[series]))
    assert_same(read_machine(tmp_path / "a.parquet"), kept)


def assert_held(snapshot: Snapshot, told: str) -> None:
    """That a snapshot has just the held pages that were told, "KIND pfn …", and how each is held."""
    words = told.split()
    kinds = {int(pfn): kind for kind, pfn in zip(words[::2], words[1::2], strict=True) if kind != "mapped"}
    assert snapshot.held is not None
    assert snapshot.held.pfn.tolist() == sorted(kinds)
    for pfn, kind in kinds.items():
        page = snapshot.held.of(pfn)
        assert page is not None
        large = kind in ("pinned-hugetlb", "pinned-thp")
        assert (page.order, page.mapcount) == (9 if large else 0, 1), kind
        # a large page has a count of pins; of a small one, each pin is 1024 references
        assert (page.pins, page.extra) == {"piped": (-1, 1)}.get(kind, (1, 1) if large else (-1, 1024)), kind


@pytest.mark.parametrize("path", HELD)
def test_the_pages_that_somebody_held_are_found_and_no_other(path: Path) -> None:
    assert_held(read_machine(path), HELD[path])


def test_held_pages_are_marked_in_the_runs(kept: Snapshot) -> None:
    assert kept.runs is not None
    assert kept.held is not None
    pinned = kept.runs.filter(kept.runs["flags"].to_numpy() & np.uint8(PageFlag.PINNED) > 0)
    assert pinned["nr_pages"].to_numpy().sum() == (1 << kept.held.order).sum()


def test_the_bitmap_of_an_area_is_what_debugfs_showed() -> None:
    """debugfs: base_pfn 89088, count 8192, used 49, maxchunk 8130, bitmap 4194303 1073741816 0 …"""
    areas = read_machine(KEPT_CMA).cma_areas
    assert areas is not None
    [area] = areas
    assert (area.name, area.ranges, area.order_per_bit) == ("reserved", ((89088, 97280),), 0)
    assert (area.nr_used, max(end - start for start, end in area.free())) == (49, 8130)
    bits = sum(1 << pfn - 89088 for start, end in area.used for pfn in range(start, end))
    assert bits == 4194303 | 1073741816 << 32


def test_a_kernel_without_cma_has_no_area(kept: Snapshot) -> None:
    assert kept.cma_areas == ()


def test_a_capture_of_before_knows_neither_held_pages_nor_areas(tmp_path: Path) -> None:
    content = capture_machine(KEPT_CMA)
    write_snapshot(
        tmp_path / "a.parquet", replace(content, snapshot=replace(content.snapshot, held=None, cma_areas=None))
    )
    found = read_machine(tmp_path / "a.parquet")
    assert (found.held, found.cma_areas) == (None, None)


@pytest.fixture(scope="module")
def core(series: str) -> Path:
    """The folder of a dump."""
    pytest.importorskip("drgn")
    folder = core_folder(series)
    if folder is None:
        pytest.skip(f"no dump here: python -m oracle.core --kernel {series}")
    return folder


@pytest.fixture(scope="module")
def dumped(core: Path) -> Snapshot:
    return capture_machine(core / "vmcore", symbols=core / "vmlinux").snapshot


def test_a_dump_has_the_zones_and_types_that_proc_told_just_before(core: Path, dumped: Snapshot) -> None:
    told = read_machine(core / "proc")
    assert (dumped.page_size, dumped.max_order, dumped.pageblock_order) == (4096, 10, 9)
    for mine, theirs in zip(dumped.zones, told.zones, strict=True):
        for name in (
            "label",
            "start_pfn",
            "spanned",
            "present",
            "managed",
            "wmark_min",
            "wmark_low",
            "wmark_high",
            "protection",
        ):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert mine.block_counts is not None
        assert theirs.block_counts is not None
        assert {t: n for t, n in mine.block_counts.items() if n} == {t: n for t, n in theirs.block_counts.items() if n}


def test_a_dump_has_the_pages_that_kpageflags_told_just_before(core: Path, dumped: Snapshot) -> None:
    """All but the few that changed while the machine told it; of kernel, free and per-cpu pages only their sum."""

    def pages(snapshot: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        assert snapshot.runs is not None
        page_class = snapshot.runs["class"].to_numpy()
        return np.bincount(page_class, snapshot.runs["nr_pages"].to_numpy(), 16).astype(np.int64)

    mine, theirs = pages(dumped), pages(read_machine(core / "proc"))
    moving = [PageClass.FREE, PageClass.KERNEL, PageClass.PCP]
    for page_class in PageClass:
        if page_class not in moving:
            assert abs(mine[page_class] - theirs[page_class]) <= 128, page_class.name
    assert abs(mine[moving].sum() - theirs[moving].sum()) <= 128
    assert mine[PageClass.HUGETLB] == 3 * 512


def test_a_dump_has_the_pages_that_a_program_held(core: Path, dumped: Snapshot) -> None:
    told = core / "proc" / "held"
    if not told.exists():
        pytest.skip("a dump of before pages were held: remove its folder and make it again")
    assert_held(dumped, told.read_text())


def test_a_dump_and_its_capture_are_the_same(core: Path, dumped: Snapshot, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "a.parquet", capture_machine(core / "vmcore", symbols=core / "vmlinux"))
    assert_same(replace(read_machine(tmp_path / "a.parquet"), files=dumped.files), dumped)


def test_a_dump_without_symbols_is_one_line(core: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no debug information for its kernel"):
        read_machine(core / "vmcore")
    assert capfd.readouterr().err == ""


def test_a_dump_that_is_cut_off_is_one_line(core: Path, tmp_path: Path) -> None:
    with (core / "vmcore").open("rb") as file:
        (tmp_path / "vmcore").write_bytes(file.read(50 << 20))
    with pytest.raises(InputError) as caught:
        capture_machine(tmp_path / "vmcore", symbols=core / "vmlinux")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("begin", [b"\x7fELF\x02\x01\x01", b"KDUMP   ", b"DISKDUMP", b"makedumpfile"])
def test_what_only_begins_like_a_dump_is_one_line(tmp_path: Path, begin: bytes) -> None:
    pytest.importorskip("drgn")
    (tmp_path / "core").write_bytes(begin + bytes(100))
    with pytest.raises(InputError, match="no kernel dump that can be read") as caught:
        read_machine(tmp_path / "core")
    assert "\n" not in str(caught.value)


def test_without_drgn_a_dump_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "drgn", None)
    (tmp_path / "core").write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(InputError, match=r"needs drgn: pip install 'pageblock\[drgn\]'"):
        read_machine(tmp_path / "core")


def test_symbols_of_what_is_no_dump_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="symbols go with a kernel dump"):
        capture_machine(KEPT["6.1"], symbols=tmp_path / "vmlinux")


def test_marking_pages_cuts_runs_around_them() -> None:
    runs = make_runs(
        np.array([0, 8, 16]), np.array([8, 8, 4]), np.array([2, 9, 3], np.uint8), np.array([0, 3, 0], np.uint8)
    )
    found = marked(runs, np.array([2, 3, 9, 19, 40]), None, PageFlag.PINNED)
    table = zip(found.start_pfn.tolist(), found.nr_pages.tolist(), found.flags.tolist(), strict=True)
    pinned = int(PageFlag.PINNED)
    # 9 is no head of its compound page, 40 lies in no run
    assert list(table) == [(0, 2, 0), (2, 1, pinned), (3, 1, pinned), (4, 4, 0), (8, 8, 0), (16, 3, 0), (19, 1, pinned)]
    assert found.page_class.tolist() == [2, 2, 2, 2, 9, 3, 3]
    assert marked(runs, np.array([16]), PageClass.MOVABLE_OPS, 0).page_class.tolist() == [
        2,
        9,
        PageClass.MOVABLE_OPS,
        3,
    ]


def test_marking_the_head_of_a_compound_page_marks_all_of_it() -> None:
    runs = make_runs(np.array([0, 16]), np.array([16, 4]), np.array([9, 3], np.uint8), np.array([3, 0], np.uint8))
    found = marked(runs, np.array([8]), None, PageFlag.PINNED)
    table = zip(found.start_pfn.tolist(), found.nr_pages.tolist(), found.flags.tolist(), strict=True)
    assert list(table) == [(0, 8, 0), (8, 8, int(PageFlag.PINNED)), (16, 4, 0)]


def test_lists_are_equal_by_their_order_alone() -> None:
    def lists(pfns: list[int], orders: list[int]) -> FreeLists:
        n = len(pfns)
        return FreeLists(
            np.zeros(n, np.int64), np.array(pfns), np.array(orders), np.ones(n, np.int64), np.zeros(n, np.bool_)
        )

    assert lists([4, 8, 2], [0, 1, 0]) == lists([8, 4, 2], [1, 0, 0])
    assert lists([4, 8, 2], [0, 1, 0]) != lists([2, 8, 4], [0, 1, 0])


def test_the_kept_captures_name_nobody() -> None:
    for path in HELD:
        assert stat.S_ISREG(os.stat(path).st_mode)
        assert read_machine(path).files == ("vmcore",)
        assert b"/vmcore" not in path.read_bytes()
