"""Find a workload that leaves behind what a recorded machine shows: its free lists, its pageblock types, its blockers.

A recorded state does not say how it came to be. So a mix of the actors that nearly every machine has is run on a model of the
machine's main zone, smaller than it but of the same shape, and its numbers are searched for (differential evolution, Storn &
Price 1997, from scipy) until the model's distributions match. How far off the result is, on seeds that the search never saw, is
told with it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..machine import Snapshot
from ..mm import Migratetype
from .run import Settings, prepared
from .state import State, distances, main_zone, state_of_snapshot, state_of_zone, total
from .workload import SHIPPED, Amount, Anonymous, Kernel, Lifetime, Network, PageCache, Slab, Workload, load_workload

__all__ = ["KNOBS", "Fit", "Knob", "fit", "mix_of"]

#: Seeds that each trial is run from: with one the search would find what suits a single draw.
_SEEDS = 2

#: Seeds that distances are told for; the search uses others.
_UNSEEN = (101, 102, 103)


@dataclass(frozen=True, slots=True)
class Knob:
    """A number that is searched for: between ``least`` and ``most``, by its logarithm if ``log``."""

    name: str
    least: float
    most: float
    log: bool = True

    def at(self, place: float) -> float:
        """The value at a place from 0 to 1."""
        if self.log:
            return self.least * math.exp(place * math.log(self.most / self.least))
        return self.least + place * (self.most - self.least)


#: What is searched for. Amounts are shares of memory, lifetimes ticks, and what one file or process has is pages, whatever the
#: machine's size: how large a hole is that something leaves behind depends on it. None is so large that a small model would have
#: few of them, of which the search would choose a lucky draw.
KNOBS = (
    Knob("files_size", 0.005, 0.9),
    Knob("files_turnover", 5, 500),
    Knob("file_pages", 1, 256),
    Knob("anonymous_size", 0.005, 0.7),
    Knob("process_pages", 16, 1024),
    Knob("thp", 0.0, 1.0, log=False),
    Knob("slab_size", 0.001, 0.4),
    Knob("slab_life", 5, 3000),
    Knob("slab_reclaimable", 0.0, 1.0, log=False),
    Knob("kernel_size", 0.001, 0.5),
    Knob("past_size", 0.01, 1.0),
    Knob("past_pages", 1, 512),
)

#: The past ends with this share of a run; mean lifetimes of its files and of processes are these shares.
_PAST, _PAST_LIFE, _PROCESS_LIFE = 0.75, 0.15, 0.6

#: Memory that packets pass through in a tick.
_PACKETS = 0.002


@dataclass(frozen=True)
class Held:
    """A machine that the fit has not seen: its distance to the model, and to the machine that was fitted, which is as near as a
    model could come that copies that one."""

    source: str
    of_model: dict[str, float]
    of_machine: dict[str, float]


@dataclass(frozen=True)
class Fit:
    """The workload and how near it comes.

    ``zone``: of the machine; ``distances``: means over ``_UNSEEN`` seeds at the machine's own size; ``spread``: the largest
    difference of their totals; ``boot``: distances of an unused machine; ``nearest``: the shipped workload that comes nearest,
    with its distances; ``trials``: models that were run in the search; ``memory_bytes``: their size.
    """

    source: str
    zone: str
    kernel: str | None
    workload: Workload
    settings: Settings
    values: dict[str, float]
    distances: dict[str, float]
    spread: float
    boot: dict[str, float]
    nearest: tuple[str, dict[str, float]]
    held_back: tuple[Held, ...]
    trials: int
    memory_bytes: int


def mix_of(values: dict[str, float], ticks: int, page_size: int, nr_pages: int, name: str, about: str = "") -> Workload:
    """The workload with these values of KNOBS, for a run of so many ticks on a machine of so many pages.

    The past: most machines have been busier than when they were recorded. ``past_size`` of memory holds files of ``past_pages``
    that come between what is there to stay, and are gone well before the end: what is left of them are the holes.
    """
    process = int(values["process_pages"])
    life = ticks * _PROCESS_LIFE
    return Workload(
        name,
        (
            PageCache(
                name="files",
                rate=Amount(share=values["files_size"] / values["files_turnover"]),
                size=Amount(share=values["files_size"]),
                file_size=Amount(size=values["file_pages"] * page_size),
            ),
            PageCache(
                name="past",
                rate=Amount(share=values["past_size"] / (ticks * _PAST_LIFE)),
                lifetime=Lifetime(ticks * _PAST_LIFE, "lognormal", 0.7),
                file_size=Amount(size=values["past_pages"] * page_size),
                until=max(1, round(ticks * _PAST)),
            ),
            Anonymous(
                name="processes",
                rate=values["anonymous_size"] * nr_pages / process / life,
                size=Amount(size=process * page_size),
                lifetime=Lifetime(life, "lognormal", 1.5),
                thp=values["thp"],
            ),
            Slab(
                name="objects",
                size=Amount(share=values["slab_size"]),
                lifetime=Lifetime(values["slab_life"], "lognormal", 1.5),
                reclaimable=values["slab_reclaimable"],
            ),
            Kernel(name="drivers", size=Amount(share=values["kernel_size"])),
            Network(name="packets", rate=Amount(share=_PACKETS)),
        ),
        about,
    )


class _Model:
    """The main zone of a machine, as the search runs it."""

    def __init__(self, snapshot: Snapshot, release: str, ticks: int, memory_bytes: int) -> None:
        info = main_zone(snapshot)
        self.recorded = state_of_snapshot(snapshot, release)
        window = snapshot.page_size << max(snapshot.max_order, snapshot.pageblock_order)
        own = max(info.managed * snapshot.page_size // window, 2) * window
        blocks = info.block_counts or {}
        cma = blocks.get(Migratetype.CMA, 0) / max(sum(blocks.values()), 1)
        self.full = Settings(
            release=release,
            max_order=snapshot.max_order,
            pageblock_order=snapshot.pageblock_order,
            page_size=snapshot.page_size,
            memory_bytes=own,
            cma_bytes=int(own * cma) // window * window,
            ticks=ticks,
        )
        small = min(own, max(memory_bytes // window, 8) * window)
        self.small = replace(self.full, memory_bytes=small, cma_bytes=int(small * cma) // window * window)

    def measure(self, workload: Workload, settings: Settings) -> dict[str, float]:
        """Distances of what a workload leaves behind."""
        return distances(self.recorded, self.state(workload, settings))

    @staticmethod
    def state(workload: Workload, settings: Settings) -> State:
        """What a workload leaves behind."""
        engine, machine = prepared(workload, settings)
        for tick in range(settings.ticks):
            engine.tick(tick)
        return state_of_zone(machine.zones[0], machine.total_pages)

    def __call__(self, places: npt.NDArray[np.float64]) -> float:
        """What the search makes small."""
        mix = self.mix(values_at(places), self.small, "trial")
        seeds = range(self.small.seed, self.small.seed + _SEEDS)
        return sum(total(self.measure(mix, replace(self.small, seed=seed))) for seed in seeds) / _SEEDS

    @staticmethod
    def mix(values: dict[str, float], settings: Settings, name: str, about: str = "") -> Workload:
        """The workload of these values on such a machine."""
        pages = settings.memory_bytes // settings.page_size
        return mix_of(values, settings.ticks, settings.page_size, pages, name, about)


def values_at(places: Sequence[float] | npt.NDArray[np.float64]) -> dict[str, float]:
    """Values of KNOBS at places from 0 to 1."""
    return {knob.name: knob.at(float(place)) for knob, place in zip(KNOBS, places, strict=True)}


def fit(
    snapshot: Snapshot,
    *,
    release: str = "6.1",
    ticks: int = 80,
    trials: int = 400,
    memory_bytes: int = 128 << 20,
    seed: int = 0,
    name: str = "fitted",
    held_back: Sequence[Snapshot] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Fit a workload to a recorded machine.

    Args:
        snapshot: the machine; pagetypeinfo must be known, kpageflags adds the blockers.
        release: whose rules the model follows.
        ticks: length of each run.
        trials: models that are run, about.
        memory_bytes: size of the models in the search; the result is measured at the machine's own size.
        seed: of the search, and the first of its models.
        name: of the workload.
        held_back: machines that the result is measured against and that the search does not see.
        progress: called with trials done and trials in all.

    Raises:
        InputError: scipy is not installed, or pagetypeinfo is not known.
    """
    try:
        from scipy.optimize import differential_evolution
    except ImportError:
        raise InputError("a fit needs scipy: install it with pip install 'pageblock[fit]'") from None
    if trials < 10 or ticks < 1:
        raise InputError(f"{trials} trials of {ticks} ticks: give 10 trials and 1 tick at least")
    model = _Model(snapshot, release, ticks, memory_bytes)
    others = [_Model(other, release, ticks, memory_bytes) for other in held_back]
    model.small = replace(model.small, seed=seed)
    count = 0
    # three machines a knob in each generation: the first is all of a small budget
    size = max(5, min(3 * len(KNOBS), trials // 4))
    rounds = max(0, trials // size - 1)
    planned = size * (rounds + 1)

    def counted(places: Any) -> float:
        nonlocal count
        found = model(places)
        count += 1
        if progress is not None:
            progress(min(count, planned), planned)
        return found

    rng = np.random.default_rng(seed)
    first = rng.random((size, len(KNOBS)))
    best = differential_evolution(
        counted,
        [(0.0, 1.0)] * len(KNOBS),
        init=first,
        maxiter=rounds,
        rng=rng,
        polish=False,
        tol=0,
        updating="immediate",
    )
    values = values_at(best.x)
    about = f"fitted to {main_zone(snapshot).label} of {snapshot.source}"
    workload = model.mix(values, model.full, name, about)
    states = [model.state(workload, replace(model.full, seed=unseen)) for unseen in _UNSEEN]
    found = [distances(model.recorded, state) for state in states]
    shipped = {one: model.measure(load_workload(one), model.small) for one in SHIPPED if not _needs_cma(one)}
    nearest = min(shipped, key=lambda one: total(shipped[one]))
    booted = prepared(workload, model.full)[1]
    return Fit(
        snapshot.source,
        main_zone(snapshot).label,
        snapshot.kernel,
        workload,
        model.full,
        values,
        _mean(found),
        max(map(total, found)) - min(map(total, found)),
        distances(model.recorded, state_of_zone(booted.zones[0], booted.total_pages)),
        (nearest, shipped[nearest]),
        tuple(
            Held(
                other.source,
                _mean([distances(theirs.recorded, state) for state in states]),
                distances(theirs.recorded, model.recorded),
            )
            for other, theirs in zip(held_back, others, strict=True)
        ),
        count,
        model.small.memory_bytes,
    )


def _needs_cma(name: str) -> bool:
    return any(getattr(actor, "needs_cma", False) for actor in load_workload(name).actors)


def _mean(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each distance."""
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}
