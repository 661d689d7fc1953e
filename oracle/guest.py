"""The virtual machine: what it boots from, how it is started, what it leaves behind."""

import contextlib
import hashlib
import json
import lzma
import platform
import re
import shutil
import stat
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from .errors import GuestError, MissingError, PackageError
from .files import whole_file, whole_folder
from .packages import Kernel, Progress, missing_programs

__all__ = [
    "Guest",
    "build_module",
    "choose_accel",
    "cpio_archive",
    "extract_vmlinux",
    "guest_modules",
    "module_dependencies",
]

SOURCE = Path(__file__).parent

#: Memory of node 0, where the guest itself lives, MiB.
NODE_0_MIB = 1024
#: Where node 1 begins above 4 GiB if it is there at boot, MiB: 2 MiB past a multiple of 4.
EARLY_GAP_MIB = 130
#: A memory block of x86: the unit in which memory is plugged in, MiB.
MEMORY_BLOCK_MIB = 128
#: Seconds after which a machine under KVM that has not come up never will.
KVM_PROBE_SECONDS = 30
#: Seconds that a boot may take before its requests begin, and that a thousand requests may take.
BOOT_SECONDS = 180
SECONDS_PER_1000_REQUESTS = 5

#: A boot header field each: where the compressed kernel lies in a bzImage
#: (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
SETUP_SECTS, PAYLOAD = 0x1F1, 0x248


def extract_vmlinux(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage: QEMU starts it in a third less time.

    Raises:
        PackageError: not a bzImage, or compressed in a way that is not known here.
    """
    if image[0x202:0x206] < b"\x08\x02" or image[0x1FE:0x200] != b"\x55\xaa":
        raise PackageError("the kernel image is no x86 bzImage")
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    begin = (image[SETUP_SECTS] + 1) * 512 + offset
    payload = image[begin : begin + length]
    # what follows the compressed stream is the length of the kernel: a decompressor object stops there
    decompressor: Any
    if payload.startswith(b"\xfd7zXZ\x00"):
        decompressor = lzma.LZMADecompressor()
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        decompressor = zstandard.ZstdDecompressor().decompressobj()
    elif payload.startswith(b"\x1f\x8b"):
        decompressor = zlib.decompressobj(wbits=31)
    else:
        raise PackageError(f"the kernel image is compressed in an unknown way: {payload[:4].hex()}")
    try:
        kernel: bytes = decompressor.decompress(payload)
    except (lzma.LZMAError, zstandard.ZstdError, zlib.error) as error:
        raise PackageError(f"the kernel image cannot be unpacked: {error}") from error
    if not decompressor.eof:
        raise PackageError("the kernel image cannot be unpacked: it is cut off")
    if not kernel.startswith(b"\x7fELF"):
        raise PackageError("the kernel image does not hold an ELF kernel")
    return kernel


def cpio_archive(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """An initramfs in cpio's "newc" format: (name, mode, content) each, folders before their files.

    Nothing in it depends on the time or the user, so equal files give equal archives.
    """
    out = bytearray()

    def add(name: str, mode: int, content: bytes, number: int) -> None:
        encoded = name.encode() + b"\0"
        numbers = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        out.extend(b"070701" + b"".join(b"%08x" % n for n in numbers) + encoded)
        out.extend(bytes(-len(out) % 4) + content)
        out.extend(bytes(-len(out) % 4))

    for number, (name, mode, content) in enumerate(files, 1):
        add(name, mode, content, number)
    add("TRAILER!!!", 0, b"", 0)
    return bytes(out)


def module_dependencies(module: bytes) -> list[str]:
    """Names of the modules that a module says it needs (``depends=`` in its .modinfo)."""
    match = re.search(rb"\0depends=([\w,-]*)\0", module)
    return [name for name in (match[1].decode() if match else "").split(",") if name]


def guest_modules(kernel: Kernel, wanted: Iterable[str]) -> list[tuple[str, bytes]]:
    """The modules to load for the drivers ``wanted``, in order, with all that they need.

    Drivers that are built into the kernel need none.

    Raises:
        PackageError: the kernel has no such driver.
    """
    tree = kernel.folder / "lib" / "modules" / kernel.release
    built_in = {Path(line).stem for line in (tree / "modules.builtin").read_text().split()}
    files = {path.name.split(".ko")[0]: path for path in tree.rglob("*.ko*")}
    loaded: dict[str, bytes] = {}

    def load(name: str) -> None:
        if name in loaded or name in built_in:
            return
        path = files.get(name) or files.get(name.replace("_", "-"))
        if path is None:
            raise PackageError(f"kernel {kernel.release} has no driver {name}")
        content = path.read_bytes()
        if path.suffix == ".xz":
            content = lzma.decompress(content)
        elif path.suffix == ".zst":
            content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        for needed in module_dependencies(content):
            load(needed)
        loaded[name] = content

    for name in wanted:
        load(name)
    return list(loaded.items())


def build_module(kernel: Kernel, progress: Progress) -> bytes:
    """oracle.ko for ``kernel``, built once for each state of its sources.

    Raises:
        MissingError: the compiler that this kernel wants is not there.
        GuestError: it does not build; with the compiler's first complaint.
    """
    sources = sorted(path for path in (SOURCE / "module").iterdir() if path.suffix in (".c", ".h"))
    sources.append(SOURCE / "module" / "Makefile")
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    built = kernel.folder / f"module-{digest}" / "oracle.ko"
    if built.exists():
        return built.read_bytes()
    if missing_programs([kernel.compiler]):
        package = "gcc-" + kernel.compiler.rsplit("-", 1)[1]
        raise MissingError(
            f"{kernel.compiler} not found, the compiler of {kernel.release}:"
            f" apt-get install --no-install-recommends {package}"
        )
    progress(f"building the module for {kernel.release}")
    with whole_folder(built.parent) as draft:
        for path in sources:
            shutil.copy(path, draft)
        headers = f"KDIR={kernel.headers.resolve()}"
        done = subprocess.run(
            ["make", "-s", "-C", draft, headers, f"M={draft}", "modules"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not (draft / "oracle.ko").exists():
            lines = [line for line in done.stderr.splitlines() if "rror" in line]
            reason = (lines or done.stderr.splitlines() or ["no oracle.ko"])[0]
            raise GuestError(f"the module does not build for {kernel.release}: {reason}")
    return built.read_bytes()


@dataclass(frozen=True)
class Guest:
    """One virtual machine: a kernel, a node 1 of ``zone_mib`` MiB, an accelerator (kvm or tcg).

    Node 1 is a memory module that is plugged in at start and brought online by the guest: its
    ZONE_NORMAL begins untouched, and nothing else allocates there.

    ``early``: node 1 is there at boot instead. Its zone starts at a 2 MiB boundary that is no 4 MiB
    one, may end at any MiB, and holds pages of others. They lie elsewhere after each boot unless the
    machine's time is its count of instructions, so it runs like that: emulated, and never by KVM.
    """

    kernel: Kernel
    module: bytes
    zone_mib: int
    accel: str
    early: bool = False

    def initramfs(self, requests: str, settings: dict[str, str]) -> bytes:
        """What the guest boots into; ``settings`` are shell variables for init.sh."""
        drivers = guest_modules(self.kernel, ("virtio_pci", "virtio_blk"))
        settings = {**settings, "MODULES": " ".join(f"{name}.ko" for name, _ in drivers)}
        config = "".join(f"{name}='{value}'\n" for name, value in settings.items())
        folder, program, plain = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
        busybox = (self.kernel.folder / "bin" / "busybox").read_bytes()
        return cpio_archive(
            [(name, folder, b"") for name in ("bin", "dev", "modules", "proc", "sys")]
            + [("bin/busybox", program, busybox)]
            + [("init", program, (SOURCE / "init.sh").read_bytes())]
            + [("oracle.conf", plain, config.encode())]
            + [("oracle.ko", plain, self.module), ("requests.txt", plain, requests.encode())]
            + [(f"modules/{name}.ko", plain, content) for name, content in drivers]
        )

    def command(self, vmlinux: Path, initramfs: Path, disk: Path) -> list[str]:
        """The QEMU command line. One processor; the serial line is standard output."""
        kernel_options = "console=ttyS0 quiet panic=-1 nokaslr init_on_alloc=0 hashdist=0 random.trust_cpu=on"
        cpu = "host,-arch-capabilities" if self.accel == "kvm" else "max"
        machine, memory, node_0_mib, plug = "pc", f"{NODE_0_MIB},slots=4,maxmem=16G", NODE_0_MIB, []
        node_1, timing = "node,nodeid=1", []
        if self.early:
            machine += f",max-ram-below-4g={NODE_0_MIB}M"
            node_0_mib += EARLY_GAP_MIB
            memory = f"{node_0_mib + self.zone_mib}M"
            node_1 += ",memdev=m1"
            cpu += ",-rdrand,-rdseed"
            timing = ["-icount", "shift=0,sleep=off", "-rtc", "base=2020-01-01,clock=vm"]
        else:
            plug = ["-device", "pc-dimm,id=d1,memdev=m1,node=1"]
        return [
            *("qemu-system-x86_64", "-M", f"{machine},accel={self.accel}", "-cpu", cpu, "-smp", "1"),
            *("-m", memory, *timing),
            *("-object", f"memory-backend-ram,id=m0,size={node_0_mib}M"),
            *("-numa", "node,nodeid=0,memdev=m0,cpus=0"),
            *("-object", f"memory-backend-ram,id=m1,size={self.zone_mib}M", "-numa", node_1, *plug),
            *("-kernel", str(vmlinux), "-initrd", str(initramfs), "-append", kernel_options),
            *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
            "-no-reboot",
        ]

    def vmlinux(self) -> Path:
        """The kernel as ELF, extracted once."""
        path = self.kernel.folder / "vmlinux"
        if not path.exists():
            image = self.kernel.folder / "boot" / f"vmlinuz-{self.kernel.release}"
            with whole_file(path) as draft:
                draft.write_bytes(extract_vmlinux(image.read_bytes()))
        return path

    def boot(self, requests: str, settings: dict[str, str], log_mib: int, seconds: float) -> str:
        """Boot, run the requests, switch off; returns the record.

        Raises:
            GuestError: the machine did not come up, did not end in time, or left no whole record.
        """
        with tempfile.TemporaryDirectory(prefix="pageblock-oracle-") as name:
            folder = Path(name)
            initramfs, disk = folder / "initramfs", folder / "disk"
            initramfs.write_bytes(self.initramfs(requests, {**settings, "LOG_MIB": str(log_mib)}))
            with disk.open("wb") as file:
                file.truncate((log_mib + 1) << 20)
            console = run_machine(self.command(self.vmlinux(), initramfs, disk), seconds)
            if "ORACLE DONE" not in console:
                raise GuestError(
                    f"the virtual machine ({self.accel}) stopped before the record was whole: {last_words(console)}"
                )
            return disk.read_bytes().rstrip(b"\0").decode(errors="replace")

    def comes_up(self) -> bool:
        """Whether the machine boots at all in a short time."""
        try:
            self.boot("", {"PROBE": "1"}, 1, KVM_PROBE_SECONDS)
        except GuestError:
            return False
        return True


def last_words(console: str) -> str:
    """The line of a console that tells most: our own failure, a panic, or the last one."""
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    for sign in ("ORACLE FAILED", "Kernel panic", "BUG:", "qemu-system"):
        for line in lines:
            if sign in line:
                return line
    return lines[-1] if lines else "no output at all"


@contextlib.contextmanager
def killed_at_exit(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """No way out of the block, Ctrl-C included, leaves the process running."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def run_machine(command: list[str], seconds: float) -> str:
    """Run QEMU to its end, for ``seconds`` at most; returns its console.

    Raises:
        GuestError: it ran longer.
    """
    with tempfile.TemporaryFile() as console:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        timed_out = False
        with killed_at_exit(process):
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                timed_out = True
        console.seek(0)
        text = console.read().decode(errors="replace")
    if timed_out:
        raise GuestError(f"the virtual machine ran longer than {seconds:.0f} s: {last_words(text)}")
    return text


def choose_accel(guest: Guest, cache: Path, progress: Progress) -> str:
    """kvm where a machine really comes up under it, else tcg (software emulation).

    /dev/kvm may be there and still not boot a stock kernel (nested, or short of registers that it
    wants): so it is tried once, and the answer kept for this host, QEMU and guest kernel.
    """
    device = Path("/dev/kvm")
    try:
        device.open("rb").close()
    except OSError:
        return "tcg"
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, check=False)
    version = qemu.stdout.decode(errors="replace").split("\n")[0]
    key = f"{platform.release()} {platform.node()} {version} {guest.kernel.release}"
    answers_file = cache / "kvm.json"
    answers: dict[str, bool] = {}
    with contextlib.suppress(OSError, ValueError):
        answers = json.loads(answers_file.read_text())
    if key not in answers:
        progress(f"trying KVM, {KVM_PROBE_SECONDS} s at most")
        begin = time.monotonic()
        answers[key] = Guest(guest.kernel, guest.module, guest.zone_mib, "kvm").comes_up()
        progress(f"KVM {'works' if answers[key] else 'does not boot'} ({time.monotonic() - begin:.0f} s)")
        with whole_file(answers_file) as draft:
            draft.write_text(json.dumps(answers, indent=1) + "\n")
    return "kvm" if answers[key] else "tcg"
