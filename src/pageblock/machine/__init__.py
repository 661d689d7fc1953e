"""Real machines in: live /proc or a folder of recorded files, read into a Snapshot."""

from .read import read_machine
from .snapshot import RUNS_SCHEMA, Remark, Snapshot, ZoneInfo

__all__ = ["RUNS_SCHEMA", "Remark", "Snapshot", "ZoneInfo", "read_machine"]
