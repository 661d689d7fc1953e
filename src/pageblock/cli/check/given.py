"""Options that a command would pass over are refused, not ignored."""

from collections.abc import Callable

import click

from ...errors import InputError

__all__ = ["refuse"]


def refuse(ctx: click.Context, wrong: Callable[[str], bool], why: str) -> None:
    """Raise InputError if an option was given on the command line whose name is ``wrong`` here; ``why``: what else it is."""
    given = [
        max(param.opts, key=len)
        for param in ctx.command.params
        if wrong(param.name or "")
        and ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(f"{', '.join(given)}: {why}; leave it out")
