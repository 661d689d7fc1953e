"""``pageblock try offline`` as a person or a script calls it."""

import json
from pathlib import Path

import pytest

from .test_doctor import run


def guest(shared: Path) -> list[str]:
    return ["--from", str(shared / "machines" / "guest-6.1.192")]


def test_a_block_that_goes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "offline", "--recorded", "--block", "35", "--release", "6.1")
    assert (code, err) == (0, "")
    assert "memory35 of 128 MiB offline" in out
    assert "Assumed: memory blocks of 128 MiB, as x86-64 chooses them: memory ends below 64 GiB" in out
    assert "YES, 1 of 1 memory blocks under 6.1: each was isolated, emptied and taken out: 23,325 pages moved" in out
    assert "do_migrate_range" in out


@pytest.mark.slow
def test_blocks_that_do_not_all_go(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "offline", "--recorded", "--block", "32-35")
    assert (code, err) == (1, "")
    assert "PART, 1 of 4 memory blocks under 6.1: failure to isolate range: the page is in use" in " ".join(out.split())
    assert "Release by release" in out


@pytest.mark.slow
def test_json_is_the_whole_answer(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--block", "22-35", "--release", "5.15", "--release", "6.12", "--json"]
    # blocks 23 to 31 are the hole below 4 GiB
    code, _, err = run(capsys, "try", "offline", *guest(shared), *args)
    assert code == 2
    assert "memory24 of" in err or "memory23 of" in err
    code, out, _ = run(capsys, "try", "offline", *guest(shared), "--block", "34-35", *args[2:])
    found = json.loads(out)
    assert (code, found["had"], [trial["release"] for trial in found["trials"]]) == (1, False, ["5.15", "6.12"])
    first = found["trials"][0]
    assert (first["asked"], first["got"], first["unit"]) == (2, 1, "memory blocks")
    assert first["ranges"] == [[0x118000, 0x120000]]
    assert first["counters"]["node 0 Normal/present"] < 0xC0000
    assert {"function", "start_pfn", "nr_pages", "errno", "moved", "dropped", "pfn", "rule", "note"} == set(
        first["steps"][0]
    )


@pytest.mark.slow
def test_larger_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "try", "offline", "--recorded", "--block", "17", "--block-size", "256M", "--release", "6.1"
    )
    assert code == 1
    assert "Assumed: memory blocks of 256 MiB, as --block-size says" in out
    assert "memory17 of 256 MiB offline" in out


@pytest.mark.slow
def test_a_machine_with_cma(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """zynq: reserved pages in the first block, CMA in the second, whichever page isolation meets first."""
    zynq = str(shared / "machines" / "zynq-256M-kpageflags")
    code, out, _ = run(capsys, "try", "offline", "--from", zynq, "--block", "0-1", "--json")
    found = json.loads(out)
    assert code == 1
    assert all(trial["got"] == 0 and "failure to isolate range" in trial["explanation"] for trial in found["trials"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--block", "x"], "no block or range"),
        (["--block", "5-"], "no block or range"),
        (["--block", "-3"], "no block or range"),
        (["--block", "1-2-3"], "no block or range"),
        (["--block", "٣"], "no block or range"),
        (["--block", "33-32"], "ends before it begins: write 32-33"),
        (["--block", "999"], "does not exist or is offline"),
        (["--block", "0-999999999"], "does not exist or is offline: choose among 0-"),
        (["--block", "32", "--block-size", "100M"], "a whole number of sections of 128 MiB"),
        (["--block", "32", "--block-size", "soon"], "is not a size"),
        (["--block", "32", "--release", "7.0"], "unknown release"),
        ([], "Missing option '--block'"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], args: list[str], words: str) -> None:
    code, out, err = run(capsys, "try", "offline", "--recorded", *args)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_machine_without_kpageflags_is_refused(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "offline", "--from", str(shared / "machines" / "csm442"), "--block", "0")
    assert (code, out) == (2, "")
    assert "without kpageflags" in err
    assert err.count("\n") == 1
