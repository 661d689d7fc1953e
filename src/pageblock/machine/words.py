"""Files of 64-bit words, and files of text, plain or compressed: read forward, bounded, every fault one line."""

import gzip
import lzma
import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from pageblock.errors import InputError

__all__ = ["SUFFIXES", "LiveWords", "PlainWords", "WordReader", "open_words", "read_pieces", "read_text", "unreadable"]

#: What a file's name may end with, and then how it is packed.
SUFFIXES = ("", ".zst", ".gz", ".xz")

#: Most bytes of a text file of /proc; zoneinfo of 16 nodes and 1024 CPUs has 4 MiB.
MOST_TEXT = 128 << 20

#: Bytes read or decoded at a time.
PIECE = 1 << 20

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

    def __init__(self, path: Path, shown: str | None = None) -> None:
        super().__init__(shown or str(path))
        try:
            nr_bytes = path.stat().st_size
            self.file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(unreadable(self.name, error)) from error
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


class PackedWords(WordReader):
    """A file of words that is compressed."""

    def __init__(self, path: Path, shown: str | None = None) -> None:
        super().__init__(shown or str(path))
        self.pieces = read_pieces(path, shown)
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


def zstd_pieces(path: Path, name: str) -> Generator[bytes, None, None]:
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
        raise InputError(unreadable(name, error)) from error
    except zstandard.ZstdError as error:
        raise InputError(f"{name}: not a sound zstd file ({error}); compress the recording again") from error
    if not fresh and not decoder.eof:
        raise InputError(f"{name}: the zstd file is cut off; copy it again")


def read_pieces(path: Path, shown: str | None = None) -> Generator[bytes, None, None]:
    """The pieces of a file, decoded as its name says. ``shown``: its name for messages.

    Raises InputError: corrupt, cut off or unreadable.
    """
    name = shown or str(path)
    if path.suffix == ".zst":
        yield from zstd_pieces(path, name)
        return
    kind = {".gz": "gzip", ".xz": "xz"}.get(path.suffix, "plain")
    try:
        opened: Any = gzip.open if kind == "gzip" else lzma.open if kind == "xz" else open
        with opened(path, "rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except EOFError as error:
        raise InputError(f"{name}: the {kind} file is cut off; copy it again") from error
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{name}: not a sound {kind} file ({error}); compress the recording again") from error
    except OSError as error:
        raise InputError(unreadable(name, error)) from error


def read_text(path: Path, shown: str | None = None) -> str:
    """The whole text of a file. Raises InputError as ``read_pieces``, and for one larger than any of /proc."""
    pieces: list[bytes] = []
    size = 0
    for piece in read_pieces(path, shown):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_TEXT:
            raise InputError(f"{shown or path}: more than {MOST_TEXT >> 20} MiB of text; this is no file of /proc")
    return b"".join(pieces).decode("utf-8", "replace")


def open_words(path: Path, shown: str | None = None) -> WordReader:
    """Reader of a file of words, decoded as its name says."""
    return PackedWords(path, shown) if path.suffix in SUFFIXES[1:] else PlainWords(path, shown)


def unreadable(name: str, error: OSError) -> str:
    return f"{name}: {error.strerror or error}; make it a readable file or remove it from the folder"
