"""``python -m oracle``: record what a real kernel does with a list of requests.

Exit codes: 0 recorded (and the model agrees), 1 recorded and the model disagrees, 2 not recorded.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .errors import OracleError, UsageError
from .packages import default_cache
from .record import Job, record, replay, summary, write
from .workload import PROFILES

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Tells a wrong argument in one line; --help has the rest."""

    def error(self, message: str) -> NoReturn:
        print(f"oracle: {message} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    profiles = "\n".join(
        f"  {name:<11} {profile.about} ({profile.zone_mib} MiB, {profile.nr_ops} requests"
        f"{', per-cpu lists on' if profile.pcp else ''})"
        for name, profile in PROFILES.items()
    )
    parser = _Parser(
        prog="oracle",
        description="Boot a real Debian kernel in QEMU and record what its page allocator does.",
        epilog=f"profiles:\n{profiles}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--kernel", required=True, metavar="SERIES", help="kernel series: 6.1 or 6.12")
    add("--seed", type=int, default=1, help="seed of the requests (default 1)")
    add("--profile", default="mixed", help="kind of requests, see below (default mixed)")
    add("--nops", type=int, help="about how many requests (default: the profile's)")
    add("--zone-mib", type=int, help="size of the zone, a multiple of 128 (default: the profile's)")
    add("--pcp", type=int, choices=(0, 1), help="per-cpu lists on or off (default: the profile's)")
    add("--early", action="store_true", help="a zone that is there at boot, at a 2 MiB boundary")
    add("--lag", type=int, default=0, metavar="N", help="pages the CPU may hold back of each counter (default 0)")
    add("--requests", type=Path, metavar="FILE", help="record this list of requests instead")
    add("--boots", type=int, default=2, help="boots that must agree (default 2; 1: no check)")
    add("--accel", choices=("kvm", "tcg"), help="default: KVM where it boots, else emulation")
    add("--out", type=Path, metavar="FILE", help="default: KERNEL-PROFILE-sSEED.txt.zst here")
    add("--force", action="store_true", help="write over a file that is there")
    add("--cache", type=Path, metavar="DIR", help="kernels and builds (default: the user's cache)")
    add("--refresh", action="store_true", help="fetch apt's lists anew first")
    add("--no-replay", action="store_true", help="do not replay the record on the model")
    return parser


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"oracle: {text}", file=sys.stderr, flush=True)


def _run(options: argparse.Namespace) -> int:
    if options.nops is not None and options.nops < 1:
        raise UsageError(f"--nops {options.nops}: at least 1")
    if not 0 <= options.lag <= 125:
        raise UsageError(f"--lag {options.lag}: 0 to 125, as in any kernel")
    if options.boots < 1:
        raise UsageError(f"--boots {options.boots}: at least 1")
    name: str = options.requests.stem if options.requests else options.profile
    name += "-early" * options.early + "-lag" * bool(options.lag) + ("" if options.requests else f"-s{options.seed}")
    out: Path = options.out or Path(f"{options.kernel}-{name}.txt.zst")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is no folder: create it first")
    if out.exists() and not options.force:
        raise UsageError(f"{out} is there already: --force writes over it, --out names another")
    recording = record(
        Job(
            series=options.kernel,
            cache=(options.cache or default_cache()).resolve(),
            profile=options.profile,
            seed=options.seed,
            nr_ops=options.nops,
            zone_mib=options.zone_mib,
            pcp=None if options.pcp is None else bool(options.pcp),
            requests=options.requests,
            boots=options.boots,
            accel=options.accel,
            refresh=options.refresh,
            early=options.early,
            lag=options.lag,
        ),
        _progress,
    )
    size = write(recording, out)
    boots = ", ".join(f"{seconds:.1f}" for seconds in recording.seconds)
    agree = f"{options.boots} boots agree" if options.boots > 1 else "not verified"
    print(f"{out}: {size} bytes, {recording.kernel.release} ({recording.accel}), {agree} (boots: {boots} s)")
    print(summary(recording.text))
    if options.no_replay:
        return 0
    code = replay(out)
    if code is None:
        print("not replayed: this checkout has no working `pageblock replay`")
        return 0
    return 1 if code else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options)
    except OracleError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # whoever read our lines has gone; the recording is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("oracle: stopped, nothing written", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
