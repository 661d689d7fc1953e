"""A tar archive with a machine's files: a sosreport, or a packed folder.

Nothing is unpacked under the name that it has in the archive: the few files wanted go, bounded, into a folder of their own,
which is removed again. Links are followed inside the archive only; a device or pipe in a file's place is refused.
"""

import bz2
import gzip
import io
import lzma
import posixpath
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import zstandard

from pageblock.errors import InputError

from .source import BESIDE, KNOWN_FILES, Source, choose_machine, plain_name
from .words import SUFFIXES, WordReader, open_words, read_text

__all__ = ["Archive", "is_archive"]

#: First bytes of what a tar archive may be packed in.
PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}

DECODERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "xz": lzma.LZMAFile,
    "bzip2": bz2.BZ2File,
    "zstd": lambda file: zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True),
}

#: Most members, most bytes of all that is decoded, of one file (8 TiB of memory), and of one name or extended header.
MOST_MEMBERS = 500_000
MOST_BYTES = 64 << 30
MOST_FILE = 16 << 30
MOST_HEADER = 1 << 20

#: Reads behind the end that are no sign of a member which is longer than the archive.
MOST_EMPTY = 64

#: Links that lead to links.
MOST_LINKS = 8

SPECIAL = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a named pipe"}


def is_archive(path: Path) -> bool:
    """Whether a regular file begins as a tar archive does, or as one that is packed."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            begin = file.read(512)
    except (OSError, ValueError):
        return False
    return begin[257:262] == b"ustar" or packing(begin) is not None


def packing(begin: bytes) -> str | None:
    return next((name for magic, name in PACKED.items() if begin.startswith(magic)), None)


class Bounded(io.RawIOBase):
    """What a stream gives, up to so many bytes."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.stream = stream
        self.name = name
        self.left = MOST_BYTES
        self.at_end = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        # tarfile reads a member that claims terabytes block by block, long after the end
        self.at_end = 0 if data else self.at_end + 1
        if self.at_end > MOST_EMPTY:
            raise EOFError("it ends within a member")
        if self.left < 0:
            raise InputError(
                f"{self.name}: more than {MOST_BYTES >> 30} GiB when unpacked; unpack it and give the folder"
            )
        return data


class Header(tarfile.TarInfo):
    """A header whose extensions are of a size that a name may have: tarfile reads them whole."""

    LONG = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "Header":
        header = super().frombuf(buf, encoding, errors)
        if header.type in cls.LONG and header.size > MOST_HEADER:
            raise InputError(f"a header of {header.size:,} bytes, more than any name has")
        return header


@dataclass(frozen=True)
class Member:
    """One member: ``kind`` as tarfile has it, ``link`` where a link leads, from the archive's root on."""

    kind: bytes
    link: str | None


class Archive(Source):
    """The machine in a tar archive, plain or packed with gzip, xz, zstd or bzip2."""

    live = False
    patient = True
    kind = "files of an archive"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.folder = tempfile.TemporaryDirectory(prefix="pageblock-")
        try:
            self.files = unpack(path, Path(self.folder.name))
        except BaseException:
            self.close()
            raise

    def text(self, name: str) -> tuple[str, str] | None:
        found = self.path(name)
        return None if found is None else (read_text(*found), found[1])

    def words(self, name: str) -> WordReader | None:
        found = self.path(name)
        return None if found is None else open_words(*found)

    def path(self, name: str) -> tuple[Path, str] | None:
        return self.files.get(name)

    def close(self) -> None:
        self.folder.cleanup()


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """The archive as a stream of members. Raises InputError for what is no sound archive."""
    try:
        with path.open("rb") as file:
            kind = packing(file.read(8))
            file.seek(0)
            stream: Any = DECODERS[kind](file) if kind else file
            with tarfile.open(fileobj=Bounded(stream, str(path)), mode="r|", tarinfo=Header) as tar:
                yield tar
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: no whole tar archive ({error}); copy it again") from error
    except OSError as error:
        what = error.strerror or error
        raise InputError(f"{path}: {what}; the archive cannot be read or unpacked, give a folder") from error


def members_of(path: Path) -> dict[str, Member]:
    """Every member but folders by normalised name; those whose names lead outside are left out."""
    found: dict[str, Member] = {}
    with opened(path) as tar:
        for number, member in enumerate(tar):
            if number >= MOST_MEMBERS:
                raise InputError(f"{path}: more than {MOST_MEMBERS:,} members; unpack it and give the folder")
            name = inside(member.name)
            if name is None or member.isdir():
                continue
            link = None
            if member.issym():
                link = inside(posixpath.join(posixpath.dirname(name), member.linkname))
            elif member.islnk():
                link = inside(member.linkname)
            found[name] = Member(member.type, link)
    return found


def inside(name: str) -> str | None:
    """A member's name from the archive's root on; None where it leads outside."""
    name = posixpath.normpath(name)
    return None if name.startswith(("/", "../")) or name in ("..", ".") else name


def unpack(path: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Unpack the files wanted into a folder: by the name asked for, where each lies and its name for messages."""
    members = members_of(path)
    names = (PurePosixPath(name) for name in members)
    proc = choose_machine(str(path), (name for name in names if plain_name(name.name) in KNOWN_FILES))
    root = proc.parent if proc.name == "proc" else proc
    places = {name: [proc / name] for name in (*KNOWN_FILES, "cmdline", "slabinfo")}
    places |= {name: [root / place for place in where] for name, where in BESIDE.items()}
    wanted: dict[str, list[tuple[Path, str, str]]] = {}
    for name, where in places.items():
        for candidate, suffix in ((f"{place}{suffix}", suffix) for place in where for suffix in SUFFIXES):
            if candidate in members:
                member = resolve(path, members, candidate)
                wanted.setdefault(member, []).append((folder / f"{name}{suffix}", name, f"{path}: {candidate}"))
                break
    found: dict[str, tuple[Path, str]] = {}
    with opened(path) as tar:
        for entry in tar:
            for target, name, shown in wanted.pop(inside(entry.name) or "", []):
                data = tar.extractfile(entry) if entry.isreg() else None
                if data is not None:
                    copy(data, target, shown)
                    found[name] = target, shown
    return found


def resolve(path: Path, members: dict[str, Member], name: str) -> str:
    """The regular file that a member is or leads to. Raises InputError."""
    at = name
    for _ in range(MOST_LINKS):
        member = members.get(at)
        if member is None:
            break
        if member.kind in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE):
            return at
        if member.kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            if member.link is None:
                raise InputError(f"{path}: {name} is a link that leads out of the archive; it is not followed")
            at = member.link
            continue
        raise InputError(f"{path}: {name} is {SPECIAL.get(member.kind, 'no regular file')}; it is not read")
    raise InputError(f"{path}: {name} is a link to nothing; pack the file that it means")


def copy(data: IO[bytes], target: Path, shown: str) -> None:
    size = 0
    with target.open("wb") as file:
        while piece := data.read(1 << 20):
            size += len(piece)
            if size > MOST_FILE:
                raise InputError(f"{shown}: more than {MOST_FILE >> 30} GiB; no machine has that many pages")
            file.write(piece)
