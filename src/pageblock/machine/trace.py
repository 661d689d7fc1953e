"""Traces of real kernels: what a recorder asked of the page allocator, and what it answered.

The format is the recorder's, versions 1 to 4 (docs/oracle.md), and that of sequences which the explorer found, 5
(docs/check.md). Pfns in a trace count from the zone's first page. A trace is read once, front to back; what cannot be
understood is refused with its line number.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import zstandard

from ..errors import InputError, ReleaseError
from ..mm import release

if TYPE_CHECKING or os.environ.get("PAGEBLOCK_UNCOMPILED"):
    from .actions import ACTION, REASONS, first_difference, scan_actions, to_operations
else:
    try:
        from ._actions import ACTION, REASONS, first_difference, scan_actions, to_operations
    except ImportError:
        from .actions import ACTION, REASONS, first_difference, scan_actions, to_operations

__all__ = [
    "ACTION",
    "REASONS",
    "Actions",
    "CmaAlloc",
    "CmaRelease",
    "CmaTry",
    "Compaction",
    "Contig",
    "Dump",
    "FreeAll",
    "Hash",
    "Header",
    "Isolation",
    "Promised",
    "Record",
    "TraceReader",
    "first_difference",
    "scan_actions",
    "to_operations",
]

#: Rows of allocations and frees handed on at once.
_BATCH = 1 << 16

#: Most pageblocks of a zone: those of 64 TiB.
MOST_PAGEBLOCKS = 1 << 25

#: Versions of the format that are understood.
VERSIONS = range(1, 6)

#: Releases by the first two numbers of a kernel's version.
_RELEASES = {"5.15": "5.15", "6.1": "6.1", "6.12": "6.12", "6.19": "6.19"}


@dataclass(frozen=True, slots=True)
class Header:
    """First line: version of the format, the kernel's name, the release whose rules it should follow.

    ``alone``: there is no other zone that migration targets could come from.
    """

    version: int
    kernel: str
    release: str
    per_cpu_lists: bool
    alone: bool = False


@dataclass(slots=True)
class Dump:
    """A whole state. Lists and types in the trace's own numbers; pfns relative to the zone.

    ``cma``: the CMA area, if there is one; ``counted``: the recorder's own counts; ``owned``: live handles, rows of ``ACTION``.
    """

    line: int
    tag: str
    zone: dict[str, str] = field(default_factory=dict)
    watermarks: dict[str, int] = field(default_factory=dict)
    pcp: dict[str, int] = field(default_factory=dict)
    types: list[tuple[int, int]] = field(default_factory=list)
    free: dict[tuple[int, int], npt.NDArray[np.int64]] = field(default_factory=dict)
    pcp_lists: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    foreign: list[tuple[int, int, str]] = field(default_factory=list)
    owned: list[npt.NDArray[np.void]] = field(default_factory=list)
    cma: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    after_bug: bool = False

    def number(self, key: str) -> int:
        """A number of the geometry line. Raises InputError if it is not there."""
        try:
            return int(self.zone[key])
        except (KeyError, ValueError):
            raise InputError(
                f"line {self.line}: the dump's Z line has no number {key!r}: record the trace again"
            ) from None


@dataclass(frozen=True, slots=True)
class Actions:
    """Allocations (``a``) and frees (``f``, ``g`` of a contig range) in a row: array of ``ACTION``."""

    rows: npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class FreeAll:
    """``z``: free every handle, in handle order."""

    line: int


@dataclass(frozen=True, slots=True)
class Contig:
    """``c`` alloc_contig_range, ``x`` the same not clipped to the zone, ``I`` with a signal pending.

    ``moves``: (source, target), target None where it lies outside the zone. ``errno``: 0 or negative; None: the kernel
    stopped with a BUG. ``why``: (``U`` or ``T``, pfn) of what refused it, where the recorder knew.
    """

    line: int
    op: str
    handle: int
    start: int
    nr_pages: int
    moves: tuple[tuple[int, int | None], ...]
    errno: int | None
    why: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class CmaTry:
    """One call of alloc_contig_range that cma_alloc made: where, what moved, its answer (None: a BUG)."""

    start: int
    moves: tuple[tuple[int, int | None], ...]
    errno: int | None


@dataclass(frozen=True, slots=True)
class CmaAlloc:
    """``C`` cma_alloc: its tries in order; ``pfn``: None if it gave nothing."""

    line: int
    handle: int
    count: int
    align: int
    tries: tuple[CmaTry, ...]
    pfn: int | None


@dataclass(frozen=True, slots=True)
class CmaRelease:
    """``R`` cma_release of a handle; ``empty``: there was nothing to release."""

    line: int
    handle: int
    empty: bool


@dataclass(frozen=True, slots=True)
class Compaction:
    """``K``: the whole zone compacted. ``moves``: (source, target) in order; ``errno``: what the request failed with, or 0."""

    line: int
    moves: tuple[tuple[int, int | None], ...]
    errno: int


@dataclass(frozen=True, slots=True)
class Hash:
    """Digests of lists, types and per-cpu lists, and counters (``H``), or counters alone (``N``)."""

    line: int
    op: str
    digests: tuple[int, int, int] | None
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class Isolation:
    """``S`` start_isolate_page_range, with its answer, and ``U`` undo_isolate_page_range, by themselves."""

    line: int
    op: str
    start: int
    nr_pages: int
    errno: int


@dataclass(frozen=True, slots=True)
class Promised:
    """``A``: what must hold here: its name and numbers (``lab.promised``)."""

    line: int
    name: str
    numbers: tuple[str, ...]


Record = Isolation | Promised | Actions | FreeAll | Contig | CmaAlloc | CmaRelease | Compaction | Hash | Dump


class TraceReader:
    """Reads one trace, plain or .zst; ``release``: whose rules it is to follow, None: those that its header names.

    Raises:
        InputError: unreadable, cut off, corrupt, of an unknown kernel or version, or malformed (with the line number).
    """

    def __init__(self, path: Path, release: str | None = None) -> None:
        self.path = path
        self.asked = release
        self.line = 0
        self.position = 0
        self.raw = self._read()
        self.size = len(self.raw)
        # a zero byte behind the text lets the scan look one byte ahead
        self.text = np.frombuffer(self.raw + bytearray(1), np.uint8)
        self.table = np.zeros(_BATCH, ACTION)
        self.header = self._read_header()

    def _read(self) -> bytearray:
        """The whole text."""
        try:
            # a pipe may hold a trace; a device has no end
            if self.path.is_char_device() or self.path.is_block_device():
                raise InputError(f"{self.path}: a device: name a trace that can be read")
            raw = self.path.read_bytes()
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{self.path}: {what or error}: name a trace that can be read") from None
        if raw[:4] == b"\x28\xb5\x2f\xfd":
            try:
                raw = b"".join(_frames(raw))
            except (zstandard.ZstdError, EOFError) as error:
                raise InputError(
                    f"{self.path.name}, line 1: the file is corrupt or cut off ({error}): copy or record it again"
                ) from None
        return bytearray(raw)

    def fail(self, what: str, line: int | None = None) -> InputError:
        """An error that names file and line."""
        return InputError(f"{self.path.name}, line {line or self.line}: {what}")

    def _next(self) -> str | None:
        """The next line without its end; None at the end of the text."""
        if self.position >= self.size:
            return None
        end = self.raw.find(b"\n", self.position)
        if end < 0:
            end = self.size
        self.line += 1
        line = self.raw[self.position : end]
        self.position = end + 1
        try:
            return line.decode("ascii")
        except UnicodeDecodeError:
            raise self.fail("this is not text: is it a trace?") from None

    def _read_header(self) -> Header:
        first = self._next() or ""
        match = re.match(r"V oracle (\d+)\b(.*)", first)
        if match is None:
            raise self.fail(f"no trace starts with {first[:40]!r}: the first line is 'V oracle VERSION …'", 1)
        version = int(match[1])
        if version not in VERSIONS:
            raise self.fail(f"version {version} of the format is not known (1 to 5 are): update pageblock")
        words = dict(word.split("=", 1) for word in match[2].split() if "=" in word)
        kernel = words.get("kernel", "6.1.192")
        if not kernel.isprintable():
            raise self.fail(f"kernel {kernel!r:.60} is no release of one: is it a trace?")
        name = self.asked or (self._release_named(words["release"]) if "release" in words else self._release_of(kernel))
        return Header(version, kernel, name, words.get("pcp", "0") == "1", words.get("alone", "0") == "1")

    def _release_named(self, name: str) -> str:
        try:
            return release(name).name
        except ReleaseError as error:
            raise self.fail(str(error)) from None

    def _release_of(self, kernel: str) -> str:
        match = re.match(r"(\d+\.\d+)", kernel)
        name = _RELEASES.get(match[1]) if match else None
        if name is None:
            raise self.fail(f"kernel {kernel!r} is not one whose rules are known: name a release with --release")
        suffix = kernel.partition("+seed")
        if suffix[1]:
            name = "seed" + suffix[2]
        try:
            return release(name).name
        except ReleaseError:
            raise self.fail(f"kernel {kernel!r} has no release {name!r}: name one with --release") from None

    def records(self) -> Iterator[Record]:
        """Everything after the header, in order. Ends after the closing ``E``; without one the trace is cut off."""
        while True:
            rows, self.position, self.line = scan_actions(self.text, self.position, self.line, self.table)
            if len(rows):
                yield Actions(rows)
            if len(rows) == _BATCH:
                continue
            line = self._next()
            if line is None:
                break
            op = line[:1]
            try:
                if self.position > self.size and op != "E":
                    raise self.fail("the trace ends in the middle of a line: it is cut off")
                if op in ("a", "f", "g"):
                    raise self.fail(f"malformed record {line[:60]!r}")
                if op in ("c", "x", "I"):
                    yield self._contig(line)
                elif op == "K":
                    yield self._compaction(line)
                elif op in ("H", "N"):
                    yield self._hash(line)
                elif op == "D":
                    yield self._dump(line)
                elif op == "z":
                    yield FreeAll(self.line)
                elif op == "E":
                    if self.raw[self.position :].strip():
                        raise self.fail("there is more behind the closing E: one trace a file", self.line + 1)
                    return
                elif op == "C":
                    yield self._cma_alloc(line)
                elif op == "R":
                    fields = line.split()
                    yield CmaRelease(self.line, int(fields[1]), fields[2:] == ["-"])
                elif op in ("S", "U"):
                    asked, _, answer = line.partition(" = ")
                    _, start, count = asked.split()
                    yield Isolation(self.line, op, int(start), int(count), int(answer or "0"))
                elif op == "A":
                    yield Promised(self.line, line.split()[1], tuple(line.split()[2:]))
                elif op not in ("!", "J", "#", ""):
                    raise self.fail(f"no record starts with {line[:20]!r}")
            except (ValueError, IndexError, OverflowError):
                raise self.fail(f"malformed record {line[:60]!r}") from None
        raise self.fail("the trace ends without its closing E: it is cut off", self.line + 1)

    def _contig(self, line: str) -> Contig:
        head, _, answer = line.partition(" = ")
        asked, _, moved = head.partition(" :")
        op, handle, start, nr_pages = asked.split()
        fields = answer.split()
        errno = None if fields[0] == "BUG" else int(fields[0].removeprefix("rc="))
        why = re.search(r"why=([UT]):(\d+)", answer)
        return Contig(
            self.line,
            op,
            int(handle),
            int(start),
            int(nr_pages),
            _moves(moved),
            errno,
            (why[1], int(why[2])) if why else None,
        )

    def _cma_alloc(self, line: str) -> CmaAlloc:
        asked, _, answered = line.partition(" :")
        _, handle, count, align = asked.split()
        tried, _, answer = f" {answered}".partition(" = ")
        tries: list[CmaTry] = []
        # a try is "@start move move … =rc"; one that never returned has no answer of its own
        for group in tried.split("@")[1:]:
            place, _, rc = group.partition("=")
            start, _, moved = place.partition(" ")
            tries.append(CmaTry(int(start), _moves(moved), int(rc) if rc else None))
        word = answer.split()[0]
        pfn = None if word == "BUG" or int(word) < 0 else int(word)
        return CmaAlloc(self.line, int(handle), int(count), int(align), tuple(tries), pfn)

    def _compaction(self, line: str) -> Compaction:
        moved, _, answer = line.removeprefix("K :").partition(" = ")
        return Compaction(self.line, _moves(moved), int(answer.split()[0]))

    def _hash(self, line: str) -> Hash:
        fields = line.split()
        if fields[0] == "N":
            return Hash(self.line, "N", None, _numbers(fields[1:]))
        return Hash(self.line, "H", (int(fields[2], 16), int(fields[3], 16), int(fields[4], 16)), _numbers(fields[5:]))

    def _dump(self, first: str) -> Dump:
        fields = first.split(None, 2)
        if fields[1] != "begin":
            raise self.fail(f"a dump ends that did not begin: {first[:40]!r}")
        dump = Dump(self.line, fields[2], after_bug="BUG" in first)
        while True:
            rows, self.position, self.line = scan_actions(self.text, self.position, self.line, self.table, True)
            if len(rows):
                dump.owned.append(rows)
                continue
            line = self._next()
            if line is None:
                raise self.fail("the trace ends inside a dump: it is cut off", self.line + 1)
            kind, _, rest = line.partition(" ")
            if kind == "D":
                if not rest.startswith("end"):
                    dump.after_bug |= "BUG" in rest
                    continue
                dump.counted = _numbers(rest.split()[1:])
                return dump
            if kind == "O":
                raise self.fail(f"malformed record {line[:60]!r}")
            self._dump_line(dump, kind, rest.split())

    def _dump_line(self, dump: Dump, kind: str, fields: list[str]) -> None:
        if kind == "Z":
            dump.zone = dict(word.split("=", 1) for word in fields if "=" in word)
        elif kind == "W":
            dump.watermarks = _numbers(fields)
        elif kind == "Q":
            # one CPU is modelled, and only its lists are hashed
            if "cpu=0" in fields or not dump.pcp:
                dump.pcp = _numbers(fields)
        elif kind == "T":
            dump.types = [(int(mt), int(count)) for mt, count in (word.split(":") for word in fields)]
            counts = [count for _, count in dump.types]
            if counts and (min(counts) < 1 or sum(counts) > MOST_PAGEBLOCKS):
                raise self.fail(f"no zone has {sum(counts):,} pageblocks: record the trace again")
        elif kind == "L":
            dump.free[int(fields[0]), int(fields[1])] = np.array(fields[2:], np.int64)
        elif kind == "P" and fields[0] != "0":
            return
        elif kind == "P":
            dump.pcp_lists[int(fields[1])] = np.array(fields[2:], np.int64)
        elif kind == "X":
            dump.foreign.append((int(fields[0]), int(fields[1]), fields[2]))
        elif kind == "B":
            dump.cma = _numbers(fields)
        elif kind != "N":
            raise self.fail(f"no line of a dump starts with {kind!r}")


def _moves(words: str) -> tuple[tuple[int, int | None], ...]:
    """``source>target`` words; the target behind a ``!`` lies outside the zone."""
    moves: list[tuple[int, int | None]] = []
    for move in words.split():
        source, mark, target = re.split(r"([>!])", move, maxsplit=1)
        moves.append((int(source), int(target) if mark == ">" else None))
    return tuple(moves)


def _numbers(words: list[str]) -> dict[str, int]:
    """``key=value`` words; hexadecimal flags as such."""
    found: dict[str, int] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key == "cpu" and key in found:
            continue
        found[key] = int(value, 16) if key == "flags" else int(value)
    return found


def _frames(raw: bytes) -> Iterator[bytes]:
    """The contents of a .zst file; a frame that ends early is an error."""
    while raw:
        frame = zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(raw)
        if not frame.eof:
            raise EOFError("the last frame has no end")
        raw = frame.unused_data
