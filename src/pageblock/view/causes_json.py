"""Causes as plain values, the same in every command's JSON."""

from typing import Any

from ..doctor.reason_causes import Because, CauseGroup

__all__ = ["because_json", "group_json"]


def group_json(group: CauseGroup) -> dict[str, Any]:
    """Reasons of one cause."""
    return {
        "cause": None if group.because is None else because_json(group.because),
        "ranges": group.ranges,
        "alone": group.alone,
        "pfn": group.pfn,
        "reasons": list(group.reasons),
        "kinds": list(group.kinds),
    }


def because_json(because: Because) -> dict[str, Any]:
    """A cause with how sure it is, as in every command's JSON."""
    return {
        "name": because.cause,
        "title": because.title,
        "certainty": because.certainty.value,
        "or_else": list(because.or_else),
        "passes": because.passes,
        "for": list(because.speaks_for),
        "against": list(because.against),
        "settles": list(because.settles),
        "helps": list(because.helps),
    }
