"""Page dumps in a kernel log: dump_page's lines, gathered into ``PageDump``s.

Source: mm/debug.c and mm/page_owner.c. The forms: ``count:`` until 5.1, ``refcount:`` since; ``pfn:`` since 5.10; the
compound page's values in the first line (5.x) or in a ``head:`` line (5.7 to 6.19); ``page_type:`` since 6.8.
"""

import re
from collections.abc import Callable

from .log_events import PageDump, PageOwner

__all__ = ["PageReader", "gfp_names"]

_HEADER = re.compile(r"\bpage:\s?(?:0x)?(\(ptrval\)|[0-9a-fA-F]{6,16})? ?(?:ref)?count:(-?\d{1,12})")
_FIELD = re.compile(r"\b(mapcount|compound_mapcount|pfn|index|mapping): {0,12}(\(null\)|-?(?:0x)?[0-9a-fA-F]{1,20})")
_HEAD = re.compile(r"\bhead:\S{0,24} ?order:(\d{1,4})")
_PINCOUNT = re.compile(r"\b(?:compound_)?pincount:(-?\d{1,12})")
_COMPOUND = re.compile(r"\bcompound_mapcount: ?-?\d")
_FLAGS = re.compile(r"(anon |ksm )?(?:page )?flags: ?0x[0-9a-fA-F]{1,16}(?:\(([^()]{0,512})\))?( CMA)?")
_TYPE = re.compile(r"page_type: ?(?:0x)?[0-9a-f]{1,8}\(([\w|]{0,64})\)")
_AOPS = re.compile(
    r"(?:mapping->a_ops|\baops):([\w.]{1,80})(?: ino:([0-9a-f]{1,16}))?(?: dentry name(?:\(\?\))?:\"([^\"]{0,255})\")?"
)
_REASON = re.compile(r"page dumped because: ?(.{1,200})")
_OWNER = re.compile(
    r"page (?:last )?allocated via order (\d{1,3}),? migratetype (\w{1,16}), gfp_mask 0x[0-9a-f]{1,8}\(([^)]{0,400})\)"
    r"(?:[^()]{0,60}\(([^)]{0,32})\))?"
)
_STACK = re.compile(r"\??\s{0,2}([A-Za-z_][\w.]{0,100})\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}")

#: Lines after a page's header within which its other lines are looked for, and functions of a stack that are kept.
_REACH, _DEPTH = 90, 24


def gfp_names(text: str | None) -> frozenset[str]:
    """Names of gfp flags as the kernel prints them, ``GFP_KERNEL|__GFP_COMP``."""
    return frozenset(name.strip() for name in (text or "").split("|") if name.strip())


class PageReader:
    """Reads page dumps line by line. ``on_page`` is called with each new dump as it begins; it is filled afterwards."""

    def __init__(self, on_page: Callable[[PageDump, int], None]) -> None:
        self.on_page = on_page
        self.page: PageDump | None = None
        self.began = 0

    def feed(self, text: str, number: int) -> bool:
        """Take a line if it belongs to a page dump."""
        if ("count:" in text or "poisoned" in text) and self._header(text, number):
            return True
        page = self.page
        if page is None:
            return False
        if number - self.began > _REACH:
            self.page = None
            return False
        return self._detail(page, text)

    def _header(self, text: str, number: int) -> bool:
        match = _HEADER.search(text)
        if match is None:
            if "page:" in text and "is uninitialized and poisoned" in text:
                self._begin(PageDump(poisoned=True), number)
                return True
            return False
        page = PageDump(refcount=int(match[2]))
        hashed = ""
        for name, value in _FIELD.findall(text, match.end()):
            if name == "pfn":
                page.pfn = _number(value, 16)
            elif name == "mapcount":
                page.mapcount = _number(value, 10)
            elif name == "mapping":
                page.mapping = value != "(null)" and value.strip("0x") != ""
                hashed = value
        if page.mapping and page.pfn is None and len(hashed) == 16 and hashed.startswith("00000000"):
            # before 5.8 %p hashes NULL like any pointer; kernels that print the pfn do not
            page.mapping = None
        if _COMPOUND.search(text):
            # 4.x and 5.x print it for compound pages only; the order came later
            page.order = 0
        self._begin(page, number)
        return True

    def _begin(self, page: PageDump, number: int) -> None:
        self.page, self.began = page, number
        self.on_page(page, number)

    def _detail(self, page: PageDump, text: str) -> bool:
        if "lags:" in text and (match := _FLAGS.search(text)):
            names = [name for name in (match[2] or "").split("|") if name]
            page.flags = frozenset(name for name in names if "=" not in name)
            for name in names:
                key, _, value = name.partition("=")
                if key in ("node", "zone") and value.isascii() and value.isdigit() and len(value) < 6:
                    setattr(page, key, int(value))
            page.anon = page.anon or match[1] is not None
            page.cma = match[3] is not None
        elif text in ("anon", "ksm"):
            page.anon = True
        elif match := _HEAD.search(text):
            page.order = int(match[1])
            if pins := _PINCOUNT.search(text):
                page.pincount = int(pins[1])
        elif "page_type" in text and (match := _TYPE.search(text)):
            page.page_type = match[1] or None
        elif "ops:" in text and (match := _AOPS.search(text)):
            page.aops, page.ino, page.dentry = match[1], match[2], match[3]
            page.mapping = True
        elif match := _REASON.search(text):
            page.reason = match[1].strip()
        elif "allocated via order" in text and (match := _OWNER.search(text)):
            owner = page.owner or PageOwner()
            owner.order, owner.migratetype, owner.gfp, owner.comm = (
                int(match[1]),
                match[2],
                gfp_names(match[3]),
                match[4],
            )
            page.owner = owner
        elif "page_owner tracks the page as" in text:
            page.owner = PageOwner(allocated="as allocated" in text)
        elif page.owner is not None and "+0x" in text and (match := _STACK.match(text)):
            if len(page.owner.stack) < _DEPTH:
                page.owner.stack.append(match[1])
        else:
            return text.startswith(("raw:", "head:", "memcg:", "page->mem_cgroup"))
        return True


def _number(text: str, base: int) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None
