"""Where the tables go: the terminal, or a pipe or file of a fixed width; and how things are counted in words."""

from rich.console import Console

__all__ = ["counted", "stdout"]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader of the pipe has gone: that is for the command line to say, not for a table."""
        raise BrokenPipeError


def stdout(width: int = 120) -> Console:
    """Standard output; where it is no terminal, ``width`` columns without highlights."""
    # what is printed holds names and texts of the machine: brackets in them are brackets
    console = _Console(markup=False)
    return console if console.is_terminal else _Console(width=width, highlight=False, markup=False)


def counted(number: int, what: str) -> str:
    """A number of things: "1 operation", "2,000 operations"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
