"""Ways to break bytes, texts, arrays of words and plain values, drawn from a ``Random``."""

import gzip
import lzma
import re
import struct
from random import Random
from typing import Any

import zstandard

__all__ = ["NUMBERS", "odd_value", "pack", "spoil_bytes", "spoil_json", "spoil_text", "spoil_words"]

#: Numbers at which something ends: a byte, a word, a pfn, a float's whole numbers, what the kernel prints of a negative counter.
NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 9, 10, 11, 26, 27, 31, 32, 63, 64, 255, 256, 511, 512, 1023, 1024, 65535, 65536, 2**31 - 1, 2**31,
    2**32 - 2, 2**32 - 1, 2**32, 2**52, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -(2**31), -(2**63), -(10**25),
)  # fmt: skip

#: What a text may hold and no reader should trip over: no UTF-8, a byte order mark, control and escape characters, digits that
#: are none to the kernel, a name that is markup.
ODD_BYTES = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", b"\xed\xa0\x80", b"\r", b"\t", b"\x0b", b"\x1b[2J", b"\x7f", b"\xc2\xa0",
    "٣".encode(), "²".encode(), "\u2028".encode(), "\u202e".encode(), b"<script>alert(1)</script>", b"%s%n", b"'\"\\", b"{}",
    b"nan", b"inf", b"1e999", b"0x", b"-", b"+", b"1_000", b"[bold]", b"[/]", b"://",
)  # fmt: skip

NUMBER = re.compile(rb"(?:0x)?[0-9a-fA-F]*[0-9][0-9a-fA-F]*")


def span(length: int, random: Random) -> tuple[int, int]:
    """A stretch [start, end) of something so long; short ones are likely."""
    start = random.randrange(length + 1)
    size = random.choice((1, 1, 2, 4, 8, 64, 512, length))
    return start, min(length, start + random.randint(0, size))


def spoil_bytes(data: bytes, random: Random) -> bytes:
    """Break bytes without knowing what they mean."""
    start, end = span(len(data), random)
    how = random.randrange(10)
    if how == 0:
        return data[:start]
    if how == 1:
        return data[:start] + data[end:]
    if how == 2:
        return data[:end] + data[start:]
    if how == 3:
        return data[:start] + bytes(end - start) + data[end:]
    if how == 4:
        return data[:start] + random.randbytes(end - start) + data[end:]
    if how == 5:
        return data[:start] + random.randbytes(random.randint(1, 16)) + data[start:]
    if how == 6:
        return data[:start] + random.choice(ODD_BYTES) + data[start:]
    if how == 7:
        return random.choice((b"", b"\0", data * 2, data[::-1], data[start:], random.randbytes(64)))
    spoilt = bytearray(data)
    for _ in range(random.randint(1, 8) if spoilt else 0):
        spoilt[random.randrange(len(spoilt))] ^= 1 << random.randrange(8)
    return bytes(spoilt)


def spoil_number(digits: bytes, random: Random) -> bytes:
    """Another number in place of one."""
    how = random.randrange(6)
    if how < 3:
        number = random.choice(NUMBERS)
        hexadecimal = digits.startswith(b"0x") or any(c in b"abcdefABCDEF" for c in digits)
        return (f"{number:#x}" if hexadecimal and random.random() < 0.5 else str(number)).encode()
    if how == 3:
        return digits + random.choice((b"0", b"00000", b"9", b"f", b".5", b"-"))
    if how == 4:
        return digits[: random.randrange(len(digits))]
    try:
        return str(int(digits, 0) + random.choice((-512, -2, -1, 1, 2, 512))).encode()
    except ValueError:
        return b"-" + digits


def spoil_text(data: bytes, random: Random) -> bytes:
    """Break a text by its numbers, words and lines; sometimes as mere bytes."""
    how = random.randrange(14)
    if how < 5:
        numbers = [match.span() for match in NUMBER.finditer(data)]
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            if not numbers:
                break
            # from behind, so that the places of those before stay
            start, end = numbers.pop(random.randrange(len(numbers)) if len(numbers) > 1 else 0)
            numbers = [place for place in numbers if place[1] <= start]
            data = data[:start] + spoil_number(data[start:end], random) + data[end:]
        return data
    if how < 10:
        lines = data.splitlines(keepends=True)
        if not lines:
            return random.choice(ODD_BYTES)
        at = random.randrange(len(lines))
        end = min(len(lines), at + random.choice((1, 1, 1, 2, 5, 20)))
        if how == 5:
            del lines[at:end]
        elif how == 6:
            lines[random.randrange(len(lines)) : 0] = lines[at:end]
        elif how == 7:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif how == 8:
            lines[at] = spoil_line(lines[at], random)
        else:
            lines[at:end] = [line * random.choice((1, 2, 3)) for line in lines[at:end]][::-1]
        return b"".join(lines)
    if how == 10:
        return data.replace(b"\n", random.choice((b"\r\n", b"\r", b" ", b"\n\n", b"")))
    if how == 11:
        at = random.randrange(len(data) + 1)
        return data[:at] + random.choice(ODD_BYTES) * random.choice((1, 1, 3, 70_000)) + data[at:]
    if how == 12:
        return data[: random.randrange(len(data) + 1)]
    return spoil_bytes(data, random)


def spoil_line(line: bytes, random: Random) -> bytes:
    """Leave out, double, swap or replace a word of a line."""
    words = re.split(rb"(\s+|[,:;=|@>()\[\]]+)", line)
    at = random.randrange(len(words))
    how = random.randrange(4)
    if how == 0:
        del words[at]
    elif how == 1:
        words.insert(at, words[at] * random.choice((1, 1, 2, 2000)))
    elif how == 2:
        other = random.randrange(len(words))
        words[at], words[other] = words[other], words[at]
    else:
        words[at] = random.choice(ODD_BYTES)
    return b"".join(words)


def spoil_words(data: bytes, random: Random) -> bytes:
    """Break a file of 64-bit words: other flags in a stretch, a length that is another machine's, or as mere bytes."""
    how = random.randrange(7)
    if how == 0:
        return spoil_bytes(data, random)
    if how == 1:
        return data[: 8 * random.randrange(len(data) // 8 + 1)]
    if how == 2:
        return data + data[: 8 * random.randrange(len(data) // 8 + 1)]
    start, end = span(len(data) // 8, random)
    words = list(struct.unpack(f"<{end - start}Q", data[8 * start : 8 * end]))
    if how == 3:
        bit = 1 << random.choice((*range(28), 32, 33, 40, 63))
        words = [word ^ bit for word in words]
    elif how == 4:
        word = random.choice((0, 1, 2**64 - 1, 1 << 10, 1 << 20, 1 << 15, 1 << 16, 1 << 17, random.getrandbits(64)))
        words = [word] * len(words)
    elif how == 5:
        words = [random.getrandbits(random.choice((1, 27, 64))) for _ in words]
    else:
        words.reverse()
    return data[: 8 * start] + struct.pack(f"<{len(words)}Q", *words) + data[8 * end :]


def pack(name: str, data: bytes, random: Random) -> tuple[str, bytes]:
    """The file compressed, under the name that says so; sometimes cut, spoilt, in several frames or under a wrong name."""
    suffix = random.choice((".zst", ".zst", ".gz", ".xz"))
    if suffix == ".zst":
        at = random.randrange(len(data) + 1)
        frames = [data[:at], data[at:]] if random.random() < 0.3 else [data]
        packed = b"".join(zstandard.ZstdCompressor().compress(frame) for frame in frames)
    elif suffix == ".gz":
        packed = gzip.compress(data, 1)
    else:
        packed = lzma.compress(data, preset=0)
    if random.random() < 0.5:
        packed = spoil_bytes(packed, random)
    if random.random() < 0.1:
        suffix = random.choice((".zst", ".gz", ".xz", ""))
    return name + suffix, packed


def odd_value(random: Random) -> Any:
    """A value of any plain type."""
    return random.choice(
        (
            *NUMBERS, *NUMBERS, None, True, False, 0.5, 1e300, float("nan"), float("inf"), "", "x", "12", "\ud800", "a\nb",
            "a" * 5000,
            (), [], {}, [1], {"a": 1}, [[]], [[1, 2], [3]], b"x", object,
        )
    )  # fmt: skip


def spoil_json(value: Any, random: Random) -> Any:
    """Plain values with one of them, at any depth, replaced, left out, doubled or of another type."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        how = random.random()
        if how < 0.75:
            return {**value, key: spoil_json(value[key], random)}
        if how < 0.9:
            return {k: v for k, v in value.items() if k != key}
        return {**value, random.choice(("x", "", key * 2 if isinstance(key, str) else "y")): value[key]}
    if isinstance(value, list | tuple) and value and random.random() < 0.9:
        items = list(value)
        at = random.randrange(len(items))
        how = random.random()
        if how < 0.7:
            items[at] = spoil_json(items[at], random)
        elif how < 0.8:
            del items[at]
        elif how < 0.9:
            items.insert(at, items[at])
        else:
            random.shuffle(items)
        return items
    if type(value) is int and random.random() < 0.5:
        return value + random.choice((-512, -1, 1, 512, 2**20))
    found = odd_value(random)
    # JSON has neither bytes nor classes
    return "x" if isinstance(found, bytes | type) else found
