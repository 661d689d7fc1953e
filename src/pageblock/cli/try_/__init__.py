"""``pageblock try``: ask a consumer for something on a real state. The machine is only read."""

import click

from .. import Commands

__all__ = ["command"]

#: What can be tried -> what it asks; its module here has the same name and a click command ``command``.
REQUESTS = {
    "cma": "allocations from a CMA area",
    "gigantic": "gigantic huge pages",
    "offline": "taking memory blocks offline",
    "unplug": "unplugging memory of a virtio-mem device",
}


@click.group(name="try", cls=Commands, commands_of=__name__, about=REQUESTS)
def command() -> None:
    """Ask for contiguous memory on a machine's state: what was got, step by step, and what refused.

    Exits 0 if all that was asked for can be had, 1 if not.
    """
