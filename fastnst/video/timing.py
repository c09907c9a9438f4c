"""When each frame is decoded and shown in the finished film."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from fastnst.video.film import Film
from fastnst.video.segments import Segment

_MILLISECOND = Fraction(1, 1000)


class Stamp(NamedTuple):
    """The times of a frame, ticks."""

    shown: int
    decoded: int
    duration: int


def stamp_frames(
    segments: Sequence[Segment], time_base: Fraction, rate: Fraction, *, start: int, whole: Film | None, exact: bool
) -> tuple[list[Stamp], Fraction]:
    """Stamp the frames for the finished film.

    Args:
        segments: the frames.
        time_base: seconds a tick of the encoder.
        rate: frames a second of the source.
        start: tick at which the film starts.
        whole: the source, if all of its frames are there; None: a part of it.
        exact: turn times that were rounded to milliseconds into a steady rate, if that is what they stand for.

    Returns:
        The stamps, in the order in which frames are decoded, and the time base in which they count.
    """
    shown = [pts - start for segment in segments for pts in segment.pts]
    durations = [ticks for segment in segments for ticks in segment.durations]
    final = durations[shown.index(max(shown))]
    if whole is not None:
        final = _final_duration(whole, max(shown) + start, final)
    steps = steady_grid(shown, time_base, rate) if exact else None
    if steps is not None:
        shown, durations, final, time_base = steps, [1] * len(steps), 1, 1 / rate
    length = max(shown) - min(shown) if whole is None else round(len(shown) / (rate * time_base)) - final
    # The frame that is decoded last ends the film as much as the one that is shown last.
    durations[-1] = final
    stamps = zip(shown, decode_stamps(shown, length), durations, strict=True)
    return [Stamp(*stamp) for stamp in stamps], time_base


def decode_stamps(shown: Sequence[int], length: int) -> list[int]:
    """Find when each frame must be decoded so that all are there when they are shown.

    Args:
        shown: when the frames are shown, ticks, in the order in which they are decoded.
        length: ticks from when the first is decoded to when the last is; MP4 files tell their mean rate by it.

    Returns:
        Rising ticks, none after the frame's own: the times of showing, moved back by as few frames as will do.
    """
    ordered = sorted(shown)
    rank = {pts: place for place, pts in enumerate(ordered)}
    delay = max((place - rank[pts] for place, pts in enumerate(shown)), default=0)
    if delay == 0:
        return ordered
    # Before the first is shown there are no times to take, so these are free.
    last = ordered[-1 - delay]
    first = min(last - length, ordered[0] - delay)
    lead = [first + (ordered[0] - first) * place // delay for place in range(delay)]
    return lead + ordered[:-delay]


def steady_grid(shown: Sequence[int], time_base: Fraction, rate: Fraction) -> list[int] | None:
    """Count frames in steps of a steady rate, if that is what their times stand for.

    Matroska counts in milliseconds: 29.97 frames a second can be stored there only rounded.

    Args:
        shown: when frames are shown, ticks of `time_base`, in any order.
        time_base: seconds a tick.
        rate: frames a second.

    Returns:
        The times in steps of 1 / rate, or None where the times are no steady rate's, rounded to whole ticks.
    """
    steps = [pts * time_base * rate for pts in shown]
    rounded = [round(step) for step in steps]
    tolerance = time_base * rate * Fraction(3, 4)
    on_grid = all(abs(step - whole) <= tolerance for step, whole in zip(steps, rounded, strict=True))
    unbroken = sorted(rounded) == list(range(min(rounded), min(rounded) + len(rounded)))
    return rounded if on_grid and unbroken else None


def _final_duration(film: Film, last: int, reported: int) -> int:
    """How long the frame shown last, at tick `last`, stays; with reordered frames MP4 tells only the film's end."""
    if film.end is None or film.end <= last:
        return reported
    # Edit lists round to milliseconds: then the frame knows better.
    rounded = abs(film.end - last - reported) * film.time_base <= _MILLISECOND
    return reported if rounded else film.end - last
