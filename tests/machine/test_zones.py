"""A snapshot becomes zones of the model with the same pages, free lists and watermarks."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pageblock.errors import InputError
from pageblock.machine import RUNS_SCHEMA, Snapshot, ZoneInfo, zones
from pageblock.mm.types import Migratetype, PageClass, PageFlag


def snapshot(runs: pa.Table | None) -> Snapshot:
    info = ZoneInfo(
        node=0,
        name="Normal",
        start_pfn=1024,
        spanned=4096,
        present=4096,
        managed=4096,
        free_pages=2048 + 3,
        free_cma=0,
        wmark_min=3,
        wmark_low=4,
        wmark_high=5,
        protection=(),
        pcp_count=0,
        buddy_counts=(),
        free_counts=None,
        block_counts=None,
        block_types=np.array([0, 1, 1, 1, 1, 1, 1, 1], np.uint8),
        blocks_inferred=True,
    )
    return Snapshot("test", None, 4096, 10, 9, (info,), runs, (), (), (), 0.0)


def table() -> pa.Table:
    rows = [
        (0, 1024, 512, PageClass.SLAB, 1, 255, PageFlag.COMPOUND),
        (0, 1536, 3, PageClass.FREE, 0, Migratetype.MOVABLE, 0),
        (0, 1539, 1, PageClass.PCP, 0, 255, 0),
        (0, 1540, 508, PageClass.HOLE, 0, 255, 0),
        (0, 2048, 2048, PageClass.FREE, 10, Migratetype.MOVABLE, 0),
        (0, 4096, 1024, PageClass.FILE, 0, 255, PageFlag.CLEAN),
    ]
    columns = [pa.array([int(row[i]) for row in rows], RUNS_SCHEMA.types[i]) for i in range(len(RUNS_SCHEMA))]
    return pa.table(columns, schema=RUNS_SCHEMA)


class FakeZone:
    """Records how it is made and filled."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.made = (args, keywords)
        self.calls: dict[str, Any] = {}
        self.geometry = SimpleNamespace(pageblock_order=9)

    def load_pageblocks(self, types: Any) -> None:
        self.calls["types"] = types.tolist()

    def load_pages(self, *columns: Any) -> None:
        self.calls["pages"] = [c.tolist() for c in columns]

    def load_free(self, *columns: Any) -> None:
        self.calls["free"] = [c.tolist() for c in columns]

    def load_pcp(self, pindex: int, pfns: list[int]) -> None:
        self.calls.setdefault("pcp", {})[pindex] = pfns

    def set_watermarks(self, *marks: int, lowmem_reserve: int, managed_pages: int | None) -> None:
        self.calls["marks"] = (*marks, lowmem_reserve)
        self.calls["managed"] = managed_pages


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeZone:
    monkeypatch.setattr(zones, "Zone", FakeZone)
    (zone,) = zones.snapshot_zones(snapshot(table()), "6.1")
    assert isinstance(zone, FakeZone)
    return zone


def test_the_zone_has_the_snapshots_geometry(fake: FakeZone) -> None:
    args, keywords = fake.made
    assert args == (4096,)
    assert keywords == {
        "release": "6.1",
        "start_pfn": 1024,
        "max_order": 10,
        "pageblock_order": 9,
        "page_size": 4096,
        "populate": False,
        "name": "node 0 Normal",
        "zone_movable": False,
    }


def test_a_zone_named_movable_is_zone_movable() -> None:
    shot = snapshot(table())
    (zone,) = zones.snapshot_zones(replace(shot, zones=(replace(shot.zones[0], name="Movable"),)), "6.1")
    # slab in ZONE_MOVABLE does not refuse isolation
    assert zone.start_isolate_page_range(1024, 1536) == (1024,)


def test_free_runs_become_single_blocks(fake: FakeZone) -> None:
    assert fake.calls["free"] == [[1536, 1537, 1538, 2048, 3072], [0, 0, 0, 10, 10], [1] * 5]


def test_allocated_runs_are_loaded_and_holes_are_not(fake: FakeZone) -> None:
    start, pages, classes, order, flags = fake.calls["pages"]
    assert start == [1024, 4096]
    assert pages == [512, 1024]
    assert classes == [PageClass.SLAB, PageClass.FILE]
    assert order == [1, 0]
    assert flags == [PageFlag.COMPOUND, PageFlag.CLEAN]


def test_per_cpu_pages_go_onto_the_lists_of_their_types(fake: FakeZone) -> None:
    assert fake.calls["pcp"] == {1: [1539]}


def test_per_cpu_pages_count_as_free_in_the_zones_survey() -> None:
    (zone,) = zones.snapshot_zones(snapshot(table()), "6.1")
    assert zone.nr_pcp_pages == 1
    assert zone.survey(1536, 4, 1)[0, :4].tolist() == [4, 0, 0, 0]


def test_types_and_watermarks_are_loaded(fake: FakeZone) -> None:
    assert fake.calls["types"] == [0, 1, 1, 1, 1, 1, 1, 1]
    assert fake.calls["marks"] == (3, 4, 5, 0)


def test_a_snapshot_without_runs_is_refused() -> None:
    with pytest.raises(InputError, match="without kpageflags"):
        zones.snapshot_zones(snapshot(None), "6.1")


def test_the_models_own_zone_takes_a_snapshot() -> None:
    (zone,) = zones.snapshot_zones(snapshot(table()), "6.1")
    assert zone.nr_free_pages == 2048 + 3
