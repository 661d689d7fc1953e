"""The command: one clear line and exit code 2, and no file, when something is wrong."""

import re
from pathlib import Path

import pytest
import zstandard

from oracle import record as room
from oracle.__main__ import main
from oracle.errors import GuestError, VerifyError
from oracle.files import whole_file, whole_folder
from oracle.guest import Guest
from oracle.packages import Kernel
from oracle.record import SPARE_BOOTS, check_whole, summary, verified

RECORD = """\
V oracle 2 kernel=6.1.0-56-amd64 mode=trace pcp=0 why=0 profile=mixed
D begin initial
L 0 0 3
D end stat_free=9
a 0 0 m 5
a 1 0 m -
c 2 512 512 : 515>4 = 0 t=7
H 2 00 00 00 free=9 stat=9 pcp=0 own=1 foreign=3
c 3 0 512 : = -16 t=8 why=U:5
H 4 00 00 00 free=9 stat=9 pcp=0 own=1 foreign=3
E ops=4 ns_total=1 ns_in_allocator=1 migrated=1 overflow=0
"""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A stand-in for everything outside: boots give back the texts of the list, in turn."""
    boots = [RECORD, RECORD.replace("t=7", "t=9")]
    kernel = Kernel("6.1.0-56-amd64", "6.1.192-2", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "require_programs", lambda: None)
    monkeypatch.setattr(Kernel, "newest", lambda *_, **__: kernel)
    monkeypatch.setattr(room, "build_module", lambda *_: b"")
    monkeypatch.setattr(room, "choose_accel", lambda *_: "tcg")
    monkeypatch.setattr(Guest, "boot", lambda *_: boots.pop(0))
    return boots


def arguments(*more: str) -> list[str]:
    return ["--kernel", "6.1", "--nops", "300", "--no-replay", *more]


@pytest.mark.usefixtures("machine")
def test_two_boots_that_agree_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments("--seed", "5")) == 0
    out = tmp_path / "6.1-mixed-s5.txt.zst"
    assert zstandard.decompress(out.read_bytes()).decode() == RECORD
    said = capsys.readouterr()
    assert "6.1.0-56-amd64 (tcg), 2 boots agree" in said.out
    assert "4 requests: 2 allocations, 1 of them failed; 2 ranges, 1 taken; 1 migrations" in said.out
    assert said.err == "", "progress is for a terminal"


def test_two_boots_that_differ_are_not_written(
    machine: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine[1] = RECORD.replace("m 5", "m 6")
    assert main(arguments()) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "two boots differ in line 5: 'a 0 0 m 5' against 'a 0 0 m 6'" in said
    assert list(tmp_path.glob("*.zst*")) == []


@pytest.mark.usefixtures("machine")
def test_a_file_that_is_there_stays_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "here.zst"
    out.write_text("precious")
    assert main(arguments("--out", str(out))) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert main(arguments("--out", str(out), "--force")) == 0
    assert out.read_bytes().startswith(b"\x28\xb5\x2f\xfd")


def test_ctrl_c_leaves_nothing(
    machine: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Guest, "boot", stop)
    assert main(arguments()) == 130
    assert capsys.readouterr().err == "oracle: stopped, nothing written\n"
    assert list(tmp_path.iterdir()) == []
    assert machine


@pytest.mark.usefixtures("machine")
def test_a_list_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests = tmp_path / "story.txt"
    requests.write_text("# one\na 0 0 m\nf 0\nh\n")
    assert main(arguments("--requests", str(requests))) == 0
    assert (tmp_path / "6.1-story.txt.zst").exists()
    requests.write_text("a 0 0 m\nfree 0\n")
    assert main(arguments("--requests", str(requests), "--force")) == 2
    assert "line 2: 'free 0' is no request" in capsys.readouterr().err


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--profile", "wrong"), "no profile 'wrong': one of ord0, "),
        (("--zone-mib", "100"), "a zone of 100 MiB"),
        (("--early", "--accel", "kvm"), "cannot be recorded under KVM"),
        (("--nops", "0"), "--nops 0"),
        (("--boots", "0"), "--boots 0"),
        (("--requests", "missing.txt"), "missing.txt cannot be read"),
        (("--out", "no/such/name.zst"), "no/such is no folder"),
        (("--out", "null\0name"), "cannot be written"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    more: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(*more)) == 2
    said = capsys.readouterr().err
    assert said.startswith("oracle: ")
    assert said.count("\n") == 1
    assert re.search(complaint, said)


def test_missing_programs_are_one_line_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(arguments("--cache", str(tmp_path / "cache"))) == 2
    said = capsys.readouterr().err
    assert "qemu-system-x86_64" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("E ops", "x ops", "cut off"),
        ("overflow=0", "overflow=1", "ask for fewer requests"),
        ("why=0 ", "why=0 async_mig=3 ", "something else than the requests moved"),
        ("foreign=3\nE", "foreign=4\nE", "something else than the requests allocated"),
    ],
)
def test_a_record_that_is_not_whole_is_refused(old: str, new: str, complaint: str) -> None:
    check_whole(RECORD)
    with pytest.raises(GuestError, match=complaint):
        check_whole(RECORD.replace(old, new))


def test_boots_that_begin_in_another_state_cost_a_boot_more() -> None:
    other = RECORD.replace("L 0 0 3", "L 1 0 2").replace("m 5", "m 6")
    boots = [RECORD, other, RECORD.replace("t=7", "t=8")]
    assert verified(lambda: boots.pop(0), 2) == RECORD
    assert boots == []
    assert verified(lambda: RECORD, 1) == RECORD


def test_boots_that_never_begin_alike_are_given_up() -> None:
    states = iter(range(10, 20))
    with pytest.raises(VerifyError, match="no 2 of them began in the same state"):
        verified(lambda: RECORD.replace("L 0 0 3", f"L 0 0 {next(states)}"), 2)
    assert next(states) == 10 + 2 + SPARE_BOOTS


def test_a_summary_counts() -> None:
    assert summary(RECORD).startswith("4 requests")


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"

    def half() -> None:
        with whole_file(target) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert list(tmp_path.iterdir()) == []
    with whole_file(target) as draft:
        draft.write_text("all")
    assert target.read_text() == "all"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"

    def half() -> None:
        with whole_folder(target) as draft:
            (draft / "a").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with whole_folder(target) as draft:
            (draft / "a").write_text(text)
    assert (target / "a").read_text() == "second"


@pytest.mark.parametrize(
    "arguments", [[], ["--kernel", "6.12", "--seed", "abc"], ["--kernel"], ["--kernel", "6.12", "--pcp", "2"]]
)
def test_a_wrong_argument_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("oracle: ")
    assert err.count("\n") == 1
