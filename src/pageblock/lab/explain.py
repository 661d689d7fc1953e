"""Why a request ended as it did: sentences made of the steps, so that they say what happened and nothing else."""

from collections import Counter
from collections.abc import Sequence

from ..consumers import Step
from ..consumers.cma import CmaAnswer, CmaArea
from ..consumers.hugetlb import HugetlbPool

__all__ = ["explain_cma", "explain_gigantic"]


def _many(n: int, one: str) -> str:
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"


def _where(step: Step) -> str:
    """The pfn, and whether the request had it: isolation rounds ranges, so what refuses may lie outside."""
    if step.pfn is None:
        return ""
    inside = step.start_pfn <= step.pfn < step.start_pfn + step.nr_pages
    return f"pfn {step.pfn:#x}" + (
        "" if inside else f", outside of [{step.start_pfn:#x}, {step.start_pfn + step.nr_pages:#x})"
    )


def _reasons(steps: Sequence[Step]) -> str:
    """Each rule that refused, how often, and where first."""
    first: dict[str, Step] = {}
    for step in steps:
        first.setdefault(step.rule, step)
    counts = Counter(step.rule for step in steps)
    return "; ".join(f"{rule} ({counts[rule]:,}×, first at {_where(first[rule])})" for rule in first)


def explain_gigantic(pool: HugetlbPool, count: int, node: int | None, name: str) -> str:
    """How the last attempt of a pool ended, or what the pages cost."""
    moved, dropped = (sum(getattr(step, what) for step in pool.steps) for what in ("moved", "dropped"))
    cost = f"{_many(moved, 'page')} moved, {dropped:,} dropped"
    if pool.nr_huge_pages >= count:
        return f"each was emptied and taken: {cost}"
    # what came after the last page that was got
    granted = [i for i, step in enumerate(pool.steps) if step.function == "alloc_contig_range" and not step.errno]
    last = pool.steps[granted[-1] + 1 :] if granted else pool.steps
    passed = [step for step in last if step.function == "pfn_range_valid_contig"]
    busy = [step for step in last if step.function != "pfn_range_valid_contig"]
    nodes = (
        "the nodes"
        if node is None and len(pool.memory.nodes) > 1
        else f"node {node if node is not None else pool.memory.nodes[0]}"
    )
    if not last:
        return f"no zone up to Normal of {nodes} holds an aligned range of {name}"
    ended = f"of {_many(len(last), 'aligned range')} of {name} of {nodes}"
    parts = []
    if passed:
        parts.append(f"{len(passed):,} passed over: {_reasons(passed)}")
    if busy:
        parts.append(f"{len(busy):,} refused: {_reasons(busy)}")
    got = "after that, " if granted else ""
    return f"{got}{ended}, " + "; ".join(parts)


def explain_cma(areas: Sequence[CmaArea], answers: Sequence[CmaAnswer], page_size: int) -> str:
    """How the last allocation ended, or what all cost."""
    tries = [attempt for answer in answers for attempt in answer.tries]
    moved = sum(1 << order for attempt in tries for _, _, order in attempt.done.moved)
    busy = [attempt.step for attempt in tries if attempt.refusal is not None]
    used, count = sum(area.used for area in areas), sum(area.count for area in areas)
    cost = f"{_many(len(tries), 'place')} tried, {_many(moved, 'page')} moved"
    retried = f"; busy: {_reasons(busy)}" if busy else ""
    if answers and answers[-1].pfn is not None:
        return f"the bitmap had room each time: {cost}{retried}"
    end = answers[-1] if answers else None
    if end is None:
        return "nothing was asked"
    chunk = max((area.maxchunk for area in areas), default=0) * page_size
    return (
        f"-{end.errno}: {end.reason}; {used:,} of {count:,} pages in use, longest clear run {chunk / (1 << 20):,.4g} MiB; "
        f"{cost}{retried}"
    )
