"""Films as people really have them: odd sound, tracks that nobody reads, players that show little."""

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from fastnst.errors import InputError, OutputError
from fastnst.io.images import read_picture
from fastnst.video.batch import plan_films
from fastnst.video.codecs import fitted_quality
from fastnst.video.containers import display_size
from fastnst.video.film import Span
from fastnst.video.plan import VideoSettings, plan_film
from fastnst.video.reader import probe, read_frames

Fixture = Any


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("film.avi", "pcm_alaw"),
        ("film.avi", "pcm_mulaw"),
        ("film.avi", "adpcm_ms"),
        ("film.avi", "adpcm_ima_wav"),
        ("film.asf", "wmav1"),
        ("film.asf", "wmav2"),
    ],
)
def test_sound_that_matroska_holds_as_windows_does_is_copied(
    make_clip: Fixture, write_wma: Fixture, paint: Fixture, read: Fixture, name: str, sound: str, tmp_path: Path
) -> None:
    if sound.startswith("wma"):
        source = write_wma(name, sound, frames=5)
    else:
        source = make_clip(name, codec="mpeg4", frames=5, sounds=["eng"], sound_codec=sound)
    paint(source, tmp_path / "out.mkv")
    before, after = read(source), read(tmp_path / "out.mkv")
    assert [track.codec for track in after.tracks] == [sound]
    assert [content for _, _, content in after.tracks[0].packets] == [
        content for _, _, content in before.tracks[0].packets
    ]
    assert np.array_equal(waves(source), waves(tmp_path / "out.mkv"))


# Frames of 20 ms as libspeex writes them, 16 kHz.
SPEEX = [
    "30549822d0b97d149128f8b5b082085c6ca99a64131494757f657697a813bd3b9a307212bb2ce0112a431c1f1ddb3860"
    "ababababab0ababababab0ababababab0ababababab7",
    "30548220d0941c80be9878688818a8d39a81a5a4189b3c26a4655153a02bac3e1a3a3a328790c102960c951519ab3860"
    "ababababab0ababababab0ababababab0ababababab7",
]
SPEEX_TAG, NELLYMOSER_TAG = 0xB6, 0x66
"""Before the sound in FLV: Speex; Nellymoser at 22 kHz."""


def encode_nellymoser() -> list[bytes]:
    encoder = av.CodecContext.create("nellymoser", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 22_050, "mono", "flt"  # type: ignore[attr-defined]
    wave = np.sin(np.arange(512 * 12) * 0.05).astype(np.float32).reshape(12, 1, 512)
    packets = []
    for block, part in enumerate(wave):
        tone = av.AudioFrame.from_ndarray(part, format="flt", layout="mono")
        tone.sample_rate, tone.pts = 22_050, block * 512
        packets += encoder.encode(tone)  # type: ignore[attr-defined]
    return [bytes(packet) for packet in packets]


def add_flash_sound(silent: Path, path: Path, head: int, packets: list[bytes]) -> Path:
    """Put a packet of sound behind each picture of a Flash film (FLV specification 10.1, annex E.4)."""
    content, packets = silent.read_bytes(), packets.copy()
    whole, at = content[:4] + b"\x05" + content[5:13], 13
    while at < len(content):
        size = 11 + int.from_bytes(content[at + 1 : at + 4], "big") + 4
        whole += content[at : at + size]
        if content[at] == 9 and packets:
            sound = bytes([head]) + packets.pop(0)
            tag = b"\x08" + len(sound).to_bytes(3, "big") + content[at + 4 : at + 8] + bytes(3) + sound
            whole += tag + len(tag).to_bytes(4, "big")
        at += size
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("sound", ["speex", "nellymoser"])
def test_the_sound_of_flash_films(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, sound: str
) -> None:
    silent = make_clip("silent.flv", codec="flv", frames=10)
    head, packets = SPEEX_TAG, [bytes.fromhex(each) for each in SPEEX] * 5
    if sound == "nellymoser":
        head, packets = NELLYMOSER_TAG, encode_nellymoser()[:10]
    source = add_flash_sound(silent, tmp_path / "film.flv", head, packets)
    assert [track.codec for track in read(source).tracks] == [sound]
    for output in ("out.mkv", "out.mp4"):
        paint(source, tmp_path / output)
        (track,) = read(tmp_path / output).tracks
        # FFmpeg has no number for Nellymoser beside that of Flash.
        copied = sound == "speex" and output == "out.mkv"
        assert track.codec == (sound if copied else "aac")
        if copied:
            assert [content for _, _, content in track.packets] == packets
        assert np.abs(waves(tmp_path / output)).max() > 0.02


def test_channels_that_no_encoder_takes_are_named(make_clip: Fixture, copy_film: Fixture, tmp_path: Path) -> None:
    silent = make_clip("silent.avi", codec="mpeg4", frames=5)
    with copy_film(silent, tmp_path / "film.mkv") as writing:
        sound = writing.add_stream("pcm_s16le", rate=48_000, layout="hexadecagonal")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 16 * 480), np.int16), format="s16", layout="hexadecagonal")
        tone.sample_rate, tone.pts = 48_000, 0
        writing.mux(sound.encode(tone))
        writing.mux(sound.encode(None))
    notes = plan_film(tmp_path / "film.mkv", tmp_path / "out.mp4").notes
    assert any(note.endswith("because .mp4 cannot hold it; its 16 channels become stereo") for note in notes)
    assert not any("channels" in note for note in plan_film(tmp_path / "film.mkv", tmp_path / "out.mkv").notes)


@pytest.mark.parametrize(("language", "shown"), [("deu", "ger"), ("zho", "chi"), ("hrv", "hr "), ("jpn", "jpn")])
def test_languages_of_sound_in_quicktime(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, language: str, shown: str
) -> None:
    source = make_clip("film.mp4", frames=3, sounds=[language])
    paint(source, tmp_path / "out.mov")
    assert [track.language for track in read(tmp_path / "out.mov").tracks] == [shown]
    paint(tmp_path / "out.mov", tmp_path / "out.mkv")
    known = {"hr ": "hrv"}  # FFmpeg's own word, which nobody else knows
    assert [track.language for track in read(tmp_path / "out.mkv").tracks] == [known.get(shown, shown)]


def test_languages_that_quicktime_cannot_name_are_said(make_clip: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mp4", frames=3, sounds=["afr", "deu", "hrv", "nno", "und"], subtitles="mov_text")
    lost, broader = plan_film(source, tmp_path / "out.mov").notes
    assert lost == ".mov cannot name the language of track 1 (audio: aac, afr); it is left out, and .mkv keeps it"
    assert broader == ".mov has no nno; stored as nor: track 4 (audio: aac, nno)"
    assert plan_film(source, tmp_path / "out.mp4").notes == ()
    assert not any("language" in note for note in plan_film(source, tmp_path / "out.mkv").notes)


@pytest.fixture
def write_wma(make_clip: Fixture, copy_film: Fixture, tmp_path: Path) -> Fixture:
    def write(name: str, codec: str, frames: int, late: int = 0) -> Path:
        with copy_film(make_clip("plain.avi", codec="mpeg4", frames=frames), tmp_path / name) as writing:
            sound = writing.add_stream(codec, rate=44_100, layout="mono")
            sound.bit_rate = 64_000
            for block in range(10):
                wave = np.sin(np.arange(2048) * 0.05 + block)[None].astype(np.float32)
                tone = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                tone.sample_rate, tone.pts, tone.time_base = 44_100, late + block * 2048, Fraction(1, 44_100)
                writing.mux(sound.encode(tone))
            writing.mux(sound.encode(None))
        return tmp_path / name

    return write


def test_sound_that_starts_late_starts_as_late_encoded_anew(write_wma: Fixture, paint: Fixture, tmp_path: Path) -> None:
    # Its stamps are milliseconds; AAC counts samples.
    source = write_wma("a.asf", "wmav2", frames=20, late=22_050)
    paint(source, tmp_path / "out.mp4")
    assert onset_s(tmp_path / "out.mp4") == pytest.approx(onset_s(source), abs=0.01)


def onset_s(path: Path) -> float:
    """When the first loud sample is heard, seconds on the file's clock."""
    with av.open(str(path)) as film:
        for frame in film.decode(audio=0):
            loud = np.abs(frame.to_ndarray()[0]) > 0.1
            if loud.any():
                return float(frame.pts * frame.time_base) + int(np.argmax(loud)) / frame.sample_rate
    raise AssertionError("silence")


def waves(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.concatenate([frame.to_ndarray().ravel() for frame in film.decode(audio=0)])


@pytest.mark.parametrize(
    ("name", "codec"), [("out.webm", "opus"), ("out.mp4", "aac"), ("out.mov", "aac"), ("out.mkv", "adpcm_ms")]
)
def test_sound_that_does_not_fit_is_encoded(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str, codec: str
) -> None:
    source = make_clip("film.avi", codec="mpeg4", frames=8, sounds=["eng"], sound_codec="adpcm_ms")
    paint(source, tmp_path / name)
    after = read(tmp_path / name)
    assert [track.codec for track in after.tracks] == [codec]
    seconds = sum(length for _, length, _ in after.tracks[0].packets)
    assert float(seconds) == pytest.approx(20 * 1024 / 48_000, abs=0.06)
    wave = waves(tmp_path / name)
    assert 0.1 < np.abs(wave[: wave.size // 2] / (32768 if wave.dtype == np.int16 else 1)).max() < 0.5  # 0.3 goes in


@pytest.mark.parametrize(("output", "codec"), [("out.mkv", "subrip"), ("out.webm", "webvtt"), ("out.mov", "mov_text")])
def test_subtitles_in_the_words_of_the_output(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, output: str, codec: str
) -> None:
    paint(make_clip("film.mp4", frames=12, subtitles="mov_text"), tmp_path / output)
    (track,) = read(tmp_path / output).tracks
    assert (track.kind, track.codec) == ("subtitle", codec)
    assert track.language == ("ger" if output == "out.mov" else "deu")  # FFmpeg's word for QuickTime's number
    words = [(at, length, content.lstrip(b"\0\5")) for at, length, content in track.packets if b"hello" in content]
    assert words == [(Fraction(at, 1000), Fraction(1, 10), b"hello") for at in (0, 150)]


def test_subtitles_of_matroska_in_mp4(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    paint(make_clip("film.mkv", frames=12, subtitles="subrip"), tmp_path / "out.mp4")
    (track,) = read(tmp_path / "out.mp4").tracks
    assert [content for _, _, content in track.packets if len(content) > 2] == [b"\0\5hello"] * 2


@pytest.mark.parametrize("output", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_a_second_sound_that_nothing_reads_is_left_out(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, output: str
) -> None:
    # iPhones write a second sound in Apple's APAC: the last track becomes one.
    source = make_clip("IMG_0001.MOV", frames=5, sounds=["eng", "eng"])
    content = source.read_bytes()
    place = content.rindex(b"stsd")
    source.write_bytes(content[:place] + content[place:].replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))
    plan = plan_film(source, tmp_path / output)
    assert [(track.index, track.kind) for track in plan.tracks] == [(1, "audio")]
    assert any(note.startswith("left out") and "track 2 (audio: unknown codec" in note for note in plan.notes)
    paint(source, tmp_path / output)
    assert [track.kind for track in read(tmp_path / output).tracks] == ["audio"]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "stored"),
    [
        ("h264", "yuv420p10le", "yuv420p"),
        ("h264", "yuv444p", "yuv420p"),
        ("h264", "yuv422p10le", "yuv420p"),
        ("hevc", "yuv422p10le", "yuv420p10le"),
        ("hevc", "yuv444p", "yuv420p"),
        ("av1", "yuv420p10le", "yuv420p10le"),
    ],
)
@pytest.mark.parametrize("output", ["out.mp4", "out.mov"])
def test_what_players_show(
    make_clip: Fixture, tmp_path: Path, codec: str, pixel_format: str, stored: str, output: str
) -> None:
    if (codec, output) == ("av1", "out.mov"):
        pytest.skip("QuickTime's format has no AV1")
    source = make_clip("film.mkv", frames=3, size=(64, 64), pixel_format=pixel_format)
    plan = plan_film(source, tmp_path / output, VideoSettings(codec=codec, codec_threads=1))
    assert plan.encoding is not None
    assert plan.encoding.pixel_format == stored
    said = [note for note in plan.notes if "--no-compatible" in note]
    assert len(said) == (stored != pixel_format)
    asked = VideoSettings(codec=codec, codec_threads=1, compatible=False)
    as_source = plan_film(source, tmp_path / output, asked).encoding
    assert as_source is not None
    if codec != "av1":
        assert as_source.pixel_format == pixel_format


def test_tone_mapped_films_have_8_bits(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    hlg = {"colorspace": 9, "color_primaries": 9, "color_trc": 18}
    source = make_clip("hlg.mkv", frames=3, pixel_format="yuv420p10le", colors=hlg)
    for output in ("out.mp4", "out.mkv"):
        paint(source, tmp_path / output)
        with av.open(str(tmp_path / output)) as film:
            assert film.streams.video[0].codec_context.profile == "High"


def test_quality_follows_the_sources_bits() -> None:
    # 0.1 bits a pixel and more: 16; then 3.5 steps for each half, 10 at most.
    bits = [None, 1.0, 0.1, 0.05, 0.025, 0.01, 0.0001]
    assert [fitted_quality("libx264", each) for each in bits] == [16, 16, 16, 20, 23, 26, 26]
    assert fitted_quality("libx265", 0.025) == 25
    assert fitted_quality("ffv1", 0.01) is None


def test_display_size_by_hand() -> None:
    assert display_size((576, 720), Fraction(16, 15)) == (576, 768)
    assert display_size((480, 720), Fraction(32, 27)) == (1440, 2560)  # 853.33 x 480, three times
    assert display_size((577, 719), Fraction(113, 97)) == (577, 838)  # 837.6


def test_titles_of_tracks_survive_a_changed_head(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path
) -> None:
    source = make_clip(
        "film.avi", codec="mpeg4", frames=4, pixel_aspect=Fraction(4, 3), sounds=["eng"], sound_codec="pcm_alaw"
    )
    paint(source, tmp_path / "out.mkv", codec="ffv1")
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert film.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert not any("title" in {key.lower() for key in stream.metadata} for stream in film.streams)
        assert film.streams.audio[0].codec_context.name == "pcm_alaw"
        assert len(list(film.decode(video=0))) == 4


def test_relative_name_with_a_colon(
    make_clip: Fixture, paint: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip("film.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    paint(source, Path("12:30.mp4"))
    assert (tmp_path / "12:30.mp4").stat().st_size > 500


@pytest.mark.parametrize("suffix", [".webp", ".apng", ".png"])
def test_animated_pictures_are_films(paint: Fixture, read: Fixture, tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGBA", (40, 30), (200, 60, 40 * number, 255 if number else 0)) for number in range(3)]
    options = {"lossless": True} if suffix == ".webp" else {}
    source = tmp_path / f"in{suffix}"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=[100, 200, 100], **options)
    paint(source, tmp_path / "out.mkv", codec="ffv1")
    after = read(tmp_path / "out.mkv")
    assert after.stamps == (0, Fraction(1, 10), Fraction(3, 10))
    assert "a" in after.pixel_format
    np.testing.assert_allclose(after.frames[2][15, 20], (200, 60, 80), atol=2)
    paint(source, tmp_path / "again.mp4", end=Fraction(1, 4))
    assert len(read(tmp_path / "again.mp4").stamps) == 2


def test_what_is_no_film_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "still.webp")
    with pytest.raises(InputError, match="is no film; for single pictures"):
        plan_film(tmp_path / "still.webp", tmp_path / "out.mp4")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "5" * 64 + "\nsize 1234567\n"
    (tmp_path / "film.mp4").write_text(pointer)
    with pytest.raises(InputError, match=r"is a Git LFS pointer.*git lfs pull"):
        plan_film(tmp_path / "film.mp4", tmp_path / "out.mp4")
    with pytest.raises(InputError, match=re.escape("rtsp://127.0.0.1:1/x: is the address of a stream")):
        plan_films(["rtsp://127.0.0.1:1/x"], tmp_path / "out.mp4")


def test_a_film_without_its_index(make_clip: Fixture, tmp_path: Path) -> None:
    content = make_clip("film.mp4", frames=3).read_bytes()
    place = content.index(b"moov") - 4
    (size,) = struct.unpack(">I", content[place : place + 4])
    (tmp_path / "cut.mp4").write_bytes(content[:place] + content[place + size :])
    with pytest.raises(InputError, match=r"cut\.mp4: has no index \(moov\)") as caught:
        plan_film(tmp_path / "cut.mp4", tmp_path / "out.mp4")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".3g2", ".mod", ".tod", ".dv", ".divx", ".m2v", ".f4v", ".qt", ".MTS", ".mjpeg"])
def test_films_of_every_suffix_are_found(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"film{suffix}").write_bytes(b"x")
    (job,) = plan_films([tmp_path / "in"], tmp_path / "out").jobs
    assert job.name == "film.mkv"


def test_what_cannot_say_fields_is_refused(make_clip: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mkv", frames=3, options={"x264-params": "tff=1", "flags": "+ildct"})
    for output, codec in (("out.gif", None), ("out.webm", "vp9"), ("out.mkv", "hevc"), ("out.mkv", "av1")):
        with pytest.raises(OutputError, match="interlaced"):
            plan_film(source, tmp_path / output, VideoSettings(codec=codec, interlaced="keep"))


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x20ftypisom",
        b"\0\0\0\x14ftypqt  ",
        b"\x1a\x45\xdf\xa3",
        b"RIFF\0\0\0\0AVI LIST",
        b"FLV\x01",
        b"\0\0\1\xba",
    ],
)
def test_a_film_given_as_a_picture_is_named(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "IMG_0001.jpg").write_bytes(head + bytes(100))
    with pytest.raises(InputError, match=r"is a film; fastnst video stylizes films"):
        read_picture(tmp_path / "IMG_0001.jpg")


@pytest.mark.parametrize("head", [b"\0\0\0\x20ftypheic", b"\0\0\0\x20ftypmif1", b"RIFF\0\0\0\0WEBP"])
def test_pictures_in_the_format_of_films_are_no_films(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "IMG_0001.jpg").write_bytes(head + bytes(100))
    with pytest.raises(InputError) as caught:
        read_picture(tmp_path / "IMG_0001.jpg")
    assert "film" not in str(caught.value)


def test_vp9_with_alpha_goes_on_after_a_stop(paint: Fixture, tmp_path: Path) -> None:
    # The opacity of finished segments is kept with them.
    frames = [Image.new("RGBA", (32, 32), (200, 60, number % 250, 255 if number % 2 else 0)) for number in range(130)]
    frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    paint(tmp_path / "in.webp", tmp_path / "whole.webm")
    count = 0

    def breaks(frame: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count == 126:
            raise KeyboardInterrupt
        return frame

    with pytest.raises(KeyboardInterrupt):
        paint(tmp_path / "in.webp", tmp_path / "out.webm", breaks)
    assert paint(tmp_path / "in.webp", tmp_path / "out.webm").resumed == 120
    assert opacities(tmp_path / "out.webm") == opacities(tmp_path / "whole.webm")


def opacities(path: Path) -> list[bytes]:
    with av.open(str(path)) as film:
        return [
            bytes(packet.get_sidedata("matroska_block_additional")) for packet in film.demux(video=0) if packet.size
        ]


def test_deinterlaced_frames_are_the_same_after_a_jump(make_clip: Fixture) -> None:
    film = probe(make_clip("film.mkv", frames=60, options={"x264-params": "tff=1", "flags": "+ildct"}))
    assert film.fields
    whole = list(read_frames(film, Span(), threads=1))
    assert len(whole) == 60
    rest = list(read_frames(film, Span(), done=30, last_done=whole[29].pts, threads=1))
    assert [frame.pts for frame in rest] == [frame.pts for frame in whole[30:]]
    assert all(np.array_equal(one.frame, two.frame) for one, two in zip(rest, whole[30:], strict=True))
