"""Reading folders: what is there is used, what is missing is said, what is broken is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from pageblock.errors import InputError
from pageblock.machine import RUNS_SCHEMA, HugePool, Snapshot, read_machine
from pageblock.machine.layout import Span, own_ranges
from pageblock.machine.procfs import ZoneRow
from pageblock.mm.types import Migratetype, PageClass, PageFlag

LRU_ANON, FREE, SLAB = (1 << 5) | (1 << 12), 1 << 10, 1 << 7

#: A machine of one zone [512, 2048) with pageblocks of 512 pages: one of slab, one free, one half
#: anonymous and half free.
WORDS = np.concatenate(
    [
        np.full(512, 1 << 20),
        np.full(512, SLAB),
        np.full(512, FREE),
        np.full(256, LRU_ANON),
        np.full(256, FREE),
    ]
).astype("<u8")
TEXT = {
    "zoneinfo": (
        "Node 0, zone Normal\n  pages free 768\n  min 3\n  low 4\n  high 5\n  spanned 1536\n"
        "  present 1536\n  managed 1500\n  protection: (0, 0)\n  nr_free_pages 768\n  pagesets\n"
        "    cpu: 0\n      count: 2\n      high: 6\n      batch: 1\n  start_pfn: 512\n"
    ),
    "buddyinfo": "Node 0, zone Normal 0 0 0 0 0 0 0 0 1 1 0\n",
    "pagetypeinfo": (
        "Page block order: 9\nPages per block: 512\n"
        "Node 0, zone Normal, type Unmovable 0 0 0 0 0 0 0 0 0 0 0\n"
        "Node 0, zone Normal, type Movable 0 0 0 0 0 0 0 0 1 1 0\n"
        "Number of blocks type Unmovable Movable\nNode 0, zone Normal 1 2\n"
    ),
    "meminfo": "MemTotal: 6000 kB\n",
    "version": "Linux version 6.1.0-test (gcc)\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TEXT.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "kpageflags").write_bytes(WORDS.tobytes())
    (tmp_path / "kpagecount").write_bytes(np.zeros(len(WORDS), "<u8").tobytes())
    return tmp_path


def rows(snapshot: Snapshot) -> list[tuple[int, int, PageClass, int, int]]:
    assert snapshot.runs is not None
    return [
        (r["start_pfn"], r["nr_pages"], PageClass(r["class"]), r["order"], r["migratetype"])
        for r in snapshot.runs.to_pylist()
    ]


def test_the_runs_of_a_folder(folder: Path) -> None:
    assert rows(read_machine(folder)) == [
        (512, 512, PageClass.SLAB, 0, 255),
        (1024, 512, PageClass.FREE, 9, Migratetype.MOVABLE),
        (1536, 256, PageClass.ANON, 0, 255),
        (1792, 256, PageClass.FREE, 8, Migratetype.MOVABLE),
    ]


def test_the_schema_of_the_runs(folder: Path) -> None:
    runs = read_machine(folder).runs
    assert runs is not None
    assert runs.schema == RUNS_SCHEMA


def test_the_zone_of_a_folder(folder: Path) -> None:
    (zone,) = read_machine(folder).zones
    assert (zone.start_pfn, zone.end_pfn, zone.managed, zone.pcp_count) == (512, 2048, 1500, 2)
    assert (zone.wmark_min, zone.wmark_low, zone.wmark_high) == (3, 4, 5)
    assert zone.block_counts == {Migratetype.UNMOVABLE: 1, Migratetype.MOVABLE: 2}
    assert zone.block_types is not None
    assert zone.block_types.tolist() == [0, 1, 1]
    assert zone.blocks_inferred


def test_the_geometry_of_a_folder(folder: Path) -> None:
    snapshot = read_machine(folder)
    assert (snapshot.page_size, snapshot.max_order, snapshot.pageblock_order) == (4096, 10, 9)
    assert snapshot.kernel == "6.1.0-test"


@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
def test_the_page_size_follows_from_managed_memory(folder: Path, page_size: int) -> None:
    (folder / "meminfo").write_text(f"MemTotal: {1500 * page_size // 1024} kB\n")
    assert read_machine(folder).page_size == page_size


def test_zst_files_read_alike(folder: Path) -> None:
    plain = rows(read_machine(folder))
    for path in list(folder.iterdir()):
        packed = zstandard.ZstdCompressor().compress(path.read_bytes())
        path.with_name(path.name + ".zst").write_bytes(packed)
        path.unlink()
    assert rows(read_machine(folder)) == plain


def test_a_sosreport_keeps_its_files_in_proc(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    shutil.copytree(folder, tmp_path / "report" / "proc", ignore=shutil.ignore_patterns("report"))
    assert rows(read_machine(tmp_path / "report")) == rows(read_machine(folder))


def test_progress_ends_at_the_total(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_machine(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1536, 1536)


@pytest.mark.parametrize("name", ["buddyinfo", "pagetypeinfo", "zoneinfo", "meminfo", "version", "kpagecount"])
def test_a_missing_file_is_listed_and_remarked(folder: Path, name: str) -> None:
    (folder / name).unlink()
    snapshot = read_machine(folder)
    assert name in snapshot.missing
    assert name not in snapshot.files
    assert [r for r in snapshot.remarks if r.text.startswith(f"{name} was not read")]


def test_without_kpageflags_there_are_no_runs(folder: Path) -> None:
    (folder / "kpageflags").unlink()
    snapshot = read_machine(folder)
    assert snapshot.runs is None
    assert snapshot.zones[0].block_types is None


def test_without_zoneinfo_there_are_no_runs(folder: Path) -> None:
    (folder / "zoneinfo").unlink()
    snapshot = read_machine(folder)
    assert snapshot.runs is None
    assert [zone.buddy_counts[8] for zone in snapshot.zones] == [1]


def test_without_pagetypeinfo_the_pageblock_order_is_that_of_huge_pages(folder: Path) -> None:
    (folder / "pagetypeinfo").unlink()
    (folder / "meminfo").write_text("MemTotal: 6000 kB\nHugepagesize: 2048 kB\n")
    snapshot = read_machine(folder)
    assert snapshot.pageblock_order == 9
    assert "pageblock order" in {r.topic for r in snapshot.remarks}


HEAD, TAIL, HUGE, MMAP = 1 << 15, 1 << 16, 1 << 17, 1 << 11


@pytest.mark.parametrize(("mapped", "free", "unused"), [(False, 1, True), (False, 0, False), (True, 0, False)])
def test_a_huge_page_that_nobody_maps_is_unused_where_meminfo_counts_as_many(
    folder: Path, mapped: bool, free: int, unused: bool
) -> None:
    words = WORDS.copy()
    words[512:1024] = TAIL | HUGE
    words[512] = HEAD | HUGE | (MMAP if mapped else 0)
    (folder / "kpageflags").write_bytes(words.tobytes())
    (folder / "kpagecount").unlink()
    (folder / "meminfo").write_text(f"HugePages_Free: {free}\nHugePages_Rsvd: 0\nHugepagesize: 2048 kB\n")
    snapshot = read_machine(folder)
    assert snapshot.huge_pool == HugePool(9, free, 0, 0)
    assert snapshot.runs is not None
    [huge] = [run for run in snapshot.runs.to_pylist() if run["class"] == PageClass.HUGETLB]
    assert bool(huge["flags"] & PageFlag.CLEAN) == unused
    assert any(remark.topic == "huge pages" for remark in snapshot.remarks) == (not mapped and free == 0)


def test_without_a_pool_in_meminfo_none_is_known(folder: Path) -> None:
    assert read_machine(folder).huge_pool is None


def test_metadata_of_a_file_system_is_remarked_upon(folder: Path) -> None:
    """A dirty page of a disk's cache is held by the journal; one that was used lately may be in use."""
    words = WORDS.copy()
    cache = (1 << 5) | (1 << 35)
    words[1024:1026] = cache | (1 << 4), cache | (1 << 2)
    (folder / "kpageflags").write_bytes(words.tobytes())
    snapshot = read_machine(folder)
    [remark] = [remark for remark in snapshot.remarks if remark.topic == "buffers"]
    assert remark.text.startswith("1 pages hold dirty metadata")
    assert "; 1 hold other metadata" in remark.text
    assert remark.pageblocks == 1


def spoil_length(folder: Path) -> None:
    (folder / "kpageflags").write_bytes(WORDS.tobytes()[:-3])


def spoil_end(folder: Path) -> None:
    (folder / "kpageflags").write_bytes(WORDS.tobytes()[:-800])
    (folder / "kpagecount").unlink()


def spoil_all(folder: Path) -> None:
    (folder / "kpageflags").write_bytes(b"")


def spoil_count(folder: Path) -> None:
    (folder / "kpagecount").write_bytes(bytes(8 * (len(WORDS) + 1)))


def pack(folder: Path) -> bytes:
    (folder / "kpageflags").unlink()
    return zstandard.ZstdCompressor().compress(WORDS.tobytes())


def spoil_zst(folder: Path) -> None:
    packed = bytearray(pack(folder))
    packed[0] ^= 0xFF
    (folder / "kpageflags.zst").write_bytes(packed)


def cut_zst(folder: Path) -> None:
    (folder / "kpageflags.zst").write_bytes(pack(folder)[:-6])


def odd_zst(folder: Path) -> None:
    pack(folder)
    packed = zstandard.ZstdCompressor().compress(WORDS.tobytes() + b"xyz")
    (folder / "kpageflags.zst").write_bytes(packed)


def empty_zst(folder: Path) -> None:
    pack(folder)
    (folder / "kpageflags.zst").write_bytes(b"")


def count_of_another_zst(folder: Path) -> None:
    packed = zstandard.ZstdCompressor().compress(bytes(8 * (len(WORDS) + 1)))
    (folder / "kpagecount").unlink()
    (folder / "kpagecount.zst").write_bytes(packed)


def spoil_orders(folder: Path) -> None:
    (folder / "buddyinfo").write_text("Node 0, zone Normal 0 0 0\n")


def spoil_zones(folder: Path) -> None:
    text = TEXT["pagetypeinfo"].replace("zone Normal", "zone DMA")
    (folder / "pagetypeinfo").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_length, "kpageflags: 16381 bytes are not a whole number"),
        (spoil_end, "kpageflags: ends at pfn 1948"),
        (spoil_all, "kpageflags: the file is empty"),
        (spoil_count, "kpagecount: 2049 words"),
        (spoil_zst, r"kpageflags\.zst: not a sound zstd file"),
        (cut_zst, r"kpageflags\.zst: the zstd file is cut off"),
        (odd_zst, "kpageflags.zst: 16387 bytes are not a whole number"),
        (empty_zst, "kpageflags.zst: the file is empty"),
        (count_of_another_zst, "kpagecount.zst: 2049 words"),
        (spoil_orders, "pagetypeinfo has 11 orders, buddyinfo 3"),
        (spoil_zones, "pagetypeinfo has node 0 zone DMA"),
    ],
)
def test_broken_input_is_refused_in_one_line(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message) as caught:
        read_machine(folder)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_machine(tmp_path / "nothing")


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        read_machine(folder / "zoneinfo")


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="none of the files"):
        read_machine(tmp_path)


def zone_row(node: int, start: int, spanned: int) -> ZoneRow:
    return ZoneRow(node, "Normal", start_pfn=start, spanned=spanned)


def test_a_zone_inside_anothers_hole_owns_its_span() -> None:
    spans, remarks = own_ranges([zone_row(0, 0, 300), zone_row(1, 100, 100)])
    assert spans == [Span(0, 100, 0), Span(100, 200, 1), Span(200, 300, 0)]
    assert [r.topic for r in remarks] == ["zone overlap"]


def test_memory_blocks_tell_whose_an_overlap_is() -> None:
    rows = [zone_row(0, 0, 300), zone_row(1, 100, 300)]
    blocks = [Span(0, 100, 0), Span(100, 200, 1), Span(200, 300, 0), Span(300, 400, 1)]
    spans, remarks = own_ranges(rows, blocks)
    assert spans == blocks
    assert remarks == []


def test_overlapping_zones_are_both_covered(folder: Path) -> None:
    inner = TEXT["zoneinfo"].replace("Node 0", "Node 1").replace("start_pfn: 512", "start_pfn: 1024")
    inner = inner.replace("spanned 1536", "spanned 512").replace("present 1536", "present 512")
    outer = TEXT["zoneinfo"].replace("present 1536", "present 1024")
    (folder / "zoneinfo").write_text(outer + inner)
    (folder / "pagetypeinfo").unlink()
    (folder / "buddyinfo").unlink()
    snapshot = read_machine(folder)
    assert snapshot.runs is not None
    zones = snapshot.runs["zone"].to_numpy()
    pages = snapshot.runs["nr_pages"].to_numpy()
    classes = snapshot.runs["class"].to_numpy()
    assert [int(pages[zones == i].sum()) for i in (0, 1)] == [1536, 512]
    assert int(pages[classes == PageClass.HOLE].sum()) == 512
