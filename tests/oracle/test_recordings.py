"""The recordings of this repository: whole, named after what they hold, and repeatable from their seed."""

import re
from pathlib import Path

import pytest
import zstandard

from oracle.record import check_whole
from oracle.workload import PAGES_PER_MIB, generate

FOLDER = Path(__file__).resolve().parent.parent / "recordings"
RECORDINGS = sorted(FOLDER.glob("*.txt.zst"))
#: The part of each record that is the request.
REQUEST = re.compile(r"a \d+ \d+ \w|[fg] \d+|[cx] \d+ \d+ \d+|[SU] \d+ \d+|K")


def test_they_are_there_and_small() -> None:
    assert {path.name.split("-")[0] for path in RECORDINGS} >= {"6.1", "6.12"}
    assert sum(path.stat().st_size for path in RECORDINGS) < 3_000_000


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name.removesuffix(".txt.zst"))
def test_a_recording_is_whole_and_comes_from_its_seed(path: Path) -> None:
    text = zstandard.decompress(path.read_bytes()).decode()
    check_whole(text)
    version = text.split("\n", 1)[0]
    assert version.startswith("V oracle 2 kernel=")
    assert " why=0 " in version, "refusals were not explained"
    words = dict(word.split("=", 1) for word in version.split() if "=" in word)
    series, profile, seed = re.fullmatch(r"(6\.\d+)-([\w-]+)-s(\d+)\.txt\.zst", path.name).groups()  # type: ignore[union-attr]
    assert words["kernel"].startswith(f"{series}.")
    early = words["zone"] == "early"
    lag = "lag" in words
    assert (words["profile"] + "-early" * early + "-lag" * lag, words["seed"]) == (profile, seed)
    requests = generate(words["profile"], int(seed), int(words["nops"]), int(words["zone_mib"]) * PAGES_PER_MIB)
    matches = [match[0] for line in text.splitlines() if (match := REQUEST.match(line))]
    recorded = [match[0].lower() + match[1:] for match in matches]
    assert recorded == [line for line in requests if line[0] in "afgckxsu"]
