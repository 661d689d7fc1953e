"""Every file of a machine bad in every way that people have seen: done without, or one line, exit 2, nothing written."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from random import Random

import pytest

from pageblock.check.badinput.machine import small_machine
from pageblock.cli import main

#: Files that a machine is read from.
FILES = (
    "zoneinfo", "buddyinfo", "pagetypeinfo", "iomem", "meminfo", "vmstat", "version", "cmdline", "page_owner", "kpageflags",
    "kpagecount",
)  # fmt: skip

#: What is refused in a folder that a person made; all else is answered, with a remark. The files must tell of one machine.
REFUSED = {
    "missing": set[str](),
    "empty": {"zoneinfo", "buddyinfo", "pagetypeinfo", "page_owner", "kpageflags", "kpagecount"},
    "truncated": {"buddyinfo", "pagetypeinfo", "vmstat", "kpageflags", "kpagecount"},
    "another architecture's": {"zoneinfo", "buddyinfo", "pagetypeinfo", "iomem", "meminfo", "kpageflags", "kpagecount"},
    "older": set[str](),
    "newer": set[str](),
    "a folder": set(FILES) - {"cmdline"},
}


def machine(seed: int = 5) -> dict[str, bytes]:
    """Files of a small machine, without the kernel's own answers."""
    files = small_machine(Random(seed))
    return {name: files[name] for name in FILES}


def older(name: str, data: bytes) -> bytes:
    """As a kernel of the 3.x wrote it: no protection lines, no per-node counters, no page block order."""
    words = {
        "zoneinfo": b"managed",
        "pagetypeinfo": b"Isolate",
        "meminfo": b"Cma",
        "iomem": b"Kernel",
        "buddyinfo": b"none",
    }
    gone = words.get(name, b"none of these")
    return b"".join(line for line in data.splitlines(True) if gone not in line)


def newer(name: str, data: bytes) -> bytes:
    """With fields that no kernel has yet."""
    if name.startswith("kpage"):
        return data
    return data + (
        b"        brand_new 7\n" if name == "zoneinfo" else b"BrandNew: 7 kB\n" if name == "meminfo" else b""
    )


def spoil(folder: Path, name: str, what: str) -> None:
    path = folder / name
    data = path.read_bytes()
    if what == "missing":
        path.unlink()
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "truncated":
        path.write_bytes(data[: len(data) // 2 + 3])
    elif what == "another architecture's":
        # pages of 64 KiB and another order of pageblocks
        path.write_bytes(next(f for f in map(machine, range(50)) if b"6.19.9" in f["version"])[name])
    elif what == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"older": older, "newer": newer}[what](name, data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "machine"
    path.mkdir()
    for name, data in machine().items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A file that is there already."""
    path = tmp_path / "out" / "machine.parquet"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    return path


def one_line(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """What was said of a call that must have been refused."""
    said, complained = capsys.readouterr()
    assert (code, said) == (2, "")
    assert complained.startswith("pageblock: ")
    assert complained.count("\n") == 1
    return complained


def untouched(out: Path) -> None:
    assert os.listdir(out.parent) == [out.name]
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_done_without_or_refused(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str], name: str, what: str
) -> None:
    spoil(folder, name, what)
    code = main(["capture", str(out), "--from", str(folder), "--force"])
    if code == 0:
        assert name not in REFUSED[what], capsys.readouterr()
        assert out.read_bytes()[:4] == b"PAR1"
        assert os.listdir(out.parent) == [out.name]
    else:
        said = one_line(capsys, code)
        assert name in REFUSED[what], said
        assert str(folder) in said or name in said
        untouched(out)


@pytest.mark.parametrize("packed", [False, True])
def test_a_sosreport_without_memory_files_is_refused(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    source = tmp_path / "sosreport-host"
    (source / "proc").mkdir(parents=True)
    (source / "proc" / "cpuinfo").write_text("processor: 0\n")
    if packed:
        with tarfile.open(tmp_path / "sos.tar.xz", "w:xz") as tar:
            tar.add(source, source.name)
        source = tmp_path / "sos.tar.xz"
    code = main(["capture", str(out), "--from", str(source), "--force"])
    assert "none of the files zoneinfo" in one_line(capsys, code)
    untouched(out)


def test_an_archive_whose_member_claims_terabytes_ends_at_once(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tarfile.TarInfo("proc/zoneinfo")
    entry.size = 1 << 45
    (tmp_path / "a.tar").write_bytes(entry.tobuf() + bytes(5000))
    code = main(["capture", str(out), "--from", str(tmp_path / "a.tar"), "--force"])
    one_line(capsys, code)
    untouched(out)


def test_a_kernel_dump_without_debug_information_is_refused(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where drgn is not installed, that is what is said."""
    from pageblock.check.badinput.dump import core

    path = tmp_path / "vmcore"
    for seed in range(20):
        path.write_bytes(core(Random(seed)))
        one_line(capsys, main(["capture", str(out), "--from", str(path), "--force"]))
    untouched(out)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["zoneinfo", "kpageflags", "."])
def test_no_permission_to_read_is_one_line(folder: Path, name: str) -> None:
    (folder / name).chmod(0)
    # what is imported late, another user may not read
    assert main(["doctor", "--from", str(folder), "--no-remedies", "--size", "2M"]) == 0
    shared = Path("/tmp") / f"pageblock-{os.getpid()}-{name.strip('.')}"
    shutil.copytree(folder, shared, copy_function=shutil.copy2)
    try:
        shared.chmod(0 if name == "." else 0o755)
        code, said = as_nobody(shared)
    finally:
        shutil.rmtree(shared)
    assert code == 2
    assert said.count("\n") == 1
    assert "Permission denied" in said


def as_nobody(folder: Path) -> tuple[int, str]:
    """Exit code and stderr of the doctor when another user asks, in a process that has let its rights go."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.dup2(writing, 2)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            code = main(["doctor", "--from", str(folder), "--no-remedies"])
            sys.stderr.flush()
        except BaseException:
            code = 99
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said


@pytest.mark.parametrize(
    "command",
    [("capture", "{out}", "--force"), ("doctor", "--html", "{out}", "--force"), ("doctor", "--metrics", "{out}")],
)
def test_no_space_for_the_output_leaves_what_was_there(folder: Path, out: Path, command: tuple[str, ...]) -> None:
    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    args = [word.format(out=out) for word in command]
    done = subprocess.run(
        [sys.executable, "-m", "pageblock", *args, "--from", str(folder)],
        preexec_fn=small, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    untouched(out)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("capture", "{out}", "--force"), ("doctor", "--html", "{out}", "--force")])
def test_an_interrupt_leaves_what_was_there(folder: Path, out: Path, command: tuple[str, ...]) -> None:
    """Ctrl-C at the last moment: all is written, but not yet under its name."""
    args = [word.format(out=out) for word in command]
    script = (
        "import os, signal, sys\n"
        "from pageblock.cli import main\n"
        "real = os.fsync\n"
        "def fsync(number):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    real(number)\n"
        "os.fsync = fsync\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args, "--from", str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pageblock: interrupted: nothing was written\n"
    untouched(out)


@pytest.mark.slow
def test_watch_ends_with_an_interrupt(folder: Path) -> None:
    """It is how it is meant to end: exit 0, and nothing on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pageblock", "watch", "--from", str(folder), "--every", "60", "--jsonl"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("{")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=30)
    assert (process.returncode, complained) == (0, "")
