"""A workload on a modelled machine: what becomes of its contiguous memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa

from ..doctor.sizes import default_sizes, size_name
from ..errors import InputError
from ..machine import Snapshot
from .engine import Engine
from .sample import SERIES, sample
from .start import Machine, booted, recorded
from .workload import Workload, World

__all__ = ["RunResult", "Settings", "prepared", "run"]

#: Most samples of a run: each takes milliseconds, and a row.
_MOST_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """The machine and the length of a run.

    Args:
        release: whose rules.
        max_order, pageblock_order: geometry; of a recorded machine they are its own.
        memory_bytes: memory of a machine that comes out of boot.
        cma_bytes: CMA area, rounded up to what the release asks for; 0: none, or those of the recorded machine.
        reserved_bytes: at the end of memory, never given to the allocator.
        page_size: bytes.
        seed: of all that is random. The same seed gives the same requests under every release and geometry.
        ticks: length in ticks of model time.
        sample_every: ticks between two samples; there is one at the start and one at the end in any case.
        size_bytes: sizes of the ranges that are judged; empty: a pageblock, a max order block, 64 MiB and 1 GiB.
    """

    release: str = "6.1"
    max_order: int = 10
    pageblock_order: int = 9
    memory_bytes: int = 1 << 30
    cma_bytes: int = 0
    seed: int = 0
    ticks: int = 500
    sample_every: int = 10
    page_size: int = 4096
    reserved_bytes: int = 0
    size_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run.

    ``series``: a row a sample (``sample.SERIES``); ``summary``: the last sample's numbers and the settings, each a number or a
    text; ``workload``, ``settings``: what was run.
    """

    workload: str
    settings: Settings
    series: pa.Table
    summary: dict[str, float | int | str]


def run(
    workload: Workload,
    settings: Settings,
    start: Snapshot | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Run a workload.

    Args:
        workload: what is asked for.
        settings: of what, and how long.
        start: a recorded machine to begin with; None: one that comes out of boot.
        progress: called with ticks done and ticks in all.

    Raises:
        InputError: settings that make no sense, or an actor that this machine cannot serve.
        GeometryError, ReleaseError: a geometry or release that there is not.
    """
    if not 1 <= settings.ticks <= 1 << 40 or not 1 <= settings.sample_every <= 1 << 40 or settings.seed < 0:
        raise InputError(
            f"ticks is {settings.ticks}, sample_every {settings.sample_every}, seed {settings.seed}: "
            "give 1 tick or more, and a seed of 0 or more"
        )
    if settings.ticks // settings.sample_every > _MOST_SAMPLES:
        raise InputError(
            f"{settings.ticks // settings.sample_every} samples: take one in more than {settings.sample_every} ticks"
        )
    engine, machine = prepared(workload, settings, start)
    sizes = _sizes(settings, machine)
    rows = [sample(engine, 0, 0.0, sizes, machine.page_size)]
    for tick in range(settings.ticks):
        engine.tick(tick)
        if workload.compact_every and (tick + 1) % workload.compact_every == 0:
            engine.compact()
        if (tick + 1) % settings.sample_every == 0 or tick + 1 == settings.ticks:
            rows.append(sample(engine, tick + 1, (tick + 1) * workload.tick_seconds, sizes, machine.page_size))
        if progress is not None:
            progress(tick + 1, settings.ticks)
    series = pa.Table.from_pylist(rows, SERIES)
    return RunResult(workload.name, settings, series, _summary(workload, settings, rows[-1], machine))


def prepared(workload: Workload, settings: Settings, start: Snapshot | None = None) -> tuple[Engine, Machine]:
    """The machine and the workload on it, before the first tick. Raises as ``run`` does."""
    if start is None:
        machine = booted(
            settings.release,
            settings.memory_bytes,
            settings.cma_bytes,
            settings.reserved_bytes,
            settings.max_order,
            settings.pageblock_order,
            settings.page_size,
        )
    else:
        machine = recorded(start, settings.release, settings.cma_bytes, settings.seed)
    return _engine(workload, machine, settings.seed), machine


def _engine(workload: Workload, machine: Machine, seed: int) -> Engine:
    """The actors at work, each with a stream of its own that depends on the seed and its name alone."""
    geometry = machine.zones[0].geometry
    actors, caps = [], []
    for actor in workload.actors:
        if actor.needs_cma and not machine.areas:
            raise InputError(
                f"actor {actor.name} of workload {workload.name} needs a CMA area: give one with --cma SIZE (cma_bytes)"
            )
        largest = getattr(actor, "orders", None)
        if largest is not None and largest.largest > geometry.max_order:
            raise InputError(
                f"actor {actor.name} asks for order {largest.largest}, and max order is {geometry.max_order}: raise it, or "
                "change the actor's orders"
            )
        stream = np.random.SeedSequence([seed, crc32(actor.name.encode())])
        world = World(
            machine.total_pages,
            machine.page_size,
            geometry.max_order,
            geometry.pageblock_order,
            np.random.Generator(np.random.PCG64(stream)),
        )
        actors.append((actor, actor.start(world)))
        caps.append(actor.most_pages(world))
    return Engine(machine.zones, machine.marks, machine.areas, actors, caps, machine.old_pages)


def _sizes(settings: Settings, machine: Machine) -> list[int]:
    """Pages of the ranges that are judged."""
    geometry = machine.zones[0].geometry
    most = max(zone.geometry.nr_pages for zone in machine.zones)
    if not settings.size_bytes:
        sizes = default_sizes(machine.page_size, geometry.pageblock_order, geometry.max_order)
        return [size for size in sizes if size <= most]
    sizes = []
    for size in settings.size_bytes:
        pages, rest = divmod(size, machine.page_size)
        if rest or pages < 1 or pages & (pages - 1):
            raise InputError(f"ranges of {size} bytes: give a power of two, {machine.page_size} or more")
        sizes.append(pages)
    return sorted(set(sizes))


def _summary(
    workload: Workload, settings: Settings, last: dict[str, Any], machine: Machine
) -> dict[str, float | int | str]:
    """The end of a run as flat values: what sweeps compare."""
    found: dict[str, float | int | str] = {
        "workload": workload.name,
        "release": settings.release,
        "seed": settings.seed,
        "total_pages": machine.total_pages,
        "page_size": machine.page_size,
    }
    found |= {name: value for name, value in last.items() if isinstance(value, int | float)}
    for i, size in enumerate(last["size_bytes"]):
        name = size_name(size, 1).replace(" ", "").replace(",", "")
        for kind in ("ranges", "ranges_free", "ranges_movable", "ranges_blocked"):
            found[f"{kind}_{name}"] = last[kind][i]
    asked = sum(last[f"cma_{how}"] for how in ("success", "fail_busy", "fail_no_room", "fail_no_memory"))
    if asked:
        found["cma_success_rate"] = last["cma_success"] / asked
    return found
