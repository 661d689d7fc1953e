"""Kernel logs: messages as the kernel forms them, behind what logs put before them, and the ways in which they go bad."""

import bz2
import gzip
import lzma
from pathlib import Path
from random import Random

import zstandard

from .machine import Invocation
from .mutate import spoil_bytes, spoil_text

__all__ = ["ask_log"]

#: Messages of contiguous memory that goes missing, with numbers of our own; an empty line ends one of several lines.
MESSAGES = (
    "cma: cma_alloc: linux,cma: alloc failed, req-size: 148 pages, ret: -16\n"
    "cma: number of available pages: 4@12+7276@74644+31@81889=> 7311 free of 81920 total pages",
    "cma: cma_alloc: alloc failed, req-size: 1 pages, ret: -12",
    "alloc_contig_range: [1c400, 1c500) PFNs busy\nalloc_contig_range: 1 callbacks suppressed",
    "alloc_contig_range: [38400, 38500) PFNs busy",
    "page:ffffea0004c00000 refcount:2 mapcount:1 mapping:ffff8881d0c1a2b8 index:0x3 pfn:0x130000\n"
    'aops:ext4_da_aops ino:12 dentry name:"a\\x1bb"\n'
    "flags: 0x17ffffc0000000(locked|lru|dirty|node=0|zone=2|lastcpupid=0x1fffff)\n"
    "raw: 0017ffffc0000000 dead000000000100 dead000000000122 0000000000000000\npage dumped because: unmovable page\n"
    "page_owner tracks the page as allocated\n"
    "page last allocated via order 0, migratetype Movable, gfp_mask 0x100cca(GFP_HIGHUSER_MOVABLE), pid 1"
    ", tgid 1 (systemd), ts 1\n"
    " post_alloc_hook+0x1/0x2\n ext4_readpage+0x3/0x4",
    "migrating pfn 130000 failed ret:1\npage: refcount:3 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x130000\n"
    "page dumped because: migration failure",
    "memory offlining [mem 0x130000000-0x137ffffff] failed due to failure to isolate range",
    "Offlined Pages 32768",
    "virtio_mem virtio0: plugging memory: 0x140000000 - 0x147ffffff\nvirtio_mem virtio0: adding memory failed: -17",
    "HugeTLB: allocating 4 of page size 1.00 GiB failed.  Only allocated 1 hugepages.",
    "kworker/0:1: page allocation failure: order:9, mode:0x40dc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)"
    ",cpuset=/,mems_allowed=0\n"
    "Mem-Info:\nactive_anon:1 inactive_anon:2 isolated_anon:0\n free:7311 free_pcp:1 free_cma:9\n"
    "Node 0 Normal free:20480kB boost:0kB min:8192kB low:10240kB high:12288kB reserved_highatomic:0KB present:1048576kB "
    "managed:1018328kB mlocked:0kB bounce:0kB free_pcp:220kB local_pcp:192kB free_cma:36kB\n"
    "lowmem_reserve[]: 0 0 0\nNode 0 Normal: 3*4kB (UME) 2*8kB (M) 0*16kB 1*32kB (C) 0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB "
    "0*2048kB 4*4096kB (M) = 16444kB\n7311 total pagecache pages\n131072 pages cma reserved\nHugePages_Total=1",
    "Linux version 6.1.0-56-amd64 (debian@x) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2",
    "Node 0, zone   Normal 0.000 0.001 0.005 0.013 0.029 0.061 0.125 0.253 0.509 0.765 0.893",
    "cma: Reserved 64 MiB at 0x00000000b8000000",
    "test_pages_isolated: start_pfn=0x1 end_pfn=0x2 fin_pfn=0x2 ret=fail",
    "EXT4-fs (sda1): mounted filesystem",
)

PREFIXES = (
    "", "[{s:12.6f}] ", "[{s:12.6f}][ T1882] ", "<4>[{s:12.6f}] ", "Nov 03 10:00:{m:02} board7 kernel: ",
    "Nov  3 10:00:{m:02} board7 kernel: [{s:12.6f}] ", "2026-11-03T10:00:{m:02}+0100 board7 kernel: ", "> > [{s:12.6f}] ",
    "4,{n},{n}000000,-;", "\x1b[32m[{s:12.6f}] \x1b[0m", "kern  :warn  : [{s:12.6f}] ", "[{s:12.6f} <    0.001000>] ",
)  # fmt: skip


def sound_log(random: Random) -> str:
    """Some messages in a row, all with what one kind of log puts before them."""
    prefix = random.choice(PREFIXES)
    lines = "\n".join(random.choice(MESSAGES) for _ in range(random.choice((1, 2, 3, 8, 40)))).split("\n")
    return "".join(f"{prefix.format(s=n / 10, m=n % 60, n=n)}{line}\n" for n, line in enumerate(lines, 1000))


def ask_log(folder: Path, out: Path, random: Random) -> Invocation:
    """A broken log, and what explain makes of it."""
    del out
    data = sound_log(random).encode()
    for _ in range(random.choice((1, 1, 2, 5))):
        data = spoil_text(data, random)
    if random.random() < 0.3:
        compress = random.choice((gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress))
        data = compress(data)
        if random.random() < 0.6:
            data = spoil_bytes(data, random)
    more: tuple[str, ...] = ("--json",) if random.random() < 0.4 else ()
    if random.random() < 0.1:
        more += ("--kernel", random.choice(("5.15.16", "6.1", "x", "", "9" * 400, "6.1\n", "\udcff")))
    if random.random() < 0.2:
        return Invocation(("explain", "-", *more), data)
    path = folder / random.choice(("dmesg", "dmesg.gz", "dmesg.zst", "journal.json", "log.xz"))
    path.write_bytes(data)
    return Invocation(("explain", str(path), *more))
