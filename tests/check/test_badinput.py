"""The generator of bad input: it is reproducible, finds what is planted, and finds nothing in what it was run on."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from pageblock.check.badinput import campaign as module
from pageblock.check.badinput.campaign import CALLS, KINDS, MADE, Case, Result, Target, campaign, cases_of, run_case
from pageblock.check.badinput.events import FORMS, sound_llfree, sound_text
from pageblock.check.badinput.journal import Journal
from pageblock.check.badinput.judge import Fault, Outcome, judge
from pageblock.check.badinput.lab import sound_workload
from pageblock.check.badinput.machine import Invocation, small_machine
from pageblock.check.badinput.trace import sound_trace
from pageblock.cli import main
from pageblock.cli.check.bad_input import surface
from pageblock.errors import InputError

QUICK = [kind for kind in KINDS if kind != "state"]


def run(kind: str, folder: Path, number: int) -> str:
    place = folder / str(number)
    place.mkdir()
    here = os.getcwd()
    try:
        return run_case(Case(kind, 7, number), Target(main, surface()), place)
    finally:
        os.chdir(here)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in QUICK if kind not in ("arguments", "consumers")])
def test_some_cases_of_each_kind(kind: str, tmp_path: Path) -> None:
    """Any failure replays by ``pageblock check bad-input --seed 7 --kind KIND --case N``."""
    for number in range(60 if kind in CALLS else 5 if kind in MADE else 8):
        assert run(kind, tmp_path, number) in ("answered", "no", "refused"), number


@pytest.mark.parametrize("seed", range(4))
def test_a_machine_is_sound_before_it_is_broken(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in small_machine(Random(seed)).items():
        if data:
            (tmp_path / name).write_bytes(data)
    assert main(["doctor", "--from", str(tmp_path), "--no-remedies"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("seed", range(4))
def test_a_trace_is_sound_before_it_is_broken(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("\n".join(sound_trace(Random(seed))) + "\n")
    assert main(["replay", str(path)]) == 0, capsys.readouterr()


def says(text: str, code: int, *, err: str = "", file: Path | None = None) -> object:
    def planted(args: list[str]) -> int:
        import sys

        print(text, end="")
        print(err, end="", file=sys.stderr)
        if file is not None:
            file.write_text("half")
        return code

    return planted


@pytest.mark.parametrize(
    ("text", "code", "err", "kind"),
    [
        ("", 3, "", "exit code 3"),
        ("half an answer", 2, "pageblock: this is wrong, do that\n", "something was printed"),
        ("", 2, "pageblock: this is wrong,\ndo that\n", "refused in 2 lines"),
        ("", 2, "something strange happened\n", "not a clear line"),
        ("", 2, "pageblock: the name \x1b[2J is strange\n", "control characters on stderr"),
        ("a\x1b[2J", 0, "", "control characters on stdout"),
        ("", 0, "pageblock: a warning of numpy's\n", "something is on stderr"),
        ('{"a": NaN}', 0, "", "no JSON"),
    ],
)
def test_what_breaks_a_rule_is_found(text: str, code: int, err: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match=kind.replace("(", "")):
        judge(Invocation(("doctor", "--json")), says(text, code, err=err), tmp_path)  # type: ignore[arg-type]


def test_a_file_written_after_all_is_found(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    planted = says("", 2, err="pageblock: this is wrong, do that\n", file=tmp_path / "x")
    with pytest.raises(Fault, match="files changed"):
        judge(Invocation(("doctor",)), planted, tmp_path)  # type: ignore[arg-type]


def test_a_case_that_dies_or_does_not_end_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(random: Random) -> Outcome:
        what = random.random()
        if what < 0.2:
            os.kill(os.getpid(), signal.SIGSEGV)
        if what > 0.95:
            time.sleep(60)
        return "answered"

    monkeypatch.setitem(CALLS, "zone", die)
    cases = [Case("zone", 1, number) for number in range(40)]
    bad = [case.number for case in cases if not 0.2 <= case.random().random() <= 0.95]
    *_, result = campaign(cases, Target(main, {}), 2, 1.0)
    assert result.total == 40
    assert result.ended["zone"]["failed"] == len(bad)
    assert {finding.case.number for finding in result.findings} <= set(bad)
    assert any("SIGSEGV" in finding.kind for finding in result.findings)


def test_cases_depend_on_nothing_but_kind_seed_and_number() -> None:
    few, many = cases_of(list(KINDS), 3, 500), cases_of(list(KINDS), 3, 5000)
    assert set(few) <= set(many)
    assert len(set(many)) == 5000
    assert Case("zone", 3, 1).random().random() == Case("zone", 3, 1).random().random()


@pytest.mark.parametrize("seed", range(4))
def test_a_workload_is_sound_before_it_is_broken(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.toml"
    path.write_text(sound_workload(Random(seed)))
    args = ["--memory", "16M", "--ticks", "2", "--cma", "4M"]
    assert main(["run", str(path), *args]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("form", [*FORMS, "llfree"])
def test_events_are_sound_before_they_are_broken(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t"
    path.write_bytes(sound_llfree(Random(1)) if form == "llfree" else sound_text(Random(1), form).encode())
    assert main(["import", str(path), str(tmp_path / "a.parquet")]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(("files", "lines", "sound"), [(2, 2, True), (2, 3, False), (1, 2, False)])
def test_a_line_for_each_file_that_is_named(files: int, lines: int, sound: bool, tmp_path: Path) -> None:
    asked = Invocation(("replay", *(f"f{n}" for n in range(files)), "--json"))
    planted = says("", 2, err="pageblock: this is wrong, do that\n" * lines)
    if sound:
        assert judge(asked, planted, tmp_path) == "refused"  # type: ignore[arg-type]
    else:
        with pytest.raises(Fault, match=f"refused in {lines} lines"):
            judge(asked, planted, tmp_path)  # type: ignore[arg-type]


def test_a_log_counts_finished_chunks_and_tells_their_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that was cut short, as by kill -9, is run again; the others are not."""

    def odd(random: Random) -> Outcome:
        if random.random() < 0.05:
            raise Fault("planted", "here")
        return "answered"

    monkeypatch.setattr(module, "BATCH", 10)
    monkeypatch.setitem(CALLS, "zone", odd)
    path = tmp_path / "log"

    def search() -> tuple[Result, list[int]]:
        journal, ran = Journal(path, ("zone",), 1), []

        def finished(chunk: int, part: Result) -> None:
            ran.append(chunk)
            journal.add(chunk, part)

        *_, result = campaign(cases_of(["zone"], 1, 35), Target(main, {}), 1, 10.0, journal.done, finished)
        return result, ran

    first, ran = search()
    assert ran == [0, 1, 2, 3]
    assert first.findings
    text = path.read_bytes()
    path.write_bytes(text[:-20])
    second, ran = search()
    assert ran == [3]
    assert path.read_bytes().splitlines()[:3] == text.splitlines()[:3]
    assert (second.cases, second.repeated) == (first.cases, first.repeated)
    assert [f.case for f in second.findings] == [f.case for f in first.findings]
    assert search()[1] == []


@pytest.mark.parametrize("line", ["x", "{}", '{"plan": {"seed": 1}, "chunk": 0}', "[1]"])
def test_a_file_that_is_no_log_is_refused_and_left_alone(line: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="line 1: this is no line of a log"):
        Journal(path, ("zone",), 1)
    assert path.read_text() == line + "\n"


def test_what_needs_more_memory_than_there_is_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def greedy(*args: object, **named: object) -> None:
        raise MemoryError("Unable to allocate 8.00 GiB for an array")

    monkeypatch.setattr("pageblock.cli.releases.command.callback", greedy)
    assert main(["releases"]) == 2
    assert "8.00 GiB for an array: more than there is" in capsys.readouterr().err
