"""Workloads, sweeps and what they leave behind: TOML files, the Parquet file of a run, the folder of a sweep."""

import json
from pathlib import Path
from random import Random

from .judge import Main
from .machine import Invocation
from .mutate import NUMBERS, spoil_bytes, spoil_json, spoil_text
from .snapshot import spoil_parquet
from .sound import made

__all__ = ["ask_results", "ask_series", "ask_sweep", "ask_workload"]

ACTORS = (
    'kind = "page-cache"\nrate = "1%"\nfile_size = "64K"\n'
    'lifetime = { mean = 4, shape = "lognormal", sigma = 1.5, forever = 0.05 }\n'
    "orders = { 0 = 0.9, 3 = 0.1 }\ndirty = 0.2\nreread = 0.1\n",
    'kind = "anonymous"\nrate = 0.5\nsize = "1M"\nspread = 0.5\nlifetime = 3\n'
    "thp = 0.3\nthp_order = 9\npage_tables = true\npinned = 0.01\n",
    'kind = "slab"\nsize = "5%"\nlifetime = 9\norders = { 0 = 1.0, 2 = 0.5 }\nreclaimable = 0.4\n',
    'kind = "kernel"\nsize = "2%"\nlifetime = { mean = 5, shape = "exponential" }\n',
    'kind = "network"\nrate = "256K"\nlifetime = 0.1\natomic = 0.5\nburst = 4\n',
    'kind = "cma"\nsize = "512K"\ncount = 2\nperiod = 2\nhold = 1\nalign = 4\nfirst = 1\ntogether = true\n',
    'kind = "contig"\nsize = "2M"\ncount = 1\nperiod = 2\nhold = 1\nplace = "random"\n',
    'kind = "vm"\nrate = 0.5\nsize = "2M"\nlifetime = 5\nthp = 0.5\nballoon = 0.2\nballoon_period = 2\n',
    'kind = "balloon"\nsize = "10%"\nperiod = 3\ninflate = 1\nhold = 1\n',
)

SWEEP = """name = "small"
workload = "WORKLOAD"
memory = "16MiB"
ticks = 3
sample_every = 1
seeds = 2
[grid]
release = ["5.15", "6.1"]
cma = ["0", "4MiB"]
"""
RANDOM = """[random]
draws = 2
seed = 1
reserved = { low = "0", high = "2MiB", step = "1MiB" }
max_order = { choices = [9, 10] }
"""

TINY = 'about = "tiny"\ntick_seconds = 1.0\n[[actor]]\nkind = "kernel"\nsize = "5%"\nlifetime = 3\n'


def toml_value(value: object) -> str:
    """A value as TOML, or what somebody takes for it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(k))} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(None if value is None else str(value))


def spoil_toml(text: str, random: Random) -> bytes:
    """Other values and keys, lines left out, doubled or swapped; or any broken text."""
    for _ in range(random.choice((1, 1, 2, 3))):
        lines = text.splitlines()
        at = random.randrange(len(lines)) if lines else 0
        if random.random() < 0.25 or not lines or "=" not in lines[at]:
            return spoil_text(text.encode("utf-8", "replace"), random)
        key, _, value = lines[at].partition(" = ")
        how = random.randrange(6)
        if how < 3:
            lines[at] = f"{key} = {toml_value(spoil_json(random.choice((1, 'x', [1], {'mean': 3})), random))}"
        elif how == 3:
            lines[at] = f"{key[: random.randrange(len(key) + 1)]}x = {value}"
        elif how == 4:
            number = random.choice((*NUMBERS, 0.5, -0.5, "nan", "inf", '"1e9%"', '"-1%"', '"999G"', "1e300"))
            lines[at] = f"{key} = {number}"
        else:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        text = "\n".join(lines) + "\n"
    return text.encode("utf-8", "replace")


def sound_workload(random: Random) -> str:
    """A workload file of some actors."""
    head = 'about = "what it stands for"\ntick_seconds = 1.0\ncompact_every = 2\n'
    return head + "".join(f"[[actor]]\n{one}" for one in random.sample(ACTORS, random.choice((1, 1, 2, 3))))


def ask_workload(main: Main, folder: Path, out: Path, random: Random) -> Invocation:
    """A broken workload, and a short run of it on a small machine."""
    del main
    path = folder / "work.toml"
    path.write_bytes(spoil_toml(sound_workload(random), random))
    args: tuple[str, ...] = ("run", str(path), "--memory", "16M", "--ticks", "3", "--cma", "4M", "--size", "2M")
    if random.random() < 0.3:
        args += ("--out", str(out / "machine.parquet"), "--force")
    return Invocation((*args, *(("--json",) if random.random() < 0.4 else ())))


def ask_sweep(main: Main, folder: Path, out: Path, random: Random) -> Invocation:
    """A broken sweep of a sound workload, or a sound one of a broken workload."""
    del main
    text = SWEEP.replace("WORKLOAD", "work.toml") + (RANDOM if random.random() < 0.3 else "")
    broken = random.random() < 0.85
    (folder / "sweep.toml").write_bytes(spoil_toml(text, random) if broken else text.encode())
    (folder / "work.toml").write_bytes(TINY.encode() if broken else spoil_toml(TINY, random))
    args = ("sweep", str(folder / "sweep.toml"), "--out", str(out / "new"), "--jobs", "1")
    return Invocation((*args, *(("--json",) if random.random() < 0.4 else ())))


def ask_series(main: Main, folder: Path, out: Path, random: Random) -> Invocation:
    """The file of a run, broken, and the timeline of it."""
    args = ("run", "{}/w.toml", "--memory", "16M", "--ticks", "6", "--cma", "4M", "--out", "{}/run.parquet")
    path = folder / "run.parquet"
    path.write_bytes(made(main, args, "run.parquet", {"w.toml": TINY})[""])
    spoil_parquet(path, b"pageblock.run", random)
    asked = ("export", str(path), str(out / random.choice(("new.x", "machine.parquet"))), "--force")
    more = ("--samples", "10") if random.random() < 0.3 else ()
    return Invocation((*asked, *more, *(("--json",) if random.random() < 0.4 else ())))


def ask_results(main: Main, folder: Path, out: Path, random: Random) -> Invocation:
    """The folder of a sweep with files that are broken or missing, and a command that reads it."""
    args = ("sweep", "{}/s.toml", "--out", "{}/out", "--jobs", "1", "--batch", "4")
    inputs = {"s.toml": SWEEP.replace("WORKLOAD", "w.toml"), "w.toml": TINY}
    swept = folder / "swept"
    swept.mkdir()
    files = made(main, args, "out", inputs)
    for name, data in files.items():
        (swept / name).write_bytes(data)
    for name, text in inputs.items():
        (folder / name).write_text(text)
    # each once: what is broken cannot be taken apart again
    for name in random.sample(list(files), random.choice((1, 1, 2))):
        path = swept / name
        if random.random() < 0.15:
            path.unlink()
        elif path.suffix == ".json" and random.random() < 0.8:
            path.write_text(json.dumps(spoil_json(json.loads(path.read_bytes()), random)), errors="replace")
        elif path.suffix == ".parquet":
            spoil_parquet(path, b"pageblock.sweep", random)
        else:
            path.write_bytes(spoil_bytes(path.read_bytes(), random))
    how = random.randrange(8)
    if how == 0:
        picture = ("--out", str(out / "new.svg"), "--kind", random.choice(("bands", "survival", "heatmap")))
        return Invocation(("plot", str(swept), *picture))
    if how < 4:
        return Invocation(("plot", str(swept), "--json", "--kind", random.choice(("bands", "survival", "heatmap"))))
    if how < 6:
        return Invocation(("compare", str(swept), *(("--json",) if random.random() < 0.5 else ())))
    return Invocation(("sweep", str(folder / "s.toml"), "--out", str(swept), "--jobs", "1", "--batch", "4", "--resume"))
