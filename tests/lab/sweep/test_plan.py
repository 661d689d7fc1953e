"""A sweep file and the runs that it stands for."""

import json
from importlib import resources
from pathlib import Path

import pytest

from pageblock.errors import InputError, PageblockError
from pageblock.lab.sweep import PARAMETERS, Plan, load_sweep
from pageblock.lab.sweep.plan import MOST_RUNS


def plan(folder: Path, text: str) -> Plan:
    path = folder / "sweep.toml"
    path.write_text(text)
    return load_sweep(path)


def test_a_grid_is_every_combination_from_every_seed(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        'workload = "camera"\nseeds = 3\nfirst_seed = 7\n[grid]\nrelease = ["5.15", "6.1"]\ncma = ["16MiB", "32MiB"]',
    )
    runs = {(run.settings.release, run.settings.cma_bytes >> 20, run.settings.seed) for run in found.runs}
    assert runs == {(release, cma, seed) for release in ("5.15", "6.1") for cma in (16, 32) for seed in (7, 8, 9)}
    assert len(found.runs) == len({run.id for run in found.runs}) == 12
    assert found.varied == ("release", "cma")


def test_a_run_is_known_by_what_it_is_not_by_its_place(tmp_path: Path) -> None:
    one = plan(tmp_path, 'workload = "camera"\ncma = "16MiB"\n[grid]\nrelease = ["5.15", "6.1"]')
    other = plan(tmp_path, 'workload = "camera"\nrelease = "6.1"\n[grid]\ncma = ["8MiB", 16777216]')
    same = [run for run in other.runs if run.id in {run.id for run in one.runs}]
    assert [(run.settings.release, run.settings.cma_bytes) for run in same] == [("6.1", 16 << 20)]


def test_a_changed_workload_makes_other_runs(tmp_path: Path) -> None:
    text = 'workload = "mine.toml"'
    shipped = resources.files("pageblock.lab.workload").joinpath("shipped/web-server.toml").read_text()
    (tmp_path / "mine.toml").write_text(shipped)
    before = plan(tmp_path, text).digest
    assert plan(tmp_path, text).digest == before
    (tmp_path / "mine.toml").write_text(shipped.replace("mean = 100", "mean = 101"))
    assert shipped != (tmp_path / "mine.toml").read_text()
    assert plan(tmp_path, text).digest != before


def test_random_draws_lie_in_their_range_and_come_again_from_their_seed(tmp_path: Path) -> None:
    text = (
        'workload = "camera"\n[random]\ndraws = 40\nseed = 3\n'
        'memory = {low = "128MiB", high = "1GiB", step = "1MiB", log = true}\nrelease = {choices = ["5.15", "6.1"]}'
    )
    found = plan(tmp_path, text)
    sizes = [run.settings.memory_bytes for run in found.runs]
    assert len(set(sizes)) > 20
    assert all(128 << 20 <= size <= 1 << 30 and size % (1 << 20) == 0 for size in sizes)
    assert {run.settings.release for run in found.runs} == {"5.15", "6.1"}
    assert [run.id for run in plan(tmp_path, text).runs] == [run.id for run in found.runs]
    assert [run.id for run in plan(tmp_path, text.replace("seed = 3", "seed = 4")).runs] != [
        run.id for run in found.runs
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('workload = "camera"\nrelaese = "6.1"', "unknown key 'relaese': did you mean 'release'"),
        ('workload = "camera"\n[grid]\npageblok_order = [9]', r"\[grid\] has an unknown key .* 'pageblock_order'"),
        ('workload = "camera"\n[random]\ndraw = 3', "did you mean 'draws'"),
        ('workload = "camera"\n[random]\ndraws = 3\ncma = {low = 1, hihg = 2}', "did you mean 'high'"),
        ('workload = "camera"\n[random]\ndraws = 3\ncma = {low = 5, high = 2}', "no range of numbers"),
        ('workload = "camera"\n[random]\ncma = {low = 1, high = 2}', "has no draws"),
        ('release = "6.1"', "no workload"),
        ('workload = "nothing-like-it"', "nothing-like-it"),
        ('workload = "camera"\nrelease = "2.4"', "2.4"),
        ('workload = "camera"\nmemory = "64MiB"\ncma = "64MiB"', "leave nothing of memory"),
        (
            'workload = "camera"\nmax_order = 8\npageblock_order = 9\nrelease = "6.1"',
            "pageblock_order 9 exceeds max_order 8",
        ),
        ('workload = "camera"\nmemory = "much"', "memory"),
        ('workload = "camera"\nticks = 0', "ticks is 0"),
        ('workload = "camera"\nticks = true', "no whole number"),
        ('workload = "camera"\nseeds = 0', "seeds is 0"),
        ('workload = "camera"\nrelease = "6.1"\n[grid]\nrelease = ["6.1"]', "more than once"),
        ('workload = "camera"\n[grid]\nrelease = []', "no value"),
        ('workload = "camera"\n[grid]\nrelease = ["6.1", "6.1"]', "twice"),
        ('workload = "camera"\n[grid]\ncma = ["16MiB", 16777216]', "same"),
        (f'workload = "camera"\nseeds = {MOST_RUNS + 1}', "runs, more than"),
        ('workload = "camera"\nfrom = "not-there"', "not there"),
        ("grid = 3", "write it as a table"),
        ("workload = ", "no TOML file"),
    ],
)
def test_what_there_is_not_is_one_line_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PageblockError, match=words) as error:
        plan(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name a sweep file"):
        load_sweep(tmp_path / "none.toml")


def test_every_parameter_can_be_read_and_is_told_with_the_results(tmp_path: Path) -> None:
    values = {
        "workload": "camera", "release": "6.1", "max_order": 10, "pageblock_order": 9, "page_size": 4096, "memory": "256MiB",
        "cma": "16MiB", "reserved": 0, "ticks": 5, "sample_every": 1, "sizes": ["2MiB"],
    }  # fmt: skip
    assert {*values, "from"} == set(PARAMETERS)
    (run,) = plan(tmp_path, "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())).runs
    assert set(run.values) == {*values, "seed"}
    assert run.settings.size_bytes == (2 << 20,)
