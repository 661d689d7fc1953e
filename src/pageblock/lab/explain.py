"""Why a request ended as it did: sentences made of the steps, so that they say what happened and nothing else."""

from collections import Counter
from collections.abc import Sequence

from ..consumers import Step
from ..consumers.cma import CmaAnswer, CmaArea
from ..consumers.hugetlb import HugetlbPool
from ..consumers.memory_hotplug import Offlined
from ..consumers.virtio_mem import VirtioMem

__all__ = ["explain_cma", "explain_gigantic", "explain_offline", "explain_unplug"]


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


def explain_offline(answers: Sequence[Offlined], names: Sequence[str]) -> str:
    """What each block that stayed came to, or what all cost."""
    moved = sum(answer.moved for answer in answers)
    dissolved = sum(len(answer.dissolved) for answer in answers)
    cost = f"{_many(moved, 'page')} moved" + (f", {_many(dissolved, 'huge page')} dissolved" if dissolved else "")
    stayed = [(name, answer) for name, answer in zip(names, answers, strict=True) if answer.errno]
    if not stayed:
        return f"each was isolated, emptied and taken out: {cost}"
    groups: dict[str, list[tuple[str, Offlined]]] = {}
    for name, answer in stayed:
        # what a page in an endless loop is called differs, why it stays does not
        rule = f"would loop for ever: {answer.rule.rpartition('because ')[2]}" if answer.for_ever else answer.rule
        groups.setdefault(": ".join(filter(None, (answer.reason, rule))), []).append((name, answer))
    parts = []
    for words, found in groups.items():
        name, first = found[0]
        where = f" at pfn {first.pfn:#x}" if first.pfn is not None else ""
        parts.append(f"{words} (-{first.errno}, {_many(len(found), 'block')}, first {name}{where})")
    return f"{'; '.join(parts)}; {cost}"


def explain_unplug(driver: VirtioMem, asked: int, got: int) -> str:
    """Mode and step of the device, what was unplugged in how many blocks, and what refused."""
    step = driver.step_size
    mode = f"{'sub-blocks' if driver.sub_block_mode else 'big blocks'} of {step >> 20:,} MiB"
    if asked < step:
        return f"{mode}: less than one is asked for, and nothing is done"
    busy = [step for step in driver.steps if step.function == "virtio_mem_fake_offline" and step.errno]
    removed = sum(step.function == "remove_memory" for step in driver.steps)
    moved, dropped = (sum(getattr(step, what) for step in driver.steps) for what in ("moved", "dropped"))
    cost = f"{_many(moved, 'page')} moved, {dropped:,} dropped"
    parts = [
        mode,
        f"{_many(got // step, 'block')} unplugged"
        if not driver.sub_block_mode
        else f"{got // step:,} of them unplugged",
    ]
    if removed:
        parts.append(f"{_many(removed, 'memory range')} taken offline and removed")
    if got < asked and got // step == asked // step:
        parts.append(f"{asked % step >> 10:,} KiB are less than one")
    if busy:
        parts.append(f"refused: {_reasons(busy)}")
    return "; ".join((*parts, cost))
