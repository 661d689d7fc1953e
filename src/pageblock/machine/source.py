"""Where the files come from: live /proc, or a folder of recorded ones, plain or .zst.

Text comes back whole; the big binary files come back as a ``WordReader`` that reads 64-bit words
forward. Everything that cannot be read raises InputError; a file that is not there is None.
"""

import stat
from abc import ABC, abstractmethod
from collections.abc import Generator
from io import FileIO
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from pageblock.errors import InputError

__all__ = ["Folder", "LiveProc", "Source", "WordReader", "is_snapshot_file", "open_source"]

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

#: What may lie in place of a file and would be no answer, or never end, when read.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: Compressed bytes decoded at a time. A zstd block of 4 bytes can hold 128 KiB, so this bounds the
#: decoded piece by 32 MiB.
ZSTD_INPUT = 1024


class WordReader(ABC):
    """Reads little-endian 64-bit words of one file, forward only; ``name`` is for messages."""

    def __init__(self, name: str) -> None:
        self.name = name

    #: Words in the file; None where only reading tells.
    length: int | None = None

    @abstractmethod
    def seek(self, word: int) -> None:
        """Move forward to a word. Past the end, the next read gives nothing."""

    @abstractmethod
    def read(self, out: NDArray[np.uint64]) -> int:
        """Fill the array from the file; how many words came, fewer only at the end."""

    @abstractmethod
    def finish(self) -> int | None:
        """Check what is left and give the file's length in words where known."""

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def truncated(self, nr_bytes: int) -> InputError:
        return InputError(
            f"{self.name}: {nr_bytes} bytes are not a whole number of 64-bit words; "
            "the file is cut off, record it again"
        )

    def empty(self) -> InputError:
        return InputError(f"{self.name}: the file is empty; record it again as root, with CAP_SYS_ADMIN")


class PlainWords(WordReader):
    """A regular file of words."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        try:
            nr_bytes = path.stat().st_size
            self.file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(unreadable(path, error)) from error
        if nr_bytes == 0 or nr_bytes % 8:
            self.file.close()
            raise self.truncated(nr_bytes) if nr_bytes else self.empty()
        self.length = nr_bytes // 8

    def seek(self, word: int) -> None:
        self.file.seek(min(word, self.length or 0) * 8)

    def read(self, out: NDArray[np.uint64]) -> int:
        return read_words(self, self.file, out)

    def finish(self) -> int | None:
        return self.length

    def close(self) -> None:
        self.file.close()


class LiveWords(WordReader):
    """A /proc file of words: its size says 0, and reads must be whole words."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.file = path.open("rb", buffering=0)

    def seek(self, word: int) -> None:
        self.file.seek(word * 8)

    def read(self, out: NDArray[np.uint64]) -> int:
        return read_words(self, self.file, out)

    def finish(self) -> int | None:
        return None

    def close(self) -> None:
        self.file.close()


class ZstdWords(WordReader):
    """A file of words inside one or more zstd frames."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.pieces = zstd_pieces(path)
        self.piece = memoryview(b"")
        self.done_bytes = 0

    def take(self, out: memoryview | None, want: int) -> int:
        got = 0
        while got < want:
            if not self.piece:
                self.piece = memoryview(next(self.pieces, b""))
                if not self.piece:
                    break
            part = self.piece[: want - got]
            if out is not None:
                out[got : got + len(part)] = part
            got += len(part)
            self.piece = self.piece[len(part) :]
        self.done_bytes += got
        if got < want and self.done_bytes % 8:
            raise self.truncated(self.done_bytes)
        return got

    def seek(self, word: int) -> None:
        self.take(None, word * 8 - self.done_bytes)

    def read(self, out: NDArray[np.uint64]) -> int:
        return self.take(out.view(np.uint8).data, out.nbytes) // 8

    def finish(self) -> int | None:
        while self.take(None, 1 << 30):
            pass
        if self.done_bytes == 0:
            raise self.empty()
        return self.done_bytes // 8

    def close(self) -> None:
        self.pieces.close()


def read_words(reader: WordReader, file: FileIO, out: NDArray[np.uint64]) -> int:
    view = out.view(np.uint8).data
    got = 0
    try:
        while got < len(view):
            step = file.readinto(view[got:])
            if not step:
                break
            got += step
    except OSError as error:
        raise InputError(f"{reader.name}: {error.strerror}; record it again as root") from error
    if got % 8:
        raise reader.truncated(got)
    return got // 8


def zstd_pieces(path: Path) -> Generator[bytes, None, None]:
    """Decoded pieces of a .zst file. Raises InputError: corrupt, cut off or unreadable."""
    decoder = zstandard.ZstdDecompressor().decompressobj()
    fresh = True
    try:
        with open(path, "rb") as file:
            while data := file.read(ZSTD_INPUT):
                while data:
                    if decoder.eof:
                        decoder = zstandard.ZstdDecompressor().decompressobj()
                    fresh = False
                    if piece := decoder.decompress(data):
                        yield piece
                    data = decoder.unused_data
    except OSError as error:
        raise InputError(unreadable(path, error)) from error
    except zstandard.ZstdError as error:
        raise InputError(f"{path}: not a sound zstd file ({error}); compress the recording again") from error
    if not fresh and not decoder.eof:
        raise InputError(f"{path}: the zstd file is cut off; copy it again")


def unreadable(path: Path, error: OSError) -> str:
    return f"{path}: {error.strerror}; make it a readable file or remove it from the folder"


class Source(ABC):
    """Files by their /proc names."""

    name: str
    live: bool

    @abstractmethod
    def text(self, name: str) -> tuple[str, str] | None:
        """Text of a file and the name for messages; None if it is absent."""

    @abstractmethod
    def words(self, name: str) -> WordReader | None:
        """Reader of a file of 64-bit words; None if it is absent."""


class Folder(Source):
    """A folder of recorded files, each under its /proc name or with .zst added."""

    live = False

    def __init__(self, path: Path) -> None:
        # A sosreport keeps the files in its proc/ folder.
        candidates = [path, path / "proc"]
        try:
            mode = path.stat().st_mode
            found = [c for c in candidates if any(self.find_in(c, name) for name in KNOWN_FILES)]
        except FileNotFoundError:
            raise InputError(f"{path}: no such folder; give a folder of files copied from /proc") from None
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{path}: {what}; give a folder that this user can read") from error
        if not stat.S_ISDIR(mode):
            raise InputError(f"{path}: not a folder; give a folder of files copied from /proc")
        if not found:
            raise InputError(
                f"{path}: none of the files {', '.join(KNOWN_FILES)} is there (plain or .zst); "
                "give a folder of files copied from /proc"
            )
        self.path = found[0]
        self.name = str(path)

    @staticmethod
    def find_in(folder: Path, name: str) -> Path | None:
        """The file of this name, plain or .zst. Raises InputError for a folder, a pipe or a device in its place."""
        for candidate in (folder / name, folder / f"{name}.zst"):
            try:
                mode = candidate.stat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                if candidate.is_symlink():
                    raise InputError(f"{candidate}: a link to nothing; copy the file that it meant") from None
                continue
            if not stat.S_ISREG(mode):
                kind = KINDS.get(stat.S_IFMT(mode), "no regular file")
                raise InputError(f"{candidate}: {kind} in place of a file; replace it by a copy of /proc/{name}")
            return candidate
        return None

    def text(self, name: str) -> tuple[str, str] | None:
        path = self.find_in(self.path, name)
        if path is None:
            return None
        if path.suffix == ".zst":
            data = b"".join(zstd_pieces(path))
        else:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise InputError(unreadable(path, error)) from error
        return data.decode("utf-8", "replace"), str(path)

    def words(self, name: str) -> WordReader | None:
        path = self.find_in(self.path, name)
        if path is None:
            return None
        return ZstdWords(path) if path.suffix == ".zst" else PlainWords(path)


class LiveProc(Source):
    """The running kernel's /proc. What this user may not read counts as absent."""

    live = True

    def __init__(self, path: Path = Path("/proc")) -> None:
        self.path = path
        self.name = "live /proc" if path == Path("/proc") else f"live {path}"

    def text(self, name: str) -> tuple[str, str] | None:
        path = self.path / name
        try:
            return path.read_text(errors="replace"), str(path)
        except OSError:
            return None

    def words(self, name: str) -> WordReader | None:
        try:
            reader = LiveWords(self.path / name)
            reader.file.read(8)
            reader.seek(0)
        except OSError:
            return None
        return reader


def open_source(path: Path | None) -> Source:
    """The source of a folder, or live /proc for None. Raises InputError for no usable folder.

    /proc itself, wherever it is mounted, and a folder that holds it as ``proc`` (``/``) are the live machine.
    """
    if path is None:
        return LiveProc()
    for folder in (path, path / "proc"):
        if is_procfs(folder):
            return LiveProc(folder)
    return Folder(path)


def is_procfs(folder: Path) -> bool:
    """Whether a folder is the running kernel's /proc: its files have no size, and ``self`` leads to this process."""
    try:
        return (folder / "self").is_symlink() and (folder / "zoneinfo").stat().st_size == 0
    except (OSError, ValueError):
        return False


def is_snapshot_file(path: Path) -> bool:
    """Whether a path is a regular file that begins as Parquet does; what cannot be read is no such file."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except (OSError, ValueError):
        return False
