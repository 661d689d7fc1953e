"""The seed's seven patches and the faults of the posted version: what each changes, on a small zone and on a machine.

Source: "remove the MAX_ORDER - 1 alignment requirement for CMA and alloc_contig_range()" (linux-mm, January 2022).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..check.shortest import Found, Menu, consequences
from ..machine import Snapshot
from ..mm import FAULTS, OPERATION, PATCHES, Migratetype, PageClass, Zone
from ..mm import constants as k
from ..mm import release as find_release
from .trial import load_memory

__all__ = ["Alignment", "Pass", "Row", "Series", "series"]

#: The series with everything on: what each row is compared with.
SEED = "seed"


@dataclass(frozen=True, slots=True)
class Pass:
    """Each range of a machine taken by alloc_contig_range and given back, one after the other.

    ``ranges`` were asked for; ``granted``, ``refused`` (-EBUSY, -ENOMEM) and ``bugs`` (the kernel would have stopped) of
    them. ``drift``: pages by which NR_FREE_PAGES is wrong at the end. ``isolated``: pageblocks isolated at the end;
    ``retyped``: pageblocks of another type than before.
    """

    ranges: int
    granted: int
    refused: int
    bugs: int
    drift: int
    isolated: int
    retyped: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a consumer must align to: ``pages`` by this row's rules, ``seed_pages`` by the series'.

    ``text``: what that means on the machine.
    """

    what: str
    pages: int
    seed_pages: int
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One switch of the series.

    ``name``: "patch 4 off", "fault c on", …; ``release``: the rules it makes. ``found``: a shortest sequence for each symptom
    that ``seed`` does not show. ``whole``, ``inside``: the machine's pageblocks, and the middle half of each, taken one by one.
    ``note``: why there is nothing to show.
    """

    name: str
    title: str
    release: str
    found: tuple[Found, ...]
    whole: Pass | None
    inside: Pass | None
    alignment: Alignment | None
    note: str


@dataclass(frozen=True, slots=True)
class Series:
    """All rows, and what the series itself does on the machine (``whole``, ``inside``)."""

    source: str
    kernel: str | None
    page_size: int
    pageblock_order: int
    max_order: int
    menu: Menu
    whole: Pass
    inside: Pass
    rows: tuple[Row, ...]


def series(snapshot: Snapshot, progress: Callable[[int, int], None] | None = None) -> Series:
    """Turn each patch off and each fault on, one at a time, and see what follows. ``progress(done, total)``: rows."""
    menu = Menu(cma=True)
    switches = list(_switches())
    whole, inside = _passes(snapshot, SEED)
    rows: list[Row] = []
    for name, title, release, note in switches:
        if progress is not None:
            progress(len(rows), len(switches))
        rows.append(_row(snapshot, menu, name, title, release, note))
    if progress is not None:
        progress(len(switches), len(switches))
    return Series(
        snapshot.source,
        snapshot.kernel,
        snapshot.page_size,
        snapshot.pageblock_order,
        snapshot.max_order,
        menu,
        whole,
        inside,
        tuple(rows),
    )


def _switches() -> Iterator[tuple[str, str, str, str]]:
    """Name, title, release and note of each row."""
    for number, patch in PATCHES.items():
        yield f"patch {number} off", patch.title, f"{SEED}-p{number}", patch.not_modelled
    for letter, fault in FAULTS.items():
        yield f"fault {letter} on", fault.title, f"{SEED}+f{letter}", fault.not_modelled


def _row(snapshot: Snapshot, menu: Menu, name: str, title: str, release: str, note: str) -> Row:
    """What one switch does."""
    if note:
        return Row(name, title, release, (), None, None, None, note)
    alignment = _alignment(snapshot, release)
    if alignment is not None:
        return Row(name, title, release, (), None, None, alignment, "")
    whole, inside = _passes(snapshot, release)
    return Row(name, title, release, consequences(release, SEED, menu), whole, inside, None, "")


#: Rule that a consumer asks -> (what it aligns, what follows, with {old} and {new} sizes and {waste}).
_CONSUMERS = {
    k.RULE_CMA_ALIGN: "base and size of a CMA area, and of a device tree's shared-dma-pool",
    k.RULE_VIRTIO_SUBBLOCK: "the smallest step in which a virtio-mem device plugs and unplugs",
    k.RULE_FADUMP_ALIGN: "the memory that powerpc's fadump reserves",
}


def _alignment(snapshot: Snapshot, release: str) -> Alignment | None:
    """What a switch that only consumers ask changes; None if the allocator itself changes."""
    rules, base = find_release(release).rules, find_release(SEED).rules
    block = 1 << snapshot.pageblock_order
    sizes = {k.ALIGN_PAGEBLOCK: block, k.ALIGN_MAX_ORDER: max(1 << snapshot.max_order, block)}
    for rule, what in _CONSUMERS.items():
        if rules[rule] != base[rule]:
            pages, seed_pages = sizes[rules[rule]], sizes[base[rule]]
            return Alignment(what, pages, seed_pages, "")
    return None
