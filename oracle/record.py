"""From "kernel 6.1, seed 7" to a verified record in a file."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import zstandard

from .compare import first_difference
from .errors import GuestError, PackageError, UsageError, VerifyError
from .files import locked, whole_file
from .guest import (
    BOOT_SECONDS,
    MEMORY_BLOCK_MIB,
    SECONDS_PER_1000_REQUESTS,
    Guest,
    build_module,
    choose_accel,
)
from .packages import Kernel, Progress, require_programs
from .workload import PAGES_PER_MIB, PROFILES, generate

__all__ = ["Job", "Recording", "record", "replay", "summary", "verified"]

#: Boots more than asked for, if they begin in different states.
SPARE_BOOTS = 3
#: What is added to the size of an early zone, MiB: so that it ends inside a pageblock.
EARLY_ODD_MIB = 3
#: Bytes of record that a request, and a page of the zone in the dumps, may need.
LOG_BYTES_PER_REQUEST = 400
LOG_BYTES_PER_PAGE = 64
#: Bytes of record that a compaction may need for each page of the zone: at most half of them move.
LOG_BYTES_PER_COMPACTED_PAGE = 8


@dataclass(frozen=True)
class Job:
    """What to record. None: what the profile is best recorded with; ``accel`` None: find out.

    ``early``: node 1 is there at boot (see Guest). ``lag``: pages that the CPU holds back of each counter, 0 to 125.
    """

    series: str
    cache: Path
    profile: str = "mixed"
    seed: int = 1
    nr_ops: int | None = None
    zone_mib: int | None = None
    pcp: bool | None = None
    requests: Path | None = None
    boots: int = 2
    accel: str | None = None
    refresh: bool = False
    early: bool = False
    lag: int = 0


@dataclass(frozen=True)
class Recording:
    """A record and how it came about; ``seconds`` is the time that each boot took."""

    text: str
    kernel: Kernel
    name: str
    accel: str
    seconds: list[float] = field(default_factory=list)


def _requests(job: Job, zone_mib: int, nr_ops: int) -> tuple[str, list[str]]:
    """The name of the list for the version line, and its lines."""
    if job.requests is None:
        return job.profile, generate(job.profile, job.seed, nr_ops, zone_mib * PAGES_PER_MIB)
    try:
        lines = job.requests.read_text().splitlines()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{job.requests} cannot be read: {error}") from error
    known = re.compile(r"a \d+ \d+ [urmphURMPH]|[fg] \d+|[cx] \d+ \d+ \d+|[su] \d+ \d+|[khd]|#.*|")
    for number, line in enumerate(lines, 1):
        if not known.fullmatch(line.strip()):
            raise UsageError(f"{job.requests}, line {number}: {line!r} is no request")
    return re.sub(r"[^\w.-]", "_", job.requests.stem), lines


def record(job: Job, progress: Progress) -> Recording:
    """Fetch the kernel, build the module, boot ``job.boots`` times, compare.

    Raises:
        OracleError: one of its leaves, for whatever is missing or goes wrong on the way.
    """
    if job.profile not in PROFILES:
        raise UsageError(f"no profile {job.profile!r}: one of {', '.join(PROFILES)}")
    profile = PROFILES[job.profile]
    zone_mib = job.zone_mib or profile.zone_mib + (EARLY_ODD_MIB if job.early else 0)
    if zone_mib < MEMORY_BLOCK_MIB or (zone_mib % MEMORY_BLOCK_MIB and not job.early):
        raise UsageError(f"a zone of {zone_mib} MiB: memory is plugged in {MEMORY_BLOCK_MIB} MiB at a time")
    if profile.early and not job.early:
        raise UsageError(
            f"profile {job.profile} asks for pages that only a zone which is there at boot has: add --early"
        )
    if job.early and job.accel == "kvm":
        raise UsageError("a node that is there at boot cannot be recorded under KVM: two boots never agree")
    pcp = profile.pcp if job.pcp is None else job.pcp
    nr_ops = job.nr_ops or profile.nr_ops
    name, lines = _requests(job, zone_mib, nr_ops)
    compactions = sum(line.strip() == "k" for line in lines)
    if compactions and job.early:
        raise UsageError("compaction also moves pages that a zone has at boot, unseen: record it without --early")
    require_programs()
    try:
        with locked(job.cache, progress):
            kernel = Kernel.newest(job.series, job.cache, progress, refresh=job.refresh)
            guest = Guest(kernel, build_module(kernel, progress), zone_mib, "tcg", job.early)
            if not job.early:
                guest = replace(guest, accel=job.accel or choose_accel(guest, job.cache, progress))
    except OSError as error:
        raise PackageError(f"the cache folder {job.cache} does not serve: {error}") from error
    accel = guest.accel
    zone = "early" if job.early else "plugged"
    note = f"profile={name},seed={job.seed},nops={nr_ops},zone_mib={zone_mib},zone={zone},package={kernel.version}"
    if job.lag:
        note += f",lag={job.lag}"
    settings = {"PCP": "1" if pcp else "0", "LAG": str(job.lag), "NOTE": note}
    bytes_per_page = LOG_BYTES_PER_PAGE + compactions * LOG_BYTES_PER_COMPACTED_PAGE
    log_bytes = len(lines) * LOG_BYTES_PER_REQUEST + zone_mib * PAGES_PER_MIB * bytes_per_page
    log_mib = (log_bytes >> 20) + 4
    limit = BOOT_SECONDS + len(lines) / 1000 * SECONDS_PER_1000_REQUESTS
    seconds: list[float] = []

    def boot() -> str:
        progress(f"{kernel.release} ({accel}), boot {len(seconds) + 1}: {len(lines)} lines")
        begin = time.monotonic()
        text = guest.boot("\n".join(lines) + "\n", settings, log_mib, limit)
        seconds.append(time.monotonic() - begin)
        check_whole(text)
        return text

    return Recording(verified(boot, job.boots), kernel, name, accel, seconds)


def verified(boot: Callable[[], str], wanted: int) -> str:
    """Boot until ``wanted`` records agree; returns the first of them.

    A kernel may hand over the zone in one of two states (6.12 sometimes has a slab page more there):
    records that differ already in the initial dump are no contradiction, and cost a boot more.

    Raises:
        VerifyError: from the same state the same requests went different ways; or no two boots
            began alike.
    """
    groups: list[list[str]] = []
    for _ in range(wanted + SPARE_BOOTS):
        text = boot()
        for group in groups:
            differs = first_difference(group[0], text)
            if differs is None:
                group.append(text)
                break
            number, one, other = differs
            if number > text.split("\nD end", 1)[0].count("\n") + 2:
                raise VerifyError(
                    f"two boots differ in line {number}: {one[:120]!r} against {other[:120]!r}: not written"
                )
        else:
            group = [text]
            groups.append(group)
        if len(group) == wanted:
            return group[0]
    raise VerifyError(
        f"{wanted + SPARE_BOOTS} boots, and no {wanted} of them began in the same state of the zone: not written"
    )


def check_whole(text: str) -> None:
    """Check that a record ends as it should.

    Raises:
        GuestError: it is cut off, or something else than the requests used the zone.
    """
    end = text.rstrip("\n").rpartition("\n")[2]
    if not text.startswith("V oracle ") or not end.startswith("E "):
        raise GuestError(f"the record is cut off: it ends in {end[:120]!r}")
    if "overflow=0" not in end:
        raise GuestError("the record did not fit the module's memory: ask for fewer requests")
    if re.search(r"async_mig=[1-9]", text):
        raise GuestError("something else than the requests moved pages in the zone")
    if len(set(re.findall(r"^H .* foreign=(\d+)", text, re.MULTILINE))) > 1:
        raise GuestError("something else than the requests allocated or freed pages in the zone")


def summary(text: str) -> str:
    """What a record holds, in one line."""
    allocs = re.findall(r"^a .* (\S+)$", text, re.MULTILINE)
    compactions = len(re.findall(r"^K ", text, re.MULTILINE))
    contigs = re.findall(r"^c .* = (-?\d+) ", text, re.MULTILINE)
    end = re.search(r"^E ops=(\d+).* migrated=(\d+)", text, re.MULTILINE)
    nr_ops, migrated = (end[1], end[2]) if end else ("?", "?")
    return (
        f"{nr_ops} requests: {len(allocs)} allocations, {allocs.count('-')} of them failed;"
        f" {len(contigs)} ranges, {contigs.count('0')} taken;"
        f"{f' {compactions} compactions;' if compactions else ''} {migrated} migrations"
    )


def write(recording: Recording, path: Path) -> int:
    """Write the record, compressed; returns the bytes of the file.

    Raises:
        UsageError: the file cannot be written.
    """
    packed = zstandard.ZstdCompressor(level=19).compress(recording.text.encode())
    try:
        with whole_file(path) as draft:
            draft.write_bytes(packed)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be written: {error}") from error
    return len(packed)


def replay(path: Path) -> int | None:
    """Run ``pageblock replay`` on a record; returns its exit code. None: no such command."""
    command = [sys.executable, "-m", "pageblock", "replay"]
    there = subprocess.run([*command, "--help"], capture_output=True, check=False)
    if there.returncode:
        return None
    return subprocess.run([*command, str(path)], check=False).returncode
