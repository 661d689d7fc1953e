"""Small zones drawn page by page, so that the tests of rules can state both sides of every boundary; tests of the drawing."""

import numpy as np

from pageblock import Migratetype, PageClass, PageFlag, Zone

U, M, R, H, C, ISO = Migratetype

_TYPES = {"U": U, "M": M, "R": R, "H": H, "C": C, "I": ISO}
#: What a letter draws: class, whether it is one compound page above order 0, and flags.
_CLASSES = {
    "k": (PageClass.KERNEL, False, 0),
    "s": (PageClass.SLAB, True, 0),
    "a": (PageClass.ANON, False, 0),
    "A": (PageClass.ANON, False, PageFlag.PINNED),
    "i": (PageClass.FILE, False, 0),
    "I": (PageClass.FILE, False, PageFlag.PINNED),
    "c": (PageClass.FILE, False, PageFlag.CLEAN),
    "C": (PageClass.FILE, False, PageFlag.CLEAN | PageFlag.PINNED),
    "d": (PageClass.MOVABLE_OPS, True, 0),
    "t": (PageClass.THP, True, 0),
    "g": (PageClass.HUGETLB, True, 0),
    "r": (PageClass.RESERVED, False, 0),
    "w": (PageClass.HWPOISON, False, 0),
    "o": (PageClass.OFFLINE, False, 0),
}


def zone_of(release: str, *blocks: str, max_order: int = 5, pageblock_order: int = 4) -> Zone:
    """A zone of pageblocks of 16 pages, at most two to a free page, as drawn.

    A block is its type and its pages, ascending: ``"M: f3 k a*7"`` is a MOVABLE pageblock with a free page of order 3, a
    kernel page and seven anonymous ones; capital letters are pinned. ``f2@U``: free on the list of another type. ``.``:
    outside the zone, at its start or end. What a page covers beyond its pageblock is left out of the next one. Free pages
    are listed ascending.
    """
    size = 1 << pageblock_order
    pages: list[tuple[int, str, int, Migratetype]] = []
    at, first, last = 0, 0, size * len(blocks)
    for number, block in enumerate(blocks):
        name, _, drawn = block.partition(":")
        at = max(at, number * size)
        for token in drawn.split():
            piece, _, times = token.partition("*")
            for _ in range(int(times or 1)):
                word, _, listed = piece.partition("@")
                order = int(word[1:] or 0)
                if word == "." and not pages:
                    first = at + 1
                elif word == ".":
                    last = min(last, at)
                else:
                    pages.append((at, word[0], order, _TYPES[listed or name]))
                at += 1 << order
        assert at >= (number + 1) * size, f"{block!r} draws {at - number * size} of {size} pages"
    zone = Zone(last - first, release, first, max_order, pageblock_order, populate=False)
    zone.load_pageblocks([_TYPES[block[0]] for block in blocks[first // size : (last - 1) // size + 1]])
    for at, letter, order, _ in pages:
        if letter != "f":
            page_class, compound, flags = _CLASSES[letter]
            flags |= PageFlag.COMPOUND if compound and order else 0
            zone.load_pages([at], [1 << order], [page_class], [order], [flags])
    free = [(at, order, listed) for at, letter, order, listed in pages if letter == "f"]
    if free:
        zone.load_free(*(np.array(column) for column in zip(*free, strict=True)))
    return zone


def lists(zone: Zone, migratetype: Migratetype) -> dict[int, list[int]]:
    """Non-empty free lists of a type, head first."""
    found = {order: zone.free_list(order, migratetype).tolist() for order in range(zone.geometry.max_order + 1)}
    return {order: pfns for order, pfns in found.items() if pfns}


def types(zone: Zone) -> list[int]:
    """The pageblocks' types."""
    found: list[int] = zone.pageblock_types.tolist()
    return found


def events(zone: Zone, name: str) -> list[dict[str, int | None]]:
    """A list to which the fields of each event of a name are added from now on."""
    found: list[dict[str, int | None]] = []
    zone.observe(lambda event: found.append(event.fields) if event.name.endswith(name) else None)
    return found


def test_a_drawing_becomes_pages_lists_and_types() -> None:
    zone = zone_of("6.1", "M: f3 k a*5 f1@U", "C: f4")
    assert types(zone) == [M, C]
    assert (lists(zone, M), lists(zone, U), lists(zone, C)) == ({3: [0]}, {1: [14]}, {4: [16]})
    assert [zone.page(pfn).page_class for pfn in (8, 9)] == [PageClass.KERNEL, PageClass.ANON]
    assert (zone.nr_free_pages, zone.nr_free_cma_pages) == (26, 16)


def test_a_drawing_may_begin_and_end_inside_a_pageblock() -> None:
    zone = zone_of("6.1", "U: .*8 f3", "M: t4", "M: f2 a*4 .*8")
    assert (zone.start_pfn, zone.end_pfn) == (8, 40)
    assert zone.page(31).head_pfn == 16


def test_a_page_may_cover_two_pageblocks() -> None:
    zone = zone_of("6.1", "U: f5", "M:", "M: f4")
    assert (lists(zone, U), lists(zone, M), types(zone)) == ({5: [0]}, {4: [32]}, [U, M, M])
