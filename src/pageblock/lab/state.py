"""How alike two states of memory are: a recorded machine's and a model's, as distributions with named distances between them.

All are shares, so that machines of different sizes compare.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..doctor.survey import ZoneSurvey
from ..errors import InputError
from ..machine import Snapshot, ZoneInfo
from ..machine.zones import snapshot_zones
from ..mm import Migratetype, Zone

__all__ = ["DISTANCES", "State", "distances", "main_zone", "state_of_snapshot", "state_of_zone", "total"]

Floats = npt.NDArray[np.float64]

_NR_TYPES = len(Migratetype)

#: Distance -> what it is. All lie between 0 (equal) and 1.
DISTANCES = {
    "free_lists_tv": "free pages over (order, type), as in pagetypeinfo: total variation",
    "free_order_emd": "order of the block that a free page lies in: earth mover's distance, 1 for all orders",
    "pageblock_types_tv": "types of pageblocks: total variation",
    "free_memory": "share of memory that is free: difference",
    "blockers_ks": "pages that cannot move in a pageblock: Kolmogorov-Smirnov, where kpageflags is known",
}


@dataclass(frozen=True)
class State:
    """One zone.

    ``free``: pages in free blocks by order (rows) and type; ``pageblocks``: how many of each type; ``nr_pages``: managed;
    ``blockers``: for each pageblock the share of its pages that cannot move; None: not known.
    """

    free: Floats
    pageblocks: Floats
    nr_pages: int
    blockers: Floats | None

    @property
    def free_share(self) -> float:
        """Share of memory that is free."""
        return float(self.free.sum()) / self.nr_pages


def main_zone(snapshot: Snapshot) -> ZoneInfo:
    """The zone that a machine's requests go to first and of which it has most: what its use shows in.

    Raises:
        InputError: pagetypeinfo is missing, or tells nothing of that zone.
    """
    known = [zone for zone in snapshot.zones if zone.free_counts and zone.block_counts and zone.managed]
    if not known:
        raise InputError(
            f"{snapshot.source}: no zone of which pagetypeinfo is known: record /proc/pagetypeinfo and zoneinfo as root"
        )
    return max(known, key=lambda zone: zone.managed)


def state_of_snapshot(snapshot: Snapshot, release: str) -> State:
    """The main zone of a recorded machine."""
    info = main_zone(snapshot)
    assert info.free_counts is not None
    assert info.block_counts is not None
    free = np.zeros((snapshot.max_order + 1, _NR_TYPES))
    for migratetype, counts in info.free_counts.items():
        row = np.array(counts[: snapshot.max_order + 1], float)
        free[: len(row), int(migratetype)] = row * 2.0 ** np.arange(len(row))
    pageblocks = np.zeros(_NR_TYPES)
    for migratetype, count in info.block_counts.items():
        pageblocks[int(migratetype)] = count
    blockers = None
    if snapshot.runs is not None:
        zone = snapshot_zones(snapshot, release)[snapshot.zones.index(info)]
        blockers = _blockers(zone)
    return State(free, pageblocks, info.managed, blockers)


def state_of_zone(zone: Zone, nr_pages: int) -> State:
    """A zone of the model with so many managed pages."""
    counts = zone.free_counts().astype(float)
    free = counts * 2.0 ** np.arange(len(counts))[:, None]
    pageblocks = np.bincount(zone.pageblock_types, minlength=_NR_TYPES).astype(float)
    return State(free, pageblocks, nr_pages, _blockers(zone))


def _blockers(zone: Zone) -> Floats:
    survey = ZoneSurvey(zone, may_hold_huge=False)
    inside = ~survey.outside
    return np.asarray(survey.isolable.refused[inside] / survey.block, float)


def distances(recorded: State, model: State) -> dict[str, float]:
    """Every distance of ``DISTANCES`` that both states tell."""
    height = max(len(recorded.free), len(model.free))
    one, other = (_shares(_padded(state.free, height)) for state in (recorded, model))
    found = {
        "free_lists_tv": float(np.abs(one - other).sum()) / 2,
        "free_order_emd": float(np.abs(np.cumsum(one.sum(axis=1) - other.sum(axis=1))).sum()) / max(height - 1, 1),
        "pageblock_types_tv": float(np.abs(_shares(recorded.pageblocks) - _shares(model.pageblocks)).sum()) / 2,
        "free_memory": abs(recorded.free_share - model.free_share),
    }
    if recorded.blockers is not None and model.blockers is not None:
        found["blockers_ks"] = _kolmogorov_smirnov(recorded.blockers, model.blockers)
    return found


def total(found: dict[str, float]) -> float:
    """The mean of all distances: what a fit makes small."""
    return sum(found.values()) / len(found)


def _padded(table: Floats, height: int) -> Floats:
    return np.pad(table, ((0, height - len(table)), (0, 0)))


def _shares(values: Any) -> Floats:
    """Values that sum to 1; all 0 where there is nothing."""
    array = np.asarray(values, float)
    whole = float(array.sum())
    return array / whole if whole else array


def _kolmogorov_smirnov(one: Floats, other: Floats) -> float:
    """Largest difference of two empirical distribution functions."""
    points = np.union1d(one, other)
    cdfs = [np.searchsorted(np.sort(values), points, "right") / len(values) for values in (one, other)]
    return float(np.abs(cdfs[0] - cdfs[1]).max())
