"""``pageblock doctor`` as a person or a script calls it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine

RECORDED = str(recorded_machine())


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = main(list(args))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_recorded_machine_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "doctor", "--recorded")
    assert (code, err) == (0, "")
    assert "Release 6.1: YES for 2 MiB" in out
    assert "node 0 Normal, one cell = 32 MiB" in out
    assert "kernel objects (slab)" in out


def test_json_has_a_row_for_each_size_and_release(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor", "--from", RECORDED, "--json")
    report = json.loads(out)
    assert code == 0
    assert [(row["nr_pages"], row["release"]) for row in report["sizes"]] == [
        (size, release) for size in (512, 1024, 16384, 262144) for release in ("5.15", "seed", "6.1")
    ]
    row = report["sizes"][2]
    assert row["free"] + row["movable"] + row["blocked"] == row["ranges"]
    letters = "".join(zone["verdicts"] for zone in row["zones"])
    assert (letters.count("F"), letters.count("m"), letters.count("b")) == (row["free"], row["movable"], row["blocked"])
    assert len(row["cheapest"]) == 5


def test_the_pageblock_rule_gives_more(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "doctor", "--from", RECORDED, "--json", "--size", "2M")
    had = {row["release"]: row["free"] + row["movable"] for row in json.loads(out)["sizes"]}
    assert had["6.1"] > had["5.15"]
    assert had["6.1"] == had["seed"]


def test_ranges_lists_cost_and_blockers(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "doctor", "--recorded", "--size", "1G", "--release", "6.1", "--json", "--ranges")
    zones = json.loads(out)["sizes"][0]["zones"]
    blocked = [found for zone in zones for found in zone["ranges"] if found["verdict"] == "blocked"]
    assert len(blocked) == 4
    assert all(found["reasons"] and found["blocker_pfn"] is not None for found in blocked)


def test_zone_and_release_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor", "--recorded", "--zone", "normal", "--release", "seed-p3", "--json")
    report = json.loads(out)
    assert code == 0
    assert [zone["name"] for zone in report["zones"]] == ["node 0 Normal"]
    assert {row["release"] for row in report["sizes"]} == {"seed-p3"}


def test_without_kpageflags_free_memory_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("buddyinfo", "zoneinfo", "meminfo"):
        shutil.copy(Path(RECORDED) / name, tmp_path)
    code, out, _ = run(capsys, "doctor", "--from", str(tmp_path), "--json")
    report = json.loads(out)
    assert code == 0
    assert report["sizes"] == []
    bounds = {b["nr_pages"]: (b["free_at_least"], b["free_at_most"]) for b in report["bounds"]}
    # order 9 and 10 of buddyinfo: 1 + 2 + 47 and 3 + 732 + 302
    assert bounds[512] == (50 + 2 * 1037, 50 + 2 * 1037)
    assert bounds[1024][0] == 1037
    code, out, _ = run(capsys, "doctor", "--from", str(tmp_path))
    assert "as root" in out


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def machine(tmp_path: Path) -> Path:
    """A copy of the recorded machine with plain kpageflags and kpagecount."""
    import zstandard

    folder = tmp_path / "machine"
    shutil.copytree(RECORDED, folder)
    for name in ("kpageflags", "kpagecount"):
        packed = folder / f"{name}.zst"
        with packed.open("rb") as file:
            (folder / name).write_bytes(zstandard.ZstdDecompressor().stream_reader(file).read())
        packed.unlink()
    return folder


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--size", "3M"], "power-of-two multiple of the page"),
        (["--size", "2048"], "power-of-two multiple of the page"),
        (["--size", "huge"], "is not a size"),
        (["--release", "9.9"], "unknown release '9.9'"),
        (["--release", "6.1+p1"], "p1 is no switch of 6.1"),
        (["--zone", "Nowhere"], "no zone 'Nowhere' here: choose from 0:DMA"),
        (["--ranges"], "--ranges goes with --json"),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_wrong_argument_is_one_line_and_2(capsys: pytest.CaptureFixture[str], args: list[str], says: str) -> None:
    code, out, err = run(capsys, "doctor", "--recorded", *args)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", ["absent", "file", "empty", "cut", "count", "zst"])
def test_an_unusable_folder_is_one_line_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    folder = machine(tmp_path)
    if what == "absent":
        folder = tmp_path / "nowhere"
    elif what == "file":
        folder = folder / "meminfo"
    elif what == "empty":
        folder = tmp_path / "empty"
        folder.mkdir()
    elif what == "cut":
        cut(folder / "kpageflags")
    elif what == "count":
        (folder / "kpagecount").write_bytes((folder / "kpagecount").read_bytes()[:-8])
    else:
        (folder / "kpageflags").unlink()
        shutil.copy(Path(RECORDED) / "kpageflags.zst", folder)
        cut(folder / "kpageflags.zst")
    code, out, err = run(capsys, "doctor", "--from", str(folder))
    assert (code, out) == (2, "")
    assert err.startswith("pageblock: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("form", ["--json", ""])
def test_a_closed_pipe_is_no_error(form: str) -> None:
    shell = f"{sys.executable} -m pageblock doctor --recorded {form} | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout[1:] == "0\n"
    assert done.stderr == ""


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "doctor" in out


def test_brackets_in_a_machines_own_words_are_brackets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a file of /proc says is text, never markup of the terminal."""
    shutil.copytree(recorded_machine(), tmp_path / "odd")
    (tmp_path / "odd" / "vmstat").write_text("[/] [bold]x[/bold]\n")
    assert main(["doctor", "--from", str(tmp_path / "odd"), "--no-remedies"]) in (0, 2)
    told = capsys.readouterr()
    assert "[/]" in told.out + told.err
