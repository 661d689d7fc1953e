"""Lines of a kernel log as people have them: dmesg, journal, syslog, console captures, mail; plain or compressed.

What stands before the kernel's own words (quotes, dates, hosts, levels, time stamps, caller ids) is taken off; messages
that mail or the console broke into several lines are not joined here but in ``kernel_log``, which knows their forms.
One pass, bounded lines, no pattern that can take more than linear time.
"""

import bz2
import gzip
import io
import json
import lzma
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from ..errors import InputError

__all__ = ["LogLine", "read_log", "split_line"]

Progress = Callable[[int, int], None]

#: A buffered reader of bytes, whatever is below it.
Reader = Any

#: Longest line that is looked at, bytes; what is beyond belongs to the next one. printk's are below 1 KiB, bitmaps longer.
LINE_BYTES = 1 << 16

#: Decompressed bytes read of one log: more is a bomb, or a log that no person reads.
MOST_BYTES = 8 << 30

_MONTHS = {
    m: i for i, m in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: its number in the text (from 1), the kernel's words, and when.

    ``seconds``: of ``clock``'s time, None where the line has none; ``clock``: "boot" (since boot), "wall" or "".
    ``prefixed``: something stood before the words, so that this is the start of a message.
    """

    number: int
    text: str
    seconds: float | None
    clock: str
    prefixed: bool


_ANSI = re.compile(r"\x1b\[[0-9;?]{0,16}[A-Za-z]")
_QUOTE = re.compile(r"(?:[ \t]{0,3}>){1,24}[ \t]?")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(?:Z|[+-]\d\d:?\d\d)?\s+")
_SYSLOG = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    r"(?: \d{4})?\s+"
)
_CTIME = re.compile(
    r"\[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?"
    r"(?: \d{4})?\]\s?"
)
_HUMAN = re.compile(r"\[([A-Z][a-z]{2}) ?(\d{1,2}) (\d\d):(\d\d)\]\s?")
_BOOT = re.compile(r"\[\s{0,12}(\d{1,10})\.(\d{1,9})(?:\s{0,4}<\s{0,12}\+?\d{1,10}\.\d{1,9}>)?\s{0,4}\]\s?")
_DELTA = re.compile(r"[\[<]\s{0,12}\+?\s{0,12}(\d{1,10}\.\d{1,9})[\]>]\s?")
_KMSG = re.compile(r"\d{1,5},\d{1,20},(\d{1,18}),[-\w,=]{1,64};")
_HOST = re.compile(r"(?:[^\s\[]\S{0,200} ){0,4}?kernel(?:\[\d{1,8}\])?: ?")
_LEVEL = re.compile(
    r"(?:kern|user|daemon|syslog|auth\w{0,4}|local\d) {0,4}[:.]"
    r"(?:emerg|alert|crit|err|warn|warning|notice|info|debug) {0,4}: {0,4}|<\d{1,3}>"
)
_LOGCAT = re.compile(r"\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,9}\s{1,8}(?:\d{1,8}\s{1,8}){0,2}[VDIWEF] [^\s:]{1,64}\s{0,16}: ")
_CALLER = re.compile(
    r"\[\s{0,8}[TC]\d{1,8}\]:? ?|\[\s{0,8}\d{1,4}:[^\]\[]{1,80}\] ?|\(\d{1,3}\)\[\d{1,8}:[^\]]{1,64}\] ?"
)


def split_line(raw: str, number: int, delta: float = 0.0) -> LogLine:
    """Take what stands before the kernel's words off a line without its end. ``delta``: time of a dmesg -d log so far."""
    text = raw
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\0" in text:
        text = text.replace("\0", "")
    if text.startswith("{") and '"MESSAGE"' in text:
        text = _journal_json(text)
    if quote := _QUOTE.match(text):
        text = text[quote.end() :]
    stripped = text.strip()
    seconds: float | None = None
    clock = ""
    prefixed = False
    # each round takes one kind of prefix off; no log has more than a few
    for _ in range(8):
        first = stripped[:1]
        match: re.Match[str] | None = None
        if first in "[<(":
            if match := _BOOT.match(stripped):
                seconds, clock = float(f"{match[1]}.{match[2]}"), "boot"
            elif match := _CTIME.match(stripped):
                seconds, clock = _wall(match[1], match.group(2, 3, 4, 5), match[6], seconds, clock)
            elif match := _HUMAN.match(stripped):
                seconds, clock = _wall(match[1], (*match.group(2, 3, 4), "0"), None, seconds, clock)
            elif match := _DELTA.match(stripped):
                if clock != "boot":
                    seconds, clock = delta + float(match[1]), "delta"
            else:
                match = _CALLER.match(stripped) or _LEVEL.match(stripped)
        elif first.isdigit():
            if match := _ISO.match(stripped):
                if clock != "boot":
                    seconds, clock = _iso(match, seconds, clock)
            elif match := _KMSG.match(stripped):
                seconds, clock = int(match[1]) / 1e6, "boot"
            else:
                match = _LOGCAT.match(stripped)
        elif match := _SYSLOG.match(stripped):
            seconds, clock = _wall(match[1], match.group(2, 3, 4, 5), match[6], seconds, clock)
        if match is None and stripped:
            match = _LEVEL.match(stripped)
            if match is None and "kernel" in stripped[:320]:
                match = _HOST.match(stripped)
        if match is None or not match.end():
            break
        prefixed = True
        stripped = stripped[match.end() :].lstrip()
    return LogLine(number, stripped, seconds, clock, prefixed)


def _journal_json(text: str) -> str:
    """The message of a line of ``journalctl -o json``; the line itself where it is none."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return text
    message = entry.get("MESSAGE") if isinstance(entry, dict) else None
    if isinstance(message, list):
        # the journal writes what is no UTF-8 as a list of bytes
        message = bytes(b for b in message if isinstance(b, int) and 0 <= b < 256).decode("utf-8", "replace")
    if not isinstance(message, str):
        return text
    stamp = entry.get("_SOURCE_MONOTONIC_TIMESTAMP") or entry.get("__MONOTONIC_TIMESTAMP")
    if isinstance(stamp, str) and stamp.isascii() and stamp.isdigit() and len(stamp) < 17:
        return f"[{int(stamp) // 1_000_000}.{int(stamp) % 1_000_000:06}] {message}"
    return message


def _fraction(digits: str | None) -> float:
    return float(f"0.{digits}") if digits else 0.0


def _wall(
    month: str, rest: tuple[str | None, ...] | str, digits: str | None, seconds: float | None, clock: str
) -> tuple[float | None, str]:
    """Seconds since the start of a year, which syslog does not tell; a time since boot is better where there is one."""
    if clock == "boot" or month not in _MONTHS:
        return seconds, clock
    day, hour, minute, second = (int(part or 0) for part in rest)
    # months of 31 days: only differences within a day or so matter
    return (((_MONTHS[month] * 31 + day) * 24 + hour) * 60 + minute) * 60 + second + _fraction(digits), "wall"


def _iso(match: re.Match[str], seconds: float | None, clock: str) -> tuple[float | None, str]:
    try:
        moment = datetime.fromisoformat(f"{match[1]} {match[2]}")
    except ValueError:
        return seconds, clock
    days = (moment.month * 31 + moment.day) * 24
    return ((days + moment.hour) * 60 + moment.minute) * 60 + moment.second + _fraction(match[3]), "wall"


def read_log(name: str, progress: Progress | None = None) -> Iterator[LogLine]:
    """The lines of a log file, or of standard input for ``-``; plain, gzip, zstd, xz or bzip2.

    Raises:
        InputError: no such file, no text, a corrupt or cut off compressed file, an empty one.
    """
    if name == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise InputError("standard input is closed; pipe a log into it or name a file")
        source = cast("BinaryIO", getattr(sys.stdin, "buffer", None))
        if source is None:
            raise InputError("standard input gives no bytes; name a file")
        yield from _lines(source, "standard input", None, 0)
        return
    path = Path(name)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name}: a folder; name a file that holds a kernel log, such as the output of dmesg")
        with open(path, "rb") as file:
            yield from _lines(file, name, progress, status.st_size)
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{name}: {what}; name a readable file with a kernel log, or - for standard input") from error


class _Counted(io.RawIOBase):
    """The bytes of a file, with progress told as they are read."""

    def __init__(self, file: BinaryIO, progress: Progress | None, size: int) -> None:
        super().__init__()
        self.file, self.progress, self.size, self.done = file, progress, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self.file.read(len(view))
        view[: len(data)] = data
        self.done += len(data)
        if self.progress is not None:
            self.progress(self.done, self.size)
        return len(data)


def _lines(file: BinaryIO, name: str, progress: Progress | None, size: int) -> Iterator[LogLine]:
    raw = io.BufferedReader(_Counted(file, progress, size), 1 << 16)
    head = raw.peek(1 << 12)
    try:
        opened = _decompressed(raw, head)
        stream = opened if isinstance(opened, io.BufferedReader) else io.BufferedReader(opened, 1 << 16)
        yield from _text_lines(stream, name)
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise InputError(f"{name}: not a sound compressed file ({error}); compress the log again") from error
    except EOFError as error:
        raise InputError(f"{name}: the compressed file is cut off; copy it again") from error
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}; name a readable file with a kernel log") from error


def _decompressed(raw: Reader, head: bytes) -> Reader:
    """A reader of what a file holds, by its first bytes; names say little."""
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _Zstd(raw)
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(raw)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    return raw


class _Zstd(io.RawIOBase):
    """Decoded bytes of a zstd file of one or more frames. A cut-off one raises EOFError, as gzip's reader does."""

    def __init__(self, raw: Reader) -> None:
        super().__init__()
        self.raw = raw
        self.decoder = zstandard.ZstdDecompressor().decompressobj()
        self.rest = b""
        self.left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        while not self.left:
            # small pieces of input bound what one of them can blow up to
            data = self.rest or self.raw.read(1024)
            self.rest = b""
            if not data:
                if not self.decoder.eof:
                    raise EOFError
                return 0
            if self.decoder.eof:
                self.decoder = zstandard.ZstdDecompressor().decompressobj()
            self.left = self.decoder.decompress(data)
            if self.decoder.eof:
                self.rest = self.decoder.unused_data
        piece = self.left[: len(view)]
        view[: len(piece)] = piece
        self.left = self.left[len(piece) :]
        return len(piece)


def _text_lines(stream: Reader, name: str) -> Iterator[LogLine]:
    head = stream.peek(1 << 12)[: 1 << 12]
    if not head:
        raise InputError(f"{name}: empty; give a kernel log, such as the output of dmesg")
    encoding = "utf-8"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif head.count(0) * 10 > len(head):
        raise InputError(
            f"{name}: no text ({head.count(0)} of its first {len(head)} bytes are zero); give a kernel log"
        )
    number = 0
    delta = 0.0
    wrapped = ""
    quoted_printable = False
    for number, raw in _physical(stream, encoding, name):
        line = raw
        if wrapped:
            line, wrapped = wrapped + line, ""
        elif "quoted-printable" in line.lower():
            quoted_printable = True
        soft = line.endswith("=") and not line.endswith("==") and len(line) < LINE_BYTES
        if soft and (quoted_printable or 60 <= len(line) <= 77):
            # a soft line break of quoted-printable mail
            wrapped, quoted_printable = line[:-1], True
            continue
        if quoted_printable and "=" in line:
            line = line.replace("=20", " ").replace("=3D", "=").replace("=09", "\t")
        found = split_line(line, number, delta)
        if found.clock == "delta":
            delta = found.seconds or 0.0
        if found.text:
            yield found
    if wrapped:
        yield split_line(wrapped, number, delta)


def _physical(stream: Reader, encoding: str, name: str) -> Iterator[tuple[int, str]]:
    """Numbers and lines without their ends, none longer than ``LINE_BYTES``."""
    number = 0
    if encoding == "utf-16":
        text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline=None)
        while wide := text.readline(LINE_BYTES):
            number += 1
            yield number, wide.rstrip("\r\n")
        return
    done = 0
    while data := stream.readline(LINE_BYTES):
        number += 1
        done += len(data)
        if done > MOST_BYTES:
            raise InputError(f"{name}: more than {MOST_BYTES >> 30} GiB of text; cut out the part with the failure")
        # a lone carriage return ends a line too: serial consoles, old mail
        for piece in data.decode("utf-8", "replace").rstrip("\r\n").split("\r"):
            yield number, piece
