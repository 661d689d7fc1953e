"""Workload files: TOML, a table an actor. Whatever is not known is named with the nearest name that is."""

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from ...errors import InputError
from .actors import KINDS, Base
from .quantities import Amount, Lifetime, Orders
from .requests import Actor

__all__ = ["SHIPPED", "Workload", "load_workload", "to_toml"]

_FILES = resources.files(__package__) / "shipped"

#: Names of the workloads that the package ships.
SHIPPED = tuple(sorted(file.name.removesuffix(".toml") for file in _FILES.iterdir() if file.name.endswith(".toml")))

#: A file is a page of text; this is no limit that one meets by writing.
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Workload:
    """A mix of actors.

    Args:
        name: what results call it.
        actors: each with a name of its own; at most 255.
        about: what it stands for.
        tick_seconds: what a tick of model time stands for; rates and lifetimes count in ticks.
        compact_every: ticks between two compactions of all memory; 0: never.
    """

    name: str
    actors: tuple[Actor, ...]
    about: str = ""
    tick_seconds: float = 1.0
    compact_every: int = 0

    def __post_init__(self) -> None:
        names = [actor.name for actor in self.actors]
        if not names or len(names) > 255:
            raise InputError(f"workload {self.name} has {len(names)} actors: give 1 to 255")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"workload {self.name} has two actors {twice!r}: give each a name of its own")
        if not 0 < self.tick_seconds <= 1e9 or not 0 <= self.compact_every <= 1 << 30:
            raise InputError(
                f"workload {self.name}: tick_seconds is {self.tick_seconds}, compact_every {self.compact_every}: "
                "give seconds above 0, and 0 or more ticks"
            )


def load_workload(path_or_name: str | Path) -> Workload:
    """A workload that the package ships, by name, or a TOML file.

    Raises:
        InputError: neither; or a file that is no TOML, has an unknown key or kind, or a value that makes no sense.
    """
    name = str(path_or_name)
    if name in SHIPPED:
        return _parse((_FILES / f"{name}.toml").read_text("utf-8"), name, name)
    path = Path(path_or_name)
    if path.suffix != ".toml" and not path.is_file():
        raise InputError(f"{name}: neither a file nor a workload that is shipped; {_nearest(name, SHIPPED)}")
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{name}: {what}: name a workload file, or one of {', '.join(SHIPPED)}") from None
    if len(raw) > _LARGEST_FILE:
        raise InputError(f"{name}: more than {_LARGEST_FILE >> 20} MiB: this is no workload file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{name}: not UTF-8 text: name a workload file in TOML") from None
    return _parse(text, path.stem, name)


def _nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the nearest of the known names, or all."""
    names = list(known)
    close = difflib.get_close_matches(word, names, 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(names)}"


def _parse(text: str, stem: str, source: str) -> Workload:
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{source}: no TOML ({error}): correct it there") from None
    about = {"name": str, "about": str, "tick_seconds": float, "compact_every": int}
    for key in found:
        if key not in (*about, "actor"):
            raise InputError(f"{source}: unknown key {key!r}; {_nearest(key, (*about, 'actor'))}")
    tables = found.get("actor", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{source}: 'actor' must be tables: write [[actor]] before each")
    given = {key: _value(source, "the workload", key, kind, found[key]) for key, kind in about.items() if key in found}
    try:
        actors = tuple(_actor(table, i, source) for i, table in enumerate(tables))
        return Workload(**{"name": stem, **given, "actors": actors})
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(f"{source}: ") else f"{source}: {message}") from None


def _actor(table: dict[str, Any], number: int, source: str) -> Base:
    """The actor of a table."""
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise InputError(f"{source}: actor {number + 1} has no kind: give one of {', '.join(KINDS)}")
    if kind not in KINDS:
        raise InputError(f"{source}: actor {number + 1} has the unknown kind {kind!r}; {_nearest(kind, KINDS)}")
    made = KINDS[kind]
    hints = get_type_hints(made)
    known = {field.name: field for field in fields(made)}
    who = str(table.get("name", kind))
    for key in table:
        if key not in known and key != "kind":
            raise InputError(f"{source}: actor {who}: unknown key {key!r}; {_nearest(key, ('kind', *known))}")
    values: dict[str, Any] = {"name": kind}
    for key, field in known.items():
        if key in table:
            values[key] = _value(source, f"actor {who}", key, hints[key], table[key])
        elif field.default is MISSING and field.default_factory is MISSING and key != "name":
            raise InputError(f"{source}: actor {who} of kind {kind} lacks the key {key!r}: give it a value")
    return made(**values)


def _value(source: str, who: str, key: str, kind: type[Any], value: Any) -> Any:
    """A value of TOML as the type that a field has."""
    try:
        if kind is Amount:
            return Amount.of(value)
        if kind is Orders:
            return Orders.of(value)
        if kind is Lifetime:
            return _lifetime(value)
    except InputError as error:
        raise InputError(f"{source}: {who}: {key}: {error}") from None
    numbers = int if kind is int else (int, float)
    fits = isinstance(value, bool) if kind is bool else isinstance(value, str if kind is str else numbers)
    if not fits or (kind in (int, float) and isinstance(value, bool)):
        words = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}[kind]
        raise InputError(f"{source}: {who}: {key} is {value!r}: write {words}")
    if kind in (int, float) and not abs(value) < 1e18:
        raise InputError(f"{source}: {who}: {key} is {value}: write a number of a sensible size")
    return kind(value)


def _lifetime(value: Any) -> Lifetime:
    """A number of ticks, or a table of a lifetime's values."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < 1e18:
            raise InputError("a lifetime of more than 10^18 ticks: write a number of a sensible size")
        return Lifetime(float(value))
    if not isinstance(value, dict):
        raise InputError(f'{value!r} is no lifetime: write ticks, or {{ mean = 50, shape = "lognormal" }}')
    known = {field.name: field for field in fields(Lifetime)}
    for key, given in value.items():
        if key not in known:
            raise InputError(f"unknown key {key!r}; {_nearest(key, known)}")
        words = key == "shape"
        if not isinstance(given, str if words else int | float) or isinstance(given, bool):
            raise InputError(f"{key} is {given!r}: write {'a text' if words else 'a number'}")
    if "mean" not in value and value.get("forever") != 1:
        raise InputError("a lifetime lacks the key 'mean': give ticks")
    return Lifetime(**{"mean": 0.0, **value})


def to_toml(workload: Workload) -> str:
    """The workload as the text of a file. Raises InputError for an actor that no file can describe."""
    lines = [f"name = {_quoted(workload.name)}", f"about = {_quoted(workload.about)}"]
    lines += [f"tick_seconds = {workload.tick_seconds!r}", f"compact_every = {workload.compact_every}"]
    for actor in workload.actors:
        if not isinstance(actor, Base) or KINDS.get(actor.kind) is not type(actor):
            raise InputError(
                f"actor {actor.name} is a class of its own: only those of {', '.join(KINDS)} go into a file"
            )
        lines += ["", "[[actor]]", f"kind = {_quoted(actor.kind)}"]
        lines += [f"{field.name} = {_written(getattr(actor, field.name))}" for field in fields(actor)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Lifetime):
        return f'{{ mean = {value.mean:.6g}, shape = "{value.shape}", sigma = {value.sigma:.6g}, forever = {value.forever:.6g} }}'
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Amount):
        return _quoted(str(value)) if value.share else str(value)
    return str(value) if isinstance(value, int | Orders) else _quoted(value)
