"""A timeline as Perfetto's trace, decoded again by the messages of Perfetto's own package."""

from typing import Any

import numpy as np
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from pageblock.lab.timeline import Counter, Slice, Timeline
from pageblock.view.perfetto import lanes, to_perfetto

KINDS = TrackEvent.Type


class Decoded:
    """What the packets say: tracks by name, the values of each counter, the slices of each track."""

    def __init__(self, content: bytes) -> None:
        trace = Trace.FromString(content)
        self.tracks: dict[int, Any] = {}
        self.counters: dict[str, list[tuple[int, int]]] = {}
        self.slices: list[tuple[str, str, int, int, dict[str, object]]] = []
        self.times: list[int] = []
        begun: dict[int, list[tuple[int, Any]]] = {}
        for packet in trace.packet:
            assert packet.trusted_packet_sequence_id == 1
            if packet.HasField("track_descriptor"):
                assert packet.track_descriptor.uuid not in self.tracks
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
                continue
            self.times.append(packet.timestamp)
            event = packet.track_event
            # a track is described before it is used
            track = self.tracks[event.track_uuid]
            if event.type == KINDS.TYPE_COUNTER:
                assert track.HasField("counter")
                self.counters.setdefault(track.name, []).append((packet.timestamp, event.counter_value))
            elif event.type == KINDS.TYPE_SLICE_BEGIN:
                begun.setdefault(event.track_uuid, []).append((packet.timestamp, event))
            else:
                start, first = begun[event.track_uuid].pop()
                args = {
                    note.name: note.int_value if note.HasField("int_value") else note.string_value
                    for note in first.debug_annotations
                }
                self.slices.append((track.name, first.name, start, packet.timestamp, args))
        assert not any(begun.values())

    def parent(self, name: str) -> str:
        """Name of the track above."""
        track = next(track for track in self.tracks.values() if track.name == name)
        return str(self.tracks[track.parent_uuid].name)


def timeline(*slices: Slice, counters: tuple[Counter, ...] = ()) -> Timeline:
    return Timeline("run", {"release": "6.1", "operations": 5}, counters, slices)


def test_counters_keep_their_values_units_and_group() -> None:
    times, values = np.array([0, 10, 20, 30]), np.array([5, 5, 0, 1 << 40])
    found = Decoded(to_perfetto(timeline(counters=(Counter("free", "order 3 MOVABLE", "blocks", times, values),))))
    # only where it changes
    assert found.counters == {"order 3 MOVABLE": [(0, 5), (20, 0), (30, 1 << 40)]}
    [track] = [track for track in found.tracks.values() if track.name == "order 3 MOVABLE"]
    assert track.counter.unit_name == "blocks"
    assert (found.parent("order 3 MOVABLE"), found.parent("free")) == ("free", "run")


def test_slices_keep_their_times_and_what_is_said_of_them() -> None:
    found = Decoded(
        to_perfetto(timeline(Slice("attempts", "a range", 5, 9, {"pages": 512, "errno": -16, "why": "busy"})))
    )
    assert found.slices == [
        ("about", "run", 0, 0, {"release": "6.1", "operations": 5}),
        ("attempts", "a range", 5, 9, {"pages": 512, "errno": -16, "why": "busy"}),
    ]


def test_slices_that_overlap_get_a_track_each_and_others_share_one() -> None:
    spans = [(0, 10), (5, 8), (10, 12), (8, 9), (12, 12)]
    found = lanes([Slice("a", str(i), *span) for i, span in enumerate(spans)])
    assert [[int(one.name) for one in lane] for lane in found] == [[0, 4], [1, 3, 2]]
    decoded = Decoded(to_perfetto(timeline(*(one for lane in found for one in lane))))
    assert sorted((start, end) for track, _, start, end, _ in decoded.slices if track == "a") == sorted(spans)


def test_packets_are_in_order_of_time() -> None:
    counter = Counter("g", "c", "pages", np.array([3, 7]), np.array([1, 2]))
    found = Decoded(to_perfetto(timeline(Slice("a", "x", 1, 9), Slice("a", "y", 4, 5), counters=(counter,))))
    assert found.times == sorted(found.times)


def test_without_the_package_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from pageblock.errors import InputError

    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace", None)
    with pytest.raises(InputError, match=r"pip install 'pageblock\[perfetto\]'"):
        to_perfetto(timeline())
