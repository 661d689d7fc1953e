"""From the lines of a trace to operations, and from answers to the first that differs."""

import numpy as np

from pageblock.machine.trace import ACTION, REASONS, first_difference, scan_actions, to_operations
from pageblock.mm import OPERATION, Migratetype, PageClass, PageFlag


def scan(text: str, owned: bool = False, room: int = 8) -> tuple[np.ndarray, int, int]:
    raw = np.frombuffer(text.encode() + b"\0", np.uint8).copy()
    rows, position, line = scan_actions(raw, 0, 0, np.zeros(room, ACTION), owned)
    return rows, position, line


def translate(text: str, handles: int = 8) -> tuple[np.ndarray, int, int]:
    rows, _, _ = scan(text)
    ops = np.zeros(len(rows), OPERATION)
    done, why = to_operations(rows, ops, np.full(handles, -1, np.int64), np.zeros(handles, np.bool_), 10, 4096)
    return ops, done, why


def test_allocations_and_frees_are_scanned_up_to_another_line() -> None:
    rows, position, line = scan("a 3 2 m 40\nf 3\nf 4 -\nc 1 2 3\n")
    assert rows[["op", "kind", "order", "line", "handle", "pfn"]].tolist() == [
        (ord("a"), ord("m"), 2, 1, 3, 40),
        (ord("f"), 0, 0, 2, 3, -1),
    ]
    assert (position, line) == (len("a 3 2 m 40\nf 3\nf 4 -\n"), 3)


def test_a_full_table_ends_the_scan() -> None:
    rows, position, _ = scan("f 1\nf 2\nf 3\n", room=2)
    assert (len(rows), position) == (2, 8)


def test_live_handles_of_a_dump_may_lie_before_the_zone() -> None:
    rows, _, line = scan("O 7 120 3 u\nO 9 -512 1024 C\na 1 0 u 5\n", owned=True)
    assert rows[["handle", "pfn"]].tolist() == [(7, 120), (9, -512)]
    assert line == 2


def test_letters_become_requests() -> None:
    ops, done, why = translate("a 0 0 m 5\na 1 3 M 8\na 2 1 H 16\nf 1\n")
    assert (done, why) == (4, 0)
    assert ops["op"].tolist() == [1, 1, 5, 2]
    assert ops["order"].tolist() == [0, 3, 1, 0]
    assert ops["migratetype"].tolist() == [Migratetype.MOVABLE, Migratetype.MOVABLE, Migratetype.UNMOVABLE, 0]
    assert ops["flags"].tolist() == [
        PageClass.MOVABLE_OPS,
        PageClass.MOVABLE_OPS | PageFlag.COMPOUND,
        PageClass.KERNEL | PageFlag.COMPOUND,
        0,
    ]
    assert ops["nr"].tolist() == [0, 0, 0, 8]


def test_a_free_before_its_allocation_is_refused() -> None:
    _, done, why = translate("a 0 0 u 5\nf 1\na 1 0 u 6\n")
    assert done == 1
    assert REASONS[why] == "handle {handle} was never allocated"


def test_the_first_answer_that_differs_is_found_and_pages_are_counted() -> None:
    rows, _, _ = scan("a 0 2 u 4\na 1 0 u -\nf 0\n")
    ops = np.zeros(3, OPERATION)
    to_operations(rows, ops, np.full(8, -1, np.int64), np.zeros(8, np.bool_), 10, 4096)
    assert first_difference(rows[:2], ops[:2], np.array([104, -12]), 100) == (-1, 4)
    assert first_difference(rows, ops, np.array([104, -12, 104]), 100) == (-1, 0)
    assert first_difference(rows, ops, np.array([104, 105, 104]), 100)[0] == 1
    assert first_difference(rows, ops, np.array([104, -12, -2]), 100)[0] == 2
