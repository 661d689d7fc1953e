"""page_owner dumps: the formats of kernels, who owns what, and that no text makes trouble."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard

from pageblock.cli.doctor import recorded_machine
from pageblock.errors import InputError
from pageblock.machine import page_owner, read_machine
from pageblock.machine.capture import capture_machine, redacted
from pageblock.machine.page_owner import Owners, Record, attach_owners, parse_records, read_owners, split_by_owner
from pageblock.machine.snapshot_file import write_snapshot
from pageblock.mm.types import PageClass
from tests.machine.test_snapshot_file import assert_same

OF_4_19 = """\
Page allocated via order 0, mask 0x1112ca(GFP_HIGHUSER_MOVABLE|__GFP_NORETRY)
PFN 4100 type Movable Block 8 type Movable Flags 0x2ffff(lru|swapbacked)
 get_page_from_freelist+0x5b2/0xf60
 __alloc_pages_nodemask+0xd4/0x210
 shmem_alloc_page+0x43/0x70
 shmem_getpage_gfp+0x1f0/0x8a0
Page has been migrated, last migrate reason: compaction

"""
OF_5_10 = """\
Page allocated via order 3, mask 0xd20c0(__GFP_IO|__GFP_FS|__GFP_COMP), pid 812, ts 5234432 ns
PFN 8192 type Reclaimable Block 16 type Movable Flags 0xfffc00001(slab|head)
 set_page_owner+0x1a/0x40
 get_page_from_freelist+0x5b2/0xf60
 allocate_slab+0x2b0/0x4c0
 ___slab_alloc.constprop.0+0x40/0x70
 kmem_cache_alloc+0x2a/0x1e0
 ext4_alloc_inode+0x20/0x150 [ext4]
 alloc_inode+0x1f/0xa0

"""
OF_6_1 = """\
Page allocated via order 9, mask 0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO), pid 1, tgid 1 (a) (b, c), ts 12 ns, free_ts 9 ns
PFN 1024 type Unmovable Block 2 type Isolate Flags 0x17ffffc0000000(node=0|zone=2)
 post_alloc_hook+0x1a/0x40
 __alloc_pages+0x5b2/0xf60
 __kmalloc_large_node+0x6a/0xa0
 kvm_arch_create+0x2a/0x1e0 [kvm]
Charged (via objcg) to offline memcg session.slice

"""
OF_6_12 = """\
Page allocated via order 0, mask 0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), pid 77, tgid 70 (dd), ts 992 ns
PFN 0x1800 type Movable Block 12 type CMA Flags 0x17ffffc0000000(uptodate|lru|node=0)
 post_alloc_hook+0x1a/0x40
 __alloc_frozen_pages_noprof+0x5b2/0xf60
 alloc_pages_mpol+0x6a/0xa0
 folio_alloc_noprof+0x11/0x40
 __filemap_get_folio+0x2a/0x1e0
Page has been migrated, last migrate reason: longterm_pin
Charged to memcg user.slice

"""

#: Text -> what is read of it: pfn, order, type, block, command, function, migrated.
FORMATS = {
    OF_4_19: (4100, 0, "Movable", "Movable", None, "shmem_alloc_page", "compaction"),
    OF_5_10: (8192, 3, "Reclaimable", "Movable", None, "ext4_alloc_inode", None),
    OF_6_1: (1024, 9, "Unmovable", "Isolate", "a) (b, c", "kvm_arch_create", None),
    OF_6_12: (0x1800, 0, "Movable", "CMA", "dd", "__filemap_get_folio", "longterm_pin"),
}


def only(text: str) -> Record:
    (record,) = parse_records([text.encode()])
    assert record is not None
    return record


@pytest.mark.parametrize("text", FORMATS)
def test_the_formats_of_kernels(text: str) -> None:
    r = only(text)
    assert (r.pfn, r.order, r.type, r.block, r.comm, r.function, r.migrated) == FORMATS[text]


def test_what_else_a_record_says() -> None:
    r = only(OF_6_1)
    assert (r.mask, r.gfp, r.pid, r.owner) == (
        0x40DC0,
        "GFP_KERNEL|__GFP_COMP|__GFP_ZERO",
        1,
        "kvm_arch_create (a) (b, c)",
    )


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_pieces_may_end_anywhere(size: int) -> None:
    text = ("junk\n" + "".join(FORMATS)).encode()
    records = list(parse_records(text[i : i + size] for i in range(0, len(text), size)))
    assert [r and r.pfn for r in records] == [pfn for pfn, *_ in FORMATS.values()]


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("", "unknown"),
        (" post_alloc_hook+0x1/0x2\n __alloc_pages+0x1/0x2\n", "__alloc_pages"),
        (
            " [<ffffffff8116f3d2>] __alloc_pages_nodemask+0x1/0x2\n [<ffffffff8116f3d2>] pte_alloc_one+0x17/0x40\n",
            "pte_alloc_one",
        ),
        (" 0xffffffffc0123456\n foo.isra.0+0x1/0x2\n", "foo"),
    ],
)
def test_the_owner_is_the_first_function_that_is_not_the_allocators(text: str, function: str) -> None:
    assert page_owner.owning_function(text.encode()) == function


@pytest.mark.parametrize(
    "text",
    [
        "Page allocated via order 99, mask 0x1(X)\nPFN 0 type Movable Block 0 type Movable Flags 0x0()\n",
        "Page allocated via order 2, mask 0x1(X)\nPFN 6 type Movable Block 0 type Movable Flags 0x0()\n",
        "Page allocated via order 0, mask 0x1(X)\nPFN 0xffffffffffffff type Movable Block 0 type Movable Flags 0x0()\n",
        "Page allocated via order 0, mask 0x1(X)\nPFN",
        "Page allocated via order \nPage allocated via order 0\n",
    ],
)
def test_what_no_kernel_says_is_no_record(text: str) -> None:
    assert set(parse_records([text.encode()])) == {None}


def test_a_command_cannot_reach_the_terminal() -> None:
    assert only(OF_6_12.replace("(dd)", "(\x1b[31m\r\n)")).comm == "?[31m??"


def test_a_record_without_end_is_cut_off() -> None:
    began = time.perf_counter()
    pieces = [OF_6_12.encode()[:200], *[b" x" * 500_000] * 20, b"\n", OF_5_10.encode()]
    assert [r and r.pfn for r in parse_records(pieces)][-1] == 8192
    assert time.perf_counter() - began < 10


def test_neighbours_of_one_owner_are_one_stretch() -> None:
    def at(pfn: int, comm: str) -> str:
        return OF_6_12.replace("0x1800", hex(pfn)).replace("(dd)", f"({comm})")

    owners, (remark,) = read_owners(
        [(at(8, "a") + at(9, "a") + at(10, "b") + at(12, "b") + "Page allocated via order\n").encode()], "x"
    )
    name = "__filemap_get_folio"
    assert list(owners.stretches()) == [(8, 10, f"{name} (a)"), (10, 11, f"{name} (b)"), (12, 13, f"{name} (b)")]
    assert [owners.of(pfn) for pfn in (7, 9, 11, 12)] == [None, f"{name} (a)", None, f"{name} (b)"]
    assert "4 pages and blocks of pages, 4 of them migrated" in remark.text


def test_overlaps_and_disorder_are_put_right() -> None:
    later = OF_6_12.replace("0x1800", "0x410").replace("(dd)", "(x)")
    owners, _ = read_owners([(OF_5_10 + OF_6_1 + later).encode()], "x")
    assert list(owners.stretches()) == [
        (1024, 1040, "kvm_arch_create (a) (b, c)"),
        (1040, 1041, "__filemap_get_folio (x)"),
        (8192, 8200, "ext4_alloc_inode"),
    ]


def test_what_is_too_much_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_owner, "MOST_STRETCHES", 2)
    owners, (remark,) = read_owners(["".join(FORMATS).encode()], "x")
    assert len(owners.start) == 2
    assert "2 more are left out" in remark.text


def test_a_dump_without_a_record_is_one_line() -> None:
    with pytest.raises(InputError, match="no 'Page allocated via order' record") as caught:
        read_owners([b"nothing\n"], "page_owner")
    assert "\n" not in str(caught.value)


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    """The recorded machine with a dump of all its slab and kernel pages, as 6.12 would write it."""
    folder = tmp_path / "machine"
    folder.mkdir()
    for file in recorded_machine().iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    runs = read_machine(recorded_machine()).runs
    assert runs is not None
    records: list[str] = []
    for row in runs.to_pylist():
        if row["class"] in (PageClass.SLAB, PageClass.KERNEL):
            for pfn in range(row["start_pfn"], row["start_pfn"] + row["nr_pages"], 1 << row["order"]):
                comm = "even" if pfn >> 9 & 1 == 0 else "odd"
                what = "inode" if row["class"] == PageClass.SLAB else "stack"
                records.append(
                    f"Page allocated via order {row['order']}, mask 0xdc0(GFP_KERNEL), pid 9, tgid 9 ({comm}), ts 1 ns\n"
                    f"PFN {pfn:#x} type Unmovable Block {pfn >> 9} type Unmovable Flags 0x0()\n alloc_{what}+0x1/0x2\n\n"
                )
    (folder / "page_owner.zst").write_bytes(zstandard.compress("".join(records).encode()))
    return folder


def test_pages_in_use_have_their_owner(owned: Path) -> None:
    found = read_machine(owned)
    assert found.runs is not None
    assert found.owners is not None
    table, owner = split_by_owner(found.runs, found.owners)
    names = np.array([*found.owners.names, "none"])[owner]
    for row, name in zip(table.to_pylist(), names, strict=True):
        expected = {PageClass.SLAB: "alloc_inode", PageClass.KERNEL: "alloc_stack"}.get(row["class"])
        assert name.startswith(expected or "none"), row
        if expected:
            assert name.endswith("(even)" if row["start_pfn"] >> 9 & 1 == 0 else "(odd)")


def test_a_capture_keeps_owners(owned: Path, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "a.parquet", capture_machine(owned))
    assert_same(read_machine(tmp_path / "a.parquet"), read_machine(owned))


def test_redacting_leaves_out_commands_and_keeps_functions(owned: Path, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "a.parquet", redacted(capture_machine(owned)))
    owners = read_machine(tmp_path / "a.parquet").owners
    assert owners is not None
    assert set(owners.names) == {"alloc_inode", "alloc_stack"}
    assert b"(even)" not in (tmp_path / "a.parquet").read_bytes()


def test_owners_do_not_cut_a_compound_page() -> None:
    snapshot = read_machine(recorded_machine())
    assert snapshot.runs is not None
    row = next(r for r in snapshot.runs.to_pylist() if r["class"] == PageClass.SLAB and r["order"] == 3)
    start = row["start_pfn"]
    odd = Owners(np.array([start + 3]), np.array([start + 8]), np.array([0]), ("x",))
    assert len(attach_owners(snapshot.runs, odd).start) == 0
    whole = replace(odd, start=np.array([start]))
    assert list(attach_owners(snapshot.runs, whole).stretches()) == [(start, start + 8, "x")]


def test_an_unusable_dump_in_a_folder_is_one_line(owned: Path) -> None:
    (owned / "page_owner.zst").write_bytes(zstandard.compress(b"nothing"))
    with pytest.raises(InputError, match=r"page_owner\.zst: no 'Page allocated via order' record"):
        read_machine(owned)
