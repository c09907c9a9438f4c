"""One clock for films whose own clock jumps: recordings that were joined, streams that broke off and began again.

Times are seconds, as Fractions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from av.container import InputContainer
from av.format import Flags
from av.video.stream import VideoStream

if TYPE_CHECKING:
    from fastnst.video.decoder import AnyPacket

# FFmpeg's own limits (fftools/ffmpeg_demux.c): dts_delta_threshold, and the tenth of a second that it grants stamps.
_FORWARD_S = Fraction(10)
_BACKWARD_S = Fraction(1, 10)
# And dts_error_threshold, for formats whose clock does not begin anew.
_ABSURD_S = Fraction(30 * 3600)
# Stamps of one recording lie this close together in the file, whatever their tracks.
_TOGETHER_S = Fraction(5)
_MOST_WAITING = 500


@dataclass
class _Part:
    """A stretch of the film in which the file's clock runs on."""

    shift_s: Fraction
    """What to add to the file's stamps."""

    latest_s: Fraction
    """What the file's clock showed last."""


@dataclass
class _Pace:
    """How far a track is."""

    part: int
    following_s: Fraction
    """What the file's clock should show at the next packet."""


class MendedClock:
    """Makes the stamps of all tracks run on over every jump of the file's clock.

    The pictures say by how much the clock jumps, and the other tracks follow, so that sound and pictures stay together.
    """

    def __init__(self, container: InputContainer, main: VideoStream) -> None:
        """Prepare for a film that is read from its start; `main` is its pictures."""
        # Other formats have no clock that can begin anew: what looks like it there is a gap, or damage; but not days.
        joinable: Any = Flags.ts_discont.value  # PyAV's type hints say otherwise
        self._joinable = bool(container.format.flags & joinable)
        self._forward_s = _FORWARD_S if self._joinable else _ABSURD_S
        self._main = main.index
        self._frame_s = 1 / (main.average_rate or Fraction(25))
        self._parts: list[_Part] = []
        self._paces: dict[int, _Pace] = {}
        self._delays_s: dict[int, Fraction] = {}

    @property
    def jumps(self) -> int:
        """How often the clock jumped so far."""
        return max(0, len(self._parts) - 1)

    def mend(self, packets: "Iterable[AnyPacket]") -> "Iterator[AnyPacket]":
        """Give the packets of all tracks, in the order of the file, with mended stamps."""
        waiting: list[AnyPacket] = []
        for packet in packets:
            waiting.append(packet)
            # Sound may jump first; by how much the film does, the pictures will say.
            open_question = any(self._departs(each) for each in waiting)
            decided = packet.stream_index == self._main and self._departs(packet)
            if not open_question or decided or len(waiting) == _MOST_WAITING:
                yield from self._settle(waiting)
                waiting = []
        yield from self._settle(waiting)

    def _settle(self, waiting: "list[AnyPacket]") -> "list[AnyPacket]":
        for packet in sorted(waiting, key=lambda each: each.stream_index != self._main):
            self._repair_seam(packet)
            ticks = round(self._shift_s(packet) / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return waiting

    def _repair_seam(self, packet: "AnyPacket") -> None:
        """FFmpeg's readers show the last picture before a jump by the clock after it: give it the usual delay."""
        if packet.pts is None or packet.dts is None or not self._joinable:
            return
        delay_s = (packet.pts - packet.dts) * packet.time_base
        if 0 <= delay_s <= _TOGETHER_S:
            self._delays_s[packet.stream_index] = delay_s
        else:
            usual_s = self._delays_s.get(packet.stream_index, Fraction(0))
            packet.pts = packet.dts + round(usual_s / packet.time_base)

    def _shift_s(self, packet: "AnyPacket") -> Fraction:
        at_s, index = _stamp_s(packet), packet.stream_index
        if at_s is None:
            return self._parts[self._paces[index].part].shift_s if index in self._paces else Fraction(0)
        if not self._parts:
            self._parts.append(_Part(Fraction(0), at_s))
        if not _is_steady(packet):  # words come seldom
            return self._parts[self._latest_near(at_s, len(self._parts) - 1)].shift_s
        part = self._part(packet, at_s)
        length_s = packet.duration * packet.time_base if packet.duration else self._frame_s
        if length_s > self._forward_s:
            length_s = self._frame_s
            packet.duration = round(length_s / packet.time_base)
        self._paces[index] = _Pace(part, at_s + length_s)
        self._parts[part].latest_s = at_s
        return self._parts[part].shift_s

    def _part(self, packet: "AnyPacket", at_s: Fraction) -> int:
        pace = self._paces.get(packet.stream_index)
        if pace is None:
            return self._latest_near(at_s, len(self._parts) - 1)
        if not self._departs(packet):
            return pace.part
        later = [part for part in range(pace.part + 1, len(self._parts)) if self._near(at_s, part)]
        if later:
            return later[0]
        if packet.stream_index != self._main and self._near(at_s, pace.part):  # muddled, but of this part
            return pace.part
        self._parts.append(_Part(pace.following_s + self._parts[pace.part].shift_s - at_s, at_s))
        return len(self._parts) - 1

    def _departs(self, packet: "AnyPacket") -> bool:
        """Whether a packet does not go on where its track stopped, nor where the others are after a gap in its own."""
        at_s, pace = _stamp_s(packet), self._paces.get(packet.stream_index)
        if at_s is None or pace is None or not _is_steady(packet):
            return False
        ahead_s = at_s - pace.following_s
        if ahead_s < -_BACKWARD_S:
            return self._joinable
        return ahead_s > self._forward_s and not self._near(at_s, pace.part)

    def _near(self, at_s: Fraction, part: int) -> bool:
        return abs(at_s - self._parts[part].latest_s) <= _TOGETHER_S

    def _latest_near(self, at_s: Fraction, otherwise: int) -> int:
        return next((part for part in reversed(range(len(self._parts))) if self._near(at_s, part)), otherwise)


def _stamp_s(packet: "AnyPacket") -> Fraction | None:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if ticks is None or packet.time_base is None else ticks * packet.time_base


def _is_steady(packet: "AnyPacket") -> bool:
    """Whether the packets of this track follow one another without gaps."""
    return packet.stream.type in {"video", "audio"}
