"""Ranges that begin at other places than multiples of their size: what a caller without that alignment could have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..machine import Snapshot
from .report import CheapRange, cheapest, choose_zones, free_targets, survey_zones
from .sizes import size_name
from .survey import ZoneSurvey
from .verdict import BLOCKED, FREE, MOVABLE, Verdicts, judge

__all__ = ["Anywhere", "anywhere"]


@dataclass(frozen=True, slots=True)
class Anywhere:
    """Ranges of ``nr_pages`` that begin at multiples of ``align`` pages.

    ``places`` lie in one zone; ``had`` of them can be had; ``side_by_side``: most of these that do not overlap. Of those
    that begin at multiples of their size ``aligned`` can be had. ``cheapest``: up to five that cost least and do not overlap.
    """

    release: str
    nr_pages: int
    align: int
    places: int
    had: int
    side_by_side: int
    aligned: int
    cheapest: tuple[CheapRange, ...]


def anywhere(
    snapshot: Snapshot, sizes: Sequence[int], releases: Sequence[str], align: int, zones: Sequence[str] = ()
) -> tuple[Anywhere, ...]:
    """Judge ranges of each size (pages, powers of two) that begin at each multiple of ``align``, a power of two too.

    A finer alignment than a pageblock would give no range more: isolation takes whole pageblocks and, but for the release
    ``seed``, looks for unmovable pages in all of them. Sizes up to ``align`` are left
    out, as they are aligned so already. () without kpageflags.

    Raises:
        InputError: an alignment that is no power of two or less than a pageblock, an unknown zone.
        ReleaseError: an unknown release.
    """
    block = 1 << snapshot.pageblock_order
    if align < block or align & (align - 1):
        raise InputError(
            f"alignment {size_name(align, snapshot.page_size)}: it must be a power of two and at least a pageblock, "
            f"{size_name(block, snapshot.page_size)}, which is what isolation takes"
        )
    if snapshot.runs is None:
        return ()
    chosen = choose_zones(snapshot, zones)
    surveys = survey_zones(snapshot, chosen)
    targets = {i: free_targets(snapshot, i) for i in chosen}
    return tuple(
        _judge_all([(surveys[i], targets[i]) for i in chosen], name, nr_pages, align)
        for nr_pages in sizes
        for name in releases
        if nr_pages > align
    )


def _judge_all(zones: Sequence[tuple[ZoneSurvey, int]], release: str, nr_pages: int, align: int) -> Anywhere:
    offsets = range(0, nr_pages, align)
    places = had = side_by_side = aligned = 0
    best: list[CheapRange] = []
    for survey, targets in zones:
        starts: list[npt.NDArray[np.uint64]] = []
        for offset in offsets:
            verdicts = judge(survey, release, nr_pages, targets, offset)
            good = _had(verdicts)
            starts.append(verdicts.start_pfn[good])
            places += sum(verdicts.count(verdict) for verdict in (FREE, MOVABLE, BLOCKED))
            aligned += int(good.sum()) if offset == 0 else 0
            best += cheapest([verdicts], 5)
        found = np.sort(np.concatenate(starts)).astype(np.int64)
        had += len(found)
        side_by_side += _most_disjoint(found, nr_pages, align)
    best.sort(key=lambda r: (r.cost, r.dropped, r.start_pfn))
    apart: list[CheapRange] = []
    for one in best:
        if len(apart) < 5 and all(abs(one.start_pfn - other.start_pfn) >= nr_pages for other in apart):
            apart.append(one)
    return Anywhere(release, nr_pages, align, places, had, side_by_side, aligned, tuple(apart))


def _had(verdicts: Verdicts) -> npt.NDArray[np.bool_]:
    good: npt.NDArray[np.bool_] = (verdicts.verdict == FREE) | (verdicts.verdict == MOVABLE)
    return good


def _most_disjoint(starts: npt.NDArray[np.int64], nr_pages: int, align: int) -> int:
    """Most ranges of ``nr_pages`` that do not overlap, of those that begin at these places, ascending multiples of ``align``.

    Taking the lowest that fits each time is best; in a row of neighbouring places that is every (nr_pages / align)-th.
    """
    if not len(starts):
        return 0
    edges = np.flatnonzero(np.diff(starts) != align) + 1
    count = 0
    end = -1
    for first, last in zip(np.append(0, edges).tolist(), np.append(edges, len(starts)).tolist(), strict=True):
        begin, final = max(int(starts[first]), -(-max(end, 0) // align) * align), int(starts[last - 1])
        if begin <= final:
            fits = (final - begin) // nr_pages + 1
            count += fits
            end = begin + fits * nr_pages
    return count
