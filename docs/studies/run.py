"""Run the studies again: ``python -m docs.studies.run [NAME…]``, or ``make studies``. What is there of their sweeps is kept."""

import sys
from importlib import import_module
from pathlib import Path

from pageblock.cli import main as pageblock

__all__ = ["main"]

HERE = Path(__file__).parent
STUDIES = ("granularity", "boundary", "camera")

#: Where the sweeps' results go.
RESULTS = HERE.parents[1] / "build" / "studies"


def main(names: tuple[str, ...]) -> int:
    """Carry out the sweeps of each study, then write its numbers, its page and its picture."""
    for name in names or STUDIES:
        if name not in STUDIES:
            print(f"there is no study {name!r}: name one of {', '.join(STUDIES)}", file=sys.stderr)
            return 2
        sweeps = sorted((HERE / name).glob("sweep*.toml"))
        folders = [RESULTS / name / sweep.stem for sweep in sweeps]
        for sweep, folder in zip(sweeps, folders, strict=True):
            folder.parent.mkdir(parents=True, exist_ok=True)
            code = pageblock(["sweep", str(sweep), "--out", str(folder), *(["--resume"] if folder.exists() else [])])
            if code:
                return code
        import_module(f"docs.studies.{name}.answer").main(folders[0] if len(folders) == 1 else RESULTS / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
