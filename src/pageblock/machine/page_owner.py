"""/sys/kernel/debug/page_owner: who allocated each page, from a text of any size.

One record an allocation (mm/page_owner.c, print_page_owner): order, gfp mask, on newer kernels pid and time, on 6.1 tgid and
command too; pfn (hexadecimal in 6.12), type asked for, pageblock and its type now, flags; the stack; whether and why it was
migrated; its memcg. Pages that are free, and tails, have none.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pageblock.errors import InputError
from pageblock.mm.types import PageClass

from .infer import Remark

__all__ = ["Owners", "Record", "attach_owners", "owner_column", "parse_records", "read_owners", "split_by_owner"]

I64 = NDArray[np.int64]

#: Stretches of pages of one owner that are kept, and names of owners; what comes beyond is counted.
MOST_STRETCHES = 8 << 20
MOST_NAMES = 1 << 16

#: Longest record: print_page_owner writes at most a page.
MOST_RECORD = 64 << 10

#: The largest pfn and order that can be; more is no record of a kernel.
MOST_PFN = 1 << 52
MOST_ORDER = 26

BEGIN = b"Page allocated via order "
RECORD = re.compile(
    rb"Page allocated via order (?P<order>\d{1,3}), mask (?P<mask>0x[0-9a-f]{1,16})(?:\((?P<gfp>[^)\n]*)\))?"
    rb"(?:, pid (?P<pid>-?\d+))?(?:, tgid (?P<tgid>-?\d+) \((?P<comm>(?s:.{0,64}?))\))?(?:, (?:free_)?ts \d+ ns)*\s*\n"
    rb"PFN (?P<pfn>0x[0-9a-f]{1,16}|\d{1,19}) (?:type (?P<type>\w+) )?Block \d+ type (?P<block>\w+)[^\n]*\n"
    rb"(?P<stack>(?:[ \[][^\n]*\n)*)"
    rb"(?:Page has been migrated, last migrate reason: (?P<reason>\w+))?"
)
FRAME = re.compile(rb"(?:\[<[0-9a-fx]+>\] )?([A-Za-z_][\w.$]*)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?")

#: Functions that allocate for others, without leading underscores: who called them is the owner.
ALLOCATORS = tuple(
    """
    save_stack set_page_owner register_early_stack post_alloc_hook prep_new_page get_page_from_freelist alloc_pages alloc_page
    alloc_frozen_pages get_free_pages get_zeroed_page folio_alloc filemap_alloc_folio vma_alloc alloc_slab allocate_slab new_slab
    slab_alloc slab_post_alloc kmem_cache_alloc kmem_getpages cache_grow cache_alloc fallback_alloc kmalloc kzalloc kcalloc
    kvmalloc kvzalloc krealloc vmalloc vzalloc do_kmalloc alloc_contig alloc_migrat isolate_freepages compaction_alloc
    refill_objects pcs_replace devm_kmalloc pcpu_alloc_pages page_frag_alloc dma_direct_alloc
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Record:
    """One allocation. ``type``, ``block``: as the kernel names migratetypes, "" where it is not told.

    ``function``: the first of the stack that is not the allocator's; ``migrated``: why it was migrated last, or None.
    """

    pfn: int
    order: int
    mask: int
    gfp: str
    pid: int | None
    comm: str | None
    type: str
    block: str
    function: str
    migrated: str | None

    @property
    def owner(self) -> str:
        """Function and command, as far as they are known."""
        return f"{self.function} ({self.comm})" if self.comm else self.function


@dataclass(frozen=True)
class Owners:
    """Stretches of pages [start, end), ascending and disjoint, with the index of their owner in ``names``."""

    start: I64
    end: I64
    name: I64
    names: tuple[str, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Owners) and list(self.stretches()) == list(other.stretches())

    __hash__ = None  # type: ignore[assignment]

    def stretches(self) -> Iterator[tuple[int, int, str]]:
        """Start, end and owner of each."""
        for start, end, name in zip(self.start.tolist(), self.end.tolist(), self.name.tolist(), strict=True):
            yield start, end, self.names[name]

    def of(self, pfn: int) -> str | None:
        """The owner of a page; None where no record has it."""
        at = int(np.searchsorted(self.start, pfn, "right")) - 1
        return self.names[int(self.name[at])] if at >= 0 and pfn < self.end[at] else None


def parse_records(pieces: Iterable[bytes]) -> Iterator[Record | None]:
    """The records of a text that comes in pieces; None for one that cannot be read."""
    functions: dict[bytes, str] = {}
    for text in record_texts(pieces):
        match = RECORD.match(text)
        if match is None:
            yield None
            continue
        stack = match["stack"]
        if stack not in functions:
            if len(functions) >= MOST_NAMES:
                functions.clear()
            functions[stack] = owning_function(stack)
        pfn, order = int(match["pfn"], 0), int(match["order"])
        if pfn >= MOST_PFN or order > MOST_ORDER or pfn & ((1 << order) - 1):
            yield None
            continue
        comm, pid = match["comm"], match["pid"]
        yield Record(
            pfn,
            order,
            int(match["mask"], 0),
            (match["gfp"] or b"").decode("utf-8", "replace"),
            None if pid is None else int(pid),
            None if comm is None else printable(comm.decode("utf-8", "replace")),
            (match["type"] or b"").decode(),
            match["block"].decode(),
            functions[stack],
            None if match["reason"] is None else match["reason"].decode(),
        )


def record_texts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The text cut where records begin; what comes before the first is left out, what is too long cut off."""
    rest = b""
    for piece in pieces:
        rest += piece
        begins = [match.start() for match in re.finditer(rb"^" + BEGIN, rest, re.MULTILINE)]
        for start, end in pairwise(begins):
            yield rest[start:end]
        # the last one may go on in the next piece, or begin at its end
        rest = rest[begins[-1] :] if begins else rest[-len(BEGIN) :]
        if len(rest) > MOST_RECORD:
            yield rest[:MOST_RECORD]
            rest = rest[-len(BEGIN) :]
    if rest.startswith(BEGIN):
        yield rest


def owning_function(stack: bytes) -> str:
    """The first function of a stack that is not the allocator's, else the last; "unknown" without a stack."""
    name = "unknown"
    for line in stack.splitlines():
        match = FRAME.match(line.strip())
        if match is None:
            continue
        name = match[1].decode().partition(".")[0]
        if not name.lstrip("_").startswith(ALLOCATORS):
            break
    return name


def printable(text: str) -> str:
    """A command's name without what would change a terminal or a table."""
    return "".join(c if c.isprintable() else "?" for c in text)


def read_owners(
    pieces: Iterable[bytes], source: str, progress: Callable[[int], None] | None = None
) -> tuple[Owners, list[Remark]]:
    """Owners of all pages that a dump tells, and what there is to say about it. Raises InputError where it tells none."""
    start, end, name = array("q"), array("q"), array("q")
    index: dict[str, int] = {}
    records = unread = dropped = migrated = 0
    for record in parse_records(pieces):
        if record is None:
            unread += 1
            continue
        records += 1
        migrated += record.migrated is not None
        owner = index.get(record.owner)
        if owner is None:
            owner = index.setdefault(record.owner if len(index) < MOST_NAMES else "others", len(index))
        last = record.pfn + (1 << record.order)
        if len(end) and end[-1] == record.pfn and name[-1] == owner:
            end[-1] = last
        elif len(start) < MOST_STRETCHES:
            start.append(record.pfn)
            end.append(last)
            name.append(owner)
        else:
            dropped += 1
        if progress is not None:
            progress(records)
    if not records:
        raise InputError(
            f"{source}: no 'Page allocated via order' record in it; copy /sys/kernel/debug/page_owner again"
        )
    text = f"page_owner tells who allocated {records:,} pages and blocks of pages, {migrated:,} of them migrated since"
    text += f"; {unread:,} records could not be read" if unread else ""
    text += f"; {dropped:,} more are left out" if dropped else ""
    arrays = [np.array(column, np.int64) for column in (start, end, name)]
    return Owners(*disjoint(*arrays), tuple(index)), [Remark("page owners", text)]


def disjoint(start: I64, end: I64, name: I64) -> tuple[I64, I64, I64]:
    """Stretches in order; of those that overlap, since the dump takes time, the later start wins."""
    by_start = np.argsort(start, kind="stable")
    start, end, name = start[by_start], end[by_start], name[by_start]
    if len(start):
        end = np.minimum(end, np.append(start[1:], end[-1]))
    keep = end > start
    return start[keep], end[keep], name[keep]


#: Classes of which it makes no sense to ask for an owner.
OWNERLESS = np.array([PageClass.FREE, PageClass.HOLE, PageClass.PCP], np.uint8)


def split_by_owner(runs: pa.Table, owners: Owners) -> tuple[pa.Table, NDArray[np.int64]]:
    """The runs cut where owners change, at units of their order, and the index of each piece's owner, -1 for none."""
    start = runs["start_pfn"].to_numpy().astype(np.int64)
    nr_pages = runs["nr_pages"].to_numpy().astype(np.int64)
    unit = (np.int64(1) << runs["order"].to_numpy().astype(np.int64)) - 1
    owned = ~np.isin(runs["class"].to_numpy(), OWNERLESS)
    edges = np.unique(np.concatenate([owners.start, owners.end]))
    # per run, the edges inside it: zones may overlap, so runs are looked up in edges
    first = np.searchsorted(edges, start, "right")
    last = np.maximum(np.where(owned, np.searchsorted(edges, start + nr_pages, "left"), first), first)
    inside = last - first
    run = np.repeat(np.arange(len(start)), inside)
    cut = edges[np.repeat(first, inside) + np.arange(len(run)) - np.repeat(np.cumsum(inside) - inside, inside)]
    fits = ((cut - start[run]) & unit[run]) == 0
    run, cut = np.append(np.arange(len(start)), run[fits]), np.append(start, cut[fits])
    order = np.lexsort((cut, run))
    run, cut = run[order], cut[order]
    is_last = np.append(run[1:] != run[:-1], True)
    ends = np.where(is_last, (start + nr_pages)[run], np.append(cut[1:], 0))
    table = runs.take(pa.array(run))
    for name, values in (("start_pfn", cut), ("nr_pages", ends - cut)):
        at = table.column_names.index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values.astype(np.uint64)))
    at = np.searchsorted(owners.start, cut, "right") - 1
    known = owned[run] & (at >= 0) & (len(owners.start) > 0)
    known[known] &= cut[known] < owners.end[at[known]]
    owner = np.full(len(cut), -1, np.int64)
    owner[known] = owners.name[at[known]]
    return table, owner


def attach_owners(runs: pa.Table, owners: Owners) -> Owners:
    """The owners of pages in use of these runs, at units of their order."""
    table, owner = split_by_owner(runs, owners)
    start = table["start_pfn"].to_numpy().astype(np.int64)
    end = start + table["nr_pages"].to_numpy().astype(np.int64)
    return joined(start, end, owner, owners.names)


def joined(start: I64, end: I64, owner: I64, names: tuple[str, ...]) -> Owners:
    """Stretches with an owner; neighbours of one owner are one, names that nothing has are left out."""
    known = owner >= 0
    by_start = np.argsort(start[known], kind="stable")
    start, end, owner = (column[known][by_start] for column in (start, end, owner))
    fresh = np.ones(len(start), np.bool_)
    fresh[1:] = (start[1:] != end[:-1]) | (owner[1:] != owner[:-1])
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(start)) - 1
    used, renamed = np.unique(owner[first], return_inverse=True)
    return Owners(
        start[first],
        end[last] if len(first) else end[:0],
        renamed.astype(np.int64),
        tuple(names[i] for i in used.tolist()),
    )


def owner_column(owner: I64, names: tuple[str, ...]) -> pa.Array:
    """Owners as strings, null where there is none."""
    return pa.DictionaryArray.from_arrays(pa.array(owner, mask=owner < 0), pa.array(list(names), pa.string())).cast(
        pa.string()
    )
