"""Logs of our own, whole: what is one failure, what belongs to it, how often it happened, and what is said."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from pageblock.doctor.causes import Certainty, PageState
from pageblock.doctor.explain import Explained, explain_log
from pageblock.machine.kernel_log import parse_log
from pageblock.machine.log_text import read_log, split_line
from tests.logs import bitmap, busy, cma_failed, free_list, page, zone


def explain(lines: Iterable[str], step: float = 0.001) -> list[Explained]:
    """The findings of messages that follow each other by ``step`` seconds."""
    stamped = (split_line(f"[{100 + i * step:12.6f}] {text}", i) for i, text in enumerate(lines, 1))
    return explain_log(parse_log(stamped), "log").explained


def one(lines: Iterable[str], step: float = 0.001) -> Explained:
    found = explain(lines, step)
    assert len(found) == 1
    return found[0]


def names(explained: Explained, certainty: Certainty) -> list[str]:
    return [finding.cause.name for finding in explained.with_certainty(certainty)]


def test_repeated_failures_are_one_finding() -> None:
    found = one([cma_failed(77, -16)] * 40, step=0.1)
    assert (found.times, found.line, found.last_line) == (40, 1, 40)
    assert found.seconds == pytest.approx(3.9)


def test_requests_of_another_size_are_another_finding_where_the_area_is_known() -> None:
    lines = ["cma: Reserved 16 MiB at 0x3c000000", cma_failed(77, -16), cma_failed(78, -16)]
    assert [found.evidence.pages for found in explain(lines)] == [77, 78]


def test_the_walk_before_a_failure_belongs_to_it() -> None:
    found = one([*(busy(0x1000 + 256 * i, 0x104D + 256 * i) for i in range(6)), cma_failed(77, -16)])
    assert (found.kind, found.evidence.step) == ("cma failure", "test")
    assert (found.evidence.repeats.tries, found.evidence.repeats.separate) == (6, 6)
    assert "racing isolation" in names(found, Certainty.RULED_OUT)


def test_the_driver_that_got_no_buffer_is_named() -> None:
    found = one([cma_failed(77, -12), "isp 0.camera: failed to allocate buffer with size 315392"])
    assert found.notes[0] == "so isp 0.camera got no buffer of 315,392 bytes"


def test_isolated_memory_speaks_for_a_race() -> None:
    lines = [
        cma_failed(90, -16),
        bitmap([(4000, 100), (900, 5000)], 16384),
        zone("Normal", 100_000, 5_000, 6_000, cma=900, node=None),
        free_list("Normal", [(100, "UMC"), (50, "UMI"), (20, "MI")] + [(1, "M")] * 9 + [(12, "MI")], node=None),
    ]
    found = one(lines)
    listed = (100 + 50 * 2 + 20 * 4 + sum(1 << o for o in range(3, 12)) + 12 * 4096) * 4
    assert found.evidence.isolated_kb == listed - 100_000
    assert found.best[0].cause.name == "racing isolation"
    assert found.best[0].judgement.certainty is Certainty.LIKELY
    assert found.evidence.window == 4096


def test_memory_that_is_not_isolated_does_not() -> None:
    lines = [cma_failed(90, -16), zone("Normal", 100, 10, 20), free_list("Normal", [(100, "UM")])]
    assert one(lines).evidence.isolated_kb is None


def test_no_room_in_the_bitmap() -> None:
    found = one([cma_failed(300, -12), bitmap([(256, 0), (256, 512)], 1024)])
    assert names(found, Certainty.CERTAIN) == ["bitmap fragmentation"]
    assert names(found, Certainty.RULED_OUT) == ["no target"]


def test_room_in_the_bitmap_leaves_the_target() -> None:
    found = one([cma_failed(30, -12), bitmap([(256, 0), (256, 512)], 1024)])
    assert found.best[0].cause.name == "no target"
    assert names(found, Certainty.RULED_OUT) == ["bitmap fragmentation"]


def test_a_request_as_large_as_its_area() -> None:
    found = one([cma_failed(2048, -16), bitmap([(2048, 0)], 2048)])
    assert names(found, Certainty.CERTAIN) == ["zero slack"]


def test_a_request_above_the_area_that_boot_made() -> None:
    found = one(["cma: Reserved 16 MiB at 0x000000003c000000", cma_failed(5000, -12)])
    assert names(found, Certainty.CERTAIN) == ["larger than any"]
    assert found.evidence.area is not None
    assert found.evidence.area.pages == 4096


def test_places_that_overlap_and_places_that_do_not() -> None:
    together = one([busy(0x1000, 0x3000 + 4 * i) for i in range(6)])
    apart = one([busy(0x1000 + 0x100 * i, 0x1080 + 0x100 * i) for i in range(6)])
    assert (together.evidence.repeats.separate, apart.evidence.repeats.separate) == (1, 6)
    assert "long-term pin" in [finding.cause.name for finding in together.best]
    assert "caller's gfp" in [finding.cause.name for finding in apart.best]


def test_a_place_that_stays_busy_for_long_is_pinned() -> None:
    found = one([busy(0x8000, 0x8400)] * 30, step=1.0)
    assert [finding.cause.name for finding in found.best] == ["long-term pin"]
    assert "short-term reference" in names(found, Certainty.RULED_OUT)


def test_a_page_that_offlining_could_not_move() -> None:
    dump = page(
        0x5F00,
        "uptodate|lru|private",
        "migration failure",
        refcount=3,
        mapping=True,
        more=["aops:def_blk_aops ino:800001"],
    )
    found = one(["migrating pfn 5f00 failed ret:1", *dump, "memory memory9: Offline failed."])
    assert names(found, Certainty.CERTAIN) == ["buffers"]
    assert found.notes == ["then offlining memory9 failed"]


def test_the_same_page_for_long_is_held() -> None:
    dump = page(0x5F00, "uptodate|lru|swapbacked", "migration failure", refcount=4, mapcount=2, kind="anon ")
    found = one(["migrating pfn 5f00 failed ret:1", *dump] * 8, step=1.0)
    assert found.times == 8
    assert found.evidence.repeats.same_page
    assert [finding.cause.name for finding in found.best] == ["long-term pin"]


def test_a_gigantic_page_without_a_target() -> None:
    dump = page(
        0x40000,
        "head",
        "migration failure",
        kind="anon ",
        more=["head: order:18 mapcount:1 entire_mapcount:1 pincount:0", "page_type: f4(hugetlb)"],
    )
    found = one(["migrating pfn 40000 failed ret:-12", *dump])
    assert set(names(found, Certainty.CERTAIN)) == {"gigantic page", "no target"}


def test_a_reserved_page_and_the_crash_kernel() -> None:
    found = one(["40000000-4fffffff : Crash kernel", *page(0x40000, "reserved", "unmovable page")])
    assert names(found, Certainty.CERTAIN) == ["reserved"]
    assert any("Crash kernel" in text for text in found.best[0].judgement.speaks_for)


def test_dumps_for_other_reasons_are_not_told() -> None:
    assert explain(page(0x40, "slab", "VM_BUG_ON_PAGE(PagePoisoned(p))")) == []


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("signal backoff", "interrupted"),
        ("notifier failure", "notifier"),
        ("memory holes", "zone boundary"),
        ("multizone range", "zone boundary"),
    ],
)
def test_offlining_by_the_kernels_own_word(reason: str, name: str) -> None:
    found = one([f"memory offlining [mem 0x140000000-0x147ffffff] failed due to {reason}"])
    assert names(found, Certainty.CERTAIN) == [name]


def test_offlining_without_a_page_says_that_it_is_not_known() -> None:
    found = one(["memory offlining [mem 0x140000000-0x147ffffff] failed due to unmovable page"])
    assert found.best == []


def test_free_memory_in_cma_only() -> None:
    lines = [
        "worker: page allocation failure: order:2, mode:0x40820(GFP_ATOMIC|__GFP_COMP), nodemask=(null)",
        zone("Normal", 200_000, 5_000, 6_000, cma=190_000),
        free_list("Normal", [(2000, "UM"), (250, "UM"), (300, "C"), (400, "C")]),
    ]
    assert one(lines).best[0].cause.name == "allocation's gfp"


def test_an_old_mode_without_names() -> None:
    assert one(["worker: page allocation failure: order:1, mode:0x20"]).evidence.gfp == {"GFP_ATOMIC"}
    assert one(["worker: page allocation failure: order:1, mode:0xd0"]).evidence.gfp == {"__GFP_WAIT"}


def test_a_memmap_that_found_no_block() -> None:
    lines = [
        "kworker/1:1: vmemmap alloc failure: order:9, mode:0x4cc0(GFP_KERNEL|__GFP_RETRY_MAYFAIL), nodemask=(null)"
    ]
    assert "added all the same" in one(lines).notes[0]
    both = explain([*lines, "virtio_mem virtio3: adding memory failed: -12"])
    assert "was not added" in both[0].notes[0]


def test_fragmentation_tables_are_one_finding() -> None:
    lines = [
        "extfrag_index:Node 0, zone Normal -1.000 -1.000 0.812",
        "unusable_index:Node 0, zone Normal 0.000 0.700 1.000",
    ]
    found = one(lines)
    assert found.best[0].cause.name == "fragmentation"
    assert found.notes == [
        "node 0 Normal: fails from order 2 on, index 0.812",
        "node 0 Normal: 70% of the free memory is useless for order 1, 100% for the largest",
    ]


def test_huge_pages_at_boot_and_later() -> None:
    text = "HugeTLB: allocating 9 of page size 1.00 GiB failed.  Only allocated 2 hugepages."
    early = explain_log(parse_log([split_line(f"[    0.100000] {text}", 1)]), "log").explained[0]
    assert (early.evidence.step, one([text]).evidence.step) == ("reserve", "allocate")


def test_context_is_no_failure() -> None:
    report = explain_log(
        parse_log(split_line(text, i) for i, text in enumerate(["Offlined Pages 512", "Offlined Pages 512"], 1)), "log"
    )
    assert report.explained == []
    assert report.context == ["2 times memory went offline, 1,024 pages in all"]


@pytest.mark.parametrize(("kernel", "offlined"), [("6.1.192", 4), ("6.12.117", 4)])
def test_what_a_guest_of_our_own_wrote(kernel: str, offlined: int) -> None:
    """dmesg of Debian's kernels in QEMU (1 GiB, hugepagesz=1G hugepages=4 movablecore=256M, dynamic debug of
    mm/memory_hotplug.c): each memory block was told to go offline and interrupted after a second, then SysRq m and f.
    """
    path = Path(__file__).parents[1] / "machine" / "dmesg" / f"{kernel}.txt.zst"
    report = explain_log(parse_log(read_log(str(path))), kernel)
    assert (report.facts.kernel_from, report.facts.page_size, report.facts.max_order) == ("banner", 4096, 10)
    found = {
        (explained.kind, explained.best[0].cause.name if explained.best else None) for explained in report.explained
    }
    assert {
        ("too few huge pages", "no free range"),
        ("page dump", "reserved"),
        ("offlining failed", "zone boundary"),
        ("memory state", None),
        ("allocation failure", None),
    } <= found
    assert report.context == [f"{offlined} times memory went offline, {offlined * 32768:,} pages in all"]
    refused = next(explained for explained in report.explained if explained.kind == "page dump")
    assert refused.notes == [
        f"then offlining [mem {_block_of(refused.evidence.page)}] failed: failure to isolate range"
    ]
    assert "by hand" in report.explained[-1].what


def _block_of(page: PageState | None) -> str:
    """The memory block (128 MiB) in which a page lies, as the kernel names its bytes."""
    assert page is not None
    assert page.pfn is not None
    start = page.pfn * 4096 // (128 << 20) * (128 << 20)
    return f"{start:#x}-{start + (128 << 20) - 1:#x}"


def test_a_page_outside_the_range_does_not_belong_to_its_failure() -> None:
    dump = page(0x5F00, "reserved", "unmovable page")
    found = explain([*dump, "memory offlining [mem 0x140000000-0x147ffffff] failed due to failure to isolate range"])
    assert [(f.kind, f.notes) for f in found] == [("page dump", []), ("offlining failed", [])]


def test_more_huge_pages_than_memory() -> None:
    lines = [
        "Memory: 367328K/1048056K available (14336K kernel code, 3000K rwdata)",
        "HugeTLB: allocating 4 of page size 1.00 GiB failed.  Only allocated 0 hugepages.",
    ]
    assert names(one(lines), Certainty.CERTAIN) == ["no free range"]


def test_sizes_are_one_finding_where_only_the_errno_is_known() -> None:
    found = one([cma_failed(4, -12), cma_failed(8, -12), cma_failed(2, -12)])
    assert (found.times, found.evidence.pages) == (3, 2)
    assert found.what == "cma_alloc linux,cma: 2 to 8 pages refused, ret -12 (no memory)"


def test_a_driver_that_complains_first_belongs_to_the_failure() -> None:
    found = one(["vdec 0: dma alloc of size 315392 failed", cma_failed(77, -12)])
    assert found.notes[0] == "so vdec 0 got no buffer of 315,392 bytes"


def test_no_room_is_busy_in_new_kernels() -> None:
    found = one([cma_failed(300, -16).replace("cma_alloc", "__cma_alloc"), "cma: => 40 free of 512 total pages"])
    assert names(found, Certainty.CERTAIN) == ["area used up"]
    assert [f.cause.name for f in found.findings] == ["area used up"]
