"""``pageblock try unplug``: what a virtio-mem device would get back if it asked for less memory."""

import click

from ...consumers import Trial
from ...consumers.virtio_mem import VirtioMem
from ...doctor.sizes import parse_size, size_name
from ...errors import InputError
from ...lab.blocks import find_blocks, place_device
from ...lab.explain import explain_unplug
from ...mm.memory import Memory
from .asking import answer, block_size_option, machine_options, read, whole_pages

__all__ = ["command"]


@click.command(name="unplug")
@click.option("--size", metavar="SIZE", required=True, help="How much to unplug.")
@click.option(
    "--device-block",
    "device_block",
    metavar="SIZE",
    default="2M",
    show_default=True,
    help="What the device unplugs at least.",
)
@block_size_option
@machine_options
@click.pass_context
def command(
    ctx: click.Context,
    size: str,
    device_block: str,
    block_size: str | None,
    source: str | None,
    recorded: bool,
    releases: tuple[str, ...],
    as_json: bool,
) -> None:
    """Memory unplugged from a virtio-mem device: which blocks, in which order, what is moved, what refuses."""
    snapshot = read(source, recorded)
    page = snapshot.page_size
    wanted = whole_pages("--block-size", block_size, snapshot) * page if block_size else None
    blocks = find_blocks(snapshot, wanted)
    asked = whole_pages("--size", size, snapshot) * page
    try:
        unit = parse_size(device_block, page) * page
    except InputError as wrong:
        raise InputError(f"--device-block: {wrong}") from None
    if asked % unit:
        raise InputError(
            f"--size {size}: a device unplugs whole blocks of {size_name(unit // page, page)}: give a multiple"
        )
    owned = blocks.whole_pages(snapshot) * page
    if asked > owned:
        raise InputError(f"--size {size}: the machine has {owned >> 20:,} MiB in whole memory blocks: choose less")

    def ask(memory: Memory) -> Trial:
        driver = place_device(blocks, memory, unit)
        before = driver.plugged_size
        driver.request(max(before - asked, 0))
        got = before - driver.plugged_size
        scale, name = (1 << 20, "MiB") if asked % (1 << 20) == 0 else (1 << 10, "KiB")
        return Trial(
            memory.members[0].zone.release,
            asked // scale,
            got // scale,
            f"{name} unplugged",
            tuple(_unplugged(driver)),
            tuple(driver.steps),
            {"plugged_size": driver.plugged_size, **driver.states(), **driver.hotplug.counters()},
            explain_unplug(driver, asked, got),
        )

    assumptions = [
        blocks.assumption,
        "the machine has a virtio-mem device that owns every whole memory block that is online in one zone, all of it plugged",
        "one run of the driver's work queue: it would run again, at once if it removed a memory block, else after 50 s, for ever",
        "free lists in pfn order, and no page pinned but those that the record tells; nothing else runs meanwhile",
    ]
    question = (
        f"{size_name(asked // page, page)} unplugged from a virtio-mem device, block {size_name(unit // page, page)}"
    )
    ctx.exit(answer(snapshot, releases, question, ask, assumptions, as_json))


def _unplugged(driver: VirtioMem) -> list[tuple[int, int]]:
    """Ranges that the device took back, by pfn."""
    found = (step for step in driver.steps if step.function == "VIRTIO_MEM_REQ_UNPLUG")
    return sorted((step.start_pfn, step.start_pfn + step.nr_pages) for step in found)
