"""``pageblock explain``: exit codes, one line for bad input, JSON, standard input, what is printed."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from pageblock.cli import main
from pageblock.view.causes import written_into
from tests.logs import bitmap, cma_failed, page

DOCS = Path(__file__).parents[2] / "docs" / "explain.md"

#: The log of the example in docs/explain.md.
EXAMPLE = [
    "[    0.000000] Linux version 5.15.16 (build@board) (gcc 12) #1 SMP",
    f"[   61.402113] {cma_failed(96, -16)}",
    f"[   61.402120] {bitmap([(40, 12), (3100, 4096), (1900, 8192), (96, 12288), (2048, 14336)], 16384)}",
    f"[   64.813077] {cma_failed(96, -16)}",
]


def log(tmp_path: Path, *lines: str, name: str = "log") -> str:
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    return str(tmp_path / name)


def test_a_report_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", log(tmp_path, *EXAMPLE)]) == 0
    out = capsys.readouterr().out
    assert (
        "cma_alloc linux,cma: 96 pages refused, ret -16 (busy), 7,184 of 16,384 pages free · 2 times in 3 s · lines 2 to 4"
        in out
    )
    assert "Most likely: another allocation was isolating the same pageblock — likely" in out


def test_the_example_in_the_docs_is_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", log(tmp_path, *EXAMPLE)])
    printed = capsys.readouterr().out.splitlines()[1:]
    block = DOCS.read_text().split("```")[1].strip("\n").splitlines()
    shown = block[block.index("$ dmesg | pageblock explain -") + 2 :]
    assert len(shown) > 8
    for line in shown:
        assert any(line == text or (line.endswith("…") and text.startswith(line[:-1])) for text in printed), line


def test_the_table_in_the_docs_is_that_of_the_causes() -> None:
    assert DOCS.read_text() == written_into(DOCS.read_text()), "run make docs"


def test_nothing_recognised_exits_1_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = log(tmp_path, "usb 1-1: new device", "EXT4-fs: mounted")
    assert main(["explain", path]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"pageblock: {path}: nothing recognised in 2 lines\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (bytes(4096), "no text"), (gzip.compress(b"x" * 9000)[:40], "cut off"), (None, "No such file")],
)
def test_bad_input_exits_2_with_one_line(
    content: bytes | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "log").write_bytes(content)
    assert main(["explain", str(tmp_path / "log")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert says in captured.err


def test_an_unreadable_log_does_not_keep_the_others_from_being_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(tmp_path / "none"), log(tmp_path, *EXAMPLE)]) == 2
    captured = capsys.readouterr()
    assert "96 pages refused" in captured.out
    assert captured.err.count("\n") == 1


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(EXAMPLE).encode())))
    assert main(["explain", "-"]) == 0
    assert capsys.readouterr().out.startswith("standard input · Linux 5.15.16 · 4 lines, 1 finding\n")


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--json", log(tmp_path, *EXAMPLE)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["kernel"], document["kernel_from"]) == (1, "5.15.16", "banner")
    failure = document["failures"][0]
    assert (failure["errno"], failure["errno_name"], failure["pages"], failure["times"]) == (-16, "EBUSY", 96, 2)
    assert failure["area"] == {"pages": 16384, "free": 7184, "largest_free_run": 3100, "places": 56, "align_order": 7}
    best = failure["causes"][0]
    assert (best["name"], best["certainty"], best["transient"]) == ("racing isolation", "likely", True)
    assert best["commits"][0]["hash"] == "a4efc174b382"


def test_json_of_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "migrating pfn 5f00 failed ret:1",
        *page(0x5F00, "uptodate|lru", "migration failure", refcount=5, mapping=True),
    ]
    assert main(["explain", "--json", log(tmp_path, *lines)]) == 0
    state = json.loads(capsys.readouterr().out)["failures"][0]["page"]
    assert (state["pfn"], state["flags"], state["references_unexplained"]) == (0x5F00, ["lru", "uptodate"], 3)


def test_json_of_several_logs_and_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--json", log(tmp_path, *EXAMPLE), log(tmp_path, "usb", name="other")]) == 1
    documents = json.loads(capsys.readouterr().out)
    assert [len(document["failures"]) for document in documents] == [1, 0]


def test_the_kernel_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--json", "--kernel", "6.1.9", log(tmp_path, *EXAMPLE)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kernel"] == "6.1.9"
    assert "racing isolation" not in [
        cause["name"] for cause in document["failures"][0]["causes"] if cause["certainty"] == "likely"
    ]


def test_a_kernel_that_is_no_release_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--kernel", "newest", log(tmp_path, *EXAMPLE)]) == 2
    assert "newest" in capsys.readouterr().err


def test_what_a_log_holds_is_never_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", log(tmp_path, cma_failed(9, -16, "[red]x[/red]"))]) == 0
    assert "[red]x[/red]" in capsys.readouterr().out


def test_messages_that_are_no_failure_are_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", log(tmp_path, "Offlined Pages 32768")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  1 time memory went offline, 32,768 pages in all"


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    log.write_text(
        "[  1.0] kworker/0:1\x1b[2J: page allocation failure: order:9, mode:0xcc0(GFP_KERNEL), nodemask=(null)\n"
        "[  1.1] cma: cma_alloc: reserved: alloc failed, req-size: 64 pages, ret: -16\n"
    )
    main(["explain", str(log)])
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "-16" in told or "EBUSY" in told
