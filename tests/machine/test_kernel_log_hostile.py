"""Logs that are cut, shuffled, mutated or made to be slow: reading and explaining them never fails and stays quick."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pageblock.doctor.explain import explain_log
from pageblock.machine.kernel_log import parse_log
from pageblock.machine.log_text import LINE_BYTES, read_log, split_line
from pageblock.view.explain import to_json
from tests.logs import PREFIXES, bitmap, busy, cma_failed, free_list, page, zone

#: All kinds of messages once.
MESSAGES = [
    cma_failed(77, -16),
    bitmap([(300, 10), (500, 1000)], 4096),
    *(busy(0x40000 + 256 * i, 0x4004D + 256 * i) for i in range(4)),
    "migrating pfn 51a00 failed ret:3",
    *page(
        0x51A00,
        "uptodate|lru|private",
        "migration failure",
        refcount=4,
        mapping=True,
        more=["head: order:9 mapcount:1 pincount:2"],
    ),
    "page_owner tracks the page as allocated",
    "page last allocated via order 0, migratetype Movable, gfp_mask 0x140cca(GFP_HIGHUSER_MOVABLE), pid 7, tgid 7 (w), ts 1",
    " pin_user_pages_fast+0x10/0x20",
    *page(0x51A00, "reserved", "unmovable page", form="4.9"),
    "memory offlining [mem 0x140000000-0x147ffffff] failed due to unmovable page",
    "worker: page allocation failure: order:5, mode:0x40dc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)",
    zone("Normal", 40_000, 5_000, 6_000),
    free_list("Normal", [(7, "U"), (2, "UMI")]),
    "HugeTLB: allocating 9 of page size 1.00 GiB failed.  Only allocated 2 hugepages.",
    "virtio_mem virtio3: subblock size: 0x200000",
    "virtio_mem virtio3: adding memory failed: -12",
    "cma: Failed to reserve 192 MiB",
    "cma: Reserved 64 MiB at 0x3c000000",
    "Memory failure: 0x5f00: recovery action for dirty LRU page: Recovered",
    "12 pages are still in use!",
    "extfrag_index:Node 0, zone Normal -1.000 -1.000 0.812",
    "isp: failed to allocate buffer with size 315392",
    "Linux version 6.1.2 (x)",
]


def survive(data: bytes, path: Path, seed: str) -> None:
    """Read and explain bytes that need not make sense. A failure names the seed that makes them again."""
    path.write_bytes(data or b"\n")
    try:
        report = explain_log(parse_log(read_log(str(path))), "hostile")
        to_json(report)
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}; replay: {seed}")


def mutated(seed: int) -> bytes:
    """A log of all messages, under mixed prefixes, damaged in one of several ways."""
    rng = random.Random(seed)
    styles = list(PREFIXES.values())
    style = rng.choice(styles)
    lines = [(rng.choice(styles) if rng.random() < 0.1 else style)(text, i) for i, text in enumerate(MESSAGES * 2)]
    way = seed % 6
    if way == 0:
        rng.shuffle(lines)
    elif way == 1:
        lines = [line[rng.randrange(len(line) + 1) :] if rng.random() < 0.3 else line for line in lines]
    elif way == 2:
        lines = [line[: rng.randrange(len(line) + 1)] if rng.random() < 0.3 else line for line in lines]
    elif way == 3:
        # digits of any length in place of numbers
        lines = [
            line.replace(rng.choice("0123456789"), str(10 ** rng.randrange(30))) if rng.random() < 0.4 else line
            for line in lines
        ]
    data = bytearray("\n".join(lines).encode())
    if way == 4:
        for _ in range(len(data) // 20):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif way == 5:
        for _ in range(40):
            at = rng.randrange(len(data))
            data[at:at] = rng.choice(
                [b"\n", b"\r", b"\0", b"=\n", b"> ", b"(", b"|", b"-", b"[", b"\xff", b"@+", b"kB "]
            )
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)


@pytest.mark.parametrize("block", range(6))
def test_damaged_logs(block: int, tmp_path: Path) -> None:
    for i in range(40):
        seed = block + 6 * i
        survive(mutated(seed), tmp_path / "log", f"mutated({seed})")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(MESSAGES), st.text(max_size=60)), max_size=12), st.sampled_from(list(PREFIXES))
)
def test_messages_in_any_order_between_any_text(lines: list[str], prefix: str) -> None:
    stamped = [split_line(PREFIXES[prefix](line, i), i) for i, line in enumerate(lines, 1)]
    report = explain_log(parse_log(line for line in stamped if line.text), "any")
    document = to_json(report)
    assert len(document["failures"]) == len(report.explained)
    assert all(0 < found.line <= len(lines) and found.times > 0 for found in report.explained)


#: What makes patterns with nested repeats slow; each is repeated to the longest line there is.
SLOW = {
    "bitmap": "1@1+",
    "bitmap head": "number of available pages: 1@",
    "headers": "page: refcount:1 index:",
    "blocks": "Normal: 1*4kB ",
    "zone": "Node 0 Normal free:1kB a:",
    "flags": "flags: 0x1(a|",
    "quotes": ">",
    "levels": "<",
    "brackets": "[ ",
    "words": "a ",
    "hosts": "kernel: ",
    "failures": "x: page allocation failure: order:",
    "traces": "PID: 1 Comm: Tainted: ",
    "buffers": "a: failed to allocate dma_alloc_x ",
    "rows": "Node 0, zone Normal 0.000",
    "releases": "Linux kernel 5.",
    "escapes": "\x1b[",
    "virtio": "virtio_mem a: b ",
    "offlining": "memory offlining [mem 0x1-0x2] failed due to ",
    "json": '{"MESSAGE":',
}


@pytest.mark.parametrize("name", SLOW)
def test_long_lines_take_no_more_than_linear_time(name: str, tmp_path: Path) -> None:
    line = (SLOW[name] * LINE_BYTES)[:LINE_BYTES]
    (tmp_path / "log").write_text("\n".join([line] * 4))
    began = time.process_time()
    explain_log(parse_log(read_log(str(tmp_path / "log"))), "slow")
    # a quarter of a megabyte; one pattern that backtracks takes minutes
    assert time.process_time() - began < 5


def test_a_line_without_an_end_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * (5 * LINE_BYTES + 7))
    assert [len(line.text) for line in read_log(str(tmp_path / "log"))] == [LINE_BYTES] * 5 + [7]
