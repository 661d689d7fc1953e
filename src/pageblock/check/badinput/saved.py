"""What a search for mistakes keeps, to go on with: explorations, and the logs of check fuzz and check bad-input."""

import io
import json
import zipfile
from pathlib import Path
from random import Random

import numpy as np

from ..fuzz import Campaign, Chunk, Log
from .judge import Main
from .machine import Invocation
from .mutate import NUMBERS, spoil_bytes, spoil_json, spoil_text
from .sound import made

__all__ = ["ask_explored", "ask_fuzzed"]

EXPLORE = ("check", "explore", "--pages", "8", "--depth", "2", "--jobs", "1", "--out", "{}/states")
FUZZ = ("check", "fuzz", "--release", "6.1", "--ops", "1", "--jobs", "1", "--log", "{}/log")
BAD = ("check", "bad-input", "--kind", "zone", "--cases", "3", "--jobs", "1", "--log", "{}/log")


def spoil_archive(data: bytes, random: Random) -> bytes:
    """One member of a zip left out, cut or another array, under sums that are right."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        bad = random.choice(names)
        how = random.randrange(4)
        for name in names:
            content = old.read(name)
            if name == bad and how == 0:
                continue
            if name == bad and how == 1:
                content = spoil_bytes(content, random)
            elif name == bad and how == 2:
                array = io.BytesIO()
                kind = random.choice((np.uint8, np.int64, np.float64))
                np.save(array, np.full(random.choice((0, 1, 9)), random.choice(NUMBERS[:20]) & 127, kind))
                content = array.getvalue()
            elif name == bad:
                content = old.read(random.choice(names))
            new.writestr(name, content)
    return written.getvalue()


def ask_explored(main: Main, folder: Path, out: Path, random: Random) -> Invocation:
    """A saved exploration, broken, to go on with."""
    del out
    data = made(main, EXPLORE, "states")[""]
    if zipfile.is_zipfile(io.BytesIO(data)) and random.random() < 0.6:
        data = spoil_archive(data, random)
    else:
        data = spoil_bytes(data, random)
    path = folder / "states"
    path.write_bytes(data)
    json = ("--json",) if random.random() < 0.4 else ()
    return Invocation(("check", "explore", "--resume", str(path), "--depth", "2", *json))


def fuzz_log(path: Path) -> bytes:
    """The log of a chunk of ``FUZZ``; to run it would take seconds."""
    plan = Campaign(("6.1",), 1, 1000)
    Log(path, plan).add(Chunk(0, "6.1", 0, plan.chunk_operations, None))
    return path.read_bytes()


def ask_fuzzed(main: Main, folder: Path, out: Path, random: Random) -> Invocation:
    """A log, broken, to go on with."""
    del out
    words = FUZZ if random.random() < 0.3 else BAD
    data = fuzz_log(folder / "log") if words is FUZZ else made(main, words, "log")[""]
    if random.random() < 0.6 or words is FUZZ:
        row = json.loads(data)
        if words is FUZZ:
            # with another plan the chunk is run again, which takes seconds
            plan = row.pop("plan")
            row = {"plan": plan, **(rest if isinstance(rest := spoil_json(row, random), dict) else {"x": rest})}
        else:
            row = spoil_json(row, random)
        data = (json.dumps(row) + "\n").encode("utf-8", "replace")
    else:
        data = spoil_text(data, random)
    path = folder / "log"
    path.write_bytes(data)
    json_ = ("--json",) if random.random() < 0.4 else ()
    return Invocation((*words[:-1], str(path), *json_))
