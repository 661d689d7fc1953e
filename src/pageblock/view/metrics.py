"""The doctor's counts in the text format of Prometheus, for node_exporter's textfile collector (docs/doctor.md)."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from ..doctor.report import Report
from ..doctor.verdict import BLOCKED, FREE, MOVABLE, UNINITIALISED

__all__ = ["to_metrics"]

VERDICTS = {"free": FREE, "movable": MOVABLE, "blocked": BLOCKED, "uninitialised": UNINITIALISED}


def to_metrics(report: Report) -> str:
    """One gauge a count, without timestamps: the collector takes the file's own."""
    registry = CollectorRegistry()
    registry.register(_Gauges(report))
    return generate_latest(registry).decode()


class _Gauges:
    """What a registry asks for the metrics."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def collect(self) -> Iterator[GaugeMetricFamily]:
        report = self.report
        yield _gauge(
            "pageblock_info",
            "The machine that was judged; always 1.",
            ("kernel", "source"),
            # a folder's name may hold bytes that are no text
            {(report.kernel or "", report.source.encode("utf-8", "replace").decode()): 1},
        )
        if report.confidence is not None:
            yield _gauge(
                "pageblock_confidence_ratio", "Share of the verdicts that is certain.", (), {(): report.confidence}
            )
        yield _gauge("pageblock_read_seconds", "Time that reading took.", (), {(): report.seconds_read})
        yield _gauge("pageblock_judge_seconds", "Time that judging took.", (), {(): report.seconds_judged})
        if report.rows:
            yield from self.of_rows()
        else:
            yield from self.of_bounds()

    def of_rows(self) -> Iterator[GaugeMetricFamily]:
        report = self.report
        sizes = [(str(row.nr_pages * report.page_size), row.release, row) for row in report.rows]
        yield _gauge(
            "pageblock_ranges",
            "Aligned ranges of a size in a zone by verdict.",
            ("node", "zone", "size_bytes", "release", "verdict"),
            {
                (str(zone.node), zone.name, size, release, name): v.count(verdict)
                for size, release, row in sizes
                for zone, v in zip(report.zones, row.zones, strict=True)
                for name, verdict in VERDICTS.items()
            },
        )
        costs = (
            ("least", [row.least for _, _, row in sizes]),
            ("median", [row.median for _, _, row in sizes]),
            ("total", [row.total if row.movable else None for _, _, row in sizes]),
        )
        yield _gauge(
            "pageblock_cost_bytes",
            "Memory to migrate for a movable range: the least, the median, and all of them; absent where none is movable.",
            ("size_bytes", "release", "of"),
            {
                (size, release, of): pages * report.page_size
                for of, values in costs
                for (size, release, _), pages in zip(sizes, values, strict=True)
                if pages is not None
            },
        )
        for name, text in (
            ("pageblock_blocked_ranges", "Blocked ranges by reason; one with several reasons counts for each."),
            ("pageblock_blocked_ranges_alone", "Blocked ranges that have this reason only."),
        ):
            yield _gauge(
                name,
                text,
                ("size_bytes", "release", "reason"),
                {
                    (size, release, blocker.reason): blocker.alone if name.endswith("alone") else blocker.ranges
                    for size, release, row in sizes
                    for blocker in row.blockers
                },
            )

    def of_bounds(self) -> Iterator[GaugeMetricFamily]:
        """What can be said without kpageflags."""
        yield _gauge(
            "pageblock_free_ranges",
            "Free ranges of a size, at least and at most, where kpageflags cannot be read.",
            ("size_bytes", "bound"),
            {
                (str(b.nr_pages * self.report.page_size), bound): value
                for b in self.report.bounds
                for bound, value in (("least", b.free_at_least), ("most", b.free_at_most))
            },
        )


def _gauge(
    name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float | int]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for of_labels, value in values.items():
        family.add_metric(of_labels, value)
    return family
