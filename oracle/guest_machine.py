"""``python -m oracle.guest_machine --kernel 6.1 --seed 7``: a whole machine in use, and its kernel's answer for every range.

A virtual machine uses its memory as a workload and a seed say. The folder written holds what its /proc says then, and for
each size what alloc_contig_range() answers for every aligned range (``truth_N.txt.zst``), in the form that ``pageblock
score`` reads. With a remedy the machine then really does it: a folder ``after-REMEDY`` below holds both once more.
"""

import argparse
import gzip
import io
import lzma
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import zstandard

from .errors import GuestError, MissingError, OracleError, PackageError, UsageError
from .files import locked, whole_folder
from .guest import BOOT_SECONDS, Guest, build_module, choose_accel, cpio_archive, guest_modules
from .packages import PROGRAMS, Apt, Kernel, Progress, default_cache, require_programs, unpacked
from .saved_machine import SavedMachine
from .uses import WORKLOADS, Workload

__all__ = ["REMEDIES", "SIZES", "Job", "main", "record_machine"]

SOURCE = Path(__file__).parent / "machine"

#: Sizes asked for, in pages: 2 MiB, 4 MiB, 64 MiB, 1 GiB.
SIZES = (512, 1024, 16384, 262144)
#: What a machine can be told to do, as init.sh names it.
REMEDIES = ("compact", "drop_caches")
#: Seconds for each MiB of memory that a workload, or the answers of one size, may take.
SECONDS_PER_MIB = 0.6
#: Of the kernel's package, what a machine with a file system needs beside the drivers.
FILE_SYSTEM = re.compile(
    r".*/kernel/(fs/(ext4|jbd2)/|fs/mbcache\.ko|lib/(crc16|libcrc32c)\.ko|crypto/crc32c_generic\.ko|drivers/(virtio|block)/)"
)
#: The files that are kept compressed: words of 8 bytes a page.
WORD_FILES = ("kpageflags", "kpagecount")


@dataclass(frozen=True)
class Job:
    """What to record. ``remedy``: "" for none."""

    series: str
    cache: Path
    seed: int
    workload: str
    remedy: str = ""


def record_machine(job: Job, folder: Path, progress: Progress) -> None:
    """Boot, use memory, record; the folder appears whole or not at all.

    Raises:
        OracleError: one of its leaves, for whatever is missing or goes wrong on the way.
    """
    workload = WORKLOADS[job.workload]
    require_programs({**PROGRAMS, "mke2fs": "e2fsprogs"})
    try:
        with locked(job.cache, progress):
            kernel = Kernel.newest(job.series, job.cache, progress)
            guest = Guest(kernel, build_module(kernel, progress), 128, "tcg")
            accel = choose_accel(guest, job.cache, progress)
            drivers = file_system_modules(kernel, job.cache, progress)
            vmlinux = guest.vmlinux()
    except OSError as error:
        raise PackageError(f"the cache folder {job.cache} does not serve: {error}") from error
    seconds = BOOT_SECONDS + SECONDS_PER_MIB * workload.memory_mib
    with tempfile.TemporaryDirectory(prefix="pageblock-machine-") as name, whole_folder(folder) as draft:
        scratch = Path(name)
        (scratch / "initramfs").write_bytes(initramfs(kernel, guest.module, drivers, workload, job.seed))
        make_disk(scratch / "disk", workload)
        machine = SavedMachine(command(workload, accel, vmlinux, scratch), scratch)
        progress(f"booting {kernel.release} with workload {job.workload}, seed {job.seed}")
        used = machine.saved("used", "", seconds)
        write_answers(used, draft, "used", seconds, progress)
        if job.remedy:
            progress(f"doing {job.remedy}")
            after = used.saved(job.remedy, job.remedy, seconds)
            (draft / f"after-{job.remedy}").mkdir()
            write_answers(after, draft / f"after-{job.remedy}", job.remedy, seconds, progress)


def write_answers(machine: SavedMachine, folder: Path, name: str, seconds: float, progress: Progress) -> None:
    """/proc's files, the state of the zones (``state.txt.zst``), and the answers of each size."""
    progress(f"{name}: /proc")
    with tarfile.open(fileobj=io.BytesIO(machine.told(f"{name}-proc", "send", seconds))) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                content, base = file.read(), Path(member.name).name
                if base in WORD_FILES:
                    (folder / f"{base}.zst").write_bytes(zstandard.compress(content, 19))
                else:
                    (folder / base).write_bytes(content)
    progress(f"{name}: the zones")
    state = unzipped(machine.told(f"{name}-state", "dump", seconds))
    (folder / "state.txt.zst").write_bytes(zstandard.compress(state.encode(), 19))
    for nr_pages in SIZES:
        progress(f"{name}: ranges of {nr_pages} pages")
        text = answers(machine, name, nr_pages, seconds)
        (folder / f"truth_{nr_pages}.txt.zst").write_bytes(zstandard.compress(text.encode(), 19))


def answers(machine: SavedMachine, name: str, nr_pages: int, seconds: float) -> str:
    """The answers of one size. Each range with huge pages (line ``R``) is put to a machine of its own.

    What is asked for earlier moves pages, which is told to the later: harmless as long as there is room, but a huge page
    and the pool change places.
    """
    lines = unzipped(machine.told(f"{name}-{nr_pages}", str(nr_pages), seconds)).splitlines()
    for number, line in enumerate(lines):
        if line.startswith("R "):
            start = line.split()[2]
            alone = unzipped(machine.told(f"{name}-{nr_pages}-{start}", f"{nr_pages}@{start}", seconds))
            found = [one for one in alone.splitlines() if one.startswith("G ")]
            if len(found) != 1:
                raise GuestError(f"the virtual machine gave {len(found)} answers for the range at {start}")
            lines[number] = found[0]
    return "\n".join(lines) + "\n"


def unzipped(told: bytes) -> str:
    """What the machine told, which is gzip's. Raises GuestError where it is cut off."""
    try:
        if not told:
            raise EOFError("nothing was told")
        return gzip.decompress(told).decode("ascii")
    except (OSError, EOFError, UnicodeError) as error:
        raise GuestError(f"the virtual machine's answer is cut off: {error}") from error


def command(workload: Workload, accel: str, vmlinux: Path, scratch: Path) -> list[str]:
    """QEMU's command line, without its ports."""
    words = f"console=ttyS0 quiet panic=-1 nokaslr random.trust_cpu=on {workload.options}".strip()
    return [
        *("qemu-system-x86_64", "-M", f"pc,accel={accel},max-ram-below-4g={workload.below_4g_mib}M"),
        *("-cpu", "host,-arch-capabilities" if accel == "kvm" else "max"),
        *("-smp", str(workload.cpus), "-m", f"{workload.memory_mib}M", "-snapshot"),
        *("-kernel", str(vmlinux), "-initrd", str(scratch / "initramfs"), "-append", words),
        *("-drive", f"file={scratch / 'disk'},format=raw,if=virtio,cache=unsafe"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
    ]


def make_disk(path: Path, workload: Workload) -> None:
    """A disk with an ext4 file system that holds what the workload writes. Raises GuestError."""
    mib = 48 + 2 * sum(workload.uses.get(kind, 0) for kind in ("file", "mapped", "dirty"))
    with path.open("wb") as file:
        file.truncate(mib << 20)
    done = subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-b", str(workload.block_bytes), "-E", "lazy_itable_init=0", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise GuestError(f"mke2fs: {done.stderr.strip()}")


def initramfs(
    kernel: Kernel, module: bytes, drivers: Sequence[tuple[str, bytes]], workload: Workload, seed: int
) -> bytes:
    """What the machine boots into."""
    program, plain, directory = 0o100755, 0o100644, 0o040755
    settings = {
        "MODULES": " ".join(f"{name}.ko" for name, _ in drivers),
        "SEED": str(seed),
        "HUGEPAGES": str(workload.hugepages),
        "USES": " ".join(f"{kind}={mib}" for kind, mib in workload.uses.items()),
    }
    config = "".join(f"{name}='{value}'\n" for name, value in settings.items())
    return cpio_archive(
        [(name, directory, b"") for name in ("bin", "dev", "modules", "proc", "sys")]
        + [("bin/busybox", program, (kernel.folder / "bin" / "busybox").read_bytes())]
        + [("bin/use", program, built_helper(kernel))]
        + [("init", program, (SOURCE / "init.sh").read_bytes())]
        + [("machine.conf", plain, config.encode()), ("oracle.ko", plain, module)]
        + [(f"modules/{name}.ko", plain, content) for name, content in drivers]
    )


def built_helper(kernel: Kernel) -> bytes:
    """use.c, linked statically, by the compiler of the module. Raises MissingError, GuestError."""
    with tempfile.TemporaryDirectory(prefix="pageblock-use-") as name:
        out = Path(name) / "use"
        try:
            done = subprocess.run(
                [kernel.compiler, "-O2", "-static", "-o", str(out), str(SOURCE / "use.c")],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise MissingError(f"{kernel.compiler} not found: apt-get install gcc-12 libc6-dev") from error
        if done.returncode:
            raise GuestError(f"use.c does not build: {(done.stderr.splitlines() or ['no reason given'])[0]}")
        return out.read_bytes()


def file_system_modules(kernel: Kernel, cache: Path, progress: Progress) -> list[tuple[str, bytes]]:
    """The modules of a machine with an ext4 disk, in the order in which they are loaded.

    The kernel's folder has drivers only: what else is needed comes out of its package, once, into a folder beside them.
    """
    tree = kernel.folder / "machine"
    if not tree.exists():
        apt = Apt(cache, progress)
        [image] = apt.download([apt.record(f"linux-image-{kernel.release}")])
        with whole_folder(tree) as draft:
            unpacked(["dpkg-deb", "--fsys-tarfile", str(image)], draft, FILE_SYSTEM)
            modules = Path("lib") / "modules" / kernel.release
            shutil.copy(kernel.folder / modules / "modules.builtin", draft / modules)
    wanted = Kernel(kernel.release, kernel.version, tree)
    try:
        return guest_modules(wanted, ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4"))
    except lzma.LZMAError as error:
        raise PackageError(f"{tree}: a module cannot be unpacked: {error}") from error


def _parser() -> argparse.ArgumentParser:
    workloads = "\n".join(f"  {name:<9} {w.about} ({w.memory_mib} MiB)" for name, w in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="python -m oracle.guest_machine",
        description="Record a whole machine in use, with its kernel's answer for every range.",
        epilog=f"workloads:\n{workloads}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--kernel", required=True, metavar="SERIES", help="kernel series: 6.1 or 6.12")
    add("--seed", type=int, default=1, help="seed of the workload (default 1)")
    add("--workload", default="mixed", choices=tuple(WORKLOADS), help="see below (default mixed)")
    add("--remedy", default="", choices=REMEDIES, help="then really do this, and record again")
    add("--out", type=Path, metavar="DIR", help="default: guest-KERNEL-WORKLOAD-sSEED here")
    add("--force", action="store_true", help="replace a folder that is there")
    add("--cache", type=Path, metavar="DIR", help="kernels and builds (default: the user's cache)")
    return parser


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Record a machine; 0, or 2 where it cannot be recorded."""
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    name = f"guest-{options.kernel}-{options.workload}-s{options.seed}" + f"-{options.remedy}" * bool(options.remedy)
    out: Path = options.out or Path(name)
    began = time.monotonic()

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"oracle: {text}", file=sys.stderr, flush=True)

    try:
        if options.seed < 0:
            raise UsageError(f"--seed {options.seed}: 0 or more")
        if out.exists() and not options.force:
            raise UsageError(f"{out} is there already: --force replaces it, --out names another")
        job = Job(
            options.kernel, (options.cache or default_cache()).resolve(), options.seed, options.workload, options.remedy
        )
        record_machine(job, out, progress)
    except OracleError as error:
        print(f"oracle: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("oracle: stopped, nothing written", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"{out}: workload {options.workload}, seed {options.seed}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
