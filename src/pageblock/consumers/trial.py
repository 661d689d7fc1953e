"""What a consumer did: its steps in the kernel's words, and what it got."""

from dataclasses import dataclass

from ..mm.errors import ContigRefused
from ..mm.results import ContigRange

__all__ = ["Step", "Trial", "given", "refused"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a consumer did.

    ``function``: the kernel's. ``start_pfn``, ``nr_pages``: the range that it was asked for; pfns absolute. ``errno``: 0 or
    the positive errno that it returned. ``moved``: base pages migrated; ``dropped``: clean file pages reclaimed, for a refused
    range too. ``pfn``, ``rule``: for a refusal the page or pageblock in the way and why, in words; a rule without an errno: the
    range was passed over. ``note``: what else is worth saying.
    """

    function: str
    start_pfn: int
    nr_pages: int
    errno: int = 0
    moved: int = 0
    dropped: int = 0
    pfn: int | None = None
    rule: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a request ended under one release.

    ``asked``, ``got``: in ``unit`` (plural, such as "gigantic pages"). ``ranges``: what was got, [start_pfn, end_pfn).
    ``steps``: in the order in which they were done. ``counters``: what the kernel would count, by its names
    (``cma_alloc_fail`` …). ``explanation``: one sentence: why it ended so, by which rule.
    """

    release: str
    asked: int
    got: int
    unit: str
    ranges: tuple[tuple[int, int], ...]
    steps: tuple[Step, ...]
    counters: dict[str, int]
    explanation: str

    @property
    def had(self) -> bool:
        """Whether all that was asked for was got."""
        return self.got >= self.asked

    @property
    def moved(self) -> int:
        """Base pages migrated in all steps."""
        return sum(step.moved for step in self.steps)


def refused(function: str, start_pfn: int, nr_pages: int, refusal: ContigRefused, note: str = "") -> Step:
    """The step of a request that alloc_contig_range or isolation refused."""
    return Step(
        function,
        start_pfn,
        nr_pages,
        errno=refusal.errno,
        moved=sum(1 << order for _, _, order in refusal.tried.moved) if refusal.tried else 0,
        dropped=len(refusal.tried.reclaimed) if refusal.tried else 0,
        pfn=refusal.pfn,
        rule=f"{refusal.step}: {refusal.rule}",
        note=note,
    )


def given(function: str, found: ContigRange, note: str = "") -> Step:
    """The step of a request that was granted."""
    return Step(
        function,
        found.start_pfn,
        found.end_pfn - found.start_pfn,
        moved=sum(1 << order for _, _, order in found.moved),
        dropped=len(found.reclaimed),
        note=note,
    )
