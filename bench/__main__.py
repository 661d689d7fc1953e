"""``python -m bench``: measure, print tables; ``--json`` for the numbers behind them."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .capture import Captured, measure_capture
from .creation import Creation, measure_creations
from .doctor import NR_PAGES, Step, measure_doctor
from .instructions import Count, count_instructions
from .lab import Runs, measure_runs
from .machine import describe_machine
from .native import MissingToolError
from .ratios import Ratio, core_to_plain_c
from .replay import Replays, measure_replay
from .sweep import measure_sweep, print_sweep
from .table import number, table
from .terabyte import Terabyte, measure_terabyte

__all__ = ["main"]


def print_instructions(counts: Sequence[Count]) -> None:
    """Instructions an operation: the core, plain C, the real kernel."""
    head = ["one of", "core", "outside mm", "plain C", "kernel 6.1", "kernel : core"]
    rows = []
    for c in counts:
        beside = None if c.kernel is None else c.kernel / c.core
        values = (c.core, c.outside, c.plain_c, c.kernel, beside)
        rows.append([c.name, *(number(value) for value in values)])
    print(table(head, rows))


def print_ratios(ratios: Sequence[Ratio]) -> None:
    """Time of the core : time of plain C."""
    head = ["operations", "core : plain C", "quartiles", "core ns", "plain C ns"]
    rows = []
    for r in ratios:
        quartiles = f"{r.low:.2f} – {r.high:.2f}"
        rows.append([r.name, number(r.ratio), quartiles, number(r.core_ns), number(r.plain_c_ns)])
    print(table(head, rows))


def print_creations(creations: Sequence[Creation]) -> None:
    """Memory of a zone, and its time : time of numpy filling as many bytes."""
    head = ["zone, pages", "mapped B/page", "resident B/page", "time : numpy fill"]
    rows = []
    for c in creations:
        bytes_each = [f"{c.mapped:.3f}", f"{c.resident:.3f}"]
        rows.append([f"{c.nr_pages / 2**20:,.0f} Mi", *bytes_each, number(c.ratio)])
    print(table(head, rows))


def print_steps(steps: Sequence[Step]) -> None:
    """Steps of the doctor: time : time of numpy's sum."""
    head = ["step", "time : numpy sum", "quartiles", "s", "numpy s"]
    rows = []
    for s in steps:
        quartiles = f"{s.low:.1f} – {s.high:.1f}"
        times = [f"{s.seconds:.3f}", f"{s.numpy_seconds:.4f}"]
        rows.append([s.name, number(s.ratio), quartiles, *times])
    print(table(head, rows))


def print_terabyte(found: Sequence[Terabyte]) -> None:
    """Time on the clock and of the processors, numpy's sum beside it, and memory."""
    head = ["step", "s", "processor s", "numpy sum s", "time : numpy sum", "memory at most, MB", "kpageflags, MB"]
    rows = []
    for t in found:
        times = [f"{t.seconds:.2f}", f"{t.busy:.2f}", f"{t.numpy_seconds:.2f}", number(t.seconds / t.numpy_seconds)]
        rows.append([t.name, *times, f"{t.megabytes:,.0f}", f"{t.words_megabytes:,.0f}"])
    print(table(head, rows))


def print_captures(captures: Sequence[Captured]) -> None:
    """The file of a capture, and its time : time of plain reads."""
    head = ["capture", "MB", "runs", "s over the reads", "time : plain reads", "quartiles", "reads s"]
    rows = []
    for c in captures:
        times = [f"{c.seconds_over:.2f}", number(c.ratio), f"{c.low:.1f} – {c.high:.1f}", f"{c.read_seconds:.3f}"]
        rows.append([c.name, f"{c.nr_bytes / 1e6:.1f}", f"{c.rows:,}", *times])
    print(table(head, rows))


def print_replays(replays: Sequence[Replays]) -> None:
    """Millions of operations a second: the core's batches, the reading, the whole; and the whole : the reading."""
    head = ["traces of", "operations", "core M/s", "reading M/s", "whole M/s", "whole : reading"]
    rows = []
    for r in replays:
        rates = [r.batched / r.core / 1e6, r.operations / r.read / 1e6, r.operations / r.whole / 1e6]
        rows.append([r.name, f"{r.operations:,}", *(number(rate) for rate in rates), number(r.ratio)])
    print(table(head, rows))


def print_runs(runs: Sequence[Runs]) -> None:
    """Millions of operations a second of workloads: the core's batches, the whole; and the whole : the core."""
    head = ["workload", "operations", "core M/s", "whole M/s", "whole : core"]
    rows = []
    for r in runs:
        rates = [r.operations / r.core / 1e6, r.operations / r.whole / 1e6]
        rows.append([r.name, f"{r.operations:,}", *(number(rate) for rate in rates), number(r.ratio)])
    print(table(head, rows))


#: Name -> title, what measures it, what prints it.
PARTS: dict[str, tuple[str, Callable[[Path], list[Any]], Callable[[Sequence[Any]], None]]] = {
    "instructions": ("Instructions an operation", count_instructions, print_instructions),
    "ratios": ("Time beside plain C", core_to_plain_c, print_ratios),
    "replay": ("Replay of recorded kernels", lambda folder: measure_replay(), print_replays),
    "lab": ("Workloads on 1 GiB", lambda folder: measure_runs(), print_runs),
    "creation": ("Making a zone", lambda folder: measure_creations(), print_creations),
    "doctor": (
        f"The doctor on {NR_PAGES * 4096 >> 30} GiB",
        measure_doctor,
        print_steps,
    ),
    "terabyte": ("The doctor on 1 TiB", measure_terabyte, print_terabyte),
    "sweep": ("A sweep", measure_sweep, print_sweep),
    "capture": (f"A capture of {NR_PAGES * 4096 >> 30} GiB", measure_capture, print_captures),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts asked for; 0, or 1 if a part could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object, no tables")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.part if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    machine = describe_machine()
    results: dict[str, Any] = {"machine": machine}
    missing: dict[str, str] = {}
    if not options.json:
        print(table(["machine", ""], [[key, value] for key, value in machine.items()]))
    for part in options.part or PARTS:
        title, measure, show = PARTS[part]
        with tempfile.TemporaryDirectory(prefix="pageblock-bench-") as folder:
            try:
                found = measure(Path(folder))
            except MissingToolError as error:
                missing[part] = str(error)
                print(f"{part} was not measured: {error}", file=sys.stderr)
                continue
        results[part] = [asdict(one) for one in found]
        if not options.json:
            print(f"\n## {title}\n")
            show(found)
    if options.json:
        print(json.dumps({**results, "missing": missing}, indent=1))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
