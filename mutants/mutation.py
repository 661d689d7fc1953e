"""A mutation: one rule of one room, said differently."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutation", "StaleError", "mutated", "span"]


class StaleError(Exception):
    """The text that a mutation replaces is not in its function, or is there more than once."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change.

    ``where``: room and function, ``page_alloc.expand``, or room and table, ``release=_MERGED``. ``old`` occurs there
    exactly once. ``rule`` is what the model says before the change, in words. ``equivalent``: why no answer can change.
    """

    name: str
    where: str
    old: str
    new: str
    rule: str
    equivalent: str = ""

    @property
    def room(self) -> str:
        return self.where.replace("=", ".").partition(".")[0]

    @property
    def function(self) -> str:
        return self.where.replace("=", ".").partition(".")[2]

    @property
    def file(self) -> Path:
        """Its file, seen from the folder of the package."""
        return Path("mm") / f"{self.room}.py"

    @property
    def compiled(self) -> bool:
        """Whether the room is part of the compiled core; tables are ordinary Python."""
        return "=" not in self.where


def span(text: str, where: str) -> tuple[int, int]:
    """Where a function or a table of a file begins and ends."""
    if "=" in where:
        table = re.search(rf"\n{where.partition('=')[2]}(: .+)? = ", text)
        start = table.start() if table else -1
        ends = ["\n}\n", "\n)\n"]
    else:
        start = text.find(f"\ndef {where.partition('.')[2]}(")
        ends = ["\n@", "\ndef ", "\nclass "]
    if start < 0:
        return 0, 0
    return start, min((end for mark in ends if (end := text.find(mark, start + 1)) >= 0), default=len(text))


def mutated(mutation: Mutation, text: str) -> str:
    """The room's text after the change. Raises StaleError."""
    start, end = span(text, mutation.where)
    found = text.count(mutation.old, start, end)
    if found != 1:
        raise StaleError(f"{mutation.name}: its old text occurs {found} times in {mutation.where}, not once")
    at = text.index(mutation.old, start, end)
    return text[:at] + mutation.new + text[at + len(mutation.old) :]
