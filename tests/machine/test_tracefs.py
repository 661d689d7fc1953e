"""tracefs: what was set before is set again, whatever happens. On a folder that looks like it, and on the real one."""

import os
from pathlib import Path

import pytest

from pageblock.errors import InputError
from pageblock.machine.tracefs import TraceBuffer, buffer, mounted_tracefs, setting, switch_on

FILES = {
    "tracing_on": "1\n",
    "trace_clock": "[local] global counter uptime perf mono mono_raw boot\n",
    "buffer_size_kb": "7 (expanded: 1408)\n",
    "current_tracer": "nop\n",
    "set_event": "",
    "events/enable": "X\n",
    "events/kmem/enable": "X\n",
    "events/kmem/mm_page_alloc/enable": "0\n",
    "events/kmem/mm_page_free/enable": "1\n",
    "events/kmem/kmalloc/enable": "0\n",
    "events/compaction/mm_compaction_begin/enable": "0\n",
    "events/sched/sched_switch/enable": "1\n",
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A top buffer without instances."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def values(top: Path) -> dict[str, str]:
    """All settings."""
    return {name: setting((top / name).read_text()) for name in FILES}


class Stop(Exception):
    pass


@pytest.mark.parametrize("end", [None, Stop, KeyboardInterrupt])
def test_everything_is_as_it_was_however_it_ends(top: Path, end: type[BaseException] | None) -> None:
    before = values(top)
    during: dict[str, str] = {}

    def use() -> None:
        with buffer(top) as own:
            switched = switch_on(own, 4096)
            during.update(values(top))
            assert switched.skipped == ["page_isolation", "cma", "migrate"]
            assert switched.left_off == ["kmem:kmalloc"]
            if end is not None:
                raise end

    if end is None:
        use()
    else:
        with pytest.raises(end):
            use()
    assert values(top) == before
    changed = {name for name in before if during[name] != before[name]}
    assert changed == {
        "tracing_on",
        "trace_clock",
        "buffer_size_kb",
        "events/kmem/mm_page_alloc/enable",
        "events/compaction/mm_compaction_begin/enable",
    }


@pytest.mark.parametrize(("name", "content"), [("current_tracer", "function"), ("set_event", "sched:sched_switch\n")])
def test_a_buffer_that_somebody_uses_is_left_alone(top: Path, name: str, content: str) -> None:
    (top / name).write_text(content)
    before = values(top)
    with pytest.raises(InputError, match="traced by somebody else"), buffer(top):
        pass
    assert values(top) == before


def test_a_kernel_without_page_events_is_named(top: Path) -> None:
    (top / "events/kmem/mm_page_free/enable").unlink()
    (top / "events/kmem/mm_page_free").rmdir()
    with pytest.raises(InputError, match="no tracepoints kmem:mm_page_alloc"), buffer(top) as own:
        switch_on(own, 4096)


def test_an_instance_of_ours_that_was_left_over_is_removed(top: Path) -> None:
    (top / "instances" / "pageblock-999999999").mkdir(parents=True)
    (top / "instances" / f"pageblock-{os.getppid()}").mkdir()
    (top / "instances" / "mine").mkdir()
    with buffer(top) as own:
        assert own.own
        assert own.path == top / "instances" / f"pageblock-{os.getpid()}"
    assert sorted(path.name for path in (top / "instances").iterdir()) == ["mine", f"pageblock-{os.getppid()}"]


def test_a_setting_that_cannot_be_restored_does_not_keep_the_others_from_it(top: Path) -> None:
    own = TraceBuffer(top, False, [])
    own.write("buffer_size_kb", "4096")
    own.write("events/kmem/mm_page_alloc/enable", "1")
    own.undo.insert(1, (top / "nowhere" / "at_all", "1"))
    own.restore()
    assert setting((top / "buffer_size_kb").read_text()) == "7"
    assert setting((top / "events/kmem/mm_page_alloc/enable").read_text()) == "0"


@pytest.fixture
def tracefs() -> Path:
    """The real one is needed; the test is skipped, visibly, where it is not to be had."""
    try:
        with mounted_tracefs() as found:
            os.listdir(found / "instances")
            return found
    except (InputError, OSError) as error:
        pytest.skip(f"no tracefs here: {error}")


@pytest.mark.usefixtures("tracefs")
def test_nothing_is_left_of_a_real_instance() -> None:
    with mounted_tracefs() as top:
        before = {path: path.read_text() for path in (top / "events").glob("kmem/*/enable")}
        with buffer(top) as own:
            switched = switch_on(own, 256)
            assert ("kmem", "mm_page_alloc") in switched.events
            assert own.read("events/kmem/mm_page_alloc/enable").strip() == "1"
            place = own.path
        assert not place.exists()
        assert {path: path.read_text() for path in before} == before
