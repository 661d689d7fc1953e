"""CMA requests, BUGs and corrupted zones in traces: hand-written stories of a few lines, and the recorded ones."""

from pathlib import Path

import pytest

from pageblock.lab import Replay, replay
from pageblock.machine.trace import CmaAlloc, CmaRelease, CmaTry, TraceReader

#: What does not take long of the shared traces.
SMALL = 100_000


def story(tmp_path: Path, kernel: str, *lines: str, cma: bool = False, nr_pages: int = 4096) -> Path:
    """A trace of a zone of free 4 MiB pages; with ``cma`` its pageblocks 2 and 3 are a CMA area."""
    tops = [str(pfn) for pfn in range(0, nr_pages, 1024) if not (cma and pfn == 1024)]
    dump = [
        "D begin initial",
        f"Z node=1 zone=Normal start_pfn=8192 spanned={nr_pages} present={nr_pages} managed={nr_pages} max_order=11 "
        "pageblock_order=9 migratetypes=6",
        "W min=0 low=0 high=0 boost=0 lowmem_reserve=0 highatomic=0 nr_isolate=0 flags=0",
        *(["B start=1024 count=1024 order_per_bit=0 nr_free_cma=1024"] if cma else []),
        f"T 1:2 4:2 1:{nr_pages // 512 - 4}" if cma else f"T 1:{nr_pages // 512}",
        f"L 10 1 {' '.join(tops)}",
        *(["L 10 4 1024"] if cma else []),
        f"D end stat_free={nr_pages} own=0 offnode=0 foreign=0 async_mig=0 odd_mig=0",
    ]
    path = tmp_path / "story.txt"
    path.write_text("\n".join([f"V oracle 4 mode=trace pcp=0 kernel={kernel}", *dump, *lines, "E ops=0"]) + "\n")
    return path


def parted(result: Replay) -> tuple[str, str, str] | None:
    """What, kernel and model of a divergence; None: there is none."""
    found = result.divergence
    return None if found is None else (found.what, found.kernel, found.model)


# ---- CMA ----


def test_cma_records_are_read(tmp_path: Path) -> None:
    path = story(
        tmp_path,
        "6.1.192",
        "C 1 512 9 : @1024 1030>3 1029!77 =-16 @1536 =0 = 1536 t=5",
        "C 2 4 0 : = -12",
        "C 3 9 0 : @1024 1>2 = BUG",
        "R 1",
        "R 9 -",
    )
    records = [record for record in TraceReader(path).records() if isinstance(record, CmaAlloc | CmaRelease)]
    assert records == [
        CmaAlloc(8, 1, 512, 9, (CmaTry(1024, ((1030, 3), (1029, None)), -16), CmaTry(1536, (), 0)), 1536),
        CmaAlloc(9, 2, 4, 0, (), None),
        CmaAlloc(10, 3, 9, 0, (CmaTry(1024, ((1, 2),), None),), None),
        CmaRelease(11, 1, False),
        CmaRelease(12, 9, True),
    ]


ALLOCATE = (
    "C 1 512 0 : @1024 =0 = 1024 t=1",
    "C 2 100 9 : @1536 =0 = 1536 t=1",
    "C 3 600 0 : = -12 t=1",
    "R 1",
    "C 3 512 0 : @1024 =0 = 1024 t=1",
    "R 7 -",
)


@pytest.mark.parametrize("kernel", ["5.15.16", "5.15.16+seed", "6.1.192", "6.12.117", "6.19.9"])
def test_cma_requests_and_releases_agree(tmp_path: Path, kernel: str) -> None:
    result = replay(story(tmp_path, kernel, *ALLOCATE, cma=True))
    assert parted(result) is None
    assert (result.operations, result.cma_requests) == (6, 4)


def test_a_handle_freed_with_all_others_leaves_the_bitmap(tmp_path: Path) -> None:
    lines = (ALLOCATE[0], "z 9", "C 1 1024 0 : @1024 =0 = 1024 t=1")
    assert parted(replay(story(tmp_path, "6.1.192", *lines, cma=True))) is None


@pytest.mark.parametrize(
    ("lines", "what", "kernel", "model"),
    [
        (
            ("C 1 8 0 : @1032 =0 = 1032 t=1",),
            "cma_alloc of 8 pages aligned to order 0, try 1",
            "[1032, +8) errno 0",
            "[1024, +8) errno 0",
        ),
        (
            ("C 1 8 0 : @1024 =-16 = -16 t=1",),
            "cma_alloc of 8 pages aligned to order 0, try 1",
            "[1024, +8) errno -16",
            "[1024, +8) errno 0",
        ),
        (
            ("C 1 8 0 : = -12 t=1",),
            "cma_alloc of 8 pages aligned to order 0, try 1",
            "no more tries",
            "[1024, +8) errno 0",
        ),
        (
            ("C 1 8 0 : @1024 =0 = 1025 t=1",),
            "cma_alloc of 8 pages aligned to order 0",
            "1025",
            "1024",
        ),
        (
            ("C 1 8 0 : @1024 1024>0 =0 = 1024 t=1",),
            "cma_alloc of 8 pages aligned to order 0, try 1, migration 1",
            "1 moves, here 1024>0",
            "0 moves, here none",
        ),
        (("R 4",), "cma_release of handle 4", "released", "empty"),
        (("C 1 8 0 : @1024 =0 = 1024", "R 1 -"), "cma_release of handle 1", "empty", "pfn 1024"),
        (
            ("C 1 8 0 : @1024 = BUG",),
            "cma_alloc of 8 pages aligned to order 0",
            "stopped with a BUG",
            "answered",
        ),
    ],
)
def test_another_answer_to_a_cma_request_is_a_divergence(
    tmp_path: Path, lines: tuple[str, ...], what: str, kernel: str, model: str
) -> None:
    assert parted(replay(story(tmp_path, "6.1.192", *lines, cma=True))) == (what, kernel, model)


# ---- BUGs ----

#: recorded.md, p05: one free page at the request's end, the rest of its pageblock in use.
BEFORE_BUG = [*(f"a {pfn} 0 u {pfn}" for pfn in range(1024)), *(f"f {pfn}" for pfn in range(513))]


def test_a_bug_is_what_the_kernel_answered(tmp_path: Path) -> None:
    bug = ["c 9000 0 512 : = BUG", "N nr_isolate=2 isoblk=1 stat=3072"]
    assert parted(replay(story(tmp_path, "5.15.16+seed-as-posted", *BEFORE_BUG, *bug))) is None


def test_a_bug_of_the_kernel_alone_is_a_divergence(tmp_path: Path) -> None:
    found = parted(replay(story(tmp_path, "5.15.16+seed", *BEFORE_BUG, "c 9000 0 512 : = BUG")))
    assert found == ("alloc_contig_range [0, 512)", "stopped with a BUG", "errno 0")


def test_a_bug_of_the_model_alone_is_a_divergence(tmp_path: Path) -> None:
    found = parted(replay(story(tmp_path, "5.15.16+seed-as-posted", *BEFORE_BUG, "c 9000 0 512 : = 0")))
    assert found == (
        "alloc_contig_range [0, 512)",
        "errno 0",
        "BUG in alloc_contig_range: VM_BUG_ON(outer_end + (1UL << order) <= begin_pfn) in alloc_contig_range at pfn 8705",
    )


# ---- counters of a dump ----


@pytest.mark.parametrize(
    ("line", "other", "counter"),
    [
        (
            "W min=0 low=0 high=0 boost=0 lowmem_reserve=0 highatomic=0 nr_isolate=0 flags=0",
            "nr_isolate=3",
            "nr_isolate_pageblock",
        ),
        ("B start=1024 count=1024 order_per_bit=0 nr_free_cma=1024", "nr_free_cma=7", "NR_FREE_CMA_PAGES"),
        ("D end stat_free=4096 own=0 offnode=0 foreign=0 async_mig=0 odd_mig=0", "stat_free=9", "NR_FREE_PAGES"),
    ],
)
def test_counters_of_a_dump_are_compared_and_loaded(tmp_path: Path, line: str, other: str, counter: str) -> None:
    path = story(tmp_path, "6.1.192", cma=True)
    text = path.read_text()
    dump = text[text.index("D begin") : text.index("E ops")]
    assert line in dump
    key = other.partition("=")[0]
    old = next(word for word in line.split() if word.startswith(f"{key}="))
    changed = dump.replace(line, line.replace(old, other))
    path.write_text(text.replace(dump, dump + changed))
    found = parted(replay(path))
    assert found is not None
    assert found[0] == f"counter {counter}"
    # a zone that begins with such a counter has it from the start
    path.write_text(text.replace(dump, changed + changed))
    assert parted(replay(path)) is None


# ---- the recorded ones ----


@pytest.mark.parametrize("folder", ["linux-5.15.16", "linux-6.19.9", "seed-as-posted", "seed-described"])
def test_the_shared_stories_are_reproduced(shared: Path, folder: str) -> None:
    traces = [path for path in sorted((shared / "traces" / folder).glob("*.zst")) if path.stat().st_size < SMALL]
    assert traces
    assert {path.name: parted(replay(path)) for path in traces} == dict.fromkeys(path.name for path in traces)
