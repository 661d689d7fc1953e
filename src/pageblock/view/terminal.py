"""Where the tables go: the terminal, or a pipe or file of a fixed width."""

from rich.console import Console

__all__ = ["stdout"]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader of the pipe has gone: that is for the command line to say, not for a table."""
        raise BrokenPipeError


def stdout(width: int = 120) -> Console:
    """Standard output; where it is no terminal, ``width`` columns without highlights."""
    # what is printed holds names and texts of the machine: brackets in them are brackets
    console = _Console(markup=False)
    return console if console.is_terminal else _Console(width=width, highlight=False, markup=False)
