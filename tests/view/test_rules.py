"""The matrix in docs/ is that of the code, and the table is complete."""

import re
from pathlib import Path

from pageblock.mm import constants
from pageblock.mm.release import RELEASES, RULES
from pageblock.view.rules import markdown


def test_docs_rules_is_not_stale() -> None:
    stored = Path(__file__).parents[2] / "docs" / "rules.md"
    assert stored.read_text() == markdown(), "run make docs"


def test_every_rule_stands_once_and_has_a_source() -> None:
    assert sorted(rule.index for rule in RULES) == list(range(constants.NR_RULES))
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(
        re.search("(mm|drivers|arch|include)/|the seed's patch", rule.source) and len(rule.choices) > 1
        for rule in RULES
    )


def test_every_release_chooses_for_every_rule() -> None:
    for release in RELEASES.values():
        assert len(release.rules) == len(RULES)
        for rule in RULES:
            assert release.rules[rule.index] in rule.choices
