"""The machine that a measurement was made on."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

import pageblock.mm

__all__ = ["compiler", "describe_machine"]


def compiler() -> str | None:
    """The C compiler that builds the yardstick: $CC or cc; None if there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def first_line(command: str | None, *arguments: str) -> str:
    """First line that a command prints; "none" where there is no such command."""
    if command is None:
        return "none"
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["?"])[0]


def cpu_model() -> str:
    """Model, family and model number of the first CPU in /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.*)$", text, re.MULTILINE))
    name = found.get("model name", platform.machine())
    return f"{name}, family {found.get('cpu family', '?')} model {found.get('model', '?')}"


def memory_gib() -> float:
    """Physical memory, GiB."""
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def describe_machine() -> dict[str, str]:
    """What the results depend on, from the CPU to whether the core is compiled."""
    return {
        "cpu": cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_gib()} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "compiler": first_line(compiler(), "--version"),
        "valgrind": first_line(shutil.which("valgrind"), "--version"),
        "core": "compiled" if pageblock.mm.COMPILED else "not compiled",
    }
