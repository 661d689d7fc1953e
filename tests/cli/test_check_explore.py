"""``pageblock check explore``: exit codes, files, going on, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pageblock.cli import main

SMALL = ("--pages", "8", "--release", "6.12")


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["check", "explore", *args])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def told(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    code, out, _ = run(capsys, *args, "--json")
    found: dict[str, Any] = json.loads(out)
    return {"code": code, **found}


def test_the_bug_is_shown_with_its_shortest_sequence_and_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "naive-1.txt"
    code, out, _ = run(capsys, "--release", "naive", "--trace", str(trace))
    assert code == 1
    assert "VIOLATED after" in out
    assert "free pages counted 17, really free 15" in out
    assert "1  isolate [2, 4)" in out
    assert "the same steps under 5.15, seed, 6.1, 6.12, 6.19: clean" in out
    assert f"pageblock replay {trace}" in out
    assert main(["replay", str(trace)]) == 1
    replayed = capsys.readouterr().out
    assert "promise 'invariants'" in replayed
    assert "counted 17, really free 15" in replayed


def test_a_release_can_be_held_to_what_another_promises(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *SMALL, "--held-to", "seed")
    assert found["code"] == 1
    assert found["violation"]["promise"] == "kept isolated"


def test_an_exhausted_zone_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *SMALL, "--requests", "1")
    assert found["code"] == 0
    assert found["exhausted"]
    assert found["stopped"] == ""
    assert found["violation"] is None
    assert found["states"] > 100
    assert "zone" in found["promises"]
    assert 0 < found["collision_bound"] < 1e-20


def test_a_bounded_depth_is_not_called_exhausted(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *SMALL, "--depth", "2")
    assert code == 0
    assert "all sequences up to the depth asked for" in out
    assert "Known weakness of release 6.12" in out


def test_what_was_kept_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "states.npz"
    whole = told(capsys, *SMALL)
    code, out, _ = run(capsys, *SMALL, "--depth", "4", "--out", str(kept))
    assert code == 0
    assert f"--resume {kept}" in out
    part = told(capsys, "--resume", str(kept), "--depth", "6")
    assert (part["stopped"], part["depth"]) == ("depth", 6)
    rest = told(capsys, "--resume", str(kept), "--depth", "99")
    for name in ("states", "transitions", "depth", "exhausted"):
        assert rest[name] == whole[name]
    assert rest["weakness"]["transitions"] == whole["weakness"]["transitions"]


def test_a_violation_behind_a_checkpoint_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "states.npz"
    assert run(capsys, "--release", "naive", "--depth", "2", "--out", str(kept))[0] == 0
    code, out, _ = run(capsys, "--resume", str(kept), "--depth", "5")
    assert code == 1
    assert "3  undo isolation of [2, 4)" in out


def test_time_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "states.npz"
    found = told(capsys, "--requests", "8", "--time", "0", "--out", str(kept))
    assert (found["code"], found["stopped"], found["exhausted"]) == (0, "time", False)
    again = told(capsys, "--resume", str(kept), "--time", "0")
    assert again["states"] > found["states"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_it_keeps_a_whole_file(how: signal.Signals, tmp_path: Path) -> None:
    kept = tmp_path / "states.npz"
    command = [sys.executable, "-m", "pageblock", "check", "explore", "--requests", "6"]
    first = subprocess.run([*command, "--depth", "3", "--out", str(kept)], check=True, capture_output=True)
    assert b"No violation" in first.stdout
    resume = [sys.executable, "-m", "pageblock", "check", "explore", "--resume", str(kept), "--depth", "60"]
    with subprocess.Popen([*resume, "--json"], stdout=subprocess.PIPE) as running:
        time.sleep(2)
        os.kill(running.pid, how)
        out, _ = running.communicate(timeout=60)
    if how is signal.SIGINT:
        assert running.returncode == 0
        assert json.loads(out)["stopped"] == "interrupted"
    done = subprocess.run([*resume, "--time", "0", "--json"], check=True, capture_output=True)
    assert json.loads(done.stdout)["states"] >= 1000
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".part")] == ["states.npz"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--pages", "4"), "choose 8 to 64"),
        (("--pages", "65"), "choose 8 to 64"),
        (("--pages", "9"), "no whole number of pageblocks"),
        (("--depth", "-1"), "depth is -1"),
        (("--requests", "0"), "leave nothing to explore"),
        (("--isolations", "-1"), "isolations is -1"),
        (("--pageblock-order", "3", "--max-order", "2"), "pageblock_order 3 exceeds max_order 2"),
        (("--max-order", "7"), "more than 64 pages"),
        (("--max-order", "-1"), "max_order is -1"),
        (("--release", "6.2"), "unknown release"),
        (("--operations", "alloc,swap"), "no operation 'swap'"),
        (("--operations", ""), "nothing to explore"),
        (("--types", "cma"), "none of unmovable, movable, reclaimable"),
        (("--lengths", "1,x"), "no list of numbers"),
        (("--lengths", "17"), "does not fit 16"),
        (
            ("--operations", "cma", "--pages", "8", "--release", "5.15", "--max-order", "3"),
            "aligns CMA areas to 8 pages",
        ),
        (("--held-to", "6.2"), "unknown release"),
        (("--jobs", "3"), "--jobs"),
        (("--resume", "nothing.npz"), "there is no such file"),
        (("--resume", "nothing.npz", "--pages", "8"), "--pages: a file to go on with decides this itself"),
        (("--out", "no/such/folder/states.npz"), "no folder"),
    ],
)
def test_bad_input_is_one_line(args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *args)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_a_broken_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "states.npz"
    assert run(capsys, *SMALL, "--depth", "3", "--out", str(kept))[0] == 0
    whole = kept.read_bytes()
    for broken in (b"", b"nothing", whole[: len(whole) // 2], whole[:-30]):
        kept.write_bytes(broken)
        code, out, err = run(capsys, "--resume", str(kept))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "no whole exploration" in err


@pytest.mark.parametrize("name", ["seen0", "now0", "next0", "origins0", "told"])
def test_nothing_reaches_the_loop_that_was_changed_since_it_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """An archive whose own sums are right, with one bit of one array another: the loop would trust it."""
    kept = tmp_path / "states.npz"
    assert run(capsys, *SMALL, "--depth", "3", "--out", str(kept))[0] == 0
    with np.load(kept) as file:
        arrays = {key: file[key] for key in file.files}
    changed = arrays[name].copy() if arrays[name].size else np.zeros(3, arrays[name].dtype)
    changed.view(np.uint8).reshape(-1)[-3] ^= 1
    np.savez(kept, **{**arrays, name: changed})
    code, out, err = run(capsys, "--resume", str(kept))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no whole exploration" in err


def test_an_archive_with_another_version_in_its_header_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "states.npz"
    assert run(capsys, *SMALL, "--depth", "1", "--out", str(kept))[0] == 0
    whole = bytearray(kept.read_bytes())
    # version needed to extract, in the central directory
    whole[whole.index(b"PK\x01\x02") + 6] = 99
    kept.write_bytes(whole)
    code, out, err = run(capsys, "--resume", str(kept))
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_files_that_are_there_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "states.npz"
    kept.write_text("mine")
    code, _, err = run(capsys, *SMALL, "--depth", "1", "--out", str(kept))
    assert code == 2
    assert "there already" in err
    assert kept.read_text() == "mine"
