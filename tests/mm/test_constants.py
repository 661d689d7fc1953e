"""The C and the Python view of the core's numbers, and the enums, agree."""

import re
from pathlib import Path

import pageblock.mm.constants as constants
from pageblock.mm.events import _EVENTS
from pageblock.mm.results import INVARIANTS, WHYS
from pageblock.mm.types import Migratetype, PageClass, PageFlag

PXD = Path(constants.__file__).with_suffix(".pxd")


def test_pxd_equals_py() -> None:
    c_view = {m[1]: int(m[2], 0) for m in re.finditer(r"^    (\w+) = (\w+?)U?$", PXD.read_text(), re.MULTILINE)}
    python_view = {name: value for name, value in vars(constants).items() if name.isupper()}
    assert c_view == python_view


def test_enums_have_the_cores_numbers() -> None:
    for member in Migratetype:
        assert getattr(constants, member.name) == member
    for page_class in PageClass:
        assert getattr(constants, f"C_{page_class.name}") == page_class
    for flag in PageFlag:
        assert getattr(constants, f"PG_{flag.name}") == flag


def test_every_number_of_a_reason_event_and_invariant_has_words() -> None:
    names = vars(constants)
    assert set(WHYS) == {v for n, v in names.items() if n.startswith("WHY_")}
    assert set(_EVENTS) == {v for n, v in names.items() if n.startswith("EV_")}
    assert set(INVARIANTS) == {v for n, v in names.items() if n.startswith("INV_")} - {constants.INV_NONE}
