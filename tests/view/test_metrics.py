"""The counts as Prometheus reads them."""

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import Report, diagnose
from pageblock.machine import Snapshot, read_machine
from pageblock.view.metrics import to_metrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def guest() -> Snapshot:
    return read_machine(recorded_machine())


@pytest.fixture(scope="module")
def report(guest: Snapshot) -> Report:
    return diagnose(guest)


def samples(text: str) -> Samples:
    """Name and labels -> value, of a text in which no sample stands twice or has a timestamp."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            assert sample.timestamp is None
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_every_count_of_the_report_is_there(report: Report) -> None:
    found = samples(to_metrics(report))
    for row in report.rows:
        size = str(row.nr_pages * 4096)
        for verdict in ("free", "movable", "blocked", "uninitialised"):
            of_zones = [
                value(
                    found,
                    "pageblock_ranges",
                    node="0",
                    zone=zone,
                    size_bytes=size,
                    release=row.release,
                    verdict=verdict,
                )
                for zone in ("DMA", "DMA32", "Normal")
            ]
            assert sum(of_zones) == getattr(row, verdict)
        for blocker in row.blockers:
            labels = {"size_bytes": size, "release": row.release, "reason": blocker.reason}
            assert value(found, "pageblock_blocked_ranges", **labels) == blocker.ranges
            assert value(found, "pageblock_blocked_ranges_alone", **labels) == blocker.alone


def test_costs_are_in_bytes(report: Report) -> None:
    found = samples(to_metrics(report))
    row = report.rows[2]
    assert row.least is not None
    least = value(found, "pageblock_cost_bytes", of="least", size_bytes="2097152", release="6.1")
    assert least == row.least * 4096


def test_no_cost_is_told_where_nothing_is_movable(report: Report) -> None:
    costs = [labels for name, labels in samples(to_metrics(report)) if name == "pageblock_cost_bytes"]
    assert not [labels for labels in costs if ("size_bytes", str(1 << 30)) in labels]


def test_a_release_asked_for_twice_is_there_once(guest: Snapshot) -> None:
    assert samples(to_metrics(diagnose(guest, [512, 512], ["6.1", "6.1"])))


def test_labels_of_a_machine_are_escaped(report: Report) -> None:
    source = 'a"b\\c\nd 1\npageblock_ranges 7'
    found = samples(to_metrics(replace(report, source=source)))
    assert value(found, "pageblock_info", kernel="6.1.192", source=source) == 1


def test_without_kpageflags_bounds_are_told(guest: Snapshot) -> None:
    found = samples(to_metrics(diagnose(replace(guest, runs=None))))
    assert value(found, "pageblock_free_ranges", size_bytes="2097152", bound="least") == 2124
    assert not [name for name, _ in found if name == "pageblock_ranges"]
