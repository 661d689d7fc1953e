"""The rule × release matrix as Markdown: ``python -m pageblock.view.rules > docs/rules.md``."""

from ..mm.release import FAULTS, PATCHES, PLANTED, RELEASES, RULES, Switch

__all__ = ["markdown"]


def markdown() -> str:
    """docs/rules.md, from the table in ``mm/release.py``."""
    names = list(RELEASES)
    lines = [
        "# Rules and releases",
        "",
        "Generated from `src/pageblock/mm/release.py` by `make docs`; the test-suite compares the two. A rule is one",
        "difference between releases. What all of them do alike stands in the rooms of `mm/`, with its source.",
        "",
        "| release | what it is |",
        "| --- | --- |",
        *(f"| `{release.name}` | {release.summary} |" for release in RELEASES.values()),
        "",
        f"| rule | {' | '.join(f'`{name}`' for name in names)} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    for rule in RULES:
        letters = {value: chr(ord("a") + i) for i, value in enumerate(rule.choices)}
        cells = " | ".join(letters[RELEASES[name].rules[rule.index]] for name in names)
        lines.append(f"| [{rule.name}](#{rule.name.replace(' ', '-')}) | {cells} |")
    lines += [
        "",
        "The seed's patches are switches: `seed-p1`, `5.15+p3` …",
        "",
        "| patch | subject | rules |",
        "| --- | --- | --- |",
        *(f"| {number} | {_switched(patch)} |" for number, patch in PATCHES.items()),
        "",
        "So are the faults of patch 4 as posted: `seed+fa`, `seed-as-posted-fc` …",
        "",
        "| fault | what goes wrong | rules |",
        "| --- | --- | --- |",
        *(f"| {letter} | {_switched(fault)} |" for letter, fault in FAULTS.items()),
        "",
        "Mistakes of history can be planted (docs/bugs.md); no kernel bears such a name:",
        "",
        "| release | what goes wrong | where it was |",
        "| --- | --- | --- |",
        *(f"| `{bug.base}+bug-{name}` | {bug.title} | {bug.since} |" for name, bug in PLANTED.items()),
    ]
    for rule in RULES:
        lines += ["", f"## {rule.name}", "", rule.question, ""]
        for i, words in enumerate(rule.choices.values()):
            lines.append(f"* **{chr(ord('a') + i)}** {words}")
        lines += ["", f"Source: {rule.source}."]
    return "\n".join(lines) + "\n"


def _switched(switch: Switch) -> str:
    """Title and rules of a patch or a fault, two cells."""
    by_index = {rule.index: rule for rule in RULES}
    rules = [f"{by_index[index].name}: {by_index[index].choices[on]}" for index, on, off in switch.rules if on != off]
    return f"{switch.title} | {'; '.join(rules) or switch.not_modelled}"


if __name__ == "__main__":
    print(markdown(), end="")
