"""Results of a sweep on disk: one Parquet file a batch of runs, and what the sweep was."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import InputError
from ...output import whole_file
from ..sample import SERIES
from .plan import PARAMETERS

__all__ = ["Results", "read_results", "to_table", "write_batch"]

#: Version of the folder; a change that breaks a reader raises it.
FORMAT = 1

#: Key of each file's metadata: format and the sweep's name.
KEY = "pageblock.sweep"

#: The sweep's own file in the folder, and which files hold runs.
SWEEP_FILE = "sweep.json"
RUN_FILES = "runs-*.parquet"


@dataclass(frozen=True)
class Results:
    """``runs``: a row a run, ordered by id: its parameters, the numbers at its end, and ``series``, a list of ``SERIES``.

    ``varied``: parameters of which there are several values, without the seed.
    """

    name: str
    runs: pa.Table
    varied: tuple[str, ...]

    def series(self, row: int) -> pa.Table:
        """The samples of one run."""
        return pa.Table.from_struct_array(self.runs["series"][row].values)


def to_table(rows: list[dict[str, Any]]) -> pa.Table:
    """A table of runs; a row is flat but for ``series``, a table."""
    flat = pa.Table.from_pylist([{name: value for name, value in row.items() if name != "series"} for row in rows])
    lengths = [0]
    for row in rows:
        lengths.append(lengths[-1] + row["series"].num_rows)
    samples = pa.concat_tables([row["series"] for row in rows]).combine_chunks().to_struct_array()
    if isinstance(samples, pa.ChunkedArray):
        samples = samples.combine_chunks()
    return flat.append_column("series", pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), samples))


def write_batch(folder: Path, name: str, table: pa.Table) -> Path:
    """Write one batch, whole or not at all; its file. Raises InputError where it cannot be written."""
    path = folder / f"runs-{table['id'][0].as_py()}-{table.num_rows}.parquet"
    told = json.dumps({"format": FORMAT, "name": name})
    with whole_file(path, force=True) as file:
        # dictionaries and statistics of a few rows are larger than what they save
        pq.write_table(
            table.replace_schema_metadata({KEY: told}),
            file,
            # zstd is no smaller for a few rows, and makes a context for each of a hundred columns: 2 ms a file
            compression="snappy",
            use_dictionary=False,
            write_statistics=False,
        )
    return path


def finished(folder: Path) -> set[str]:
    """Ids of the runs whose results are there."""
    found: set[str] = set()
    for path in sorted(folder.glob(RUN_FILES)):
        found.update(_read(path, ["id"])["id"].to_pylist())
    return found


def read_results(folder: Path) -> Results:
    """Everything that a sweep has so far.

    Raises:
        InputError: no folder of a sweep, no finished run, or a file of it that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no folder; name the one that pageblock sweep --out made")
    files = sorted(folder.glob(RUN_FILES))
    if not files:
        raise InputError(f"{folder}: no finished run in it; name the folder that pageblock sweep --out made")
    tables = [_read(path) for path in files]
    told = json.loads(tables[0].schema.metadata[KEY.encode()])
    try:
        runs = pa.concat_tables([one.replace_schema_metadata(None) for one in tables], promote_options="permissive")
    except pa.ArrowException as error:
        words = " ".join(str(error).split())[:120]
        raise InputError(f"{folder}: its files do not belong together ({words}); sweep anew") from error
    if not runs.num_rows or "series" not in runs.column_names or runs["series"].null_count:
        raise InputError(f"{folder}: its files hold no whole run; sweep anew")
    runs = runs.sort_by("id")
    varied = tuple(
        name for name in PARAMETERS if name in runs.column_names and len({str(v) for v in runs[name].to_pylist()}) > 1
    )
    return Results(told["name"], runs, varied)


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        told = json.loads((file.schema_arrow.metadata or {}).get(KEY.encode(), b"null"))
        if not isinstance(told, dict) or told.get("format") != FORMAT or not isinstance(told.get("name"), str):
            raise InputError(f"{path}: no results of a sweep of format {FORMAT}; move it away")
        names_there = file.schema_arrow.names
        if "id" not in names_there or len(set(names_there)) < len(names_there):
            raise InputError(f"{path}: its columns are not those of docs/sweep.md; remove it and --resume")
        table = file.read(columns)
        if columns is None and pa.types.is_list(table.schema.field("series").type):
            names = {field.name for field in table.schema.field("series").type.value_type}
            if not set(SERIES.names) <= names:
                raise InputError(
                    f"{path}: its series lacks {sorted(set(SERIES.names) - names)[0]}: made by another version"
                )
        return table
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); remove it and --resume"
        ) from error
