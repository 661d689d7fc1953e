"""Whether two folders hold the same numbers."""

from dataclasses import replace

import pyarrow as pa
import pytest

from pageblock.errors import InputError
from pageblock.lab.sweep import Results, carry_out, held_together, load_sweep, read_results

from .test_engine import SWEEP


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("same")
    (folder / "sweep.toml").write_text(SWEEP.replace("seeds = 3", "seeds = 1"))
    carry_out(load_sweep(folder / "sweep.toml"), folder / "out", jobs=1)
    return read_results(folder / "out")


def changed(results: Results, name: str, column: pa.Array) -> Results:
    at = results.runs.column_names.index(name)
    return replace(results, runs=results.runs.set_column(at, name, column))


def test_how_long_a_run_took_is_no_difference(swept: Results) -> None:
    other = changed(swept, "busy_seconds", pa.array([1.0] * 4))
    found = held_together(swept, other)
    assert found.same
    assert (found.runs, found.differ, found.where) == (4, 0, ())
    assert found.columns == len(swept.runs.column_names) - 1


def test_a_number_at_the_end_is_named_with_its_run(swept: Results) -> None:
    pages = swept.runs["free_pages"].to_pylist()
    found = held_together(swept, changed(swept, "free_pages", pa.array([*pages[:2], pages[2] + 1, pages[3]])))
    assert not found.same
    assert (found.differ, found.where) == (1, ("free_pages",))
    assert found.first is not None
    assert f"cma={swept.runs['cma'][2].as_py()}" in found.first


def test_a_sample_counts_like_any_number(swept: Results) -> None:
    rows = swept.runs["series"].to_pylist()
    rows[1][1]["live_pages"][0] += 1
    found = held_together(swept, changed(swept, "series", pa.array(rows, swept.runs.schema.field("series").type)))
    assert (found.differ, found.where) == (1, ("series",))


def test_a_run_that_one_lacks_is_a_difference(swept: Results) -> None:
    found = held_together(swept, replace(swept, runs=swept.runs.slice(1)))
    assert not found.same
    assert (found.runs, found.only_a, found.only_b, found.differ) == (3, 1, 0, 0)


def test_a_column_that_one_lacks_is_a_difference(swept: Results) -> None:
    found = held_together(swept, replace(swept, runs=swept.runs.drop_columns(["fallbacks"])))
    assert (found.differ, found.where) == (4, ("fallbacks",))


def test_two_sweeps_are_not_compared(swept: Results) -> None:
    with pytest.raises(InputError, match="no run is in both"):
        held_together(swept, changed(swept, "id", pa.array(["a", "b", "c", "d"])))
