"""Verdicts of a recorded machine against what its own kernel answered for the same ranges."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..machine import Snapshot
from ..machine.kpageflags import SCAN_BUFFERS
from ..machine.truth import Answer, Truth
from ..mm import PageClass, PageFlag
from .kernel import nearest_release
from .report import free_targets, survey_zones
from .verdict import (
    BACK_TO_POOL,
    BLOCKED,
    FREE,
    MAY_LAND_INSIDE,
    MOVABLE,
    NO_LARGE_TARGET,
    NO_TARGET,
    REASONS,
    Verdicts,
    judge,
)
from .verdict import NOT_MIGRATABLE as NOT_MIGRATABLE_BIT

__all__ = ["REFERENCES", "Differs", "Score", "SizeScore", "score"]

#: Reasons that the order of the free lists may undo, which /proc does not tell.
BY_LIST_ORDER = 1 << MAY_LAND_INSIDE | 1 << NO_LARGE_TARGET
#: The reason that reclaim may undo.
BY_RECLAIM = 1 << NO_TARGET

NOT_MIGRATABLE = 1 << NOT_MIGRATABLE_BIT
IN_POOL = 1 << BACK_TO_POOL
LRU_BATCH = 1 << PageClass.PAGEVEC
KERNEL = 1 << PageClass.KERNEL

#: What holds for every movable verdict, of whatever machine: files of /proc count mappings, not references.
REFERENCES = "a page may be held by a reference, which no file of /proc counts"

WORDS = {FREE: "free", MOVABLE: "movable", BLOCKED: "blocked"}


@dataclass(frozen=True, slots=True)
class Differs:
    """A range judged otherwise than the kernel answered. ``doubt``: why /proc cannot know, "" if it was judged as certain."""

    start_pfn: int
    nr_pages: int
    verdict: str
    errno: int
    reasons: tuple[str, ...]
    doubt: str


@dataclass(frozen=True, slots=True)
class SizeScore:
    """One size. ``table``: (verdict, errno) -> ranges; ``doubted``: ranges of which a reason for doubt is known.

    ``not_judged``: ranges that the kernel was asked for and that lie in no zone here; ``holes`` were asked by nobody.
    """

    nr_pages: int
    table: dict[tuple[str, int], int]
    doubted: int
    holes: int
    not_judged: int
    differs: tuple[Differs, ...]

    @property
    def ranges(self) -> int:
        """Ranges compared."""
        return sum(self.table.values())


@dataclass(frozen=True, slots=True)
class Score:
    """All sizes under one release."""

    source: str
    kernel: str
    release: str
    sizes: tuple[SizeScore, ...]

    @property
    def wrong(self) -> tuple[Differs, ...]:
        """Verdicts that were given as certain, and differ."""
        return tuple(one for size in self.sizes for one in size.differs if not one.doubt)


def score(snapshot: Snapshot, truth: Truth, release: str | None = None) -> Score:
    """Compare every range. Without ``release`` the rules are those nearest to the kernel that answered.

    Raises:
        InputError: no page is known, or the kernel has no version and no release is given.
        ReleaseError: no such release.
    """
    if snapshot.runs is None:
        raise InputError(f"{snapshot.source}: no page is known without kpageflags, so nothing can be judged")
    name = release or nearest_release(truth.kernel)
    if name is None:
        raise InputError(f"{snapshot.source}: kernel {truth.kernel!r} has no version: choose a release with --release")
    zones = list(range(len(snapshot.zones)))
    surveys = survey_zones(snapshot, zones)
    sizes: list[SizeScore] = []
    for nr_pages, answers in truth.answers.items():
        verdicts = [judge(surveys[i], name, nr_pages, free_targets(snapshot, i)) for i in zones]
        sizes.append(_compare(snapshot, nr_pages, verdicts, answers))
    return Score(snapshot.source, truth.kernel, name, tuple(sizes))


def _compare(snapshot: Snapshot, nr_pages: int, verdicts: Sequence[Verdicts], answers: Sequence[Answer]) -> SizeScore:
    doubts = _Doubts(snapshot)
    table: Counter[tuple[str, int]] = Counter()
    doubted = holes = not_judged = 0
    differs: list[Differs] = []
    for answer in answers:
        if answer.errno is None:
            holes += 1
            continue
        place = _place(snapshot, verdicts, answer)
        if place is None:
            not_judged += 1
            continue
        zone, v, i = place
        verdict, reasons = int(v.verdict[i]), int(v.reasons[i])
        doubt = doubts.of(zone, verdict, reasons, answer.start_pfn, answer.start_pfn + nr_pages)
        doubted += bool(doubt)
        table[WORDS[verdict], answer.errno] += 1
        if (verdict == BLOCKED) != (answer.errno != 0):
            if verdict == MOVABLE and not answer.unmovable:
                doubt = doubt or REFERENCES
            words = tuple(text for bit, text in REASONS.items() if reasons >> bit & 1)
            differs.append(Differs(answer.start_pfn, nr_pages, WORDS[verdict], answer.errno, words, doubt))
    return SizeScore(nr_pages, dict(sorted(table.items())), doubted, holes, not_judged, tuple(differs))


def _place(snapshot: Snapshot, verdicts: Sequence[Verdicts], answer: Answer) -> tuple[int, Verdicts, int] | None:
    """The zone, its verdicts and the index of a range; None: it is judged nowhere, or as a hole."""
    for zone, v in enumerate(verdicts):
        info = snapshot.zones[zone]
        if (info.node, info.name) != (answer.node, answer.zone):
            continue
        i, rest = divmod(answer.start_pfn - v.first_pfn, v.nr_pages)
        if rest == 0 and 0 <= i < len(v.verdict) and int(v.verdict[i]) in WORDS:
            return zone, v, i
    return None


class _Doubts:
    """Why /proc cannot be sure of a verdict: what the doctor's remarks say of its zone, and of pages in the range."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.zones = snapshot.zones
        self.topics = [
            {r.topic for r in snapshot.remarks if r.zone in (None, zone.label) and r.certain != 1}
            for zone in snapshot.zones
        ]
        assert snapshot.runs is not None
        runs, flags = snapshot.runs, snapshot.runs["flags"].to_numpy()
        is_file = runs["class"].to_numpy() == PageClass.FILE
        start = runs["start_pfn"].to_numpy().astype(np.int64)
        end = start + runs["nr_pages"].to_numpy().astype(np.int64)

        def spans(marked: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
            order = np.argsort(start[marked])
            return start[marked][order], end[marked][order]

        self.held = spans(is_file & (flags & PageFlag.PINNED != 0))
        self.used = spans(is_file & (flags & SCAN_BUFFERS != 0))

    def of(self, zone: int, verdict: int, reasons: int, start_pfn: int, end_pfn: int) -> str:
        """The doubt about the verdict of a range of a zone, "" if there is none."""
        topics = self.topics[zone]
        if verdict == FREE:
            return ""
        if verdict == MOVABLE:
            # pages of ZONE_MOVABLE move out of it before they are pinned for long (check_and_migrate_movable_pages)
            if "pins" in topics and self.zones[zone].name != "Movable":
                return "pages are pinned, and /proc does not say which"
            return "metadata of a file system may be in use" if _within(self.used, start_pfn, end_pfn) else ""
        buffers = NOT_MIGRATABLE if "buffers" in topics and _within(self.held, start_pfn, end_pfn) else 0
        pool = IN_POOL if "huge pages" in topics else 0
        kernel = KERNEL if "per-cpu pages" in topics else 0
        if reasons & ~(BY_LIST_ORDER | BY_RECLAIM | LRU_BATCH | kernel | buffers | pool):
            return ""
        for bits, words in (
            (BY_RECLAIM, "the kernel may reclaim memory to migrate to"),
            (BY_LIST_ORDER, "the order of the free lists decides"),
            (buffers, "the journal may have let the file system's metadata go"),
            (pool, "which huge pages are in use is not known"),
            (kernel, "free pages on per-cpu lists look like kernel pages"),
        ):
            if reasons & bits:
                return words
        return "pages in an LRU batch are there for a moment"


def _within(spans: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], start_pfn: int, end_pfn: int) -> bool:
    """Whether a span reaches into a range."""
    start, end = spans
    at = int(np.searchsorted(end, start_pfn, "right"))
    return at < len(start) and int(start[at]) < end_pfn
