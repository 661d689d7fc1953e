"""The doctor: verdict, cost and blockers of every candidate range of a machine."""

from .report import Blocker, Bound, CheapRange, Report, Row, ZoneMap, diagnose
from .sizes import default_sizes, parse_size, size_name
from .survey import ZoneSurvey
from .verdict import BLOCKED, FREE, HOLE, MOVABLE, UNINITIALISED, Verdicts, judge

__all__ = [
    "BLOCKED",
    "FREE",
    "HOLE",
    "MOVABLE",
    "UNINITIALISED",
    "Blocker",
    "Bound",
    "CheapRange",
    "Report",
    "Row",
    "Verdicts",
    "ZoneMap",
    "ZoneSurvey",
    "default_sizes",
    "diagnose",
    "judge",
    "parse_size",
    "size_name",
]
