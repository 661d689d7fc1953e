"""``pageblock try offline``: taking memory blocks offline, as a write to /sys/devices/system/memory/memoryN/state does."""

import re

import click

from ...consumers import Trial
from ...errors import InputError
from ...lab.blocks import Blocks, find_blocks
from ...lab.explain import explain_offline
from ...mm.memory import Memory
from .asking import answer, block_size_option, machine_options, read, whole_pages

__all__ = ["command"]


@click.command(name="offline")
@click.option(
    "--block", "block", metavar="N[-M]", required=True, help="Memory block, or blocks, by number: 32 or 32-47."
)
@block_size_option
@machine_options
@click.pass_context
def command(
    ctx: click.Context,
    block: str,
    block_size: str | None,
    source: str | None,
    recorded: bool,
    releases: tuple[str, ...],
    as_json: bool,
) -> None:
    """Memory blocks offline, one after the other: what isolation refuses, what moves where, what would loop for ever."""
    snapshot = read(source, recorded)
    wanted = whole_pages("--block-size", block_size, snapshot) * snapshot.page_size if block_size else None
    blocks = find_blocks(snapshot, wanted)
    numbers = _numbers(block, blocks, snapshot.source)
    names = [f"memory{number}" for number in numbers]

    def ask(memory: Memory) -> Trial:
        hotplug = blocks.hotplug(memory)
        answers = [hotplug.offline_block(number) for number in numbers]
        return Trial(
            memory.members[0].zone.release,
            len(numbers),
            sum(not found.errno for found in answers),
            "memory blocks",
            tuple((found.start_pfn, found.start_pfn + found.nr_pages) for found in answers if not found.errno),
            tuple(hotplug.steps),
            hotplug.counters(),
            explain_offline(answers, names),
        )

    assumptions = [
        blocks.assumption,
        "free lists in pfn order, and no page pinned but those that the record tells; nothing else runs meanwhile",
        "huge pages of hugetlb are in use; PageOffline pages have a driver that does not let go of them",
        "reserved pages are memory: a block with a BIOS hole is refused as 'memory holes', and not by isolation",
    ]
    size = f"{blocks.block_pages * snapshot.page_size >> 20:,} MiB"
    question = (
        f"{names[0]} to {names[-1]} of {size} each offline" if len(names) > 1 else f"{names[0]} of {size} offline"
    )
    ctx.exit(answer(snapshot, releases, question, ask, assumptions, as_json))


def _numbers(text: str, blocks: Blocks, source: str) -> list[int]:
    """The blocks asked for, all of which are online."""
    match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text, re.ASCII)
    if match is None:
        raise InputError(f"--block {text[:80]!r} is no block or range of blocks: write for example 32 or 32-47")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise InputError(f"--block {text}: the range ends before it begins: write {last}-{first}")
    there = set(blocks.online)
    for number in range(first, last + 1):
        if number not in there:
            raise InputError(
                f"--block {text}: memory{number} of {source} does not exist or is offline: choose among {blocks.names()}"
            )
    return list(range(first, last + 1))
