"""Verdicts against a kernel's own answers: what is counted, what is excused, what is wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import MOVABLE, judge
from pageblock.doctor.score import REFERENCES, Score, score
from pageblock.errors import InputError
from pageblock.machine import Remark, Snapshot, read_machine
from pageblock.machine.kpageflags import SCAN_BUFFERS
from pageblock.machine.truth import Answer, Truth, read_truth
from pageblock.machine.zones import snapshot_zones
from pageblock.mm import PageClass, PageFlag

#: On the recorded machine: free; kernel pages at its start; LRU-batch pages; the first 2 MiB, not a range.
FREE, KERNEL, BATCH = 0x4C00, 0x100000, 0x16BC00


@pytest.fixture(scope="module")
def recorded() -> Snapshot:
    return read_machine(recorded_machine())


def scored(snapshot: Snapshot, *answers: tuple[int, int | None]) -> Score:
    rows = [Answer(512, start, 0, "DMA32" if start < 0x100000 else "Normal", errno) for start, errno in answers]
    return score(snapshot, Truth("6.1.192", {512: rows}))


def test_right_verdicts_are_counted(recorded: Snapshot) -> None:
    found = scored(recorded, (FREE, 0), (KERNEL, 16), (FREE + 512, None))
    assert found.release == "6.1"
    assert found.sizes[0].table == {("blocked", 16): 1, ("free", 0): 1}
    assert found.sizes[0].holes == 1
    assert found.sizes[0].differs == found.wrong == ()


def test_a_free_range_that_was_refused_is_wrong(recorded: Snapshot) -> None:
    found = scored(recorded, (FREE, 16))
    (wrong,) = found.wrong
    assert (wrong.start_pfn, wrong.verdict, wrong.errno) == (FREE, "free", 16)


def test_what_waits_in_an_lru_batch_is_excused(recorded: Snapshot) -> None:
    found = scored(recorded, (BATCH, 0))
    assert found.wrong == ()
    assert "LRU batch" in found.sizes[0].differs[0].doubt
    assert found.sizes[0].doubted == 1


def test_slab_in_the_range_leaves_no_doubt(recorded: Snapshot) -> None:
    """The first 2 MiB of Normal hold slab and page tables, too: that the kernel gave them would be a mistake of ours."""
    assert [one.start_pfn for one in scored(recorded, (KERNEL, 0)).wrong] == [KERNEL]


def marked(snapshot: Snapshot, start_pfn: int, flags: int) -> Snapshot:
    """The snapshot with the run that starts at a pfn made a file page with these flags."""
    assert snapshot.runs is not None
    at = snapshot.runs["start_pfn"].to_pylist().index(start_pfn)
    runs = snapshot.runs
    for name, value in (("class", PageClass.FILE), ("flags", flags), ("migratetype", 255), ("order", 0)):
        column = runs[name].to_numpy().copy()
        column[at] = value
        place = runs.column_names.index(name)
        runs = runs.set_column(place, runs.schema.field(place), pa.array(column))
    return replace(snapshot, runs=runs)


def file_range(snapshot: Snapshot) -> tuple[int, int]:
    """First pfn of a run of file pages in Normal, and that of the movable range of 2 MiB in which it lies."""
    assert snapshot.runs is not None
    verdicts = judge(snapshot_zones(snapshot, "6.1")[2], "6.1", 512)
    movable = set(verdicts.start_pfn[verdicts.verdict == MOVABLE].tolist())
    starts = snapshot.runs["start_pfn"].to_numpy()[snapshot.runs["class"].to_numpy() == PageClass.FILE]
    return next((start, start // 512 * 512) for start in starts.tolist() if start // 512 * 512 in movable)


@pytest.mark.parametrize(
    ("flags", "remarked", "errno", "doubt"),
    [
        (SCAN_BUFFERS | PageFlag.CLEAN, True, 16, "metadata of a file system may be in use"),
        (PageFlag.PINNED, True, 0, "the journal may have let the file system's metadata go"),
        # without that remark the source knows what is held
        (PageFlag.PINNED, False, 0, ""),
        (PageFlag.CLEAN, True, 16, REFERENCES),
    ],
)
def test_metadata_of_a_file_system_is_in_doubt(
    recorded: Snapshot, flags: int, remarked: bool, errno: int, doubt: str
) -> None:
    run, start = file_range(recorded)
    remark = Remark("buffers", "metadata", pageblocks=1)
    snapshot = replace(marked(recorded, run, int(flags)), remarks=(remark,) if remarked else ())
    [differs] = scored(snapshot, (start, errno)).sizes[0].differs
    assert differs.doubt == doubt


def test_a_movable_range_is_excused_for_a_reference_and_not_for_an_unmovable_page(recorded: Snapshot) -> None:
    """No file of /proc counts references; what isolation refuses, kpageflags shows."""
    _, start = file_range(recorded)
    for unmovable, doubt in ((False, REFERENCES), (True, "")):
        found = score(recorded, Truth("6.1.192", {512: [Answer(512, start, 0, "Normal", 16, unmovable)]}))
        assert [one.doubt for one in found.sizes[0].differs] == [doubt]
        # only what is known of this machine counts as doubt beforehand
        assert found.sizes[0].doubted == 0


@pytest.mark.parametrize(("name", "doubted"), [("Normal", 1), ("Movable", 0)])
def test_no_page_of_zone_movable_is_pinned_for_long(recorded: Snapshot, name: str, doubted: int) -> None:
    _, start = file_range(recorded)
    zones = tuple(replace(zone, name=name) if zone.name == "Normal" else zone for zone in recorded.zones)
    snapshot = replace(recorded, zones=zones, remarks=(Remark("pins", "3 pins held"),))
    found = score(snapshot, Truth("6.1.192", {512: [Answer(512, start, 0, name, 0)]}))
    assert found.sizes[0].doubted == doubted


def test_a_range_outside_every_zone_is_not_judged(recorded: Snapshot) -> None:
    assert scored(recorded, (0x7FFFFE00, 16)).sizes[0].not_judged == 1


@pytest.mark.parametrize(
    "line", ["G 512", "G 512 1 0 DMA x", "G 500 512 0 DMA 0", "G 0 0 0 DMA 0", "G a b c d e", "G 512 -1 0 DMA 0"]
)
def test_a_malformed_answer_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "truth_512.txt").write_text(f"V oracle 2 kernel=6.12.9\nG 512 512 0 DMA 0\n{line}\n")
    with pytest.raises(InputError, match="line 3"):
        read_truth(tmp_path)


def test_the_kernel_is_read_from_the_file_or_is_that_of_old_files(tmp_path: Path) -> None:
    path = tmp_path / "truth_512.txt"
    path.write_text("V oracle 2 kernel=6.12.9 mode=truth\nG 512 512 0 DMA -16 mig=0\n")
    assert read_truth(tmp_path) == Truth("6.12.9", {512: [Answer(512, 512, 0, "DMA", 16)]})
    path.write_text("G 512 512 0 DMA -16 mig=0 why=U:600 class=S\nG 512 1024 0 DMA -16 why=T:1030\n")
    assert [answer.unmovable for answer in read_truth(tmp_path).answers[512]] == [True, False]
    path.write_text("V oracle 1 mode=truth\nG 512 512 0 DMA hole\n")
    assert read_truth(tmp_path) == Truth("6.1.192", {512: [Answer(512, 512, 0, "DMA", None)]})


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = zstandard.compress(b"G 512 512 0 DMA 0\n" * 2000)
    (tmp_path / "truth_512.txt.zst").write_bytes(whole[: len(whole) // 2] + b"\0" * 9)
    with pytest.raises(InputError, match="truth_512"):
        read_truth(tmp_path)


def test_the_command_answers_and_exits_1_for_a_wrong_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "guest"
    shutil.copytree(recorded_machine(), folder)
    answers = folder / "truth_512.txt"
    answers.write_text(f"G 512 {FREE} 0 DMA32 0\n")
    assert main(["score", str(folder)]) == 0
    assert "1 of 1 ranges as the kernel answered" in capsys.readouterr().out
    answers.write_text(f"G 512 {FREE} 0 DMA32 -16\n")
    assert main(["score", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["wrong"] == 1
    answers.unlink()
    assert main(["score", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_range_of_the_recorded_guest(shared: Path) -> None:
    folder = shared / "machines" / "guest-6.1.192"
    found = score(read_machine(folder), read_truth(folder))
    assert sum(size.ranges for size in found.sizes) == 4702
    assert found.wrong == ()
    # never promised what the kernel refused
    assert all(one.verdict == "blocked" for size in found.sizes for one in size.differs)
