"""Traces that were spoilt: one line, whatever is in them."""

from pathlib import Path
from random import Random

import pytest

from pageblock.check.badinput.trace import sound_trace
from pageblock.errors import InputError
from pageblock.lab.replay import replay


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\nT ", "\nT 1:-5 "),
        ("\nT ", "\nT 1:4294967296 "),
        ("\nL 10 1 ", "\nL 10 1 99999999999999999999 "),
        ("\nL 10 1 ", "\nL 1023 1 "),
        ("D end stat_free=", "D end stat_free=9999999999999999999999"),
        ("highatomic=0", "highatomic=9999999999999999999999"),
        ("mode=trace", "x"),
    ],
)
def test_a_number_that_no_kernel_has_is_one_line(tmp_path: Path, old: str, new: str) -> None:
    text = "\n".join(sound_trace(Random(1))) + "\n"
    assert old in text
    path = tmp_path / "trace.txt"
    path.write_text(text.replace(old, new, 1))
    if old == "mode=trace":
        path.write_text(text.replace("kernel=6", "kernel=\x7f6", 1).replace("kernel=5", "kernel=\x7f5", 1))
    with pytest.raises(InputError) as refused:
        replay(path, "6.1")
    assert str(refused.value).isprintable()
