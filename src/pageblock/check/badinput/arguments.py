"""Arguments: every option of every subcommand, with values as people mistype them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from .machine import Invocation, small_machine
from .mutate import NUMBERS

__all__ = ["Parameter", "Surface", "ask_arguments"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option by its longest name, or an argument (""); ``takes``: whether a value follows; ``writes``: it names an output."""

    name: str
    takes: bool
    metavar: str = ""


#: What can be called: the words that name a subcommand, and what it takes.
Surface = Mapping[tuple[str, ...], Sequence[Parameter]]

SIZES = (
    "2M",
    "4M",
    "1G",
    "64MiB",
    "0",
    "-1",
    "2m",
    "3M",
    "1.5M",
    "1e3",
    "2 M",
    "4095",
    "8E",
    "16E",
    "99999999999G",
    "M",
    "0x100000",
    "1Mx",
)
RANGES = (
    "0",
    "0-1",
    "0x400-0x500",
    "0x500-0x400",
    "1-",
    "-",
    "-1",
    "1-2-3",
    "0-99999999999",
    "0x",
    "a-b",
    "1024",
    "512-512",
    "0-0xfffffffffffff",
)
RELEASES = (
    "6.1",
    "5.15",
    "seed",
    "naive",
    "seed-p4",
    "5.15+p1",
    "6.12",
    "7.0",
    "",
    "6.1 ",
    "SEED",
    "seed-p",
    "6.1+fa",
    "seed-as-posted",
    "5.15+p1+p1",
)
AREAS = ("4M", "4M@4M", "4M@0-8M", "2M@1M", "4M@", "@4M", "1G", "-1", "4M@-1", "64K@4G-8G", "0")
TEXTS = (
    "",
    " ",
    "x",
    "\udcff",
    "a\nb",
    "%s",
    "--",
    "-",
    "--json",
    "日本",
    "\x1b[2J",
    "x" * 5000,
    "/",
    ".",
    "Normal",
    "0:Normal",
    "9:DMA",
)

#: Commands that take long, or touch the machine, when nothing is wrong with their arguments: they get one that is.
LONG = ({"series"}, {"check"}, {"fit"}, {"record"}, {"run"}, {"sweep"})


def value(parameter: Parameter, files: Sequence[str], random: Random) -> str:
    """A value for a parameter, often of the kind that it takes."""
    name = f"{parameter.name} {parameter.metavar}".lower()
    pools: list[Sequence[str]] = [TEXTS, [str(n) for n in NUMBERS], SIZES, RANGES]
    fit: Sequence[str] = [str(n) for n in NUMBERS]
    for words, pool in (
        (("size", "align"), SIZES),
        (("release", " rel", "model", "kernel"), RELEASES),
        (("why", "block", "range"), RANGES),
        (("area",), AREAS),
        (("from", "path", "file", "log", "trace", "dir", "out", "html", "metrics", "symbols", "vmlinux"), files),
    ):
        if any(word in name for word in words):
            fit = pool
            break
    return random.choice(fit if random.random() < 0.8 else random.choice(pools))


def ask_arguments(surface: Surface, folder: Path, out: Path, random: Random) -> Invocation:
    """A subcommand with some of its options, each with some value; machines that are read are small ones."""
    source = folder / "machine"
    source.mkdir()
    for name, data in small_machine(random).items():
        (source / name).write_bytes(data)
    files = (
        str(source), str(source), str(source / "zoneinfo"), str(folder / "nothing"), str(out / "page.html"), str(out / "new.x"),
        "/dev/null",
        str(out / "no" / "where"), str(out), "/proc/self/mem", "/dev/full", f"{source}\0", str(source / "kpageflags"), "x" * 300,
    )  # fmt: skip
    words = random.choice(list(surface))
    taken = [p for p in surface[words] if p.name and random.random() < random.choice((0.1, 0.3, 0.6))]
    args: list[str] = []
    for parameter in taken:
        given = value(parameter, files, random) if parameter.takes else None
        if given is None:
            args.append(parameter.name)
        elif random.random() < 0.1 and parameter.name.startswith("--"):
            args.append(f"{parameter.name}={given}")
        else:
            args += [parameter.name, given]
    for parameter in surface[words]:
        if not parameter.name:
            args[random.randrange(len(args) + 1) : 0] = [
                value(parameter, files, random) for _ in range(random.choice((0, 1, 1, 1, 2)))
            ]
    if random.random() < 0.1:
        args.insert(
            random.randrange(len(args) + 1), random.choice(("--nonsense", "-x", "--", "--help", "--from", *TEXTS))
        )
    if any(part <= set(words) for part in LONG):
        args.append("--no-such-option")
    names = {p.name for p in surface[words]}
    fixed: list[str] = []
    if "--from" in names and not {"--from", "--recorded"}.intersection(args):
        # this machine's own memory would take seconds
        fixed += ["--from", str(source)]
    if words == ("watch",):
        fixed += ["--count", "1"]
    at = 0 if "--" in args or "--help" in args else len(args)
    return Invocation((*words, *args[:at], *fixed, *args[at:]))
