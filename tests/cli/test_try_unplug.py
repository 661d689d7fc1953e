"""``pageblock try unplug`` as a person or a script calls it."""

import json
from pathlib import Path

import pytest

from .test_doctor import run


@pytest.mark.slow
def test_the_recorded_machine_gives_some(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "try", "unplug", "--recorded", "--size", "64M", "--release", "6.1", "--release", "5.15"
    )
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert "64 MiB unplugged from a virtio-mem device, block 2 MiB" in out
    assert "Assumed: the machine has a virtio-mem device that owns every whole memory block" in out
    assert "YES, 64 of 64 MiB unplugged under 6.1: sub-blocks of 2 MiB; 32 of them unplugged" in words
    assert "sub-blocks of 4 MiB; 16 of them unplugged" in words
    assert "VIRTIO_MEM_REQ_UNPLUG" in out


@pytest.mark.slow
def test_the_smallest_step_before_and_after_the_series(capsys: pytest.CaptureFixture[str]) -> None:
    """2 MiB: nothing under the old rule, and not more with 6 MiB than with 4."""
    args = ["--release", "5.15", "--release", "seed", "--release", "6.1", "--json"]
    code, out, _ = run(capsys, "try", "unplug", "--recorded", "--size", "2M", *args)
    got = {trial["release"]: trial["got"] for trial in json.loads(out)["trials"]}
    assert (code, got) == (1, {"5.15": 0, "seed": 2, "6.1": 2})
    assert "less than one is asked for" in json.loads(out)["trials"][0]["explanation"]
    code, out, _ = run(capsys, "try", "unplug", "--recorded", "--size", "6M", *args)
    trials = json.loads(out)["trials"]
    assert (code, [trial["got"] for trial in trials]) == (1, [4, 6, 6])
    assert "2,048 KiB are less than one" in trials[0]["explanation"]


@pytest.mark.slow
def test_big_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--size", "256M", "--device-block", "256M", "--release", "6.1", "--json"]
    code, out, _ = run(capsys, "try", "unplug", "--recorded", *args)
    found = json.loads(out)
    assert code == 0
    trial = found["trials"][0]
    assert trial["explanation"].startswith(
        "big blocks of 256 MiB; 1 block unplugged; 1 memory range taken offline and removed"
    )
    assert [end - start for start, end in trial["ranges"]] == [1 << 16]
    assert trial["counters"]["UNUSED"] >= 1


@pytest.mark.slow
def test_ranges_are_what_the_device_took_back(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "try", "unplug", "--recorded", "--size", "300M", "--release", "6.12", "--json")
    trial = json.loads(out)["trials"][0]
    assert code == 0
    assert sum(end - start for start, end in trial["ranges"]) == 300 << 8
    assert trial["ranges"] == sorted(trial["ranges"])
    assert all(start % 512 == end % 512 == 0 for start, end in trial["ranges"])


@pytest.mark.slow
def test_more_than_can_be_had(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guest = str(shared / "machines" / "guest-6.1.192")
    args = ["--from", guest, "--size", "5G", "--device-block", "2M", "--release", "5.15", "--release", "6.1", "--json"]
    code, out, _ = run(capsys, "try", "unplug", *args)
    old, new = json.loads(out)["trials"]
    assert code == 1
    assert 0 < old["got"] < new["got"] < 5 * 1024
    assert (
        "refused: start_isolate_page_range: the page is in use" in new["explanation"] or "refused" in new["explanation"]
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--size", "5T"], "MiB in whole memory blocks: choose less"),
        (["--size", "3M"], "a device unplugs whole blocks of 2 MiB"),
        (["--size", "1K"], "give a multiple of the page"),
        (["--size", "0"], "give a multiple of the page"),
        (["--size", "much"], "is not a size"),
        (
            ["--size", "64M", "--device-block", "3M"],
            "--device-block: size '3M' is 3145728 bytes: it must be a power-of-two",
        ),
        (["--size", "64M", "--device-block", "1K"], "--device-block: size '1K' is 1024 bytes"),
        (["--size", "64M", "--device-block", "big"], "--device-block: size 'big' is not a size"),
        (["--size", "64M", "--block-size", "64M"], "a whole number of sections"),
        (["--size", "64M", "--release", "nope"], "unknown release"),
        ([], "Missing option '--size'"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], args: list[str], words: str) -> None:
    code, out, err = run(capsys, "try", "unplug", "--recorded", *args)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_machine_without_kpageflags_is_refused(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "try", "unplug", "--from", str(shared / "machines" / "csm442"), "--size", "4M")
    assert (code, out) == (2, "")
    assert "without kpageflags" in err
