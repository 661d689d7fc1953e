"""Messages that mail, the journal or the console broke into several lines, put together again.

A message is held while it lacks its end and the next line can only be a part of it; a line with a prefix of its own is
taken only where the kernel itself prints in pieces (pr_cont).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from .log_text import LINE_BYTES, LogLine

__all__ = ["joined"]

#: Most lines that one message is put together from.
MOST_PIECES = 96

#: Lines that a message is wrapped into at most, where only the missing prefix says that they belong to it.
WRAPPED = 8


@dataclass(frozen=True, slots=True)
class _Form:
    """A message that may be broken: what it contains, what ends it, what a further piece looks like.

    ``pieces``: the kernel prints it in pieces, each of which may have a prefix; ``more``: pieces may follow its end.
    """

    marker: str
    ended: Callable[[str], bool]
    piece: Callable[[str], bool]
    pieces: bool = False
    more: bool = False

    def takes(self, held: LogLine, line: LogLine, taken: int) -> bool:
        """Whether a line is a further piece of the held message."""
        ended = self.ended(held.text)
        if (not line.prefixed or self.pieces) and (self.more or not ended) and self.piece(line.text):
            return True
        # in a log with prefixes a line without one is the rest of the line before it
        return held.prefixed and not line.prefixed and not ended and taken < WRAPPED


def _tokens(allowed: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: all(allowed(token) for token in text.split())


def _has(pattern: str) -> Callable[[str], bool]:
    search = re.compile(pattern).search
    return lambda text: search(text) is not None


def _starts(pattern: str) -> Callable[[str], bool]:
    match = re.compile(pattern).match
    return lambda text: match(text) is not None


_HEADER = ("refcount:", "count:", "mapcount:", "mapping:", "index:", "pfn:", "compound_mapcount:")
_ZONE_WORD = re.compile(r"[\w()]{1,40}:\d{1,20}[kK]B|lowmem_reserve\[\]:|\d{1,20}|all_unreclaimable\?|yes|no").fullmatch
_BITMAP_WORD = re.compile(r"[\d@+=>]{1,65536}|free|of|total|pages|cma:|range|\d{1,2}:").fullmatch
_LIST_WORD = re.compile(r"\d{1,20}\*\d{1,12}kB|\([A-Z]{1,12}\)|=|\d{1,20}kB").fullmatch
_FLAG_TEXT = re.compile(r"[\w|=,()#]{1,512}(?: CMA)?").fullmatch
_OWNER_TEXT = re.compile(
    r"(?:Unmovable|Movable|Reclaimable|HighAtomic|CMA|Isolate|migratetype|gfp_mask|pid|tgid|ts|free_ts|id)\b|0x|__GFP_|GFP_|\)"
).match


def _closed(text: str) -> bool:
    """Whether the flags' parenthesis is closed."""
    return text.rfind(")") > text.rfind("(")


_FORMS = (
    _Form(
        "number of available pages:",
        _has(r"=> ?\d+ free of \d+ total pages"),
        _tokens(lambda token: _BITMAP_WORD(token) is not None),
        pieces=True,
    ),
    _Form(
        "cma: range",
        _has(r"=> ?\d+ free of \d+ total pages"),
        _tokens(lambda token: _BITMAP_WORD(token) is not None),
        pieces=True,
    ),
    _Form("cma: number of", _has(r"=> ?\d+ free of \d+ total pages"), _starts(r"available pages:"), pieces=True),
    # a header has its index, and a pfn may follow it
    _Form("count:", _has(r"index:0x[0-9a-f]"), _tokens(lambda token: token.startswith(_HEADER)), more=True),
    _Form("flags: 0x", _closed, lambda text: _FLAG_TEXT(text) is not None),
    _Form("flags:", _has(r"flags: ?0x"), _starts(r"0x[0-9a-f]{1,16}\(")),
    _Form("ops:", _has(r" ino:"), _starts(r"ino:|dentry name")),
    _Form(
        "HugeTLB: allocating", _has(r"Only allocated \d+ hugepages"), _starts(r"Only|allocated|\d{1,9} huge|hugepages")
    ),
    _Form(
        "allocated via order", _has(r"gfp_mask 0x[0-9a-f]+\([^)]{0,400}\)"), lambda text: _OWNER_TEXT(text) is not None
    ),
    _Form("order:", _has(r"mode:0x[0-9a-f]+(?:\([^)]{0,400}\))?[,\s]|gfp_mask=0x|head:"), _starts(r"mode:0x|nodemask")),
    _Form("memory offlining", _has(r"failed due to \w"), _starts(r"failed\b|due to|to \w")),
    _Form(
        "page dumped because:",
        _has(r"because: ?\w+ \w"),
        _starts(r"(?:unmovable|migration|isolation|page|failure|failed)\b"),
    ),
    _Form(
        "alloc_contig_range:", _has(r"PFNs busy|failed"), _starts(r"(?:[0-9a-f]{1,16}\) )?PFNs|busy\b|[0-9a-f]{1,16}\)")
    ),
    _Form("cma_alloc", _has(r"ret: ?-?\d"), _starts(r"ret:|pages,|\d{1,20} pages|-\d{1,3}\b")),
    _Form("migrating pfn", _has(r"ret: ?-?\d"), _starts(r"failed\b|ret:")),
    _Form(
        "kB ",
        _has(r"= \d+kB"),
        _tokens(lambda token: (_ZONE_WORD(token) or _LIST_WORD(token)) is not None),
        pieces=True,
    ),
)


def _form_of(text: str) -> _Form | None:
    for form in _FORMS:
        if form.marker in text:
            return form
    return None


def joined(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Lines with their later pieces appended."""
    held: LogLine | None = None
    form: _Form | None = None
    pieces = 0
    for line in lines:
        if held is not None and form is not None:
            fits = pieces < MOST_PIECES and len(held.text) + len(line.text) < 2 * LINE_BYTES
            if fits and form.takes(held, line, pieces):
                # a list broken behind its separator goes on without a space
                space = "" if held.text[-1] in "|+@(=" and line.text[0] != "=" else " "
                held = replace(held, text=f"{held.text}{space}{line.text}")
                pieces += 1
                # what it is may show only now
                form = _form_of(held.text) or form
                continue
            yield held
            held = form = None
        form = _form_of(line.text)
        if form is None or (form.ended(line.text) and not form.more):
            yield line
            form = None
        else:
            held, pieces = line, 0
    if held is not None:
        yield held
