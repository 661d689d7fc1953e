"""Public reports of kernels in the field: the cause that each of their threads came to is what is said first."""

from pathlib import Path

import pytest

from pageblock.doctor.causes import Certainty
from pageblock.doctor.explain import Explained, explain_log
from pageblock.machine.kernel_log import parse_log
from pageblock.machine.log_text import read_log

LIKELY, CERTAIN = Certainty.LIKELY, Certainty.CERTAIN

#: File -> kind of its first finding, errno, its best cause, how sure.
REPORTS = {
    # i.MX6: allocations side by side isolate the same 32 MiB; not fragmentation, not pins
    "nxp-mx6q-cma-ebusy": ("cma failure", 16, "racing isolation", LIKELY),
    # 4.10-rc2: CMA could not move file pages
    "vc4-rpi-pfns-busy": ("range busy", 16, "caller's gfp", LIKELY),
    # guest memory in CMA, pinned by VFIO
    "vfio-powerpc-pinned-cma": ("range busy", 16, "long-term pin", LIKELY),
    # the whole area asked for at once
    "udmabuf-zcu102-whole-region": ("cma failure", 16, "zero slack", CERTAIN),
    # a gigantic page with nowhere to go
    "offline-1g-hugetlb-enomem": ("migration failure", 12, "gigantic page", CERTAIN),
    # metadata of a block device in ZONE_MOVABLE
    "offline-blkdev-migration-failure": ("migration failure", 16, "buffers", CERTAIN),
    # the crash kernel's memory
    "offline-s390-crashkernel-reserved": ("page dump", 16, "reserved", CERTAIN),
    # the memmap's 2 MiB block; x86-64 does without
    "virtio-mem-plug-fail": ("allocation failure", 12, "memmap block", CERTAIN),
    # dropping caches cured it
    "liburing-1614-extfrag": ("fragmentation index", 12, "fragmentation", LIKELY),
}


def first(shared: Path, name: str) -> Explained:
    path = shared / "machines" / "kernel-logs" / f"{name}.txt"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    return explain_log(parse_log(read_log(str(path))), name).explained[0]


@pytest.mark.parametrize("name", REPORTS)
def test_the_cause_that_the_report_came_to(name: str, shared: Path) -> None:
    kind, errno, cause, certainty = REPORTS[name]
    found = first(shared, name)
    assert (found.kind, found.evidence.errno) == (kind, errno)
    assert (found.best[0].cause.name, found.best[0].judgement.certainty) == (cause, certainty)


def test_what_is_not_the_cause_of_the_parallel_allocations(shared: Path) -> None:
    found = first(shared, "nxp-mx6q-cma-ebusy")
    out = [finding.cause.name for finding in found.with_certainty(Certainty.RULED_OUT)]
    assert out == ["bitmap fragmentation"]
    area = found.evidence.area
    assert area is not None
    assert (area.pages, area.free, area.largest, found.evidence.pages) == (81920, 33161, 7276, 148)
    assert found.evidence.window == 8192


def test_zones_without_the_failure_are_not_made_more_of(shared: Path) -> None:
    # free memory lies between min and low: kswapd runs, requests that may wait are served
    found = first(shared, "coreos-1106-meminfo")
    assert found.kind == "memory state"
    assert [(f.cause.name, f.judgement.certainty) for f in found.best] == [("memory short", Certainty.POSSIBLE)]
