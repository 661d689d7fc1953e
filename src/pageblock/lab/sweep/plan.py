"""A sweep file: which runs there are."""

import difflib
import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...mm import release as find_release
from ...mm.geometry import check_geometry
from ..run import Settings
from ..traced import load_trace
from ..workload import SHIPPED, Amount, Workload, load_workload, to_toml

__all__ = ["PARAMETERS", "Plan", "Run", "load_sweep"]

#: Runs of one sweep at most: their results are written in files of some runs each.
MOST_RUNS = 10_000_000


def _size(value: Any) -> int:
    """Bytes of ``"64MiB"`` or of a number of bytes."""
    return Amount.bytes_of(str(value))


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{value!r} is no whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f'{value!r} is no text: write it in quotes, "{value}"')
    return value


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(_size(one) for one in (value if isinstance(value, list) else [value]))


@dataclass(frozen=True)
class Parameter:
    """A parameter of a run: the field of ``Settings`` that it sets, "" for what is no setting, and how its text is read."""

    setting: str
    read: Callable[[Any], Any]


#: What a sweep may vary.
PARAMETERS: dict[str, Parameter] = {
    "workload": Parameter("", _text),
    "from": Parameter("", _text),
    "release": Parameter("release", _text),
    "max_order": Parameter("max_order", _whole),
    "pageblock_order": Parameter("pageblock_order", _whole),
    "page_size": Parameter("page_size", _size),
    "memory": Parameter("memory_bytes", _size),
    "cma": Parameter("cma_bytes", _size),
    "reserved": Parameter("reserved_bytes", _size),
    "ticks": Parameter("ticks", _whole),
    "sample_every": Parameter("sample_every", _whole),
    "sizes": Parameter("size_bytes", _sizes),
}

#: Keys of a sweep file beyond the parameters.
OTHER_KEYS = ("name", "seeds", "first_seed", "grid", "random")

#: Keys of a range to draw from.
RANGE_KEYS = ("low", "high", "log", "step", "choices")


@dataclass(frozen=True)
class Run:
    """One run. ``id`` tells it from every other by what it is, not by its place; ``values``: its parameters as read."""

    id: str
    workload: Workload
    settings: Settings
    source: str | None
    values: dict[str, Any] = field(hash=False)

    @property
    def label(self) -> str:
        """Its parameters in one line."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items())


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep in their order; ``varied``: names of the parameters of which there are several values."""

    name: str
    runs: tuple[Run, ...]
    varied: tuple[str, ...]
    text: str

    @property
    def digest(self) -> str:
        """What tells this sweep from others: of all its runs."""
        return hashlib.sha256("".join(run.id for run in self.runs).encode()).hexdigest()


def load_sweep(path: Path) -> Plan:
    """Read a sweep file (docs/sweep.md).

    Raises:
        InputError: it cannot be read, has an unknown key (the nearest known one is named), or a combination that there is not.
    """
    try:
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; name a sweep file (docs/sweep.md)") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: no TOML file: {error}") from error
    try:
        return _plan(told, path, text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _plan(told: dict[str, Any], path: Path, text: str) -> Plan:
    _check_keys(told, [*OTHER_KEYS, *PARAMETERS], "the sweep")
    grid, random = _table(told, "grid"), _table(told, "random")
    _check_keys(grid, PARAMETERS, "[grid]")
    _check_keys(random, ["draws", "seed", *PARAMETERS], "[random]")
    fixed = {name: told[name] for name in PARAMETERS if name in told}
    for name in PARAMETERS:
        if (name in fixed) + (name in grid) + (name in random) > 1:
            raise InputError(f"{name} is given more than once: leave it in one of the sweep, [grid] and [random]")
    seeds, first = _count(told, "seeds", 1), _count(told, "first_seed", 0, least=0)
    lists = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    for name, listed in lists.items():
        if not listed:
            raise InputError(f"[grid] has no value for {name}: give a list")
        if len({json.dumps(value, default=str) for value in listed}) < len(listed):
            raise InputError(f"[grid] has a value twice for {name}")
    draws = _draws(random)
    total = seeds * len(draws) * math.prod(len(values) for values in lists.values())
    if total > MOST_RUNS:
        raise InputError(f"{total:,} runs, more than {MOST_RUNS:,}: take fewer values, draws or seeds")
    workloads: dict[str, tuple[Workload, int | None]] = {}
    runs: list[Run] = []
    for combination in itertools.product(*lists.values()):
        for draw in draws:
            values = {**fixed, **dict(zip(lists, combination, strict=True)), **draw}
            runs += _runs(values, range(first, first + seeds), workloads, path.parent)
    if len({run.id for run in runs}) < len(runs):
        raise InputError("two runs are the same: a value is there twice in other words, or a random draw came twice")
    varied = tuple(name for name in PARAMETERS if len({str(run.values.get(name)) for run in runs}) > 1)
    return Plan(str(told.get("name", path.stem)), tuple(runs), varied, text)


def _runs(
    values: Mapping[str, Any], seeds: range, workloads: dict[str, tuple[Workload, int | None]], folder: Path
) -> Iterator[Run]:
    """The runs of one combination, one a seed."""
    if "workload" not in values:
        raise InputError(f"no workload: give one of {', '.join(SHIPPED)}, a TOML file or a trace")
    read: dict[str, Any] = {}
    for name, value in values.items():
        try:
            read[name] = PARAMETERS[name].read(value)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    if read["workload"] not in workloads:
        workloads[read["workload"]] = _workload(read["workload"], folder)
    workload, length = workloads[read["workload"]]
    if length is not None:
        read = {"ticks": length, **read}
    settings = {PARAMETERS[key].setting: value for key, value in read.items() if PARAMETERS[key].setting}
    source = str(folder / read["from"]) if "from" in read else None
    if source is not None and not Path(source).exists():
        raise InputError(f"from: {source} is not there")
    _check_machine(Settings(**settings), source)
    for seed in seeds:
        plain = {**read, "seed": seed}
        known = json.dumps([plain, to_toml(workload)], sort_keys=True, default=str)
        key = hashlib.sha256(known.encode()).hexdigest()[:20]
        yield Run(key, workload, Settings(**settings, seed=seed), source, plain)


def _check_machine(settings: Settings, source: str | None) -> None:
    """Raise InputError for a machine that there cannot be, before any run."""
    if settings.ticks < 1 or settings.sample_every < 1:
        raise InputError(f"ticks is {settings.ticks}, sample_every {settings.sample_every}: give 1 or more")
    rules = find_release(settings.release)
    for size in settings.size_bytes:
        if size < settings.page_size or size & (size - 1):
            raise InputError(f"sizes: ranges of {size} bytes: give powers of two, {settings.page_size} or more")
    if source is not None:
        return
    pages = settings.memory_bytes // settings.page_size
    check_geometry(pages, 0, settings.max_order, settings.pageblock_order, settings.page_size, None, rules)
    if settings.cma_bytes + settings.reserved_bytes >= settings.memory_bytes:
        raise InputError(
            f"cma {settings.cma_bytes} and reserved {settings.reserved_bytes} bytes leave nothing of memory "
            f"{settings.memory_bytes}: take less of them, or more memory"
        )


def _workload(name: str, folder: Path) -> tuple[Workload, int | None]:
    """A workload by name, or from a file whose path begins where the sweep file is; ticks of a trace."""
    if name in SHIPPED:
        return load_workload(name), None
    path = folder / name
    return (load_workload(str(path)), None) if path.suffix == ".toml" or not path.is_file() else load_trace(path)


def _draws(random: dict[str, Any]) -> list[dict[str, Any]]:
    """The random combinations; one that is empty where nothing is random."""
    if not random:
        return [{}]
    draws, seed = _count(random, "draws", 0), _count(random, "seed", 0, least=0)
    if not draws:
        raise InputError("[random] has no draws: say how many")
    generator = np.random.default_rng(seed)
    names = [name for name in random if name in PARAMETERS]
    return [{name: _draw(name, random[name], generator) for name in names} for _ in range(draws)]


def _draw(name: str, told: Any, generator: np.random.Generator) -> Any:
    """One value: of ``choices``, or from [low, high], evenly or on a logarithmic scale, in multiples of ``step`` above low."""
    if not isinstance(told, dict):
        raise InputError(f"[random] {name} is {told!r}: give {{choices = [...]}} or {{low = ..., high = ...}}")
    _check_keys(told, RANGE_KEYS, f"[random] {name}")
    if "choices" in told:
        if not isinstance(told["choices"], list) or not told["choices"] or len(told) > 1:
            raise InputError(f"[random] {name}: choices is a list with a value, and nothing stands beside it")
        return told["choices"][int(generator.integers(len(told["choices"])))]
    if "low" not in told or "high" not in told:
        raise InputError(f"[random] {name}: give low and high, or choices")
    read = PARAMETERS[name].read
    if read is _text:
        raise InputError(f"[random] {name} is text, of which there is no range: give {{choices = [...]}}")
    low, high, step = read(told["low"]), read(told["high"]), read(told.get("step", 1))
    if not all(isinstance(bound, int) for bound in (low, high, step)) or not step > 0 or not 0 <= low <= high:
        raise InputError(f"[random] {name}: low {low}, high {high} and step {step} are no range of numbers")
    if told.get("log", False):
        if not low:
            raise InputError(f"[random] {name}: a logarithmic scale has no 0; give low = 1 or more")
        value = round(math.exp(generator.uniform(math.log(low), math.log(high))))
    else:
        value = int(generator.integers(low, high, endpoint=True))
    return low + (value - low) // step * step


def _table(told: dict[str, Any], name: str) -> dict[str, Any]:
    found = told.get(name, {})
    if not isinstance(found, dict):
        raise InputError(f"{name} is {found!r}: write it as a table, [{name}]")
    return found


def _count(told: dict[str, Any], name: str, otherwise: int, least: int = 1) -> int:
    value = told.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or (value < least and name in told) or value >= 1 << 62:
        raise InputError(f"{name} is {value!r}: give a whole number of {least} or more")
    return value


def _check_keys(told: Mapping[str, Any], known: Any, where: str) -> None:
    """Raise InputError for an unknown key, with the nearest that is known."""
    for key in told:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), 1, 0)
            raise InputError(f"{where} has an unknown key {key!r}: did you mean {near[0]!r}? (docs/sweep.md)")
