"""Lists of requests: the same seed, the same list; and nothing in it that a kernel cannot stand."""

import hashlib
import re

import pytest

from oracle.errors import UsageError
from oracle.requests import MAX_HANDLES
from oracle.workload import PAGES_PER_MIB, PROFILES, generate

PAGEBLOCK = 512
ZONE_PAGES = 128 * PAGES_PER_MIB
REQUEST = re.compile(r"a \d+ \d+ [urmphURMPH]|[fg] \d+|[cx] \d+ \d+ \d+|[su] \d+ \d+|[khd]|# .*")

#: A few requests each, whatever is asked for.
STORIES = {"isolate-plain", "isolate-neighbours"}

#: A list that changes breaks the promise that a recording can be made again from its seed.
DIGESTS = {
    "mixed": "d119300b5acf2e64",
    "steal": "b81096bbdb6e6778",
    "highatomic": "751149bdbf0949b3",
}


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize("profile", sorted(DIGESTS))
def test_a_seed_gives_the_same_list_everywhere(profile: str) -> None:
    assert digest(generate(profile, 7, 4000, ZONE_PAGES)) == DIGESTS[profile]


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - STORIES))
def test_a_seed_decides_the_list(profile: str) -> None:
    one = generate(profile, 1, 2000, ZONE_PAGES)
    assert one == generate(profile, 1, 2000, ZONE_PAGES)
    assert one[1:] != generate(profile, 2, 2000, ZONE_PAGES)[1:]


@pytest.mark.parametrize("zone_mib", [128, 256])
@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_list_holds_only_requests_that_every_kernel_survives(profile: str, zone_mib: int) -> None:
    zone_pages = zone_mib * PAGES_PER_MIB
    lines = generate(profile, 3, 6000, zone_pages)
    held: dict[int, str] = {}
    used = set()
    for line in lines:
        assert REQUEST.fullmatch(line), line
        op, *words = line.split()
        if op in "acx":
            handle = int(words[0])
            assert handle not in used, f"{line}: a handle is used once"
            used.add(handle)
            held[handle] = op
        if op == "a":
            order, kind = int(words[1]), words[2]
            assert order <= 10
            # migrate_pages() of 6.1 never returns from a migratable page above the pageblock order
            assert not (kind == "M" and order > 9), line
            assert not (kind == "m" and order > 0), line
            assert not (kind.isupper() and order == 0), line
        elif op == "c":
            start, count = int(words[1]), int(words[2])
            assert 0 <= start <= start + count <= zone_pages, line
            # an empty range at a boundary leaves two pageblocks isolated
            assert count or start % PAGEBLOCK, line
        elif op == "x":
            # behind the end of a zone that is not there at boot no page is described
            assert PROFILES[profile].early, line
            assert int(words[1]) < zone_pages < int(words[1]) + int(words[2]), line
        elif op in "su":
            start, count = int(words[0]), int(words[1])
            assert start % PAGEBLOCK == count % PAGEBLOCK == 0, line
            assert 0 <= start < start + count <= zone_pages, line
        elif op in "fg":
            assert held.pop(int(words[0])) == {"f": "a", "g": "c"}[op], line
    assert max(used) < MAX_HANDLES


def test_about_as_many_requests_as_asked_for() -> None:
    for profile in sorted(set(PROFILES) - STORIES):
        lines = generate(profile, 5, 20_000, ZONE_PAGES)
        nr_ops = sum(line[0] in "acfgkxsu" for line in lines)
        assert 20_000 <= nr_ops < 45_000, profile


def test_the_state_is_hashed_often_and_last() -> None:
    lines = generate("mixed", 1, 10_000, ZONE_PAGES)
    assert lines.count("h") >= 50
    assert lines[-1] == "h"


def test_steal_builds_pageblocks_at_the_threshold() -> None:
    """The fill of each pageblock is exactly one pageblock, largest blocks first: so it stays aligned."""
    filled = [line.split() for line in generate("steal", 1, 1, ZONE_PAGES) if line.startswith("a ")]
    at = 0
    for _, _, order, _ in filled[1021:10_000]:
        assert at % (1 << int(order)) == 0, f"page {at} of the fill is not aligned to order {order}"
        at += 1 << int(order)
    assert at > 10 * PAGEBLOCK


def test_atomic_requests_come_in_both_forms() -> None:
    kinds = {line.split()[3] for line in generate("highatomic", 1, 9000, ZONE_PAGES) if line[0] == "a"}
    assert {"h", "H"} <= kinds


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nothing", 1, 100, ZONE_PAGES), "no profile 'nothing': one of ord0, mixed"),
        (("mixed", 1, 0, ZONE_PAGES), "0 requests"),
        (("mixed", 1, 100, 1000), "a zone of 1000 pages"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, int, int, int], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        generate(*arguments)
