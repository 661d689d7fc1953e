"""The causes of a refusal: one function each, judged from evidence of any source.

``pages``: a page in the way; ``ranges``: what isolation, zones and targets refuse; ``requests``: the request itself, the
area's bitmap, the memory there is.
"""

# their order is that of the docs
from . import pages, ranges, requests  # noqa: F401
from .cause import CAUSES, Cause, Certainty, Commit, Finding, Judgement, judge
from .evidence import Area, Evidence, PageState, Repeats, ZoneState

__all__ = [
    "CAUSES",
    "Area",
    "Cause",
    "Certainty",
    "Commit",
    "Evidence",
    "Finding",
    "Judgement",
    "PageState",
    "Repeats",
    "ZoneState",
    "judge",
]
