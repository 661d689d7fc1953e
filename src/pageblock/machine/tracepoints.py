"""Tracepoints of the kernel: which ones tell of pages, and what a ``format`` file says of their records.

The layout of a record differs from release to release and from build to build; the kernel describes it in
``events/GROUP/EVENT/format``. Nothing here assumes a position (Documentation/trace/events.rst).
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pageblock.errors import InputError

__all__ = [
    "COLUMN_OF",
    "GROUPS",
    "LEFT_OFF",
    "Field",
    "Format",
    "check_fields",
    "gfp_names",
    "is_page_event",
    "parse_format",
]

#: Groups that tell of pages, and of those the events that are turned on; None: all but LEFT_OFF. The rest of kmem is of slab
#: objects and of process sizes: many times as many events, none with a page.
GROUPS: dict[str, frozenset[str] | None] = {
    "kmem": frozenset(
        {
            "mm_page_alloc",
            "mm_page_free",
            "mm_page_free_batched",
            "mm_page_alloc_zone_locked",
            "mm_page_pcpu_drain",
            "mm_page_alloc_extfrag",
            "mm_alloc_contig_migrate_range_info",
        }
    ),
    "page_isolation": None,
    "cma": None,
    "compaction": None,
    "migrate": None,
}

#: One event for each page table entry that migration rewrites: what moves is told by others.
LEFT_OFF = frozenset({"set_migration_pte", "remove_migration_pte"})

#: Field of an event -> column of the table that it fills (docs/traces.md); all others go into the column ``fields``.
COLUMN_OF = {
    "pfn": "pfn",
    "start_pfn": "pfn",
    "end_pfn": "end_pfn",
    "order": "order",
    "alloc_order": "order",
    "migratetype": "migratetype",
    "alloc_migratetype": "migratetype",
    "gfp_flags": "gfp",
    "gfp_mask": "gfp",
    "percpu_refill": "percpu_refill",
}

#: Fields without which an event cannot be understood. Kernels before 4.1 had a pointer in place of the pfn.
REQUIRED = {
    "mm_page_alloc": ("pfn", "order", "migratetype", "gfp_flags"),
    "mm_page_free": ("pfn", "order"),
    "mm_page_alloc_zone_locked": ("pfn", "order", "migratetype"),
    "mm_page_pcpu_drain": ("pfn", "order"),
}


def is_page_event(group: str, name: str) -> bool:
    """Whether an event of the kernel is one of those that are recorded."""
    if group not in GROUPS or name in LEFT_OFF:
        return False
    wanted = GROUPS[group]
    return wanted is None or name in wanted


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record: where it lies (bytes), how many bytes, whether signed; ``text``: a string, and its place."""

    name: str
    offset: int
    size: int
    signed: bool
    text: bool = False


@dataclass(frozen=True)
class Format:
    """What a ``format`` file says: the event's name and number, its fields, and how it is printed."""

    name: str
    number: int
    fields: Mapping[str, Field]
    print_format: str


FIELD = re.compile(
    r"field:(?P<type>[^;]*?)\s*(?P<name>\w+)(?:\[[^\]]*\])?;\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:(\d);)?"
)


def parse_format(text: str, where: str) -> Format:
    """Read a ``format`` file.

    Raises:
        InputError: it is none; ``where`` is what messages call it.
    """
    name = re.search(r"^name: (\w+)$", text, re.M)
    number = re.search(r"^ID: (\d+)$", text, re.M)
    fields = {}
    for found in FIELD.finditer(text):
        offset, size, signed = int(found[3]), int(found[4]), found[5] == "1"
        text_field = "char[]" in found["type"] or found["type"].endswith("char")
        fields[found["name"]] = Field(found["name"], offset, size, signed, text_field and "__data_loc" in found["type"])
    if name is None or number is None or "common_type" not in fields:
        raise InputError(
            f"{where}: no format of a tracepoint is known that looks like this; send it in with the kernel's release"
        )
    printed = re.search(r"^print fmt: (.*)$", text, re.M)
    return Format(name[1], int(number[1]), fields, printed[1] if printed else "")


def check_fields(name: str, fields: Mapping[str, object], where: str) -> None:
    """Raise InputError where an event lacks a field without which it says nothing."""
    missing = [field for field in REQUIRED.get(name, ()) if field not in fields]
    if missing:
        there = ", ".join(field for field in fields if not field.startswith("common_")) or "none"
        raise InputError(
            f"{where}: unknown format of {name}: no field {missing[0]} (it has {there}); kernels since 4.1 have it"
        )


# ---- gfp flags ----

FLAG = re.compile(r"\{((?:[^{}\"]|\"[^\"]*\")*?),\s*\"(\w+)\"\s*\}")
CAST = re.compile(r"\(\s*(?:unsigned long|unsigned int|u64|gfp_t|__force gfp_t)\s*\)")


def gfp_names(print_format: str) -> tuple[tuple[int, str], ...]:
    """(mask, name) of the gfp flags in the order in which the kernel prints them, from an event's own ``print fmt``.

    A kernel whose print format names its enums instead of their values gives none.
    """
    found = []
    for expression, name in FLAG.findall(print_format):
        mask = constant(expression)
        if mask is not None and name.startswith(("GFP_", "__GFP_")):
            found.append((mask, name))
    return tuple(found)


def constant(expression: str) -> int | None:
    """The value of a C expression of integers, None where it is more than that."""
    plain = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", CAST.sub("", expression)).strip()
    try:
        return evaluate(ast.parse(plain, mode="eval").body) & (1 << 64) - 1
    except (SyntaxError, ValueError, RecursionError):
        return None


def evaluate(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return ~evaluate(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = evaluate(node.left), evaluate(node.right)
        if isinstance(node.op, ast.BitOr):
            return left | right
        if isinstance(node.op, ast.BitAnd):
            return left & right
        if isinstance(node.op, ast.LShift) and 0 <= right < 64:
            return left << right
    raise ValueError("not a constant of integers")
