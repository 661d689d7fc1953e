"""Ranges at other alignments: counted again by asking the model at every place."""

from itertools import pairwise

import numpy as np
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor.anywhere import _most_disjoint, anywhere
from pageblock.errors import InputError
from pageblock.machine import Snapshot, read_machine


@pytest.fixture(scope="module")
def recorded() -> Snapshot:
    return read_machine(recorded_machine())


def test_a_gigantic_range_fits_more_often_where_it_may_begin_anywhere(recorded: Snapshot) -> None:
    (found,) = anywhere(recorded, [262144], ["6.1"], 512)
    assert found.aligned == 1
    assert found.side_by_side > found.aligned
    assert found.places >= found.had >= found.side_by_side
    starts = sorted(r.start_pfn for r in found.cheapest)
    assert all(b - a >= 262144 for a, b in pairwise(starts))
    assert all(start % 512 == 0 for start in starts)


def test_an_alignment_as_large_as_the_size_asks_nothing_new(recorded: Snapshot) -> None:
    assert anywhere(recorded, [512, 1024], ["6.1"], 1024) == ()


@pytest.mark.parametrize("align", [0, 1, 256, 768])
def test_an_alignment_that_isolation_does_not_know_is_refused(recorded: Snapshot, align: int) -> None:
    with pytest.raises(InputError, match="alignment"):
        anywhere(recorded, [262144], ["6.1"], align)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_lie_side_by_side_as_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    align, size = 2, 2 * int(random.integers(2, 6))
    starts = np.flatnonzero(random.random(60) < 0.6).astype(np.int64) * align
    count, end = 0, 0
    for start in starts.tolist():
        if start >= end:
            count, end = count + 1, start + size
    assert _most_disjoint(starts, size, align) == count, f"seed {seed}"
