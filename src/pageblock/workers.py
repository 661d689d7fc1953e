"""Processes that work for another one: they end with it."""

import os
import time
from threading import Thread

__all__ = ["end_with"]

_watched: list[int] = []


def end_with(parent: int) -> None:
    """End this process soon after ``parent``, its parent, has: a killed process can tell nobody. Once a process is enough."""
    if _watched or os.getpid() == parent:
        return
    _watched.append(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:
        Thread(target=watch, daemon=True).start()
