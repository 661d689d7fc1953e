"""Messages as the kernel's format strings make them, with values of our own, and what may stand before them in a log."""

from collections.abc import Callable, Sequence

__all__ = ["PAGE_FORMS", "PREFIXES", "bitmap", "busy", "cma_failed", "free_list", "mail", "page", "zone"]


def cma_failed(pages: int, ret: int, area: str | None = "linux,cma") -> str:
    """mm/cma.c, cma_alloc."""
    return f"cma: cma_alloc: {f'{area}: ' if area else ''}alloc failed, req-size: {pages} pages, ret: {ret}"


def bitmap(runs: Sequence[tuple[int, int]], total: int) -> str:
    """mm/cma.c, cma_debug_show_areas."""
    free = sum(pages for pages, _ in runs)
    return (
        f"cma: number of available pages: {'+'.join(f'{p}@{b}' for p, b in runs)}=> {free} free of {total} total pages"
    )


def busy(start: int, end: int) -> str:
    """mm/page_alloc.c, alloc_contig_range, up to 5.12."""
    return f"alloc_contig_range: [{start:x}, {end:x}) PFNs busy"


#: Kernel -> the first line of a page dump (mm/debug.c): pfn, refcount, mapcount, has a mapping.
PAGE_FORMS: dict[str, Callable[[int, int, int, bool], str]] = {
    "4.9": lambda pfn, ref, mapped, mapping: (
        f"page:ffffea0004{pfn & 0xFFFF:04x}00 count:{ref} mapcount:{mapped} "
        f"mapping:{'ffff8801d0c1a2b8' if mapping else '          (null)'} index:0x3"
    ),
    "5.4": lambda pfn, ref, mapped, mapping: (
        f"page:ffffea0004{pfn & 0xFFFF:04x}00 refcount:{ref} mapcount:{mapped} "
        f"mapping:{'ffff8881d0c1a2b8' if mapping else '0000000000000000'} index:0x3"
    ),
    "5.10": lambda pfn, ref, mapped, mapping: (
        f"page:00000000c0ffee01 refcount:{ref} mapcount:{mapped} "
        f"mapping:{'00000000deadbee5' if mapping else '0000000000000000'} index:0x3 pfn:{pfn:#x}"
    ),
    "6.12": lambda pfn, ref, mapped, mapping: (
        f"page: refcount:{ref} mapcount:{mapped} "
        f"mapping:{'00000000deadbee5' if mapping else '0000000000000000'} index:0x3 pfn:{pfn:#x}"
    ),
}


def page(
    pfn: int,
    flags: str,
    reason: str,
    *,
    form: str = "6.12",
    refcount: int = 1,
    mapcount: int = 0,
    mapping: bool = False,
    kind: str = "",
    more: Sequence[str] = (),
) -> list[str]:
    """A page dump; ``kind``: "anon ", "ksm " or nothing; ``more``: lines between header and flags."""
    return [
        PAGE_FORMS[form](pfn, refcount, mapcount, mapping),
        *more,
        f"{kind}flags: 0x17ffffc0000000({flags}{'|' if flags else ''}node=0|zone=2|lastcpupid=0x1fffff)",
        "raw: 0017ffffc0000000 dead000000000100 dead000000000122 0000000000000000",
        "raw: 0000000000000003 0000000000000000 00000001ffffffff 0000000000000000",
        f"page dumped because: {reason}",
    ]


def zone(name: str, free: int, minimum: int, low: int, *, cma: int = 0, node: int | None = 0) -> str:
    """mm/show_mem.c: a zone's line, KiB."""
    return (
        f"{f'Node {node} ' if node is not None else ''}{name} free:{free}kB boost:0kB min:{minimum}kB low:{low}kB "
        f"high:{low + low // 4}kB reserved_highatomic:0KB active_anon:512kB inactive_anon:256kB present:1048576kB "
        f"managed:1018328kB mlocked:0kB bounce:0kB free_pcp:220kB local_pcp:192kB free_cma:{cma}kB"
    )


def free_list(name: str, blocks: Sequence[tuple[int, str]], *, node: int | None = 0, page_kb: int = 4) -> str:
    """mm/show_mem.c: a zone's free blocks, by order: number, letters of the types."""
    parts = [f"{n}*{page_kb << o}kB{f' ({types})' if n else ''}" for o, (n, types) in enumerate(blocks)]
    total = sum(n * (page_kb << o) for o, (n, _) in enumerate(blocks))
    return f"{f'Node {node} ' if node is not None else ''}{name}: {' '.join(parts)} = {total}kB"


#: Name -> what makes a line of a message and its number.
PREFIXES: dict[str, Callable[[str, int], str]] = {
    "bare": lambda text, n: text,
    "dmesg": lambda text, n: f"[{100 + n / 1000:12.6f}] {text}",
    "dmesg -T": lambda text, n: f"[Tue Nov  3 10:00:{n % 60:02} 2026] {text}",
    "dmesg -x": lambda text, n: f"kern  :warn  : [{100 + n / 1000:12.6f}] {text}",
    "dmesg -d": lambda text, n: f"[{100 + n / 1000:12.6f} <    0.001000>] {text}",
    "dmesg -H": lambda text, n: f"[  +0.001000] {text}",
    "caller id": lambda text, n: f"[{100 + n / 1000:12.6f}][ T1882] {text}",
    "level": lambda text, n: f"<4>[{100 + n / 1000:12.6f}] {text}",
    "kmsg": lambda text, n: f"4,{n},{100_000_000 + n},-;{text}",
    "colour": lambda text, n: f"\x1b[32m[{100 + n / 1000:12.6f}] \x1b[0m{text}",
    "short": lambda text, n: f"Nov 03 10:00:{n % 60:02} board7 kernel: {text}",
    "syslog": lambda text, n: f"Nov  3 10:00:{n % 60:02} board7 kernel: [{100 + n / 1000:12.6f}] {text}",
    "short-iso": lambda text, n: f"2026-11-03T10:00:{n % 60:02}+0100 board7 kernel: {text}",
    "short-monotonic": lambda text, n: f"[{100 + n / 1000:12.6f}] board7 kernel: {text}",
    "quoted": lambda text, n: f"> >> [{100 + n / 1000:12.6f}] {text}",
    "vendor": lambda text, n: f"[{100 + n / 1000:12.6f}]  [2:   camera@2.4:  744] {text}",
    "crlf": lambda text, n: f"[{100 + n / 1000:12.6f}] {text}\r",
    "logcat": lambda text, n: f"11-03 10:00:{n % 60:02}.123     0     0 E kernel  : [{100 + n / 1000:12.6f}] {text}",
}


def mail(text: str, width: int = 72, quote: str = "> ") -> str:
    """A line as mail wraps and quotes it: the rest without a time stamp."""
    lines: list[str] = []
    while len(text) > width and (at := text.rfind(" ", 20, width)) > 0:
        lines.append(text[:at])
        text = text[at + 1 :]
    return "\n".join(f"{quote}{line}" for line in [*lines, text])
