"""Consumers of contiguous memory, asked with numbers of the right type that make no sense."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from ...consumers.cma import CmaArea
from ...consumers.cma_boot import CmaBoot, Memblock, activate
from ...consumers.dma import Device, DmaAreas, TreeNode, dma_contiguous_reserve, early_cma, memparse, rmem_cma_setup
from ...consumers.fadump import FadumpRequest, fadump_reserve_mem
from ...consumers.hugetlb import HugetlbPool, gigantic_order, hugetlb_cma_reserve
from ...consumers.memory_hotplug import MemoryHotplug, memory_block_size
from ...consumers.virtio_mem import VirtioMem
from ...consumers.virtio_mem_device import VirtioMemDevice
from ...errors import PageblockError
from ...mm import Geometry, Zone
from ...mm.memory import Member, Memory
from .judge import Fault, Outcome, where
from .mutate import NUMBERS
from .zone import REFUSALS, same

__all__ = ["ask_consumers"]

RELEASES = ("5.15", "seed", "6.1", "6.12", "6.19")
PARAMETERS = (
    "",
    "64M",
    "0",
    "4M@4M",
    "4M@0-8M",
    "1G@",
    "-1",
    "99999999999999999999999G",
    "0x",
    "4M@x",
    "4M-8M",
    "1E",
    "\udcff",
    "4M@4M-2M",
)


def number(random: Random) -> int:
    """A number: one that may fit, or one at which something ends."""
    return random.choice(
        (
            0,
            1,
            3,
            16,
            63,
            64,
            128,
            512,
            1024,
            4096,
            1 << 20,
            1 << 22,
            1 << 24,
            random.choice(NUMBERS),
            random.choice(NUMBERS),
        )
    )


def ask_consumers(random: Random) -> Outcome:
    """Some requests of one consumer on a small memory. Raises Fault for what is neither answered nor refused."""
    release = random.choice(RELEASES)
    zone = Zone(8192, release)
    memory = Memory([Member(zone, kind="Normal", node=0)])
    for _ in range(random.choice((0, 30))):
        zone.alloc(random.choice((0, 0, 3)), random.choice((0, 1)))
    ended: set[Outcome] = set()
    for name, function in random.choice((cma, boot, dma, hugetlb, hotplug, virtio))(memory, random):
        ended.add(ask(zone, name, function))
    return "refused" if "refused" in ended else "answered"


def ask(zone: Zone, name: str, function: Callable[[], Any]) -> Outcome:
    """One request; whether it was refused."""
    before = zone.saved_state()
    try:
        function()
    except PageblockError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise Fault(f"not a clear line: {name}", repr(str(error))[:300]) from error
        if isinstance(error, REFUSALS) and not same(before, zone.saved_state()):
            raise Fault(f"refused, but the zone changed: {name}", str(error)) from error
        return "refused"
    except BaseException as error:
        raise Fault(f"traceback: {where(error)} in {name}", " ".join(str(error).split())[:300]) from error
    return "answered"


Requests = list[tuple[str, Callable[[], Any]]]
T = TypeVar("T")


def each(made: Sequence[T], do: Callable[[T], Any]) -> None:
    """Do it with what was made, if it was."""
    for one in made:
        do(one)


def cma(memory: Memory, random: Random) -> Requests:
    """An area somewhere, its bitmap, allocations and releases."""
    zone = memory.members[0].zone
    made: list[CmaArea] = []
    base, count, bit = (
        random.choice((0, 1024, 4096, number(random))),
        random.choice((512, 1024, number(random))),
        random.choice((0, 0, 2, number(random))),
    )
    pages, align = number(random), random.choice((0, 4, number(random)))
    return [
        ("CmaArea", lambda: made.append(CmaArea(random.choice((zone, memory)), base, count, bit))),
        ("activate", lambda: each(made, CmaArea.activate)),
        ("alloc", lambda: [area.alloc(pages, align) for area in made]),
        ("alloc", lambda: [area.alloc(8, 0) for area in made]),
        ("release", lambda: [area.release(number(random), pages) for area in made]),
        (
            "load_bitmap",
            lambda: each(
                made, lambda a: a.load_bitmap([True, False] * random.choice((1, min(max(count, 0), 9998) // 2)))
            ),
        ),
        ("debugfs", lambda: [area.debugfs() for area in made]),
    ]


def boot(memory: Memory, random: Random) -> Requests:
    """Reservations of early boot."""
    zone = memory.members[0].zone
    geometry = zone.geometry
    block = Memblock([(0, 8192 * 4096, 0)], [(0, 1 << 20)], random.choice((None, 1 << 24)), random.random() < 0.5)
    made = CmaBoot(
        block,
        zone.release,
        Geometry(8192, 0, geometry.max_order, geometry.pageblock_order, 4096, None),
        random.choice((20, 1, 0)),
    )
    v = values = [random.choice((0, 1 << 22, 1 << 24, number(random))) for _ in range(6)]
    text = random.choice(PARAMETERS)
    request = FadumpRequest(values[0], random.random() < 0.5, random.choice(("pseries", "powernv", "x")), *values[1:4])
    return [
        ("memparse", lambda: memparse(text)),
        ("dma_contiguous_reserve", lambda: dma_contiguous_reserve(made, early_cma(text), values[0], values[1])),
        ("declare_contiguous", lambda: made.declare_contiguous(v[0], v[1], v[2], v[3], v[4], random.random() < 0.5)),
        ("init_reserved_mem", lambda: made.init_reserved_mem(v[0], v[1], v[2])),
        ("rmem_cma_setup", lambda: rmem_cma_setup(made, TreeNode("x", values[0], values[1]))),
        (
            "hugetlb_cma_reserve",
            lambda: hugetlb_cma_reserve(
                made, values[0], random.choice((11, 18, number(random))), random.choice(([0], [0, 1], []))
            ),
        ),
        ("fadump_reserve_mem", lambda: fadump_reserve_mem(made, request)),
        ("activate", lambda: [activate(zone, area) for area in made.areas]),
    ]


def dma(memory: Memory, random: Random) -> Requests:
    """Buffers for devices."""
    areas = DmaAreas(memory, alignment=random.choice((8, number(random))))
    device = Device(random.choice((None, 0, number(random))))
    size = number(random)
    return [
        ("dma_alloc_contiguous", lambda: areas.dma_alloc_contiguous(device, size)),
        ("alloc_pages", lambda: areas.alloc_pages(device, size)),
        ("dma_free_contiguous", lambda: areas.dma_free_contiguous(device, number(random), size)),
    ]


def hugetlb(memory: Memory, random: Random) -> Requests:
    """Gigantic pages."""
    zone = memory.members[0].zone
    made: list[HugetlbPool] = []
    order = random.choice((11, 12, number(random)))
    count, node = random.choice((0, 1, 2, number(random))), random.choice((None, 0, number(random)))
    return [
        ("gigantic_order", lambda: gigantic_order(number(random), zone.geometry)),
        ("HugetlbPool", lambda: made.append(HugetlbPool(memory, order))),
        ("set_nr_hugepages", lambda: [pool.set_nr_hugepages(min(count, 9999), node) for pool in made]),
        ("alloc_gigantic_page", lambda: [pool.alloc_gigantic_page(node or 0) for pool in made]),
        ("dissolve", lambda: [pool.dissolve(number(random)) for pool in made]),
        ("set_nr_hugepages", lambda: [pool.set_nr_hugepages(0) for pool in made]),
    ]


def hotplug(memory: Memory, random: Random) -> Requests:
    """Memory blocks offline and online."""
    made: list[MemoryHotplug] = []
    size, section = random.choice((1024, 512, number(random))), random.choice((1024, number(random)))
    start, pages = number(random), number(random)
    return [
        ("memory_block_size", lambda: memory_block_size(number(random), hypervisor=random.random() < 0.5)),
        ("MemoryHotplug", lambda: made.append(MemoryHotplug(memory, size, section_pages=section))),
        ("offline_block", lambda: [one.offline_block(number(random)) for one in made]),
        ("offline_pages", lambda: [one.offline_pages(start, pages) for one in made]),
        (
            "online_pages",
            lambda: [one.online_pages(start, pages, random.choice((None, "Normal", "Movable", "x"))) for one in made],
        ),
    ]


def virtio(memory: Memory, random: Random) -> Requests:
    """A virtio-mem device."""
    made: list[VirtioMem] = []
    device = VirtioMemDevice(
        random.choice((0, 1 << 22, number(random))),
        random.choice((1 << 24, number(random))),
        random.choice((1 << 21, number(random))),
    )

    def add() -> None:
        made.append(VirtioMem(MemoryHotplug(memory, 1024, section_pages=1024), device))

    return [
        ("VirtioMem", add),
        ("adopt", lambda: each(made, VirtioMem.adopt)),
        ("request", lambda: [one.request(number(random)) for one in made]),
        ("online_block", lambda: [one.online_block(number(random)) for one in made]),
        ("states", lambda: [one.states() for one in made]),
    ]
