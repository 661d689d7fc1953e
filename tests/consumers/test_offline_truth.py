"""What Debian's 6.1.192 and 6.12.117 answered when each memory block was taken offline, and what the model answers.

The guests (1.5 GiB, one CPU, QEMU) wrote 160 files of 6 MiB and 25 small ones each to a tmpfs, removed every other, recorded
/proc, and then wrote ``offline`` and ``online`` to the state of each block. ``answers.txt`` has the errno, the kernel's word for
the failure from its log, and the pfn of the page that it dumped.
"""

import re
from pathlib import Path

import pytest

from pageblock.consumers.memory_hotplug import Offlined
from pageblock.lab.blocks import find_blocks
from pageblock.machine import read_machine
from pageblock.machine.zones import snapshot_memory

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"


def kernel_answers(folder: Path) -> dict[int, tuple[int, str, int | None]]:
    """Block -> errno, reason, pfn."""
    found = {}
    for line in (folder / "answers.txt").read_text().splitlines():
        match = re.fullmatch(r"(\d+) (\d+)(?: failed due to ([a-z ]+?))?(?: pfn (0x[0-9a-f]+))?", line)
        if match:
            found[int(match[1])] = int(match[2]), match[3] or "", int(match[4], 16) if match[4] else None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_every_block_of_a_guest(release: str) -> None:
    """Errno, reason and the page in the way, from /proc alone."""
    folder = RECORDINGS / f"offline-{release}"
    snapshot = read_machine(folder)
    blocks = find_blocks(snapshot, None)
    answers = kernel_answers(folder)
    assert sorted(answers) == blocks.online
    for block, (errno, reason, pfn) in answers.items():
        answer: Offlined = blocks.hotplug(snapshot_memory(snapshot, release)).offline_block(block)
        assert (answer.errno, answer.reason) == (errno, reason), block
        assert pfn in (None, answer.pfn), block
    assert {reason for _, reason, _ in answers.values()} >= {"", "memory holes"}
