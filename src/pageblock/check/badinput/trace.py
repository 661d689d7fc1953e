"""Traces: what a recorder of a kernel writes, made here from the model itself, and the ways in which it goes bad."""

from pathlib import Path
from random import Random

import numpy as np
import zstandard

from ...errors import ContigRefused, OutOfMemoryError
from ...mm import Migratetype, PageClass, Zone
from .machine import Invocation
from .mutate import spoil_bytes, spoil_text

__all__ = ["ask_trace", "sound_trace"]

#: Letters of what is allocated: type and class.
ASKED = {"u": (Migratetype.UNMOVABLE, PageClass.KERNEL), "m": (Migratetype.MOVABLE, PageClass.ANON)}
KERNELS = {"6.1": "6.1.192", "6.12": "6.12.117", "5.15": "5.15.16"}


def dump_lines(zone: Zone, kernel: str, tag: str, owned: dict[int, int], counted: str) -> list[str]:
    """The whole state, as the recorder writes it."""
    g = zone.geometry
    lines = [
        f"D begin {tag}",
        f"Z kernel={kernel} node=0 zone=Normal start_pfn={g.start_pfn} spanned={g.nr_pages} present={g.nr_pages} "
        f"managed={g.nr_pages} max_order={g.max_order + 1} pageblock_order={g.pageblock_order} migratetypes=6",
        "W min=0 low=0 high=0 boost=0 lowmem_reserve=0 highatomic=0 nr_isolate=0 flags=0",
        "T " + " ".join(f"{t}:1" for t in zone.pageblock_types.tolist()),
    ]
    for order in range(g.max_order + 1):
        for mt in Migratetype:
            pfns = zone.free_list(order, mt) - np.uint64(g.start_pfn)
            if len(pfns):
                lines.append(f"L {order} {int(mt)} {' '.join(map(str, pfns.tolist()))}")
    lines.append("Q cpu=0 count=0 high=0 batch=1 free_factor=0 expire=0 stat_threshold=0")
    lines += [f"O {handle} {pfn - g.start_pfn} 0 m" for handle, pfn in owned.items()]
    return [*lines, f"D end {counted}"]


def sound_trace(random: Random) -> list[str]:
    """Lines of a trace that the model replays without a difference."""
    release, kernel = random.choice(list(KERNELS.items()))
    zone = Zone(random.choice((1024, 4096)), release, random.choice((0, 4096)))
    base = zone.start_pfn

    def counted() -> str:
        free = zone.nr_free_pages
        return f"free={free} stat={free} pcp=0 own={zone.geometry.nr_pages - free} foreign=0"

    def hashed(operation: int) -> str:
        lists, types, pcp = zone.digests()
        return f"H {operation} {lists:016x} {types:016x} {pcp:016x} {counted()}"

    lines = [f"V oracle 2 kernel={kernel} mode=trace pcp=0 why=0 profile=mixed seed=1 nops=99"]
    lines += dump_lines(
        zone, kernel, "initial", {}, f"stat_free={zone.nr_free_pages} own=0 offnode=0 foreign=0 async_mig=0"
    )
    lines.append(hashed(0))
    owned: dict[int, int] = {}
    handles = random.choice((3, 30, 120))
    for handle in range(handles):
        if owned and random.random() < 0.4:
            one = random.choice(list(owned))
            zone.free(owned.pop(one))
            lines.append(f"f {one}")
        elif random.random() < 0.1:
            start = random.randrange(zone.geometry.nr_pages - 8)
            pages = random.randint(1, 8)
            try:
                # pages in use would move, and with them what handles own
                if any(zone.page(base + start + i).page_class != PageClass.FREE for i in range(pages)):
                    continue
                zone.alloc_contig_range(base + start, base + start + pages)
            except ContigRefused as refused:
                lines.append(f"c {handle} {start} {pages} : = {-refused.errno} t=1")
            else:
                zone.free_contig_range(base + start, pages)
                lines += [f"c {handle} {start} {pages} : = 0 t=1", f"g {handle}"]
        else:
            letter = random.choice(list(ASKED))
            try:
                owned[handle] = zone.alloc(0, *ASKED[letter])
            except OutOfMemoryError:
                continue
            lines.append(f"a {handle} 0 {letter} {owned[handle] - base}")
    lines.append(hashed(handles))
    return [*lines, f"E ops={handles} ns_total=1 ns_in_allocator=1 migrated=0 overflow=0"]


def ask_trace(folder: Path, out: Path, random: Random) -> Invocation:
    """A broken trace, and its replay."""
    del out
    data = ("\n".join(sound_trace(random)) + "\n").encode()
    for _ in range(random.choice((1, 1, 2, 5))):
        data = spoil_text(data, random)
    path = folder / random.choice(("trace.txt", "trace.txt.zst", "trace"))
    if random.random() < 0.3:
        data = zstandard.ZstdCompressor().compress(data)
        if random.random() < 0.5:
            data = spoil_bytes(data, random)
    path.write_bytes(data)
    release = ("--release", random.choice(("6.1", "6.12", "5.15", "naive", "x"))) if random.random() < 0.2 else ()
    until = ("--until", str(random.randint(1, 50))) if random.random() < 0.1 else ()
    return Invocation(("replay", str(path), *release, *until, *(("--json",) if random.random() < 0.3 else ())))
