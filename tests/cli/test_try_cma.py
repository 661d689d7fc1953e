"""``pageblock try cma`` as a person or a script calls it."""

import json
from pathlib import Path

import pytest

from pageblock.cli import main
from pageblock.consumers.cma import CmaArea
from pageblock.consumers.dma import CmaParameter
from pageblock.lab.areas import NoPlace, place_area, recorded_areas
from pageblock.lab.trial import TRIED_RELEASES
from pageblock.machine import read_machine
from pageblock.machine.zones import snapshot_memory

from .test_doctor import RECORDED, run


def trials(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, dict[str, object]]]:
    code, out, err = run(capsys, "try", "cma", *args, "--json")
    assert err == ""
    found = json.loads(out)
    return code, {trial["release"]: trial for trial in found["trials"]}


@pytest.mark.slow
def test_an_area_that_boot_could_have_made(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = trials(capsys, "--recorded", "--area", "256M", "--alloc", "16M", "--count", "16")
    assert code == 0
    assert list(found) == ["6.1", *(name for name in TRIED_RELEASES if name != "6.1")]
    first = found["6.1"]
    assert (first["asked"], first["got"], len(first["steps"])) == (16, 16, 16)  # type: ignore[arg-type]
    assert first["counters"]["cma_alloc_success"] == 16  # type: ignore[index]
    assert first["counters"]["reserved/alloc_pages_success"] == 65536  # type: ignore[index]


@pytest.mark.slow
def test_one_more_than_the_area_holds_is_a_no(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "cma", "--recorded", "--area", "256M", "--alloc", "16M", "--count", "17")
    assert (code, err) == (1, "")
    assert "PART, 16 of 17 allocations of 16 MiB under 6.1" in out
    assert "-12: the bitmap has no such run of clear bits" in out
    assert "6.19     16 of 17" in out
    assert "only 0 pages of the area are available" in out


@pytest.mark.slow
def test_what_the_release_wants_of_the_area(capsys: pytest.CaptureFixture[str]) -> None:
    """A base that is a multiple of 2 MiB, but not of 4 MiB: 5.15 has no such area (the seed's patch 5)."""
    releases = [part for name in ("seed", "5.15", "seed-p5", "6.1") for part in ("--release", name)]
    _, free = trials(capsys, "--recorded", "--area", "2M", "--alloc", "4K", "--release", "6.1")
    base = int(str(free["6.1"]["ranges"]).strip("[]").split(",")[0]) << 12
    odd = base | 2 << 20
    _, found = trials(capsys, "--recorded", "--area", f"2M@{odd}", "--alloc", "4K", *releases)
    assert "must be aligned to 0x400000 bytes" in str(found["5.15"]["explanation"])
    assert found["seed-p5"]["explanation"] == found["5.15"]["explanation"]
    assert [found[name]["got"] for name in ("5.15", "seed-p5")] == [0, 0]
    assert main(["try", "cma", "--recorded", "--area", f"2M@{odd}", "--alloc", "4K", "--release", "5.15"]) == 2
    assert "5.15 refuses with -22 (cma_declare_contiguous_nid)" in capsys.readouterr().err


def test_a_release_that_stops_with_a_bug_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("--recorded", "--area", "256M", "--alloc", "3M", "--count", "8", "--release", "seed-as-posted")
    code, out, err = run(capsys, "try", "cma", *args)
    assert (code, err) == (1, "")
    assert "stops with a BUG" in out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--area", "3M", "--alloc", "1M"], "not aligned"),
        (["--area", "64M@1M", "--alloc", "1M"], "base 0x100000 is not aligned"),
        (["--area", "100G", "--alloc", "1M"], "of memory in all"),
        (["--area", "2M@64G", "--alloc", "1M"], "reaches beyond the end of memory"),
        (["--area", "64Q", "--alloc", "1M"], "is no size[@base[-limit]]"),
        (["--area", "64M@", "--alloc", "1M"], "is no size[@base[-limit]]"),
        (["--area", "M", "--alloc", "1M"], "is no size[@base[-limit]]"),
        (["--area", "0", "--alloc", "1M"], "is no size[@base[-limit]]"),
        (["--area", "8E", "--alloc", "1M"], "more than any machine has"),
        (["--area", "64M", "--alloc", "1"], "multiple of the page"),
        (["--area", "64M", "--alloc", "x"], "is not a size"),
        (["--area", "64M"], "--alloc"),
        (["--alloc", "1M"], "has no CMA pageblocks"),
        (["--area", "64M", "--alloc", "1M", "--count", "0"], "--count"),
        (["--area", "64M", "--alloc", "1M", "--align", "99"], "--align"),
        (["--area", "64M", "--alloc", "1M", "--release", "9.9"], "unknown release"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], args: list[str], words: str) -> None:
    code, out, err = run(capsys, "try", "cma", "--recorded", *args)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_the_areas_of_a_machine_that_has_some(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zynq = shared / "machines" / "zynq-256M-kpageflags"
    memory = snapshot_memory(read_machine(zynq), "6.1")
    (area,) = recorded_areas(memory)
    assert (area.base_pfn, area.count, area.used) == (0xE000, 4096, 68)
    # MemTotal's CmaFree says 4,028 pages
    assert memory.members[0].zone.nr_free_cma_pages == 4028
    code, out, err = run(capsys, "try", "cma", "--from", str(zynq), "--area", "4M", "--alloc", "1M", "--count", "15")
    assert (code, err) == (0, "")
    assert "--area 4M is not used" in out


@pytest.mark.parametrize("release", TRIED_RELEASES)
def test_a_placed_area_is_sound(release: str) -> None:
    """The zone keeps its invariants, and every page of the area is free or movable."""
    memory = snapshot_memory(read_machine(Path(RECORDED)), release)
    area = place_area(memory, CmaParameter(64 << 20), 4096)
    assert isinstance(area, CmaArea)
    zone = memory.member_of(area.base_pfn).zone
    zone.check()
    while (answer := area.alloc(4096, 8)).pfn is not None:
        zone.check()
    assert area.used == area.count, answer.reason
    assert area.release(area.base_pfn, 4096)
    zone.check()


def test_a_place_in_use_is_none() -> None:
    memory = snapshot_memory(read_machine(Path(RECORDED)), "6.1")
    zone = memory.members[-1].zone
    taken = CmaParameter(4 << 20, zone.start_pfn << 12, (zone.start_pfn << 12) + (4 << 20))
    assert isinstance(place_area(memory, taken, 4096), NoPlace)
    past = CmaParameter(4 << 20, 1 << 40, (1 << 40) + (4 << 20))
    found = place_area(memory, past, 4096)
    assert isinstance(found, NoPlace)
    assert "exceeds the limit" in found.rule
