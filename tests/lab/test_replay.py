"""Recorded kernels on the model: every answer equal, and clear words about traces that are not right."""

import json
from pathlib import Path

import pytest
import zstandard

from pageblock.cli import main
from pageblock.lab import replay

RECORDINGS = sorted((Path(__file__).parents[1] / "recordings").glob("*.zst"))

#: Folders of ../shared/traces.
MODELLED = (
    "linux-5.15.16",
    "linux-6.1.192",
    "linux-6.1.192-cma",
    "linux-6.12.117",
    "linux-6.19.9",
    "seed-as-posted",
    "seed-described",
)

#: Recordings of a few requests each.
STORIES = ("isolate-plain", "isolate-neighbours")


@pytest.mark.slow
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_a_recorded_kernel_is_reproduced(path: Path) -> None:
    result = replay(path)
    assert result.divergence is None
    assert result.operations > (3 if path.name.split("-", 1)[1].startswith(STORIES) else 1000)
    assert result.hashes > 0


@pytest.mark.slow
@pytest.mark.parametrize("folder", MODELLED)
def test_shared_traces_are_reproduced(shared: Path, folder: str) -> None:
    traces = sorted((shared / "traces" / folder).glob("*.zst"))
    assert traces
    parted = {path.name: replay(path).divergence for path in traces}
    assert not {name: divergence for name, divergence in parted.items() if divergence}


def text_of(path: Path) -> str:
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The first 400 lines of a recording, closed."""
    path = next(path for path in RECORDINGS if path.name.startswith("6.1-edges-s"))
    lines = text_of(path).splitlines()[:400]
    trace = tmp_path / "small.txt"
    trace.write_text("\n".join([*lines, "E ops=0"]) + "\n")
    return trace


def change(trace: Path, number: int, line: str) -> None:
    """Put another line in place of line ``number`` (from 1)."""
    lines = trace.read_text().splitlines()
    lines[number - 1] = line
    trace.write_text("\n".join(lines) + "\n")


def line_number(trace: Path, start: str) -> int:
    """Number of the first line that starts so."""
    return next(i for i, line in enumerate(trace.read_text().splitlines(), 1) if line.startswith(start))


def test_a_plain_trace_is_read(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(small)]) == 0
    assert "all equal to Linux 6.1" in capsys.readouterr().out


def test_a_wrong_pfn_is_a_divergence(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = line_number(small, "a ")
    op, handle, order, kind, pfn = small.read_text().splitlines()[number - 1].split()
    change(small, number, f"{op} {handle} {order} {kind} {int(pfn) + (1 << int(order))}")
    assert main(["replay", str(small)]) == 1
    out = capsys.readouterr().out
    assert f"divergence at operation 1 (line {number}): allocate order {order}" in out
    assert f"kernel  pfn {int(pfn) + (1 << int(order))}" in out
    assert f"model   pfn {pfn}" in out
    assert f"pfn {pfn} before it, in the model: entry 0 of the order 10 MOVABLE list" in out
    assert "not changed since the start" in out


def test_a_divergence_names_what_changed_the_list_before(small: Path) -> None:
    numbers = [i for i, line in enumerate(small.read_text().splitlines(), 1) if line.startswith("a ") and " 0 " in line]
    number = numbers[40]
    op, handle, order, kind, pfn = small.read_text().splitlines()[number - 1].split()
    change(small, number, f"{op} {handle} {order} {kind} {int(pfn) ^ 1}")
    divergence = replay(small).divergence
    assert divergence is not None
    assert any(
        line.startswith(f"pfn {pfn} before it, in the model: entry 0 of the order ") for line in divergence.around
    )
    lists = [line for line in divergence.around if " list before it: " in line]
    assert len(lists) > 1
    assert any("last by operation " in line and "(line " in line for line in divergence.around)


def test_a_wrong_move_names_where_its_pages_were(small: Path) -> None:
    number = next(
        i for i, line in enumerate(small.read_text().splitlines(), 1) if line.startswith("c ") and ">" in line
    )
    line = small.read_text().splitlines()[number - 1]
    source, target = line.partition(" : ")[2].split()[0].split(">")
    change(small, number, line.replace(f"{source}>{target}", f"{source}>{int(target) ^ 1}", 1))
    divergence = replay(small).divergence
    assert divergence is not None
    assert divergence.kernel.endswith(f"{source}>{int(target) ^ 1}")
    assert divergence.model.endswith(f"{source}>{target}")
    assert any(line.startswith(f"pfn {source} before it, in the model: in use: handle ") for line in divergence.around)


def test_a_request_refused_by_the_model_alone_says_by_what(small: Path) -> None:
    number = next(
        i for i, line in enumerate(small.read_text().splitlines(), 1) if line.startswith("c ") and "= -16" in line
    )
    change(small, number, small.read_text().splitlines()[number - 1].replace("= -16", "= 0"))
    divergence = replay(small).divergence
    assert divergence is not None
    assert divergence.model.startswith("errno -16 by ")


def test_a_wrong_hash_is_a_divergence(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = line_number(small, "H ")
    fields = small.read_text().splitlines()[number - 1].split()
    fields[2] = "0" * 16
    change(small, number, " ".join(fields))
    assert main(["replay", str(small), "--json"]) == 1
    (result,) = json.loads(capsys.readouterr().out)
    assert result["divergence"]["line"] == number
    assert result["divergence"]["what"] == "digest of the free lists"


def test_a_wrong_hash_names_the_lists_that_changed_since_the_last_equal_one(small: Path) -> None:
    numbers = [i for i, line in enumerate(small.read_text().splitlines(), 1) if line.startswith("H ")]
    fields = small.read_text().splitlines()[numbers[1] - 1].split()
    fields[2] = "0" * 16
    change(small, numbers[1], " ".join(fields))
    divergence = replay(small).divergence
    assert divergence is not None
    changed = [line for line in divergence.around if " MOVABLE list: changed " in line]
    assert changed
    lines = [int(line.partition("(line ")[2].partition(")")[0].replace(",", "")) for line in changed]
    assert lines == sorted(lines, reverse=True)
    assert all(numbers[0] < line < numbers[1] for line in lines)


def test_a_hash_of_types_that_differs_names_the_requests_since_the_last_equal_one(small: Path) -> None:
    lines = small.read_text().splitlines()
    numbers = [i for i, line in enumerate(lines, 1) if line.startswith("H ")]
    fields = lines[numbers[1] - 1].split()
    fields[3] = "0" * 16
    change(small, numbers[1], " ".join(fields))
    divergence = replay(small).divergence
    assert divergence is not None
    ranges = [line for line in divergence.around if line.startswith("alloc_contig_range [")]
    last = max(i for i, line in enumerate(lines[: numbers[1]], 1) if line.startswith("c "))
    assert last > numbers[0]
    assert f"(line {last})" in ranges[0]


def test_a_wrong_counter_is_a_divergence(small: Path) -> None:
    number = line_number(small, "H ")
    line = small.read_text().splitlines()[number - 1]
    change(small, number, line.replace("stat=", "stat=1"))
    divergence = replay(small).divergence
    assert divergence is not None
    assert divergence.what == "counter stat"


def test_until_stops_early(small: Path) -> None:
    assert replay(small, until=7).operations == 7


def test_another_release_diverges() -> None:
    path = next(path for path in RECORDINGS if path.name.startswith("6.12-unaligned"))
    assert replay(path, release="5.15").divergence is not None


@pytest.mark.parametrize(
    ("number", "line", "says"),
    [
        (1, "V oracle 9 kernel=6.1.192", "version 9 of the format is not known"),
        (1, "V oracle 2 kernel=2.6.32", "kernel '2.6.32' is not one whose rules are known"),
        (1, "hello", "no trace starts with 'hello'"),
        (0, "a 1 0 q 5", "no allocation has order 0 and this kind"),
        (0, "a 1 44 u 5", "no allocation has order 44"),
        (0, "a 999999 0 u 99999999", "pfn 99999999 is outside the zone"),
        (0, "f 7777777", "handle 7777777 was never allocated"),
        (0, "f", "malformed record 'f'"),
        (0, "a 1 2", "malformed record 'a 1 2'"),
        (0, "c 1 2 x : = 0", "malformed record"),
        (0, "y 1", "no record starts with 'y 1'"),
        (0, "c 888888 99999999 512 : = 0 t=1", "outside the zone"),
        (0, "c 888888 0 512 : 99999999>1 = 0 t=1", "pfn 99999999 is outside the zone"),
        (0, "C 1 2 3 : = -12", "no CMA area"),
        (0, "R 1", "no CMA area"),
    ],
)
def test_a_malformed_trace_names_the_line(
    small: Path, number: int, line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = number or line_number(small, "a ")
    change(small, at, line)
    assert main(["replay", str(small)]) == 2
    err = capsys.readouterr().err
    assert f"small.txt, line {at}: " in err
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("start", "old", "new", "says"),
    [
        ("Z ", "spanned=", "spanned=0 was=", "no zone is like this dump (nr_pages is 0"),
        ("Z ", "max_order=", "max_order=77 was=", "no zone is like this dump (max_order is 76"),
        ("W ", "min=", "least=", "the dump lacks the number 'min'"),
        ("T ", "1:", "1:9 1:", "no zone is like this dump"),
        ("V ", "kernel=6.1", "kernel=5.15.16+seed-x was=6.1", "has no release 'seed-x'"),
    ],
)
def test_a_first_dump_that_no_zone_can_have_names_the_line(
    small: Path, start: str, old: str, new: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = line_number(small, start)
    change(small, at, small.read_text().splitlines()[at - 1].replace(old, new, 1))
    assert main(["replay", str(small)]) == 2
    err = capsys.readouterr().err
    assert f"small.txt, line {1 if start == 'V ' else 2}: " in err
    assert says in err
    assert err.count("\n") == 1


def test_a_later_dump_of_another_zone_names_the_line(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = small.read_text().splitlines()
    begin = line_number(small, "D begin")
    dump = lines[begin - 1 : line_number(small, "D end")]
    lines[-1:-1] = ["T 1:3" if line.startswith("T ") else line for line in dump]
    small.write_text("\n".join(lines) + "\n")
    assert main(["replay", str(small)]) == 2
    assert f"line {len(lines) - len(dump)}: the dump has 3 pageblocks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "new", "says"),
    [
        ("T ", "N x=1", "the dump has no T line"),
        ("W ", "N x=1", "the dump has no W line"),
        ("Q ", "N x=1", "the dump has no Q line"),
        ("Z ", "Z start_pfn=1 spanned=2", "the dump has start_pfn 1, the first one "),
        ("D end", "L 99 1 5\nD end stat_free=0", "no free list has order 99 and type 1"),
        ("D end", "P 0 77 5\nD end stat_free=0", "there is no per-cpu list 77"),
    ],
)
def test_a_later_dump_with_a_part_missing_or_too_many_names_the_line(
    small: Path, start: str, new: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(small, 1, small.read_text().splitlines()[0].replace("pcp=0", "pcp=1"))
    lines = small.read_text().splitlines()
    begin = line_number(small, "D begin")
    dump = lines[begin - 1 : line_number(small, "D end")]
    at = next(i for i, line in enumerate(dump) if line.startswith(start))
    dump[at : at + 1] = new.split("\n")
    lines[-1:-1] = dump
    small.write_text("\n".join(lines) + "\n")
    assert main(["replay", str(small)]) == 2
    assert says in capsys.readouterr().err


def test_a_final_dump_without_its_handles_is_a_divergence(small: Path) -> None:
    lines = small.read_text().splitlines()
    first = line_number(small, "D begin") - 1
    last = line_number(small, "D end")
    allocation = next(line for line in lines if line.startswith("a "))
    dump = ["D begin final", *lines[first + 1 : last]]
    small.write_text("\n".join([*lines[:last], allocation, "f 0", *dump, "E ops=2"]) + "\n")
    assert allocation.split()[1] == "0"
    assert replay(small).divergence is None
    # the zone as after it, but for the handle, which only the list of handles tells
    number = next(i for i, line in enumerate(lines) if line.startswith("a "))
    small.write_text("\n".join([*lines[: number + 1], *dump[:-1], dump[-1], "E ops=1"]) + "\n")
    assert replay(small).divergence is not None


def test_a_handle_in_use_is_not_given_a_range(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = line_number(small, "a ")
    handle = small.read_text().splitlines()[number - 1].split()[1]
    change(small, number + 1, f"c {handle} 0 512 : = 0 t=1")
    assert main(["replay", str(small)]) == 2
    assert f"line {number + 1}: handle {handle} is in use" in capsys.readouterr().err


def test_a_trace_that_ends_in_a_line_is_cut_off(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = line_number(small, "a ")
    small.write_text("\n".join(small.read_text().splitlines()[:number]))
    assert main(["replay", str(small)]) == 2
    assert f"line {number}: the trace ends in the middle of a line: it is cut off" in capsys.readouterr().err


def test_two_traces_in_one_file_are_refused(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write_text(small.read_text() * 2)
    assert main(["replay", str(small)]) == 2
    assert "one trace a file" in capsys.readouterr().err


def test_a_release_that_is_asked_for_serves_an_unknown_kernel(small: Path) -> None:
    change(small, 1, "V oracle 2 kernel=4.19.0")
    assert replay(small, release="6.1").release == "6.1"


def test_the_lists_of_other_cpus_are_passed_over(small: Path) -> None:
    lines = small.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Q cpu=0"))
    lines[first + 1 : first + 1] = ["Q cpu=1 count=1 high=0 batch=1 free_factor=0 expire=0 stat_threshold=9", "P 1 0 5"]
    small.write_text("\n".join(lines) + "\n")
    assert replay(small).divergence is None


def test_a_trace_that_is_cut_off_says_so(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write_text("\n".join(small.read_text().splitlines()[:-1]) + "\n")
    assert main(["replay", str(small)]) == 2
    assert "ends without its closing E" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "corrupt", "empty", "absent", "folder", "binary"])
def test_an_unreadable_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    raw = RECORDINGS[0].read_bytes()
    path = tmp_path / "t.txt.zst"
    if damage == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "corrupt":
        path.write_bytes(raw[:500] + b"\0" * 500 + raw[1000:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "folder":
        path.mkdir()
    elif damage == "binary":
        path.write_bytes(bytes(range(256)) * 10)
    assert main(["replay", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("pageblock: ")
    assert err.count("\n") == 1


def test_the_other_traces_are_replayed_all_the_same(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(small.parent / "nothing"), str(small)]) == 2
    captured = capsys.readouterr()
    assert "all equal" in captured.out
    assert "nothing" in captured.err
