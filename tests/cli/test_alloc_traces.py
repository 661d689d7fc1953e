"""``pageblock record``, ``import`` and ``export`` as a person or a script calls them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pageblock.cli import main
from pageblock.errors import InputError
from pageblock.machine.alloc_events import read_events
from pageblock.machine.tracefs import mounted_tracefs
from tests.machine.alloc_data import TEXTS
from tests.view.test_perfetto import Decoded

PERF, FTRACE = str(TEXTS["perf script"]), str(TEXTS["ftrace text"])


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = main(list(args))
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line of a refusal."""
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"pageblock: .*\n", err)
    return err


def test_a_trace_is_imported_and_what_is_in_it_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out_path = tmp_path / "a.parquet"
    code, out, err = run(capsys, "import", PERF, str(out_path))
    assert (code, err) == (0, "")
    assert out.startswith(f"{out_path}: ")
    assert "perf script · Linux 6.18.44 · 2 CPUs · 120 events" in out
    code, out, _ = run(capsys, "import", PERF, str(out_path), "--force", "--json")
    told = json.loads(out)
    assert (code, told["events"], told["kernel"], told["machine"], told["lost"]) == (0, 120, "6.18.44", "x86_64", 0)
    assert told["counts"] == read_events(out_path).counts()


def test_lost_events_and_unread_lines_are_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = tmp_path / "t.txt"
    trace.write_text("CPU:3 [LOST 7 EVENTS]\nwhat is this\n" + TEXTS["trace-cmd report"].read_text())
    code, out, _ = run(capsys, "import", str(trace), str(tmp_path / "a.parquet"))
    assert code == 0
    assert "LOST: 7 events were lost" in out
    assert "1 lines are other events or none, e.g. 'what is this'" in out


@pytest.mark.parametrize("what", ["nowhere", "empty", "there", "seconds"])
def test_bad_input_is_one_line_and_nothing_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str
) -> None:
    source, out = tmp_path / "t.txt", tmp_path / "a.parquet"
    source.write_text("")
    if what == "nowhere":
        assert "No such file" in refused(capsys, "import", str(tmp_path / "no"), str(out))
    elif what == "empty":
        assert "empty" in refused(capsys, "import", str(source), str(out))
    elif what == "seconds":
        for value in ("0", "-1", "nan", "1e9"):
            assert "not between 0 and" in refused(capsys, "record", "--seconds", value, str(out))
    else:
        out.write_text("mine")
        assert "there already" in refused(capsys, "import", PERF, str(out))
        assert "there already" in refused(capsys, "record", "--seconds", "1", str(out))
        assert "there already" in refused(capsys, "export", PERF, str(out))
        assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "t.txt"] if what == "there" else ["t.txt"]


def test_an_imported_trace_is_exported_and_decoded_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events, out_path = tmp_path / "a.parquet", tmp_path / "a.perfetto-trace"
    run(capsys, "import", FTRACE, str(events))
    code, out, err = run(capsys, "export", str(events), str(out_path), "--release", "6.12", "--json")
    assert (code, err) == (0, "")
    told: dict[str, Any] = json.loads(out)
    found = Decoded(out_path.read_bytes())
    assert told["counters"] == sum(track.HasField("counter") for track in found.tracks.values()) > 5
    [about] = [args for track, _, _, _, args in found.slices if track == "about"]
    assert about["release"] == told["release"] == "6.12"
    assert found.counters["free pages"][0][0] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere",), "No such file"),
        ((PERF,), "goes through pageblock import first"),
        ((PERF, "--release", "7.99"), "7.99"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, "export", args[0], str(tmp_path / "x"), *args[1:])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tracing() -> None:
    """Skipped, visibly, where nothing can be recorded."""
    try:
        with mounted_tracefs() as found:
            os.listdir(found / "instances")
    except (InputError, OSError) as error:
        pytest.skip(f"nothing can be recorded here: {error}")


@pytest.mark.usefixtures("tracing")
def test_this_machine_is_recorded_and_exported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = tmp_path / "a.parquet"
    code, out, err = run(capsys, "record", "--seconds", "0.3", str(events), "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["kernel"] == os.uname().release
    assert told["counts"]["mm_page_alloc"] > 0
    assert read_events(events).table.num_rows == told["events"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert run(capsys, "export", str(events), str(tmp_path / "a.perfetto-trace"))[0] == 0


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_tracing_as_it_was_and_writes_nothing(tmp_path: Path, number: int) -> None:
    with mounted_tracefs() as top:
        before = {path: path.read_text() for path in (top / "events").glob("*/mm_page*/enable")}
        # a job of a shell in the background would inherit that Ctrl-C is ignored
        process = subprocess.Popen(
            [sys.executable, "-m", "pageblock", "record", "--seconds", "60", str(tmp_path / "a.parquet")],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        instance = top / "instances" / f"pageblock-{process.pid}"
        try:
            end = time.monotonic() + 60
            while not (instance / "tracing_on").exists() or (instance / "tracing_on").read_text().strip() != "1":
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(0.2)
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        assert (process.returncode, err.strip()) == (2, "pageblock: interrupted: nothing was written")
        assert not instance.exists()
        assert {path: path.read_text() for path in before} == before
    assert list(tmp_path.iterdir()) == []


def test_without_the_right_it_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pageblock.machine.tracefs.PLACES", ())
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "run as root" in refused(capsys, "record", "--seconds", "1", str(tmp_path / "a.parquet"))


def test_a_line_that_is_none_is_told_without_what_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "t.txt"
    trace.write_text("what\x7f\x1b is this\n" + TEXTS["trace-cmd report"].read_text())
    code, out, _ = run(capsys, "import", str(trace), str(tmp_path / "a.parquet"), "--json")
    assert code == 0
    assert json.loads(out)["unread_like"] == "what\\x7f\\x1b is this"
    assert out.strip().isprintable()
