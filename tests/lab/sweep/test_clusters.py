"""The same sweep on a Dask and on a Ray cluster: a scheduler and two workers as processes of their own, one of them killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pageblock.errors import InputError
from pageblock.lab.sweep import Plan, carry_out, load_sweep

from .test_engine import SWEEP, after_first_file, children, numbers

pytestmark = pytest.mark.filterwarnings("default")

BIN = Path(sys.executable).parent


def free_port(first: int) -> int:
    """A port on which nobody listens."""
    for port in range(first, first + 500):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port")


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards, with all that it started."""
    one = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield one
    finally:
        for pid in children(one.pid):
            os.kill(pid, signal.SIGKILL)
        one.kill()
        one.wait()


@pytest.fixture
def small(tmp_path: Path) -> Plan:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    return load_sweep(path)


@pytest.mark.slow
def test_dask_gives_the_same_numbers_with_a_worker_killed(small: Plan, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    port = free_port(28786)
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(
            process(str(BIN / "dask"), "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        )
        workers = [
            stack.enter_context(
                process(
                    *(str(BIN / "dask"), "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"),
                    *("--local-directory", str(tmp_path / f"worker{i}")),
                )
            )
            for i in range(2)
        ]
        wait_for_dask(address, 2)
        watcher = after_first_file(tmp_path / "dask", workers[0].kill)
        done = carry_out(small, tmp_path / "dask", cluster=address, batch=1)
        watcher.join()
        assert workers[0].poll() is not None
    assert (done.here, done.jobs) == (12, 2)
    carry_out(small, tmp_path / "here", jobs=1)
    assert numbers(tmp_path / "dask").equals(numbers(tmp_path / "here"))


def wait_for_dask(address: str, count: int) -> None:
    distributed: Any = pytest.importorskip("distributed")

    for _ in range(120):
        try:
            with distributed.Client(address, timeout=2) as client:
                client.wait_for_workers(count, timeout=60)
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("no scheduler")


@pytest.mark.slow
def test_ray_gives_the_same_numbers_with_a_worker_killed(
    small: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # results come by rounds: the second is still to come when the first is on disk
    monkeypatch.setattr("pageblock.lab.sweep.engine.ROUND", 1)
    port = free_port(6400)
    # sockets have short names only
    folder = f"/tmp/pageblock-ray-{os.getpid()}"
    head = ("start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false")
    with process(str(BIN / "ray"), *head, "--node-ip-address=127.0.0.1", f"--temp-dir={folder}") as ray:
        wait_for_port(port)
        killed: list[int] = []

        def kill() -> None:
            # between two rounds there is no worker for a moment
            for _ in range(1500):
                for pid in children(ray.pid):
                    try:
                        name = Path(f"/proc/{pid}/cmdline").read_bytes()
                    except OSError:
                        continue
                    if b"PoolActor" in name:
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                        return
                time.sleep(0.02)

        watcher = after_first_file(tmp_path / "ray", kill)
        done = carry_out(small, tmp_path / "ray", cluster=f"ray:127.0.0.1:{port}", batch=1, jobs=2)
        watcher.join()
    assert killed
    assert done.here == 12
    carry_out(small, tmp_path / "here", jobs=1)
    assert numbers(tmp_path / "ray").equals(numbers(tmp_path / "here"))


def wait_for_port(port: int) -> None:
    for _ in range(240):
        with socket.socket() as one:
            if not one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.5)
    raise AssertionError("nobody listens")


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("tcp://127.0.0.1:{port}", "nobody answers there"),
        ("ray:127.0.0.1:{port}", "nobody answers there"),
        ("nonsense", "no address"),
        ("tcp://host:99999", "no address"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_one_line(small: Plan, tmp_path: Path, cluster: str, words: str) -> None:
    for name in ("distributed", "ray"):
        pytest.importorskip(name)
    with pytest.raises(InputError, match=words) as error:
        carry_out(small, tmp_path / "out", cluster=cluster.format(port=free_port(29786)))
    assert "\n" not in str(error.value)
    assert carry_out(small, tmp_path / "out", jobs=1).here == 12
