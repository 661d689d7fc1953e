"""What the explorer found in the rules of 6.1, on recorded kernels: their own dumps, without the model."""

import re
from pathlib import Path

import pytest
import zstandard

FOLDER = Path(__file__).resolve().parent.parent / "recordings"
PAGEBLOCK_PAGES = 512
ISOLATE = 4


def owned_isolated_pageblocks(path: Path) -> set[int]:
    """Pageblocks that are isolated in the final dump and hold pages of a request that was granted while they were so."""
    text = zstandard.decompress(path.read_bytes()).decode()
    final = text[text.rindex("D begin final") :]
    runs = re.search(r"^T (.*)$", final, re.MULTILINE)
    assert runs
    types = [int(mt) for run in runs[1].split() for mt in [run.split(":")[0]] * int(run.split(":")[1])]
    isolated = {i for i, mt in enumerate(types) if mt == ISOLATE}
    last_isolation = text.rindex("\nS ")
    granted = {match[1] for match in re.finditer(r"^a (\d+) \d+ \w \d+$", text[last_isolation:], re.MULTILINE)}
    assert isolated
    assert granted
    return {
        pageblock
        for match in re.finditer(r"^O (\d+) (\d+) (\d+) ", final, re.MULTILINE)
        if match[1] in granted
        for pageblock in range(int(match[2]) // PAGEBLOCK_PAGES, (int(match[2]) + int(match[3])) // PAGEBLOCK_PAGES)
        if pageblock in isolated
    }


@pytest.mark.parametrize("story", ["isolate-plain", "isolate-neighbours"])
def test_6_1_allocates_from_an_isolated_pageblock_and_6_12_does_not(story: str) -> None:
    assert owned_isolated_pageblocks(FOLDER / f"6.1-{story}-s1.txt.zst") == {1}
    assert owned_isolated_pageblocks(FOLDER / f"6.12-{story}-s1.txt.zst") == set()
