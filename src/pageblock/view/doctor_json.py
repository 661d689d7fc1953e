"""The doctor's answer as JSON. The format is documented in docs/doctor.md."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..doctor.anywhere import Anywhere
from ..doctor.remedies import Remedy
from ..doctor.report import CheapRange, Report, Row
from ..doctor.verdict import BLOCKED, LETTERS, MOVABLE, NO_PFN, REASONS, Verdicts
from ..machine import ZoneInfo
from ..mm import Migratetype
from .areas import areas_json
from .causes_json import group_json
from .remedies import remedies_json

__all__ = ["FORMAT", "to_json"]

#: Version of the format; a change that breaks a reader raises it.
FORMAT = 1


def to_json(
    report: Report, every_range: bool, remedies: Sequence[Remedy] = (), elsewhere: Sequence[Anywhere] = ()
) -> dict[str, Any]:
    """A report as plain values. ``every_range`` adds cost and blocker of each range."""
    return {
        "format": FORMAT,
        "source": report.source,
        "kernel": report.kernel,
        "page_size": report.page_size,
        "max_order": report.max_order,
        "pageblock_order": report.pageblock_order,
        "confidence": None if report.confidence is None else round(report.confidence, 5),
        "rules": report.rules,
        "seconds": {"read": round(report.seconds_read, 3), "judged": round(report.seconds_judged, 3)},
        "zones": [_zone(zone) for zone in report.zones],
        "sizes": [_row(row, every_range) for row in report.rows],
        "bounds": [
            {
                "nr_pages": b.nr_pages,
                "free_at_least": b.free_at_least,
                "free_at_most": b.free_at_most,
                "ranges": b.ranges,
                "reserved_at_least": b.reserved_at_least,
                "by_types": b.by_types,
            }
            for b in report.bounds
        ],
        "maps": [
            {"zone": m.zone, "cell_pages": m.nr_pages, "release": m.release, "cells": m.cells} for m in report.maps
        ],
        "remarks": [
            {"topic": r.topic, "text": r.text, "certain": r.certain, "zone": r.zone, "pageblocks": r.pageblocks}
            for r in report.remarks
        ],
        "missing": list(report.missing),
        "remedies": remedies_json(remedies),
        "areas": areas_json(report),
        "anywhere": [{**asdict(one), "cheapest": [_cheap(r) for r in one.cheapest]} for one in elsewhere],
    }


def _zone(zone: ZoneInfo) -> dict[str, Any]:
    return {
        "name": zone.label,
        "start_pfn": zone.start_pfn,
        "spanned": zone.spanned,
        "present": zone.present,
        "managed": zone.managed,
        "free_pages": zone.free_pages,
        "pageblock_types_inferred": zone.blocks_inferred,
        "uninitialised": [list(span) for span in zone.uninitialised],
        "lru_pages": zone.lru_pages,
        "free_blocks": {"all": list(zone.buddy_counts)}
        | {Migratetype(t).name: list(counts) for t, counts in (zone.free_counts or {}).items()},
        "pageblocks": None
        if zone.block_counts is None
        else {Migratetype(t).name: count for t, count in zone.block_counts.items()},
    }


def _row(row: Row, every_range: bool) -> dict[str, Any]:
    return {
        "nr_pages": row.nr_pages,
        "release": row.release,
        "ranges": row.ranges,
        "free": row.free,
        "movable": row.movable,
        "blocked": row.blocked,
        "uninitialised": row.uninitialised,
        "cost_pages": {"least": row.least, "median": row.median, "total": row.total},
        "more_than_5.15": row.more_than_old_rule,
        "cheapest": [_cheap(r) for r in row.cheapest],
        "blockers": [
            {
                "reason": b.reason,
                "ranges": b.ranges,
                "alone": b.alone,
                "alone_by_one_page": b.alone_by_one_page,
                "example_pfn": b.example_pfn,
                "example_alone": b.example_alone,
                "example_owner": b.example_owner,
                "owners": [{"name": holder.name, "ranges": holder.ranges} for holder in b.holders],
                "causes": [
                    {"name": g.because.cause, "certainty": g.because.certainty.value}
                    for g in row.causes
                    if g.because is not None and b.reason in g.reasons
                ],
            }
            for b in row.blockers
        ],
        "causes": [group_json(group) for group in row.causes],
        "zones": [_verdicts(v, every_range) for v in row.zones],
    }


def _cheap(r: CheapRange) -> dict[str, Any]:
    return {
        "zone": r.zone,
        "start_pfn": r.start_pfn,
        "nr_pages": r.nr_pages,
        "cost_pages": r.cost,
        "dropped_pages": r.dropped,
    }


def _verdicts(v: Verdicts, every_range: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "zone": v.zone,
        "first_pfn": v.first_pfn if len(v.verdict) else None,
        "verdicts": LETTERS[v.verdict].tobytes().decode(),
    }
    if every_range:
        blockers = v.blocker_pfn
        found["ranges"] = [
            {
                "start_pfn": v.first_pfn + i * v.nr_pages,
                "verdict": "movable" if v.verdict[i] == MOVABLE else "blocked",
                "cost_pages": int(v.cost[i]),
                "dropped_pages": int(v.dropped[i]),
                "blocker_pfn": int(blockers[i]) if v.verdict[i] == BLOCKED and blockers[i] != NO_PFN else None,
                "reasons": [words for bit, words in REASONS.items() if v.reasons[i] >> np.uint32(bit) & 1],
            }
            for i in np.flatnonzero((v.verdict == MOVABLE) | (v.verdict == BLOCKED)).tolist()
        ]
    return found
