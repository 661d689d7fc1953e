"""Memory blocks of a recorded machine."""

from dataclasses import replace

import pyarrow as pa
import pytest

from pageblock.errors import InputError
from pageblock.lab.blocks import find_blocks
from pageblock.machine import Snapshot
from pageblock.mm.types import PageClass
from tests.machine.test_zones import snapshot, table

MIB = 1 << 20
SECTION = 32768


def machine(*runs: tuple[int, int, int], pages: int = 8 * SECTION) -> Snapshot:
    """A machine of one zone from pfn 0 whose runs are (start, pages, class)."""
    empty = snapshot(table())
    start, nr, kind = zip(*runs, strict=True)
    assert empty.runs is not None
    schema = empty.runs.schema
    zero = [0] * len(runs)
    columns = [zero, start, nr, kind, zero, zero, zero]
    rows = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)
    return replace(empty, zones=(replace(empty.zones[0], start_pfn=0, spanned=pages),), runs=rows)


def test_a_block_is_there_if_a_page_is_online() -> None:
    found = find_blocks(
        machine((0, SECTION, PageClass.HOLE), (SECTION, 5, PageClass.ANON), (3 * SECTION - 1, SECTION, PageClass.FREE)),
        None,
    )
    assert (found.online, found.names()) == ([1, 2, 3], "1-3")


def test_only_blocks_that_are_whole_count_as_a_devices() -> None:
    runs = (
        (0, SECTION + 5, PageClass.ANON),
        (SECTION + 5, 10, PageClass.HOLE),
        (SECTION + 15, SECTION, PageClass.FREE),
    )
    of = machine(*runs)
    assert find_blocks(of, None).whole_pages(of) == SECTION


@pytest.mark.parametrize(("end", "size"), [((1 << 24) - 1, 128), (1 << 24, 2048)])
def test_blocks_are_larger_from_64_gib_on(end: int, size: int) -> None:
    found = find_blocks(machine((0, SECTION, PageClass.FREE), pages=end), None)
    assert found.block_pages * 4096 == size * MIB
    assert ("below 64 GiB" in found.assumption) is (size == 128)


@pytest.mark.parametrize(("wanted", "pages"), [(128 * MIB, SECTION), (512 * MIB, 4 * SECTION), (200 * MIB, None)])
def test_a_size_that_is_asked_for(wanted: int, pages: int | None) -> None:
    of = machine((0, SECTION, PageClass.FREE))
    if pages is None:
        with pytest.raises(InputError, match="whole number of sections"):
            find_blocks(of, wanted)
    else:
        assert find_blocks(of, wanted).block_pages == pages


def test_without_pages_there_are_no_blocks() -> None:
    with pytest.raises(InputError, match="without kpageflags"):
        find_blocks(replace(machine((0, 1, PageClass.FREE)), runs=None), None)
