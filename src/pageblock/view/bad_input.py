"""What ``check bad-input`` found: a table by kind, and each mistake with the line that replays it."""

from typing import Any

from rich.console import Console

from ..check.badinput.campaign import ENDS, Finding, Result

__all__ = ["replay_line", "result_json", "show_result"]


def replay_line(finding: Finding) -> str:
    """The command that runs the case again."""
    case = finding.case
    return f"pageblock check bad-input --kind {case.kind} --seed {case.seed} --case {case.number}"


def result_json(result: Result, seed: int, interrupted: bool) -> dict[str, Any]:
    """As plain values (docs/bad-input.md)."""
    return {
        "seed": seed,
        "cases": result.total,
        "interrupted": interrupted,
        "kinds": {kind: {end: counts.get(end, 0) for end in ENDS} for kind, counts in sorted(result.ended.items())},
        "slowest": {kind: {"seconds": s, "case": n} for kind, (s, n) in sorted(result.slowest.items())},
        "findings": [
            {"what": found.text, "times": result.repeated[found.kind], "replay": replay_line(found)}
            for found in result.findings
        ],
    }


def show_result(result: Result, seed: int, interrupted: bool, console: Console) -> None:
    """Print it."""

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    line(f"{'kind':<10} {'cases':>8} {'answered':>9} {'no':>8} {'refused':>8} {'failed':>7}   slowest")
    for kind, counts in sorted(result.ended.items()):
        seconds, number = result.slowest[kind]
        row = " ".join(f"{counts.get(end, 0):>{width},}" for end, width in zip(ENDS, (9, 8, 8, 7), strict=True))
        line(f"{kind:<10} {result.cases[kind]:>8,} {row}   {seconds:.2f} s, case {number}")
    for finding in result.findings:
        line(f"\n  {finding.text}\n    {result.repeated[finding.kind]:,} times; first: {replay_line(finding)}")
    line(
        f"{'interrupted: ' if interrupted else ''}{result.total:,} cases, seed {seed}: "
        f"{sum(result.repeated.values()):,} broke a rule ({len(result.findings)} sorts)"
    )
