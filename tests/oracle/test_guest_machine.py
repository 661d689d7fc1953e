"""Recording a whole machine: what is asked of which machine, what the workloads say; no machine is started."""

import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oracle import guest_machine as room
from oracle.errors import GuestError
from oracle.guest_machine import REMEDIES, SIZES, answers, command, main, unzipped
from oracle.remedy import COMMANDS
from oracle.remedy import main as compare_main
from oracle.saved_machine import SavedMachine, wait_for
from oracle.uses import WORKLOADS

MACHINE = Path(room.__file__).parent / "machine"


class Told(SavedMachine):
    """A machine that answers each request with a text."""

    def __init__(self, told: dict[str, str]) -> None:
        super().__init__((), Path())
        object.__setattr__(self, "texts", told)

    def told(self, name: str, request: str, seconds: float) -> bytes:
        texts: dict[str, str] = vars(self)["texts"]
        return gzip.compress(texts[request].encode())


def test_a_range_with_huge_pages_is_put_to_a_machine_of_its_own() -> None:
    machine = Told(
        {
            "512": "V oracle 2 kernel=6.1 mode=truth\nG 512 0 0 DMA 0 mig=0\nR 512 512 0 DMA\nG 512 1024 0 DMA hole\n",
            "512@512": "V oracle 2 kernel=6.1 mode=truth\nG 512 512 0 DMA -16 mig=512\n",
        }
    )
    assert answers(machine, "used", 512, 1).splitlines() == [
        "V oracle 2 kernel=6.1 mode=truth",
        "G 512 0 0 DMA 0 mig=0",
        "G 512 512 0 DMA -16 mig=512",
        "G 512 1024 0 DMA hole",
    ]


def test_a_machine_that_does_not_answer_for_the_range_is_an_error() -> None:
    with pytest.raises(GuestError, match="0 answers for the range at 512"):
        answers(Told({"512": "R 512 512 0 DMA\n", "512@512": "V oracle 2\n"}), "used", 512, 1)


@pytest.mark.parametrize("told", [b"", b"no gzip", gzip.compress(b"G 512" * 999)[:-9]])
def test_an_answer_that_is_cut_off_is_an_error(told: bytes) -> None:
    with pytest.raises(GuestError, match="cut off"):
        unzipped(told)


def test_every_kind_of_a_workload_is_one_that_the_helper_knows() -> None:
    known = set(re.findall(r'^\t\{ "(\w+)", \d+, take_', (MACHINE / "use.c").read_text(), re.MULTILINE))
    assert len(known) > 10
    for name, workload in WORKLOADS.items():
        assert set(workload.uses) <= known, name
        assert 0 < workload.below_4g_mib < workload.memory_mib
        assert workload.hugepages >= workload.uses.get("hugekeep", 0) // 2


def test_every_remedy_is_one_that_the_machine_and_the_doctor_know() -> None:
    init = (MACHINE / "init.sh").read_text()
    for remedy in REMEDIES:
        assert f"\t{remedy})\n" in init
        assert f">{COMMANDS[remedy].split('> ')[1]}\n" in init


def test_the_machine_keeps_what_it_writes_to_itself() -> None:
    words = command(WORKLOADS["small"], "tcg", Path("vmlinux"), Path("scratch"))
    assert "-snapshot" in words
    assert words[words.index("-m") + 1] == "352M"
    assert "max-ram-below-4g=192M" in words[words.index("-M") + 1]


@pytest.fixture
def process() -> Callable[[str], subprocess.Popen[bytes]]:
    def start(code: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code])

    return start


@pytest.mark.parametrize(
    ("console", "says"),
    [
        ("INIT\nMACHINE FAILED insmod ext4.ko\n", "MACHINE FAILED insmod ext4.ko"),
        ("Kernel panic - not syncing: no init\n", "Kernel panic - not syncing: no init"),
        ("something\n", "did not say 'MACHINE READY'"),
    ],
)
def test_a_machine_that_fails_is_told_in_one_line(
    tmp_path: Path, console: str, says: str, process: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "console").write_text(console)
    ended = process("")
    ended.wait()
    with pytest.raises(GuestError, match=says):
        wait_for(tmp_path / "console", "MACHINE READY", ended, 5)


def test_what_the_console_shows_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "console").write_text("MACHINE READY\n")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    wait_for(tmp_path / "console", "MACHINE READY", ended, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seed", "-1"], "--seed -1: 0 or more"),
        (["--out", "."], ". is there already: --force replaces it"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--kernel", "6.1", *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_folder_without_a_remedy_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_sizes_are_those_of_the_recorded_machines() -> None:
    assert SIZES == (2 << 8, 4 << 8, 64 << 8, 1024 << 8)
