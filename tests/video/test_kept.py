"""A painted film has all that its source has: frames, times, sound, subtitles, chapters, tags."""

import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from fastnst.errors import OutputError
from fastnst.video.plan import VideoSettings, plan_film

Fixture = Any
NTSC = Fraction(30000, 1001)
REAL = Path(__file__).parents[3] / "shared" / "video"


def assert_same_film(source: Any, painted: Any) -> None:
    assert len(painted.stamps) == len(source.stamps)
    assert painted.stamps == source.stamps
    assert painted.rate == source.rate
    assert abs(painted.duration_s - source.duration_s) <= Fraction(1, 1000)  # MP4 rounds it to milliseconds
    assert painted.tracks == source.tracks
    assert painted.chapters == source.chapters
    assert painted.size == source.size
    assert painted.rotation == source.rotation
    assert painted.pixel_aspect == source.pixel_aspect


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.mkv"])
def test_two_sounds_subtitles_chapters(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str
) -> None:
    subtitles = "subrip" if name.endswith("mkv") else "mov_text"
    source = make_clip(name, frames=14, sounds=["eng", "fra"], subtitles=subtitles, chapters=True)
    result = paint(source, tmp_path / f"painted-{name}")
    before, after = read(source), read(tmp_path / f"painted-{name}")
    assert result.frames == 14
    assert_same_film(before, after)
    assert [track.language for track in after.tracks][:2] == ["eng", "fra"]
    assert [len(track.packets) > 1 for track in after.tracks] == [True] * 3
    assert after.rate == NTSC
    assert [title for _, _, title in after.chapters] == ["one", "two"]


def test_first_frame_not_at_nought(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("late.mp4", stamps=[200, 240, 280, 320, 360], frames=5, sounds=["eng"])
    paint(source, tmp_path / "out.mp4")
    assert_same_film(read(source), read(tmp_path / "out.mp4"))
    assert read(tmp_path / "out.mp4").stamps[0] == Fraction(1, 5)


@pytest.mark.parametrize("between", [0, 3])
@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_rate_keeps_every_time(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str, between: int
) -> None:
    stamps = [0, 33, 40, 100, 101, 250, 900, 933, 967, 2000]
    source = make_clip(name, frames=len(stamps), stamps=stamps, options={"bf": str(between)})
    paint(source, tmp_path / f"out-{name}")
    after = read(tmp_path / f"out-{name}")
    assert_same_film(read(source), after)
    assert after.stamps == tuple(Fraction(stamp, 1000) for stamp in stamps)


def test_ntsc_rate_comes_back_out_of_matroska(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path
) -> None:
    # Matroska counts milliseconds, 0 33 67 100: in MP4 the rate can be exact again.
    source = make_clip("film.mkv", frames=30, sounds=["eng"])
    paint(source, tmp_path / "out.mp4")
    after = read(tmp_path / "out.mp4")
    assert after.rate == NTSC
    assert after.stamps == tuple(number / NTSC for number in range(30))
    assert [content for _, _, content in after.tracks[0].packets] == [
        content for _, _, content in read(source).tracks[0].packets
    ]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_film_is_painted_upright_and_stays_rotated(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, rotation: int
) -> None:
    source = make_clip("phone.mp4", frames=4, rotation=rotation)
    seen: list[np.ndarray] = []

    def look(frame: np.ndarray) -> np.ndarray:
        seen.append(frame)
        return frame

    paint(source, tmp_path / "out.mp4", look)
    before, after = read(source), read(tmp_path / "out.mp4")
    assert_same_film(before, after)
    assert abs(after.rotation) % 360 in {rotation, 360 - rotation}
    # FFmpeg's rotation counts against the clock, as numpy's does.
    np.testing.assert_array_equal(seen[0], np.rot90(before.frames[0], before.rotation // 90))
    assert np.abs(after.frames[0].astype(int) - before.frames[0]).mean() < 3


def test_rotation_is_built_into_a_gif(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("phone.mp4", frames=4, rotation=90)
    paint(source, tmp_path / "out.gif")
    before, after = read(source), read(tmp_path / "out.gif")
    assert after.size == (64, 48)
    upright = np.rot90(before.frames[0], before.rotation // 90)
    assert np.abs(after.frames[0].astype(int) - upright).mean() < 12


@pytest.mark.parametrize(
    ("pixel_format", "size", "stored"),
    [
        ("yuv444p", (48, 64), "yuv444p"),
        ("yuv422p", (48, 64), "yuv422p"),
        ("yuv420p10le", (48, 64), "yuv420p10le"),
        ("yuv444p10le", (48, 64), "yuv444p10le"),
        ("yuv444p", (27, 33), "yuv444p"),
    ],
)
def test_depth_and_colour_resolution_are_kept(
    make_clip: Fixture,
    paint: Fixture,
    read: Fixture,
    tmp_path: Path,
    pixel_format: str,
    size: tuple[int, int],
    stored: str,
) -> None:
    source = make_clip("film.mp4", size=size, pixel_format=pixel_format, frames=3)
    paint(source, tmp_path / "out.mp4", compatible=False)
    after = read(tmp_path / "out.mp4")
    assert_same_film(read(source), after)
    assert (after.pixel_format, after.size) == (stored, size)


def test_odd_size_with_halved_colours(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("odd.webm", size=(27, 33), codec="libvpx-vp9", frames=3)
    plan = plan_film(source, tmp_path / "out.mp4", VideoSettings(codec_threads=1))
    assert plan.encoding is not None
    assert plan.encoding.pixel_format == "yuv444p"  # h264 cannot halve the colours of 33 columns
    assert "33x27" in plan.notes[0]
    paint(source, tmp_path / "out.mp4")
    paint(source, tmp_path / "out.webm")
    assert read(tmp_path / "out.mp4").size == read(tmp_path / "out.webm").size == (27, 33)
    assert read(tmp_path / "out.webm").pixel_format == "yuv420p"


def test_grey_film_may_be_painted_in_colours(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("grey.mkv", codec="ffv1", pixel_format="gray", frames=3)
    red = np.zeros((48, 64, 3), np.uint8)
    red[...] = (200, 20, 20)
    paint(source, tmp_path / "out.mp4", lambda frame: red)
    np.testing.assert_allclose(read(tmp_path / "out.mp4").frames[0][24, 32], (200, 20, 20), atol=3)


def test_pixel_aspect_and_metadata(
    make_clip: Fixture, copy_film: Fixture, paint: Fixture, read: Fixture, tmp_path: Path
) -> None:
    told = {"title": "A film", "artist": "Somebody", "com.apple.quicktime.model": "Telephone 7"}
    plain = make_clip("plain.mp4", frames=3, pixel_aspect=Fraction(4, 3), sounds=["eng"])
    with copy_film(plain, tmp_path / "film.mp4", container_options={"movflags": "use_metadata_tags"}) as writing:
        writing.metadata.update(told)
    paint(tmp_path / "film.mp4", tmp_path / "out.mp4")
    after = read(tmp_path / "out.mp4")
    assert after.pixel_aspect == Fraction(4, 3)
    assert {key: after.metadata.get(key) for key in told} == told


def test_attachments(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mkv", frames=3, attachment=True, sounds=["eng"])
    paint(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as clip:
        attached = clip.streams.attachments[0]
        assert (attached.name, attached.mimetype, attached.data) == (
            "font.ttf",
            "application/x-truetype-font",
            b"letters" * 20,
        )


def test_cover_art(make_clip: Fixture, copy_film: Fixture, paint: Fixture, tmp_path: Path) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 60)).save(drawn, "JPEG")
    jpeg = drawn.getvalue()
    plain = make_clip("plain.mp4", frames=3, sounds=["eng"])
    for name in ("cover.mp4", "cover.mkv"):
        with copy_film(plain, tmp_path / name) as writing:
            if name.endswith("mkv"):
                writing.add_attachment("cover.jpg", "image/jpeg", jpeg)
            else:
                picture = av.Packet(jpeg)
                picture.pts = picture.dts = 0
                picture.stream = writing.add_mux_stream("mjpeg", width=32, height=32)
                picture.stream.disposition, picture.is_keyframe = av.stream.Disposition.attached_pic, True
                writing.mux(picture)
        for output in ("out.mp4", "out.mkv"):
            paint(tmp_path / name, tmp_path / output, overwrite=True)
            with av.open(str(tmp_path / output)) as clip:
                covers = [stream for stream in clip.streams.video if stream.disposition & 1024]
                assert len(covers) == 1
                assert [bytes(packet) for packet in clip.demux(covers) if packet.size] == [jpeg]
    with pytest.raises(OutputError, match=r"track 2 \(cover art: mjpeg\) cannot be held by \.mov"):
        plan_film(tmp_path / "cover.mp4", tmp_path / "out.mov")


def test_measurements_that_do_not_fit_are_told_and_left_out(
    make_clip: Fixture, copy_film: Fixture, paint: Fixture, read: Fixture, tmp_path: Path
) -> None:
    plain = make_clip("plain.mp4", frames=5, sounds=["eng"])
    source = tmp_path / "drone.ts"
    with copy_film(plain, source) as writing:
        height = av.Packet(b"120 m")
        height.pts = height.dts = 0
        height.stream, height.time_base = writing.add_data_stream(), Fraction(1, 90_000)
        writing.mux(height)
    plan = plan_film(source, tmp_path / "out.mp4")
    assert [track.kind for track in plan.film.tracks] == ["audio", "data"]
    assert [track.kind for track in plan.tracks] == ["audio"]
    assert plan.notes == (f"left out, because .mp4 cannot hold it: {plan.film.tracks[1]}",)
    paint(source, tmp_path / "out.mp4")
    assert [track.kind for track in read(tmp_path / "out.mp4").tracks] == ["audio"]


def test_a_track_whose_packets_do_not_fit_is_found_before_work(make_clip: Fixture, tmp_path: Path) -> None:
    # AVI does not say which loudspeakers its two channels are for, without which MP4 can begin PCM, but not end it.
    source = make_clip("film.avi", codec="mpeg4", frames=5, sounds=["eng"], sound_codec="pcm_s16le")
    assert [track.encoder for track in plan_film(source, tmp_path / "out.mp4").tracks] == ["aac"]
    assert [track.kind for track in plan_film(source, tmp_path / "out.mov").tracks] == ["audio"]


def test_time_code_is_made_anew(make_clip: Fixture, copy_film: Fixture, paint: Fixture, tmp_path: Path) -> None:
    plain = make_clip("plain.mov", frames=3, rate=Fraction(25))
    with copy_film(plain, tmp_path / "coded.mov", kind="video") as writing:
        writing.streams.video[0].metadata["timecode"] = "01:00:00:00"
    assert plan_film(tmp_path / "coded.mov", tmp_path / "out.mov").notes == ()
    paint(tmp_path / "coded.mov", tmp_path / "out.mov")
    for name in ("coded.mov", "out.mov"):
        with av.open(str(tmp_path / name)) as clip:
            assert [stream.type for stream in clip.streams] == ["video", "data"]
            assert clip.streams.video[0].metadata["timecode"] == "01:00:00:00"


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        # Not MP3: it begins before nought, for which the writer of AVI leaves a hole in the pictures.
        ("film.avi", {"codec": "mpeg4", "sound_codec": "mp2", "rate": Fraction(25)}),
        ("film.ts", {"rate": Fraction(25)}),
        ("film.flv", {"rate": Fraction(25)}),
        ("film.webm", {"codec": "libvpx-vp9", "sound_codec": "libopus"}),
    ],
)
def test_other_containers(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str, recipe: dict[str, Any]
) -> None:
    source = make_clip(name, frames=25, sounds=["eng"], **recipe)
    before = read(source)
    for output in ("out.mp4", "out.mkv"):
        paint(source, tmp_path / output, overwrite=True)
        after = read(tmp_path / output)
        assert len(after.frames) == 25
        assert after.rate == before.rate
        gaps = [later - earlier for earlier, later in pairwise(after.stamps)]
        assert max(gaps) - min(gaps) <= Fraction(1, 1000)
        # Sound and pictures keep their distance; how AAC is wrapped differs between containers.
        assert len(after.tracks[0].packets) == len(before.tracks[0].packets)
        distance = [clip.stamps[0] - clip.tracks[0].packets[0][0] for clip in (before, after)]
        assert abs(distance[0] - distance[1]) <= Fraction(2, 1000)


@pytest.mark.real
@pytest.mark.parametrize("name", ["bikes.mp4", "car-detection.mp4"])
def test_real_films(paint: Fixture, read: Fixture, tmp_path: Path, name: str) -> None:
    source = REAL / name
    if not source.exists():
        pytest.skip("no ../shared/video here")
    paint(source, tmp_path / name, encoder_speed="ultrafast")
    before, after = read(source, pictures=False), read(tmp_path / name, pictures=False)
    assert len(before.stamps) > 200
    assert_same_film(before, after)
