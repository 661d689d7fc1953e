"""The C files beside this one, compiled when the bench runs, and called through ctypes."""

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .machine import compiler

__all__ = ["MissingToolError", "Peer", "build"]

HERE = Path(__file__).parent


class MissingToolError(Exception):
    """A program or header that a part of the bench needs is not installed."""


def build(name: str, folder: Path) -> Path:
    """Compile ``name`` (``peer.c``) with -O2 into a folder; the shared library.

    Raises:
        MissingToolError: no compiler, or it refuses the file (no valgrind headers, perhaps).
    """
    cc = compiler()
    if cc is None:
        raise MissingToolError("no C compiler: install one, or name it in $CC")
    library = folder / f"{Path(name).stem}.so"
    command = [cc, "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-shared", "-fPIC"]
    done = subprocess.run(
        [*command, "-o", str(library), str(HERE / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MissingToolError(f"{name} does not compile: {done.stderr.strip().splitlines()[0]}")
    return library


class Peer:
    """A zone of the plain-C allocator: all free, MOVABLE, max order 10, pageblocks of order 9."""

    def __init__(self, library: Path, nr_pages: int) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.peer_new.restype = ctypes.c_void_p
        pointer = self.library.peer_new(nr_pages, 10, 9)
        if not pointer:
            raise MemoryError(f"no memory for a C zone of {nr_pages} pages")
        self.zone = ctypes.c_void_p(pointer)

    def __del__(self) -> None:
        if hasattr(self, "zone"):
            self.library.peer_delete(self.zone)

    def run(self, ops: npt.NDArray[Any], handles: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """As ``Zone.run``, for a zone that begins at pfn 0; nothing is checked."""
        results = np.empty(len(ops), np.int64)
        self.library.peer_run(
            self.zone,
            ops.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(len(ops)),
            results.ctypes.data_as(ctypes.c_void_p),
            handles.ctypes.data_as(ctypes.c_void_p),
        )
        return results
