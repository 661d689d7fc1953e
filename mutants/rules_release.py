"""Mutations of release.py: a release, a patch of the seed, a fault of it or a planted bug with another choice.

Some are worded by hand; every other entry of the tables gets one by itself, so that no rule and no choice is left out.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .mutation import Mutation

__all__ = ["CHOICES", "unchanged_choices"]

SOURCE = Path(__file__).resolve().parents[1] / "src" / "pageblock" / "mm" / "release.py"

#: Each release's table of what it does otherwise than the one before it.
TABLES = {
    "5.15": "_LEGACY",
    "5.19": "_PAGEBLOCK_ALIGNED",
    "6.1": "_MERGED",
    "6.1-vanilla": "_VANILLA",
    "6.12": "_HYGIENE",
    "6.19": "_ISOLATE_BIT",
}


def choice(release: str, rule: str, value: str, other: str, words: str, equivalent: str = "") -> Mutation:
    """A release that chooses otherwise."""
    name = f"{release}-{rule.lower().replace('_', '-')}"
    old, new = (f"    k.RULE_{rule}: k.{choice}," for choice in (value, other))
    return Mutation(name, f"release={TABLES[release]}", old, new, f"{release}: {words}", equivalent)


WORDED = (
    Mutation(
        "naive-span",
        "release=_NAIVE",
        "**_PAGEBLOCK_ALIGNED, k.RULE_SPAN: k.SPAN_PAGEBLOCK}",
        "**_PAGEBLOCK_ALIGNED, k.RULE_SPAN: k.SPAN_MAX_ORDER}",
        "naive: isolation rounds to pageblocks",
    ),
    choice("5.15", "MERGE", "MERGE_WHILE_ISOLATED", "MERGE_MERGEABLE", "free pageblocks of any types merge"),
    choice("5.15", "SPAN", "SPAN_MAX_ORDER", "SPAN_PAGEBLOCK", "isolation rounds to max order blocks"),
    choice(
        "5.15",
        "UNSET_BUDDY",
        "UNSET_ANY_BUDDY",
        "UNSET_FREE_BUDDY",
        "a page given back is freed anew beside any pageblock that is not isolated",
        "beside a buddy that is not free, or above max order, it goes to the tail, as if moved",
    ),
    choice("5.15", "PCP_BULK", "BULK_ROUND_ROBIN", "BULK_LIST_BY_LIST", "per-cpu lists are emptied in turn"),
    choice("5.15", "PCP_THP", "THP_BY_TYPE", "THP_MOVABLE_OR_NOT", "huge pages have a per-cpu list a type"),
    choice(
        "5.15",
        "PCP_TUNING",
        "TUNING_FREE_FACTOR",
        "TUNING_FREE_HIGH",
        "the free factor has no bound and no high-order rule",
    ),
    choice("6.1", "MERGE", "MERGE_MERGEABLE", "MERGE_WHILE_ISOLATED", "only mergeable types merge"),
    choice("6.1", "SCHEME", "SCHEME_SINGLE_PAGEBLOCK", "SCHEME_WHOLE", "both boundary pageblocks are isolated first"),
    choice("6.1", "SPAN", "SPAN_PAGEBLOCK", "SPAN_MAX_ORDER", "the undo rounds to pageblocks"),
    choice("6.1", "FAILED_ISOLATION", "FAILED_UNDOES", "FAILED_RETURNS", "a failed isolation runs the undo"),
    choice(
        "6.1", "UNSET_BUDDY", "UNSET_FREE_BUDDY", "UNSET_ANY_BUDDY", "a page given back merges only with a free buddy"
    ),
    choice(
        "6.1", "PCP_TUNING", "TUNING_FREE_HIGH", "TUNING_FREE_FACTOR", "small high-order pages empty the per-cpu lists"
    ),
    choice("6.1", "PCP_BULK", "BULK_LIST_BY_LIST", "BULK_ROUND_ROBIN", "per-cpu lists are emptied one after the other"),
    choice("6.1", "PCP_THP", "THP_MOVABLE_OR_NOT", "THP_BY_TYPE", "huge pages have two per-cpu lists"),
    choice(
        "6.12", "SCHEME", "SCHEME_HYGIENIC", "SCHEME_SINGLE_PAGEBLOCK", "a compound page across the boundary refuses"
    ),
    choice("6.12", "MERGED_TYPES", "MERGED_RETYPE", "MERGED_KEEP", "merged pageblocks have one type"),
    choice(
        "6.12",
        "FREE_LARGE",
        "LARGE_BY_PAGEBLOCK",
        "LARGE_WHOLE",
        "a block above pageblock order is freed by pageblocks",
    ),
    choice("6.12", "FALLBACK", "FALLBACK_CLAIM", "FALLBACK_LARGEST", "a pageblock is claimed, or a page stolen"),
    choice("6.12", "BLOCK_MOVE", "MOVE_SPLITS", "MOVE_HEADS", "isolation cuts free pages"),
    choice("6.12", "HIGHATOMIC_CAP", "CAP_ROUNDED_UP", "CAP_PLUS_PAGEBLOCK", "the reserve is 1 % rounded up"),
    choice("6.12", "HIGHATOMIC_MARK", "MARK_FREE", "MARK_RESERVED", "watermarks leave out what is free in the reserve"),
    choice("6.12", "PCP_TUNING", "TUNING_AUTO", "TUNING_FREE_HIGH", "the per-cpu lists tune themselves"),
    choice(
        "6.12", "PCP_TYPE", "TYPE_CURRENT", "TYPE_SAMPLED", "pages leave the per-cpu lists under their pageblock's type"
    ),
    choice("6.12", "BULK_COUNT", "COUNT_EACH", "COUNT_AT_END", "the counters sink within a refill"),
    choice(
        "5.15", "OFFLINE_LIST", "LIST_HEAD_AGAIN", "LIST_SPLITS_LAST", "offlining tries a split page's head at once"
    ),
    choice(
        "6.1", "OFFLINE_LIST", "LIST_BATCHES_BELOW", "LIST_SPLITS_LAST", "offlining moves huge pages first, in batches"
    ),
    choice(
        "6.12", "OFFLINE_LIST", "LIST_BATCHES", "LIST_BATCHES_BELOW", "a batch ends with the page that reaches its size"
    ),
    choice("6.1-vanilla", "OFFLINE_LIST", "LIST_SPLITS_LAST", "LIST_HEAD_AGAIN", "split pages move after the list"),
)

#: Why an entry cannot matter, by the name of its mutation.
EQUIVALENT: dict[str, str] = {
    "5.15-failed-types": "asked by the scheme of the seed's patch 4 alone, which brings its own choice",
    "6.19-failed-types": "asked by the scheme of the seed's patch 4 alone: rule isolation decides it here",
}


def table(text: str, name: str) -> str:
    """The text of a table of release.py."""
    found = re.search(rf"\n{name}(: [^\n=]+)? = \{{(.*?)\}}\n", text, re.DOTALL)
    return found[2] if found else ""


def rules_of(text: str) -> dict[str, list[tuple[str, str]]]:
    """The choices of each rule, by its name without RULE_, in their order, each with the words of the choice."""
    rules: dict[str, list[tuple[str, str]]] = {}
    for piece in re.split(r"\n    Rule\(\n", text)[1:]:
        name, body = re.findall(r"k\.RULE_(\w+),(.*?)\n    \),", piece, re.DOTALL)[0]
        words = re.findall(r"k\.(\w+): ((?:\"[^\"]*\"\s*)+)", body)
        rules[name] = [(value, "".join(re.findall(r"\"([^\"]*)\"", text))) for value, text in words]
    return rules


def other_choice(choices: list[tuple[str, str]], value: str) -> str:
    """The choice after this one."""
    names = [name for name, _ in choices]
    return names[(names.index(value) + 1) % len(names)]


def entries(text: str) -> tuple[Mutation, ...]:
    """One mutation for each entry of a release's table, and each rule of a bug; for one of a switch two: when it is on, off."""
    rules = rules_of(text)
    found: list[Mutation] = []
    for release, name in TABLES.items():
        for rule, value in re.findall(r"k\.RULE_(\w+): k\.(\w+),", table(text, name)):
            words = f"{rule.lower().replace('_', ' ')}: {dict(rules[rule])[value]}"
            found.append(choice(release, rule, value, other_choice(rules[rule], value), words))
    for kind, name in (("patch", "PATCHES"), ("fault", "FAULTS")):
        for label, body in re.findall(r"\n    \"?(\w)\"?: Switch\((.*?)\n    \),", table(text, name), re.DOTALL):
            for rule, on, off in re.findall(r"\(k\.RULE_(\w+), k\.(\w+), k\.(\w+)\)", body):
                other = off if off != on else other_choice(rules[rule], on)
                for state, new in (("on", (other, off)), ("off", (on, on if off != on else other))):
                    found.append(
                        Mutation(
                            f"{kind}-{label}-{rule.lower().replace('_', '-')}-{state}",
                            f"release={name}",
                            f"(k.RULE_{rule}, k.{on}, k.{off})",
                            f"(k.RULE_{rule}, k.{new[0]}, k.{new[1]})",
                            f"{kind} {label} {state}: {rule.lower().replace('_', ' ')}: "
                            f"{dict(rules[rule])[on if state == 'on' else off]}",
                        )
                    )
    for label, body in re.findall(r"\n    \"([\w-]+)\": Planted\((.*?)\n    \),", table(text, "PLANTED"), re.DOTALL):
        for rule, value in re.findall(r"\(k\.RULE_(\w+), k\.(\w+)\)", body):
            right = rules[rule][0][0] if rule != "MERGE" else "MERGE_MERGEABLE"
            old, repl = f"(k.RULE_{rule}, k.{value})", f"(k.RULE_{rule}, k.{right})"
            words = f"bug {label}: {rule.lower().replace('_', ' ')}: {dict(rules[rule])[value]}"
            found.append(Mutation(f"bug-{label}", "release=PLANTED", old, repl, words))
    return tuple(found)


def all_choices(text: str) -> tuple[Mutation, ...]:
    """Those worded by hand, then those of all other entries."""
    worded = {(mutation.where, mutation.old) for mutation in WORDED}
    rest = [mutation for mutation in entries(text) if (mutation.where, mutation.old) not in worded]
    return (*WORDED, *(replace(mutation, equivalent=EQUIVALENT.get(mutation.name, "")) for mutation in rest))


def unchanged_choices(text: str, mutations: Sequence[Mutation]) -> list[str]:
    """Rules and choices of release.py that no mutation replaces, as "RULE_MERGE: MERGE_MERGEABLE"."""
    changed = {
        (rule, value)
        for mutation in mutations
        if mutation.where.startswith("release=")
        for rule, value in re.findall(r"k\.RULE_(\w+)[:,] k\.(\w+)", mutation.old)
    }
    return [
        f"RULE_{rule}: {value}"
        for rule, choices in rules_of(text).items()
        for value, _ in choices
        if (rule, value) not in changed
    ]


CHOICES = all_choices(SOURCE.read_text())
