"""The explorer's hot loop: what follows from each state of a batch, and which of it is new."""

from typing import Any

import cython
import numpy as np

if not cython.compiled:
    from pageblock.mm.constants import ISOLATE, RULE_ISOLATION, ISOLATION_BESIDE
    from pageblock.mm.watermark import update_far_mark
    from pageblock.mm.zone import ptr8, ptr32, ptr64

    from .codes import BREACH_BUG, BREACH_LOST, BREACH_NONE, SENT_SLOTS
    from .small_zone import SmallZone
    from .state import copy_record, pack, remember, restore, take_fingerprint, unpack
    from .step import broken_by, broken_in, in_use, isolations, perform, possible


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def seen_before(s: SmallZone, one: cython.ulonglong, two: cython.ulonglong) -> cython.bint:
    """Whether a fingerprint is in the table; it is from now on. The table never gets full."""
    at: cython.ulonglong = two & s.table_mask
    while s.table[2 * at]:
        if s.table[2 * at] == one and s.table[2 * at + 1] == two:
            return True
        at = (at + 1) & s.table_mask
    s.table[2 * at] = one
    s.table[2 * at + 1] = two
    s.table_used += 1
    return False


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def sent_before(s: SmallZone, one: cython.ulonglong, two: cython.ulonglong) -> cython.bint:
    """Whether a state went to the other worker lately, as far as one slot a hash remembers."""
    at: cython.ulonglong = 2 * (one >> 16 & (SENT_SLOTS - 1))
    if s.sent[at] == one and s.sent[at + 1] == two:
        return True
    s.sent[at] = one
    s.sent[at + 1] = two
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def follow(s: SmallZone, state: cython.ulonglong) -> cython.uint:
    """Do all that is possible in the present state; how many states that gave (``s.after``), each with its operation.

    ``state``: its number, for a breach; the first of each batch is kept.
    """
    op: cython.uint
    n: cython.uint = 0
    result: cython.longlong
    breach: cython.uint
    weak: cython.ulonglong
    isolate: cython.bint = isolations(s) < s.most_isolated
    remember(s)
    s.in_use_before = in_use(s, s.state)
    for op in range(s.nr_ops):
        if not possible(s, op, isolate):
            continue
        result = perform(s, op)
        s.transitions += 1
        weak = s.weak
        breach = broken_by(s, op, result)
        if weak == 0 and s.weak:
            s.weak_state = state
        if not breach and s.overlapping:
            breach = BREACH_LOST
        if not breach and not pack(s, s.after, s.after_words, n * s.record_size):
            breach = BREACH_LOST
        if breach and not s.breach:
            s.breach = breach
            s.breach_state = state
            s.breach_op = op
        elif not breach:
            s.after_1[n] = s.fingerprint_1
            s.after_2[n] = s.fingerprint_2
            s.after_op[n] = op
            n += 1
        restore(s)
    return n


@cython.cclass
class Explorer(SmallZone):
    """One worker: its zone, its share of the states seen. Methods work on batches and run without the interpreter lock."""

    def set_table(self, table: Any) -> None:
        """Use an empty table: uint64, two words a slot, a power of two of slots."""
        self.table_array = table
        self.table = ptr64(table)
        self.table_mask = len(table) // 2 - 1
        self.table_used = 0

    def fill_table(self, table: Any, fingerprints: Any) -> None:
        """Use another table, larger, that holds these fingerprints: uint64, two words each; zeros are passed over."""
        self.set_table(table)
        words: cython.p_ulonglong = ptr64(fingerprints)
        n: cython.longlong = len(fingerprints) // 2
        i: cython.longlong
        with cython.nogil:
            for i in range(n):
                if words[2 * i]:
                    seen_before(self, words[2 * i], words[2 * i + 1])

    def settle(self, **settings: int) -> None:
        """Set the bounds and promises by their names in ``SmallZone``."""
        self.promises = settings["promises"]
        self.window_order = settings["window_order"]
        self.nr_folded = settings["nr_folded"]
        self.most_requests = settings["most_requests"]
        self.most_isolated = settings["most_isolated"]
        self.unit_order = settings["unit_order"]
        self.kernel_flags = settings["kernel_flags"]
        self.cma_start = settings["cma_start"]
        self.cma_end = settings["cma_end"]

    def load(self, arrays: Any, counters: Any) -> Any:
        """Take over a zone as ``Zone.saved_state`` tells it, nothing of it allocated; its record and fingerprint."""
        nxt, prv, state, flags, types = arrays
        self.nxt_array[:] = nxt
        self.prv_array[:] = prv
        self.state_array[:] = state
        self.flags_array[:] = flags
        self.pageblock_array[:] = types
        self.nr_free_pages, self.nr_free_cma_pages, self.nr_isolate_pageblock = counters[:3]
        update_far_mark(self)
        return self.record()

    def record(self) -> Any:
        """Record and fingerprint of the present state: (bytes, first word, second word)."""
        if not pack(self, self.after, self.after_words, 0):
            return None
        return self.arrays["after"].view(np.uint8)[: self.record_size].tobytes(), self.fingerprint_1, self.fingerprint_2

    def enter(self, record: bytes) -> None:
        """Put a record's state into the zone."""
        buffer = np.frombuffer(record, np.uint8).copy()
        unpack(self, ptr8(buffer), 0)

    def places(self) -> list[int]:
        """Place in the record of each window, as of the last ``record``."""
        found: list[int] = self.arrays["place"].tolist()
        return found

    def act(self, op: int) -> tuple[int, int]:
        """Do one operation in the present state: its result, and the promise that it or the state behind it breaks."""
        remember(self)
        self.in_use_before = in_use(self, self.state)
        result = perform(self, op)
        breach = broken_by(self, op, result)
        if breach or self.overlapping:
            return result, breach or BREACH_LOST
        packed = self.record()
        if packed is None:
            return result, BREACH_LOST
        self.enter(packed[0])
        return result, broken_in(self)

    def judge(self) -> int:
        """The promise that the present state breaks, 0: none."""
        return broken_in(self)

    def counts(self) -> dict[str, int]:
        """What was counted so far."""
        return {
            "states": self.table_used,
            "transitions": self.transitions,
            "weak": self.weak,
            "weak_state": self.weak_state,
            "weak_op": self.weak_op,
        }

    def recount(self, transitions: int, weak: int, weak_state: int, weak_op: int) -> None:
        """Go on counting from here."""
        self.transitions, self.weak, self.weak_state, self.weak_op = transitions, weak, weak_state, weak_op

    def breached(self) -> tuple[int, int, int] | None:
        """The first promise broken since the last call: (BREACH_*, number of the state, operation; nr_ops: the state itself)."""
        if not self.breach:
            return None
        found = (self.breach, self.breach_state, self.breach_op)
        self.breach = 0
        return found

    def expand(
        self,
        records: Any,
        first: int,
        number: int,
        step: int,
        sides: int,
        side: int,
        mine: Any,
        mine_from: Any,
        theirs: Any,
        theirs_from: Any,
        only_check: bool,
    ) -> tuple[int, int, int]:
        """Judge the states of a batch from ``first`` on and do all that is possible in each, until a buffer or the table is full.

        Args:
            records: uint8, the batch.
            number: of its first state; each following one is ``step`` higher.
            sides: workers, 1 or 2; a state belongs to the one that its fingerprint names; ``side``: this one.
            mine, theirs: uint8, room for the records of new states, and of states that belong to the other worker.
            mine_from, theirs_from: uint64, where each comes from: number << 16 | operation.
            only_check: nothing is done in them.

        Returns:
            The first state not looked at, how many records ``mine`` and ``theirs`` got.
        """
        size: cython.ulonglong = self.record_size
        n: cython.ulonglong = len(records) // size
        i: cython.ulonglong = first
        k: cython.uint
        after: cython.uint
        state: cython.ulonglong
        to: cython.ulonglong = 0
        away: cython.ulonglong = 0
        room: cython.ulonglong = min(len(mine), len(theirs)) // size - self.nr_ops
        least: cython.ulonglong = (self.table_mask + 1) // 3 * 2 - self.nr_ops
        batch: cython.p_uchar = ptr8(records)
        new: cython.p_uchar = ptr8(mine)
        other: cython.p_uchar = ptr8(theirs)
        new_from: cython.p_ulonglong = ptr64(mine_from)
        other_from: cython.p_ulonglong = ptr64(theirs_from)
        begin: cython.ulonglong = number
        stride: cython.ulonglong = step
        two: cython.bint = sides == 2
        own: cython.ulonglong = side
        checking: cython.bint = only_check
        with cython.nogil:
            while i < n and to < room and away < room and self.table_used < least and not self.breach:
                state = begin + i * stride
                unpack(self, batch, i * size)
                k = broken_in(self)
                if k:
                    self.breach = k
                    self.breach_state = state
                    self.breach_op = self.nr_ops
                elif not checking:
                    after = follow(self, state)
                    for k in range(after):
                        if two and self.after_2[k] >> 63 != own:
                            if sent_before(self, self.after_1[k], self.after_2[k]):
                                continue
                            copy_record(other, away * size, self.after, k * size, size)
                            other_from[away] = state << 16 | self.after_op[k]
                            away += 1
                        elif not seen_before(self, self.after_1[k], self.after_2[k]):
                            copy_record(new, to * size, self.after, k * size, size)
                            new_from[to] = state << 16 | self.after_op[k]
                            to += 1
                i += 1
        return i, to, away

    def absorb(self, records: Any, origins: Any, first: int, mine: Any, mine_from: Any) -> tuple[int, int]:
        """Take in states that the other worker found, from ``first`` on; the first not taken, and how many were new."""
        size: cython.ulonglong = self.record_size
        n: cython.ulonglong = len(origins)
        i: cython.ulonglong = first
        to: cython.ulonglong = 0
        room: cython.ulonglong = len(mine) // size
        least: cython.ulonglong = (self.table_mask + 1) // 3 * 2
        batch: cython.p_uchar = ptr8(records)
        words: cython.p_ulonglong = ptr64(records.view(np.uint64))
        of: cython.p_ulonglong = ptr64(origins)
        new: cython.p_uchar = ptr8(mine)
        new_from: cython.p_ulonglong = ptr64(mine_from)
        with cython.nogil:
            while i < n and to < room and self.table_used < least:
                take_fingerprint(self, words, i * size // 8)
                if not seen_before(self, self.fingerprint_1, self.fingerprint_2):
                    copy_record(new, to * size, batch, i * size, size)
                    new_from[to] = of[i]
                    to += 1
                i += 1
        return i, to
