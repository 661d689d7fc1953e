"""Files of different machines in one folder are refused; files of one machine, seconds apart, are not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zstandard

from pageblock.cli.doctor import recorded_machine
from pageblock.errors import InputError
from pageblock.machine import read_machine

RECORDED = recorded_machine()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A copy of the recorded guest that the package ships."""
    folder = tmp_path / "guest"
    shutil.copytree(RECORDED, folder)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_machine(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def replace_words(folder: Path, words: "np.ndarray[tuple[int], np.dtype[np.uint64]]") -> None:
    (folder / "kpageflags.zst").unlink()
    (folder / "kpagecount.zst").unlink()
    words.tofile(folder / "kpageflags")


def words_of(folder: Path) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    data = zstandard.ZstdDecompressor().stream_reader((folder / "kpageflags.zst").read_bytes()).read()
    return np.frombuffer(data, np.uint64)


@pytest.mark.parametrize(
    ("machine", "name", "says"),
    [
        ("csm442", "buddyinfo", "zone Normal: zoneinfo has 413015 free pages of 786432, buddyinfo 812965"),
        ("csm442", "pagetypeinfo", "pagetypeinfo counts pageblocks for 1236992"),
        ("coreos-sosreport", "pagetypeinfo", "zone DMA32: pagetypeinfo has 198205 free pages, buddyinfo 751645"),
        ("zynq-256M-kpageflags", "buddyinfo", "zoneinfo has node 0 zone DMA with memory, buddyinfo has not"),
        ("zynq-256M-kpageflags", "pagetypeinfo", "zoneinfo has node 0 zone DMA with memory, pagetypeinfo has not"),
        ("zynq-256M-kpageflags", "zoneinfo", "buddyinfo has node 0 zone DMA with memory, zoneinfo has not"),
        ("zynq-256M-kpageflags", "meminfo", "meminfo has 63077 pages in all, zoneinfo 1572725"),
        ("zynq-256M-kpageflags", "iomem", "iomem has 65536 pages of System RAM, zoneinfo 1572725"),
    ],
)
def test_a_file_of_another_machine_is_refused(shared: Path, guest: Path, machine: str, name: str, says: str) -> None:
    (guest / name).write_bytes((shared / "machines" / machine / name).read_bytes())
    message = refused(guest)
    assert says in message
    assert message.endswith("record them together")


def test_words_that_are_all_zero_are_refused(guest: Path) -> None:
    replace_words(guest, np.zeros(len(words_of(guest)), np.uint64))
    assert "every word is 0" in refused(guest)


def test_random_words_are_refused(guest: Path) -> None:
    rng = np.random.default_rng(1)
    replace_words(guest, rng.integers(0, 1 << 63, len(words_of(guest)), np.uint64))
    assert "impossible compound pages" in refused(guest)


def test_the_words_of_another_moment_with_half_as_many_free_pages_are_refused(guest: Path) -> None:
    words = words_of(guest).copy()
    buddy = np.flatnonzero(words & np.uint64(1 << 10))
    words[buddy[: len(buddy) * 6 // 10]] = 1 << 7
    replace_words(guest, words)
    assert "free pages in node 0 zone DMA32, buddyinfo has 751645" in refused(guest)


def test_a_tenth_of_the_free_pages_may_be_used_meanwhile(guest: Path) -> None:
    words = words_of(guest).copy()
    buddy = np.flatnonzero(words & np.uint64(1 << 10))
    words[buddy[-len(buddy) // 10 :]] = 1 << 7
    replace_words(guest, words)
    assert read_machine(guest).runs is not None
