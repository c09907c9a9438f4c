"""Parts of films, numbered pictures, GIF and WebM."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from fastnst.errors import InputError, OutputError
from fastnst.video.frame_files import find_frames, numbered_name
from fastnst.video.job import job_folder
from fastnst.video.plan import VideoSettings, plan_film

Fixture = Any
NTSC = Fraction(30000, 1001)


def test_start_and_end(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mp4", frames=60, rate=Fraction(25), sounds=["eng"], chapters=True, gop=20)
    paint(source, tmp_path / "out.mp4", start=Fraction(1, 10), end=Fraction(3, 10))
    before, after = read(source), read(tmp_path / "out.mp4")
    # Frames at 0.12, 0.16, 0.20, 0.24 and 0.28 s; the new film starts with the first of them.
    assert after.stamps == tuple(Fraction(4 * number, 100) for number in range(5))
    assert after.rate == 25
    for one, other in zip(after.frames, before.frames[3:8], strict=True):
        assert np.abs(one.astype(int) - other).mean() < 3
    sounds = [content for at, _, content in before.tracks[0].packets if Fraction(12, 100) <= at < Fraction(3, 10)]
    assert [content for _, _, content in after.tracks[0].packets] == sounds
    assert [(float(start), float(end), title) for start, end, title in after.chapters] == [
        (0, 0.08, "one"),
        (0.08, 0.18, "two"),
    ]


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi"])
def test_start_finds_the_same_frames_in_every_format(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str
) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    source = make_clip(name, frames=36, rate=Fraction(25), codec=codec, gop=12)
    seen: list[np.ndarray] = []

    def look(frame: np.ndarray) -> np.ndarray:
        seen.append(frame)
        return frame

    paint(source, tmp_path / "all.mkv", look)
    whole = list(seen)
    seen.clear()
    paint(source, tmp_path / "part.mkv", look, start=Fraction(18, 25))
    assert len(whole) == 36
    assert len(seen) == 18
    for one, other in zip(seen, whole[18:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_frames_to_expect(make_clip: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mp4", frames=50, rate=Fraction(25))
    assert plan_film(source, tmp_path / "out.mp4").frames == 50
    assert plan_film(source, tmp_path / "out.mp4", VideoSettings(start=Fraction(1))).frames == 25
    part = VideoSettings(start=Fraction(1), end=Fraction(12, 10))
    assert plan_film(source, tmp_path / "out.mp4", part).frames == 5


def test_broadcast_clock_starts_anew(
    make_clip: Fixture, copy_film: Fixture, paint: Fixture, read: Fixture, tmp_path: Path
) -> None:
    def move(packet: av.Packet) -> None:
        packet.pts += 3600 * 12800
        packet.dts += 3600 * 12800

    plain = make_clip("plain.mp4", frames=10, rate=Fraction(25), options={"bf": "0"})
    source = tmp_path / "film.ts"
    with copy_film(plain, source, move):
        pass
    assert read(source).stamps[0] > 3000
    paint(source, tmp_path / "out.mp4")
    after = read(tmp_path / "out.mp4")
    assert abs(after.stamps[0]) < Fraction(1, 1000)
    assert len(after.frames) == 10
    assert after.rate == 25
    paint(source, tmp_path / "part.mp4", start=Fraction(2, 10))
    assert len(read(tmp_path / "part.mp4").frames) == 5


def test_film_to_numbered_pictures_and_back(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mp4", frames=12, rotation=90, sounds=["eng"])
    pattern = tmp_path / "frames" / "%03d.png"
    plan = plan_film(source, pattern)
    assert "picture files hold no sound" in plan.notes[-1]
    assert paint(source, pattern, lambda frame: 255 - frame).frames == 12
    names = sorted(path.name for path in pattern.parent.iterdir())
    assert names == [f"{number:03d}.png" for number in range(1, 13)]
    assert not job_folder(pattern).exists()
    before = read(source)
    with Image.open(tmp_path / "frames" / "001.png") as written:
        first, made_by = np.asarray(written), written.getexif()[0x000B]
    assert f"stroke 1, stylized at {first.shape[1]}x{first.shape[0]}" in made_by
    upright = np.rot90(before.frames[0], before.rotation // 90)
    assert np.abs(first.astype(int) - (255 - upright.astype(int))).max() <= 2

    for frames in (tmp_path / "frames", pattern):
        paint(frames, tmp_path / "back.mp4", lambda frame: 255 - frame, frame_rate=NTSC, overwrite=True)
        back = read(tmp_path / "back.mp4")
        assert back.rate == NTSC
        assert back.stamps == tuple(number / NTSC for number in range(12))
        assert back.size == (64, 48)
        assert back.pixel_format == "yuv420p"
        assert np.abs(back.frames[3].astype(int) - np.rot90(before.frames[3], before.rotation // 90)).mean() < 4


def test_numbered_pictures_go_on(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    source, pattern = make_clip("film.mp4", frames=12), tmp_path / "frames" / "%d.jpg"
    calls = 0

    def breaks(frame: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return frame

    with pytest.raises(KeyboardInterrupt):
        paint(source, pattern, breaks)
    assert not (tmp_path / "frames" / "1.jpg").exists()  # not half a film
    result = paint(source, pattern, breaks)
    assert result.resumed == 7
    assert len(list(pattern.parent.glob("*.jpg"))) == 12


def test_frames_are_ordered_by_number(tmp_path: Path) -> None:
    for name in ("frame10.png", "frame9.png", "frame1.png", "words.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_frames(tmp_path)] == ["frame1.png", "frame9.png", "frame10.png"]
    assert [path.name for path in find_frames(tmp_path / "frame%d.png")] == ["frame1.png", "frame9.png", "frame10.png"]
    with pytest.raises(InputError, match="no picture files there"):
        find_frames(tmp_path / "other%04d.png")
    assert numbered_name(tmp_path / "a%04d.png", 7) == tmp_path / "a0007.png"
    assert numbered_name(tmp_path / "a%d.png", 12) == tmp_path / "a12.png"


def test_frames_of_two_sizes(paint: Fixture, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "in" / "1.png")
    Image.new("RGB", (48, 64)).save(tmp_path / "in" / "2.png")
    with pytest.raises(InputError, match=r"2\.png: has 48x64 pixels, and the first frame 64x48"):
        paint(tmp_path / "in", tmp_path / "out.mp4")


def test_frames_are_not_written_over_themselves(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "in" / "1.png")
    for source in (tmp_path / "in", tmp_path / "in" / "%d.png"):
        with pytest.raises(OutputError, match="written over the frames"):
            plan_film(source, tmp_path / "in" / "%d.png", overwrite=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"1\.png: already exists"):
        plan_film(tmp_path / "in", tmp_path / "out" / "%d.png")


def test_transparent_gif_stays_transparent(paint: Fixture, tmp_path: Path) -> None:
    frames = []
    for number in range(4):
        frame = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
        frame.paste((200, 30 * number, 40, 255), (10, 10, 30, 25))
        frames.append(frame)
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=70, disposal=2)
    paint(tmp_path / "in.gif", tmp_path / "out.gif", lambda frame: 255 - frame)
    with Image.open(tmp_path / "out.gif") as after:
        assert after.n_frames == 4
        for number in range(4):
            after.seek(number)
            assert after.info["duration"] == 70
            pixels = np.asarray(after.convert("RGBA"))
            assert pixels[2, 2, 3] == 0
            np.testing.assert_allclose(pixels[15, 20], (55, 255 - 30 * number, 215, 255), atol=8)


def test_gif_to_webm_and_prores(paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (40, 30), (200, 60, 40 * number, 255 if number else 0)) for number in range(3)]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=100, disposal=2)
    plan = plan_film(tmp_path / "in.gif", tmp_path / "out.mkv")
    assert any("laid over white" in note for note in plan.notes)
    paint(tmp_path / "in.gif", tmp_path / "out.mkv")
    after = read(tmp_path / "out.mkv")
    assert after.codec == "h264"
    assert after.stamps == (0, Fraction(1, 10), Fraction(2, 10))
    assert after.frames[0].min() >= 250
    paint(tmp_path / "in.gif", tmp_path / "out.mov", codec="prores")
    assert read(tmp_path / "out.mov").pixel_format.startswith("yuva444p1")


def test_gif_of_a_quick_film(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mp4", frames=10, rate=Fraction(60))
    with pytest.raises(OutputError, match=r"60 frames a second, and GIF shows 50 at most; write \.webm"):
        plan_film(source, tmp_path / "out.gif")
    source = make_clip("film.mp4", frames=10, rate=Fraction(25), sounds=["eng"])
    assert "left out" in plan_film(source, tmp_path / "out.gif").notes[0]
    paint(source, tmp_path / "out.gif")
    assert read(tmp_path / "out.gif").stamps == tuple(Fraction(4 * number, 100) for number in range(10))


def test_hevc_is_known_to_apples_players(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    paint(make_clip("film.mp4", frames=4), tmp_path / "out.mp4", codec="hevc")
    with av.open(str(tmp_path / "out.mp4")) as clip:
        assert clip.streams.video[0].codec_context.codec_tag == "hvc1"


def test_encoders_keep_off_the_screen(
    make_clip: Fixture, paint: Fixture, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_clip("film.mp4", frames=4, sounds=["eng"])
    capfd.readouterr()
    for name, codec in (("a.mp4", "h264"), ("b.mp4", "hevc"), ("c.mp4", "av1"), ("d.webm", "vp9")):
        paint(source, tmp_path / name, codec=codec, drop_tracks=True)
    assert capfd.readouterr() == ("", "")
