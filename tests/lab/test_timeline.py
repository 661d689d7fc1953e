"""Timelines: what the counters say is what the zone says, and each range that was tried is there with its outcome."""

from pathlib import Path

import numpy as np
import pytest

from pageblock import Zone
from pageblock.errors import InputError
from pageblock.lab.alloc_trace import NEVER, AllocationTrace, Attempt
from pageblock.lab.timeline import Counter, Sampler, attempt_slices, replay_timeline, thinned, trace_timeline
from pageblock.machine.record import decoded
from tests.lab.test_alloc_trace import alloc, free, isolated, trace
from tests.machine.alloc_data import recording

RECORDINGS = Path(__file__).parent.parent / "recordings"


def last(counters: list[Counter] | tuple[Counter, ...]) -> dict[str, int]:
    return {one.name: int(one.values[-1]) for one in counters}


def test_the_sampler_counts_what_the_zones_have() -> None:
    zones = [Zone(4096), Zone(2048)]
    sampler = Sampler(zones)
    sampler.look(0)
    zones[0].alloc(3, 0)
    sampler.look(10)
    free_now = zones[0].free_counts() + zones[1].free_counts()
    found = sampler.counters()
    assert last(found)["free pages"] == 6144 - 8
    for one in found[1:]:
        order, name = one.name.removeprefix("order ").split()
        assert int(one.values[-1]) == free_now[int(order), ["UNMOVABLE", "MOVABLE"].index(name)]
        assert one.group == f"free blocks {name}"
    assert last(found)["order 10 MOVABLE"] == 5
    # what never has a block has no counter
    assert not any("CMA" in one.name or "HIGHATOMIC" in one.name for one in found)


def test_a_trace_is_run_and_sampled() -> None:
    found = AllocationTrace.of(decoded(recording()))
    line = trace_timeline(found, "6.12", samples=50)
    [pages] = [one for one in line.counters if one.name == "free pages"]
    assert 10 < len(pages.times_ns) <= 60
    assert not np.any(np.diff(pages.times_ns) < 0)
    left = found.blocks[found.blocks["end_ns"] == NEVER]
    assert pages.values[-1] == pages.values[0] - int((np.int64(1) << left["order"].astype(np.int64)).sum())
    assert (line.about["release"], line.about["refused"]) == ("6.12", 0)
    assert line.about["operations"] == len(found.blocks) * 2 - len(left)
    # what had to be modelled is said
    assert line.about["before"] == str(found.unknown.before)


def test_attempts_are_there_with_their_outcome_and_until_they_are_given_back() -> None:
    line = trace_timeline(
        trace(alloc(0, 5), isolated(10, 8, 10, 10), free(20, 8), free(30, 9), isolated(40, 16, 32, 20))
    )
    assert [(one.group, one.name, one.start_ns, one.end_ns) for one in line.slices] == [
        ("attempts", "contiguous range of 2 pages: had", 10, 10),
        ("ranges in use", "2 pages", 10, 30),
        ("attempts", "contiguous range of 16 pages: errno -16", 40, 40),
    ]
    assert line.slices[2].args == {
        "pages": 16,
        "errno": -16,
        "outcome": "errno -16",
        "pfn": "0x10",
        "why": "pfn 0x14 is not free",
    }


def test_what_is_not_given_back_lasts_to_the_end() -> None:
    had = Attempt(5, 9, NEVER, "cma", 64, 4, 2, 0, "linux,cma")
    attempt, held = attempt_slices([had], 100)
    assert (attempt.start_ns, attempt.end_ns, attempt.args["area"]) == (5, 9, "linux,cma")
    assert (held.start_ns, held.end_ns) == (9, 100)


def test_a_block_that_the_machine_does_not_have_is_one_line() -> None:
    with pytest.raises(InputError, match="a block of order 12, and max order is 10"):
        trace_timeline(trace(alloc(0, 4096, 12)))


def test_a_replay_shows_every_contiguous_range() -> None:
    path = next(iter(sorted(RECORDINGS.glob("6.1-mixed-*.zst"))))
    line = replay_timeline(path, samples=40)
    attempts = [one for one in line.slices if one.group == "attempts"]
    assert len(attempts) > 10
    assert {str(one.args["outcome"]) for one in attempts} >= {"had", "errno -16"}
    assert all(len(one.times_ns) <= 41 for one in line.counters)
    assert line.about["kernel"] == "6.1.0-56-amd64"
    assert "divergence" not in line.about


def test_what_is_no_trace_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello\n")
    with pytest.raises(InputError):
        replay_timeline(path)


def test_a_counter_keeps_its_last_value() -> None:
    times = np.arange(1000)
    found = thinned(Counter("g", "c", "u", times, times * 2), 10)
    assert len(found.times_ns) <= 11
    assert (found.times_ns[0], found.times_ns[-1], found.values[-1]) == (0, 999, 1998)
