"""``python -m oracle.remedy DIR``: what the doctor predicted of a remedy, against the kernel really doing it.

DIR is a machine recorded with ``python -m oracle.guest_machine --remedy …``: its /proc before, and in ``after-REMEDY``
after. The prediction is that of ``pageblock doctor``, from the first alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pageblock.doctor import diagnose
from pageblock.doctor.kernel import nearest_release
from pageblock.doctor.remedies import remedies
from pageblock.doctor.sizes import size_name
from pageblock.errors import InputError, PageblockError
from pageblock.machine import read_machine
from pageblock.machine.procfs import parse_vmstat
from pageblock.machine.truth import read_truth

from .guest_machine import REMEDIES, SIZES

__all__ = ["Compared", "Row", "compare", "main"]

#: The command by which the doctor names each remedy.
COMMANDS = {
    "compact": "echo 1 > /proc/sys/vm/compact_memory",
    "drop_caches": "echo 1 > /proc/sys/vm/drop_caches",
}


@dataclass(frozen=True, slots=True)
class Row:
    """Ranges of one size: free, and to be had at all; before, predicted and really. ``granted``: by the kernel itself."""

    nr_pages: int
    free_before: int
    free_predicted: int
    free_really: int
    had_before: int
    had_predicted: int
    had_really: int
    granted_before: int
    granted_after: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One remedy. ``moved``: pages migrated; ``freed``: file pages dropped; predicted, then really (vmstat)."""

    machine: str
    kernel: str
    remedy: str
    rows: tuple[Row, ...]
    moved: tuple[int, int]
    freed: tuple[int, int]


def compare(folder: Path, remedy: str) -> Compared:
    """The prediction from ``folder`` against ``folder/after-REMEDY``.

    Raises:
        InputError: either is no recorded machine, or the kernel has no version.
    """
    after_folder = folder / f"after-{remedy}"
    before, after = read_machine(folder), read_machine(after_folder)
    release = nearest_release(before.kernel or "")
    if release is None:
        raise InputError(f"{folder}: kernel {before.kernel!r} has no version")
    first = diagnose(before, SIZES, [release])
    last = diagnose(after, SIZES, [release])
    [predicted] = [one for one in remedies(before, first) if one.command == COMMANDS[remedy]]
    granted = [
        {size: sum(answer.errno == 0 for answer in answers) for size, answers in read_truth(where).answers.items()}
        for where in (folder, after_folder)
    ]
    rows = tuple(
        Row(
            a.nr_pages,
            a.free,
            a.free + effect.free,
            b.free,
            a.free + a.movable,
            a.free + a.movable + effect.had,
            b.free + b.movable,
            granted[0].get(a.nr_pages, 0),
            granted[1].get(a.nr_pages, 0),
        )
        for a, b, effect in zip(first.rows, last.rows, predicted.effects, strict=True)
    )
    counted = [parse_vmstat((where / "vmstat").read_text(), str(where / "vmstat")) for where in (folder, after_folder)]
    moved = counted[1]["pgmigrate_success"] - counted[0]["pgmigrate_success"]
    freed = counted[0]["nr_file_pages"] - counted[1]["nr_file_pages"]
    return Compared(
        folder.name, before.kernel or "", remedy, rows, (predicted.moved, moved), (predicted.freed, max(0, freed))
    )


def show(found: Compared) -> None:
    """Print the comparison."""
    print(f"{found.machine} · Linux {found.kernel} · {COMMANDS[found.remedy]}")
    print(f"pages moved: {found.moved[0]:,} predicted, {found.moved[1]:,} really", end="")
    print(f"; file pages dropped: {found.freed[0]:,} predicted, {found.freed[1]:,} really")
    print(
        f"{'size':>7}  {'free: before':>12}  predicted  really  {'to be had: before':>17}  predicted  really  the kernel gave"
    )
    for row in found.rows:
        print(
            f"{size_name(row.nr_pages, 4096):>7}  {row.free_before:>12,}  {row.free_predicted:>9,}  {row.free_really:>6,}"
            f"  {row.had_before:>17,}  {row.had_predicted:>9,}  {row.had_really:>6,}"
            f"  {row.granted_before:,}, then {row.granted_after:,}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare each remedy that a folder holds; 0, or 2 where there is none or it cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m oracle.remedy", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        done = [remedy for remedy in REMEDIES if (options.folder / f"after-{remedy}").is_dir()]
        if not done:
            raise InputError(f"{options.folder}: no after-{' or after-'.join(REMEDIES)} here: record it with REMEDY=")
        found = [compare(options.folder, remedy) for remedy in done]
    except (PageblockError, OSError) as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 2
    if options.as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        for one in found:
            show(one)
    return 0


if __name__ == "__main__":
    sys.exit(main())
