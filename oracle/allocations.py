"""``python -m oracle.allocations --kernel 6.1 OUT.txt.gz``: what a virtual machine allocates, as its kernel's trace prints it.

A stock Debian kernel boots with all tracepoints of pages on, uses memory in several ways, asks for gigantic pages, takes
memory offline, and hands out the text of its trace, for ``pageblock import``. Nothing of it is committed. ``--image`` boots
a kernel of your own instead: one with CONFIG_CMA and CONFIG_CMA_DEBUGFS also takes and gives back memory of a CMA area.
"""

import argparse
import base64
import binascii
import gzip
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .errors import GuestError, OracleError, PackageError
from .files import locked, whole_file
from .guest import Guest, cpio_archive, extract_vmlinux, last_words, run_machine
from .packages import Kernel, default_cache, require_programs

__all__ = ["main", "trace_guest"]

MEMORY_MIB = 2560

#: Size of the CMA area; kernels without CMA do not know the option.
CMA_MIB = 64
BOOT_SECONDS = 600


def trace_guest(series: str, cache: Path, files: int = 40, image: Path | None = None) -> tuple[str, bytes]:
    """Boot a kernel; the name of what was booted, and the packed text of its trace.

    Args:
        series: Debian's kernel, and whose busybox the machine uses in any case.
        cache: where packages are unpacked.
        image: a bzImage to boot instead of Debian's: it needs CONFIG_EVENT_TRACING, a serial console and tmpfs.
        files: how many files the machine writes, the measure of how long the trace becomes.

    Raises:
        OracleError: a package, a program or the machine fails.
    """
    require_programs()

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"oracle: {text}", file=sys.stderr, flush=True)

    with locked(cache, progress):
        kernel = Kernel.newest(series, cache, progress)
    name = kernel.release if image is None else image.name
    progress(f"booting {name} and tracing it")
    program, plain, directory = stat.S_IFREG | 0o755, stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
    with tempfile.TemporaryDirectory(prefix="pageblock-trace-") as folder:
        scratch = Path(folder)
        vmlinux = scratch / "vmlinux"
        if image is None:
            vmlinux = Guest(kernel, b"", 0, "tcg").vmlinux()
        else:
            try:
                vmlinux.write_bytes(extract_vmlinux(image.read_bytes()))
            except OSError as error:
                raise PackageError(f"{image}: {error.strerror or error}; give a bzImage") from error
        script = (Path(__file__).parent / "allocations_init.sh").read_bytes()
        (scratch / "initramfs").write_bytes(
            cpio_archive(
                [(name, directory, b"") for name in ("bin", "dev", "proc", "sys")]
                + [("bin/busybox", program, (kernel.folder / "bin" / "busybox").read_bytes())]
                + [("init", program, script.replace(b"${FILES:-40}", str(files).encode())), ("about", plain, b"")]
            )
        )
        console = run_machine(
            [
                *("qemu-system-x86_64", "-M", "pc,accel=tcg", "-cpu", "max", "-smp", "1", "-m", str(MEMORY_MIB)),
                *("-kernel", str(vmlinux), "-initrd", str(scratch / "initramfs")),
                *("-append", f"console=ttyS0 quiet panic=-1 nokaslr cma={CMA_MIB}M", "-nodefaults", "-no-user-config"),
                *("-display", "none", "-serial", "stdio", "-serial", f"file:{scratch / 'told'}", "-no-reboot"),
            ],
            BOOT_SECONDS,
        )
        if "TRACE DONE" not in console or "TRACE FAILED" in console:
            raise GuestError(f"the virtual machine stopped before its trace was told: {last_words(console)}")
        try:
            packed = base64.b64decode((scratch / "told").read_bytes().replace(b"\r", b""))
            if b"mm_page_alloc" not in gzip.decompress(packed):
                raise GuestError("the trace of the virtual machine has no allocation in it")
        except (binascii.Error, OSError, EOFError) as error:
            raise GuestError(f"the trace of the virtual machine is not whole: {error}") from error
    return name, packed


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace a machine and write its trace; 0, or 2 where it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m oracle.allocations", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.txt.gz")
    parser.add_argument("--kernel", required=True, metavar="SERIES", help="kernel series: 6.1 or 6.12")
    parser.add_argument("--image", type=Path, metavar="FILE", help="a kernel of your own (bzImage) to boot instead")
    parser.add_argument("--files", type=int, default=40, metavar="N", help="files that the machine writes (default 40)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="default: the user's cache")
    options = parser.parse_args(arguments)
    try:
        release, packed = trace_guest(
            options.kernel, (options.cache or default_cache()).resolve(), options.files, options.image
        )
        with whole_file(options.out) as draft:
            draft.write_bytes(packed)
    except OracleError as error:
        print(f"oracle: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{options.out}: the trace of {release}, {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
