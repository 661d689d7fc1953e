"""Tar archives and sosreports: found at any depth, unpacked nowhere but where we say, refused in one line."""

import gzip
import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from pageblock.cli.doctor import recorded_machine
from pageblock.errors import InputError
from pageblock.machine import Snapshot, archive, read_machine
from pageblock.machine.archive import Archive
from tests.machine.test_snapshot_file import assert_same

ROOT = "sosreport-host-2024-01-01/"


def entry(name: str, data: bytes = b"", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def pack(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


def guest(*without: str, root: str = ROOT + "proc/") -> list[tuple[tarfile.TarInfo, bytes]]:
    """The recorded machine's files as they lie in a sosreport."""
    files = sorted(file for file in recorded_machine().iterdir() if file.stem not in without)
    return [entry(root + file.name, file.read_bytes()) for file in files]


def text(name: str) -> bytes:
    return (recorded_machine() / name).read_bytes()


def same_but_for_the_source(one: Snapshot, other: Snapshot) -> None:
    def plain(snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, remarks=tuple(r for r in snapshot.remarks if r.topic != "source"))

    assert_same(plain(one), plain(other))


def plain(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("packed", [plain, gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("root", ["", "./", "machine/", ROOT + "proc/", "a/b/c/proc/"])
def test_an_archive_is_the_machine_in_it(tmp_path: Path, root: str, packed: Callable[[bytes], bytes]) -> None:
    path = pack(tmp_path / "a", entry("README", b"x"), *guest(root=root))
    path.write_bytes(packed(path.read_bytes()))
    same_but_for_the_source(read_machine(path), read_machine(recorded_machine()))


@pytest.mark.parametrize(("suffix", "packed"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_files_may_be_packed_one_by_one(tmp_path: Path, suffix: str, packed: Callable[[bytes], bytes]) -> None:
    flags = zstandard.ZstdDecompressor().stream_reader(text("kpageflags.zst")).read()
    inner = [
        entry(f"proc/kpageflags{suffix}", packed(flags)),
        entry(f"proc/zoneinfo{suffix}", packed(text("zoneinfo"))),
    ]
    path = pack(tmp_path / "a.tar", *inner, *guest("kpageflags", "zoneinfo", root="proc/"))
    same_but_for_the_source(read_machine(path), read_machine(recorded_machine()))
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "folder", filter="data")
    same_but_for_the_source(read_machine(tmp_path / "folder"), read_machine(recorded_machine()))


def test_a_sosreport_folder_is_found_at_any_depth(tmp_path: Path) -> None:
    proc = tmp_path / "case" / "host" / "proc"
    (proc / "sys" / "vm").mkdir(parents=True)
    for name in ("zoneinfo", "buddyinfo", "pagetypeinfo", "meminfo"):
        (proc / name).write_bytes(text(name))
    (proc / "sys" / "vm" / "zoneinfo").write_text("not this")
    assert [zone.name for zone in read_machine(tmp_path).zones] == ["DMA", "DMA32", "Normal"]


@pytest.mark.parametrize("packed", [True, False])
def test_several_machines_are_refused_by_name(tmp_path: Path, packed: bool) -> None:
    path = pack(tmp_path / "a.tar", *guest(root="one/proc/"), *guest(root="two/proc/"))
    if not packed:
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "a", filter="data")
        path = tmp_path / "a"
    with pytest.raises(InputError, match=r"files of 2 machines \(one/proc, two/proc\); give the folder of one"):
        read_machine(path)


@pytest.mark.parametrize(
    ("beside", "kernel"),
    [
        (("sos_commands/kernel/uname_-a", b"Linux host 4.18.0-80.el8.x86_64 #1 SMP\n"), "4.18.0-80.el8.x86_64"),
        (("sos_commands/kernel/dmesg", b"[    0.000000] Linux version 5.14.0-70.el9 (mock)\n"), "5.14.0-70.el9"),
        (("proc/cmdline", b"BOOT_IMAGE=(hd0,gpt2)/vmlinuz-5.10.0-9-amd64 ro quiet\n"), "5.10.0-9-amd64"),
    ],
)
def test_the_kernel_is_found_elsewhere(tmp_path: Path, beside: tuple[str, bytes], kernel: str) -> None:
    path = pack(tmp_path / "a.tar", entry(ROOT + beside[0], beside[1]), *guest("version", "kpageflags", "kpagecount"))
    found = read_machine(path)
    assert found.kernel == kernel
    assert "version" not in [r.text.split()[0] for r in found.remarks if r.topic == "missing file"]


def test_a_file_cut_off_within_a_line_is_used_up_to_there(tmp_path: Path) -> None:
    cut = text("buddyinfo")[:-20]
    path = pack(
        tmp_path / "a.tar", entry(ROOT + "proc/buddyinfo", cut), *guest("buddyinfo", "kpageflags", "kpagecount")
    )
    found = read_machine(path)
    assert [bool(zone.buddy_counts) for zone in found.zones] == [True, True, False]
    assert "buddyinfo ends within a line" in next(r for r in found.remarks if r.topic == "cut off").text


def test_a_zone_that_zoneinfo_lost_is_still_counted(tmp_path: Path) -> None:
    whole = text("zoneinfo")
    cut = whole[: whole.index(b"Normal") + 40]
    path = pack(tmp_path / "a.tar", entry(ROOT + "proc/zoneinfo", cut), *guest("zoneinfo", "kpageflags", "kpagecount"))
    found = read_machine(path)
    assert [(zone.name, bool(zone.buddy_counts), zone.start_known) for zone in found.zones] == [
        ("DMA", True, True),
        ("DMA32", True, True),
        ("Normal", True, False),
    ]


@pytest.mark.parametrize("data", [b"", b"cat: /proc/pagetypeinfo: Permission denied\n"])
def test_a_file_of_no_use_counts_as_missing(tmp_path: Path, data: bytes) -> None:
    path = pack(tmp_path / "a.tar", entry(ROOT + "proc/pagetypeinfo", data), *guest("pagetypeinfo", "kpageflags"))
    found = read_machine(path)
    assert "pagetypeinfo" in found.missing
    assert any(r.text.startswith("pagetypeinfo is of no use") for r in found.remarks)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a link that leads out of the archive"),
        ({"type": tarfile.SYMTYPE, "linkname": "../../../../etc/passwd"}, "a link that leads out of the archive"),
        ({"type": tarfile.LNKTYPE, "linkname": "../zoneinfo"}, "a link that leads out of the archive"),
        ({"type": tarfile.SYMTYPE, "linkname": "nothing"}, "a link to nothing"),
        ({"type": tarfile.SYMTYPE, "linkname": "zoneinfo"}, "a link to nothing"),
        ({"type": tarfile.CHRTYPE}, "is a device; it is not read"),
        ({"type": tarfile.FIFOTYPE}, "is a named pipe; it is not read"),
    ],
)
def test_what_is_no_file_of_the_archive_is_refused(tmp_path: Path, link: dict[str, object], says: str) -> None:
    path = pack(tmp_path / "a.tar", entry(ROOT + "proc/zoneinfo", b"", **link), *guest("zoneinfo"))
    with pytest.raises(InputError, match=says) as caught:
        read_machine(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_inside_the_archive_is_followed(tmp_path: Path, kind: bytes) -> None:
    there = ROOT + "sos_strings/kernel/zoneinfo.tailed"
    name = "../sos_strings/kernel/zoneinfo.tailed" if kind == tarfile.SYMTYPE else there
    link = entry(ROOT + "proc/zoneinfo", type=kind, linkname=name)
    path = pack(tmp_path / "a.tar", entry(there, text("zoneinfo")), link, *guest("zoneinfo"))
    same_but_for_the_source(read_machine(path), read_machine(recorded_machine()))


def test_a_name_that_leads_outside_is_passed_over(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", entry("../proc/zoneinfo", b"evil"), entry("/proc/zoneinfo", b"evil"), *guest())
    same_but_for_the_source(read_machine(path), read_machine(recorded_machine()))
    assert os.listdir(tmp_path) == ["a.tar"]


def test_what_was_unpacked_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = pack(tmp_path / "a.tar", *guest())
    source = Archive(path)
    assert os.listdir(tmp_path / "tmp") != []
    source.close()
    read_machine(path)
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(InputError):
        read_machine(path)
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("MOST_MEMBERS", "more than 3 members"),
        ("MOST_BYTES", "when unpacked"),
        ("MOST_FILE", "no machine has that many pages"),
    ],
)
def test_an_archive_without_end_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, says: str
) -> None:
    monkeypatch.setattr(archive, limit, 3)
    with pytest.raises(InputError, match=says):
        read_machine(pack(tmp_path / "a.tar", *guest()))


def test_a_name_without_end_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(InputError, match="a header of 1,099,511,627,776 bytes"):
        read_machine(tmp_path / "a.tar")


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"no archive"),
        gzip.compress(os.urandom(4096))[:-9],
        b"\x1f\x8b",
        b"\xfd7zXZ\x00",
        b"\x28\xb5\x2f\xfd",
        b"BZh9 nonsense",
        bytes(257) + b"ustar",
        gzip.compress(b""),
    ],
)
def test_what_is_no_whole_archive_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_machine(tmp_path / "a")
    assert str(caught.value).startswith(str(tmp_path / "a"))
    assert "\n" not in str(caught.value)


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "machine" / "meminfo").write_bytes(text("meminfo"))
    (tmp_path / "machine" / "zoneinfo").symlink_to("../secret")
    with pytest.raises(InputError, match="zoneinfo: a link that leads out of") as caught:
        read_machine(tmp_path / "machine")
    assert "secret" not in str(caught.value).replace(str(tmp_path), "")
