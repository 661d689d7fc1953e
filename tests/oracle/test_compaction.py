"""Compaction from the list of requests to the replay: what is asked, what is recorded, what is compared."""

import re
from pathlib import Path

import pytest
import zstandard

from oracle.errors import UsageError
from oracle.record import Job, record, summary
from oracle.workload import PAGES_PER_MIB, generate
from pageblock.errors import InputError
from pageblock.lab import replay

RECORDINGS = sorted((Path(__file__).parents[1] / "recordings").glob("*compact*.txt.zst"))
PROFILES = ["compact", "compact-large", "pcp-compact", "pcp-compact-large"]


@pytest.fixture(scope="module")
def text() -> str:
    """The smallest recording with compaction."""
    return zstandard.decompress(min(RECORDINGS, key=lambda path: path.stat().st_size).read_bytes()).decode()


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_each_kernel_is_recorded_with_and_without_per_cpu_lists(kernel: str) -> None:
    texts = [
        zstandard.decompress(path.read_bytes()).decode() for path in RECORDINGS if path.name.startswith(f"{kernel}-")
    ]
    assert {re.search(r" pcp=(\d) ", text)[1] for text in texts} == {"0", "1"}  # type: ignore[index]
    for each in texts:
        compactions = re.findall(r"^K :(.*) = 0 t=\d+$", each, re.MULTILINE)
        assert len(compactions) >= 4
        assert sum(moves.count(">") for moves in compactions) > 100
        assert f"{len(compactions)} compactions" in summary(each)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_state_is_hashed_after_each_compaction(profile: str) -> None:
    lines = generate(profile, 2, 9_000, 128 * PAGES_PER_MIB)
    at = [i for i, line in enumerate(lines) if line == "k"]
    assert at
    assert all(lines[i + 1] == "h" for i in at)


@pytest.mark.parametrize(("profile", "some"), [("compact", False), ("compact-large", True)])
def test_large_movable_pages_come_only_where_they_are_wanted(profile: str, some: bool) -> None:
    lines = generate(profile, 2, 9_000, 128 * PAGES_PER_MIB)
    assert any(re.fullmatch(r"a \d+ [1-8] M", line) for line in lines) is some


def test_a_zone_that_is_there_at_boot_is_not_compacted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="compaction also moves pages that a zone has at boot"):
        record(Job("6.1", tmp_path, profile="compact", early=True), lambda _: None)


def write(folder: Path, text: str) -> Path:
    path = folder / "changed.txt"
    path.write_text(text)
    return path


def test_a_wrong_move_is_a_divergence(text: str, tmp_path: Path) -> None:
    head, mark, target, rest = re.split(r"(^K : \d+>)(\d+)", text, maxsplit=1, flags=re.MULTILINE)
    changed = write(tmp_path, f"{head}{mark}{int(target) ^ 1}{rest}")
    divergence = replay(changed).divergence
    assert divergence is not None
    assert divergence.what == "compaction, migration 1"
    assert divergence.line == head.count("\n") + 1


def test_a_move_that_is_missing_is_a_divergence(text: str, tmp_path: Path) -> None:
    changed = write(tmp_path, re.sub(r"^(K :.*) \d+>\d+ =", r"\1 =", text, count=1, flags=re.MULTILINE))
    divergence = replay(changed).divergence
    assert divergence is not None
    assert divergence.kernel.endswith("here none")


@pytest.mark.parametrize(
    ("line", "complaint"), [("K : 5>x = 0 t=1", "malformed record"), ("K : = -2 t=1", "was not asked to compact")]
)
def test_a_record_that_makes_no_sense_names_its_line(text: str, tmp_path: Path, line: str, complaint: str) -> None:
    head, _, rest = re.split(r"^(K :.*)$", text, maxsplit=1, flags=re.MULTILINE)
    with pytest.raises(InputError, match=f"line {head.count(chr(10)) + 1}: .*{complaint}"):
        replay(write(tmp_path, head + line + rest))
