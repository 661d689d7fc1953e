"""Parsers of /proc text: old and new layouts are read, what cannot be read is said in one line."""

import pytest

from pageblock.errors import InputError
from pageblock.machine import procfs
from pageblock.mm.types import Migratetype

PAGETYPEINFO_61 = """\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2
Node    0, zone   Normal, type    Unmovable      1      2      3
Node    0, zone   Normal, type      Movable >100000      0     45
Node    0, zone   Normal, type  Reclaimable      0     10      1
Node    0, zone   Normal, type   HighAtomic      0      0      0
Node    0, zone   Normal, type      Isolate      0      0      0

Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate
Node 0, zone   Normal          199         1329            8            0            0
"""

PAGETYPEINFO_310 = """\
Page block order: 10
Pages per block:  1024

Free pages count per migrate type at order       0      1
Node    0, zone   Normal, type    Unmovable      1      0
Node    0, zone   Normal, type  Reclaimable      0      2
Node    0, zone   Normal, type      Movable      0      3
Node    0, zone   Normal, type          CMA      0      4
Node    0, zone   Normal, type      Reserve      0      5
Node    0, zone   Normal, type      Isolate      0      0

Number of blocks type     Unmovable  Reclaimable      Movable          CMA      Reserve      Isolate
Node 0, zone   Normal            5            2           34            2            1            0
"""

ZONEINFO_61 = """\
Node 0, zone   Normal
  per-node stats
      nr_inactive_anon 258222
                   537792
  pages free     413015
        boost    0
        min      8463
        low      10578
        high     12693
        spanned  786432
        present  786000
        managed  758467
        cma      512
        protection: (0, 7, 9)
      nr_free_pages 413015
      nr_free_cma  17
  pagesets
    cpu: 0
              count: 10179
              high:  10578
              batch: 63
  vm stats threshold: 12
    cpu: 1
              count:    21
              high:     22
              batch:    1
              high_min: 38
              high_max: 240
  node_unreclaimable:  0
  start_pfn:           1048576
Node 0, zone  Movable
  pages free     0
        min      0
        spanned  0
        present  0
        managed  0
        protection: (0, 0, 0)
"""

ZONEINFO_32 = """\
Node 0, zone      DMA
  pages free     3960
        min      32
        low      40
        high     48
        scanned  0
        spanned  4080
        present  3900
    nr_free_pages 3960
        protection: (0, 3237)
  pagesets
    cpu: 0
              count: 1
              high:  0
              batch: 1
  vm stats threshold: 8
  all_unreclaimable: 1
  start_pfn:         16
  inactive_ratio:    1
"""


def test_buddyinfo_gives_the_counts_of_every_order() -> None:
    (row,) = procfs.parse_buddyinfo("Node 0, zone   Normal   42  18  17 \n", "buddyinfo")
    assert row == procfs.BuddyRow(0, "Normal", (42, 18, 17))


@pytest.mark.parametrize(
    "text",
    ["Node 0, zone DMA 1 2 x\n", "garbage\n", "", "Node 0, zone A 1 2\nNode 0, zone B 1\n"],
)
def test_malformed_buddyinfo_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="buddyinfo"):
        procfs.parse_buddyinfo(text, "buddyinfo")


HUGE = "99999999999999999999999"


@pytest.mark.parametrize("bad", ["-1", HUGE, "1_000", "٣", "4503599627370497"])
def test_a_count_that_no_machine_has_is_refused_in_buddyinfo(bad: str) -> None:
    with pytest.raises(InputError, match="buddyinfo, line 2: "):
        procfs.parse_buddyinfo(f"Node 0, zone A 1 2\nNode 0, zone B 1 {bad}\n", "buddyinfo")


def test_a_refused_number_is_named_with_its_bounds() -> None:
    with pytest.raises(InputError, match="numbers from 0 to 4503599627370496, not -1, got"):
        procfs.parse_buddyinfo("Node 0, zone A -1\n", "buddyinfo")


def test_free_blocks_that_together_exceed_any_machine_are_refused() -> None:
    with pytest.raises(InputError, match=r"line 1: expected at most 4503599627370496 free pages, not 4503599627370498"):
        procfs.parse_buddyinfo("Node 0, zone A 0 2251799813685249\n", "buddyinfo")


@pytest.mark.parametrize("columns", [0, 28])
def test_more_orders_than_any_kernel_has_are_refused(columns: int) -> None:
    with pytest.raises(InputError, match="line 1"):
        procfs.parse_buddyinfo("Node 0, zone A " + " 0" * columns + "\n", "buddyinfo")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("Page block order: 9", "Page block order: -1"),
        ("Page block order: 9", "Page block order: 2000000000000"),
        ("Page block order: 9\nPages per block:  512\n", "Page block order: 27\n"),
        ("Pages per block:  512", "Pages per block:  500"),
        ("Pages per block:  512", f"Pages per block:  {HUGE}"),
        ("1329 ", "-5 "),
        ("1329 ", f"{HUGE} "),
        (">100000 ", ">-1 "),
        (">100000 ", ">>100000 "),
    ],
)
def test_a_number_that_no_machine_has_is_refused_in_pagetypeinfo(good: str, bad: str) -> None:
    with pytest.raises(InputError, match=r"pagetypeinfo, line \d+: "):
        procfs.parse_pagetypeinfo(PAGETYPEINFO_61.replace(good, bad), "pagetypeinfo")


def test_pages_per_block_alone_give_the_pageblock_order() -> None:
    info = procfs.parse_pagetypeinfo(PAGETYPEINFO_61.replace("Page block order: 9\n", ""), "pagetypeinfo")
    assert info.pageblock_order == 9


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("start_pfn:           1048576", f"start_pfn: {HUGE}"),
        ("start_pfn:           1048576", "start_pfn: -4096"),
        ("count: 10179", "count: -7"),
        ("present  786000", "present  -1"),
        ("spanned  786432", f"spanned  {HUGE}"),
        ("protection: (0, 7, 9)", "protection: (0, -7, 9)"),
        ("nr_free_cma  17", "nr_free_cma  -17"),
        ("pages free     413015", "pages free     -1"),
    ],
)
def test_a_number_that_no_machine_has_is_refused_in_zoneinfo(good: str, bad: str) -> None:
    with pytest.raises(InputError, match=r"zoneinfo, line \d+: "):
        procfs.parse_zoneinfo(ZONEINFO_61.replace(good, bad), "zoneinfo")


def test_a_counter_below_zero_that_the_kernel_printed_unsigned_counts_as_zero() -> None:
    assert procfs.parse_vmstat("nr_zspages 18446744073709551615\n", "vmstat") == {"nr_zspages": 0}


@pytest.mark.parametrize("text", ["MemTotal: -1 kB\n", f"MemTotal: {HUGE} kB\n"])
def test_a_number_that_no_machine_has_is_refused_in_meminfo(text: str) -> None:
    with pytest.raises(InputError, match="meminfo, line 1: "):
        procfs.parse_meminfo(text, "meminfo")


def test_an_address_of_more_than_64_bits_is_refused_in_iomem() -> None:
    with pytest.raises(InputError, match="iomem, line 1: "):
        procfs.parse_iomem(f"0-{'f' * 17} : System RAM\n", "iomem")


def test_an_error_names_file_line_text_and_remedy() -> None:
    with pytest.raises(InputError) as caught:
        procfs.parse_buddyinfo("Node 0, zone A 1 2\nNode 0, zone B 1 ?\n", "dump/buddyinfo.zst")
    message = str(caught.value)
    assert message.startswith("dump/buddyinfo.zst, line 2: ")
    assert "'Node 0, zone B 1 ?'" in message
    assert message.endswith("record the file again (cat /proc/buddyinfo)")


def test_pagetypeinfo_keeps_a_capped_cell_as_a_lower_bound() -> None:
    info = procfs.parse_pagetypeinfo(PAGETYPEINFO_61, "pagetypeinfo")
    row = info.free[0, "Normal"][Migratetype.MOVABLE]
    assert row.counts == (100000, 0, 45)
    assert row.capped == (True, False, False)


def test_pagetypeinfo_reads_columns_by_name() -> None:
    info = procfs.parse_pagetypeinfo(PAGETYPEINFO_310, "pagetypeinfo")
    assert info.blocks[0, "Normal"] == {
        Migratetype.UNMOVABLE: 5,
        Migratetype.RECLAIMABLE: 2,
        Migratetype.MOVABLE: 34,
        Migratetype.CMA: 2,
        Migratetype.HIGHATOMIC: 1,
        Migratetype.ISOLATE: 0,
    }
    assert info.has_reserve


def test_pagetypeinfo_gives_the_geometry() -> None:
    info = procfs.parse_pagetypeinfo(PAGETYPEINFO_310, "pagetypeinfo")
    assert (info.pageblock_order, info.pages_per_block) == (10, 1024)


def test_pagetypeinfo_with_contradicting_geometry_is_refused() -> None:
    text = PAGETYPEINFO_61.replace("512", "1024")
    with pytest.raises(InputError, match="contradict"):
        procfs.parse_pagetypeinfo(text, "pagetypeinfo")


def test_pagetypeinfo_with_an_unknown_type_is_refused() -> None:
    with pytest.raises(InputError, match=r"line 5.*Strange"):
        procfs.parse_pagetypeinfo(PAGETYPEINFO_61.replace("Unmovable ", "Strange "), "p")


def test_zoneinfo_sums_the_per_cpu_lists() -> None:
    normal = procfs.parse_zoneinfo(ZONEINFO_61, "zoneinfo")[0]
    assert (normal.pcp_count, normal.pcp_high, normal.pcp_batch, normal.pcp_cpus) == (
        10200,
        10600,
        64,
        2,
    )


def test_zoneinfo_tells_the_watermarks_from_the_page_sets() -> None:
    normal = procfs.parse_zoneinfo(ZONEINFO_61, "zoneinfo")[0]
    assert (normal.wmark_min, normal.wmark_low, normal.wmark_high) == (8463, 10578, 12693)


def test_zoneinfo_keeps_the_zones_counters_and_not_the_nodes() -> None:
    normal = procfs.parse_zoneinfo(ZONEINFO_61, "zoneinfo")[0]
    assert normal.counters == {"nr_free_pages": 413015, "nr_free_cma": 17}
    assert normal.free_cma == 17


def test_zoneinfo_without_start_pfn_leaves_it_unknown() -> None:
    movable = procfs.parse_zoneinfo(ZONEINFO_61, "zoneinfo")[1]
    assert movable.start_pfn is None


def test_zoneinfo_of_3_2_has_no_managed_pages() -> None:
    (dma,) = procfs.parse_zoneinfo(ZONEINFO_32, "zoneinfo")
    assert (dma.start_pfn, dma.spanned, dma.present, dma.managed) == (16, 4080, 3900, None)
    assert dma.protection == (0, 3237)


@pytest.mark.parametrize(("good", "bad"), [("spanned  4080", "spanned  40x"), ("count: 1", "count:"), ("Node", "Nod")])
def test_malformed_zoneinfo_is_refused(good: str, bad: str) -> None:
    with pytest.raises(InputError, match="zoneinfo, line"):
        procfs.parse_zoneinfo(ZONEINFO_32.replace(good, bad), "zoneinfo")


def test_iomem_gives_byte_ranges_and_nesting() -> None:
    text = "00001000-0009fbff : System RAM\n  000a0000-000bffff : PCI Bus 0000:00\n"
    assert procfs.parse_iomem(text, "iomem") == (
        procfs.IomemEntry(0x1000, 0x9FC00, 0, "System RAM"),
        procfs.IomemEntry(0xA0000, 0xC0000, 1, "PCI Bus 0000:00"),
    )


def test_iomem_without_privileges_is_unknown() -> None:
    text = "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n"
    assert procfs.parse_iomem(text, "iomem") is None


def test_malformed_iomem_is_refused() -> None:
    with pytest.raises(InputError, match="iomem, line 1"):
        procfs.parse_iomem("System RAM\n", "iomem")


def test_meminfo_gives_kilobytes() -> None:
    text = "MemTotal:  252308 kB\nHugePages_Total:       0\n"
    assert procfs.parse_meminfo(text, "meminfo") == {"MemTotal": 252308, "HugePages_Total": 0}


def test_malformed_meminfo_is_refused() -> None:
    with pytest.raises(InputError, match="meminfo, line 1"):
        procfs.parse_meminfo("MemTotal: many kB\n", "meminfo")


def test_vmstat_gives_counters() -> None:
    assert procfs.parse_vmstat("nr_free_pages 5\n", "vmstat") == {"nr_free_pages": 5}


def test_malformed_vmstat_is_refused() -> None:
    with pytest.raises(InputError, match="vmstat, line 1"):
        procfs.parse_vmstat("nr_free_pages\n", "vmstat")


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            "Linux version 4.4.0-xilinx-00015-g51dd611 (auto@host) #2 SMP",
            "4.4.0-xilinx-00015-g51dd611",
        ),
        ("Linux box 6.1.0-18-amd64 #1 SMP Debian", "6.1.0-18-amd64"),
        ("FreeBSD", None),
    ],
)
def test_kernel_version(text: str, release: str | None) -> None:
    assert procfs.parse_kernel_version(text) == release
