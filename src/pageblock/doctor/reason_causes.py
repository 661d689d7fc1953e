"""Why ranges are blocked: the reasons of the verdicts, grouped by cause, with how sure that is and what would settle it.

A verdict's reason says which rule refuses; a cause says what that is on this machine. Causes are judged for one example page of
each reason, and counted over all ranges: by bits of the verdicts, and by the runs in which stuck pages lie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..machine import Snapshot
from ..mm import Migratetype, PageClass, PageFlag
from ..mm import constants as k
from ..mm import release as find_release
from .causes import Area, Certainty, Evidence, Finding, PageState, ZoneState, judge
from .kernel import kernel_version
from .page_evidence import PageFacts
from .survey import ZoneSurvey
from .verdict import (
    BACK_TO_POOL,
    BLOCKED,
    CMA_BLOCK,
    FREE_STRADDLES,
    ISOLATED_BLOCK,
    MAY_LAND_INSIDE,
    NO_LARGE_TARGET,
    NO_TARGET,
    NOT_MIGRATABLE,
    REASONS,
    STRADDLES,
    ZONE_EDGE,
    Verdicts,
)

__all__ = ["Because", "CauseGroup", "Joiner", "because"]

Words = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

#: Bits beyond those of ``REASONS``: NOT_MIGRATABLE taken apart by the page that is stuck.
PINNED, HELD, GIGANTIC, CUT = range(27, 31)

#: What is said of pages that somebody holds, by bit.
_STUCK = {PINNED: "pinned", HELD: "held by somebody", GIGANTIC: "gigantic", CUT: "cut by the range's start"}

#: A reference count's share of one FOLL_PIN (include/linux/mm.h, GUP_PIN_COUNTING_BIAS).
PIN_BIAS = 1024


@dataclass(frozen=True, slots=True)
class Because:
    """A cause and what speaks for it. ``cause``: its name in the list of causes; ``title``: in words.

    ``or_else``: titles of other causes that may be it, less sure; ``passes``: whether it passes by itself; ``settles``: further
    data that would settle it; ``helps``: what to do.
    """

    cause: str
    title: str
    certainty: Certainty
    or_else: tuple[str, ...]
    passes: bool
    speaks_for: tuple[str, ...]
    against: tuple[str, ...]
    settles: tuple[str, ...]
    helps: tuple[str, ...]

    @property
    def words(self) -> str:
        """How sure, and what: one line."""
        return f"{self.certainty.value}: {' or '.join((self.title, *self.or_else))}"


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """All reasons of one cause: blocked ranges that have any of them, and those that have no other.

    ``pfn``: of the page that was looked at; None: no one page. ``kinds``: what else tells the group from others of its reason.
    """

    because: Because | None
    ranges: int
    alone: int
    pfn: int | None
    reasons: tuple[str, ...]
    kinds: tuple[str, ...] = ()


def because(evidence: Evidence) -> Because | None:
    """The surest cause of some evidence; None where none has anything to say."""
    found = [one for one in judge(evidence) if one.judgement.certainty is not Certainty.RULED_OUT]
    return _joined(found) if found else None


def _joined(found: Sequence[Finding]) -> Because:
    first = found[0]
    sure = first.judgement.certainty is Certainty.CERTAIN
    others = () if sure else tuple(found[1:])
    settles = [*first.judgement.settles, *(words for one in others for words in one.judgement.settles)]
    return Because(
        cause=first.cause.name,
        title=first.cause.title,
        certainty=first.judgement.certainty,
        or_else=tuple(one.cause.title for one in others),
        passes=first.cause.transient,
        speaks_for=tuple(first.judgement.speaks_for),
        against=tuple(first.judgement.against),
        settles=tuple(dict.fromkeys(settles)),
        helps=first.cause.remedies,
    )


class Joiner:
    """Joins the reasons of rows to causes.

    Args:
        snapshot: the machine, with runs.
        surveys: by zone index.
        free_targets: by zone index, what ``judge`` was told.
    """

    def __init__(self, snapshot: Snapshot, surveys: dict[int, ZoneSurvey], free_targets: dict[int, int]) -> None:
        self.snapshot = snapshot
        self.surveys = surveys
        self.free_targets = free_targets
        self.facts = PageFacts(snapshot)

    def evidence(
        self,
        release: str,
        *,
        caller: str = "contig",
        errno: int = 16,
        step: str | None,
        page: PageState | None = None,
        rule: str | None = None,
        crosses_zone: bool | None = None,
        moves: int | None = None,
        targets: int | None = None,
        zones: tuple[ZoneState, ...] = (),
        isolated_blocks: int | None = None,
        pages: int | None = None,
        area: Area | None = None,
    ) -> Evidence:
        """What is known of a refusal that a state predicts, under a release."""
        series = self._series(release)
        return Evidence(
            errno=errno,
            caller=caller,
            step=step,
            rule=rule,
            kernel=kernel_version(series),
            kernel_text=series,
            page_size=self.snapshot.page_size,
            max_order=self.snapshot.max_order,
            pageblock_order=self.snapshot.pageblock_order,
            page=page,
            zones=zones,
            isolated_blocks=isolated_blocks,
            crosses_zone=crosses_zone,
            migrate_ret=1 if step == "migrate" and errno == 16 else None,
            predicted=True,
            moves=moves,
            targets=targets,
            pages=pages,
            area=area,
        )

    def _series(self, release: str) -> str:
        """The kernel whose rules a release states: the series and ``naive`` are 5.15 with changes."""
        version = kernel_version(release)
        return f"{version[0]}.{version[1]}" if version is not None else "5.15"

    def page(self, release: str, zone: int, pfn: int, step: str = "isolate") -> Because | None:
        """Why a page in use stops a request: at isolation, or since it does not migrate."""
        state = self.facts.state(zone, pfn)
        # metadata of a file system is taken for held by its buffers where references are not counted
        buffers = self.snapshot.held is None and state.has("private", "private_2")
        held = step == "migrate" and not state.hugetlb and not buffers
        return because(self.evidence(release, step=step, page=state, rule="held" if held else None))

    def groups(
        self, release: str, zones: Sequence[tuple[int, Verdicts]], examples: Mapping[str, int]
    ) -> tuple[CauseGroup, ...]:
        """The causes of one row, the most frequent first. ``zones``: index and verdicts; ``examples``: a pfn for each reason."""
        parts = [_Part(zone, v, self.surveys[zone]) for zone, v in zones]
        for part in parts:
            self._take_apart(part)
        sets = np.concatenate([part.sets for part in parts]) if parts else np.zeros(0, np.uint32)
        seen = int(np.bitwise_or.reduce(sets)) if len(sets) else 0
        by_cause: dict[tuple[str, str], list[tuple[int, int, Because | None]]] = {}
        for bit in range(32):
            if not seen >> bit & 1:
                continue
            part = next(one for one in parts if (one.sets >> np.uint32(bit) & 1).any())
            pfn = part.stuck.get(part.first(bit)) if bit in _STUCK else None
            pfn = examples[REASONS[_reason(bit)]] if pfn is None else pfn
            found = self._because(release, part, bit, pfn)
            # pinned, held and gigantic pages stay apart: what to do differs
            key = (found.cause if found else "", _STUCK.get(bit, ""))
            by_cause.setdefault(key, []).append((bit, pfn, found))
        groups: list[CauseGroup] = []
        for members in by_cause.values():
            mask = np.uint32(sum(1 << bit for bit, _, _ in members))
            first = max(members, key=lambda one: int((sets >> np.uint32(one[0]) & 1).sum()))
            groups.append(
                CauseGroup(
                    because=first[2],
                    ranges=int((sets & mask > 0).sum()),
                    alone=int((sets & ~mask == 0).sum()),
                    pfn=first[1],
                    reasons=tuple(dict.fromkeys(REASONS[_reason(bit)] for bit, _, _ in members)),
                    kinds=tuple(_STUCK[bit] for bit, _, _ in members if bit in _STUCK),
                )
            )
        return tuple(sorted(groups, key=lambda g: (-g.ranges, g.reasons)))

    def _take_apart(self, part: "_Part") -> None:
        """Give ranges that are NOT_MIGRATABLE the bit of what is stuck in them, in place of it."""
        bit = np.uint32(1 << NOT_MIGRATABLE)
        mine = np.flatnonzero(part.sets & bit > 0)
        if not len(mine):
            return
        stuck = part.survey.ranges(part.verdicts.nr_pages).stuck_at[part.index[mine]]
        kind = np.full(len(mine), CUT, np.uint32)
        known = stuck != k.NONE
        pfns = stuck[known].astype(np.int64) + part.survey.origin
        page_class, order, flags = self.facts.kinds(part.zone, pfns)
        found = np.full(len(pfns), CUT, np.uint32)
        found[flags & int(PageFlag.PINNED) > 0] = HELD
        found[(page_class == PageClass.HUGETLB) & (order > self.snapshot.max_order)] = GIGANTIC
        if (held := self.snapshot.held) is not None and len(held):
            at = held.index(pfns)
            small = held.order[at] == 0
            pinned = (held.pins[at] > 0) | (small & (held.extra[at] >= PIN_BIAS))
            found[(found == HELD) & (at >= 0) & pinned] = PINNED
        kind[known] = found
        part.sets[mine] = part.sets[mine] & ~bit | np.uint32(1) << kind
        part.stuck = dict(zip(part.index[mine[known]].tolist(), pfns.tolist(), strict=True))

    def _because(self, release: str, part: "_Part", bit: int, pfn: int) -> Because | None:
        """The cause of one reason, from its example."""
        if bit < CMA_BLOCK:
            if bit == PageClass.HOLE:
                return because(self.evidence(release, step="isolate", rule="no memory"))
            return self.page(release, self.zone_of(part.zone, pfn), pfn)
        if bit in (PINNED, HELD, GIGANTIC):
            return self.page(release, part.zone, pfn, "migrate")
        return because(self._of_range(release, part, bit, pfn))

    def zone_of(self, zone: int, pfn: int) -> int:
        """The zone that holds a page: this one, or where zones lie in each other another one."""
        found = self.zone_at(pfn, (zone, *self.surveys))
        return zone if found is None else found

    def zone_at(self, pfn: int, zones: Sequence[int] | None = None) -> int | None:
        """The first of the zones (None: of all) that has a page at a pfn; None: none has."""
        for i in range(len(self.snapshot.zones)) if zones is None else zones:
            info = self.snapshot.zones[i]
            if info.start_pfn <= pfn < info.end_pfn:
                [page_class], _, _ = (column.tolist() for column in self.facts.kinds(i, np.array([pfn], np.int64)))
                if page_class != PageClass.HOLE:
                    return i
        return None

    def _of_range(self, release: str, part: "_Part", bit: int, pfn: int) -> Evidence:
        """The evidence for a reason that is no single page."""
        if bit == CMA_BLOCK:
            return self.evidence(release, step="isolate", page=PageState(pfn=pfn, cma=True))
        if bit == ISOLATED_BLOCK:
            blocks = int((part.survey.types == Migratetype.ISOLATE).sum())
            return self.evidence(release, step="isolate", isolated_blocks=blocks)
        if bit == ZONE_EDGE:
            rules = find_release(release).rules
            if rules[k.RULE_BLOCK_MOVE] == k.MOVE_SPLITS:
                return self.evidence(release, step="isolate", crosses_zone=True)
            return self.evidence(release, step="isolate", rule="outside the zone")
        if bit == MAY_LAND_INSIDE:
            return self.evidence(release, step="test", rule="may land inside")
        if bit in (NO_TARGET, NO_LARGE_TARGET):
            return self._of_targets(release, part, bit)
        if bit == BACK_TO_POOL:
            pool = PageState(page_type="hugetlb", order=self.snapshot.pageblock_order)
            return self.evidence(release, step="test", rule="back to the pool", page=pool)
        assert bit in (STRADDLES, FREE_STRADDLES, CUT), bit
        page = self.facts.state(self.zone_of(part.zone, pfn), pfn) if bit == STRADDLES else None
        return self.evidence(release, step="isolate" if bit == STRADDLES else "test", rule="straddles", page=page)

    def _of_targets(self, release: str, part: "_Part", bit: int) -> Evidence:
        """The evidence where more has to move than can be taken."""
        i = part.first(bit)
        v, survey = part.verdicts, part.survey
        start = v.first_pfn + i * v.nr_pages - survey.origin
        span = find_release(release).rules[k.RULE_SPAN]
        window = survey.window if span == k.SPAN_MAX_ORDER else survey.block
        low, high = start // window * window, -(-(start + v.nr_pages) // window) * window
        free = int(survey.isolable.free[low // survey.block : high // survey.block].sum())
        targets = max(0, self.free_targets[part.zone] - free)
        page = PageState(page_type="hugetlb", order=self.snapshot.pageblock_order) if bit == NO_LARGE_TARGET else None
        moves = int(v.cost[i]) if bit == NO_TARGET else None
        return self.evidence(release, errno=12, step="migrate", page=page, moves=moves, targets=targets)


class _Part:
    """The blocked ranges of one zone: their places in the verdicts, and the bits of their reasons."""

    def __init__(self, zone: int, verdicts: Verdicts, survey: ZoneSurvey) -> None:
        self.zone = zone
        self.verdicts = verdicts
        self.survey = survey
        self.index: Words = np.flatnonzero(verdicts.verdict == BLOCKED)
        self.sets: U32 = verdicts.reasons[self.index].astype(np.uint32)
        self.stuck: dict[int, int] = {}

    def first(self, bit: int) -> int:
        """The first range with this reason alone, else the first with it."""
        only = self.sets == np.uint32(1 << bit)
        has = self.sets >> np.uint32(bit) & 1 > 0
        return int(self.index[np.argmax(only if only.any() else has)])


def _reason(bit: int) -> int:
    """The bit of ``REASONS`` that one of ours stands for."""
    return NOT_MIGRATABLE if bit in _STUCK else bit
