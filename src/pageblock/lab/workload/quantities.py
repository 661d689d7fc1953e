"""What a workload file says in numbers: amounts of memory, lifetimes, mixes of orders. Each is checked when it is made.

Random numbers are drawn as whole numbers and looked up in tables of quantiles, so that a seed means the same requests on every
machine, whatever its mathematical library.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError

__all__ = ["FOREVER", "QUANTILES", "TICK", "Amount", "Lifetime", "Orders", "mean_one"]

#: Parts of a tick that times are counted in.
TICK = 1 << 16

#: A lifetime in parts of a tick that means: never freed by its owner.
FOREVER = -1

#: Entries of a table from which values are drawn.
QUANTILES = 4096

#: No lifetime is longer, in ticks.
_MOST_TICKS = 1 << 40

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SHAPES = ("exponential", "fixed", "uniform", "lognormal")


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of memory: ``size`` bytes and ``share`` of the machine's memory, 0 to 1."""

    size: float = 0.0
    share: float = 0.0

    @classmethod
    def of(cls, value: Any) -> "Amount":
        """From ``"64M"``, ``"0.5%"`` or a number of bytes. Raises InputError for anything else."""
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 60:
            return cls(size=float(value))
        match = re.fullmatch(
            r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:(%)|([KMGT]?)(?:iB|B)?)\s*", str(value), re.I | re.A
        )
        if not isinstance(value, str) or match is None:
            raise InputError(f'{value!r} is no amount of memory: write for example "64M", "1.5G" or "5%" of all memory')
        number = float(match[1])
        if match[2]:
            if number > 100:
                raise InputError(f"{value!r} is more than all memory: write at most 100%")
            return cls(share=number / 100)
        return cls(size=number * _UNITS[match[3].upper()])

    @classmethod
    def bytes_of(cls, text: str) -> int:
        """Bytes of ``64M`` and the like. Raises InputError, also for a share of memory."""
        amount = cls.of(int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text)
        if amount.share:
            raise InputError(f"{text!r} is a share of memory: write an amount, for example 512M")
        return int(amount.size)

    def pages(self, total_pages: int, page_size: int) -> float:
        """Pages on a machine of ``total_pages``; not rounded."""
        return self.size / page_size + self.share * total_pages

    def __str__(self) -> str:
        return f"{self.share * 100:.6g}%" if self.share else f"{self.size:.0f}"


def _quantile(shape: str, sigma: float, q: float) -> float:
    """The q-quantile of a distribution with mean 1."""
    if shape == "exponential":
        return -math.log1p(-q)
    if shape == "uniform":
        return 2 * q
    if shape == "lognormal":
        return math.exp(sigma * NormalDist().inv_cdf(q) - sigma * sigma / 2)
    return 1.0


@lru_cache(maxsize=256)
def mean_one(shape: str, sigma: float) -> tuple[float, ...]:
    """``QUANTILES`` values whose mean is 1."""
    values = [_quantile(shape, sigma, (i + 0.5) / QUANTILES) for i in range(QUANTILES)]
    mean = math.fsum(values) / QUANTILES
    return tuple(value / mean for value in values)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long pages are kept.

    Args:
        mean: ticks; of those that are freed at all.
        shape: ``exponential``, ``fixed``, ``uniform`` (0 to twice the mean) or ``lognormal`` with ``sigma``: few long ones.
        forever: share that is never freed, 0 to 1.
    """

    mean: float
    shape: str = "exponential"
    sigma: float = 1.5
    forever: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mean <= _MOST_TICKS:
            raise InputError(f"a lifetime of {self.mean} ticks: give 0 to {_MOST_TICKS}")
        if self.shape not in SHAPES:
            raise InputError(f"no lifetime has the shape {self.shape!r}: choose one of {', '.join(SHAPES)}")
        if not 0 <= self.sigma <= 4:
            raise InputError(f"a lifetime with sigma {self.sigma}: give 0 to 4")
        if not 0 <= self.forever <= 1:
            raise InputError(f"forever is {self.forever}: it is a share, 0 to 1")

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """``count`` lifetimes in parts of a tick, or ``FOREVER``."""
        drawn: npt.NDArray[np.int64] = _lifetimes(self)[rng.integers(0, QUANTILES, count, np.uint16)]
        return drawn

    def draw_left(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """What is left of the lives of ``count`` pages met at some time, as ``draw``: of long lives one meets more."""
        drawn: npt.NDArray[np.int64] = _left(self)[rng.integers(0, QUANTILES, count, np.uint16)]
        return drawn


@lru_cache(maxsize=256)
def _lifetimes(life: Lifetime) -> npt.NDArray[np.int64]:
    return _table(life, list(mean_one(life.shape, life.sigma)))


@lru_cache(maxsize=256)
def _left(life: Lifetime) -> npt.NDArray[np.int64]:
    """Quantiles of the equilibrium distribution: its density is the share of lives that are longer."""
    values = sorted(mean_one(life.shape, life.sigma))
    # up to values[k], lives longer than values[k - 1] pass through
    reached = [0.0]
    for k, value in enumerate(values):
        reached.append(reached[-1] + (value - (values[k - 1] if k else 0.0)) * (QUANTILES - k) / QUANTILES)
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES * reached[-1]
    return _table(life, np.interp(places, reached, [0.0, *values]).tolist())


def _table(life: Lifetime, values: list[float]) -> npt.NDArray[np.int64]:
    """Lives of these lengths, in means, in parts of a tick, some of them for ever."""
    table = np.array([round(min(value * life.mean, _MOST_TICKS) * TICK) for value in values], np.int64)
    # spread over the table, so that also those that last for ever are of all lengths
    never = (np.arange(QUANTILES) * 2654435761 % QUANTILES) < round(life.forever * QUANTILES)
    table[never] = FOREVER
    table.flags.writeable = False
    return table


@dataclass(frozen=True, slots=True)
class Orders:
    """Share of the requests that ask for each order: (order, weight) pairs."""

    weights: tuple[tuple[int, float], ...] = ((0, 1.0),)

    def __post_init__(self) -> None:
        if not self.weights or sum(weight for _, weight in self.weights) <= 0:
            raise InputError("a mix of orders needs a positive weight")
        for order, weight in self.weights:
            if not 0 <= order <= 26 or not 0 <= weight <= 1e9:
                raise InputError(f"order {order} with weight {weight}: orders are 0 to 26, weights 0 or more")

    @classmethod
    def of(cls, value: Any) -> "Orders":
        """From a table ``{0 = 0.9, 3 = 0.1}``. Raises InputError for anything else."""
        if not isinstance(value, dict):
            raise InputError(
                f"orders is {value!r}: write a table of order = weight, for example {{ 0 = 0.9, 3 = 0.1 }}"
            )
        pairs = []
        for order, weight in value.items():
            if (
                not re.fullmatch(r"[0-9]{1,2}", str(order))
                or isinstance(weight, bool)
                or not isinstance(weight, int | float)
            ):
                raise InputError(f"orders has {order!r} = {weight!r}: write order = weight, for example 3 = 0.1")
            pairs.append((int(order), float(weight)))
        return cls(tuple(sorted(pairs)))

    @property
    def largest(self) -> int:
        """The highest order that is asked for."""
        return max(order for order, weight in self.weights if weight)

    @property
    def mean_pages(self) -> float:
        """Pages of a request."""
        total = sum(weight for _, weight in self.weights)
        return sum(weight * (1 << order) for order, weight in self.weights) / total

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.uint8]:
        """``count`` orders."""
        if len(self.weights) == 1:
            return np.full(count, self.weights[0][0], np.uint8)
        drawn: npt.NDArray[np.uint8] = _orders(self)[rng.integers(0, QUANTILES, count, np.uint16)]
        return drawn

    def __str__(self) -> str:
        return "{ " + ", ".join(f"{order} = {weight:.6g}" for order, weight in self.weights) + " }"


@lru_cache(maxsize=256)
def _orders(mix: Orders) -> npt.NDArray[np.uint8]:
    total = sum(weight for _, weight in mix.weights)
    table = np.zeros(QUANTILES, np.uint8)
    at, before = 0, 0.0
    for order, weight in mix.weights:
        before += weight
        end = round(before / total * QUANTILES)
        table[at:end] = order
        at = end
    return table
