"""The generator of bad input: it is reproducible, finds what is planted, and finds nothing in what it was run on."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from pageblock.check.badinput.campaign import CALLS, KINDS, Case, Target, campaign, cases_of, run_case
from pageblock.check.badinput.judge import Fault, Outcome, judge
from pageblock.check.badinput.machine import Invocation, small_machine
from pageblock.check.badinput.trace import sound_trace
from pageblock.cli import main
from pageblock.cli.check.bad_input import surface

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
    for number in range(60 if kind in CALLS else 8):
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
