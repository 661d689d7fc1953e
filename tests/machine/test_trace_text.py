"""Text of trace-cmd, perf and ftrace: each tool's way of printing, and what none prints."""

import json
import time
from typing import Any

import pytest

from pageblock.errors import InputError
from pageblock.machine.alloc_events import AllocationEvents
from pageblock.machine.trace_text import events_of_text
from tests.machine.alloc_data import TEXTS, unpacked

ALLOC = "mm_page_alloc: page=00000000deadbeef pfn=0x1f40 order=3 migratetype=1 gfp_flags=GFP_KERNEL|__GFP_COMP"


def read(*lines: str, **options: Any) -> AllocationEvents:
    return events_of_text(lines, "t.txt", **options)


def first(*lines: str) -> dict[str, Any]:
    row: dict[str, Any] = read(*lines).table.slice(0, 1).to_pylist()[0]
    return row


@pytest.mark.parametrize("tool", TEXTS)
def test_what_each_tool_really_printed_is_read_without_a_line_left(tool: str) -> None:
    raw = unpacked(TEXTS[tool]) if TEXTS[tool].suffix == ".zst" else TEXTS[tool].read_bytes()
    lines = raw.decode().splitlines()
    found = events_of_text(lines, "t.txt")
    assert found.origin.source == tool
    assert (found.origin.cpus, found.origin.lost, found.origin.unread) == (2, 0, 0)
    told = sum(not line.startswith("#") and "mm_" in line for line in lines)
    assert found.table.num_rows == told >= 100
    assert found.table["pfn"].null_count < found.table.num_rows
    assert found.table["pid"].null_count == 0


@pytest.mark.parametrize(
    ("before", "cpu", "pid", "time_ns"),
    [
        ("  sh-12    [003] ..... 12.000345: ", 3, 12, 12_000_345_000),
        ("  sh-12    [003] 12.000345: ", 3, 12, 12_000_345_000),
        ("  sh-12    [003] d..1. 12.000345: ", 3, 12, 12_000_345_000),
        ("  a-b c-12 (   7) [003] .... 12.000345: ", 3, 12, 12_000_345_000),
        ("  <idle>-0     (-----) [011] d.s. 12.000345: ", 11, 0, 12_000_345_000),
        ("kworker/0:1-mm_-44 [000] .N.2 0.000001: ", 0, 44, 1000),
        ("  ls 99 [001] 12.000345: kmem:", 1, 99, 12_000_345_000),
        ("  two words 99/100 [001] 12.000345678: 1 kmem:", 1, 100, 12_000_345_678),
        (":-1 [000] 12.000345: kmem:", 0, 1, 12_000_345_000),
        ("  sh-12 [000] 12.000345: (+295)   ", 0, 12, 12_000_345_000),
        ("  sh-12659     1..... 31555us+: ", 1, 12659, 31_555_000),
        ("  sh-12659    11d.h.. 31555us : ", 11, 12659, 31_555_000),
        ("apt-cach-18527   0..... 12697.397769: ", 0, 18527, 12_697_397_769_000),
    ],
)
def test_what_stands_before_an_event(before: str, cpu: int, pid: int, time_ns: int) -> None:
    row = first(before + ALLOC)
    assert (row["cpu"], row["pid"], row["time_ns"], row["pfn"], row["order"]) == (cpu, pid, time_ns, 0x1F40, 3)


def test_the_latency_format_tells_the_kernel() -> None:
    origin = read("# nop latency trace v1.1.5 on 6.18.44", f"  sh-12     1..... 31555us+: {ALLOC}").origin
    assert origin.kernel == "6.18.44"


def test_the_function_graph_tracer_prints_events_as_remarks() -> None:
    table = read(
        f" 1287587.105144 |   1)               |  /* {ALLOC} */",
        f"  24)               |  /* {ALLOC} */",
        "  24)   0.130 us    |    ___might_sleep();",
    ).table.to_pylist()
    # the second has no time: that of the one before
    assert [(row["time_ns"], row["cpu"], row["pid"]) for row in table] == [
        (1287587105144000, 1, None),
        (1287587105144000, 24, None),
    ]


@pytest.mark.parametrize(
    ("told", "column", "value"),
    [
        ("pfn=1155800 order=0 migratetype=0 gfp_flags=GFP_KERNEL", "pfn", 1155800),
        ("pfn=0x11a2d8 order=0 migratetype=0 gfp_flags=GFP_KERNEL", "pfn", 1155800),
        ("pfn=0x0 order=9 migratetype=1 gfp_flags=GFP_KERNEL", "pfn", None),
        ("pfn=0 order=9 migratetype=1 gfp_flags=GFP_KERNEL", "pfn", None),
        (
            "[FAILED TO PARSE] pfn=0x165cb4 order=0 gfp_flags=29491274 migratetype=1",
            "gfp",
            "__GFP_HIGHMEM|__GFP_MOVABLE",
        ),
        (
            "pfn=970744 order=0 migratetype=0 nr_free=3650 gfp_flags=GFP_HIGHUSER|__GFP_ZERO",
            "gfp",
            "GFP_HIGHUSER|__GFP_ZERO",
        ),
    ],
)
def test_kernels_print_the_same_in_several_ways(told: str, column: str, value: object) -> None:
    row = first(f"  sh-12 [003] ..... 12.000345: mm_page_alloc:        page=(nil) {told}")
    if column == "gfp" and value is not None:
        assert str(row[column]).startswith(str(value))
    else:
        assert row[column] == value
    assert row["fields"] is None


def test_events_of_ranges_keep_all_that_they_tell() -> None:
    table = read(
        "  sh-1 [0] .... 1.000000: mm_page_free: page=0 pfn=0x1 order=0",
        "  sh-1 [0] .... 1.000001: test_pages_isolated: start_pfn=0x40000 end_pfn=0x80000 fin_pfn=0x40200 ret=fail",
        "  sh-1 [0] .... 1.000002: cma_alloc_finish: name=linux,cma pfn=0x88000 page=0 count=4 align=2 errorno=0",
        "  sh-1 [0] .... 1.000003: mm_compaction_isolate_migratepages: range=(0x8200 ~ 0x8400) nr_scanned=5 nr_taken=3",
        "  sh-1 [0] .... 1.000004: mm_page_alloc_extfrag: page=0 pfn=0x200 alloc_order=0 fallback_order=9 "
        "pageblock_order=9 alloc_migratetype=0 fallback_migratetype=1 fragmenting=0 change_ownership=1",
        "  sh-1 [0] .... 1.000005: mm_compaction_try_to_compact_pages: order=9 gfp_mask=GFP_TRANSHUGE priority=0",
    ).table.to_pylist()
    isolated, cma, taken, fallback, compaction = table[1:]
    assert (isolated["pfn"], isolated["end_pfn"]) == (0x40000, 0x80000)
    assert json.loads(isolated["fields"]) == {"fin_pfn": 0x40200, "ret": "fail"}
    assert (cma["pfn"], json.loads(cma["fields"])["name"]) == (0x88000, "linux,cma")
    assert (taken["pfn"], taken["end_pfn"], json.loads(taken["fields"])["nr_taken"]) == (0x8200, 0x8400, 3)
    assert (fallback["order"], fallback["migratetype"]) == (0, 0)
    assert json.loads(fallback["fields"]) == {"fallback_order": 9, "fallback_migratetype": 1, "change_ownership": 1}
    assert (compaction["order"], compaction["gfp"]) == (9, "GFP_TRANSHUGE")


def test_events_of_old_kernels_bear_todays_names() -> None:
    """mm_page_free was mm_page_free_direct, and mm_page_free_batched mm_pagevec_free, until 3.3."""
    table = read(
        "  gnome-terminal-1567  [000]  4415.246466: mm_page_free_direct: page=ffffea0003db9f40 pfn=1155800 order=0",
        "  gnome-terminal-1567  [000]  4415.246466: mm_pagevec_free: page=ffffea0003db9f40 pfn=1155801 order=0 cold=0",
    ).table
    assert table["event"].to_pylist() == ["mm_page_free", "mm_page_free_batched"]


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("CPU:3 [LOST 7 EVENTS]", 7),
        ("CPU:0 [126 EVENTS DROPPED]", 126),
        ("CPU:0 [EVENTS DROPPED]", -1),
        ("# entries-in-buffer/entries-written: 10/25   #P:8", 15),
        ("  ls 99 [001] 12.5: PERF_RECORD_LOST lost 27", 27),
    ],
)
def test_lost_events_are_counted(line: str, lost: int) -> None:
    assert read(line, f"  sh-1 [0] .... 1.000000: {ALLOC}").origin.lost == lost


def test_events_are_put_in_order_of_time() -> None:
    table = read(*(f"  sh-1 [0] .... {t}.000000: {ALLOC}" for t in (3, 1, 2))).table
    assert table["time_ns"].to_pylist() == [10**9, 2 * 10**9, 3 * 10**9]


def test_other_events_and_lines_are_counted_and_one_is_shown() -> None:
    origin = read(
        "  sh-1 [0] .... 1.000000: sched_switch: prev_comm=sh",
        "what is this",
        "",
        "# a remark",
        f"  sh-1 [0] .... 1.000000: {ALLOC}",
    ).origin
    assert (origin.unread, origin.unread_like) == (2, "what is this")


def test_another_architecture_must_say_its_page_size() -> None:
    lines = ("# arch : aarch64", f"  sh-1 [0] .... 1.000000: {ALLOC}")
    with pytest.raises(InputError, match="a trace of aarch64, whose page size it does not tell: say --page-size"):
        read(*lines)
    assert read(*lines, page_size=65536).origin.page_size == 65536


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "no trace that is known here"),
        (("hello",), "no trace that is known here .it has 'hello'"),
        (("  sh-1 [0] .... 1.000000: sched_switch: prev_comm=sh",), "neither mm_page_alloc nor mm_page_free is in it"),
        (
            ("  sh-1 [0] .... 1.000000: mm_page_alloc: page=0 order=0",),
            "line 1: unknown format of mm_page_alloc: no field pfn",
        ),
        ((f"  sh-1 [0] .... 1.000000: {ALLOC}".replace("0x1f40", "0x1f4g"),), "line 1: mm_page_alloc cannot be read"),
        ((f"  sh-1 [0] .... 1.000000: {ALLOC}".replace("order=3", "order=64"),), r"cannot be read \(order=64\)"),
        ((f"  sh-1 [0] .... 1.000000: {ALLOC}".replace("0x1f40", "0x" + "f" * 16),), "cannot be read"),
        ((f"  sh-1 [70000] .... 1.000000: {ALLOC}",), r"cannot be read \(CPU 70000"),
    ],
)
def test_what_cannot_be_answered_is_one_line(lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(*lines)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "hostile",
    [
        " " * 4000,
        "[0] " * 1000,
        "a=(" * 1300,
        "-" * 4000 + "[0]",
        "1 " * 2000 + "[0] 1.000000: ",
        "/*" * 2000,
        "9" * 100_000,
    ],
)
def test_no_line_takes_long(hostile: str) -> None:
    began = time.process_time()
    for line in (hostile, f"  sh-1 [0] .... 1.000000: mm_compaction_end: {hostile}"):
        read(line, f"  sh-1 [0] .... 1.000000: {ALLOC}")
    # a regular expression that runs away takes hours
    assert time.process_time() - began < 5
