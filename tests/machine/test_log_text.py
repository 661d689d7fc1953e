"""Lines of a log: what stands before the kernel's words, compression, encodings, and what is no log."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pageblock.errors import InputError
from pageblock.machine.log_text import read_log, split_line
from tests.logs import PREFIXES

MESSAGE = "cma: cma_alloc: linux,cma: alloc failed, req-size: 77 pages, ret: -16"


@pytest.mark.parametrize("name", PREFIXES)
def test_a_prefix_is_taken_off(name: str) -> None:
    line = split_line(PREFIXES[name](MESSAGE, 7), 7)
    assert line.text == MESSAGE
    assert line.prefixed == (name != "bare")


@pytest.mark.parametrize(
    ("name", "seconds"), [("dmesg", 100.007), ("syslog", 100.007), ("kmsg", 100.000007), ("bare", None)]
)
def test_the_time_since_boot_is_read(name: str, seconds: float | None) -> None:
    line = split_line(PREFIXES[name](MESSAGE, 7), 7)
    assert line.seconds == pytest.approx(seconds)


def test_wall_times_differ_by_their_seconds() -> None:
    first = split_line("Nov 03 10:00:07 board7 kernel: a", 1)
    later = split_line("Nov 03 10:01:09 board7 kernel: a", 2)
    assert (later.seconds or 0) - (first.seconds or 0) == 62


def test_deltas_add_up(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("[  +1.500000] a\n[  +0.250000] b\n")
    assert [line.seconds for line in read_log(str(tmp_path / "log"))] == [1.5, 1.75]


def test_journal_json() -> None:
    entry = json.dumps({"MESSAGE": MESSAGE, "_SOURCE_MONOTONIC_TIMESTAMP": "5000001"})
    line = split_line(entry, 1)
    assert (line.text, line.seconds) == (MESSAGE, 5.000001)


def test_journal_json_of_bytes() -> None:
    assert split_line(json.dumps({"MESSAGE": list(MESSAGE.encode())}), 1).text == MESSAGE


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, zstandard.ZstdCompressor().compress, lzma.compress, bz2.compress],
    ids=["plain", "gzip", "zstd", "xz", "bzip2"],
)
def test_compression_goes_by_the_first_bytes(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(pack(f"{MESSAGE}\n".encode() * 3))
    assert [line.text for line in read_log(str(tmp_path / "log"))] == [MESSAGE] * 3


def test_two_frames_of_zstd(tmp_path: Path) -> None:
    pack = zstandard.ZstdCompressor().compress
    (tmp_path / "log").write_bytes(pack(b"a\n") + pack(b"b\n"))
    assert [line.text for line in read_log(str(tmp_path / "log"))] == ["a", "b"]


def test_utf_16(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(f"{MESSAGE}\r\n".encode("utf-16"))
    assert [line.text for line in read_log(str(tmp_path / "log"))] == [MESSAGE]


def test_bytes_that_are_no_text_are_read_over(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xfa\xc3[\n" + MESSAGE.encode())
    assert [line.text for line in read_log(str(tmp_path / "log"))][-1] == MESSAGE


def test_quoted_printable(tmp_path: Path) -> None:
    text = "Content-Transfer-Encoding: quoted-printable\n> flags: 0x1(uptodat=\ne|node=3D1)\n"
    (tmp_path / "log").write_text(text)
    assert [line.text for line in read_log(str(tmp_path / "log"))][-1] == "flags: 0x1(uptodate|node=1)"


def test_an_equals_sign_of_a_log_stays(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Kernel command line: hugepages=20 cma=3D\n")
    assert [line.text for line in read_log(str(tmp_path / "log"))] == ["Kernel command line: hugepages=20 cma=3D"]


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\r\r\n\nb\n")
    assert [(line.number, line.text) for line in read_log(str(tmp_path / "log"))] == [(1, "a"), (3, "b")]


def _truncated(pack: Callable[[bytes], bytes]) -> bytes:
    whole = pack(bytes(range(256)) * 400)
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (bytes(5000), "no text"),
        (_truncated(gzip.compress), "cut off"),
        (_truncated(zstandard.ZstdCompressor().compress), "cut off"),
        (_truncated(lzma.compress), "cut off"),
        (b"\x1f\x8b\x08\x00" + b"junk" * 20, "compressed file"),
        (b"\x28\xb5\x2f\xfd" + b"junk" * 20, "compressed file"),
        (gzip.compress(b""), "empty"),
    ],
)
def test_what_is_no_log_is_one_line(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(InputError) as raised:
        list(read_log(str(tmp_path / "log")))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder"):
        list(read_log(str(tmp_path)))
    with pytest.raises(InputError, match="No such file"):
        list(read_log(str(tmp_path / "none")))
