"""Two boots agree when they differ only in time and in what another node did."""

import pytest

from oracle.compare import comparable, first_difference

RECORD = """\
V oracle 2 kernel=6.1.0-56-amd64 mode=trace pcp=0 why=0
Q cpu=0 count=0 high=0 batch=1 free_factor=0 expire=3 stat_threshold=0
a 1 0 m 5
c 71 15307 345 : 15310>4 15311!262144 = -16 t=1397606 why=U:14848
O 3 -786432 1 m
E ops=2 ns_total=411 ns_in_allocator=357 migrated=14 overflow=0
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("t=1397606", "t=9"),
        ("!262144", "!99"),
        ("ns_total=411", "ns_total=5"),
        ("ns_in_allocator=357", "ns_in_allocator=1"),
        ("expire=3", "expire=0"),
        ("O 3 -786432", "O 3 -5"),
    ],
)
def test_what_differs_from_boot_to_boot_is_left_out(old: str, new: str) -> None:
    assert old in RECORD
    assert first_difference(RECORD, RECORD.replace(old, new)) is None


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("m 5", "m 6", 3),
        ("15310>4", "15310>5", 4),
        ("15310>4", "15310!4", 4),
        ("= -16 t", "= 0 t", 4),
        ("why=U:14848", "why=T:14848", 4),
        ("stat_threshold=0", "stat_threshold=10", 2),
        ("O 3 -786432", "O 3 5", 5),
        ("O 3 -786432", "O 4 -786432", 5),
        ("migrated=14", "migrated=15", 6),
    ],
)
def test_what_the_allocator_did_is_compared(old: str, new: str, line: int) -> None:
    difference = first_difference(RECORD, RECORD.replace(old, new, 1))
    assert difference is not None
    number, left, right = difference
    assert number == line
    assert left != right


def test_a_record_that_ends_early_differs() -> None:
    short = "".join(RECORD.splitlines(keepends=True)[:3])
    difference = first_difference(RECORD, short)
    assert difference is not None
    assert difference[0] == 4
    assert difference[2] == ""


def test_a_comparable_line_keeps_its_words() -> None:
    assert comparable("c 1 2 3 : 5!77 = 0 t=8") == "c 1 2 3 : 5!* = 0 t=*"
