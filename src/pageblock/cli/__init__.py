"""The command line: one file a subcommand, each only parses, calls one room and prints.

Exit codes: 0 the report was given; 1 "no" to a yes/no question; 2 bad input, one line on stderr.
Subcommands are imported when they are called, so that ``--help`` stays quick.
"""

import importlib
import keyword
import os
import sys
import warnings
from typing import Any

import click

__all__ = ["Commands", "complain", "main"]

#: Longest message, characters: what was wrong may hold a name of any length.
MOST_MESSAGE = 600

#: Subcommand -> what it is for; its module here has the same name (``try_`` for "try") and a click command ``command``.
COMMANDS = {
    "capture": "one snapshot of a machine in a file, for every other command's --from",
    "check": "random and exhaustive search for mistakes in the model and in a release's rules",
    "compare": "two releases or settings of a sweep, paired by seed: the difference, its interval, where they part",
    "doctor": "which contiguous ranges this machine can still give, at what cost, and what is in the way",
    "explain": "what a kernel log says about contiguous memory: what failed, why, how sure, what to do",
    "export": "a run, a trace or a replay as a timeline for ui.perfetto.dev",
    "fit": "find the workload that leaves a recorded machine's free blocks and pageblock types behind",
    "import": "a trace of trace-cmd, perf, ftrace or LLFree, as record would have written it",
    "plot": "pictures of a sweep: means with their bands, survival curves, a map of two parameters",
    "record": "what this machine allocates and frees, page by page, in a file: for run and export",
    "releases": "the kernel releases that --release takes, their switches, and the bugs that can be planted",
    "replay": "run traces of real kernels on the model and compare every answer",
    "run": "a workload on a modelled machine: what becomes of its contiguous memory over time",
    "score": "compare the doctor's verdicts with what a recorded kernel answered for every range",
    "series": "what each patch of the founding series does, and what breaks without it",
    "sweep": "a workload on many machines and from many seeds, on this machine or a cluster",
    "try": "ask for gigantic pages, CMA, offlining or unplugging on a machine's state: what would it get",
    "watch": "the doctor's counts again and again: what changed, which blockers came or went",
}


class Commands(click.Group):
    """Finds subcommands by name and imports only the one that is called.

    ``commands_of``: the package whose modules they are; ``about``: name -> what it is for.
    """

    def __init__(self, *args: Any, commands_of: str, about: dict[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.package = commands_of
        self.about = about

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.about)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.about:
            return None
        # a module cannot bear the name of a keyword, nor one with a dash
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = importlib.import_module(f".{name}", self.package).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # click would print an empty line first
            raise click.Abort from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.about.items()))


@click.group(
    cls=Commands, commands_of=__name__, about=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="pageblock")
def cli() -> None:
    """Where can this Linux machine still get contiguous memory, what would it cost, and what stands in the way?"""


def main(args: list[str] | None = None) -> int:
    """Run the command line; the exit code. Bad input becomes one line on stderr and 2."""
    for argument in sys.argv[1:] if args is None else args:
        if "\0" in argument:
            return _fail(f"argument {argument[:60]!r} holds a NUL, which no name or value has: leave it out")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            result: Any = cli.main(args=args, prog_name="pageblock", standalone_mode=False)
            # a closed pipe or a full disk shows when the buffer is flushed
            if sys.stdout is not None:
                sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return 2
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted: nothing was written")
    except click.ClickException as error:
        return _fail(f"{error.format_message()} (see pageblock --help)")
    except BrokenPipeError:
        # the reader of the pipe has gone; keep Python from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UnicodeEncodeError as error:
        return _fail(f"the output cannot be written in {error.encoding}: set PYTHONIOENCODING=utf-8")
    except OSError as error:
        if sys.stdout is not None and error.filename is None:
            # the rest of the buffer cannot be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}: nothing more was written")
    except MemoryError as error:
        what = " ".join(str(error).split())[:200] or "not enough memory"
        return _fail(f"{what}: more than there is; is the size right that was read or given?")
    except Exception as error:
        from ..errors import PageblockError

        if not isinstance(error, PageblockError):
            raise
        return _fail(str(error))
    return result if isinstance(result, int) else 0


def _warn(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """A warning as one line."""
    complain(message)


def _fail(message: str) -> int:
    complain(message)
    return 2


def complain(message: object) -> None:
    """One line on stderr: what a terminal would obey is escaped, and what nobody would read is cut out of the middle."""
    from ..errors import printable

    text = printable(" ".join(str(message).split()))
    if len(text) > MOST_MESSAGE:
        text = f"{text[: MOST_MESSAGE // 2]} … {text[-MOST_MESSAGE // 2 :]}"
    print(f"pageblock: {text}", file=sys.stderr)
