"""Messages into events: each wording, under each prefix, broken and whole."""

from collections.abc import Iterable
from typing import TypeVar

import pytest

from pageblock.machine.kernel_log import parse_log
from pageblock.machine.log_events import (
    AllocationFailure,
    AreaRefused,
    Bitmap,
    BusyWalk,
    CmaFailure,
    DmaFailure,
    Event,
    FragTable,
    HugetlbInflated,
    HugetlbShort,
    HwPoison,
    KernelLog,
    MemInfoBlock,
    MigrationFailure,
    Offlined,
    OfflineFailure,
    PageDump,
    PageDumped,
    StillInUse,
    VirtioMemFailure,
)
from pageblock.machine.log_text import split_line
from tests.logs import PAGE_FORMS, PREFIXES, bitmap, busy, cma_failed, free_list, mail, page, zone

E = TypeVar("E", bound=Event)


def parse(lines: Iterable[str], prefix: str = "dmesg") -> KernelLog:
    """A log of these messages, a millisecond apart."""
    return parse_log(split_line(PREFIXES[prefix](text, i), i) for i, text in enumerate(lines, 1))


def parse_text(text: str) -> KernelLog:
    return parse_log(split_line(line, i) for i, line in enumerate(text.split("\n"), 1) if line.strip())


def only(log: KernelLog, kind: type[E]) -> E:
    """The log's one event, which is of this kind."""
    assert [type(event) for event in log.events] == [kind]
    event = log.events[0]
    assert isinstance(event, kind)
    return event


STORY = [
    cma_failed(77, -16),
    bitmap([(300, 10), (500, 1000)], 4096),
    *(busy(0x40000 + 256 * i, 0x4004D + 256 * i) for i in range(6)),
    "migrating pfn 51a00 failed ret:3",
    *page(
        0x51A00, "uptodate|lru|private", "migration failure", refcount=4, mapping=True, more=["aops:ext4_da_aops ino:7"]
    ),
    "HugeTLB: allocating 9 of page size 1.00 GiB failed.  Only allocated 2 hugepages.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_story_reads_the_same_under_each_prefix(prefix: str) -> None:
    log = parse(STORY, prefix)
    assert [type(event) for event in log.events] == [CmaFailure, BusyWalk, MigrationFailure, HugetlbShort]
    first, walk, moved, short = log.events
    assert isinstance(first, CmaFailure)
    assert (first.area, first.pages, first.errno) == ("linux,cma", 77, 16)
    assert first.bitmap == Bitmap(((300, 10), (500, 1000)), 800, 4096)
    assert isinstance(walk, BusyWalk)
    assert (walk.tries, walk.step, walk.separate, walk.shortest) == (6, 256, 6, 77)
    assert isinstance(moved, MigrationFailure)
    assert moved.page is not None
    assert (moved.pfn, moved.ret, moved.page.refcount, moved.page.aops) == (0x51A00, 3, 4, "ext4_da_aops")
    assert moved.page.flags == frozenset(("uptodate", "lru", "private"))
    assert isinstance(short, HugetlbShort)
    assert (short.wanted, short.got, short.size) == (9, 2, 1 << 30)


@pytest.mark.parametrize("width", [40, 50, 60, 72])
def test_a_story_reads_the_same_wrapped_and_quoted(width: int) -> None:
    whole = parse(STORY).events
    lines = [PREFIXES["dmesg"](text, i) for i, text in enumerate(STORY, 1)]
    wrapped = parse_text("\n".join(mail(line, width) for line in lines)).events
    for event in [*whole, *wrapped]:
        event.line = 0
        if isinstance(event, BusyWalk):
            event.last_line = 0
    assert wrapped == whole


@pytest.mark.parametrize("form", PAGE_FORMS)
def test_page_dumps_of_each_kernel(form: str) -> None:
    dumped = only(
        parse(page(0x1234, "uptodate|lru", "unmovable page", form=form, refcount=3, mapcount=2, mapping=True)),
        PageDumped,
    )
    assert (dumped.page.refcount, dumped.page.mapcount, dumped.page.mapping) == (3, 2, True)
    assert dumped.page.flags == frozenset(("uptodate", "lru"))
    assert (dumped.page.node, dumped.page.zone, dumped.page.reason) == (0, 2, "unmovable page")
    assert dumped.page.pfn == (None if form in ("4.9", "5.4") else 0x1234)


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        (["head: order:9 mapcount:1 entire_mapcount:1 nr_pages_mapped:0 pincount:3"], "order", 9),
        (["head: order:9 mapcount:1 entire_mapcount:1 nr_pages_mapped:0 pincount:3"], "pincount", 3),
        (["head:00000000c0ffee00 order:9 compound_mapcount:1 compound_pincount:4"], "pincount", 4),
        (["page_type: f5(slab)"], "page_type", "slab"),
        (["page_type: 0xfffffdff(table)"], "page_type", "table"),
        (["page_type: 0xffffffff()"], "page_type", None),
        (["mapping->a_ops:zsmalloc_aops"], "aops", "zsmalloc_aops"),
        (['aops:shmem_aops ino:41 dentry name:"dev/zero"'], "dentry", "dev/zero"),
        (['aops:shmem_aops ino:41 dentry name(?):"dev/zero"'], "dentry", "dev/zero"),
        (["aops:def_blk_aops ino:800001"], "ino", "800001"),
        (["anon"], "anon", True),
    ],
)
def test_lines_of_a_page_dump(lines: list[str], field: str, value: object) -> None:
    dumped = only(parse(page(0x99, "uptodate", "unmovable page", more=lines)), PageDumped)
    assert getattr(dumped.page, field) == value


def test_cma_after_the_flags_names_the_pageblock() -> None:
    lines = page(0x99, "uptodate|lru", "unmovable page")
    lines[1] += " CMA"
    assert only(parse(lines), PageDumped).page.cma


def test_a_hashed_null_mapping_of_old_kernels_is_not_known() -> None:
    lines = page(0x99, "", "unmovable page", form="5.4")
    lines[0] = lines[0].replace("mapping:0000000000000000", "mapping:00000000c0ffee77")
    assert only(parse(lines), PageDumped).page.mapping is None


def test_page_owner() -> None:
    lines = [
        *page(0x99, "uptodate", "migration failure"),
        "page_owner tracks the page as allocated",
        "page last allocated via order 0, migratetype Movable, gfp_mask 0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), pid 7, "
        "tgid 7 (worker), ts 12, free_ts 3",
        " post_alloc_hook+0x10/0x20",
        " pin_user_pages_fast+0x10/0x20",
    ]
    owner = only(parse(lines), PageDumped).page.owner
    assert owner is not None
    assert (owner.order, owner.migratetype, owner.comm) == (0, "Movable", "worker")
    assert owner.gfp == {"GFP_HIGHUSER_MOVABLE", "__GFP_COMP"}
    assert owner.stack == ["post_alloc_hook", "pin_user_pages_fast"]


def test_an_uninitialised_page() -> None:
    dumped = only(
        parse(["page:00000000c0ffee01 is uninitialized and poisoned", "page dumped because: x y"]), PageDumped
    )
    assert dumped.page == PageDump(poisoned=True, reason="x y")


def test_a_request_that_walks_is_one_event_and_the_next_request_another() -> None:
    walk = [busy(0x1000 + 64 * i, 0x1040 + 64 * i) for i in range(4)]
    log = parse([*walk, *walk])
    tries = [event.tries for event in log.events if isinstance(event, BusyWalk)]
    assert tries == [4, 4]


def test_one_place_tried_again_and_again() -> None:
    walk = only(parse([busy(0x8000, 0x8400)] * 5), BusyWalk)
    assert (walk.tries, walk.step, walk.separate) == (5, 0, 1)


def test_tries_that_overlap_need_one_page_only() -> None:
    walk = only(parse([busy(0x1000, 0x5000 + 4 * i) for i in range(9)]), BusyWalk)
    assert (walk.tries, walk.separate, walk.step) == (9, 1, 4)


def test_a_pause_ends_a_walk() -> None:
    log = parse_text(f"[  1.000000] {busy(0x1000, 0x1040)}\n[  9.000000] {busy(0x1040, 0x1080)}")
    assert [event.tries for event in log.events if isinstance(event, BusyWalk)] == [1, 1]


def test_the_3_x_wording() -> None:
    walk = only(parse(["alloc_contig_range test_pages_isolated(9000, 9020) failed"]), BusyWalk)
    assert walk.first == (0x9000, 0x9020)


@pytest.mark.parametrize(
    ("area", "text"),
    [
        (None, cma_failed(9, -12, None)),
        ("reserved", cma_failed(9, -12, "reserved")),
        ("a@1", cma_failed(9, -12, "a@1")),
    ],
)
def test_areas_with_and_without_a_name(area: str | None, text: str) -> None:
    failure = only(parse([text]), CmaFailure)
    assert (failure.area, failure.pages, failure.errno) == (area, 9, 12)


def test_a_bitmap_that_lost_pieces_keeps_its_sums() -> None:
    torn = bitmap([(300, 10), (500, 1000)], 4096).replace("300@10+", "")
    assert only(parse([cma_failed(77, -12), torn]), CmaFailure).bitmap == Bitmap((), 800, 4096)


def test_a_bitmap_printed_in_pieces() -> None:
    text = bitmap([(300, 10), (500, 1000), (9, 3000)], 4096)
    at = text.index("+500")
    log = parse([cma_failed(77, -12), text[: at + 1], text[at + 1 :]])
    assert only(log, CmaFailure).bitmap == Bitmap(((300, 10), (500, 1000), (9, 3000)), 809, 4096)


@pytest.mark.parametrize(
    ("runs", "total", "order"),
    [
        ([(8, 0), (8, 20)], 64, 0),
        ([(16, 2), (4, 11)], 64, 1),
        ([(16, 0), (32, 8)], 64, 2),
        ([(8, 0), (7, 1)], 64, None),
    ],
)
def test_pages_of_a_bit_follow_from_the_runs(runs: list[tuple[int, int]], total: int, order: int | None) -> None:
    assert Bitmap(tuple(runs), sum(p for p, _ in runs), total).order_per_bit == order


def test_places_count_whole_alignments() -> None:
    runs = Bitmap(((20, 6), (7, 40)), 27, 64)
    assert [runs.fits(8, align) for align in (0, 2, 3, 4)] == [13, 3, 2, 1]
    assert runs.fits(21, 0) == 0


@pytest.mark.parametrize(
    ("text", "start", "reason", "block"),
    [
        (
            "memory offlining [mem 0x0000000140000000-0x0000000147ffffff] failed due to notifier failure",
            0x140000000,
            "notifier failure",
            None,
        ),
        ("memory offlining [mem 0x140000000-0x147ffffff] failed", 0x140000000, None, None),
        ("memory offlining 0x140000000 to 0x147ffffff failed", 0x140000000, None, None),
        ("memory memory40: Offline failed.", None, None, "memory40"),
    ],
)
def test_offlining(text: str, start: int | None, reason: str | None, block: str | None) -> None:
    failure = only(parse([text]), OfflineFailure)
    assert (failure.start, failure.reason, failure.block) == (start, reason, block)


def test_offlined_pages() -> None:
    assert only(parse(["Offlined Pages 32768"]), Offlined).pages == 32768


@pytest.mark.parametrize("text", ["failed to isolate pfn 5f00", "removing pfn 5f00 from LRU failed"])
def test_pages_that_could_not_be_isolated(text: str) -> None:
    failure = only(parse([text]), MigrationFailure)
    assert (failure.pfn, failure.ret) == (0x5F00, None)


def test_an_allocation_failure_with_its_memory() -> None:
    lines = [
        "worker/3: page allocation failure: order:5, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO), nodemask=(null),cpuset=/",
        "CPU: 1 PID: 44 Comm: worker/3 Not tainted 6.1.0-9-amd64 #1",
        "Mem-Info:",
        zone("DMA32", 9000, 800, 1000),
        "lowmem_reserve[]: 0 0 7000",
        zone("Normal", 40000, 5000, 6000, cma=64),
        free_list("DMA32", [(5, "UME"), (0, ""), (3, "M")]),
        free_list("Normal", [(7, "U"), (2, "UMC")]),
    ]
    log = parse(lines)
    failure = only(log, AllocationFailure)
    assert (failure.comm, failure.what, failure.order, failure.mode) == ("worker/3", "page allocation", 5, 0x40DC0)
    assert failure.gfp == {"GFP_KERNEL", "__GFP_COMP", "__GFP_ZERO"}
    assert failure.mem is not None
    assert [(z.node, z.name, z.kb["free"], z.kb["min"]) for z in failure.mem.zones] == [
        (0, "DMA32", 9000, 800),
        (0, "Normal", 40000, 5000),
    ]
    assert failure.mem.zones[1].blocks == [(7, "U"), (2, "UMC")]
    assert (log.facts.page_size, log.facts.max_order, log.facts.kernel) == (4096, 2, "6.1.0-9-amd64")


@pytest.mark.parametrize(
    ("text", "what", "order", "gfp"),
    [
        ("swapper/0: page allocation failure. order:2, mode:0x20", "page allocation", 2, set()),
        (
            "sh: page allocation stalls for 10012ms, order:1, mode:0x24000c0(GFP_KERNEL)",
            "page allocation",
            1,
            {"GFP_KERNEL"},
        ),
        (
            "kworker/0:2: vmemmap alloc failure: order:9, mode:0x4cc0(GFP_KERNEL|__GFP_RETRY_MAYFAIL), nodemask=(null)",
            "vmemmap alloc",
            9,
            {"GFP_KERNEL", "__GFP_RETRY_MAYFAIL"},
        ),
        (
            "sh invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0",
            "oom",
            0,
            {"GFP_HIGHUSER_MOVABLE", "__GFP_COMP"},
        ),
        ("sh invoked oom-killer: gfp_mask=0x26040d0, order=2, oom_score_adj=0", "oom", 2, set()),
    ],
)
def test_wordings_of_failed_allocations(text: str, what: str, order: int, gfp: set[str]) -> None:
    failure = only(parse([text]), AllocationFailure)
    assert (failure.what, failure.order, set(failure.gfp)) == (what, order, gfp)


def test_a_block_of_memory_alone_and_the_next_one() -> None:
    lines = [zone("Normal", 100, 10, 20), free_list("Normal", [(1, "U")])]
    log = parse([*lines, *lines])
    assert [type(event) for event in log.events] == [MemInfoBlock, MemInfoBlock]


def test_free_lists_of_64_kib_pages() -> None:
    assert parse([free_list("Normal", [(1, "U"), (2, "M")], page_kb=64)]).facts.page_size == 65536


def test_free_lists_that_run_into_each_other_are_left_out() -> None:
    assert parse(["Node 0 Normal: 5*4kB (UM) 3*4kB (U) 1*16kB = 9kB"]).events == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("HugeTLB page can not be used due to unexpected inflated ref count", HugetlbInflated),
        ("HugeTLB unexpected inflated folio ref count", HugetlbInflated),
        ("WARNING: free_contig_range: 12 pages are still in use!", StillInUse),
        ("12 pages are still in use!", StillInUse),
        ("Memory failure: 0x5f00: recovery action for dirty LRU page: Recovered", HwPoison),
        ("soft offline: 0x5f00: page already poisoned", HwPoison),
        ("virtio_mem virtio3: adding memory failed: -12", VirtioMemFailure),
        ("virtio_mem virtio3: memory block onlining denied", VirtioMemFailure),
        ("virtio_mem virtio3: unknown error, marking device broken: -5", VirtioMemFailure),
        ("vc4-drm soc:gpu: failed to allocate buffer with size 786432", DmaFailure),
        ("dma-proxy 0: swiotlb: coherent allocation failed, size=786432", DmaFailure),
        ("fpga buf@3: dma_alloc_coherent() failed", DmaFailure),
        ("csi 0: dma_alloc_coherent of size 786432 failed", DmaFailure),
        ("csi 0: dma alloc of size 786432 failed", DmaFailure),
        ("cma: Failed to reserve 192 MiB on node 0", AreaRefused),
        ("Reserved memory: incorrect alignment of CMA region", AreaRefused),
        ("cma: Not enough slots for CMA reserved regions!", AreaRefused),
        ("cma: CMA area camera could not be activated", AreaRefused),
        ("OF: reserved mem: failed to allocate memory for node 'linux,cma': size 96 MiB", AreaRefused),
        (
            "cma: Size (0x0000000010000000) of region at 0x00000000f8000000 exceeds limit (0x0000000100000000)",
            AreaRefused,
        ),
    ],
)
def test_single_messages(text: str, kind: type[Event]) -> None:
    assert [type(event) for event in parse([text]).events] == [kind]


def test_virtio_mem_sizes_are_facts() -> None:
    log = parse(
        ["virtio_mem virtio3: subblock size: 0x200000", "virtio_mem virtio3: offlining and removing memory failed: -16"]
    )
    assert log.facts.virtio == {"virtio3": {"subblock size": 0x200000}}
    failure = only(log, VirtioMemFailure)
    assert (failure.device, failure.action, failure.errno) == ("virtio3", "offlining and removing memory", 16)


def test_huge_pages_of_a_node() -> None:
    short = only(
        parse(["HugeTLB: allocating 64 of page size 2.00 MiB failed node3.  Only allocated 9 hugepages."]), HugetlbShort
    )
    assert (short.wanted, short.got, short.size, short.node) == (64, 9, 2 << 20, 3)


def test_fragmentation_tables() -> None:
    table = only(
        parse(
            [
                "extfrag_index:Node 1, zone   Normal -1.000 -1.000  0.812",
                "extfrag_index:Node 1, zone  Movable -1.000  0.500  0.600",
            ],
            "bare",
        ),
        FragTable,
    )
    assert table.rows == [(1, "Normal", (-1.0, -1.0, 0.812)), (1, "Movable", (-1.0, 0.5, 0.6))]


@pytest.mark.parametrize(
    ("text", "kernel"),
    [
        ("Linux version 6.6.9-arch1-1 (build@host)", "6.6.9-arch1-1"),
        ("CPU: 3 PID: 3722 Comm: insmod Tainted: G           O      4.19.0-x #1", "4.19.0-x"),
        ("CPU: 0 PID: 9 Comm: a b Not tainted 5.4.1 #1", "5.4.1"),
        ("this is on Linux 5.10.63-v8+, a board", "5.10.63-v8+"),
        ("seen with 4.10-rc3 here", "4.10-rc3"),
        ("version 3 of the firmware", None),
    ],
)
def test_the_kernel_is_found(text: str, kernel: str | None) -> None:
    assert parse([text]).facts.kernel == kernel


def test_the_banner_wins() -> None:
    assert (
        parse(
            ["Linux 5.4.1, they say", "Linux version 6.1.2 (x)", "CPU: 0 PID: 9 Comm: a Not tainted 5.4.1 #1"]
        ).facts.kernel
        == "6.1.2"
    )


def test_areas_of_the_boot() -> None:
    log = parse(
        [
            "Reserved memory: created CMA memory pool at 0x0000000030000000, size 96 MiB",
            "OF: reserved mem: initialized node camera@30000000, compatible id shared-dma-pool",
            "cma: Reserved 64 MiB at 0x000000003c000000 on node -1",
        ]
    )
    assert log.facts.areas == [("camera@30000000", 0x30000000, 96 << 20), (None, 0x3C000000, 64 << 20)]


def test_ordinary_lines_are_no_events() -> None:
    assert (
        parse(
            ["usb 1-1: new device", "EXT4-fs (sda1): mounted", "cma: Reserved 64 MiB at 0x3c000000", "order: 3 coffees"]
        ).events
        == []
    )


def test_the_bitmap_of_several_ranges() -> None:
    lines = [
        cma_failed(300, -16).replace("cma_alloc", "__cma_alloc"),
        "cma: number of available pages: ",
        "cma: range 0: 200@100+250@4000",
        "cma: ",
        "cma: range 1: 300@0",
        "cma: ",
        "=> 750 free of 32768 total pages",
    ]
    failure = only(parse(lines), CmaFailure)
    assert failure.since == (6, 15)
    assert failure.bitmap is not None
    assert [pages for pages, _ in failure.bitmap.runs] == [200, 250, 300]
    assert (failure.bitmap.free, failure.bitmap.total, failure.bitmap.largest) == (750, 32768, 300)
    assert failure.bitmap.fits(200, 0) == 1 + 51 + 101


@pytest.mark.parametrize(
    "text", ["cma: => 40 free of 512 total pages", "cma: number of available pages: => 40 free of 512 total pages"]
)
def test_a_bitmap_of_which_only_the_sums_are_left(text: str) -> None:
    failure = only(parse([cma_failed(300, -16).replace("cma_alloc", "__cma_alloc"), text]), CmaFailure)
    assert (failure.since, failure.bitmap) == ((6, 12), Bitmap((), 40, 512))


def test_messages_that_the_kernel_left_out() -> None:
    log = parse(["cma_alloc: 29 callbacks suppressed", cma_failed(300, -16)])
    assert log.suppressed == 29


def test_a_failure_without_the_process() -> None:
    failure = only(
        parse(["vmemmap alloc failure: order:9, mode:0x4cc0(GFP_KERNEL), nodemask=(null)"]), AllocationFailure
    )
    assert (failure.comm, failure.what) == ("", "vmemmap alloc")
