"""Means, intervals, survival, maps and paired differences, from runs whose numbers are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pageblock.errors import InputError
from pageblock.lab.sample import SERIES
from pageblock.lab.sweep.curves import bands, compare, default_value, heat_map, interval, paired, survival, value_of
from pageblock.lab.sweep.results import Results, read_results, to_table, write_batch


def series(free: list[int], ranges: list[int]) -> pa.Table:
    """A run with these free pages, and these ranges of 1 GiB free and half as many movable, at ticks 0, 10, …"""
    rows: list[dict[str, Any]] = []
    for i, (pages, count) in enumerate(zip(free, ranges, strict=True)):
        row: dict[str, Any] = {
            f.name: [] if pa.types.is_list(f.type) else 0.0 if pa.types.is_floating(f.type) else 0 for f in SERIES
        }
        row |= {"tick": 10 * i, "seconds": 60.0 * i, "free_pages": pages, "size_bytes": [2 << 20, 1 << 30]}
        row |= {
            "ranges": [9, 4],
            "ranges_free": [1, count],
            "ranges_movable": [0, count // 2],
            "ranges_blocked": [8, 0],
        }
        rows.append(row)
    return pa.Table.from_pylist(rows, SERIES)


def results(folder: Path, *runs: tuple[dict[str, Any], pa.Table]) -> Results:
    rows = [{"id": f"{i:02d}", **values, "series": one} for i, (values, one) in enumerate(runs)]
    for row in rows:
        write_batch(folder, "known", to_table([row]))
    return read_results(folder)


@pytest.fixture
def known(tmp_path: Path) -> Results:
    return results(
        tmp_path,
        ({"release": "5.15", "cma": 1 << 20, "seed": 0}, series([100, 50, 10], [4, 2, 0])),
        ({"release": "5.15", "cma": 1 << 20, "seed": 1}, series([100, 70, 30], [4, 0, 0])),
        ({"release": "6.1", "cma": 1 << 20, "seed": 0}, series([100, 50, 16], [4, 2, 2])),
        ({"release": "6.1", "cma": 1 << 20, "seed": 1}, series([100, 71, 32], [4, 4, 0])),
    )


def test_a_value_of_a_size_adds_what_can_be_had(known: Results) -> None:
    assert default_value(known) == "had:1GiB"
    assert value_of(known.series(0), "had:1GiB").tolist() == [6, 3, 0]
    assert value_of(known.series(0), "free:1GiB").tolist() == [4, 2, 0]
    assert value_of(known.series(0), "blocked:2MiB").tolist() == [8, 8, 8]
    assert value_of(known.series(0), "free_pages").tolist() == [100, 50, 10]
    with pytest.raises(InputError, match="2mib, 1gib"):
        value_of(known.series(0), "had:4MiB")
    with pytest.raises(InputError, match="choose had:SIZE"):
        value_of(known.series(0), "actors")


def test_bands_are_the_means_of_the_seeds(known: Results) -> None:
    old, new = bands(known, "free_pages")
    assert (old.group, new.group, old.runs) == ("release 5.15", "release 6.1", 2)
    assert old.seconds.tolist() == [0, 60, 120]
    assert old.mean.tolist() == [100, 60, 20]
    assert old.low.tolist() == [100, 50, 10]
    assert old.high.tolist() == [100, 70, 30]


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    low, high = interval(generator.normal(5, 2, (40, 500)))
    assert 0.90 <= np.mean((low <= 5) & (high >= 5)) <= 0.98


def test_survival_is_kaplan_and_meiers_estimate(tmp_path: Path) -> None:
    lost = [
        ({"release": "6.1", "seed": i}, series([1] * 4, counts))
        for i, counts in enumerate([[1, 0, 0, 0], [1, 1, 1, 0]])
    ]
    kept = [
        ({"release": "6.1", "seed": 2}, series([1] * 3, [1, 1, 1])),
        ({"release": "6.1", "seed": 3}, series([1] * 4, [1] * 4)),
    ]
    (one,) = survival(results(tmp_path, *lost, *kept), "free:1GiB")
    # 4 at risk at 60 s, of whom one is lost; one leaves at 120 s; 2 at risk at 180 s, of whom one is lost
    assert (one.runs, one.lost) == (4, 2)
    assert dict(zip(one.seconds.tolist(), one.share.tolist(), strict=True)) == {0: 1, 60: 0.75, 120: 0.75, 180: 0.375}
    assert (one.low <= one.share).all()
    assert (one.share <= one.high).all()


def test_nothing_lost_is_a_line_at_one(tmp_path: Path) -> None:
    (one,) = survival(results(tmp_path, ({"release": "6.1", "seed": 0}, series([1, 1], [1, 1]))), "free:1GiB")
    assert (one.seconds.tolist(), one.share.tolist(), one.lost) == ([0, 60], [1, 1], 0)


def test_a_map_has_the_mean_at_the_end_in_each_cell(tmp_path: Path) -> None:
    found = heat_map(
        results(
            tmp_path,
            ({"release": "6.12", "cma": 2, "seed": 0}, series([5, 10], [1, 1])),
            ({"release": "6.12", "cma": 2, "seed": 1}, series([5, 20], [1, 1])),
            ({"release": "6.1", "cma": 1, "seed": 0}, series([5, 7], [1, 1])),
        ),
        "cma",
        "release",
        "free_pages",
    )
    assert (found.xs, found.ys) == ((1, 2), ("6.1", "6.12"))
    assert np.array_equal(found.mean, [[7, np.nan], [np.nan, 15]], equal_nan=True)
    assert found.runs.tolist() == [[1, 0], [0, 2]]


def test_differences_are_paired_by_seed_and_say_when_runs_part(known: Results) -> None:
    (one,) = compare(known, "release", ["free_pages"])
    assert (one.a, one.b, one.pairs) == ("5.15", "6.1", 2)
    assert (one.mean_a, one.mean_b, one.difference) == (20, 24, 4)
    # 2 and 6: their mean, and 12.7062 (t of one degree of freedom) times its standard error of 2
    assert (one.low, one.high) == pytest.approx((4 - 25.4124, 4 + 25.4124), abs=1e-3)
    # seed 0 parts at the end, seed 1 in the middle
    assert (one.parted, one.first_tick, one.median_tick) == (2, 10, 15)
    (back,) = compare(known, "release", ["free_pages"], "6.1", "5.15")
    assert back.difference == -4


@pytest.mark.parametrize(
    ("by", "a", "b", "words"),
    [("cma", None, None, "no parameter 'cma' varies"), ("release", "6.1", "6.19", "never '6.19'")],
)
def test_what_cannot_be_compared_is_said(known: Results, by: str, a: str | None, b: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compare(known, by, ["free_pages"], a, b)


def test_runs_without_a_twin_are_no_pairs(tmp_path: Path) -> None:
    found = results(
        tmp_path,
        ({"release": "5.15", "seed": 0}, series([1, 2], [1, 1])),
        ({"release": "6.1", "seed": 1}, series([1, 2], [1, 1])),
    )
    with pytest.raises(InputError, match="same seeds"):
        compare(found, "release", ["free_pages"])


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="pageblock sweep --out"):
            read_results(folder)


def test_an_interval_of_few_differences_holds_the_truth_as_often_as_it_says() -> None:
    """Of five pairs, a percentile bootstrap leaves the true mean out 16 times in 100."""
    generator = np.random.default_rng(1)
    for count in (2, 5, 20):
        missed = 0
        for _ in range(2000):
            low, high = paired(generator.normal(size=count))
            assert low is not None
            assert high is not None
            missed += not low <= 0 <= high
        assert 0.035 < missed / 2000 < 0.065, f"{count} pairs, seed 1"
    assert paired(np.array([3.0])) == (None, None)


def test_a_value_is_written_as_in_the_sweep_file_and_one_of_two_is_enough(known: Results) -> None:
    (one,) = compare(known, "release", ["free_pages"], a="6.1")
    assert (one.a, one.b, one.difference) == ("6.1", "5.15", -4)
    with pytest.raises(InputError, match=r"both 6\.1"):
        compare(known, "release", ["free_pages"], a="6.1", b="6.1")
    with pytest.raises(InputError, match=r"never '9\.9'"):
        compare(known, "release", ["free_pages"], a="9.9")
