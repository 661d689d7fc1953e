"""``pageblock check``: look for mistakes in the model and in the releases' rules."""

import click

from .. import Commands

__all__ = ["command"]

#: What looks for mistakes -> how; its module here has the same name and a click command ``command``.
CHECKS = {
    "bad-input": "whatever is read or given, broken in every way: answered or refused in one line, and nothing else",
    "explore": "every state of a small zone that operations can reach, held to what the release promises",
    "fuzz": "random operations on the model and on a plain reference allocator, compared step by step",
}


@click.group(name="check", cls=Commands, commands_of=__name__, about=CHECKS)
def command() -> None:
    """Look for mistakes: of the model against an independent allocator, and of a release against what it promises.

    Exits 0 if none was found, 1 if one was.
    """
