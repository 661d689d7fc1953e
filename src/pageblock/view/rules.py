"""The rule × release matrix as Markdown: ``python -m pageblock.view.rules > docs/rules.md``."""

from ..mm.release import PATCHES, RELEASES, RULES

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
        "| patch | rule |",
        "| --- | --- |",
    ]
    by_index = {rule.index: rule for rule in RULES}
    for patch, switched in PATCHES.items():
        what = ", ".join(f"{by_index[index].name}: {by_index[index].choices[on]}" for index, on, _ in switched)
        lines.append(f"| {patch} | {what} |")
    for rule in RULES:
        lines += ["", f"## {rule.name}", "", rule.question, ""]
        for i, words in enumerate(rule.choices.values()):
            lines.append(f"* **{chr(ord('a') + i)}** {words}")
        lines += ["", f"Source: {rule.source}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
