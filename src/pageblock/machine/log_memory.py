"""Mem-Info blocks in a kernel log: zone lines, free lists and the debugfs tables of fragmentation.

Source: mm/show_mem.c (mm/page_alloc.c before 6.4), show_free_areas; mm/vmstat.c, extfrag_show and unusable_show.
"""

import re
from itertools import pairwise

from .log_events import Facts, FragTable, MemInfo

__all__ = ["frag_row", "free_list", "zone_line"]

_ZONE_LINE = re.compile(r"(?:Node (\d{1,4}) )?(\w{1,16}) free:\d{1,18}kB ")
_ZONE_FIELD = re.compile(r"\b([\w]{1,40}(?:\(\w{1,8}\))?):(\d{1,18})[kK]B")
_LIST_LINE = re.compile(r"(?:Node (\d{1,4}) )?(\w{1,16}): (?=\d{1,12}\*\d{1,9}kB)")
_BLOCK = re.compile(r"(\d{1,12})\*(\d{1,12})kB(?: \(([A-Z]{1,12})\))?")
_FRAG = re.compile(
    r"(?:(extfrag_index|unusable_index):)?Node (\d{1,4}), zone {1,16}(\w{1,16})((?: {1,2}-?\d\.\d{3}){2,64})\s*$"
)

#: Sizes that a page can have, KiB.
_PAGE_KB = (4, 8, 16, 32, 64, 128, 256)


def zone_line(text: str, mem: MemInfo) -> bool:
    """Take a zone's line, ``Node 0 Normal free:…kB min:…kB …``."""
    match = _ZONE_LINE.search(text)
    if match is None:
        return False
    zone = mem.zone(int(match[1]) if match[1] else None, match[2])
    for name, value in _ZONE_FIELD.findall(text, match.start()):
        zone.kb.setdefault(name, int(value))
    return True


def free_list(text: str, mem: MemInfo, facts: Facts) -> bool:
    """Take a free list's line, ``Node 0 Normal: 78*4kB (UECI) … = 489288kB``; the sizes tell page and max order."""
    match = _LIST_LINE.search(text)
    if match is None:
        return False
    blocks = _BLOCK.findall(text, match.end())
    sizes = [int(kb) for _, kb, _ in blocks]
    if not sizes or sizes[0] not in _PAGE_KB or any(b != 2 * a for a, b in pairwise(sizes)):
        # pieces of several processors' lines in one another
        return True
    zone = mem.zone(int(match[1]) if match[1] else None, match[2])
    zone.blocks = [(int(count), types) for count, _, types in blocks]
    facts.page_size = facts.page_size or sizes[0] << 10
    if re.search(r"= \d{1,18}kB", text):
        facts.max_order = max(facts.max_order or 0, len(sizes) - 1)
    return True


def frag_row(text: str) -> tuple[FragTable, tuple[int, str, tuple[float, ...]]] | None:
    """A row of extfrag_index or unusable_index, with the table that it belongs to (its name told or not)."""
    match = _FRAG.search(text)
    if match is None:
        return None
    values = tuple(float(value) for value in match[4].split())
    # only the extfrag index has -1: such a request would succeed
    name = match[1] or ("extfrag_index" if min(values) < 0 else "unusable_index")
    return FragTable(line=0, name=name), (int(match[2]), match[3], values)
