"""The driver of a virtio-mem device: which memory it plugs and unplugs, in which steps and order.

Source: drivers/virtio/virtio_mem.c (5.15.16, 6.1.192, 6.12.117, 6.19.9). Addresses and sizes in bytes, as the device has them.
It grants each request at once, its usable region is the whole region, and nobody changes its configuration meanwhile.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from ..mm import Zone
from ..mm.errors import ContigRefused, UsageError
from ..mm.types import PageClass
from .kernel import kernel_version
from .memory_hotplug import MemoryHotplug, MemoryNotifier, Range
from .trial import Step, given, refused
from .virtio_mem_device import PLUG_ORDER, UNPLUG_ORDER, BigBlock, MemoryBlock, VirtioMemDevice, subblock_size

__all__ = ["VirtioMem"]

EAGAIN, ENOMEM, EBUSY, EINVAL, ENOSPC = 11, 12, 16, 22, 28

#: VIRTIO_MEM_DEFAULT_OFFLINE_THRESHOLD: memory that may be added and not online.
OFFLINE_THRESHOLD = 1 << 30

#: Bits of an address of memory, at most: 52 on x86-64 and arm64 (MAX_PHYSMEM_BITS).
PHYSMEM_BITS = 52

#: Memory blocks that a device's region is looked at for, one by one: 64 TiB of the smallest, 128 MiB.
MOST_BLOCKS = 1 << 19

#: How often a range of ZONE_MOVABLE is tried; any other is tried once.
FAKE_OFFLINE_TRIES = 5


_ONLINE = (MemoryBlock.KERNEL, MemoryBlock.KERNEL_PARTIAL, MemoryBlock.MOVABLE, MemoryBlock.MOVABLE_PARTIAL)


class VirtioMem(MemoryNotifier):
    """The driver of one device.

    Args:
        hotplug: memory, and the size of its blocks; the driver becomes one of its notifiers.
        device: what the device says.
        online: kind of the zone to which added blocks go online at once (memhp_default_state); None: they stay offline.

    Attributes:
        sub_block_mode: several sub-blocks a memory block; else whole big blocks.
        sb_size, bb_size: bytes of a sub-block or a big block; of the other mode 0.
        blocks: memory block -> its state; in big-block mode ``big_blocks``.
        plugged_size, requested_size: bytes.
        offline_size: bytes added and not online.

    Raises:
        UsageError: a device block that is no power of two or smaller than a page, or an address or size that is no
            multiple of it.
    """

    def __init__(self, hotplug: MemoryHotplug, device: VirtioMemDevice, *, online: str | None = "Normal") -> None:
        zone = hotplug.memory.members[0].zone
        self.hotplug = hotplug
        self.device = device
        self.online_kind = online
        self.page_size = zone.geometry.page_size
        self.pageblock_pages = 1 << zone.geometry.pageblock_order
        self.mb_size = hotplug.block_pages * self.page_size
        self.release_name = zone.release
        self.kernel = kernel_version(zone.release)
        self._check_device()
        size = subblock_size(zone.release, zone, device.device_block_size)
        self.sub_block_mode = size < self.mb_size and not device.force_bbm
        self.sb_size = size if self.sub_block_mode else 0
        self.sbs_per_mb = self.mb_size // size if self.sub_block_mode else 0
        self.bb_size = 0 if self.sub_block_mode else max(device.device_block_size, self.mb_size)
        wanted = device.bbm_block_size
        # a size that is no power of two or too small is passed over with a warning
        if not self.sub_block_mode and wanted >= self.bb_size and wanted & (wanted - 1) == 0:
            self.bb_size = wanted
        unit = self.mb_size if self.sub_block_mode else self.bb_size
        self.first_id = -(-device.addr // unit)
        self.next_id = self.first_id
        self.last_usable_id = (device.addr + device.region_size) // unit - 1
        self.blocks: dict[int, MemoryBlock] = {}
        self.big_blocks: dict[int, BigBlock] = {}
        self.sub_blocks: dict[int, bytearray] = {}
        self.never_onlined: set[int] = set()
        self.plugged_size = self.requested_size = self.offline_size = 0
        self.offline_threshold = max(2 * self.mb_size, OFFLINE_THRESHOLD, 2 * self.bb_size)
        self.have_unplugged_mb = False
        hotplug.notifiers.append(self)

    def _check_device(self) -> None:
        device = self.device
        block = device.device_block_size
        if block < self.page_size or block & (block - 1):
            raise UsageError(
                f"a device block of {block} bytes: give a power of two, at least a page of {self.page_size} bytes"
            )
        if device.addr < 0 or device.region_size < 1 or device.addr % block or device.region_size % block:
            raise UsageError(
                f"a device at {device.addr:#x} of {device.region_size} bytes: give multiples of its block of {block} bytes"
            )
        if device.region_size // self.mb_size > MOST_BLOCKS or (device.addr + device.region_size) >> PHYSMEM_BITS:
            raise UsageError(
                f"a device at {device.addr:#x} of {device.region_size} bytes: it must lie below 2^{PHYSMEM_BITS} and hold at most"
                f" {MOST_BLOCKS:,} memory blocks of {self.mb_size} bytes"
            )

    # ---- what it is ----

    @property
    def steps(self) -> list[Step]:
        """All that was done, in order: those of the memory too."""
        return self.hotplug.steps

    @property
    def step_size(self) -> int:
        """Bytes of the smallest change."""
        return self.sb_size or self.bb_size

    def _zone(self, pfn: int) -> Zone:
        return self.hotplug.memory.member_of(pfn).zone

    def _pfn(self, unit: int, sub_block: int = 0) -> int:
        """First pfn of a block, or of a sub-block in it."""
        size = self.mb_size if self.sub_block_mode else self.bb_size
        return (unit * size + sub_block * self.sb_size) // self.page_size

    def adopt(self) -> None:
        """Take over the region's whole blocks that are online in one zone, as if the driver had added them; others are unused."""
        unit = (self.mb_size if self.sub_block_mode else self.bb_size) // self.page_size
        for number in range(self.first_id, self.last_usable_id + 1):
            zone = self._whole_online(self._pfn(number), unit)
            if self.sub_block_mode:
                self.blocks[number] = MemoryBlock.UNUSED
                self.sub_blocks[number] = bytearray([zone is not None]) * self.sbs_per_mb
                if zone is not None:
                    self.blocks[number] = MemoryBlock.MOVABLE if zone.is_zone_movable else MemoryBlock.KERNEL
            else:
                self.big_blocks[number] = BigBlock.UNUSED if zone is None else BigBlock.ADDED
            self.plugged_size += unit * self.page_size if zone is not None else 0
        self.next_id = self.last_usable_id + 1
        self.requested_size = self.plugged_size

    def _whole_online(self, start: int, nr_pages: int) -> Zone | None:
        """The zone in which all pages of a range are online."""
        for member in self.hotplug.memory.members:
            zone = member.zone
            if zone.start_pfn <= start and start + nr_pages <= zone.end_pfn:
                return zone if zone.first_hole(start, start + nr_pages) is None else None
        return None

    # ---- the work queue ----

    def request(self, size: int, *, runs: int = 1) -> int:
        """The device asks for a size: what virtio_mem_run_wq does, ``runs`` times at most; errno of the last.

        A run that ends busy is repeated by a timer (50 s, then twice as long each time up to 5 minutes), for ever, and one that
        removed a memory block at once (virtio_mem_retry); here until one changes nothing.
        """
        self.requested_size = size
        rc = 0
        for _ in range(runs):
            before = self.plugged_size
            rc = self._run()
            if rc == 0 or self.plugged_size == before:
                break
        return rc

    def _run(self) -> int:
        """One run of the work queue (virtio_mem_run_wq)."""
        rc = self._cleanup_pending()
        if not rc and self.requested_size > self.plugged_size:
            diff = self.requested_size - self.plugged_size
            rc = self._sbm_plug(diff // self.sb_size) if self.sub_block_mode else self._bbm_plug(diff // self.bb_size)
        elif not rc and self.requested_size < self.plugged_size:
            diff = self.plugged_size - self.requested_size
            rc = (
                self._sbm_unplug(diff // self.sb_size)
                if self.sub_block_mode
                else self._bbm_unplug(diff // self.bb_size)
            )
        return rc or (EBUSY if self.have_unplugged_mb else 0)

    def _cleanup_pending(self) -> int:
        """virtio_mem_cleanup_pending_mb (6.6): blocks without any plugged sub-block that could not be removed are tried again."""
        if not self.have_unplugged_mb:
            return 0
        self.have_unplugged_mb = False
        failed = 0
        for state in (MemoryBlock.MOVABLE_PARTIAL, MemoryBlock.KERNEL_PARTIAL, MemoryBlock.OFFLINE_PARTIAL):
            for mb in self._in_state(state):
                failed |= self._try_remove_unplugged(mb)
        self.have_unplugged_mb = failed != 0
        return 0

    def _in_state(self, state: MemoryBlock | BigBlock, *, highest_first: bool = False) -> Iterator[int]:
        """Blocks that are in a state when their turn comes (virtio_mem_sbm_for_each_mb, _rev)."""
        states: dict[int, MemoryBlock] | dict[int, BigBlock] = self.blocks if self.sub_block_mode else self.big_blocks
        order = range(self.first_id, self.next_id)
        for number in reversed(order) if highest_first else order:
            if states[number] is state:
                yield number

    def _could_add(self, size: int) -> bool:
        return self.offline_size + size <= self.offline_threshold

    # ---- fake offline ----

    def _fake_offline(self, pfn: int, nr_pages: int) -> int:
        """Allocate a range, mark its pages PageOffline and take them from the managed ones (virtio_mem_fake_offline).

        Five tries in ZONE_MOVABLE, one elsewhere; -ENOMEM ends it at once, any other error is -EBUSY in the end.
        """
        zone = self._zone(pfn)
        for attempt in range(FAKE_OFFLINE_TRIES):
            note = f"try {attempt + 1}" if attempt else ""
            try:
                done = zone.alloc_contig_range(pfn, pfn + nr_pages, page_class=PageClass.OFFLINE)
            except ContigRefused as refusal:
                self.steps.append(refused("virtio_mem_fake_offline", pfn, nr_pages, refusal, note))
                if refusal.errno == ENOMEM:
                    return ENOMEM
                if not zone.is_zone_movable:
                    break
                continue
            self.steps.append(given("virtio_mem_fake_offline", done, note))
            zone.adjust_managed_page_count(-nr_pages)
            return 0
        return EBUSY

    def _fake_online(self, pfn: int, nr_pages: int) -> None:
        """Give fake-offline pages to the allocator in the largest blocks that fit (virtio_mem_fake_online)."""
        zone = self._zone(pfn)
        order = zone.geometry.max_order
        while (pfn | nr_pages) & ((1 << order) - 1):
            order -= 1
        for start in range(pfn, pfn + nr_pages, 1 << order):
            if start // self.pageblock_pages in self.never_onlined:
                # kept back when the block went online: PageDirty
                self.never_onlined.difference_update(self._pageblocks(start, 1 << order))
                zone.generic_online_page(start, order)
            else:
                zone.free_contig_range(start, 1 << order)
                zone.adjust_managed_page_count(1 << order)
        self.steps.append(Step("virtio_mem_fake_online", pfn, nr_pages))

    def _pageblocks(self, pfn: int, nr_pages: int) -> range:
        return range(pfn // self.pageblock_pages, -(-(pfn + nr_pages) // self.pageblock_pages))

    def _online_page(self, zone: Zone, pfn: int, order: int) -> bool:
        """Online what is plugged of a block of pages, keep the rest PageOffline (virtio_mem_online_page)."""
        start, size = pfn * self.page_size, self.page_size << order
        if start < self.device.addr or start + size > self.device.addr + self.device.region_size:
            return False
        if not self.sub_block_mode:
            if self.big_blocks[start // self.bb_size] is BigBlock.FAKE_OFFLINE:
                self.never_onlined.update(self._pageblocks(pfn, 1 << order))
                return True
            return False
        bits = self.sub_blocks[start // self.mb_size]
        first = start % self.mb_size // self.sb_size
        count = (start % self.mb_size + size - 1) // self.sb_size - first + 1
        plugged = bits[first : first + count].count(1)
        if plugged == count:
            return False
        if plugged == 0:
            self.never_onlined.update(self._pageblocks(pfn, 1 << order))
            return True
        # a mixture: sub-block by sub-block
        pages = self.sb_size // self.page_size
        for number in range(count):
            if bits[first + number]:
                zone.generic_online_page(pfn + number * pages, pages.bit_length() - 1)
            else:
                self.never_onlined.update(self._pageblocks(pfn + number * pages, pages))
        return True

    # ---- adding and removing memory ----

    def _add_memory(self, pfn: int, nr_pages: int) -> None:
        """Tell Linux of the memory, which may put it online at once (virtio_mem_add_memory)."""
        self.offline_size += nr_pages * self.page_size
        self.steps.append(Step("add_memory_driver_managed", pfn, nr_pages))
        if self.online_kind is not None:
            for start in range(pfn, pfn + nr_pages, self.hotplug.block_pages):
                self.hotplug.online_pages(
                    start, self.hotplug.block_pages, self.online_kind, online_page=self._online_page
                )

    def online_block(self, block: int, kind: str | None = None) -> int:
        """Write ``online`` to the state of a memory block that the driver added; errno."""
        start, _ = self.hotplug.block_range(block)
        return self.hotplug.online_pages(start, self.hotplug.block_pages, kind, online_page=self._online_page)

    def _offline_and_remove(self, pfn: int, nr_pages: int) -> int:
        """offline_and_remove_memory: what went offline comes back online if a later block does not go."""
        done: list[tuple[int, str]] = []
        for start in range(pfn, pfn + nr_pages, self.hotplug.block_pages):
            block = start // self.hotplug.block_pages
            if not self.hotplug.block_is_online(block):
                continue
            kind = self.hotplug.memory.member_of(start).kind
            rc = self.hotplug.offline_block(block).errno
            if rc:
                for number, of in done:
                    self.online_block(number, of)
                return rc if self.kernel < (6, 6) or rc == ENOMEM else EBUSY
            done.append((block, kind))
        self._remove(pfn, nr_pages)
        return 0

    def _remove(self, pfn: int, nr_pages: int) -> None:
        """remove_memory: it is offline."""
        self.offline_size -= nr_pages * self.page_size
        self.never_onlined.difference_update(self._pageblocks(pfn, nr_pages))
        self.steps.append(Step("remove_memory", pfn, nr_pages))

    # ---- sub-block mode ----

    def _mark(self, mb: int, first: int, count: int, *, plugged: bool) -> None:
        """The device plugs or unplugs sub-blocks."""
        self.sub_blocks[mb][first : first + count] = bytes([plugged]) * count
        size = count * self.sb_size
        self.plugged_size += size if plugged else -size
        name = "VIRTIO_MEM_REQ_PLUG" if plugged else "VIRTIO_MEM_REQ_UNPLUG"
        self.steps.append(Step(name, self._pfn(mb, first), size // self.page_size))

    def _full(self, mb: int) -> bool:
        return self.sub_blocks[mb].count(1) == self.sbs_per_mb

    def _sbm_plug(self, nb_sb: int) -> int:
        """Partly plugged blocks first, lowest first, each from its lowest sub-block; then unused and new blocks."""
        for state in PLUG_ORDER:
            for mb in self._in_state(state):
                if not nb_sb:
                    return 0
                nb_sb = self._plug_any(mb, nb_sb)
        for mb in self._in_state(MemoryBlock.UNUSED):
            if not nb_sb:
                return 0
            if not self._could_add(self.mb_size):
                return ENOSPC
            nb_sb = self._plug_and_add(mb, nb_sb)
        while nb_sb:
            if not self._could_add(self.mb_size) or self.next_id > self.last_usable_id:
                return ENOSPC
            self.next_id += 1
            self.blocks[self.next_id - 1] = MemoryBlock.UNUSED
            self.sub_blocks[self.next_id - 1] = bytearray(self.sbs_per_mb)
            nb_sb = self._plug_and_add(self.next_id - 1, nb_sb)
        return 0

    def _plug_any(self, mb: int, nb_sb: int) -> int:
        """Plug sub-blocks of a block that is added, and fake-online them if it is online; how many are still wanted."""
        state = self.blocks[mb]
        bits = self.sub_blocks[mb]
        while nb_sb and not self._full(mb):
            first = bits.find(0)
            end = bits.find(1, first)
            count = min(nb_sb, (self.sbs_per_mb if end < 0 else end) - first)
            self._mark(mb, first, count, plugged=True)
            nb_sb -= count
            if state is not MemoryBlock.OFFLINE_PARTIAL:
                self._fake_online(self._pfn(mb, first), count * self.sb_size // self.page_size)
        if self._full(mb):
            self.blocks[mb] = MemoryBlock(state - 1)
        return nb_sb

    def _plug_and_add(self, mb: int, nb_sb: int) -> int:
        """Plug a block's first sub-blocks and add it; how many are still wanted."""
        count = min(nb_sb, self.sbs_per_mb)
        self._mark(mb, 0, count, plugged=True)
        self.blocks[mb] = MemoryBlock.OFFLINE if count == self.sbs_per_mb else MemoryBlock.OFFLINE_PARTIAL
        self._add_memory(self._pfn(mb), self.hotplug.block_pages)
        return nb_sb - count

    def _sbm_unplug(self, nb_sb: int) -> int:
        """Offline blocks first, then partly plugged ones, ZONE_MOVABLE before others; the highest block first each time."""
        if not nb_sb:
            return 0
        for state in UNPLUG_ORDER:
            if state is MemoryBlock.MOVABLE_PARTIAL and not self.device.unplug_online:
                return 0
            for mb in self._in_state(state, highest_first=True):
                if state in _ONLINE:
                    rc, nb_sb = self._unplug_online(mb, nb_sb)
                else:
                    rc, nb_sb = 0, self._unplug_offline(mb, nb_sb)
                if rc or not nb_sb:
                    return rc
        return EBUSY

    def _unplug_offline(self, mb: int, nb_sb: int) -> int:
        """Unplug sub-blocks of an offline block, the highest first, in runs; remove it when none is left."""
        bits = self.sub_blocks[mb]
        last = self.sbs_per_mb
        while nb_sb and (last := bits.rfind(1, 0, last)) >= 0:
            first = last
            while last - first + 1 < nb_sb and first and bits[first - 1]:
                first -= 1
            self._mark(mb, first, last - first + 1, plugged=False)
            nb_sb -= last - first + 1
            last = first
        if not self._full(mb):
            self.blocks[mb] = MemoryBlock.OFFLINE_PARTIAL
        if not bits.count(1):
            self.blocks[mb] = MemoryBlock.UNUSED
            self._remove(self._pfn(mb), self.hotplug.block_pages)
        return nb_sb

    def _unplug_sub_blocks(self, mb: int, first: int, count: int) -> int:
        """Fake-offline and unplug sub-blocks of an online block; errno (virtio_mem_sbm_unplug_sb_online)."""
        rc = self._fake_offline(self._pfn(mb, first), count * self.sb_size // self.page_size)
        if rc:
            return rc
        self._mark(mb, first, count, plugged=False)
        if self.blocks[mb] in (MemoryBlock.KERNEL, MemoryBlock.MOVABLE):
            self.blocks[mb] = MemoryBlock(self.blocks[mb] + 1)
        return 0

    def _unplug_online(self, mb: int, nb_sb: int) -> tuple[int, int]:
        """An online block: whole if all of it is wanted and plugged, else sub-block by sub-block, the highest first.

        Busy sub-blocks are passed over. A block that has none left is taken offline and removed; that it does not go is
        not an error. (errno, how many are still wanted).
        """
        whole = nb_sb >= self.sbs_per_mb and self._full(mb)
        rc = self._unplug_sub_blocks(mb, 0, self.sbs_per_mb) if whole else EBUSY
        if rc == 0:
            nb_sb -= self.sbs_per_mb
        elif rc != EBUSY:
            return rc, nb_sb
        for sub_block in reversed(range(self.sbs_per_mb) if rc else ()):
            if not nb_sb:
                break
            if not self.sub_blocks[mb][sub_block]:
                continue
            rc = self._unplug_sub_blocks(mb, sub_block, 1)
            if rc not in (0, EBUSY):
                return rc, nb_sb
            nb_sb -= rc == 0
        if self._try_remove_unplugged(mb) and self.kernel >= (6, 6):
            self.have_unplugged_mb = True
        return 0, nb_sb

    def _try_remove_unplugged(self, mb: int) -> int:
        """Take a block without plugged sub-blocks offline and remove it; errno, 0 for any other block."""
        if self.sub_blocks[mb].count(1):
            return 0
        rc = self._offline_and_remove(self._pfn(mb), self.hotplug.block_pages)
        if not rc:
            self.blocks[mb] = MemoryBlock.UNUSED
        return rc

    # ---- big-block mode ----

    def _bbm_plug(self, nb_bb: int) -> int:
        """Unused big blocks, lowest first, then new ones."""
        while nb_bb:
            unused = next(self._in_state(BigBlock.UNUSED), None)
            if not self._could_add(self.bb_size) or (unused is None and self.next_id > self.last_usable_id):
                return ENOSPC
            if unused is None:
                unused = self.next_id
                self.next_id += 1
            self._resize(unused, plugged=True)
            self.big_blocks[unused] = BigBlock.ADDED
            self._add_memory(self._pfn(unused), self.bb_size // self.page_size)
            nb_bb -= 1
        return 0

    def _resize(self, bb: int, *, plugged: bool) -> None:
        self.plugged_size += self.bb_size if plugged else -self.bb_size
        name = "VIRTIO_MEM_REQ_PLUG" if plugged else "VIRTIO_MEM_REQ_UNPLUG"
        self.steps.append(Step(name, self._pfn(bb), self.bb_size // self.page_size))

    def _bbm_unplug(self, nb_bb: int) -> int:
        """Big blocks that are offline, then those in ZONE_MOVABLE, then all; the highest first each time."""
        if not nb_bb:
            return 0
        for turn in range(3):
            if turn == 1 and not self.device.unplug_online:
                return 0
            for bb in self._in_state(BigBlock.ADDED, highest_first=True):
                sections = self._online_sections(bb)
                movable = all(self._zone(pfn).is_zone_movable for pfn in sections)
                if (turn == 0 and sections) or (turn == 1 and not movable):
                    continue
                rc = self._offline_remove_and_unplug(bb, sections)
                if rc == EBUSY:
                    continue
                nb_bb -= rc == 0
                if rc or not nb_bb:
                    return rc
        return EBUSY

    def _online_sections(self, bb: int) -> list[int]:
        """First pfns of a big block's sections that are online."""
        start = self._pfn(bb)
        section = self.hotplug.section_pages
        return [
            pfn
            for pfn in range(start, start + self.bb_size // self.page_size, section)
            if self._zone(pfn).first_hole(pfn, pfn + 1) is None
        ]

    def _offline_remove_and_unplug(self, bb: int, sections: Sequence[int]) -> int:
        """Fake-offline a big block section by section, take it offline, remove and unplug it; undone if one step fails."""
        self.big_blocks[bb] = BigBlock.FAKE_OFFLINE
        faked: list[int] = []
        rc = 0
        for pfn in sections:
            rc = self._fake_offline(pfn, self.hotplug.section_pages)
            if rc:
                break
            faked.append(pfn)
        rc = rc or self._offline_and_remove(self._pfn(bb), self.bb_size // self.page_size)
        if rc:
            for pfn in faked:
                self._fake_online(pfn, self.hotplug.section_pages)
            self.big_blocks[bb] = BigBlock.ADDED
            return rc
        self._resize(bb, plugged=False)
        self.big_blocks[bb] = BigBlock.UNUSED
        return 0

    # ---- what Linux tells the driver ----

    def _overlaps(self, start_pfn: int, nr_pages: int) -> bool:
        start, end = start_pfn * self.page_size, (start_pfn + nr_pages) * self.page_size
        return start < self.device.addr + self.device.region_size and self.device.addr < end

    def _knows(self, start_pfn: int, nr_pages: int) -> bool:
        """Whether a range is one memory block, or lies in one big block."""
        if self.sub_block_mode:
            return nr_pages == self.hotplug.block_pages and start_pfn % nr_pages == 0
        big = self.bb_size // self.page_size
        return start_pfn // big == (start_pfn + nr_pages - 1) // big

    def going_offline(self, start_pfn: int, nr_pages: int) -> tuple[int, Sequence[Range]]:
        """Let go of what is unplugged in the block, so that it can go offline with it."""
        if not self._overlaps(start_pfn, nr_pages):
            return 0, ()
        if not self._knows(start_pfn, nr_pages):
            return EINVAL, ()
        if not self.sub_block_mode:
            faked = self.big_blocks[start_pfn * self.page_size // self.bb_size] is BigBlock.FAKE_OFFLINE
            return 0, [(start_pfn, start_pfn + nr_pages)] if faked else ()
        mb = start_pfn // nr_pages
        pages = self.sb_size // self.page_size
        unplugged = [i for i, bit in enumerate(self.sub_blocks[mb]) if not bit]
        return 0, [(self._pfn(mb, i), self._pfn(mb, i) + pages) for i in unplugged]

    def offline(self, start_pfn: int, nr_pages: int) -> None:
        """The block is offline; its plugged sub-blocks stay plugged."""
        if not self._overlaps(start_pfn, nr_pages):
            return
        self.offline_size += nr_pages * self.page_size
        if self.sub_block_mode:
            mb = start_pfn // nr_pages
            self.blocks[mb] = (
                MemoryBlock.OFFLINE
                if self.blocks[mb] in (MemoryBlock.KERNEL, MemoryBlock.MOVABLE)
                else (MemoryBlock.OFFLINE_PARTIAL)
            )

    def going_online(self, start_pfn: int, nr_pages: int) -> int:
        """Only blocks that were added may go online."""
        if not self._overlaps(start_pfn, nr_pages):
            return 0
        if not self._knows(start_pfn, nr_pages):
            return EINVAL
        added = (MemoryBlock.OFFLINE, MemoryBlock.OFFLINE_PARTIAL)
        return 0 if not self.sub_block_mode or self.blocks.get(start_pfn // nr_pages) in added else EINVAL

    def online(self, start_pfn: int, nr_pages: int, *, movable: bool) -> None:
        """The block is online, in ZONE_MOVABLE or not."""
        if not self._overlaps(start_pfn, nr_pages):
            return
        self.offline_size -= nr_pages * self.page_size
        if self.sub_block_mode:
            mb = start_pfn // nr_pages
            partial = self.blocks[mb] is MemoryBlock.OFFLINE_PARTIAL
            self.blocks[mb] = MemoryBlock((MemoryBlock.MOVABLE if movable else MemoryBlock.KERNEL) + partial)

    def states(self) -> dict[str, int]:
        """How many blocks are in which state."""
        found = Counter(state.name for state in (*self.blocks.values(), *self.big_blocks.values()))
        return dict(sorted(found.items()))
