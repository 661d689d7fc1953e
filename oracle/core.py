"""``python -m oracle.core --kernel 6.1``: a kernel dump of a virtual machine, for what reads dumps.

Into the cache folder go ``vmcore`` (ELF, as QEMU dumps a machine that stands still), ``vmlinux`` (with debug information, out
of Debian's -dbg package: 1 GB is fetched) and ``proc/`` (what the machine's /proc said just before, and in ``held`` which
pages a program there holds). Nothing of it is committed.
"""

import argparse
import base64
import contextlib
import io
import json
import lzma
import re
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import GuestError, OracleError
from .files import locked, whole_folder
from .guest import Guest, cpio_archive, killed_at_exit, last_words
from .packages import Apt, Kernel, default_cache, require_programs, unpacked

__all__ = ["core_folder", "main", "make_core"]

MEMORY_MIB = 384
BOOT_SECONDS = 180


def core_folder(series: str, cache: Path | None = None) -> Path | None:
    """The newest dump of a kernel series in the cache; None if there is none."""
    found = sorted((cache or default_cache()).glob(f"core-{series}.*"))
    return found[-1] if found else None


def make_core(series: str, cache: Path) -> Path:
    """Fetch a kernel and its debug information, boot it, dump it; the folder.

    Raises:
        OracleError: a package, a program or the machine fails.
    """
    require_programs()

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"oracle: {text}", file=sys.stderr, flush=True)

    with locked(cache, progress):
        kernel = Kernel.newest(series, cache, progress)
        folder = cache / f"core-{kernel.release}"
        if folder.exists():
            return folder
        apt = Apt(cache, progress)
        image, debug = apt.download([apt.record(f"linux-image-{kernel.release}{end}") for end in ("", "-dbg")])
        with whole_folder(folder) as draft:
            release = re.escape(kernel.release)
            unpacked(["dpkg-deb", "--fsys-tarfile", str(image)], draft, re.compile(r".*/qemu_fw_cfg\.ko"))
            unpacked(
                ["dpkg-deb", "--fsys-tarfile", str(debug)], draft, re.compile(rf"usr/lib/debug/boot/vmlinux-{release}$")
            )
            debug.unlink()
            (draft / f"usr/lib/debug/boot/vmlinux-{kernel.release}").replace(draft / "vmlinux")
            [driver] = draft.rglob("qemu_fw_cfg.ko*")
            content = driver.read_bytes()
            progress(f"booting {kernel.release} and dumping it")
            dump(kernel, lzma.decompress(content) if driver.suffix == ".xz" else content, draft)
    return folder


def dump(kernel: Kernel, driver: bytes, folder: Path) -> None:
    """Boot, wait until the machine has told its /proc, dump it. Raises GuestError, MissingError."""
    require_programs({"gcc": "gcc libc6-dev"})
    program, plain, directory = stat.S_IFREG | 0o755, stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
    with tempfile.TemporaryDirectory(prefix="pageblock-core-") as name:
        scratch = Path(name)
        (scratch / "initramfs").write_bytes(
            cpio_archive(
                [(name, directory, b"") for name in ("bin", "dev", "proc", "sys")]
                + [("bin/busybox", program, (kernel.folder / "bin" / "busybox").read_bytes())]
                + [("init", program, (Path(__file__).parent / "core_init.sh").read_bytes())]
                + [("holder", program, holder(scratch)), ("fw_cfg.ko", plain, driver)]
            )
        )
        console, told, control = scratch / "console", scratch / "told", scratch / "control"
        command = [
            *("qemu-system-x86_64", "-M", "pc,accel=tcg", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB)),
            *("-kernel", str(Guest(kernel, b"", 0, "tcg").vmlinux()), "-initrd", str(scratch / "initramfs")),
            *("-append", "console=ttyS0 quiet panic=-1 nokaslr", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-serial", f"file:{console}", "-serial", f"file:{told}"),
            *("-qmp", f"unix:{control},server,nowait", "-device", "vmcoreinfo"),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with killed_at_exit(process):
            began = time.monotonic()
            text = ""
            while "CORE READY" not in text:
                if process.poll() is not None or time.monotonic() - began > BOOT_SECONDS:
                    raise GuestError(f"the virtual machine did not come up: {last_words(text)}")
                time.sleep(0.5)
                text = console.read_text(errors="replace") if console.exists() else ""
            if "CORE FAILED" in text:
                raise GuestError(f"the virtual machine: {last_words(text)}")
            qmp(control, "dump-guest-memory", paging=False, protocol=f"file:{folder / 'vmcore'}", format="elf")
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(told.read_bytes().replace(b"\r", b"")))) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(folder)


def holder(scratch: Path) -> bytes:
    """The program that holds pages, compiled. Raises GuestError where that fails."""
    source, target = Path(__file__).parent / "core_pins.c", scratch / "holder"
    done = subprocess.run(
        ["gcc", "-O1", "-static", "-o", str(target), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise GuestError(f"{source.name} does not compile: {last_words(done.stderr)}")
    return target.read_bytes()


def qmp(control: Path, command: str, **arguments: Any) -> None:
    """Give QEMU one command and wait for its answer. Raises GuestError where it refuses."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(str(control))
        with connection.makefile("rw") as stream:
            stream.readline()
            for name, values in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": values}) + "\n")
                stream.flush()
                answer: dict[str, Any] = {}
                while not answer.keys() & {"return", "error"}:
                    answer = json.loads(stream.readline() or '{"error": "QEMU has gone"}')
                if "error" in answer:
                    raise GuestError(f"QEMU: {name}: {answer['error']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a dump and print its folder; 0, or 2 where it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m oracle.core", description=__doc__)
    parser.add_argument("--kernel", required=True, metavar="SERIES", help="kernel series: 6.1 or 6.12")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="default: the user's cache")
    options = parser.parse_args(arguments)
    try:
        print(make_core(options.kernel, (options.cache or default_cache()).resolve()))
    except OracleError as error:
        print(f"oracle: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
