"""Workloads: what a machine is used for, as a mix of actors, from a TOML file or from Python."""

from .actors import (
    KINDS,
    Anonymous,
    Balloon,
    Base,
    Cma,
    Contig,
    Kernel,
    Network,
    PageCache,
    Slab,
    VirtualMachines,
)
from .load import SHIPPED, Workload, load_workload, to_toml
from .quantities import FOREVER, TICK, Amount, Lifetime, Orders
from .requests import REQUEST, Actor, Call, Requests, Running, World, make_requests

__all__ = [
    "FOREVER",
    "KINDS",
    "REQUEST",
    "SHIPPED",
    "TICK",
    "Actor",
    "Amount",
    "Anonymous",
    "Balloon",
    "Base",
    "Call",
    "Cma",
    "Contig",
    "Kernel",
    "Lifetime",
    "Network",
    "Orders",
    "PageCache",
    "Requests",
    "Running",
    "Slab",
    "VirtualMachines",
    "Workload",
    "World",
    "load_workload",
    "make_requests",
    "to_toml",
]
