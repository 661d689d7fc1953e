"""tracefs: a buffer of its own for what is recorded, and everything as it was afterwards.

Source: Documentation/trace/ftrace.rst ("Instances"), Documentation/trace/events.rst.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pageblock.errors import InputError

from .tracepoints import GROUPS, is_page_event

__all__ = ["Switched", "TraceBuffer", "buffer", "mounted_tracefs", "switch_on"]

#: Where tracefs is mounted where it is; the second since before 4.1.
PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

#: Name of our instance, before the number of the process.
PREFIX = "pageblock-"

#: Clocks that agree between CPUs, the best first.
CLOCKS = ("mono", "global", "local")


#: Beginning of the name of the folder where it is mounted for a time; then the process, and a dash.
_MOUNT = "pageblock-tracefs-"


def _unmount_forgotten() -> None:
    """Unmount what a recording left that was killed and could not do so itself."""
    for place in Path(tempfile.gettempdir()).glob(f"{_MOUNT}*-*"):
        process = place.name.removeprefix(_MOUNT).partition("-")[0]
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            subprocess.run(["umount", place], capture_output=True, check=False)
            with contextlib.suppress(OSError):
                place.rmdir()


@contextlib.contextmanager
def mounted_tracefs() -> Iterator[Path]:
    """Where tracefs is mounted; where it is not, it is mounted for the time of the block.

    Raises:
        InputError: the kernel has none, or it may not be mounted or read.
    """
    for place in PLACES:
        with contextlib.suppress(OSError):
            if (place / "events").is_dir():
                yield place
                return
    if os.geteuid() != 0:
        raise InputError("tracefs cannot be read: run as root")
    if "tracefs" not in Path("/proc/filesystems").read_text().split():
        raise InputError(
            "this kernel has no tracefs (CONFIG_TRACING is off): record on another, or import a trace of it"
        )
    _unmount_forgotten()
    # no temporary folder that cleans up by deleting what is in it: that would be the kernel's files
    place = Path(tempfile.mkdtemp(prefix=f"{_MOUNT}{os.getpid()}-"))
    try:
        done = subprocess.run(["mount", "-t", "tracefs", "none", place], capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"tracefs cannot be mounted: {done.stderr.strip() or 'mount failed'}; run as root")
        try:
            yield place
        finally:
            # lazily where somebody looks into it just now
            if subprocess.run(["umount", place], capture_output=True, check=False).returncode:
                subprocess.run(["umount", "-l", place], capture_output=True, check=False)
    finally:
        with contextlib.suppress(OSError):
            place.rmdir()


@dataclass(frozen=True)
class TraceBuffer:
    """A buffer of the kernel's: the top one, or an instance. ``undo``: (file, what it held), to be written back, latest first."""

    path: Path
    own: bool
    undo: list[tuple[Path, str]]

    def read(self, name: str) -> str:
        return (self.path / name).read_text(errors="replace")

    def write(self, name: str, value: str) -> None:
        """Write a setting, after noting what it was.

        Raises:
            InputError: the kernel refuses it.
        """
        path = self.path / name
        try:
            before = setting(path.read_text())
            if before == value:
                return
            self.undo.append((path, before))
            path.write_text(value)
        except OSError as error:
            raise InputError(f"{path}: the kernel refuses {value!r}: {error.strerror or error}") from error

    def restore(self) -> None:
        """Write back what was set before, latest first; what cannot be is passed over, to restore the rest."""
        while self.undo:
            path, value = self.undo.pop()
            with contextlib.suppress(OSError):
                path.write_text(value)


def setting(text: str) -> str:
    """The value that a file of tracefs shows: the one in brackets where it lists all, without a remark in parentheses."""
    chosen = re.search(r"\[([\w-]+)\]", text)
    return chosen[1] if chosen else text.split("(")[0].strip()


@contextlib.contextmanager
def buffer(tracefs: Path) -> Iterator[TraceBuffer]:
    """A buffer to record into: an instance, or the top buffer where there are none and nobody uses it.

    However the block is left, what was set before is set again, and the instance is gone.

    Raises:
        InputError: not root, or the only buffer is in use.
    """
    instances = tracefs / "instances"
    made: Path | None = None
    try:
        if instances.is_dir():
            remove_left_over(instances)
            made = instances / f"{PREFIX}{os.getpid()}"
            made.mkdir()
    except PermissionError as error:
        raise InputError(f"{instances}: {error.strerror}; run as root") from error
    except OSError:
        made = None
    own = TraceBuffer(made or tracefs, made is not None, [])
    try:
        if made is None:
            check_unused(own)
        yield own
    finally:
        own.restore()
        if made is not None:
            with contextlib.suppress(OSError):
                made.rmdir()


def remove_left_over(instances: Path) -> None:
    """Remove instances of ours whose process was killed before it could."""
    for left in instances.glob(f"{PREFIX}*"):
        number = left.name.removeprefix(PREFIX)
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            with contextlib.suppress(OSError):
                left.rmdir()


def check_unused(top: TraceBuffer) -> None:
    """Raise InputError where somebody traces into the top buffer."""
    try:
        tracer, events = top.read("current_tracer").strip(), top.read("set_event").split()
    except OSError as error:
        raise InputError(f"{top.path}: {error.strerror}; run as root") from error
    if tracer != "nop" or events:
        used = tracer if tracer != "nop" else f"{len(events)} events"
        raise InputError(
            f"{top.path}: {used} traced by somebody else, and this kernel has no instances: end that first"
        )


@dataclass(frozen=True)
class Switched:
    """What was turned on: (group, event) each; groups that the kernel lacks; events of its groups that stay off."""

    events: Sequence[tuple[str, str]]
    skipped: Sequence[str]
    left_off: Sequence[str]


def switch_on(own: TraceBuffer, buffer_kib: int) -> Switched:
    """Turn on the tracepoints of pages, with room for ``buffer_kib`` a CPU; recording itself begins with ``tracing_on``.

    Raises:
        InputError: the kernel has no events of pages, or refuses a setting.
    """
    own.write("tracing_on", "0")
    clocks = re.findall(r"\[?(\w+)", own.read("trace_clock"))
    own.write("trace_clock", next(clock for clock in CLOCKS if clock in clocks))
    own.write("buffer_size_kb", str(buffer_kib))
    events, skipped, left_off = [], [], []
    for group in GROUPS:
        folder = own.path / "events" / group
        if not folder.is_dir():
            skipped.append(group)
            continue
        for path in sorted(folder.iterdir()):
            if not path.is_dir():
                continue
            if not is_page_event(group, path.name):
                left_off.append(f"{group}:{path.name}")
                continue
            own.write(f"events/{group}/{path.name}/enable", "1")
            events.append((group, path.name))
    if ("kmem", "mm_page_alloc") not in events or ("kmem", "mm_page_free") not in events:
        raise InputError(f"{own.path}: this kernel has no tracepoints kmem:mm_page_alloc and kmem:mm_page_free")
    return Switched(events, skipped, left_off)
