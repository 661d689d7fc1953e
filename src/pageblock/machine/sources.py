"""Which source a path is, and what each kind of source can and cannot tell (docs/sources.md)."""

from pathlib import Path

from .archive import Archive, is_archive
from .infer import Remark
from .source import Folder, LiveProc, Source, is_procfs

__all__ = ["core_remark", "is_core", "is_snapshot_file", "open_source", "source_remark"]

#: What is to be said with every answer, by what the source has of pages.
PAGES = (
    "kpageflags says what every page is; pins, the order of free lists, CMA bitmaps and what waits elsewhere are in no /proc "
    "file, pageblock types and per-cpu pages are inferred"
)
COUNTS_ONLY = (
    "without kpageflags there are only counts: how many free blocks of each order and pageblocks of each type a zone has, not "
    "where they lie, what any page is, what could move or what is in the way, nor pins and CMA bitmaps"
)
CORE = (
    "a kernel's own memory: every page, free and per-cpu lists in their order, pageblock types, references of single and huge "
    "pages and CMA bitmaps are exact for the moment of the dump; what is inferred: that a reference which nothing explains stays"
)
NOTHING = "neither kpageflags nor buddyinfo nor pagetypeinfo: nothing is known of free blocks"


def source_remark(kind: str, pages_known: bool, counts_known: bool) -> Remark:
    """The line that says with an answer what its source can and cannot know. ``kind``: the source in a few words."""
    return Remark("source", f"{kind}: {PAGES if pages_known else COUNTS_ONLY if counts_known else NOTHING}")


def core_remark() -> Remark:
    """The same for a kernel dump."""
    return Remark("source", CORE)


def is_core(path: Path) -> bool:
    """Whether a path is a file that begins as a kernel dump does: ELF, or as makedumpfile writes it; or /proc/kcore."""
    try:
        if path == Path("/proc/kcore"):
            return True
        if not path.is_file():
            return False
        with path.open("rb") as file:
            begin = file.read(16)
    except (OSError, ValueError):
        return False
    return begin.startswith((b"\x7fELF", b"KDUMP   ", b"DISKDUMP", b"makedumpfile"))


def open_source(path: Path | None) -> Source:
    """The source of a folder or archive, or live /proc for None. Raises InputError for neither.

    /proc itself, wherever it is mounted, and a folder that holds it as ``proc`` (``/``) are the live machine.
    """
    if path is None:
        return LiveProc()
    for folder in (path, path / "proc"):
        if is_procfs(folder):
            return LiveProc(folder)
    return Archive(path) if is_archive(path) else Folder(path)


def is_snapshot_file(path: Path) -> bool:
    """Whether a path is a regular file that begins as Parquet does; what cannot be read is no such file."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except (OSError, ValueError):
        return False
