"""The replay of recorded kernels: the core's batch path alone, reading alone, and the whole, in the same run."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from pageblock.lab.replay import replay
from pageblock.machine.trace import TraceReader
from pageblock.mm import Zone

__all__ = ["Replays", "measure_replay"]

ROOT = Path(__file__).parent.parent
#: Committed recordings, and those that lie beside the project where they do.
TRACES = (ROOT / "tests" / "recordings", *sorted((ROOT.parent / "shared" / "traces").glob("*/")))
ROUNDS = 3


@dataclass(frozen=True)
class Replays:
    """Seconds of processor time that a folder of traces takes; each the least of its rounds.

    ``operations``: what was compared; ``core``: inside ``Zone.run`` for the ``batched`` of them, allocations and frees in
    arrays; ``read``: file, decompression and parsing alone; ``whole``: all that ``pageblock replay`` does after its start.
    """

    name: str
    traces: int
    operations: int
    batched: int
    core: float
    read: float
    whole: float

    @property
    def ratio(self) -> float:
        """Time of the whole : time of the reading alone."""
        return self.whole / self.read


class TimedZone(Zone):
    """A zone that adds up the time and the operations of its batches."""

    seconds = 0.0
    batched = 0

    def run(self, ops: Any, handles: Any = None, moves: Any = None) -> Any:
        """As ``Zone.run``; a request that is asked what it moved is no batch."""
        began = time.process_time()
        results = super().run(ops, handles, moves)
        if moves is None:
            TimedZone.seconds += time.process_time() - began
            TimedZone.batched += len(ops)
        return results


def read(path: Path) -> None:
    """Read a trace to its end."""
    for _ in TraceReader(path).records():
        pass


def measure_folder(folder: Path) -> Replays:
    """Read and replay all traces of a folder, by turns. Raises RuntimeError for a divergence."""
    paths = sorted(folder.glob("*.zst"))
    operations = 0
    times: dict[str, list[float]] = {"core": [], "read": [], "whole": []}
    for _ in range(ROUNDS):
        began = time.process_time()
        for path in paths:
            read(path)
        times["read"].append(time.process_time() - began)
        began = time.process_time()
        done = [replay(path) for path in paths]
        times["whole"].append(time.process_time() - began)
        operations = sum(result.operations for result in done)
        if any(result.divergence for result in done):
            raise RuntimeError(f"{folder.name}: a trace diverges, so its time means nothing")
        TimedZone.seconds, TimedZone.batched = 0.0, 0
        with mock.patch("pageblock.lab.replay.Zone", TimedZone):
            for path in paths:
                replay(path)
        times["core"].append(TimedZone.seconds)
    least = {name: min(values) for name, values in times.items()}
    return Replays(folder.name, len(paths), operations, TimedZone.batched, **least)


def measure_replay() -> list[Replays]:
    """Every folder of traces that there is."""
    return [measure_folder(folder) for folder in TRACES if folder.is_dir()]
