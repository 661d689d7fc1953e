"""What the same requests cost a real kernel, in instructions.

Debian's Linux 6.1.192 in QEMU with ``-icount shift=0``, where one nanosecond of guest time is one
instruction; an untouched hot-added node of 131,072 pages. Recorded once, by the project's oracle.
"""

__all__ = ["KERNEL_INSTRUCTIONS"]

#: Name of a count in ``bench.counted`` -> instructions of the kernel, its per-cpu lists off
#: unless the name says on.
KERNEL_INSTRUCTIONS: dict[str, float] = {
    "order-0 pair, split from and merged to order 10": 2625,
    "order-0 pair, per-cpu lists on": 600.5,
    "order-0 batch of 4096, per-cpu lists on": 344 + 266,
    "order-9 pair": 22408.5,
    "order-0 batch of 4096, an allocation and its free": 686 + 673,
    "alloc_contig_range, 512 free pages": 35_648,
    "alloc_contig_range, 1024 free pages": 120_466,
    "alloc_contig_range, 8192 free pages": 905_871,
    "alloc_contig_range, 512 pages, every other movable": 643_298,
    "alloc_contig_range, 1024 pages, every other movable": 1_277_803,
    "alloc_contig_range, 8192 pages, every other movable": 9_631_142,
    "free_contig_range, 512 pages": 349_204,
    "free_contig_range, 1024 pages": 698_271,
    "free_contig_range, 8192 pages": 5_585_618,
}
