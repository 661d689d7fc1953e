"""Which packages: read from what apt prints, and said clearly when something is not there."""

import io
import os
import re
import stat
import tarfile
from pathlib import Path

import pytest

from oracle.errors import MissingError, PackageError
from oracle.packages import (
    IMAGE_FILES,
    Apt,
    Kernel,
    default_cache,
    dependencies,
    newest_releases,
    parse_records,
    require_programs,
    unpacked,
)

#: apt-cache pkgnames linux-image-6.1, on a Debian 12.
NAMES = """\
linux-image-6.1.0-49-amd64
linux-image-6.12-amd64
linux-image-6.1.0-9-amd64
linux-image-6.12-amd64-signed-template
linux-image-6.12.117+deb12-amd64
linux-image-6.12.99+deb12-amd64
linux-image-6.1.0-56-amd64
linux-image-6.1.0-56-amd64-dbg
linux-image-6.1.0-57-amd64-unsigned
linux-image-6.1.0-56-cloud-amd64
linux-image-6.1.0-56-rt-amd64
linux-image-6.12.117+deb12-cloud-amd64
linux-image-6.1-amd64
""".splitlines()

#: apt-cache show, shortened.
SHOW = {
    "linux-image-6.1.0-56-amd64": ("6.1.192-2", "kmod, linux-base (>= 4.3~)"),
    "linux-headers-6.1.0-56-amd64": (
        "6.1.192-2",
        "linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86",
    ),
    "linux-headers-6.1.0-56-common": ("6.1.192-2", ""),
    "linux-kbuild-6.1": ("6.1.192-2", "libc6 (>= 2.34), libelf1 (>= 0.142)"),
    "linux-compiler-gcc-12-x86": ("6.1.192-2", "gcc-12"),
    "busybox-static": ("1:1.35.0-4+b7", ""),
}


def paragraph(name: str) -> str:
    version, depends = SHOW[name]
    field = f"Depends: {depends}\n" if depends else ""
    return (
        f"Package: {name}\nVersion: {version}\n{field}"
        f"Description: text\n a line that goes on: really\nFilename: pool/{name}.deb\n\n"
    )


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt-cache and apt-get that know the packages above, alone on the PATH but for a shell's tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    answers = tmp_path / "answers"
    answers.mkdir()
    for name in SHOW:
        (answers / name).write_text(paragraph(name))
    (answers / "pkgnames").write_text("\n".join(NAMES))
    program(
        folder,
        "apt-cache",
        f"""for last; do :; done
        case "$*" in *pkgnames*) exec /bin/cat {answers}/pkgnames;; esac
        [ -f {answers}/"$last" ] || {{ echo "E: No packages found" >&2; exit 100; }}
        exec /bin/cat {answers}/"$last" """,
    )
    program(
        folder,
        "apt-get",
        f"""echo "$*" >> {tmp_path}/apt-get.log
        case "$*" in
        *update*) exit 0;;
        *busybox*) echo "E: Failed to fetch busybox 404" >&2; exit 100;;
        esac
        for last; do :; done
        echo "$last" > "${{last%%=*}}_x_amd64.deb" """,
    )
    monkeypatch.setenv("PATH", str(folder))
    return tmp_path


def silent(_: str) -> None:
    pass


def test_the_newest_by_number_and_only_of_the_series() -> None:
    assert newest_releases("6.1", NAMES) == ["6.1.0-56-amd64", "6.1.0-49-amd64", "6.1.0-9-amd64"]
    assert newest_releases("6.12", NAMES) == ["6.12.117+deb12-amd64", "6.12.99+deb12-amd64"]


def test_a_series_that_is_not_there() -> None:
    assert newest_releases("6.6", NAMES) == []
    assert newest_releases("1", NAMES) == []


def test_a_record_needs_a_file_to_fetch() -> None:
    virtual = "Package: linux-image-6.1.0-99-amd64\nVersion: 1\n\n"
    [record] = parse_records(virtual + paragraph("linux-kbuild-6.1"))
    assert (record.name, record.version) == ("linux-kbuild-6.1", "6.1.192-2")


def test_dependencies_without_versions_and_alternatives() -> None:
    assert dependencies("a (>= 1), b:any | c, d") == ["a", "b", "d"]
    assert dependencies("") == []


def test_all_packages_that_build_the_module(fake_apt: Path) -> None:
    records = Apt(fake_apt / "cache", silent).find("6.1")
    assert [record.name for record in records] == [
        "linux-image-6.1.0-56-amd64",
        "linux-headers-6.1.0-56-amd64",
        "linux-headers-6.1.0-56-common",
        "linux-kbuild-6.1",
        "linux-compiler-gcc-12-x86",
        "busybox-static",
    ]


def test_a_kernel_without_headers_is_passed_over(fake_apt: Path) -> None:
    (fake_apt / "answers" / "linux-headers-6.1.0-56-amd64").unlink()
    for name in ("image", "headers"):
        text = paragraph(f"linux-{name}-6.1.0-56-amd64").replace("6.1.0-56-amd64", "6.1.0-49-amd64")
        (fake_apt / "answers" / f"linux-{name}-6.1.0-49-amd64").write_text(text)
    assert Apt(fake_apt / "cache", silent).find("6.1")[0].name == "linux-image-6.1.0-49-amd64"


def test_an_unknown_series_is_refused_after_new_lists(fake_apt: Path) -> None:
    with pytest.raises(PackageError, match=r"no linux-image-6\.6\.\*-amd64 with its headers"):
        Apt(fake_apt / "cache", silent).find("6.6")
    log = (fake_apt / "apt-get.log").read_text()
    assert f"Dir::State::lists={fake_apt}/cache/apt/lists" in log, "the system's lists are left alone"
    assert "update" in log


def test_what_is_fetched_is_kept(fake_apt: Path) -> None:
    apt = Apt(fake_apt / "cache", silent)
    [record, *_] = apt.find("6.1")
    [path] = apt.download([record])
    assert path.read_text() == "linux-image-6.1.0-56-amd64=6.1.192-2\n"
    assert apt.download([record]) == [path]
    assert (fake_apt / "apt-get.log").read_text().count("download") == 1


def test_a_failed_fetch_says_why_and_leaves_nothing(fake_apt: Path) -> None:
    apt = Apt(fake_apt / "cache", silent)
    with pytest.raises(PackageError, match=r"Failed to fetch busybox 404"):
        apt.download([apt.record("busybox-static")])
    assert list((fake_apt / "cache" / "debs").iterdir()) == []


def test_missing_programs_and_the_line_that_installs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("apt-get", "apt-cache", "dpkg-deb"):
        program(tmp_path, name, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        require_programs()
    assert str(caught.value) == (
        "make, qemu-system-x86_64 not found: apt-get install --no-install-recommends make qemu-system-x86"
    )


def test_a_machine_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="needs a Debian system"):
        require_programs()


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "pageblock" / "oracle"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "pageblock" / "oracle"


@pytest.mark.parametrize(
    ("variables", "compiler"),
    [
        (
            "CC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-12\n"
            "ifneq ($(DEB_BUILD_ARCH),$(DEB_HOST_ARCH))\noverride CROSS_COMPILE = x86_64-linux-gnu-\nendif\n",
            "gcc-12",
        ),
        ("CC = $(CROSS_COMPILE)gcc-14\noverride CROSS_COMPILE = x86_64-linux-gnu-\n", "x86_64-linux-gnu-gcc-14"),
    ],
)
def test_the_compiler_that_the_headers_want(tmp_path: Path, variables: str, compiler: str) -> None:
    kernel = Kernel("6.1.0-56-amd64", "6.1.192-2", tmp_path)
    kernel.headers.mkdir(parents=True)
    (kernel.headers / ".kernelvariables").write_text(variables)
    assert kernel.compiler == compiler


def archive(names: list[str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def test_of_a_kernel_image_only_what_boots_is_unpacked(tmp_path: Path) -> None:
    modules = "./lib/modules/6.1.0-56-amd64"
    wanted = [
        "./boot/vmlinuz-6.1.0-56-amd64",
        f"{modules}/modules.builtin",
        f"{modules}/kernel/drivers/block/virtio_blk.ko",
        f"{modules}/kernel/drivers/virtio/virtio.ko",
    ]
    source = tmp_path / "image.tar"
    source.write_bytes(archive([*wanted, "./boot/System.map-6", f"{modules}/kernel/drivers/gpu/drm/big.ko"]))
    unpacked(["cat", str(source)], tmp_path / "out", IMAGE_FILES)
    found = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [f"./{path.relative_to(tmp_path / 'out')}" for path in found] == sorted(wanted)


def test_a_broken_package_is_named(tmp_path: Path) -> None:
    source = tmp_path / "broken.deb"
    source.write_bytes(archive(["a", "b"])[:700])
    with pytest.raises(PackageError, match=re.escape(f"{source} does not unpack")):
        unpacked(["cat", str(source)], tmp_path / "out")
    with pytest.raises(PackageError, match="does not unpack"):
        unpacked(["cat", os.devnull, "/nonexistent.deb"], tmp_path / "out")
