"""CMA areas and their bitmaps; areas of a dump, as struct cma has them up to 6.14 and since."""

from typing import Any

import numpy as np
import pytest

from pageblock.machine.cma_area import CmaArea, used_spans
from pageblock.machine.drgn_cma import read_cma_areas

AREA = CmaArea("linux,cma", ((1024, 2048), (4096, 4352)), 2, ((1024, 1040), (2000, 2048), (4100, 4104)))


def test_free_runs_are_what_is_not_used() -> None:
    assert AREA.free() == ((1040, 2000), (4096, 4100), (4104, 4352))
    assert AREA.nr_pages - AREA.nr_used == sum(end - start for start, end in AREA.free())


def test_an_area_is_restored_as_it_was_told() -> None:
    assert CmaArea.restored(AREA.told()) == AREA


@pytest.mark.parametrize(
    "wrong", [{"used": [[9, 8]]}, {"used": [[5, 9], [8, 12]]}, {"ranges": [[-1, 4]]}, {"order_per_bit": "x"}]
)
def test_other_spans_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no span|invalid literal"):
        CmaArea.restored(AREA.told() | wrong)


@pytest.mark.parametrize(
    ("bits", "order", "spans"),
    [
        ([0b00000000, 0b00000000], 0, []),
        ([0b00001110, 0b00000000], 0, [(1001, 1004)]),
        ([0b10000000, 0b00000001], 0, [(1007, 1009)]),
        ([0b00000101, 0b00000000], 2, [(1000, 1004), (1008, 1012)]),
        # bits behind the last page are not the area's
        ([0b11111111, 0b11111111], 0, [(1000, 1012)]),
    ],
)
def test_set_bits_are_spans(bits: list[int], order: int, spans: list[tuple[int, int]]) -> None:
    assert used_spans(np.array(bits, np.uint8), 1000, 12, order) == spans


class Value:
    """A number of the dumped kernel, with the members of a structure."""

    def __init__(self, number: int = 0, text: bytes = b"", /, **members: Any) -> None:
        self.number = number
        self.text = text
        self.members = members
        self.__dict__.update(members)
        self.type_ = self

    def has_member(self, name: str) -> bool:
        return name in self.members

    def __int__(self) -> int:
        return self.number

    def value_(self) -> int:
        return self.number

    def string_(self) -> bytes:
        return self.text


class Program(dict[str, Any]):
    """Variables by name, and the memory at one address."""

    def read(self, address: int, size: int) -> bytes:
        assert address == ADDRESS
        return bytes([0b00000110]) + bytes(size - 1)


ADDRESS = 0xFFFF888001000000


def part(base: int, count: int, bitmap: int = ADDRESS) -> dict[str, Value]:
    return {"base_pfn": Value(base), "count": Value(count), "bitmap": Value(bitmap)}


def test_an_area_up_to_6_14_is_one_range() -> None:
    area = Value(order_per_bit=Value(1), name=Value(0, b"reserved"), **part(4096, 1024))
    found = read_cma_areas(Program(cma_areas=[area], cma_area_count=Value(1)))
    assert found == (CmaArea("reserved", ((4096, 5120),), 1, ((4098, 4102),)),)


def test_an_area_since_6_15_has_ranges_and_one_not_activated_has_no_bitmap() -> None:
    ranges = [Value(**part(8192, 64)), Value(**part(4096, 64, bitmap=4096)), Value(**part(0, 0))]
    area = Value(order_per_bit=Value(0), name=Value(0, b"two"), nranges=Value(3), ranges=ranges, count=Value(128))
    found = read_cma_areas(Program(cma_areas=[area], cma_area_count=Value(1)))
    assert found == (CmaArea("two", ((4096, 4160), (8192, 8256)), 0, ((8193, 8195),)),)


def test_a_kernel_without_cma_has_no_areas() -> None:
    assert read_cma_areas(Program()) == ()
