"""What each release is held to by the explorer, promise by promise; the table in docs/check.md is generated from here."""

from dataclasses import dataclass

from ...mm import Release
from ...mm import constants as k
from ...mm.results import INVARIANTS
from . import codes as c

__all__ = ["PROMISES", "Promise", "breach_name", "breach_words", "kept_by", "promised", "weakness"]


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise: its bit, its name, what it says, and what a breach of it is called."""

    bit: int
    name: str
    says: str
    breach: int
    broken: str


PROMISES: tuple[Promise, ...] = (
    Promise(
        c.HOLDS_ZONE,
        "zone",
        "counters, lists, links, merging, hygiene: every invariant of mm/invariants.py",
        c.BREACH_ZONE,
        "an invariant of the zone is broken",
    ),
    Promise(
        c.HOLDS_COUNTED,
        "counted",
        "NR_FREE_PAGES and NR_FREE_CMA_PAGES count what is free outside isolated, and inside CMA, pageblocks",
        c.BREACH_ZONE,
        "free pages are counted wrong",
    ),
    Promise(
        c.HOLDS_ALWAYS,
        "always",
        "states are judged while pageblocks are isolated, too; else only those without",
        c.BREACH_NONE,
        "",
    ),
    Promise(
        c.HOLDS_LOST,
        "lost",
        "every page is free or held; by an operation as many change hands as were asked for or given back, and those",
        c.BREACH_LOST,
        "a page is neither free nor held, or held by another than asked for it",
    ),
    Promise(
        c.HOLDS_LEFT,
        "left isolated",
        "a request, refused or not, leaves no pageblock isolated that was not so before",
        c.BREACH_LEFT,
        "a pageblock is isolated that nobody holds isolated",
    ),
    Promise(
        c.HOLDS_KEPT,
        "kept isolated",
        "a refused request leaves what others isolated isolated",
        c.BREACH_KEPT,
        "a pageblock that another isolated no longer is",
    ),
    Promise(
        c.HOLDS_TYPES,
        "types beside",
        "pageblocks of the window beside the request keep their types",
        c.BREACH_TYPES,
        "a pageblock beside the request has another type",
    ),
    Promise(
        c.HOLDS_TAKEN,
        "taken",
        "no page is allocated from an isolated pageblock",
        c.BREACH_TAKEN,
        "a page of an isolated pageblock was allocated",
    ),
    Promise(
        c.HOLDS_CMA,
        "cma",
        "only movable pages are allocated from CMA pageblocks",
        c.BREACH_CMA,
        "an unmovable page lies in a CMA pageblock",
    ),
    Promise(
        c.HOLDS_AREA,
        "area",
        "the pageblocks of a CMA area stay CMA",
        c.BREACH_AREA,
        "a pageblock of the CMA area is no longer CMA",
    ),
    Promise(
        c.HOLDS_GRANT,
        "granted",
        "a range in windows that are free, neither isolated nor CMA, is granted",
        c.BREACH_GRANT,
        "a range is refused although all around it is free",
    ),
    Promise(
        c.HOLDS_MIXED,
        "mixed",
        "no free page spans pageblocks that cannot fall back to each other",
        c.BREACH_MIXED,
        "a free page spans pageblocks that cannot fall back to each other",
    ),
    Promise(c.HOLDS_BUG, "bug", "the kernel does not stop (VM_BUG_ON)", c.BREACH_BUG, "the kernel stops (VM_BUG_ON)"),
)


def promised(release: Release) -> int:
    """The promises of a release: HOLDS_* bits, read off its rules.

    Isolation in the units to which a release's own users round keeps the zone in order at every moment; ``naive`` rounds to
    pageblocks without the fixes that this takes, so that of it only what lasts is asked.
    """
    rules = release.rules
    found = c.HOLDS_LOST | c.HOLDS_BUG
    if rules[k.RULE_SPAN] == k.SPAN_PAGEBLOCK and rules[k.RULE_SCHEME] == k.SCHEME_WHOLE:
        return found | c.HOLDS_COUNTED
    found |= c.HOLDS_ZONE | c.HOLDS_LEFT | c.HOLDS_ALWAYS | c.HOLDS_TAKEN | c.HOLDS_CMA | c.HOLDS_AREA | c.HOLDS_GRANT
    if rules[k.RULE_FAILED_ISOLATION] == k.FAILED_RETURNS:
        found |= c.HOLDS_KEPT
    if rules[k.RULE_SCHEME] == k.SCHEME_SAVE_TYPES:
        found |= c.HOLDS_TYPES
    if rules[k.RULE_MERGE] == k.MERGE_MERGEABLE:
        found |= c.HOLDS_MIXED
    return found


def kept_by(bits: int) -> tuple[str, ...]:
    """Names of the promises whose bits are set."""
    return tuple(promise.name for promise in PROMISES if promise.bit & bits)


def weakness(bits: int) -> str:
    """What a release is known to do instead of keeping a promise that others keep; empty: nothing that is looked for."""
    if bits & c.HOLDS_KEPT or not bits & c.HOLDS_ALWAYS:
        return ""
    return "a refused request ends the isolation of pageblocks that another isolated"


def breach_name(breach: int) -> str:
    """Name of the broken promise, or of the broken invariant."""
    if breach >= c.BREACH_ZONE:
        return INVARIANTS[breach - c.BREACH_ZONE][0]
    return next(promise.name for promise in PROMISES if promise.breach == breach)


def breach_words(breach: int) -> str:
    """What a breach means."""
    if breach >= c.BREACH_ZONE:
        return INVARIANTS[breach - c.BREACH_ZONE][1]
    return next(promise.broken for promise in PROMISES if promise.breach == breach)
