"""What a run tells from time to time: one row a sample."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pyarrow as pa

from ..doctor.survey import ZoneSurvey
from ..doctor.verdict import BLOCKED, FREE, HOLE, MOVABLE, judge
from ..mm import Migratetype, Zone
from .engine import Counts, Engine

__all__ = ["SERIES", "sample"]

#: Names of free lists and pageblock types, in the kernel's order of their numbers.
TYPES = tuple(migratetype.name.lower() for migratetype in Migratetype)

_COUNTS = tuple(field.name for field in fields(Counts))

#: A contiguous range that was asked for (``engine.Attempted``).
ATTEMPT = pa.struct(
    [
        ("tick", pa.float64()),
        ("kind", pa.string()),
        ("nr_pages", pa.int64()),
        ("pfn", pa.int64()),
        ("errno", pa.int64()),
    ]
)

#: Columns of ``RunResult.series``; docs/lab.md says what each is. The same for every machine and release, so that results of many
#: runs are one table: what there is for each size, order or actor is a list.
SERIES = pa.schema(
    [
        ("tick", pa.int64()),
        ("seconds", pa.float64()),
        ("free_pages", pa.int64()),
        ("free_cma_pages", pa.int64()),
        ("cma_used_pages", pa.int64()),
        *((f"free_{name}", pa.list_(pa.int64())) for name in TYPES),
        ("pageblocks", pa.list_(pa.int64())),
        ("blocked_pageblocks", pa.int64()),
        ("blocked_by_few", pa.int64()),
        ("size_bytes", pa.list_(pa.int64())),
        ("ranges", pa.list_(pa.int64())),
        ("ranges_free", pa.list_(pa.int64())),
        ("ranges_movable", pa.list_(pa.int64())),
        ("ranges_blocked", pa.list_(pa.int64())),
        ("median_cost_pages", pa.list_(pa.int64())),
        ("actors", pa.list_(pa.string())),
        ("live_pages", pa.list_(pa.int64())),
        ("failed", pa.list_(pa.int64())),
        ("fallbacks", pa.int64()),
        ("fallbacks_claimed", pa.int64()),
        *((name, pa.int64()) for name in _COUNTS),
        ("attempts", pa.list_(ATTEMPT)),
    ]
)

#: A pageblock is blocked by few if so many of its pages, or fewer, are all that stands in the way.
FEW = 16


def sample(engine: Engine, tick: int, seconds: float, sizes: Sequence[int], page_size: int) -> dict[str, Any]:
    """A row of ``SERIES``. ``sizes``: pages of the ranges that are judged, under each zone's own release."""
    zones = engine.zones
    surveys = [ZoneSurvey(zone, may_hold_huge=False) for zone in zones]
    free = _summed([zone.free_counts().astype(np.int64) for zone in zones])
    types = np.sum([np.bincount(zone.pageblock_types, minlength=len(TYPES)) for zone in zones], axis=0)
    row: dict[str, Any] = {
        "tick": tick,
        "seconds": seconds,
        "free_pages": sum(zone.nr_free_pages for zone in zones),
        "free_cma_pages": sum(zone.nr_free_cma_pages for zone in zones),
        "cma_used_pages": sum(area.used for area in engine.areas),
        **{f"free_{name}": free[:, i].tolist() for i, name in enumerate(TYPES)},
        "pageblocks": types.tolist(),
        "blocked_pageblocks": sum(int((survey.isolable.refused > 0).sum()) for survey in surveys),
        "blocked_by_few": sum(int(_few(survey).sum()) for survey in surveys),
        "actors": [actor.name for actor, _ in engine.actors],
        "live_pages": engine.live.tolist(),
        "failed": engine.failed.tolist(),
        "fallbacks": sum(zone.nr_fallbacks for zone in zones),
        "fallbacks_claimed": sum(zone.nr_claimed for zone in zones),
        **asdict(engine.counts),
        "attempts": [asdict(one) for one in engine.take_attempts()],
        "size_bytes": [size * page_size for size in sizes],
    }
    for name in ("ranges", "ranges_free", "ranges_movable", "ranges_blocked", "median_cost_pages"):
        row[name] = []
    for size in sizes:
        _judge(row, zones, surveys, size)
    return row


def _few(survey: ZoneSurvey) -> Any:
    refused = survey.isolable.refused
    return (refused > 0) & (refused <= FEW)


def _summed(tables: list[Any]) -> Any:
    """Tables of one width and perhaps several heights, summed."""
    height = max(len(table) for table in tables)
    return np.sum([np.pad(table, ((0, height - len(table)), (0, 0))) for table in tables], axis=0)


def _judge(row: dict[str, Any], zones: Sequence[Zone], surveys: Sequence[ZoneSurvey], size: int) -> None:
    """Append the verdicts of a size to a row.

    What migrates needs pages to go to. Beyond what is free above the low watermark, those of clean page cache count, which the
    engine reclaims before it asks for a range; of neither what lies in the range itself.
    """
    ranges = free = movable = blocked = 0
    costs = []
    for zone, survey in zip(zones, surveys, strict=True):
        room = max(0, zone.nr_free_pages - zone.watermarks[1]) + int(survey.blocks.drop.sum())
        verdicts = judge(survey, zone.release, size, room)
        held = survey.ranges(size)
        short = (verdicts.verdict == MOVABLE) & (held.move > room - held.free.astype(np.int64) - held.drop)
        verdicts.verdict[short] = BLOCKED
        holes = verdicts.count(HOLE)
        ranges += len(verdicts.verdict) - holes
        free += verdicts.count(FREE)
        movable += verdicts.count(MOVABLE)
        blocked += verdicts.count(BLOCKED)
        costs.append(np.asarray(verdicts.cost)[verdicts.verdict == MOVABLE])
    cost = np.concatenate(costs)
    row["ranges"].append(ranges)
    row["ranges_free"].append(free)
    row["ranges_movable"].append(movable)
    row["ranges_blocked"].append(blocked)
    row["median_cost_pages"].append(int(np.median(cost)) if len(cost) else 0)
