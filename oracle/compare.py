"""Whether two records of the same requests say the same, but for what depends on time or chance."""

import re
from itertools import zip_longest

__all__ = ["comparable", "first_difference"]

#: What differs from boot to boot: timings, PFNs outside the zone (another node's), and how long
#: the per-cpu lists have been left alone.
VARIABLE = (
    (re.compile(r"\b(t|ns_total|ns_in_allocator|expire)=\d+"), r"\1=*"),
    (re.compile(r"!\d+"), "!*"),
    (re.compile(r"^(O \d+) -\d+"), r"\1 !*"),
)


def comparable(line: str) -> str:
    """The line with a ``*`` for each thing that differs from boot to boot."""
    for pattern, stand_in in VARIABLE:
        line = pattern.sub(stand_in, line)
    return line


def first_difference(one: str, other: str) -> tuple[int, str, str] | None:
    """Number (from 1) and text of the first line in which two records differ; None: they agree.

    A record that ends early has an empty line there.
    """
    for number, (left, right) in enumerate(zip_longest(one.splitlines(), other.splitlines(), fillvalue=""), 1):
        if left != right and comparable(left) != comparable(right):
            return number, left, right
    return None
