"""Small machines as files of /proc, sound in themselves, and the ways in which a folder of such files goes bad."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from .mutate import NUMBERS, pack, spoil_bytes, spoil_text, spoil_words

__all__ = ["Invocation", "ask_machine", "small_machine", "spoil_files", "write_folder"]

TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")

#: Words of kpageflags that whole blocks of pages have, by what they are (include/uapi/linux/kernel-page-flags.h).
HEAD, TAIL, BUDDY, HUGE, THP = 1 << 15, 1 << 16, 1 << 10, 1 << 17, 1 << 22
SINGLE = (
    1 << 5 | 1 << 12 | 1 << 14,  # anonymous, on the LRU
    1 << 5 | 1 << 3,  # file cache
    1 << 5 | 1 << 4 | 1 << 8,  # written back
    1 << 7,  # slab
    1 << 26,  # page tables
    0,  # a driver's
    1 << 32,  # reserved
    1 << 20,  # no page
    1 << 23,  # PageOffline
    1 << 19,  # hwpoison
    1 << 12 | 1 << 14,  # anonymous, not on the LRU
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the command line: its arguments, and what stands on its standard input."""

    args: tuple[str, ...]
    stdin: bytes = b""


@dataclass(frozen=True, slots=True)
class Shape:
    """Geometry of a machine: ``kib`` of a page, orders; zones as (node, name, first pfn, pages)."""

    kib: int
    max_order: int
    pageblock_order: int
    kernel: str
    zones: tuple[tuple[int, str, int, int], ...]


SHAPES = (
    Shape(4, 10, 9, "6.1.192", ((0, "DMA32", 512, 1536), (0, "Normal", 2048, 2048))),
    Shape(4, 10, 9, "6.12.117", ((0, "Normal", 1024, 2048), (1, "Normal", 3072, 1024))),
    Shape(4, 10, 9, "5.15.16", ((0, "DMA", 1, 1023), (0, "Normal", 1024, 2048), (0, "Movable", 3072, 1024))),
    Shape(4, 10, 10, "4.4.0", ((0, "Normal", 0, 2048), (0, "HighMem", 2048, 777))),
    Shape(4, 10, 5, "3.13.0", ((0, "Normal", 32, 1024),)),
    Shape(16, 11, 11, "6.6.10", ((0, "DMA", 2048, 4096),)),
    Shape(64, 13, 5, "6.19.9", ((0, "Normal", 0, 8192),)),
    # zones in each other's holes
    Shape(4, 10, 9, "6.1.0-18-amd64", ((0, "Normal", 512, 3072), (1, "Normal", 1536, 1024))),
)


def small_machine(random: Random) -> dict[str, bytes]:
    """Files of a machine of a few thousand pages, by name; truth_512.txt among them."""
    shape = random.choice(SHAPES)
    end = max(first + pages for _, _, first, pages in shape.zones)
    words = np.full(end, 1 << 20, np.uint64)
    owned = np.zeros(end, np.bool_)
    free: dict[tuple[int, str], np.ndarray] = {}
    blocks: dict[tuple[int, str], np.ndarray] = {}
    owners: list[str] = []
    for node, name, first, pages in shape.zones[::-1]:
        counts = np.zeros((len(TYPES), shape.max_order + 1), np.int64)
        types = np.zeros(len(TYPES), np.int64)
        at = first
        while at < first + pages:
            block_end = min(first + pages, (at >> shape.pageblock_order) + 1 << shape.pageblock_order)
            kind = random.choice((0, 1, 1, 1, 1, 2, 3, 4, 5)) if random.random() < 0.5 else 1
            types[kind] += 1
            fill_block(words, owned, at, block_end, shape, counts[kind], owners, random)
            at = block_end
        free[node, name], blocks[node, name] = counts, types
    return texts(shape, words, free, blocks, owners)


def fill_block(
    words: np.ndarray,
    owned: np.ndarray,
    at: int,
    end: int,
    shape: Shape,
    counts: np.ndarray,
    owners: list[str],
    random: Random,
) -> None:
    """Blocks of free pages and of others up to the end of a pageblock."""
    while at < end:
        order = random.choice((0, 1, 3, 5, 7, shape.pageblock_order, shape.max_order))
        while at & ((1 << order) - 1) or at + (1 << order) > end:
            order -= 1
        stop = at + (1 << order)
        if owned[at:stop].any():
            # another zone's, which was filled first
            at = stop
            continue
        owned[at:stop] = True
        what = random.random()
        if what < 0.4:
            words[at:stop] = BUDDY
            counts[order] += 1
        elif what < 0.55 and order:
            more = random.choice((0, THP | 1 << 5 | 1 << 12, HUGE, 1 << 7))
            words[at:stop] = TAIL | more
            words[at] = HEAD | more
        else:
            words[at:stop] = random.choice(SINGLE)
            if len(owners) < 4:
                owners.append(owner(at, order))
        at = stop


def owner(pfn: int, order: int) -> str:
    """A record of page_owner, as 6.1 writes it."""
    return (
        f"Page allocated via order {order}, mask 0xcc0(GFP_KERNEL), pid 7, tgid 7 (a (b) c), ts 12 ns, free_ts 0 ns\n"
        f"PFN {pfn} type Unmovable Block {pfn >> 9} type Unmovable Flags 0x2000(x)\n get_page_from_freelist+0x1/0x2\n"
        " my_driver_probe+0x1f/0x90\n\n"
    )


def texts(
    shape: Shape,
    words: np.ndarray,
    free: dict[tuple[int, str], np.ndarray],
    blocks: dict[tuple[int, str], np.ndarray],
    owners: Sequence[str],
) -> dict[str, bytes]:
    """The files of a machine."""
    kinds = " ".join(f"{name:>12}" for name in TYPES)
    zoneinfo: list[str] = []
    buddyinfo: list[str] = []
    lists: list[str] = []
    numbers: list[str] = []
    truth = [f"V oracle 2 kernel={shape.kernel}"]
    managed = 0
    for node, name, first, pages in shape.zones:
        counts = free[node, name]
        total = int((counts << np.arange(shape.max_order + 1)).sum())
        managed += pages
        zoneinfo.append(
            f"Node {node}, zone {name:>8}\n  per-node stats\n      nr_inactive_anon 1\n  pages free     {total}\n"
            f"        boost    0\n        min      3\n        low      4\n        high     5\n        spanned  {pages}\n"
            f"        present  {pages}\n        managed  {pages}\n        cma      0\n        protection: (0, 0, 0)\n"
            f"      nr_free_pages {total}\n      nr_zone_inactive_anon 9\n      nr_free_cma  0\n  pagesets\n    cpu: 0\n"
            f"              count: 2\n              high:  6\n              batch: 1\n  vm stats threshold: 2\n"
            f"  node_unreclaimable:  0\n  start_pfn:           {first}\n"
        )
        buddyinfo.append(f"Node {node}, zone {name:>8} " + " ".join(f"{n:6}" for n in counts.sum(axis=0)))
        for kind, row in zip(TYPES, counts, strict=True):
            lists.append(f"Node {node:4}, zone {name:>8}, type {kind:>12} " + " ".join(f"{n:6}" for n in row))
        numbers.append(f"Node {node}, zone {name:>8} " + " ".join(f"{n:12}" for n in blocks[node, name]))
        size = 1 << shape.pageblock_order
        for start in range(-(-first // size) * size, first + pages - size + 1, size):
            truth.append(f"G {size} {start} {node} {name} {(0, -16, -12)[start // size % 3]} t=1")
    byte = shape.kib << 10
    ends = [(first * byte, (first + pages) * byte - 1) for _, _, first, pages in shape.zones]
    memory = managed * shape.kib
    return {
        "zoneinfo": "".join(zoneinfo).encode(),
        "buddyinfo": ("\n".join(buddyinfo) + "\n").encode(),
        "pagetypeinfo": (
            f"Page block order: {shape.pageblock_order}\nPages per block:  {1 << shape.pageblock_order}\n\n"
            f"Free pages count per migrate type at order {' '.join(str(o) for o in range(shape.max_order + 1))}\n"
            + "\n".join(lists)
            + f"\n\nNumber of blocks type {kinds}\n"
            + "\n".join(numbers)
            + "\n"
        ).encode(),
        "iomem": "".join(f"{start:08x}-{end:08x} : System RAM\n" for start, end in ends).encode()
        + b"  00100000-001fffff : Kernel code\nfe000000-feffffff : PCI Bus 0000:00\n",
        "meminfo": f"MemTotal: {memory} kB\nMemFree: 9 kB\nCmaTotal: 0 kB\nHugePages_Total: 1\nHugepagesize: 2048 kB\n".encode(),
        "vmstat": b"nr_free_pages 9\nnr_isolated_anon 0\ncompact_stall 3\n",
        "version": f"Linux version {shape.kernel} (gcc) #1 SMP\n".encode(),
        "cmdline": b"BOOT_IMAGE=/vmlinuz root=/dev/x cma=64M hugepagesz=1G hugepages=4\n",
        "page_owner": "".join(owners).encode(),
        "kpageflags": words.astype("<u8").tobytes(),
        "kpagecount": np.where(words & np.uint64(1 << 12), 1, 0).astype("<u8").tobytes(),
        "truth_512.txt": ("\n".join(truth) + "\nE\n").encode(),
    }


def spoil_files(files: dict[str, bytes], random: Random) -> dict[str, bytes]:
    """The files with some missing, empty, another machine's, packed or spoilt."""
    found = dict(files)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        # what was packed meanwhile has another name
        name = random.choice(list(files))
        if name not in found:
            continue
        how = random.randrange(12)
        if how == 0:
            del found[name]
        elif how == 1:
            found[name] = b""
        elif how == 2:
            found[name] = small_machine(random)[name]
        elif how == 3:
            data = found.pop(name)
            packed, data = pack(name, data, random)
            found[packed] = data
        elif how == 4:
            found[name] = b"cat: /proc/" + name.encode() + b": Permission denied\n"
        elif how == 5:
            found[name] = spoil_bytes(found[name], random)
        elif name.startswith("kpage"):
            found[name] = spoil_words(found[name], random)
        else:
            found[name] = spoil_text(found[name], random)
    return found


def write_folder(folder: Path, files: dict[str, bytes], random: Random) -> None:
    """Write the files; now and then a folder, a pipe or a link lies in the place of one."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        odd = random.random()
        if odd < 0.005:
            path.mkdir()
        elif odd < 0.01:
            os.mkfifo(path)
        elif odd < 0.015:
            path.symlink_to(random.choice((name, "/dev/zero", "nothing", "../.." * 9, ".")))
        else:
            path.write_bytes(data)


def ask_machine(source: Path, out: Path, random: Random) -> Invocation:
    """One of the commands that take a machine, most often the doctor; files go to ``out``."""
    where = ("--from", str(source))
    release = random.choice(("5.15", "seed", "6.1", "6.12", "naive"))
    size = random.choice(("2M", "4M", "64K", "1M", "512K"))
    json = ("--json",) if random.random() < 0.5 else ()
    quick = ("--no-remedies", "--release", release)
    kind = random.randrange(16)
    if kind < 3:
        return Invocation(("doctor", *where, *quick, *json))
    if kind == 3:
        return Invocation(("doctor", *where, *json))
    if kind == 4:
        return Invocation(("doctor", *where, "--html", str(out / "page.html"), "--force", *quick))
    if kind == 5:
        return Invocation(("doctor", *where, "--metrics", str(out / "page.prom"), *quick))
    if kind == 6:
        why = random.choice(("0x400-0x500", "1536-2048", "2047", f"{random.choice(NUMBERS)}"))
        return Invocation(("doctor", *where, "--why", why, "--release", release, *json))
    if kind == 7:
        return Invocation(("doctor", *where, "--anywhere", "--size", size, "--ranges", "--json", *quick))
    if kind < 11:
        return Invocation(("capture", str(out / "machine.parquet"), *where, "--force", *json))
    if kind == 11:
        return Invocation(("watch", *where, "--count", "1", *json))
    if kind == 12:
        return Invocation(
            ("try", "gigantic", *where, "--size", random.choice(("8M", "1G", "16M")), "--release", release, *json)
        )
    if kind == 13:
        return Invocation(("try", "cma", *where, "--alloc", size, "--area", "4M", "--release", release, *json))
    if kind == 14:
        return Invocation(
            ("try", "offline", *where, "--block", "0-1", "--block-size", "4M", "--release", release, *json)
        )
    return Invocation(("score", str(source), *json))
