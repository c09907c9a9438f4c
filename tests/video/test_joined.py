"""Films whose clock jumps, or whose first frames have no time."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from av import Packet

from fastnst.video.containers import MendedClock
from fastnst.video.film import Span
from fastnst.video.reader import probe, read_frames

Fixture = Any
RATE = Fraction(25)


@pytest.fixture
def record(make_clip: Fixture, copy_film: Fixture) -> Callable[..., bytes]:
    """One recording in a form that may be joined, as bytes; `later` seconds on its clock."""

    def make(suffix: str, later: int = 0) -> bytes:
        codec, sound = ("libx264", "aac") if suffix == ".ts" else ("mpeg2video", "mp2")
        options = {"bf": "2"} if suffix == ".ts" else None
        path: Path = make_clip(
            f"one{suffix}", codec=codec, rate=RATE, frames=11, sounds=["eng"], sound_codec=sound, options=options
        )
        if not later:
            return path.read_bytes()

        def move(packet: Packet) -> None:
            ticks = round(later / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks

        with copy_film(path, path.with_name(f"later{suffix}"), move):
            pass
        return path.with_name(f"later{suffix}").read_bytes()

    return make


@pytest.mark.parametrize("later", [0, 1000])
@pytest.mark.parametrize("suffix", [".ts", ".vob"])
@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
def test_joined_recordings_last_as_long_as_both(
    record: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, suffix: str, later: int, output: str
) -> None:
    # Each lasts 11 / 25 = 0.44 s; the second begins anew at nought, or 1000 s ahead.
    film = tmp_path / f"joined{suffix}"
    film.write_bytes(record(suffix) + record(suffix, later))
    result = paint(film, tmp_path / output)
    assert str(result.damage).endswith("the file's clock jumps 1 time(s), fixed on all tracks")
    after = read(tmp_path / output)
    assert len(after.stamps) in {21, 22}  # the decoder may hold one back at the seam
    steps = [two - one for one, two in pairwise(after.stamps)]
    assert all(abs(step - 1 / RATE) <= Fraction(2, 1000) for step in steps if step < Fraction(7, 100))
    assert max(steps) <= 2 / RATE + Fraction(2, 1000)
    assert abs(after.stamps[-1] - after.stamps[0] + 1 / RATE - Fraction(22, 25)) <= Fraction(3, 1000)
    sound = after.tracks[0].packets
    assert sound[-1][0] + sound[-1][1] - sound[0][0] == pytest.approx(0.88, abs=0.05)
    assert max(two[0] - one[0] for one, two in pairwise(sound)) < 0.1


def test_three_joined_recordings(record: Fixture, tmp_path: Path) -> None:
    (tmp_path / "joined.ts").write_bytes(record(".ts") + record(".ts", 500) + record(".ts"))
    film = probe(tmp_path / "joined.ts")
    stamps = [frame.pts for frame in read_frames(film, Span(), threads=1, tolerate=True)]
    assert len(stamps) >= 31
    assert (stamps[-1] - stamps[0]) * film.time_base == Fraction(32, 25)


def test_a_gap_in_one_track_is_no_jump(make_clip: Fixture, tmp_path: Path) -> None:
    # Sound that is away for 20 s comes back where the pictures are.
    plain = make_clip("plain.ts", frames=4, rate=RATE, sounds=["eng"])
    with av.open(str(plain)) as source:
        video, sound = source.streams.video[0], source.streams.audio[0]
        clock = MendedClock(source, video)

        def packet(stream: Any, seconds: int) -> Any:
            made = Packet(b"x")
            made.stream, made.time_base = stream, Fraction(1)
            made.pts = made.dts = seconds
            made.duration = 1
            return made

        given = [packet(video, 0), packet(sound, 0), *(packet(video, second) for second in range(1, 21))]
        given += [packet(sound, 20), packet(video, 21), packet(sound, 21)]
        assert [each.pts for each in clock.mend(given)] == [0, 0, *range(1, 21), 20, 21, 21]
        assert clock.jumps == 0


def test_sound_that_jumps_first_follows_the_pictures(make_clip: Fixture) -> None:
    plain = make_clip("plain.ts", frames=4, rate=RATE, sounds=["eng"])
    with av.open(str(plain)) as source:
        video, sound = source.streams.video[0], source.streams.audio[0]
        clock = MendedClock(source, video)

        def packet(stream: Any, tenths: int) -> Any:
            made = Packet(b"x")
            made.stream, made.time_base = stream, Fraction(1, 10)
            made.pts = made.dts = tenths
            made.duration = 1
            return made

        given = [packet(stream, time) for time in range(1, 31) for stream in (video, sound)]
        # Sound of the second part comes before the first part's last picture.
        given += [packet(sound, 1), packet(video, 31), packet(sound, 2), packet(video, 1), packet(video, 2)]
        after = [each.pts for each in clock.mend(given)][60:]
        # The pictures go on at 32: the second part is moved by 31 tenths, its sound as well.
        assert after == [32, 31, 33, 32, 33]
        assert clock.jumps == 1


def test_frames_without_a_time_are_counted_back(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 8 of 20 frames have no time, the ninth is shown at 0.32 s: the first was at nought.
    source = make_clip("film.mkv", frames=20, rate=RATE, options={"bf": "0"})
    from fastnst.video import reader  # noqa: PLC0415

    class Forgetful(reader.FilmDecoder):
        def __iter__(self) -> Any:
            for number, frame in enumerate(super().__iter__()):
                if number < 8:
                    frame.pts = None
                yield frame

    monkeypatch.setattr(reader, "FilmDecoder", Forgetful)
    paint(source, tmp_path / "out.mp4")
    assert read(tmp_path / "out.mp4").stamps == tuple(number / RATE for number in range(20))


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
def test_ten_days_between_two_frames_are_no_pause(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, output: str
) -> None:
    # The seventh of 12 frames says 900,000 s later; MP4 could not even hold that.
    stamps = [40 * number + 900_000_000 * (number > 5) for number in range(12)]
    source = make_clip("gap.mkv", frames=12, stamps=stamps, options={"bf": "0"})
    paint(source, tmp_path / output)
    assert read(tmp_path / output).duration_s < 1
