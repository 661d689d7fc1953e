"""``python -m mutants``: change one rule at a time and say who notices.

Exits 1 if a mutation survives that is not listed as equivalent (or one is caught that is), 2 if the catalogue no longer fits.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from .build import BuildError, build, tree_of
from .catalogue import MUTATIONS
from .catchers import ROOT, Catch, Catchers, copy_tests, full_name
from .mutation import Mutation, StaleError, mutated
from .rules_release import unchanged_choices

__all__ = ["main"]

PACKAGE = ROOT / "src" / "pageblock"
RECORDINGS = ROOT / "tests" / "recordings"
TABLE = ROOT / "docs" / "mutants.md"
SHARED = ROOT.parent / "shared" / "traces"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutation; ``catch`` None: it survived."""

    mutation: Mutation
    catch: Catch | None
    seconds: float

    @property
    def verdict(self) -> str:
        if self.catch:
            wrong = " (listed as equivalent)" if self.mutation.equivalent else ""
            by = self.catch.by.partition("[")[0].replace("::", ", ") if self.catch.kind == "test" else self.catch.by
            return (by if self.catch.how in ("fails", "diverges") else f"{by}: {self.catch.how}") + wrong
        return f"equivalent: {self.mutation.equivalent}" if self.mutation.equivalent else "SURVIVED"


def chosen(names: Sequence[str]) -> list[Mutation]:
    """The mutations of these names, or of these rooms; all for none."""
    found = [m for m in MUTATIONS if not names or any(name in (m.name, m.room, m.where) for name in names)]
    unknown = [name for name in names if not any(name in (m.name, m.room, m.where) for m in MUTATIONS)]
    if unknown:
        raise StaleError(f"no mutation or room is called {', '.join(unknown)}: see --list")
    return found


def check_catalogue(mutations: Sequence[Mutation]) -> None:
    """Raise StaleError for names used twice and for all mutations that no longer fit the rooms."""
    problems = [
        f"{m.name}: the name is used twice"
        for i, m in enumerate(mutations)
        if m.name in {n.name for n in mutations[:i]}
    ]
    release = PACKAGE / "mm" / "release.py"
    problems += [f"{choice}: no mutation changes it" for choice in unchanged_choices(release.read_text(), MUTATIONS)]
    for mutation in mutations:
        try:
            mutated(mutation, (PACKAGE / mutation.file).read_text())
        except StaleError as error:
            problems.append(str(error))
    if problems:
        raise StaleError("\n".join(problems))


def caught_before(table: str) -> dict[str, str]:
    """Which test noticed each mutation when the table of docs/mutants.md was measured; a test that is gone is left out."""
    found = re.findall(r"^\| (\S+) \| .* \| (\S+\.py), (test_\w+)[^|]* \|$", table, re.MULTILINE)
    texts = {file: path.read_text() for _, file, _ in found if (path := ROOT / full_name(file)).exists()}
    return {name: f"{file}::{test}" for name, file, test in found if f"def {test}(" in texts.get(file, "")}


def try_one(mutation: Mutation, number: int, folder: Path, catchers: Catchers, before: str) -> Outcome:
    """Look for a catcher of one mutation, first at the one that noticed it before."""
    started = time.monotonic()
    tree = tree_of(mutation, PACKAGE, folder)
    catch = catchers.catch(tree, number if mutation.compiled else 0, before)
    return Outcome(mutation, catch, time.monotonic() - started)


def try_all(
    mutations: Sequence[Mutation], traces: Sequence[Path], jobs: int, progress: Callable[[str], None]
) -> tuple[list[Outcome], tuple[str, ...]]:
    """The outcome of each mutation, in the catalogue's order, and which catchers were left out."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        progress("compiling")
        build(mutations, PACKAGE, folder)
        copy_tests(folder)
        progress("the model as it is")
        catchers = Catchers(folder, traces)
        catchers.calibrate(tree_of(None, PACKAGE, folder))
        outcomes: list[Outcome] = []
        before = caught_before(TABLE.read_text())
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [
                pool.submit(try_one, m, i, folder, catchers, before.get(m.name, "")) for i, m in enumerate(mutations, 1)
            ]
            try:
                for done in as_completed(waiting):
                    outcomes.append(done.result())
                    progress(f"{len(outcomes)} of {len(mutations)}: {outcomes[-1].mutation.name}")
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    progress("")
    place = {m.name: i for i, m in enumerate(mutations)}
    return sorted(outcomes, key=lambda outcome: place[outcome.mutation.name]), catchers.left_out


def describe(outcomes: Sequence[Outcome], left_out: Sequence[str], seconds: float) -> str:
    """A table for each room, in Markdown, and the sums below them."""
    lines: list[str] = []
    for room in dict.fromkeys(outcome.mutation.room for outcome in outcomes):
        lines += [f"### {room}", "", "| mutation | rule | caught by |", "| --- | --- | --- |"]
        lines += [
            f"| {o.mutation.name} | {o.mutation.rule} | {o.verdict} |" for o in outcomes if o.mutation.room == room
        ]
        lines.append("")
    by_test, by_trace = (
        sum(o.catch is not None and o.catch.kind == kind for o in outcomes) for kind in ("test", "trace")
    )
    equivalent = sum(o.catch is None and bool(o.mutation.equivalent) for o in outcomes)
    survived = len(outcomes) - by_test - by_trace - equivalent
    lines += [
        f"{len(outcomes)} mutations: {by_test} caught by a test, {by_trace} by a recorded kernel, "
        f"{equivalent} equivalent, {survived} survived; {seconds / 60:.0f} min",
    ]
    if left_out:
        lines += ["", "Left out, as the model without a mutation fails them: " + "; ".join(left_out)]
    return "\n".join(lines)


def as_json(outcome: Outcome) -> dict[str, object]:
    m, c = outcome.mutation, outcome.catch
    return {
        "name": m.name,
        "where": m.where,
        "rule": m.rule,
        "caught": c is not None,
        "kind": c and c.kind,
        "by": c and c.by,
        "how": c and c.how,
        "equivalent": m.equivalent or None,
        "seconds": round(outcome.seconds, 1),
    }


def show(text: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a mutation, a room or room.function"
    )
    parser.add_argument("--list", action="store_true", help="print the catalogue, and whether it still fits the rooms")
    parser.add_argument("--shared", action="store_true", help="replay the traces beside the checkout, too")
    parser.add_argument("--no-traces", action="store_true", help="tests only")
    parser.add_argument("--json", action="store_true", help="one object a mutation")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N", help="processes, default 2"
    )
    options = parser.parse_args(arguments)
    os.nice(max(0, 15 - os.nice(0)))
    # so that ending it removes its folder, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        mutations = chosen(options.only)
        check_catalogue(mutations)
        if options.list:
            print("\n".join(f"{m.name}: {m.where}: {m.rule}" for m in mutations))
            return 0
        # small ones first: a replay ends at its first divergence
        traces = [] if options.no_traces else sorted(RECORDINGS.glob("*.txt.zst"), key=lambda path: path.stat().st_size)
        if options.shared:
            traces += sorted(SHARED.glob("*/*.txt.zst"), key=lambda path: path.stat().st_size)
        outcomes, left_out = try_all(mutations, traces, options.jobs, show)
    except (StaleError, BuildError, RuntimeError) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([as_json(outcome) for outcome in outcomes], indent=1))
    else:
        print(describe(outcomes, left_out, time.monotonic() - started))
    return 1 if any((o.catch is None) != bool(o.mutation.equivalent) for o in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
