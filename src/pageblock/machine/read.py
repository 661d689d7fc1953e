"""A machine, from whatever a path holds."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .snapshot import Reader, Snapshot
from .sources import is_core, is_snapshot_file, open_source

__all__ = ["read_machine"]


def read_machine(path: Path | None, *, progress: Callable[[int, int], None] | None = None) -> Snapshot:
    """Read live /proc (None), a folder of recorded files, each plain or as NAME.zst, or a file of ``pageblock capture``.

    ``progress(done, total)`` is called with pages while kpageflags is read. Whatever is missing is
    survived, listed and remarked on. Raises InputError for a path that is no such folder and for a
    file that is there but cut off, corrupt, malformed or contradicts another.
    """
    if path is not None and is_core(path):
        from .drgn_source import read_core

        return read_core(path, progress=progress)
    if path is not None and is_snapshot_file(path):
        from .snapshot_file import read_snapshot

        return read_snapshot(path).snapshot
    with closing(open_source(path)) as source:
        return Reader(source).read(progress)
