"""Where the files come from: live /proc, a folder of recorded ones, a sosreport, a tar archive.

Text comes back whole; the big binary files come back as a ``WordReader`` that reads 64-bit words
forward. Everything that cannot be read raises InputError; a file that is not there is None.
"""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pageblock.errors import InputError

from .words import SUFFIXES, LiveWords, WordReader, open_words, read_text

__all__ = ["BESIDE", "KNOWN_FILES", "Folder", "LiveProc", "Source", "choose_machine", "is_procfs", "plain_name"]

#: Files that make a folder a machine.
KNOWN_FILES = (
    "zoneinfo",
    "buddyinfo",
    "pagetypeinfo",
    "kpageflags",
    "kpagecount",
    "iomem",
    "meminfo",
    "vmstat",
    "version",
)

#: Of these one at least has to be there where a folder below the one named is not called proc.
TELLING_FILES = ("zoneinfo", "buddyinfo", "pagetypeinfo", "kpageflags")

#: Further files of interest, by the name under which they are asked for: where they may lie, from the folder that holds
#: proc (sos report's layout), or from the folder of the files itself.
BESIDE = {
    "uname": ("sos_commands/kernel/uname_-a", "uname"),
    "dmesg": ("sos_commands/kernel/dmesg", "dmesg"),
    "page_owner": ("sys/kernel/debug/page_owner", "page_owner"),
}

#: Folders looked at, and how deep, in search of proc.
MOST_FOLDERS = 100_000
MOST_DEPTH = 8

#: What may lie in place of a file and would be no answer, or never end, when read.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Source(ABC):
    """Files by their /proc names.

    ``kind``: what it is in a few words; ``patient``: nobody can record them again, so an unusable file counts as absent.
    """

    name: str
    kind: str
    live: bool
    patient = False

    @abstractmethod
    def text(self, name: str) -> tuple[str, str] | None:
        """Text of a file and the name for messages; None if it is absent."""

    @abstractmethod
    def words(self, name: str) -> WordReader | None:
        """Reader of a file of 64-bit words; None if it is absent."""

    def path(self, name: str) -> tuple[Path, str] | None:
        """Where a file lies that is too large for a text, and the name for messages; None if it is absent."""
        return None

    def close(self) -> None:  # noqa: B027
        """Release what was opened or unpacked; nothing, for most."""


class Folder(Source):
    """A folder of recorded files, each under its /proc name or with .zst, .gz or .xz added.

    They may lie in a folder below, as in a sosreport: then in one called ``proc`` at any depth, or failing that in one with
    a file that tells a machine.
    """

    live = False

    def __init__(self, path: Path) -> None:
        self.top = path
        self.name = str(path)
        found = find_machine(path)
        self.folder = found
        self.patient = found != path
        self.kind = "files of a sosreport" if self.patient else "files of /proc"

    def find(self, name: str) -> Path | None:
        """The file of this name, or what stands for it beside proc."""
        if name not in BESIDE:
            return self.find_in(self.folder, name, self.top)
        for place in BESIDE[name]:
            root = self.folder.parent if self.folder.name == "proc" and self.folder != self.top else self.folder
            found = self.find_in(root / PurePosixPath(place).parent, PurePosixPath(place).name, self.top)
            if found is not None:
                return found
        return None

    @staticmethod
    def find_in(folder: Path, name: str, top: Path) -> Path | None:
        """The file of this name, plain or compressed.

        Raises InputError for a folder, a pipe or a device in its place, and for a link that leads out of ``top``.
        """
        for candidate in (folder / f"{name}{suffix}" for suffix in SUFFIXES):
            try:
                mode = candidate.stat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                if candidate.is_symlink():
                    raise InputError(f"{candidate}: a link to nothing; copy the file that it meant") from None
                continue
            if not stat.S_ISREG(mode):
                kind = KINDS.get(stat.S_IFMT(mode), "no regular file")
                raise InputError(f"{candidate}: {kind} in place of a file; replace it by a copy of /proc/{name}")
            if not candidate.resolve().is_relative_to(top.resolve()):
                raise InputError(f"{candidate}: a link that leads out of {top}; copy the file that it means")
            return candidate
        return None

    def text(self, name: str) -> tuple[str, str] | None:
        path = self.find(name)
        return None if path is None else (read_text(path), str(path))

    def words(self, name: str) -> WordReader | None:
        path = self.find(name)
        return None if path is None else open_words(path)

    def path(self, name: str) -> tuple[Path, str] | None:
        path = self.find(name)
        return None if path is None else (path, str(path))


def find_machine(path: Path) -> Path:
    """The folder that holds a machine's files: this one, or the only one below. Raises InputError: none, or several."""
    try:
        mode = path.stat().st_mode
        for folder in (path, path / "proc"):
            if any(Folder.find_in(folder, name, path) for name in KNOWN_FILES):
                return folder
    except FileNotFoundError:
        raise InputError(f"{path}: no such folder or file; give a folder of files copied from /proc") from None
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: {what}; give a folder that this user can read") from error
    if not stat.S_ISDIR(mode):
        raise InputError(
            f"{path}: not a folder of files copied from /proc, nor a tar archive of one, nor a file of pageblock capture"
        )
    return path / choose_machine(str(path), files_below(path))


def files_below(path: Path) -> Iterator[PurePosixPath]:
    """Files below a folder that may tell a machine, from it on; links to folders are not followed."""
    for seen, (place, folders, files) in enumerate(os.walk(path)):
        at = PurePosixPath(os.path.relpath(place, path))
        if seen >= MOST_FOLDERS:
            raise InputError(f"{path}: more than {MOST_FOLDERS:,} folders in it; name the one that holds proc")
        # proc holds its files itself; below it lie processes
        folders[:] = [] if at.name == "proc" or len(at.parts) >= MOST_DEPTH else sorted(folders)
        yield from (at / name for name in files if plain_name(name) in KNOWN_FILES)


def plain_name(name: str) -> str:
    """A file's name without what says how it is packed."""
    for suffix in SUFFIXES[1:]:
        name = name.removesuffix(suffix)
    return name


def choose_machine(source: str, files: Iterable[PurePosixPath]) -> PurePosixPath:
    """The folder of a machine's files, from names of files. Raises InputError: none, or several."""
    procs: set[PurePosixPath] = set()
    others: set[PurePosixPath] = set()
    for file in files:
        if file.parent.name == "proc":
            procs.add(file.parent)
        elif plain_name(file.name) in TELLING_FILES:
            others.add(file.parent)
    found = sorted(procs or others)
    if not found:
        raise InputError(
            f"{source}: none of the files {', '.join(KNOWN_FILES)} is there (plain, .zst, .gz or .xz); "
            "give a folder of files copied from /proc, or a sosreport"
        )
    if len(found) > 1:
        some = ", ".join(map(str, found[:3])) + (" …" if len(found) > 3 else "")
        raise InputError(f"{source}: files of {len(found)} machines ({some}); give the folder of one of them")
    return found[0]


class LiveProc(Source):
    """The running kernel's /proc. What this user may not read counts as absent."""

    live = True
    kind = "the running kernel"

    def __init__(self, path: Path = Path("/proc")) -> None:
        self.folder = path
        self.name = "live /proc" if path == Path("/proc") else f"live {path}"

    def text(self, name: str) -> tuple[str, str] | None:
        path = self.folder / name
        try:
            return path.read_text(errors="replace"), str(path)
        except OSError:
            return None

    def words(self, name: str) -> WordReader | None:
        try:
            reader = LiveWords(self.folder / name)
            reader.file.read(8)
            reader.seek(0)
        except OSError:
            return None
        return reader

    def path(self, name: str) -> tuple[Path, str] | None:
        if name != "page_owner":
            return None
        path = Path("/sys/kernel/debug/page_owner")
        return (path, str(path)) if os.access(path, os.R_OK) else None


def is_procfs(folder: Path) -> bool:
    """Whether a folder is the running kernel's /proc: its files have no size, and ``self`` leads to this process."""
    try:
        return (folder / "self").is_symlink() and (folder / "zoneinfo").stat().st_size == 0
    except (OSError, ValueError):
        return False
