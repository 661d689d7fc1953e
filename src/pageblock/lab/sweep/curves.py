"""What a sweep shows: means over its seeds with their intervals, survival, a map of two parameters, paired differences."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import stats

from ...doctor.sizes import size_name
from ...errors import InputError
from .plan import PARAMETERS
from .results import Results

__all__ = ["Band", "Difference", "HeatMap", "Survival", "bands", "compare", "default_value", "heat_map", "survival"]

Floats = npt.NDArray[np.float64]

#: Values that count ranges of one size: ``had:1GiB`` and so on, with the columns that they add up.
OF_SIZE = {
    "had": ("ranges_free", "ranges_movable"),
    "free": ("ranges_free",),
    "movable": ("ranges_movable",),
    "blocked": ("ranges_blocked",),
}

#: Resamples of a bootstrap, and its seed: the same figures each time.
RESAMPLES, BOOTSTRAP_SEED = 2000, 0

CONFIDENCE = 0.95

#: Curves in one picture at most.
MOST_GROUPS = 12


@dataclass(frozen=True)
class Band:
    """A value over time: mean of ``runs`` runs and the interval of that mean, at each moment (model seconds)."""

    group: str
    seconds: Floats
    mean: Floats
    low: Floats
    high: Floats
    runs: int


@dataclass(frozen=True)
class Survival:
    """Share of runs in which a range of the size can still be had after each time (Kaplan-Meier), with its interval.

    ``lost``: runs that lost the last one; the others are censored at their end.
    """

    group: str
    seconds: Floats
    share: Floats
    low: Floats
    high: Floats
    runs: int
    lost: int


@dataclass(frozen=True)
class HeatMap:
    """Mean of a value at the end of the runs: ``mean[i, j]`` for the i-th y and the j-th x; NaN where no run is."""

    x: str
    y: str
    value: str
    xs: tuple[Any, ...]
    ys: tuple[Any, ...]
    mean: Floats
    runs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """Two settings on the same workloads, paired by seed: means of a value at the end, and of the difference b - a.

    ``low``, ``high``: interval of the mean difference (Student's t over the pairs), None for a single pair;
    ``parted``: pairs whose series differ at all; ``first_tick``,
    ``median_tick``: of these, when first; None: no pair parts.
    """

    value: str
    by: str
    a: Any
    b: Any
    pairs: int
    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    parted: int
    first_tick: int | None
    median_tick: float | None


def default_value(results: Results) -> str:
    """Ranges of the largest size of which there were any that could be had, in some run at some time."""
    sizes = results.series(0)["size_bytes"][0].as_py()
    for size in sorted(sizes, reverse=True):
        value = f"had:{size_name(size, 1).replace(' ', '')}"
        if any(value_of(results.series(row), value).any() for row in range(results.runs.num_rows)):
            return value
    return "free_pages"


def value_of(series: pa.Table, value: str) -> Floats:
    """A value in each sample of a run. Raises InputError for one that there is not."""
    kind, colon, size = value.partition(":")
    if colon and kind in OF_SIZE:
        names = [size_name(one, 1).replace(" ", "").lower() for one in series["size_bytes"][0].as_py()]
        if size.replace(" ", "").lower() not in names:
            raise InputError(f"value {value!r}: these runs judged ranges of {', '.join(names)}")
        at = names.index(size.replace(" ", "").lower())
        found: Floats = np.zeros(series.num_rows)
        for name in OF_SIZE[kind]:
            found += np.array([row[at] for row in series[name].to_pylist()])
        return found
    plain = [f.name for f in series.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
    if value not in plain:
        sized = ", ".join(f"{name}:SIZE" for name in OF_SIZE)
        raise InputError(f"no value {value!r}: choose {sized}, or one of {', '.join(plain)}")
    return np.asarray(series[value].to_numpy(), np.float64)


def groups(results: Results, by: Sequence[str]) -> dict[str, list[int]]:
    """Rows of the runs, by the values of these parameters; without any, of all that vary."""
    names = list(by) or list(results.varied)
    for name in names:
        if name not in results.runs.column_names:
            raise InputError(
                f"no parameter {name!r} in these runs: choose from {', '.join(results.varied) or 'none: nothing varies'}"
            )
    columns = {name: results.runs[name].to_pylist() for name in names}
    found: dict[str, list[int]] = {}
    for row in sorted(range(results.runs.num_rows), key=lambda row: tuple(_key(columns[name][row]) for name in names)):
        label = ", ".join(f"{name} {shown(name, columns[name][row])}" for name in names) or "all runs"
        found.setdefault(label, []).append(row)
    if len(found) > MOST_GROUPS:
        raise InputError(f"{len(found)} curves are too many for one picture: name fewer parameters with --by")
    return found


def shown(parameter: str, value: Any) -> str:
    """A parameter's value as a person writes it."""
    return size_name(value, 1) if parameter in ("memory", "cma", "reserved", "page_size") and value else str(value)


def _key(value: Any) -> tuple[int, Any]:
    """Numbers by size, releases and other texts by the numbers in them."""
    if isinstance(value, int | float):
        return 0, value
    text = str(value)
    return (0, tuple(map(int, text.split(".")))) if all(p.isdecimal() for p in text.split(".")) else (1, text)


def bands(results: Results, value: str, by: Sequence[str] = ()) -> list[Band]:
    """A value over time for each group of runs, at the moments that all runs of the group have."""
    found = []
    for label, rows in groups(results, by).items():
        runs = [results.series(row) for row in rows]
        times = [series["seconds"].to_numpy() for series in runs]
        common = times[0]
        for other in times[1:]:
            common = np.intersect1d(common, other)
        if not len(common):
            raise InputError(f"the runs of {label} have no moment in common: give them the same sample_every")
        table = np.array(
            [value_of(series, value)[np.searchsorted(at, common)] for series, at in zip(runs, times, strict=True)]
        )
        low, high = interval(table)
        found.append(Band(label, common, table.mean(axis=0), low, high, len(rows)))
    return found


def interval(table: Floats) -> tuple[Floats, Floats]:
    """Interval of the mean over the rows of ``table`` (runs x moments): percentile bootstrap; the mean itself for one run."""
    if len(table) < 2:
        return table.mean(axis=0), table.mean(axis=0)
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    # how often each run is drawn: the means of all resamples are one product
    weights = generator.multinomial(len(table), np.full(len(table), 1 / len(table)), RESAMPLES) / len(table)
    low, high = np.percentile(weights @ table, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)], axis=0)
    return low, high


def paired(change: Floats) -> tuple[float | None, float | None]:
    """Interval of the mean of a few differences, by Student's t; of one nothing can be said.

    A percentile bootstrap of a few values is too narrow: of five, it leaves out the true mean three times as often as it says.
    """
    count = len(change)
    if count < 2:
        return None, None
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * float(np.std(change, ddof=1)) / count**0.5
    mean = float(change.mean())
    return mean - half, mean + half


def survival(results: Results, value: str, by: Sequence[str] = ()) -> list[Survival]:
    """How long a value stays above 0."""
    found = []
    for label, rows in groups(results, by).items():
        lost: list[float] = []
        censored: list[float] = []
        ends: list[float] = []
        for row in rows:
            series = results.series(row)
            at, have = series["seconds"].to_numpy(), value_of(series, value)
            gone = np.flatnonzero(have <= 0)
            (lost if len(gone) else censored).append(float(at[gone[0]] if len(gone) else at[-1]))
            ends.append(float(at[-1]))
        if not lost:
            times, ones = np.array([0.0, max(ends)]), np.ones(2)
            found.append(Survival(label, times, ones, ones, ones, len(rows), 0))
            continue
        curve = stats.ecdf(
            stats.CensoredData.right_censored(lost + censored, [False] * len(lost) + [True] * len(censored))
        ).sf
        with warnings.catch_warnings():
            # where nothing or everything is lost; seen to below
            warnings.simplefilter("ignore", RuntimeWarning)
            bounds = curve.confidence_interval(CONFIDENCE, method="log-log")
        times = np.concatenate([[0.0], curve.quantiles])
        share = np.concatenate([[1.0], curve.probabilities])
        low = np.concatenate([[1.0], bounds.low.probabilities])
        high = np.concatenate([[1.0], bounds.high.probabilities])
        # where nothing or everything is lost the interval has no width that the formula can tell
        low, high = np.where(np.isnan(low), share, low), np.where(np.isnan(high), share, high)
        found.append(Survival(label, times, share, low, high, len(rows), len(lost)))
    return found


def heat_map(results: Results, x: str, y: str, value: str) -> HeatMap:
    """The value at the end of the runs over two parameters."""
    if x == y:
        raise InputError(f"--x and --y are both {x}: choose two of {', '.join(results.varied) or 'none'}")
    for name in (x, y):
        if name not in results.varied:
            raise InputError(f"no parameter {name!r} varies: choose two of {', '.join(results.varied) or 'none'}")
    columns = {name: results.runs[name].to_pylist() for name in (x, y)}
    xs, ys = (sorted(set(columns[name]), key=_key) for name in (x, y))
    total, count = np.zeros((len(ys), len(xs))), np.zeros((len(ys), len(xs)), np.int64)
    for row in range(results.runs.num_rows):
        at = ys.index(columns[y][row]), xs.index(columns[x][row])
        total[at] += value_of(results.series(row), value)[-1]
        count[at] += 1
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return HeatMap(x, y, value, tuple(xs), tuple(ys), mean, count)


def compare(
    results: Results, by: str, values: Sequence[str], a: str | None = None, b: str | None = None
) -> list[Difference]:
    """Two values of a parameter against each other, all else equal. ``a``, ``b``: as written; default: the only two there are."""
    if by not in results.varied:
        raise InputError(
            f"no parameter {by!r} varies: choose one of {', '.join(results.varied) or 'none: nothing varies'}"
        )
    column = results.runs[by].to_pylist()
    known = {str(value): value for value in sorted(set(column), key=_key)}
    a, b = (None if text is None else _written(by, text, known) for text in (a, b))
    if (a is None) != (b is None) and len(known) == 2:
        only = next(text for text in (a, b) if text is not None)
        (other,) = known.keys() - {only}
        a, b = (only, other) if b is None else (other, only)
    elif a is not None and a == b:
        raise InputError(f"--a and --b are both {a}: name two values of {by}")
    if a is None or b is None:
        if len(known) != 2 or a is not None or b is not None:
            raise InputError(
                f"{by} has {len(known)} values: say which two, for example --a {next(iter(known))} --b {list(known)[-1]}"
            )
        a, b = known
    others = [name for name in results.varied if name != by]
    keys = list(zip(*(results.runs[name].to_pylist() for name in [*others, "seed"]), strict=True))
    sides: dict[str, dict[Any, int]] = {a: {}, b: {}}
    for row, value in enumerate(column):
        if str(value) in sides:
            sides[str(value)][str(keys[row])] = row
    pairs = [(row, sides[b][key]) for key, row in sides[a].items() if key in sides[b]]
    if not pairs:
        raise InputError(
            f"no run with {by} {a} has a twin with {by} {b} and the same seed: run both with the same seeds"
        )
    series = [(results.series(one), results.series(other)) for one, other in pairs]
    ticks = [tick for one, other in series if (tick := first_difference(one, other)) is not None]
    found = []
    for value in values:
        table = np.array([[value_of(one, value)[-1], value_of(other, value)[-1]] for one, other in series])
        change = table[:, 1] - table[:, 0]
        low, high = paired(change)
        found.append(
            Difference(
                value,
                by,
                known[a],
                known[b],
                len(pairs),
                float(table[:, 0].mean()),
                float(table[:, 1].mean()),
                float(change.mean()),
                low,
                high,
                len(ticks),
                min(ticks, default=None),
                float(np.median(ticks)) if ticks else None,
            )
        )
    return found


def _written(by: str, text: str, known: Mapping[str, Any]) -> str:
    """A value's name among those known, also as a sweep file writes it: 4MiB. Raises InputError."""
    if text not in known and by in PARAMETERS:
        with contextlib.suppress(InputError):
            text = str(PARAMETERS[by].read(text))
    if text not in known:
        raise InputError(f"{by} is never {text!r}: choose from {', '.join(known)}")
    return text


def first_difference(one: pa.Table, other: pa.Table) -> int | None:
    """The first tick at which the samples of two runs differ; None: they never do."""
    count = min(one.num_rows, other.num_rows)
    for at in range(count):
        if one.slice(at, 1).to_pylist() != other.slice(at, 1).to_pylist():
            return int(one["tick"][at].as_py())
    return None
