"""Recorded traces of allocation: texts of trace-cmd, perf and the kernel, LLFree's records, the Parquet file of an import."""

import struct
from pathlib import Path
from random import Random

import zstandard

from .judge import Main
from .machine import Invocation
from .mutate import NUMBERS, spoil_bytes, spoil_text, spoil_words
from .snapshot import spoil_parquet
from .sound import made

__all__ = ["ask_events", "sound_llfree", "sound_text"]

#: What stands before the events of a text: of trace-cmd report, perf script, the kernel's trace and trace_pipe.
FORMS = {
    "trace-cmd": ("cpus=2\n", "         my task-{pid:<5} [00{cpu}] {time:12.6f}: {name}:        {text}\n"),
    "perf": (
        "# ========\n# os release : 6.1.192\n# arch : x86_64\n# nrcpus online : 2\n# ========\n#\n",
        "task {pid} [00{cpu}] {time:12.6f}: kmem:{name}: {text}\n",
    ),
    "ftrace": (
        "# tracer: nop\n#\n# entries-in-buffer/entries-written: 20/20   #P:2\n#\n",
        "            task-{pid:<7} [00{cpu}] ..... {time:12.6f}: {name}: {text}\n",
    ),
    "pipe": ("", "            task-{pid:<7} [00{cpu}] ..... {time:12.6f}: {name}: {text}\n"),
}


def sound_text(random: Random, form: str) -> str:
    """A text of some allocations and frees, and events beside them."""
    head, row = FORMS[form]
    text = head
    held: list[tuple[int, int]] = []
    for at in range(random.choice((1, 5, 30))):
        chance = random.random()
        if held and chance < 0.4:
            pfn, order = held.pop(random.randrange(len(held)))
            name, what = "mm_page_free", f"page=0x{pfn:x} pfn=0x{pfn:x} order={order}"
        elif chance < 0.9:
            pfn, order = random.randrange(1 << 12) << 3, random.choice((0, 0, 0, 1, 3))
            held.append((pfn, order))
            flags = random.choice(("GFP_KERNEL", "GFP_HIGHUSER_MOVABLE|__GFP_COMP", "GFP_NOWAIT|__GFP_NOWARN"))
            mt = 1 if "MOVABLE" in flags else 0
            name = "mm_page_alloc"
            what = f"page=0x{pfn:x} pfn=0x{pfn:x} order={order} migratetype={mt} gfp_flags={flags}"
        elif chance < 0.95:
            name, what = "mm_page_free_batched", f"page=0x{at:x} pfn=0x{at:x} order=0"
        else:
            name, what = "test_pages_isolated", "start_pfn=0x200 end_pfn=0x400 fin_pfn=0x400 ret=success"
        text += row.format(pid=7, cpu=at % 2, time=100 + at / 1000, name=name, text=what)
    return text


def sound_llfree(random: Random) -> bytes:
    """A file of LLFree's records: the header's page and one page of records."""
    header = struct.pack("<III", 1, 1, 1 << 15).ljust(4096, b"\0")
    page = struct.pack("<QQ", 0, 0)
    for at in range(random.choice((5, 100, 255))):
        alloc = random.random() < 0.6
        word = at | random.randrange(1 << 12) << 38 | alloc << 62
        page += struct.pack("<QQ", word, random.choice((0xCC0, 0x100CCA)) << 3 | 7 << 32)
    return header + page.ljust(4096, b"\0")


def ask_events(main: Main, folder: Path, out: Path, random: Random) -> Invocation:
    """A broken trace of allocation: imported; or what an import wrote, broken, run or exported."""
    json = ("--json",) if random.random() < 0.4 else ()
    target = str(out / "machine.parquet")
    if random.random() < 0.4:
        sound = sound_text(Random(1), "perf")
        path = folder / "events.parquet"
        path.write_bytes(made(main, ("import", "{}/t.txt", "{}/e.parquet"), "e.parquet", {"t.txt": sound})[""])
        spoil_parquet(path, None, random)
        if random.random() < 0.5:
            return Invocation(("run", str(path), "--memory", "64M", "--size", "2M", *json))
        return Invocation(("export", str(path), target, "--force", "--samples", "10", *json))
    path = folder / random.choice(("trace.txt", "trace", "trace.txt.zst", "trace.dat"))
    if random.random() < 0.25:
        data = sound_llfree(random)
        for _ in range(random.choice((1, 1, 2))):
            data = random.choice((spoil_words, spoil_bytes))(data, random)
    else:
        data = sound_text(random, random.choice(list(FORMS))).encode()
        for _ in range(random.choice((1, 1, 2, 5))):
            data = spoil_text(data, random)
    if random.random() < 0.2:
        data = zstandard.ZstdCompressor().compress(data)
        if random.random() < 0.5:
            data = spoil_bytes(data, random)
    path.write_bytes(data)
    size = (
        ("--page-size", random.choice(("4096", "65536", str(random.choice(NUMBERS))))) if random.random() < 0.1 else ()
    )
    if random.random() < 0.1:
        return Invocation(("run", str(path), "--memory", "64M", "--size", "2M", *json))
    return Invocation(("import", str(path), target, "--force", *size, *json))
