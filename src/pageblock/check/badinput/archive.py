"""Archives and sosreports: tar files with a machine in them, and the ways in which they go bad."""

import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path
from random import Random

import zstandard

from .machine import Invocation, ask_machine, small_machine, spoil_files, write_folder
from .mutate import NUMBERS, pack, spoil_bytes

__all__ = ["ask_archive", "ask_sosreport"]

KINDS = (
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
    b"9",
    b"x",
    b"g",
    b"L",
)
ROOTS = ("", "./", "machine/", "sosreport-host-2026/proc/", "a/b/c/d/proc/", "../", "/abs/proc/", "proc/proc/")
#: Where sos report keeps what is no file of /proc.
BESIDE = {"page_owner": "sys/kernel/debug/page_owner"}


def members(files: dict[str, bytes], root: str, random: Random) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Entries of an archive, now and then with a wrong kind, link, size or name, doubled or left out."""
    found: list[tuple[tarfile.TarInfo, bytes]] = []
    for name, data in files.items():
        entry = tarfile.TarInfo(
            root.removesuffix("proc/") + BESIDE[name] if name in BESIDE and "proc/" in root else root + name
        )
        entry.size = len(data)
        odd = random.random()
        if odd < 0.02:
            entry.type = random.choice(KINDS)
            entry.linkname = random.choice(
                ("", "zoneinfo", "../" * 20 + "etc/passwd", entry.name, "/etc/passwd", "\udcff")
            )
        elif odd < 0.04:
            entry.name = random.choice(
                ("x" * 5000, "../" + name, "\udcff" + name, name + "\n", "", "/", "a/../" + entry.name)
            )
        elif odd < 0.05:
            entry.pax_headers = {
                random.choice(("size", "path", "GNU.sparse.map", "mtime")): str(random.choice(NUMBERS))
            }
        found.append((entry, data))
        if random.random() < 0.02:
            found.append((entry, spoil_bytes(data, random)))
    return found


def archive(files: dict[str, bytes], random: Random) -> bytes:
    """A tar file of them, in any format, perhaps with two machines."""
    buffer = io.BytesIO()
    style = random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=buffer, mode="w", format=style) as tar:
        for root in (ROOTS[1], "other/proc/") if random.random() < 0.02 else (random.choice(ROOTS),):
            for entry, data in members(files, root, random):
                try:
                    tar.addfile(entry, io.BytesIO(data))
                except (ValueError, OSError):
                    # what this format cannot write, and data that ends before its size, no archive holds
                    continue
    return buffer.getvalue()


def spoil_archive(data: bytes, random: Random) -> bytes:
    """Break a header: a field of it becomes another number or text, with or without the right sum."""
    if len(data) < 1024 or random.random() < 0.4:
        return spoil_bytes(data, random)
    headers = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    if not headers:
        return spoil_bytes(data, random)
    at = random.choice(headers)
    header = bytearray(data[at : at + 512])
    start, size = random.choice(
        ((0, 100), (100, 8), (124, 12), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))
    )
    field = random.choice(
        (f"{abs(random.choice(NUMBERS)):o}".encode(), random.randbytes(size), b"\x80" + b"\xff" * size, b"-1", b"")
    )
    header[start : start + size] = field[:size].ljust(size, b"\0")
    if random.random() < 0.8:
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) + data[at + 512 :]


def ask_archive(folder: Path, out: Path, random: Random) -> Invocation:
    """A broken archive, and a command that reads it."""
    files = small_machine(random)
    if random.random() < 0.5:
        files = spoil_files(files, random)
    data = archive(files, random)
    if random.random() < 0.5:
        data = spoil_archive(data, random)
    packing = random.randrange(5)
    if packing == 1:
        data = gzip.compress(data, 1)
    elif packing == 2:
        data = lzma.compress(data, preset=0)
    elif packing == 3:
        data = bz2.compress(data, 1)
    elif packing == 4:
        data = zstandard.ZstdCompressor().compress(data)
    if packing and random.random() < 0.3:
        data = spoil_bytes(data, random)
    path = folder / random.choice(("machine.tar", "machine.tar.zst", "sosreport.tar.xz", "machine", "machine.parquet"))
    path.write_bytes(data)
    return ask_machine(path, out, random)


def ask_sosreport(folder: Path, out: Path, random: Random) -> Invocation:
    """A sosreport that was unpacked, with some of its files missing or broken."""
    files = small_machine(random)
    files = spoil_files(files, random)
    if random.random() < 0.3:
        for name in ("kpageflags", "kpagecount", "page_owner"):
            files.pop(name, None)
    root = folder / "sosreport-host"
    files = dict(pack(name, data, random) if random.random() < 0.03 else (name, data) for name, data in files.items())
    if random.random() < 0.05:
        # no memory files at all
        files = {"mounts": b"x", "cpuinfo": b"y"}
    write_folder(root / random.choice(("proc", "proc", "a/b/proc", "memory")), files, random)
    kernel = root / "sos_commands" / "kernel"
    kernel.mkdir(parents=True)
    (kernel / "uname_-a").write_bytes(
        random.choice((b"Linux host 5.14.0-70.el9 #1 SMP x86_64\n", b"", b"\xff\0", b"Linux"))
    )
    (kernel / "dmesg").write_bytes(random.choice((b"[    0.000000] Linux version 6.1.0\n", b"", b"\xff" * 70_000)))
    return ask_machine(root, out, random)
