"""Real machines in: live /proc or a folder of recorded files, read into a Snapshot."""

from .read import read_machine
from .snapshot import RUNS_SCHEMA, HugePool, Remark, Snapshot, ZoneInfo

__all__ = ["RUNS_SCHEMA", "HugePool", "Remark", "Snapshot", "ZoneInfo", "read_machine"]
