"""Which kind of trace a file is, by its content alone."""

import gc
import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from pageblock.errors import InputError
from pageblock.machine.alloc_events import write_events
from pageblock.machine.trace_import import import_events
from tests.machine.alloc_data import TEXTS
from tests.machine.test_llfree import header, record, trace_page

TEXT = TEXTS["perf script"].read_bytes()


@pytest.mark.parametrize("packed", [bytes, zstandard.ZstdCompressor().compress, gzip.compress, lzma.compress])
def test_text_may_be_packed(tmp_path: Path, packed: type[bytes]) -> None:
    path = tmp_path / "no-suffix"
    path.write_bytes(packed(TEXT))
    done: list[tuple[int, int]] = []
    found = import_events(path, progress=lambda *at: done.append(at))
    assert (found.table.num_rows, found.origin.source) == (120, "perf script")


def test_records_of_llfree_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(header(1) + trace_page(0, record(1, 1, True, 0, 0, 0)))
    assert import_events(path).origin.source == "LLFree replay records"
    with pytest.raises(InputError, match="--page-size 65536: LLFree's records are of pages of 4096 bytes"):
        import_events(path, page_size=65536)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\x17\x08\x44tracing6\0\0\1", "trace-cmd report"),
        (b"PERFILE2\x68", "perf script"),
        (b"2ELIFREP\0", "other byte order"),
        (b"\x7fELF\2\1\1", "kernel dump"),
        (b"PAR1\0\0", "Parquet"),
        (b"\0\1\2\3" * 100, "neither text nor"),
        (b"hello\n", "no trace that is known here"),
        (gzip.compress(TEXT)[:-100], "cannot be read to its end"),
        (lzma.compress(TEXT)[:-100], "cannot be read to its end"),
        (b"\x28\xb5\x2f\xfd" + b"garbage" * 20, "cannot be read to its end"),
    ],
)
def test_anything_else_is_one_line_that_says_what_to_give(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        import_events(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("packed", [bytes, zstandard.ZstdCompressor().compress, gzip.compress, lzma.compress])
def test_a_line_that_is_wrong_closes_what_was_opened_in_its_order(tmp_path: Path, packed: type[bytes]) -> None:
    """A generator that is ended after its file was closed writes a traceback to stderr; pytest makes an error of that."""
    path = tmp_path / "trace"
    assert TEXT.count(b"order=") > 4
    path.write_bytes(packed(TEXT.replace(b"order=", b"order=x", 3)))
    with pytest.raises(InputError, match="cannot be read"):
        import_events(path)
    gc.collect()


def test_events_are_not_imported_again(tmp_path: Path) -> None:
    text, path = tmp_path / "t.txt", tmp_path / "t.parquet"
    text.write_bytes(TEXT)
    write_events(path, import_events(text))
    with pytest.raises(InputError, match="events already"):
        import_events(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        import_events(tmp_path / "nowhere")
    with pytest.raises(InputError, match="Is a directory"):
        import_events(tmp_path)
