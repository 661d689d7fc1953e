"""Words of kpageflags lead to the same causes as page dumps."""

import pytest

from pageblock.doctor.causes import Certainty, Evidence, judge
from pageblock.doctor.page_evidence import page_state
from pageblock.machine import kpf

PRIVATE = 1 << 35


@pytest.mark.parametrize(
    ("word", "cause", "certainty"),
    [
        (kpf.HIGH_RESERVED << 32, "reserved", Certainty.CERTAIN),
        (kpf.KPF_SLAB, "slab", Certainty.CERTAIN),
        (kpf.KPF_PGTABLE, "page tables", Certainty.CERTAIN),
        (kpf.KPF_HWPOISON, "hwpoison", Certainty.CERTAIN),
        (kpf.KPF_OFFLINE, "offline page", Certainty.CERTAIN),
        (kpf.KPF_ANON | kpf.KPF_SWAPBACKED | kpf.KPF_UPTODATE, "lru batch", Certainty.LIKELY),
        (kpf.KPF_UPTODATE | kpf.KPF_REFERENCED, "lru batch", Certainty.LIKELY),
        (0, "kernel page", Certainty.LIKELY),
    ],
)
def test_what_isolation_refuses(word: int, cause: str, certainty: Certainty) -> None:
    found = judge(Evidence(errno=16, caller="contig", step="isolate", page=page_state(word, pfn=0x500)))
    assert (found[0].cause.name, found[0].judgement.certainty) == (cause, certainty)


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        (kpf.KPF_LRU | kpf.KPF_UPTODATE | PRIVATE, "buffers"),
        (kpf.KPF_LRU | kpf.KPF_UPTODATE | kpf.KPF_WRITEBACK, "writeback"),
        (kpf.KPF_HUGE, "hugetlb page"),
    ],
)
def test_what_migration_leaves(word: int, cause: str) -> None:
    evidence = Evidence(
        errno=16, caller="contig", step="migrate", migrate_ret=1, page=page_state(word, pfn=0x500, order=9)
    )
    assert judge(evidence)[0].cause.name == cause


def test_references_are_not_known_from_proc() -> None:
    state = page_state(kpf.KPF_LRU | kpf.KPF_ANON | kpf.KPF_SWAPBACKED, mapcount=1)
    assert state.excess is None
    assert judge(Evidence(errno=16, caller="contig", step="migrate", migrate_ret=1, page=state)) == []
