"""Films like those of public bug reports on other programs, each made here: what they lost must not be lost."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from fastnst.errors import InputError
from fastnst.video import reader
from fastnst.video.codecs import add_transcoder
from fastnst.video.film import Span
from fastnst.video.plan import VideoSettings, plan_film
from fastnst.video.reader import probe

Fixture = Any


def test_sound_that_cannot_be_decoded_is_counted(make_clip: Fixture) -> None:
    with av.open(str(make_clip("a.mkv", sounds=["eng"]))) as film, av.open("/dev/null", "w", format="webm") as target:
        stream = film.streams.audio[0]
        transcoder = add_transcoder(target, stream, "libopus")
        for packet in film.demux(stream):
            if packet.size:
                damaged = av.Packet(b"\xff" * 9)
                damaged.stream, damaged.pts, damaged.time_base = stream, packet.pts, packet.time_base
                list(transcoder.encode(damaged))
        assert transcoder.undecodable > 5


def test_raw_dv_has_the_rate_of_its_pictures(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    # FFmpeg gives 60,000 frames a second as the mean: the ticks of its clock.
    source = make_clip("a.dv", frames=3, size=(576, 720), rate=Fraction(25), codec="dvvideo")
    assert probe(source).rate == 25
    paint(source, tmp_path / "out.mp4")
    assert read(tmp_path / "out.mp4").stamps == (0, Fraction(1, 25), Fraction(2, 25))


def test_neighbors_with_each_others_time_exchange_them(
    make_clip: Fixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # FFmpeg 8 gives B frames in AVI the times of decoding: 0 2 1 3 in the order they are shown.
    source = make_clip("a.mkv", frames=4, rate=Fraction(25))
    film, decode = probe(source), reader.FilmDecoder.__iter__

    def muddled(decoder: Any) -> Any:
        for place, frame in enumerate(decode(decoder)):
            frame.pts = [0, 80, 40, 120][place]
            yield frame

    monkeypatch.setattr(reader.FilmDecoder, "__iter__", muddled)
    assert [frame.pts for frame in reader.read_frames(film, Span())] == [0, 40, 80, 120]


def test_dolby_visions_own_colors_are_refused(make_clip: Fixture, tmp_path: Path) -> None:
    source = make_clip("a.mp4", frames=2)
    source.write_bytes(source.read_bytes().replace(b"avc1", b"dva1"))
    with pytest.raises(InputError, match="Dolby Vision's own"):
        probe(source)


@pytest.mark.parametrize(("name", "said"), [("out.mp4", True), ("out.mkv", False)])
def test_two_views_are_kept_or_said(
    make_clip: Fixture, copy_film: Fixture, paint: Fixture, tmp_path: Path, name: str, said: bool
) -> None:
    plain, source = make_clip("plain.mkv", frames=3, codec="ffv1"), tmp_path / "3d.mkv"
    with copy_film(plain, source) as writing:
        writing.streams.video[0].metadata["stereo_mode"] = "left_right"
    plan = plan_film(source, tmp_path / name, VideoSettings())
    assert any("marked as 3D" in note for note in plan.notes) == said
    paint(source, tmp_path / name)
    with av.open(str(tmp_path / name)) as film:
        assert (film.streams.video[0].metadata.get("stereo_mode") == "left_right") != said


def test_views_by_the_pictures_alone_are_said(make_clip: Fixture, tmp_path: Path) -> None:
    source = make_clip("a.mp4", frames=3, options={"x264-params": "frame-packing=3"})
    assert any("marked as 3D" in note for note in plan_film(source, tmp_path / "out.mkv", VideoSettings()).notes)
