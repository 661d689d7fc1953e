"""The catalogue of mutations fits the source, and leaves no choice of a release out."""

import ast

import pytest

from mutants.__main__ import check_catalogue
from mutants.catalogue import MUTATIONS
from mutants.mutation import Mutation, StaleError, mutated
from mutants.rules_release import SOURCE, all_choices, rules_of, unchanged_choices
from pageblock.mm import constants
from pageblock.mm.release import RULES

TEXT = SOURCE.read_text()


def test_every_mutation_fits_the_source() -> None:
    check_catalogue(MUTATIONS)


def test_every_mutation_is_python() -> None:
    """All are compiled in one build: one that is no Python stops them all."""
    texts = {file: (SOURCE.parents[1] / file).read_text() for file in {mutation.file for mutation in MUTATIONS}}
    for mutation in MUTATIONS:
        try:
            ast.parse(mutated(mutation, texts[mutation.file]))
        except SyntaxError as error:
            pytest.fail(f"{mutation.name}: {error}")


def test_all_rules_and_choices_of_the_table_are_read() -> None:
    found = {getattr(constants, f"RULE_{name}"): choices for name, choices in rules_of(TEXT).items()}
    assert {index: [words for _, words in choices] for index, choices in found.items()} == {
        rule.index: list(rule.choices.values()) for rule in RULES
    }


@pytest.mark.parametrize("rule", ["SCHEME", "TAKE_UNIT", "ISOLATION"])
def test_a_rule_that_no_mutation_changes_is_named(rule: str) -> None:
    rest = [mutation for mutation in MUTATIONS if f"RULE_{rule}" not in mutation.old]
    assert {name.partition(":")[0] for name in unchanged_choices(TEXT, rest)} == {f"RULE_{rule}"}


def test_a_new_entry_of_a_table_has_a_mutation() -> None:
    entry = "    k.RULE_PCP_SLICES: k.SLICES_BATCH,\n"
    without = TEXT.replace(entry, "")
    names = [{mutation.name for mutation in all_choices(text)} for text in (TEXT, without)]
    assert names[0] - names[1] == {"6.19-pcp-slices"}


def test_text_that_occurs_twice_or_not_at_all_is_refused() -> None:
    for old, times in (("x", 2), ("y", 0)):
        with pytest.raises(StaleError, match=f"occurs {times} times"):
            mutated(Mutation("name", "room.f", old, "z", "rule"), "\ndef f():\n    x = x\n\ndef g():\n    y = 1\n")


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(StaleError, match=f"{MUTATIONS[0].name}: the name is used twice"):
        check_catalogue([MUTATIONS[0], MUTATIONS[0]])
