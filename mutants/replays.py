"""``python -m mutants.replays TRACE...``: replay until the first divergence; notes instead of output."""

import sys
from pathlib import Path

from .guard import check_package, note


def main() -> int:
    check_package()
    from pageblock.errors import PageblockError
    from pageblock.lab.replay import replay

    for name in sys.argv[1:]:
        path = Path(name)
        note("start", path.name)
        try:
            parted = replay(path).divergence
        except PageblockError as error:
            note("failed", f"{path.name}: {error}")
            return 1
        if parted is not None:
            note("failed", f"{path.name}, line {parted.line}: {parted.what}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
