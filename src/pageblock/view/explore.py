"""What an exploration found, as text and as JSON."""

from typing import Any

from ..check.explorer import PROMISES, Exploration, Sequence
from ..check.explorer.promises import promised
from ..mm import release as find_release

__all__ = ["exploration_json", "promise_table", "show_exploration"]

#: Why an exploration ended -> in words.
_ENDED = {
    "": "exhausted",
    "depth": "all sequences up to the depth asked for; longer ones lead further",
    "memory": "not exhausted: the memory that was allowed is used up (--memory)",
    "time": "not exhausted: the time that was allowed is over (--time)",
    "interrupted": "not exhausted: interrupted",
    "violation": "not exhausted: ended by the violation",
}


def show_exploration(done: Exploration, trace: str = "", kept: str = "") -> str:
    """The report. ``trace``: the file that holds the sequence; ``kept``: the file that holds the states."""
    b = done.bounds
    lines: list[str] = []
    seconds = f"{done.seconds:.1f} s"
    if done.broken is not None and done.sequence is not None:
        steps = len(done.sequence.steps)
        what = done.broken[1]
        if done.broken[0] == "NR_FREE_PAGES":
            last = done.sequence.steps[-1]
            what = f"free pages counted {last.free}, really free {last.listed}"
        lines.append(
            f"VIOLATED after {done.states:,} states, {steps} operation{'s' if steps != 1 else ''} ({seconds}): {what}"
        )
        lines += _table(done.sequence)
        if done.sequence.finding:
            lines.append(f"  {done.sequence.finding}")
        lines += _elsewhere(done.sequence)
        if trace:
            lines.append(f"  replay: pageblock replay {trace}")
    else:
        lines.append(f"No violation of release {b.release}: {_ENDED[done.stopped]} ({seconds})")
    lines.append("")
    lines += [
        f"  states       {done.states:>16,}   distinct, windows exchanged: "
        f"{'yes' if b.nr_folded > 1 else 'no'}; overlooked with a chance below {done.collision_bound:.0e}",
        f"  transitions  {done.transitions:>16,}   operations done and judged",
        f"  depth        {done.depth:>16,}   {_ENDED[done.stopped]}",
        f"  zone         {b.nr_pages:>16,}   pages, pageblock order {b.pageblock_order}, max order {b.max_order}"
        + ("" if b.area is None else f", CMA area [{b.area[0]}, {b.area[1]})"),
        f"  at once      {b.requests:>16,}   allocations and ranges held, {b.isolations} isolated",
        f"  operations   {', '.join(b.operations)}",
        f"  held to      {', '.join(done.promises)}",
    ]
    if done.weak and done.weak_sequence is not None:
        lines.append("")
        lines.append(f"Known weakness of release {b.release}, {done.weak:,} transitions: {done.weakness}")
        lines += _table(done.weak_sequence)
    if kept:
        lines.append("")
        lines.append(f"Go on: pageblock check explore --resume {kept}")
    return "\n".join(lines)


def promise_table(names: tuple[str, ...]) -> str:
    """Which release is held to what, as a Markdown table: a promise a row, a release a column."""
    held = {name: promised(find_release(name)) for name in names}
    rows = ["| promise | " + " | ".join(f"`{name}`" for name in names) + " |", "| --- |" + " --- |" * len(names)]
    for promise in PROMISES:
        marks = " | ".join("yes" if held[name] & promise.bit else "–" for name in names)
        rows.append(f"| **{promise.name}**: {promise.says} | {marks} |")
    return "\n".join(rows)


def _table(sequence: Sequence) -> list[str]:
    """The steps: operation, answer, free pages counted and real."""
    rows = [
        (str(i), step.words(), step.answer(), f"free pages counted {step.free}, really free {step.listed}")
        for i, step in enumerate(sequence.steps, 1)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return [f"  {a:>{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]


def _elsewhere(sequence: Sequence) -> list[str]:
    clean = [name for name, found in sequence.elsewhere.items() if found == "clean"]
    lines = [f"  the same steps under {', '.join(clean)}: clean"] if clean else []
    return lines + [
        f"  the same steps under {name}: {found}" for name, found in sequence.elsewhere.items() if found != "clean"
    ]


def exploration_json(done: Exploration) -> dict[str, Any]:
    """The same for programs."""
    says = {promise.name: promise.says for promise in PROMISES}
    broken = None
    if done.broken is not None and done.sequence is not None:
        broken = {
            "promise": done.broken[0],
            "words": done.broken[1],
            "finding": done.sequence.finding,
            "elsewhere": done.sequence.elsewhere,
            "steps": _steps(done.sequence),
        }
    return {
        "bounds": done.bounds.told(),
        "states": done.states,
        "transitions": done.transitions,
        "depth": done.depth,
        "exhausted": done.exhausted,
        "stopped": done.stopped,
        "seconds": round(done.seconds, 3),
        "collision_bound": done.collision_bound,
        "promises": {name: says[name] for name in done.promises},
        "violation": broken,
        "weakness": {
            "words": done.weakness,
            "transitions": done.weak,
            "steps": [] if done.weak_sequence is None else _steps(done.weak_sequence),
        }
        if done.weak
        else None,
    }


def _steps(sequence: Sequence) -> list[dict[str, Any]]:
    return [
        {
            "operation": step.words(),
            "result": step.result,
            "moves": [list(move) for move in step.moves],
            "nr_free_pages": step.free,
            "really_free": step.listed,
        }
        for step in sequence.steps
    ]
