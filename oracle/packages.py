"""Kernels out of Debian's archive: which is the newest of a series, and its files, unpacked.

Nothing is installed and nothing needs root: apt-get download fetches the packages and dpkg-deb
unpacks them below the cache folder. Where apt knows no such kernel, or knows one that the archive
has replaced since, apt's lists are fetched anew into the cache folder, from the same sources.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingError, PackageError
from .files import whole_folder

__all__ = [
    "Apt",
    "Kernel",
    "Record",
    "default_cache",
    "dependencies",
    "missing_programs",
    "newest_releases",
    "parse_records",
    "require_programs",
    "unpacked",
]

#: Each program that the recorder runs, and the Debian package that has it.
PROGRAMS = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "make": "make",
    "qemu-system-x86_64": "qemu-system-x86",
}

#: Packages below the headers that the module is built with; others it only names.
BUILD_PACKAGES = ("linux-headers-", "linux-kbuild-", "linux-compiler-")

#: Of a kernel image package only these are unpacked: the rest is 400 MB of drivers.
IMAGE_FILES = re.compile(r"boot/(vmlinuz|config)-|lib/modules/[^/]+/(modules\.builtin$|kernel/drivers/(virtio|block)/)")

Progress = Callable[[str], None]


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/pageblock/oracle``, or below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pageblock" / "oracle"


def missing_programs(wanted: Iterable[str]) -> list[str]:
    """Those of ``wanted`` that are not on the PATH."""
    return [name for name in wanted if shutil.which(name) is None]


def require_programs(wanted: dict[str, str] = PROGRAMS) -> None:
    """Check that each program (key) is there; ``wanted`` maps it to its Debian package.

    Raises:
        MissingError: with all that is missing and the one line that installs it.
    """
    missing = missing_programs(wanted)
    if not missing:
        return
    if {"apt-cache", "apt-get", "dpkg-deb"} & set(missing):
        raise MissingError(
            f"{', '.join(missing)} not found: the recorder takes its kernels from Debian's archive"
            " and needs a Debian system (a container of one is enough)"
        )
    packages = sorted({wanted[name] for name in missing})
    raise MissingError(f"{', '.join(missing)} not found: apt-get install --no-install-recommends {' '.join(packages)}")


@dataclass(frozen=True)
class Record:
    """What apt knows of one package: its name, version and raw Depends field."""

    name: str
    version: str
    depends: str


def parse_records(text: str) -> list[Record]:
    """The packages in the output of ``apt-cache show``; those without a file to fetch left out."""
    records = []
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", paragraph, re.MULTILINE))
        if "Package" in fields and "Version" in fields and "Filename" in fields:
            records.append(Record(fields["Package"], fields["Version"], fields.get("Depends", "")))
    return records


def newest_releases(series: str, names: Iterable[str]) -> list[str]:
    """Kernel releases (as ``uname -r``) of ``series`` among package names, newest first.

    Debian names a kernel by its ABI number (6.1.0-56-amd64) or its version (6.12.117+deb12-amd64).
    Meta packages, real-time and cloud kernels, unsigned and debug ones do not count.
    """
    kernel = re.compile(rf"linux-image-({re.escape(series)}((?:\.\d+)+(?:-\d+)?(?:\+\w+)?)-amd64)")
    found = [match for name in names if (match := kernel.fullmatch(name.strip()))]
    found.sort(key=lambda match: [int(n) for n in re.findall(r"\d+", match[2])], reverse=True)
    return [match[1] for match in found]


def dependencies(depends: str) -> list[str]:
    """Package names in a Depends field: the first of each group of alternatives."""
    groups = (group.split("|")[0].split() for group in depends.split(","))
    return [words[0].split(":")[0] for words in groups if words]


def unpacked(command: Sequence[str], folder: Path, wanted: re.Pattern[str] | None = None) -> None:
    """Unpack the tar stream that ``command`` prints into ``folder``; of it what ``wanted`` matches.

    Raises:
        PackageError: the command failed or its output is not a whole archive.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                # Python 3.11.0 to 3.11.3 have no filters and need none for packages that apt checked
                archive.extraction_filter = getattr(tarfile, "tar_filter", lambda member, _: member)
                for member in archive:
                    name = member.name.removeprefix("./")
                    if wanted is None or wanted.match(name):
                        member.name = name
                        archive.extract(member, folder)
            # dpkg-deb still writes the padding of the archive: let it end by itself
            while process.stdout.read(1 << 16):
                pass
            complaint = ""
        except (tarfile.TarError, OSError) as error:
            process.kill()
            complaint = str(error)
        said = process.stderr.read().decode(errors="replace").strip()
    if complaint or process.returncode:
        raise PackageError(f"{command[-1]} does not unpack: {said or complaint}: remove it and try again")


class Apt:
    """Debian's archive, as this machine's apt sees it, with a cache folder of our own."""

    def __init__(self, cache: Path, progress: Progress) -> None:
        self.cache = cache
        self.progress = progress
        self.options: list[str] = []

    def run(self, *command: str, folder: Path | None = None) -> str:
        """Run one apt command; returns what it prints.

        Raises:
            PackageError: with the last line of its complaint.
        """
        done = subprocess.run(
            [command[0], *self.options, *command[1:]],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            reason = (lines or done.stderr.splitlines() or ["no reason given"])[-1]
            raise PackageError(f"{' '.join(command)}: {reason.removeprefix('E:').strip()}")
        return done.stdout

    def refresh(self) -> None:
        """Fetch apt's lists anew, into the cache folder: needs no root and leaves the system's."""
        lists = self.cache / "apt" / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        self.options = [
            "-o",
            f"Dir::State::lists={lists}",
            "-o",
            f"Dir::Cache::pkgcache={self.cache / 'apt' / 'pkgcache.bin'}",
            "-o",
            f"Dir::Cache::srcpkgcache={self.cache / 'apt' / 'srcpkgcache.bin'}",
            "-o",
            "APT::Sandbox::User=root",
        ]
        self.progress("fetching apt's lists")
        self.run("apt-get", "update", "-qq")

    def record(self, name: str) -> Record:
        """The newest version of a package.

        Raises:
            PackageError: no such package.
        """
        try:
            records = parse_records(self.run("apt-cache", "show", "--no-all-versions", name))
        except PackageError:
            records = []
        if not records:
            raise PackageError(f"no package {name} in the sources of this machine's apt")
        return records[0]

    def find(self, series: str) -> list[Record]:
        """The packages of the newest kernel of a series: the image first, then what builds for it.

        Raises:
            PackageError: none in the archive, even with new lists.
        """
        for fresh in (False, True):
            if fresh:
                if self.options:
                    break
                self.refresh()
            names = self.run("apt-cache", "pkgnames", f"linux-image-{series}").splitlines()
            for release in newest_releases(series, names):
                try:
                    return self.closure(release)
                except PackageError:
                    continue
        raise PackageError(
            f"no linux-image-{series}.*-amd64 with its headers in the sources of this machine's"
            " apt: 6.1 and 6.12 are in bookworm and its security updates, 6.12 in trixie too"
        )

    def closure(self, release: str) -> list[Record]:
        """Image, headers and what the headers need to build a module; and a static busybox."""
        records = [self.record(f"linux-image-{release}"), self.record(f"linux-headers-{release}")]
        wanted = dependencies(records[1].depends)
        while wanted:
            name = wanted.pop(0)
            if name.startswith(BUILD_PACKAGES) and name not in {record.name for record in records}:
                records.append(self.record(name))
                wanted += dependencies(records[-1].depends)
        records.append(self.record("busybox-static"))
        return records

    def download(self, records: Iterable[Record]) -> list[Path]:
        """The package files, in order; only what is not in the cache is fetched.

        Raises:
            PackageError: the archive does not give it.
        """
        folder = self.cache / "debs"
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for record in records:
            path = folder / f"{record.name}_{record.version.replace(':', '%3a')}.deb"
            if not path.exists():
                self.progress(f"fetching {record.name} {record.version}")
                with tempfile.TemporaryDirectory(prefix=".incoming.", dir=folder) as incoming:
                    # apt's own unprivileged user may not write below a private cache
                    sandbox = ("-o", "APT::Sandbox::User=root")
                    wanted = f"{record.name}={record.version}"
                    self.run("apt-get", "-qq", *sandbox, "download", wanted, folder=Path(incoming))
                    [fetched] = Path(incoming).glob("*.deb")
                    fetched.replace(path)
            paths.append(path)
        return paths


@dataclass(frozen=True)
class Kernel:
    """One kernel, unpacked.

    ``release`` is what ``uname -r`` says, ``version`` Debian's package version.
    """

    release: str
    version: str
    folder: Path

    @classmethod
    def newest(cls, series: str, cache: Path, progress: Progress, *, refresh: bool = False) -> "Kernel":
        """Find, fetch and unpack the newest kernel of a series; ``refresh`` gets new lists first.

        Raises:
            PackageError: the archive does not have it or does not give it.
        """
        apt = Apt(cache, progress)
        if refresh:
            apt.refresh()
        records = apt.find(series)
        try:
            paths = apt.download(records)
        except PackageError:
            if refresh:
                raise
            # the archive moves with every security update: old lists name what is gone
            apt.refresh()
            records = apt.find(series)
            paths = apt.download(records)
        release = records[0].name.removeprefix("linux-image-")
        kernel = cls(release, records[0].version, cache / f"{release}_{records[0].version}")
        if not kernel.folder.exists():
            kernel.unpack(paths, progress)
        return kernel

    @property
    def headers(self) -> Path:
        """Where the module is built against."""
        return self.folder / "usr" / "src" / f"linux-headers-{self.release}"

    @property
    def compiler(self) -> str:
        """Name of the compiler that the kernel, and so the module, is built with.

        Raises:
            PackageError: the headers do not say.
        """
        text = (self.headers / ".kernelvariables").read_text()
        prefix = re.search(r"^\s*override CROSS_COMPILE = ([\w-]+-)$", text, re.MULTILINE)
        name = re.search(r"\b(gcc-\d+)\b", text)
        if not name:
            raise PackageError(f"{self.headers}/.kernelvariables names no compiler")
        # 6.1 sets the prefix only when cross-building, inside an ifneq
        always = prefix and not re.search(r"^ifneq", text, re.MULTILINE)
        return (prefix[1] if prefix and always else "") + name[1]

    def unpack(self, paths: Iterable[Path], progress: Progress) -> None:
        """Unpack the packages into ``folder``; it appears only when it is whole."""
        with whole_folder(self.folder) as draft:
            for path in paths:
                progress(f"unpacking {path.name}")
                image = path.name.startswith("linux-image-")
                wanted = IMAGE_FILES if image else None
                unpacked(["dpkg-deb", "--fsys-tarfile", str(path)], draft, wanted)
            # the headers' Makefile includes the common one by its installed place
            makefile = draft / "usr" / "src" / f"linux-headers-{self.release}" / "Makefile"
            try:
                text = makefile.read_text()
            except OSError as error:
                raise PackageError(f"the headers of {self.release} have no Makefile") from error
            common = self.folder.resolve() / "usr" / "src"
            makefile.write_text(text.replace("include /usr/src/", f"include {common}/"))
