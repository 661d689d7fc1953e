"""Timelines as traces of Perfetto (https://ui.perfetto.dev), by the messages of the ``perfetto`` package.

Format: protos/perfetto/trace/track_event (track_descriptor, counter_descriptor, track_event).
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..lab.timeline import Counter, Slice, Timeline

if TYPE_CHECKING:
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TracePacket

__all__ = ["to_perfetto"]

#: One writer, whose packets are in order.
SEQUENCE = 1


def to_perfetto(timeline: Timeline) -> bytes:
    """A timeline as the bytes of a trace file.

    Raises:
        InputError: the package perfetto is not there.
    """
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as messages
    except ImportError:
        raise InputError("the package perfetto is not installed: pip install 'pageblock[perfetto]'") from None
    writer = Writer(messages)
    root = writer.track(timeline.name)
    about = writer.track("about", root)
    writer.slice(about, Slice("about", timeline.name, 0, 0, timeline.about))
    groups: dict[str, int] = {}
    for counter in timeline.counters:
        if counter.group not in groups:
            groups[counter.group] = writer.track(counter.group, root)
        writer.counter(counter, groups[counter.group])
    for group in dict.fromkeys(one.group for one in timeline.slices):
        for lane in lanes([one for one in timeline.slices if one.group == group]):
            track = writer.track(group, root)
            for one in lane:
                writer.slice(track, one)
    return writer.finished()


def lanes(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices spread so that none overlap within a lane, in as few lanes as that takes."""
    found: list[list[Slice]] = []
    ends: list[tuple[int, int]] = []
    for one in sorted(slices, key=lambda s: (s.start_ns, s.end_ns)):
        if ends and ends[0][0] <= one.start_ns:
            _, number = heappop(ends)
        else:
            number = len(found)
            found.append([])
        found[number].append(one)
        heappush(ends, (one.end_ns, number))
    return found


class Writer:
    """Packets, the descriptors of tracks first, then events in order of time."""

    def __init__(self, messages: Any) -> None:
        self.messages = messages
        self.trace: Trace = messages.Trace()
        self.events: list[tuple[int, int, TracePacket]] = []
        self.tracks = 0

    def track(self, name: str, parent: int | None = None, unit: str | None = None) -> int:
        """A track; its number. ``unit``: it is a counter's."""
        self.tracks += 1
        packet = self.trace.packet.add()
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.track_descriptor.uuid = self.tracks
        packet.track_descriptor.name = name
        if parent is not None:
            packet.track_descriptor.parent_uuid = parent
        if unit is not None:
            packet.track_descriptor.counter.unit_name = unit
        return self.tracks

    def event(self, time_ns: int, track: int, kind: int) -> Any:
        """A packet at a time; its track_event. Packets of one time stay in the order in which they are made."""
        packet = self.messages.TracePacket()
        packet.timestamp = time_ns
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.track_event.type = kind
        packet.track_event.track_uuid = track
        self.events.append((time_ns, len(self.events), packet))
        return packet.track_event

    def slice(self, track: int, one: Slice) -> None:
        """A slice with its arguments."""
        kinds = self.messages.TrackEvent.Type
        event = self.event(one.start_ns, track, kinds.TYPE_SLICE_BEGIN)
        event.name = one.name
        event.categories.append(one.group)
        for name, value in one.args.items():
            note = event.debug_annotations.add()
            note.name = name
            if isinstance(value, int) and not isinstance(value, bool):
                note.int_value = value
            else:
                note.string_value = str(value)
        self.event(one.end_ns, track, kinds.TYPE_SLICE_END)

    def counter(self, counter: Counter, parent: int) -> None:
        """A counter, where it changes."""
        track = self.track(counter.name, parent, counter.unit)
        changed = np.ones(len(counter.values), np.bool_)
        changed[1:] = counter.values[1:] != counter.values[:-1]
        kind = self.messages.TrackEvent.Type.TYPE_COUNTER
        for time, value in zip(counter.times_ns[changed].tolist(), counter.values[changed].tolist(), strict=True):
            self.event(time, track, kind).counter_value = value

    def finished(self) -> bytes:
        """The whole trace."""
        for _, _, packet in sorted(self.events, key=lambda event: event[:2]):
            self.trace.packet.add().CopyFrom(packet)
        content: bytes = self.trace.SerializeToString()
        return content
