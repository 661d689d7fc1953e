"""Where the runs of a sweep are carried out: this machine's processors, or a Dask or Ray cluster. joblib does the rest."""

import importlib
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor

from ...errors import InputError

__all__ = ["worker_deaths", "workers"]

#: Seconds to wait for a scheduler.
PATIENCE = 10

#: Written before an address of a Ray cluster; others are Dask's.
RAY = "ray:"


@contextmanager
def workers(jobs: int, cluster: str | None) -> Iterator[int]:
    """joblib.Parallel within this block runs there; how many runs go on at a time.

    Args:
        jobs: processes on this machine; on a cluster 0 stands for all that it has.
        cluster: address of a Dask scheduler (``tcp://HOST:PORT``, ``tls://``) or, after ``ray:``, of a Ray cluster
            (``ray:HOST:PORT``); None: this machine.

    Raises:
        InputError: there is no such cluster, or what talks to it is not installed.
    """
    if cluster is None:
        with _quiet_end(), joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
            yield jobs
    elif cluster.startswith(RAY):
        with _ray(cluster.removeprefix(RAY), jobs) as found:
            yield found
    else:
        with _dask(cluster, jobs) as found:
            yield found


@contextmanager
def _quiet_end() -> Iterator[None]:
    """Interrupted, the processes are gone at once, and the thread that looks after them has nothing to say of it."""
    try:
        yield
    except KeyboardInterrupt:
        threading.excepthook = lambda _: None
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
        raise


@contextmanager
def _dask(address: str, jobs: int) -> Iterator[int]:
    distributed = _module("distributed", address)
    _reach(address, address.partition("://")[2])
    try:
        client = distributed.Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"cluster {address}: no Dask scheduler answers there ({_line(error)})") from None
    with client:
        count = sum(client.nthreads().values())
        if not count:
            raise InputError(
                f"cluster {address}: the Dask scheduler has no worker; start some with: dask worker {address}"
            )
        with joblib.parallel_config(backend="dask", n_jobs=jobs or count):
            yield jobs or count


@contextmanager
def _ray(address: str, jobs: int) -> Iterator[int]:
    ray = _module("ray", RAY + address)
    register_ray = _module("ray.util.joblib", RAY + address).register_ray
    _reach(RAY + address, address.removeprefix("ray://"))
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"cluster {RAY}{address}: no Ray cluster answers there ({_line(error)})") from None
    try:
        count = int(ray.cluster_resources().get("CPU", 0))
        if not count:
            raise InputError(f"cluster {RAY}{address}: it has no processor; start a node with: ray start")
        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=jobs or count):
            yield jobs or count
    finally:
        ray.shutdown()


def _module(name: str, cluster: str) -> Any:
    """A module of an optional package. Raises InputError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"cluster {cluster}: {error}; pip install pageblock[cluster]") from None


def _reach(cluster: str, address: str) -> None:
    """Raise InputError where nobody listens: the clients themselves would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InputError(
            f"cluster {cluster!r} is no address: write tcp://HOST:PORT for a Dask scheduler, ray:HOST:PORT for a Ray cluster"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE):
            pass
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"cluster {cluster}: nobody answers there ({_line(error)}); start the scheduler first"
        ) from None


def worker_deaths() -> tuple[type[BaseException], ...]:
    """Errors that say that a worker died, of the backends that are installed."""
    from joblib.externals.loky.process_executor import BrokenProcessPool

    found: list[type[BaseException]] = [BrokenProcessPool]
    if "distributed" in sys.modules:
        distributed = importlib.import_module("distributed")
        found += [distributed.KilledWorker, distributed.comm.core.CommClosedError]
    if "ray" in sys.modules:
        found.append(importlib.import_module("ray.exceptions").RayError)
    return tuple(found)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
