"""How the plain search's findings look."""

from typing import Any

from ..check.operation import BUG
from ..check.search import Broken, Tried

__all__ = ["searched_json", "show_searched"]


def show_searched(release: str, found: Broken | Tried) -> str:
    """The sequence and what it breaks, or how far nothing is broken."""
    if isinstance(found, Tried):
        depth = f"all sequences of up to {found.depth} operations"
        return f"No violation of release {release}: {depth}; {found.states:,} states, {found.tried:,} operations done and judged"
    count = len(found.operations)
    lines = [
        f"VIOLATED after {found.states:,} states, {count} operation{'s' * (count != 1)}: {found.violations[0].invariant}"
    ]
    lines += [f"  {i}  {step}" for i, step in enumerate(_steps(found), 1)]
    lines += [f"  {violation}" for violation in found.violations]
    return "\n".join(lines)


def searched_json(release: str, found: Broken | Tried) -> dict[str, Any]:
    """The same as plain values (docs/check.md)."""
    if isinstance(found, Tried):
        return {
            "release": release,
            "states": found.states,
            "tried": found.tried,
            "depth": found.depth,
            "violation": None,
        }
    steps = [{"operation": step} for step in _steps(found)]
    words = [str(violation) for violation in found.violations]
    violation = {"steps": steps, "words": words[0], "findings": words}
    return {
        "release": release,
        "states": found.states,
        "tried": found.tried,
        "depth": len(steps),
        "violation": violation,
    }


def _steps(found: Broken) -> list[str]:
    """Each operation with its answer."""
    lines = []
    for one, result in zip(found.operations, found.results, strict=True):
        where = f"[{one.start_pfn}, {one.end_pfn})" if one.nr_pages else f"order {one.order}"
        answer = (
            "the kernel stops (VM_BUG_ON)" if result == BUG else f"pfn {result}" if result >= 0 else f"errno {result}"
        )
        lines.append(f"{one.name} {where}: {answer}")
    return lines
