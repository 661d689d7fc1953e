"""What cma_alloc would answer for each area whose bitmap a source read, by asking the model, and why not."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..consumers.cma import CmaAnswer, CmaArea
from ..machine import Snapshot
from ..machine.cma_area import CmaArea as KnownArea
from ..machine.zones import snapshot_memory
from ..mm import Zone
from ..mm.errors import PageblockError
from .causes import Area
from .kernel import nearest_release
from .reason_causes import Because, Joiner, because

__all__ = ["AreaAnswer", "AreaReport", "area_reports"]

#: Largest order to which dma_alloc_contiguous aligns a request (CONFIG_CMA_ALIGNMENT's default, kernel/dma/contiguous.c).
CMA_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class AreaAnswer:
    """One request of ``nr_pages``, aligned to ``align`` (order): ``errno`` 0 or positive, ``pfn`` of what was given.

    ``places``: where it fits by the bitmap; ``tries``: of them asked for; ``moved``: pages, for all tries together.
    """

    nr_pages: int
    align: int
    errno: int
    pfn: int | None
    places: int
    tries: int
    moved: int
    because: Because | None


@dataclass(frozen=True, slots=True)
class AreaReport:
    """An area: its ranges of pfns, pages given out, free runs, and what it would answer under ``release``.

    ``unasked``: why nothing was asked; "" where it was.
    """

    name: str
    release: str
    ranges: tuple[tuple[int, int], ...]
    nr_pages: int
    used: int
    runs: int
    largest: int
    answers: tuple[AreaAnswer, ...]
    unasked: str = ""


def area_reports(
    snapshot: Snapshot, joiner: Joiner, sizes: Sequence[int], asked_for: bool
) -> tuple[AreaReport, ...] | None:
    """Every area of the snapshot; None where its source knows none.

    ``sizes``: pages; those larger than an area only where they were ``asked_for``. The area's own size is asked for, too: it
    shows what one page in use costs. Rules are those nearest to the machine's kernel: an area of one release cannot be had
    under another.
    """
    if not snapshot.cma_areas:
        return None if snapshot.cma_areas is None else ()
    release = (nearest_release(snapshot.kernel) if snapshot.kernel else None) or "6.1"
    asker = _Asker(snapshot, joiner, release)
    return tuple(asker.report(area, sizes, asked_for) for area in snapshot.cma_areas)


class _Asker:
    """Asks areas, each time from the machine's own state."""

    def __init__(self, snapshot: Snapshot, joiner: Joiner, release: str) -> None:
        self.snapshot = snapshot
        self.joiner = joiner
        self.release = release
        self.memory = snapshot_memory(snapshot, release)
        self.zones: list[Zone] = [member.zone for member in self.memory.members]
        self.states = []
        for zone in self.zones:
            saved = zone.saved_state()
            self.states.append({**saved, "arrays": tuple(array.copy() for array in saved["arrays"])})

    def report(self, known: KnownArea, sizes: Sequence[int], asked_for: bool) -> AreaReport:
        free = [end - start for start, end in known.free()]
        wanted = [size for size in sizes if asked_for or size <= known.nr_pages]
        answers: list[AreaAnswer] = []
        unasked = ""
        try:
            for nr_pages in dict.fromkeys((*wanted, known.nr_pages)):
                answers.append(self.answer(known, nr_pages))
        except PageblockError as error:
            unasked = str(error)
        return AreaReport(
            known.name,
            self.release,
            known.ranges,
            known.nr_pages,
            known.nr_used,
            len(free),
            max(free, default=0),
            tuple(answers),
            unasked,
        )

    def area(self, known: KnownArea) -> CmaArea:
        """The area in the model, with its bitmap."""
        (base, end), *more = known.ranges
        places = [(start, last - start) for start, last in more]
        area = CmaArea(self.memory, base, end - base, known.order_per_bit, known.name, places)
        for nr, (start, last) in enumerate(known.ranges):
            bits = bytearray((last - start) >> known.order_per_bit)
            for low, high in known.used:
                if start <= low < last:
                    first, behind = (low - start) >> known.order_per_bit, (high - start) >> known.order_per_bit
                    bits[first:behind] = b"\1" * (behind - first)
            area.load_bitmap(list(bits), nr)
        return area

    def answer(self, known: KnownArea, nr_pages: int) -> AreaAnswer:
        align = min((nr_pages - 1).bit_length(), CMA_ALIGNMENT)
        found = self.area(known).alloc(nr_pages, align)
        if found.tries:
            for zone, state in zip(self.zones, self.states, strict=True):
                zone.take_state({**state, "arrays": tuple(array.copy() for array in state["arrays"])})
        places = count_places(known, nr_pages, align)
        return AreaAnswer(
            nr_pages,
            align,
            found.errno,
            found.pfn,
            places,
            len(found.tries),
            sum(1 << order for _, _, order in found.moves),
            self.because(known, found, places) if found.errno else None,
        )

    def because(self, known: KnownArea, found: CmaAnswer, places: int) -> Because | None:
        """Why a request is refused: by the bitmap, or by the page that the last try met."""
        free = [end - start for start, end in known.free()]
        area = Area(known.nr_pages, sum(free), max(free, default=0), len(free), places, found.align)
        page, step = None, None
        refusal = found.tries[-1].refusal if found.tries else None
        if refusal is not None and found.errno == 16:
            step = "isolate" if refusal.step == "start_isolate_page_range" else "migrate"
            zone = self.joiner.zone_at(refusal.pfn)
            page = None if zone is None else self.joiner.facts.state(zone, refusal.pfn)
        held = step == "migrate" and page is not None and not page.hugetlb
        evidence = self.joiner.evidence(
            self.release,
            caller="cma",
            errno=found.errno,
            step=step,
            page=page,
            rule="held" if held else None,
            pages=found.count,
            area=area,
        )
        return because(evidence)


def count_places(known: KnownArea, nr_pages: int, align: int) -> int:
    """Where the free runs of a bitmap hold a request at multiples of 1 << align pages."""
    step = 1 << max(align, known.order_per_bit)
    return sum(max(0, (end - nr_pages) // step - -(-start // step) + 1) for start, end in known.free())
