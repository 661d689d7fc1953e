"""Gfp flags: numbers to names, and what names ask for."""

import pytest

from pageblock.machine.gfp import describe_gfp, understand_gfp


def test_numbers_become_names_and_what_has_none_stays_a_number() -> None:
    assert describe_gfp(0x8 | 0x40000000, ((0x8, "__GFP_MOVABLE"),)) == "__GFP_MOVABLE|0x40000000"
    assert describe_gfp(0xC, ((0xC, "BOTH"), (0x8, "ONE"))) == "BOTH"
    assert describe_gfp(0) == "none"


@pytest.mark.parametrize(
    ("gfp", "compound", "atomic", "zone", "migratetype"),
    [
        ("GFP_HIGHUSER_MOVABLE|__GFP_ZERO", False, False, "Movable", 1),
        ("GFP_TRANSHUGE_LIGHT", True, False, "Movable", 1),
        ("GFP_ATOMIC|__GFP_COMP", True, True, "Normal", 0),
        ("GFP_KERNEL|__GFP_HIGH", False, False, "Normal", 0),
        ("GFP_KERNEL|__GFP_RECLAIMABLE", False, False, "Normal", 2),
        ("GFP_NOWAIT|__GFP_DMA32", False, False, "DMA32", 0),
        ("__GFP_DMA", False, False, "DMA", 0),
        ("0xcc0", False, False, "Normal", 0),
        ("0x20", False, True, "Normal", 0),
        ("GFP_OF_NEXT_YEAR", False, False, "Normal", 0),
        ("", False, False, "Normal", 0),
    ],
)
def test_what_flags_ask_for(gfp: str, compound: bool, atomic: bool, zone: str, migratetype: int) -> None:
    found = understand_gfp(gfp)
    assert (found.compound, found.atomic, found.zone, found.migratetype) == (compound, atomic, zone, migratetype)
