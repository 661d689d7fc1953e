"""How the memory of a recorded virtual machine is used: a table of workloads, which oracle/machine/use.c carries out."""

from dataclasses import dataclass, field

__all__ = ["WORKLOADS", "Workload"]


@dataclass(frozen=True)
class Workload:
    """A machine and what lies in its memory. Sizes in MiB; ``uses``: of each kind that use.c knows.

    ``below_4g_mib``: memory below 4 GiB, DMA and DMA32; the rest is Normal. ``hugepages``: 2 MiB pages of the pool.
    ``options``: more words of the kernel's command line. ``block_bytes``: of the disk's file system.
    """

    about: str
    memory_mib: int
    below_4g_mib: int
    uses: dict[str, int] = field(default_factory=dict)
    hugepages: int = 0
    cpus: int = 1
    options: str = ""
    block_bytes: int = 4096


#: What every one of the larger workloads holds.
EVERYTHING = {
    "anon": 120,
    "mlock": 24,
    "thp": 96,
    "hugetlb": 16,
    "tmpfs": 100,
    "file": 140,
    "mapped": 20,
    "dirty": 8,
    "pipe": 4,
    "slab": 6,
    "procs": 4,
}
#: Pages with more references than their mappings, for long.
HELD = {"pin": 3}

WORKLOADS = {
    "mixed": Workload("everything, pins too", 1024, 512, {**EVERYTHING, **HELD}, hugepages=12),
    "unpinned": Workload("everything but pins", 1024, 512, EVERYTHING, hugepages=12),
    "pipes": Workload(
        "pages that pipes refer to, which no counter tells", 512, 256, {"anon": 120, "vmsplice": 1, "file": 40}
    ),
    "small": Workload(
        "a little of everything, pins too",
        352,
        192,
        {
            "anon": 24,
            "mlock": 8,
            "thp": 16,
            "hugetlb": 4,
            "tmpfs": 16,
            "file": 24,
            "mapped": 8,
            "dirty": 4,
            "pipe": 1,
            "slab": 2,
            "procs": 1,
            "pin": 1,
        },
        hugepages=4,
    ),
    "files": Workload(
        "page cache, clean, mapped and dirty, of a disk with small blocks",
        768,
        384,
        {"file": 180, "mapped": 90, "dirty": 16, "anon": 40, "slab": 4, "procs": 2},
        block_bytes=1024,
    ),
    "fullpool": Workload(
        "huge pages in use, none left in their pool",
        512,
        256,
        {"hugekeep": 12, "anon": 80, "tmpfs": 30, "procs": 1},
        hugepages=6,
    ),
    "kernel": Workload(
        "much that cannot move",
        768,
        384,
        {"pipe": 48, "slab": 24, "procs": 32, "anon": 120, "tmpfs": 80, "file": 40},
    ),
    "smp": Workload("everything, on two processors", 1024, 512, EVERYTHING, hugepages=12, cpus=2),
    "movable": Workload(
        "everything, with a zone of movable memory", 1024, 512, {**EVERYTHING, **HELD}, 8, options="movablecore=256M"
    ),
    "gigantic": Workload(
        "everything, with a huge page of 1 GiB",
        3200,
        3072,
        {**EVERYTHING, **HELD, "file": 200},
        hugepages=12,
        options="hugepagesz=1G hugepages=1 hugepagesz=2M",
    ),
    "large": Workload("four times everything, on 3 GiB", 3328, 2816, {k: 4 * v for k, v in EVERYTHING.items()}, 8),
}
