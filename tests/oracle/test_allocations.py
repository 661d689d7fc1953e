"""A virtual machine's trace: what it leaves behind is taken whole, or refused in one line. The machine itself is not booted."""

import base64
import gzip
from pathlib import Path

import pytest

from oracle import allocations
from oracle.packages import Kernel


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes | str]:
    """What the machine says on its console, and on its second serial line."""
    says: dict[str, bytes | str] = {"console": "TRACE DONE\n", "told": b""}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "busybox").write_bytes(b"busybox")
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF")
    kernel = Kernel("6.1.0-56-amd64", "6.1.192-2", tmp_path)

    def boots(command: list[str], seconds: float) -> str:
        [told] = [word.removeprefix("file:") for word in command if word.startswith("file:")]
        Path(told).write_bytes(bytes(says["told"]))  # type: ignore[arg-type]
        return str(says["console"])

    monkeypatch.setattr(allocations, "require_programs", lambda: None)
    monkeypatch.setattr(Kernel, "newest", lambda *_: kernel)
    monkeypatch.setattr(allocations, "run_machine", boots)
    return says


def test_the_trace_is_written_as_it_was_told(machine: dict[str, bytes | str], tmp_path: Path) -> None:
    packed = gzip.compress(b"# os release : 6.1.0\nmm_page_alloc: page=0\n")
    # a serial line turns line ends round
    machine["told"] = base64.encodebytes(packed).replace(b"\n", b"\r\n")
    out = tmp_path / "out.txt.gz"
    assert allocations.main(["--kernel", "6.1", "--cache", str(tmp_path / "cache"), str(out)]) == 0
    assert out.read_bytes() == packed


@pytest.mark.parametrize(
    ("console", "told", "message"),
    [
        ("Kernel panic - not syncing\n", b"", "Kernel panic"),
        ("TRACE FAILED mount\nTRACE DONE\n", b"", "before its trace was told"),
        ("TRACE DONE\n", b"", "no allocation in it"),
        ("TRACE DONE\n", base64.b64encode(gzip.compress(b"x" * 100)[:-9]), "not whole"),
    ],
)
def test_a_machine_that_did_not_end_well_is_one_line(
    machine: dict[str, bytes | str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    console: str,
    told: bytes,
    message: str,
) -> None:
    machine["console"], machine["told"] = console, told
    out = tmp_path / "out.txt.gz"
    assert allocations.main(["--kernel", "6.1", "--cache", str(tmp_path / "cache"), str(out)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_a_kernel_of_one_s_own_is_booted_instead(
    machine: dict[str, bytes | str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine["told"] = base64.b64encode(gzip.compress(b"mm_page_alloc: page=0\n"))
    image = tmp_path / "bzImage"
    image.write_bytes(b"packed")
    monkeypatch.setattr(allocations, "extract_vmlinux", lambda packed: b"unpacked " + packed)
    booted: list[bytes] = []

    def boots(command: list[str], seconds: float) -> str:
        booted.append(Path(command[command.index("-kernel") + 1]).read_bytes())
        [told] = [word.removeprefix("file:") for word in command if word.startswith("file:")]
        Path(told).write_bytes(bytes(machine["told"]))  # type: ignore[arg-type]
        return str(machine["console"])

    monkeypatch.setattr(allocations, "run_machine", boots)
    out = tmp_path / "out.txt.gz"
    assert allocations.main(["--kernel", "6.1", "--image", str(image), str(out), "--cache", str(tmp_path)]) == 0
    assert booted == [b"unpacked packed"]
    assert "the trace of bzImage" in capsys.readouterr().out


def test_a_kernel_that_is_not_there_is_one_line(
    machine: dict[str, bytes | str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, image = tmp_path / "out.txt.gz", tmp_path / "none"
    assert allocations.main(["--kernel", "6.1", "--image", str(image), str(out), "--cache", str(tmp_path)]) == 2
    assert "give a bzImage" in capsys.readouterr().err
    assert not out.exists()
