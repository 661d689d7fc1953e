"""Every invariant, its rule, its source and who promises it: ``python -m pageblock.view.invariants > docs/invariants.md``."""

from ..check.effects import EFFECTS
from ..check.invariants import ALL, INVARIANTS, Invariant
from ..mm import RELEASES

__all__ = ["markdown"]

_OWN = "each its own"
_ASKED = "its own, or the request's (MOVABLE, CMA)"

#: What differs between releases after a refusal, as ``effects.types_inside`` and ``others_isolation`` ask it.
_REFUSED = {
    "naive": (_ASKED, "stay isolated"),
    "5.15": (f"{_ASKED}, in the whole window", "stay isolated"),
    "seed": (_OWN, "stay isolated"),
    "6.1": (_ASKED, "are given back"),
    "6.12": (_ASKED, "are given back"),
    "6.19": (_OWN, "are given back"),
}


def markdown() -> str:
    """docs/invariants.md, from the tables and docstrings of ``check``."""
    lines = [
        "# The invariants",
        "",
        "Generated from `src/pageblock/check/invariants.py` and `effects.py` by `make docs`; the test-suite compares the two. A",
        "release with switches, or with a bug planted ([bugs.md](bugs.md)), is held to what the release without them promises.",
        "",
        "## Of a state",
        "",
        "`pageblock.check.invariants.violations(zone)`; `Zone.check()` says the same in one compiled pass, but for *kept apart*.",
        "What a release does otherwise in some circumstances (`but …`) is left out where a zone has been through them:",
        "`violations(zone, Circumstances(cut=True))`. The fuzzer's cases say which ([check.md](check.md#what-a-case-is)).",
        "",
        *_table(INVARIANTS),
        "",
        "## Of an operation",
        "",
        "`pageblock.check.effects.broken_by(step)`: the state before, what was asked and answered, the state after.",
        "",
        *_table(EFFECTS),
        "",
        "## What a refused range may change",
        "",
        "Pages already migrated stay so, inside what was isolated; free pages may be cut, merged and reordered; per-cpu lists",
        "are drained. What releases differ in:",
        "",
        "| release | types inside what it isolates | pageblocks that others isolated |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {types} | {others} |" for name, (types, others) in _REFUSED.items()),
    ]
    return "\n".join(lines) + "\n"


def _table(table: tuple[Invariant, ...]) -> list[str]:
    lines = ["| name | rule | promised by | source |", "| --- | --- | --- | --- |"]
    for one in table:
        who = "all" if one.promised == ALL else ", ".join(f"`{name}`" for name in RELEASES if name in one.promised)
        words: dict[str, list[str]] = {}
        for release in RELEASES:
            for exemption in one.exceptions.get(release, ()):
                words.setdefault(exemption.words, []).append(release)
        for text, releases in words.items():
            whose = "" if len(releases) == len(RELEASES) else f" ({', '.join(releases)})"
            who += f"; but{whose}: {text}"
        lines.append(f"| {one.name} | {one.rule} | {who} | {one.source} |")
    return lines


if __name__ == "__main__":
    print(markdown(), end="")
