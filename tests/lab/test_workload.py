"""Workload files: what is read, what is refused, and what actors ask for."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from pageblock.errors import InputError
from pageblock.lab.run import Settings, run
from pageblock.lab.workload import (
    FOREVER,
    KINDS,
    SHIPPED,
    TICK,
    Amount,
    Anonymous,
    Balloon,
    Cma,
    Lifetime,
    Network,
    Orders,
    PageCache,
    Slab,
    VirtualMachines,
    Workload,
    World,
    load_workload,
    to_toml,
)
from pageblock.mm import Migratetype, PageClass, PageFlag

CACHE = '[[actor]]\nkind = "page-cache"\nrate = "1%"\n'


def world(seed: int = 0, total_pages: int = 1 << 14) -> World:
    return World(total_pages, 4096, 10, 9, np.random.default_rng(seed))


def written(folder: Path, text: str) -> Path:
    path = folder / "w.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_workloads_survive_being_written(name: str, tmp_path: Path) -> None:
    workload = load_workload(name)
    assert load_workload(written(tmp_path, to_toml(workload))) == workload


@pytest.mark.parametrize("name", SHIPPED)
def test_workloads_can_be_sent_to_other_processes(name: str) -> None:
    workload = load_workload(name)
    assert pickle.loads(pickle.dumps(workload)) == workload


def test_every_kind_ships_in_an_example_or_has_a_test_here() -> None:
    used = {getattr(actor, "kind", "") for name in SHIPPED for actor in load_workload(name).actors}
    assert set(KINDS) - used == {"balloon"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CACHE + "rat = 1\n", "actor page-cache: unknown key 'rat'; did you mean 'rate'?"),
        (CACHE + "lifetime = { men = 3 }\n", "lifetime: unknown key 'men'; did you mean 'mean'?"),
        ('[[actor]]\nkind = "slob"\n', "unknown kind 'slob'; did you mean 'slab'?"),
        ("[[actor]]\nrate = 1\n", "actor 1 has no kind"),
        ('[[actor]]\nkind = "slab"\n', "lacks the key 'size'"),
        ("compactevery = 3\n" + CACHE, "unknown key 'compactevery'; did you mean 'compact_every'?"),
        (CACHE + CACHE, "two actors 'page-cache'"),
        ("", "has 0 actors"),
        (CACHE + 'size = "lots"\n', "'lots' is no amount of memory"),
        (CACHE + 'size = "120%"\n', "more than all memory"),
        (CACHE + "dirty = 2\n", "dirty is 2"),
        (CACHE + 'dirty = "much"\n', "dirty is 'much': write a number"),
        (CACHE + "dirty = true\n", "dirty is True: write a number"),
        (CACHE + "until = 1.5\n", "until is 1.5: write a whole number"),
        (CACHE + "lifetime = -1\n", "a lifetime of -1.0 ticks"),
        (CACHE + 'lifetime = { mean = 1, shape = "round" }\n', "no lifetime has the shape 'round'"),
        (CACHE + "orders = 3\n", "write a table of order = weight"),
        (CACHE + "orders = { 40 = 1 }\n", "orders are 0 to 26"),
        (CACHE + "orders = { 1 = 0 }\n", "needs a positive weight"),
        ("actor = 3\n", "'actor' must be tables"),
        ("tick_seconds = 0\n" + CACHE, "tick_seconds is 0.0"),
        ("= 3", "no TOML"),
        (CACHE + "dirty = nan\n", "sensible size"),
    ],
)
def test_what_makes_no_sense_is_one_line_with_the_way_out(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        load_workload(written(tmp_path, text))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (1 << 20) + b"#"])
def test_files_that_are_no_text_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_workload(path)


def test_a_name_that_is_nearly_one_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'desktop'"):
        load_workload("desktob")


@pytest.mark.parametrize(
    ("text", "pages"), [("4K", 1), ("1.5M", 384), ("1G", 262144), ("25%", 250), (8192, 2), ("64MiB", 16384)]
)
def test_amounts(text: str | int, pages: float) -> None:
    assert Amount.of(text).pages(1000, 4096) == pages


@pytest.mark.parametrize("shape", ["exponential", "fixed", "uniform", "lognormal"])
def test_lifetimes_have_their_mean(shape: str) -> None:
    drawn = Lifetime(20, shape, 1.0).draw(np.random.default_rng(1), 200_000)
    assert drawn.mean() / TICK == pytest.approx(20, rel=0.02)


def test_a_share_lives_for_ever() -> None:
    drawn = Lifetime(20, forever=0.25).draw(np.random.default_rng(1), 100_000)
    assert (drawn == FOREVER).mean() == pytest.approx(0.25, abs=0.01)


def test_a_mix_of_orders_is_met() -> None:
    drawn = Orders(((0, 3.0), (3, 1.0))).draw(np.random.default_rng(1), 100_000)
    assert (drawn == 3).mean() == pytest.approx(0.25, abs=0.01)
    assert Orders(((0, 3.0), (3, 1.0))).mean_pages == 2.75


@pytest.mark.parametrize("shape", ["exponential", "fixed", "uniform", "lognormal"])
def test_a_slab_begins_in_its_steady_state_and_keeps_it(shape: str) -> None:
    running = Slab(name="s", size=Amount(share=0.1), lifetime=Lifetime(5, shape, 1.2)).start(world())
    ends = np.zeros(0, np.int64)
    sizes = np.zeros(0, np.int64)
    held = []
    for tick in range(60):
        made = running.requests(tick)
        ends = np.concatenate([ends, made["life"] + made["at"] + tick * TICK])
        sizes = np.concatenate([sizes, 1 << made["order"].astype(np.int64)])
        held.append(sizes[ends >= (tick + 1) * TICK].sum())
    assert np.mean(held[:10]) == pytest.approx(1638, rel=0.15)
    assert np.mean(held[-20:]) == pytest.approx(1638, rel=0.15)


def test_a_process_ends_with_all_its_pages() -> None:
    processes = Anonymous(name="p", rate=2, size=Amount(size=4 << 20), spread=0, thp=0.5, lifetime=Lifetime(10))
    made = processes.start(world(3)).requests(0)
    of_one = made[made["life"] == made["life"][0]]
    # 1024 pages: one huge page, 512 single ones, three page tables
    assert sorted(np.unique(of_one["order"], return_counts=True)[1].tolist()) == [1, 515]
    assert (of_one["flags"] == 6).sum() == 3


def test_huge_pages_need_blocks_of_their_order() -> None:
    small = World(1 << 14, 4096, 8, 8, np.random.default_rng(0))
    made = Anonymous(name="p", rate=5, size=Amount(size=8 << 20), thp=1.0).start(small).requests(0)
    assert made["order"].max() == 0


def test_a_share_of_a_process_is_pinned() -> None:
    made = Anonymous(name="p", rate=5, size=Amount(size=8 << 20), thp=0, pinned=0.25).start(world(5)).requests(0)
    pinned = made["flags"] == int(PageClass.ANON) | int(PageFlag.PINNED)
    assert pinned.sum() / (pinned.sum() + (made["flags"] == int(PageClass.ANON)).sum()) == pytest.approx(0.25, abs=0.02)
    assert (made["migratetype"][pinned] == int(Migratetype.MOVABLE)).all()


def test_a_ring_of_buffers_ends_at_one_time() -> None:
    lives = {}
    for together in (False, True):
        ring = Cma(name="c", size=Amount(size=1 << 20), count=4, period=5, hold=Lifetime(3), together=together)
        running = ring.start(world())
        lives[together] = [call.life for tick in range(10) for call in running.calls(tick)]
    assert len(set(lives[False])) == 8
    assert [lives[True].count(life) for life in lives[True]] == [4] * 8


def test_files_go_whole() -> None:
    files = PageCache(name="f", rate=Amount(share=0.05), file_size=Amount(size=64 << 10), lifetime=Lifetime(50))
    made = files.start(world()).requests(0)
    changes = (np.diff(np.sort(made["at"].astype(np.int64) << 40 | made["life"])) != 0).sum() + 1
    assert len(made) / changes == pytest.approx(16, rel=0.5)


def test_nothing_comes_after_until() -> None:
    running = PageCache(name="f", rate=Amount(share=0.05), until=3).start(world())
    assert [len(running.requests(tick)) > 0 for tick in range(5)] == [True, True, True, False, False]


def test_packets_die_young_and_some_are_atomic() -> None:
    made = Network(name="n", rate=Amount(share=0.2), atomic=0.5, burst=0).start(world()).requests(0)
    assert (made["op"] == 5).mean() == pytest.approx(0.5, abs=0.1)
    assert np.median(made["life"]) < TICK // 4


def test_a_balloon_takes_its_size_and_gives_it_back() -> None:
    running = Balloon(name="b", size=Amount(size=1000 * 4096), period=10, inflate=3, hold=4).start(world())
    counts = [len(running.requests(tick)) for tick in range(20)]
    assert counts == [333, 333, 334, *[0] * 7] * 2


def test_a_guest_s_balloon_is_given_back_and_taken_again() -> None:
    guests = VirtualMachines(
        name="v",
        rate=0.05,
        size=Amount(size=8 << 20),
        lifetime=Lifetime(100, forever=1),
        thp=0,
        balloon=0.25,
        balloon_period=5,
    )
    running = guests.start(world(2))
    first = running.requests(0)
    guests_at_start = int((first["flags"] == 6).sum() // 4)
    assert guests_at_start > 0
    ballooned = first[first["life"] == 5 * TICK]
    assert len(ballooned) == guests_at_start * 512
    again = [len(made) for made in (running.requests(tick) for tick in range(1, 11))]
    assert again[9] >= guests_at_start * 512


def test_a_workload_of_own_classes_is_not_written() -> None:
    class Mine:
        name = "mine"

    with pytest.raises(InputError, match="class of its own"):
        to_toml(Workload("w", (Mine(),)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "actor",
    [
        'kind = "network"\nrate = "100000G"\nlifetime = 3',
        'kind = "page-cache"\nrate = "100000G"',
        'kind = "anonymous"\nrate = 1e9\nsize = "1M"\nlifetime = 5',
        'kind = "anonymous"\nrate = 10000\nsize = "90%"\nlifetime = 5',
        'kind = "slab"\nsize = "100000G"',
        'kind = "kernel"\nsize = "100000G"',
        'kind = "vm"\nrate = 10000\nsize = "90%"\nlifetime = 5',
    ],
)
def test_more_than_any_machine_has_room_for_is_refused(actor: str, tmp_path: Path) -> None:
    """Before memory runs out of it."""
    (tmp_path / "w.toml").write_text(f"[[actor]]\n{actor}\n")
    with pytest.raises(InputError, match=r"requests of one actor in a tick: at most 4,194,304"):
        run(load_workload(tmp_path / "w.toml"), Settings(memory_bytes=64 << 20, ticks=3, sample_every=3))
