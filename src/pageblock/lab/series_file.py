"""A run in a file: the series as Parquet, with the settings beside it."""

import json
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from ..output import check_output, whole_file
from .run import RunResult

__all__ = ["FORMAT", "RUN_KEY", "write_series"]

#: Version of the file; a change that breaks a reader raises it.
FORMAT = 1

#: Key of the Parquet file's metadata that holds format, workload, settings and summary as JSON.
RUN_KEY = "pageblock.run"


def write_series(path: Path, done: RunResult, *, force: bool = False) -> None:
    """Write the series, whole or not at all. Raises InputError where it cannot be written."""
    check_output(path, force=force)
    told = {
        "format": FORMAT,
        "workload": done.workload,
        "settings": asdict(done.settings),
        "summary": done.summary,
    }
    table = done.series.replace_schema_metadata({RUN_KEY: json.dumps(told, ensure_ascii=False)})
    with whole_file(path, force=force) as file:
        pq.write_table(table, file, compression="zstd")
