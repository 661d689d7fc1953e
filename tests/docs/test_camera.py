"""docs/studies/camera: its numbers are those of the runs, its page those of its numbers."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from docs.studies.camera import answer, packing
from docs.studies.pages import with_tables
from pageblock.lab.run import Settings, run
from pageblock.lab.sweep import load_sweep
from pageblock.lab.workload import load_workload

HERE = Path(answer.__file__).parent

SWEEPS = ("sweep", *answer.VARIANTS, "sweep-held-back")


def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "summary.json").read_text())
    return found


def run_of(
    name: str, ticks: int, release: str = "6.12", seed: int = 0, memory_mib: int = 1024, cma_mib: int = 192
) -> Any:
    settings = Settings(
        release=release,
        memory_bytes=memory_mib << 20,
        cma_bytes=cma_mib << 20,
        seed=seed,
        ticks=ticks,
        sample_every=ticks,
        size_bytes=(2 << 20,),
    )
    return run(load_workload(HERE / name), settings)


def test_the_page_is_made_of_the_summary() -> None:
    text = (HERE / "README.md").read_text()
    assert with_tables(text, answer.page(stored())) == text


@pytest.mark.slow
@pytest.mark.parametrize("kept", stored()["kept"], ids=lambda kept: kept["release"])
def test_a_run_of_each_release_ends_as_in_the_summary(kept: dict[str, Any]) -> None:
    done = run_of("camera.toml", answer.TICKS, kept["release"], kept["seed"], cma_mib=kept["cma"] >> 20).summary
    assert {name: done[name] for name in answer.KEPT_NUMBERS} == {name: kept[name] for name in answer.KEPT_NUMBERS}


@pytest.mark.parametrize("stem", SWEEPS)
def test_each_sweep_can_be_run(stem: str) -> None:
    plan = load_sweep(HERE / f"{stem}.toml")
    assert {run.settings.ticks for run in plan.runs} == {answer.TICKS}


def test_every_size_has_ten_thousand_requests() -> None:
    found = stored()
    cells = [*found["releases"].values(), *found["variants"], found["held_back"]]
    assert min(row["asked"] for cell in cells for row in cell["rows"]) >= 10_000


def test_variants_differ_in_what_is_held_alone() -> None:
    told = {
        name: tomllib.loads((HERE / f"{name}.toml").read_text())["actor"]
        for name in ("camera", "camera-pins", "camera-held")
    }
    rest = {name: [actor for actor in actors if actor["name"] != "pins"] for name, actors in told.items()}
    assert rest["camera"] == rest["camera-pins"] == rest["camera-held"]


@pytest.mark.slow
def test_buffers_by_themselves_are_those_that_a_run_asks_for() -> None:
    done = run_of("camera.toml", 30, memory_mib=512)
    asked = [(one["tick"], one["nr_pages"]) for sample in done.series["attempts"].to_pylist() for one in sample]
    alone = packing.buffers(load_workload(HERE / "camera.toml"), 0, 30)
    assert [(one.at / (1 << 16), one.nr_pages) for one in alone] == asked


@pytest.mark.slow
def test_the_loop_of_2012_fails_about_as_often_as_it_did() -> None:
    done = run_of("loop.toml", 150, "5.15", memory_mib=512, cma_mib=56)
    loops: dict[float, bool] = {}
    for sample in done.series["attempts"].to_pylist():
        for one in sample:
            loops[one["tick"]] = loops.get(one["tick"], False) or one["errno"] != 0
    # 450 of 8,500 then
    assert sum(loops.values()) / len(loops) == pytest.approx(0.053, abs=0.04)


def test_an_area_of_all_buffers_and_of_half_of_them() -> None:
    workload = load_workload(HERE / "camera.toml")
    asked = packing.buffers(workload, 0, 100)
    needs = packing.demand(workload, asked, 100)
    assert needs.mean_pages < needs.peak_pages <= needs.sum_pages
    assert packing.packed(asked, 2 * needs.sum_pages).failed == 0
    half = packing.packed(asked, needs.sum_pages // 2)
    assert 0 <= half.fragmented <= half.failed
    assert half.failed > 0


def test_a_hole_that_is_large_enough_but_not_aligned_serves_nobody() -> None:
    one, two = packing.Buffer(0, 100, 1, 0), packing.Buffer(1, 100, 255, 8)
    assert packing.packed([one, two], 256, 8).fragmented == 1
    assert packing.packed([one, two], 256, 0).failed == 0


def rows(shares: list[float], asked: int = 1000) -> list[dict[str, Any]]:
    failed = round(sum(shares) * asked)
    effect = answer._design_effect(shares, asked)
    return [{"asked": asked * len(shares), "failed": failed, "design_effect": effect, "_shares": shares}]


def test_nothing_that_failed_is_no_proof_that_nothing_fails() -> None:
    few, many = (answer._bounded(rows([0.0] * count))[0] for count in (2, 20))
    assert few["low"] == many["low"] == 0
    # 1 - 0.025 ** (1 / 20000)
    assert many["high"] == pytest.approx(1.844e-4, rel=0.01)
    assert few["high"] == pytest.approx(10 * many["high"], rel=0.01)
    assert (few["enough"], many["enough"]) == (False, True)


def test_failures_that_come_together_make_the_interval_wider() -> None:
    even, uneven = (answer._bounded(rows(shares))[0] for shares in ([0.01] * 20, [0.2] + [0.0] * 19))
    assert even["design_effect"] == 1
    assert uneven["design_effect"] > 50
    assert uneven["high"] > 2 * even["high"]


def test_the_smallest_size_is_one_from_which_on_all_are_enough() -> None:
    needs = packing.Demand(peak_pages=256, mean_pages=128, sum_pages=256, largest_pages=1)
    sizes = [{"cma": mib << 20, "enough": enough} for mib, enough in ((1, True), (2, False), (3, True), (4, True))]
    assert answer._smallest(sizes, needs) == {"mib": 3, "of_peak": 3, "of_mean": 6}
    assert answer._smallest(sizes[:2], needs) is None
