"""What the series' patches for consumers (5 CMA, 6 virtio-mem, 7 fadump) change: what must be aligned, and what that costs."""

from dataclasses import dataclass

from ..consumers.cma_boot import BootRefused, CmaBoot, Memblock
from ..consumers.fadump import MIN_BOOT_MEM, FadumpRequest, fadump_reserve_mem
from ..consumers.memory_hotplug import SECTION_SIZE, MemoryHotplug
from ..consumers.virtio_mem import VirtioMem
from ..consumers.virtio_mem_device import VirtioMemDevice
from ..doctor.sizes import size_name
from ..machine import Snapshot
from ..mm import Geometry, Zone
from ..mm import constants as k
from ..mm import release as find_release
from ..mm.memory import Member, Memory
from .passes import Pass, Setting, take_and_give_back

__all__ = ["Alignment", "alignment"]

#: Rules that only consumers ask for.
CONSUMERS = {k.RULE_CMA_ALIGN, k.RULE_VIRTIO_SUBBLOCK, k.RULE_FADUMP_ALIGN}

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a consumer must align to, in pages: with the whole series and without this patch.

    ``asked``: a request that shows it; ``answers``: what it gets with the series and without the patch, in words; both empty
    where nothing differs here.
    ``figure``: what that costs on the machine, ``with_series`` and ``without``, in ``unit`` ("pages" or "places").
    """

    what: str
    aligned: int
    aligned_before: int
    asked: str
    answers: tuple[str, str]
    figure: str
    unit: str
    with_series: int
    without: int


def alignment(snapshot: Snapshot, release: str, series: str, whole: Pass) -> Alignment | None:
    """What a switch changes that only consumers ask for; None if the allocator changes, too.

    ``series``: the release with every switch as described; ``whole``: every pageblock taken under it.
    """
    block = 1 << snapshot.pageblock_order
    sizes = {k.ALIGN_PAGEBLOCK: block, k.ALIGN_MAX_ORDER: max(1 << snapshot.max_order, block)}
    rules, base = find_release(release).rules, find_release(series).rules

    changed = [rule for rule in range(len(base)) if rules[rule] != base[rule]]
    for rule in changed if CONSUMERS.issuperset(changed) else ():
        now, before = sizes[base[rule]], sizes[rules[rule]]
        if rule == k.RULE_CMA_ALIGN:
            places = [
                sum(max(zone.end_pfn // n - -(-zone.start_pfn // n), 0) for zone in snapshot.zones)
                for n in (now, before)
            ]
            return Alignment(
                "base and size of a CMA area (cma=, shared-dma-pool)",
                now,
                before,
                f"a CMA area of one pageblock at pfn {now:,}",
                (_cma_area(snapshot, series, now), _cma_area(snapshot, release, now)),
                "places for an area of that size",
                "places",
                *places,
            )
        if rule == k.RULE_VIRTIO_SUBBLOCK:
            larger = take_and_give_back(snapshot, release, Setting(before, 0, before))
            return Alignment(
                "smallest step in which virtio-mem plugs and unplugs",
                now,
                before,
                f"{size_name(now, snapshot.page_size)} taken back by a device of that block size",
                (_virtio_mem(snapshot, series, now), _virtio_mem(snapshot, release, now)),
                "memory that can be unplugged now",
                "pages",
                whole.granted * now,
                larger.granted * before,
            )
        crashkernel = MIN_BOOT_MEM["pseries"] + now * snapshot.page_size
        return Alignment(
            "base and size of what fadump reserves for CMA",
            now,
            before,
            f"fadump with crashkernel={crashkernel // MIB}M",
            (_fadump(snapshot, series, crashkernel), _fadump(snapshot, release, crashkernel)),
            "most that rounding adds",
            "pages",
            now - 1,
            before - 1,
        )
    return None


def _boot(snapshot: Snapshot, release: str, nr_pages: int) -> CmaBoot:
    """The early boot of a machine with this page size and these orders, of whose memory nothing is reserved yet."""
    geometry = Geometry(nr_pages, 0, snapshot.max_order, snapshot.pageblock_order, snapshot.page_size, None)
    memory = Memblock([(0, nr_pages * snapshot.page_size, 0)], page_size=snapshot.page_size)
    return CmaBoot(memory, release, geometry)


def _cma_area(snapshot: Snapshot, release: str, block: int) -> str:
    """What becomes of an area of the second pageblock of memory, as a device tree asks for it with ``reg``."""
    boot = _boot(snapshot, release, 8 * block)
    base = size = block * snapshot.page_size
    boot.memblock.reserve(base, size)
    try:
        boot.init_reserved_mem(base, size)
    except BootRefused as refusal:
        return f"-{refusal.errno} by {refusal.function}"
    return "granted"


def _virtio_mem(snapshot: Snapshot, release: str, block: int) -> str:
    """What a virtio-mem device of two sections gets back if it asks for a pageblock less."""
    section = max(SECTION_SIZE // snapshot.page_size, 1 << max(snapshot.max_order, snapshot.pageblock_order))
    orders = (snapshot.max_order, snapshot.pageblock_order)
    zone = Zone(2 * section, release, 0, *orders, page_size=snapshot.page_size)
    hotplug = MemoryHotplug(Memory([Member(zone)]), section_pages=section)
    size = 2 * section * snapshot.page_size
    driver = VirtioMem(hotplug, VirtioMemDevice(0, size, block * snapshot.page_size))
    driver.adopt()
    driver.request(size - block * snapshot.page_size)
    got = (size - driver.plugged_size) // snapshot.page_size
    return f"{size_name(got, snapshot.page_size)} unplugged" if got else "nothing unplugged"


def _fadump(snapshot: Snapshot, release: str, crashkernel: int) -> str:
    """What fadump reserves for a kernel that needs ``crashkernel`` bytes, on a machine where that is below a quarter."""
    boot = _boot(snapshot, release, -(-8 * crashkernel // snapshot.page_size))
    reserved = fadump_reserve_mem(boot, FadumpRequest(crashkernel=crashkernel))
    return f"{reserved.boot_memory_size / MIB:,.0f} MiB of boot memory"
