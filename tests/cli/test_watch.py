"""``pageblock watch`` as a person or a script calls it."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine

RECORDED = str(recorded_machine())
WATCH = [sys.executable, "-m", "pageblock", "watch", "--from", RECORDED, "--size", "1G", "--every", "0.2"]
SLAB = 1 << 7


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["watch", *args])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The recorded machine with plain kpageflags and without kpagecount."""
    found = tmp_path / "machine"
    shutil.copytree(RECORDED, found)
    (found / "kpagecount.zst").unlink()
    packed = found / "kpageflags.zst"
    with packed.open("rb") as file:
        (found / "kpageflags").write_bytes(zstandard.ZstdDecompressor().stream_reader(file).read())
    packed.unlink()
    return found


def test_a_recording_that_is_rewritten_is_followed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = np.fromfile(folder / "kpageflags", "<u8")
    # 0x15ce00 is the cheapest 2 MiB range of the recording: seven pages to move
    words[0x15CE00] = SLAB
    turns = iter([words.tobytes(), words.tobytes()[:-3], words.tobytes()])
    pauses: list[float] = []

    def rewrite(pause: float) -> None:
        pauses.append(pause)
        (folder / "kpageflags").write_bytes(next(turns))

    monkeypatch.setattr(time, "sleep", rewrite)
    code, out, _ = run(capsys, "--from", str(folder), "--size", "2M", "--count", "4", "--every", "60", "--jsonl")
    one, two, three, four = (json.loads(line) for line in out.splitlines())
    assert code == 0
    assert 50 < pauses[0] <= 60
    assert one["sizes"][0]["since"] is None
    since = two["sizes"][0]["since"]
    assert (since["blocked"], since["movable"], since["changed"]) == (1, -1, 1)
    assert since["came"]["listed"][0]["blocker_pfn"] == 0x15CE00
    assert "cut off" in three["error"]
    assert four["sizes"][0]["since"]["changed"] == 0


def test_without_a_terminal_each_round_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--from", RECORDED, "--size", "1G", "--count", "2", "--every", "0.1")
    assert (code, err) == (0, "")
    assert out.count("1 GiB  1 free, 0 movable, 4 blocked\n") == 2


def test_the_rules_are_those_of_the_machines_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--from", RECORDED, "--size", "1G", "--count", "1", "--jsonl")
    assert [size["release"] for size in json.loads(out)["sizes"]] == ["6.1"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--every", "0"], "is not between 0.1 and 86400 seconds"),
        (["--every", "nan"], "is not between 0.1 and 86400 seconds"),
        (["--every", "inf"], "is not between 0.1 and 86400 seconds"),
        (["--count", "0"], "0 is not in the range"),
        (["--from", "/nonexistent/folder"], "no such folder"),
        (["--from", RECORDED, "--size", "3M"], "power-of-two multiple"),
        (["--from", RECORDED, "--zone", "Nowhere"], "no zone 'Nowhere'"),
        (["--from", RECORDED, "--release", "9.9"], "unknown release"),
    ],
)
def test_a_wrong_argument_is_one_line_and_2(capsys: pytest.CaptureFixture[str], args: list[str], says: str) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_well_with_whole_lines(number: int) -> None:
    with subprocess.Popen([*WATCH, "--jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first: dict[str, Any] = json.loads(process.stdout.readline())
        process.send_signal(number)
        rest, err = process.stdout.read(), process.stderr.read()
    assert (process.returncode, err) == (0, "")
    assert first["round"] == 1
    assert [json.loads(line)["round"] for line in rest.splitlines()] == list(range(2, 2 + len(rest.splitlines())))


def test_the_terminal_is_sane_after_ctrl_c() -> None:
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    # a session of its own whose terminal is the follower, so that ^C typed at the leader reaches it
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *WATCH], stdin=follower, stdout=follower, stderr=follower, env=environment
    ) as process:
        text = b""
        deadline = time.monotonic() + 60
        while b"round 2" not in text and time.monotonic() < deadline:
            if select.select([leader], [], [], 0.1)[0]:
                text += os.read(leader, 1 << 16)
        os.write(leader, b"\x03")
        code = process.wait(30)
        while select.select([leader], [], [], 0.2)[0]:
            text += os.read(leader, 1 << 16)
    after = termios.tcgetattr(follower)
    os.close(leader)
    os.close(follower)
    shown = text.decode()
    assert "round 2" in shown
    assert "▄▄" in shown
    assert code == 0
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert after == before
    assert "Traceback" not in shown
