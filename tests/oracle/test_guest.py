"""What the virtual machine boots from, made without one."""

import gzip
import lzma
import struct
from pathlib import Path

import pytest
import zstandard

from oracle.errors import GuestError, MissingError, PackageError
from oracle.guest import (
    Guest,
    build_module,
    cpio_archive,
    extract_vmlinux,
    guest_modules,
    last_words,
    module_dependencies,
    run_machine,
)
from oracle.packages import Kernel

KERNEL = b"\x7fELF" + bytes(1000) + b"the kernel"


def bzimage(payload: bytes) -> bytes:
    """A boot sector, one setup sector and the payload, as Documentation/arch/x86/boot.rst has them."""
    image = bytearray(1024)
    image[0x1F1] = 1
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", image, 0x248, 64, len(payload))
    return bytes(image) + bytes(64) + payload + b"what follows"


@pytest.mark.parametrize(
    "packed",
    [
        lzma.compress(KERNEL) + struct.pack("<I", len(KERNEL)),
        zstandard.compress(KERNEL) + struct.pack("<I", len(KERNEL)),
        gzip.compress(KERNEL) + struct.pack("<I", len(KERNEL)),
    ],
    ids=["xz", "zstd", "gzip"],
)
def test_the_kernel_inside_its_image(packed: bytes) -> None:
    assert extract_vmlinux(bzimage(packed)) == KERNEL


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (b"", "no x86 bzImage"),
        (bytes(4096), "no x86 bzImage"),
        (bzimage(b"BZh9 not known"), "compressed in an unknown way: 425a6839"),
        (bzimage(gzip.compress(b"no kernel")), "does not hold an ELF kernel"),
        (bzimage(lzma.compress(KERNEL)[:60]), "cut off|cannot be unpacked"),
    ],
)
def test_what_is_no_kernel_image_is_refused(image: bytes, complaint: str) -> None:
    with pytest.raises(PackageError, match=complaint):
        extract_vmlinux(image)


def test_the_initramfs_is_cpio() -> None:
    packed = cpio_archive([("bin", 0o040755, b""), ("bin/sh", 0o100755, b"hello"), ("x", 0o100644, b"")])
    at, found = 0, []
    while at < len(packed):
        assert packed[at : at + 6] == b"070701"
        fields = [int(packed[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = packed[at + 110 : at + 110 + name_size - 1].decode()
        at += -(-(110 + name_size) // 4) * 4
        found.append((name, mode, packed[at : at + size]))
        at += -(-size // 4) * 4
    assert found == [
        ("bin", 0o040755, b""),
        ("bin/sh", 0o100755, b"hello"),
        ("x", 0o100644, b""),
        ("TRAILER!!!", 0, b""),
    ]


def module(depends: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    kernel = Kernel("6.1.0-56-amd64", "6.1.192-2", tmp_path)
    drivers = tmp_path / "lib" / "modules" / kernel.release / "kernel" / "drivers"
    (drivers / "virtio").mkdir(parents=True)
    (drivers / "block").mkdir()
    (drivers / "virtio" / "virtio_ring.ko").write_bytes(module(""))
    (drivers / "virtio" / "virtio.ko").write_bytes(module("virtio_ring"))
    (drivers / "virtio" / "virtio_pci.ko").write_bytes(module("virtio,virtio_ring"))
    (drivers / "block" / "virtio_blk.ko.xz").write_bytes(lzma.compress(module("virtio_ring,virtio")))
    (drivers.parent.parent / "modules.builtin").write_text("kernel/drivers/virtio/other.ko\n")
    return kernel


def test_modules_come_after_what_they_need(kernel: Kernel) -> None:
    assert module_dependencies(module("virtio,virtio_ring")) == ["virtio", "virtio_ring"]
    assert module_dependencies(module("")) == []
    names = [name for name, _ in guest_modules(kernel, ("virtio_pci", "virtio_blk"))]
    assert names == ["virtio_ring", "virtio", "virtio_pci", "virtio_blk"]
    assert dict(guest_modules(kernel, ("virtio_blk",)))["virtio_blk"].startswith(b"\x7fELF")


def test_drivers_that_are_built_in_need_no_module(kernel: Kernel) -> None:
    builtin = kernel.folder / "lib" / "modules" / kernel.release / "modules.builtin"
    builtin.write_text("kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio_ring.ko\n")
    assert [name for name, _ in guest_modules(kernel, ("virtio_blk",))] == ["virtio_blk"]
    with pytest.raises(PackageError, match="has no driver virtio_net"):
        guest_modules(kernel, ("virtio_net",))


def test_the_machine_has_one_processor_and_the_zone_it_was_asked_for(kernel: Kernel) -> None:
    command = Guest(kernel, b"", 256, "tcg").command(Path("k"), Path("i"), Path("d"))
    text = " ".join(command)
    assert "-smp 1" in text
    assert "accel=tcg" in text
    assert "id=m1,size=256M" in text
    assert "nokaslr" in text
    assert "pc-dimm,id=d1,memdev=m1,node=1" in text


def test_a_zone_that_is_there_at_boot_starts_2_mib_aligned_and_runs_by_instructions(kernel: Kernel) -> None:
    text = " ".join(Guest(kernel, b"", 131, "tcg", early=True).command(Path("k"), Path("i"), Path("d")))
    assert "-m 1285M" in text, "1024 MiB below 4 GiB, 130 above it, then node 1"
    assert "size=1154M" in text
    assert "size=131M -numa node,nodeid=1,memdev=m1" in text
    assert "-icount" in text
    assert "-rdrand" in text
    assert "pc-dimm" not in text


def test_a_missing_compiler_is_named_with_its_package(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.headers.mkdir(parents=True)
    (kernel.headers / ".kernelvariables").write_text("CC = gcc-12\n")
    monkeypatch.setenv("PATH", str(kernel.folder))
    with pytest.raises(MissingError, match=r"gcc-12 not found.*apt-get install --no-install-recommends gcc-12$"):
        build_module(kernel, lambda _: None)


def test_the_line_of_a_console_that_tells_most() -> None:
    assert last_words("") == "no output at all"
    assert last_words("a\nb\n\n") == "b"
    assert last_words("x\nORACLE FAILED insmod\nreboot") == "ORACLE FAILED insmod"
    assert last_words("x\n[1] Kernel panic - not syncing\nend") == "[1] Kernel panic - not syncing"


def test_a_machine_that_hangs_is_ended() -> None:
    with pytest.raises(GuestError, match=r"ran longer than 0 s: up"):
        run_machine(["sh", "-c", "echo up; sleep 30"], 0.4)


def test_the_console_is_kept() -> None:
    assert run_machine(["sh", "-c", "echo out; echo err >&2"], 30) == "out\nerr\n"
