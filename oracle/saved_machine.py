"""A virtual machine that is stopped at one moment, and started from there as often as one likes.

What is asked of a machine changes it. So its state is saved once (QEMU's migration into a file), and each question is
put to a machine of its own that goes on from there; its disk keeps what was on it (``-snapshot``).
"""

import base64
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .errors import GuestError
from .guest import killed_at_exit, last_words

__all__ = ["SavedMachine", "qmp"]

#: What the guest prints when it waits for a command, when it has answered, and when it gives up.
READY, DONE, FAILED = "MACHINE READY", "MACHINE DONE", "MACHINE FAILED"
#: Seconds between two looks.
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class SavedMachine:
    """Where to go on from. ``command``: QEMU's, without its ports; ``state``: None: it is booted; ``folder``: for scratch."""

    command: Sequence[str]
    folder: Path
    state: Path | None = None

    def saved(self, name: str, request: str, seconds: float) -> "SavedMachine":
        """Go on, ask for something (``request``, "" for nothing), and save what the machine then is.

        Raises:
            GuestError: it failed, or did not get there in ``seconds``.
        """
        state = self.folder / f"state-{name}"
        with self.running(name) as (process, typed, console):
            if request:
                type_in(typed, request)
            wait_for(console, READY, process, seconds)
            control = self.folder / f"control-{name}"
            qmp(control, "stop")
            qmp(control, "migrate-set-parameters", **{"max-bandwidth": 1 << 40})
            qmp(control, "migrate", uri=f"exec:cat > {state}")
            began = time.monotonic()
            while (answer := qmp(control, "query-migrate"))["status"] != "completed":
                if answer["status"] == "failed" or time.monotonic() - began > seconds:
                    raise GuestError(f"the machine's state could not be saved: {answer}")
                time.sleep(POLL_SECONDS)
        return SavedMachine(self.command, self.folder, state)

    def told(self, name: str, request: str, seconds: float) -> bytes:
        """Go on, ask for something, and return what the machine says through its second serial line, in base64 there.

        Raises:
            GuestError: it failed, or did not answer in ``seconds``.
        """
        with self.running(name) as (process, typed, console):
            type_in(typed, request)
            wait_for(console, DONE, process, seconds)
        return base64.b64decode((self.folder / f"told-{name}").read_bytes().replace(b"\r", b""))

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], Path]]:
        """The machine, running; its keyboard and its console's file."""
        console, control = self.folder / f"console-{name}", self.folder / f"control-{name}"
        command = [
            *self.command,
            *("-serial", "stdio", "-serial", f"file:{self.folder / f'told-{name}'}"),
            *("-qmp", f"unix:{control},server,nowait"),
            *(("-incoming", f"exec:cat {self.state}") if self.state else ()),
        ]
        with console.open("wb") as printed:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.STDOUT)
        with killed_at_exit(process):
            assert process.stdin is not None
            if self.state:
                self.resume(control, process, console)
            yield process, process.stdin, console

    def resume(self, control: Path, process: subprocess.Popen[bytes], console: Path) -> None:
        """Wait until the state is loaded, and let the machine run. Raises GuestError."""
        began = time.monotonic()
        while True:
            if process.poll() is not None or time.monotonic() - began > 120:
                raise GuestError(f"the machine does not go on: {last_words(console.read_text(errors='replace'))}")
            with contextlib.suppress(OSError):
                if qmp(control, "query-status")["status"] != "inmigrate":
                    break
            time.sleep(POLL_SECONDS)
        qmp(control, "cont")


def type_in(keyboard: IO[bytes], line: str) -> None:
    """Type a line."""
    keyboard.write(f"{line}\n".encode())
    keyboard.flush()


def wait_for(console: Path, word: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until the console shows a word. Raises GuestError where the machine fails, ends or takes too long."""
    began = time.monotonic()
    while True:
        ended = process.poll() is not None
        text = console.read_text(errors="replace")
        if FAILED in text or "Kernel panic" in text:
            raise GuestError(f"the virtual machine: {last_words(text)}")
        if word in text:
            return
        if ended or time.monotonic() - began > seconds:
            raise GuestError(f"the virtual machine did not say {word!r} in {seconds:.0f} s: {last_words(text)}")
        time.sleep(POLL_SECONDS)


def qmp(control: Path, command: str, **arguments: Any) -> dict[str, Any]:
    """Give QEMU one command; its answer. Raises GuestError where it refuses, OSError where it does not listen yet."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(str(control))
        with connection.makefile("rw") as stream:
            stream.readline()
            answer: dict[str, Any] = {}
            for name, values in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": values}) + "\n")
                stream.flush()
                answer = {}
                while not answer.keys() & {"return", "error"}:
                    answer = json.loads(stream.readline() or '{"error": "QEMU has gone"}')
                if "error" in answer:
                    raise GuestError(f"QEMU: {name}: {answer['error']}")
            found: dict[str, Any] = answer["return"]
            return found
