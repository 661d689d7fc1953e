"""Where files come from: /proc wherever it is named, folders with something else in a file's place."""

import os
import shutil
from pathlib import Path

import pytest

from pageblock.errors import InputError
from pageblock.machine.source import Folder, LiveProc
from pageblock.machine.sources import open_source
from pageblock.machine.words import PlainWords


@pytest.mark.parametrize("path", ["/proc", "/proc/", "/"])
def test_proc_itself_is_the_live_machine(path: str) -> None:
    source = open_source(Path(path))
    assert isinstance(source, LiveProc)
    assert source.name == "live /proc"


def test_a_copy_of_proc_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "zoneinfo").write_text(Path("/proc/zoneinfo").read_text())
    assert isinstance(open_source(tmp_path), Folder)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("name", ["kpageflags", "kpageflags.zst", "zoneinfo"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (make_folder, "a folder in place of a file"),
        (make_pipe, "a named pipe in place of a file"),
        (make_dangling_link, "a link to nothing"),
    ],
)
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, name: str, make: object, says: str) -> None:
    assert callable(make)
    make(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: {says}"):
        open_source(tmp_path)


def test_a_folder_that_this_user_may_not_search_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match="Permission denied; give a folder that this user can read") as caught:
        open_source(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(InputError, match="give a folder that this user can read"):
        open_source(Path("a\0b"))


def test_a_file_that_this_user_may_not_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    path = tmp_path / "kpageflags"
    path.write_bytes(bytes(8))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="kpageflags: Permission denied"):
        PlainWords(path)


def test_a_seek_past_the_end_of_any_file_system_gives_no_words(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "kpageflags"
    path.write_bytes(bytes(16))
    reader = PlainWords(path)
    reader.seek(1 << 52)
    assert reader.read(np.empty(1, np.uint64)) == 0
    reader.close()


def test_a_sosreport_is_still_found_below_proc(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    shutil.copy("/proc/version", tmp_path / "proc" / "version")
    assert isinstance(open_source(tmp_path), Folder)
