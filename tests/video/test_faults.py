"""Whatever goes wrong ends in one clear error within seconds, and never in half a film."""

import errno
import random
import socket
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from fastnst.errors import FastNSTError, InputError, OutputError, SettingError
from fastnst.video import assembly, decoder, stylize, writer
from fastnst.video.decoder import FilmDamage, FilmDecoder, main_video, open_film
from fastnst.video.job import job_folder
from fastnst.video.plan import VideoSettings, plan_film
from fastnst.video.reader import probe

Fixture = Any


def assert_nothing_written(output: Path) -> None:
    assert not output.exists()
    assert not job_folder(output).exists()


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_a_network_breaks(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mp4", frames=30)
    count = 0

    def breaks(frame: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count == 10:
            raise InputError("the network failed")
        return frame

    with pytest.raises(InputError, match="the network failed"):
        paint(source, tmp_path / "out.mp4", breaks)
    assert_nothing_written(tmp_path / "out.mp4")


@pytest.mark.parametrize("at", [1, 5])
def test_disk_full_while_encoding(
    make_clip: Fixture, paint: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    writes = 0

    def full(self: writer.SegmentWriter, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes >= at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._file.write(content)

    source = make_clip("film.mp4", frames=30)
    monkeypatch.setattr(writer.SegmentWriter, "_write", full)
    with pytest.raises(OutputError, match=r"out\.mp4: cannot be written \(No space left on device\)"):
        paint(source, tmp_path / "out.mp4")
    assert_nothing_written(tmp_path / "out.mp4")


def test_disk_full_while_putting_together(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip("film.mp4", frames=30, sounds=["eng"])
    opened = av.open

    def full(file: Any, mode: str = "r", **options: Any) -> Any:
        # /dev/full takes no byte: what a full disk does.
        return opened("/dev/full" if mode == "w" and isinstance(file, str) else file, mode, **options)

    output = tmp_path / "out.mp4"
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with monkeypatch.context() as patched:
        patched.setattr("fastnst.video.assembly.av.open", full)
        with pytest.raises(OutputError, match=r"out\.mp4: cannot be written \(No space left on device\)"):
            paint(source, output)
    assert not output.exists()
    assert {path.suffix for path in job_folder(output).iterdir()} >= {".json", ".segment"}  # kept ...
    calls = 0

    def count(frame: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return frame

    assert paint(source, output, count).resumed == 30  # ... and not painted again
    assert calls == 0
    assert len(read(output).frames) == 30
    assert not job_folder(output).exists()


def test_disk_full_in_the_middle_of_putting_together(
    make_clip: Fixture, paint: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(film: av.container.OutputContainer, packet: av.Packet) -> bool:
        film.mux(packet)
        raise av.error.OSError(errno.ENOSPC, "No space left on device")

    source, output = make_clip("film.mp4", frames=30), tmp_path / "out.mp4"
    monkeypatch.setattr("fastnst.video.assembly._write", full)
    with pytest.raises(OutputError, match="No space left on device"):
        paint(source, output)
    kept = {path.name for path in job_folder(output).iterdir()} - {"lock"}  # which filelock 3.24 removes, and 4 keeps
    assert kept == {"000000.segment", "job.json"}


@pytest.mark.parametrize(
    ("error", "borne"),
    [
        (av.error.InvalidDataError(1094995529, "Invalid data"), True),
        (av.error.OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_which_refusals_are_borne(make_clip: Fixture, error: av.FFmpegError, borne: bool) -> None:
    class Refusing:
        def mux(self, packet: av.Packet) -> None:
            raise error

    with av.open(str(make_clip("film.mp4", frames=3, sounds=["eng"]))) as clip:
        pictures, sound = (next(packet for packet in clip.demux(stream)) for stream in clip.streams)
    with pytest.raises(av.FFmpegError):
        assembly._write(Refusing(), pictures)
    if borne:
        assert assembly._write(Refusing(), sound) is False
    else:
        with pytest.raises(av.FFmpegError):
            assembly._write(Refusing(), sound)


def test_encoder_breaks(make_clip: Fixture, paint: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*arguments: Any) -> None:
        raise av.error.ExternalError(1, "Generic error in an external library")

    source = make_clip("film.mp4")
    monkeypatch.setattr("fastnst.video.writer._encode", breaks)
    with pytest.raises(OutputError, match=r"out\.mp4: libx264 failed \(Generic error"):
        paint(source, tmp_path / "out.mp4")
    assert_nothing_written(tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_film_cut_short(
    make_clip: Fixture, copy_film: Fixture, paint: Fixture, read: Fixture, tmp_path: Path, name: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
    whole = make_clip(f"whole-{name}", frames=list(noise), sounds=["eng"])
    # The index in front, so that a cut file can still be opened.
    with copy_film(whole, tmp_path / f"fast-{name}", container_options={"movflags": "faststart"}):
        pass
    cut, content = tmp_path / name, (tmp_path / f"fast-{name}").read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])
    output = tmp_path / f"out-{name}"
    with pytest.raises(InputError, match=r"after \d+ readable frame\(s\); --damaged skip stylizes what can be decoded"):
        paint(cut, output)
    assert_nothing_written(output)
    result = paint(cut, output, damaged="skip")
    assert 8 < result.frames < 30
    after = read(output)
    assert len(after.frames) == result.frames
    assert after.duration_s <= after.stamps[-1] + Fraction(2, 30) + Fraction(1, 1000)  # the last frame does not freeze
    assert str(result.damage)


def test_an_animation_cut_short(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    pictures = [
        Image.fromarray(picture) for picture in np.random.default_rng(0).integers(0, 256, (12, 40, 60, 3), "u1")
    ]
    whole, cut = tmp_path / "whole.gif", tmp_path / "cut.gif"
    pictures[0].save(whole, save_all=True, append_images=pictures[1:], duration=80)
    content = whole.read_bytes()
    for name, end in {"no end mark": len(content) - 1, "more after it": None}.items():
        cut.write_bytes(content[:end] + (b"" if end else b"more"))
        assert paint(cut, tmp_path / f"{name}.mp4").frames == 12, name
    eighth = [place for place in range(len(content)) if content.startswith(b"\x21\xf9\x04", place)][7]
    cut.write_bytes(content[: eighth + 800])
    with pytest.raises(InputError, match=r"the file is cut short after 8 readable frame\(s\); --damaged skip stylizes"):
        paint(cut, tmp_path / "out.mp4")
    assert_nothing_written(tmp_path / "out.mp4")
    result = paint(cut, tmp_path / "out.mp4", damaged="skip")
    assert result.frames == 8
    assert "the file ends before the film does" in str(result.damage)


@pytest.mark.parametrize("content", [b"not a film", bytes(10_000), b"\x00\x00\x00\x18ftypmp42" + bytes(64)])
def test_files_that_are_no_films(paint: Fixture, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(InputError) as caught:
        paint(tmp_path / "film.mp4", tmp_path / "out.mp4")
    assert one_line(caught.value).startswith(f"{tmp_path / 'film.mp4'}: ")
    assert_nothing_written(tmp_path / "out.mp4")


def test_an_empty_file_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").touch()
    with pytest.raises(InputError, match=r"film\.mp4: is empty \(0 bytes\); expected a film$"):
        plan_film(tmp_path / "film.mp4", tmp_path / "out.mp4")


def test_pictures_texts_and_sounds_are_no_films(make_clip: Fixture, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("FFmpeg would show this as a film of letters.\n" * 20)
    with av.open(str(tmp_path / "sound.wav"), "w") as clip:
        sound = clip.add_stream("pcm_s16le", rate=48000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="stereo")
        tone.sample_rate = 48000
        clip.mux([*sound.encode(tone), *sound.encode(None)])
    with av.open(str(tmp_path / "still.png"), "w", format="image2") as clip:
        picture = clip.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "rgb24"
        clip.mux([*picture.encode(av.VideoFrame(64, 48, "rgb24")), *picture.encode(None)])
    for name, words in (
        ("words.txt", None),
        ("sound.wav", "holds no moving pictures"),
        ("still.png", "fastnst stylize"),
    ):
        with pytest.raises(InputError, match=words):
            probe(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        probe(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="is a folder"):
        probe(tmp_path)


def test_playlists_cannot_leave_the_disk(tmp_path: Path) -> None:
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/never.ts\n#EXT-X-ENDLIST\n")
    started = time.perf_counter()
    with pytest.raises(InputError):
        probe(tmp_path / "list.m3u8")
    assert time.perf_counter() - started < 5


@pytest.mark.slow
def test_bytes_flipped_in_100_copies(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    sources = [
        make_clip("film.mp4", frames=10, sounds=["eng"], subtitles="mov_text"),
        make_clip("film.mkv", frames=10, sounds=["eng"], subtitles="subrip", codec="mpeg4"),
    ]
    chance, outcomes, slowest = random.Random(7), {"whole": 0, "refused": 0}, 0.0
    for number in range(100):
        source = sources[number % 2]
        content = bytearray(source.read_bytes())
        for _ in range(chance.choice((1, 3, 10, 40))):
            content[chance.randrange(len(content))] = chance.randrange(256)
        damaged = tmp_path / f"damaged{source.suffix}"
        damaged.write_bytes(content)
        output = tmp_path / f"out{source.suffix}"
        started = time.perf_counter()
        try:
            paint(
                damaged, output, damaged=chance.choice(("stop", "skip")), drop_tracks=True, encoder_speed="ultrafast",
                overwrite=True,
            )  # fmt: skip
            outcomes["whole"] += 1
            assert output.exists()
        except FastNSTError as error:
            one_line(error)
            outcomes["refused"] += 1
            assert not output.exists()
        output.unlink(missing_ok=True)
        assert not job_folder(output).exists()
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 10
    assert min(outcomes.values()) > 10, outcomes  # both happen, or the test tests nothing


@pytest.mark.parametrize("name", ["film.ts", "film.mkv"])
def test_size_changes_on_the_way(paint: Fixture, read: Fixture, tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    with av.open(str(source), "w") as clip:
        stream = clip.add_mux_stream("h264", rate=25, width=64, height=48)
        pts = 250 if name.endswith(".ts") else 0  # broadcasts start at any time, and --start counts from there
        for width, height in ((64, 48), (96, 64)):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate, encoder.options = Fraction(1, 25), Fraction(25), {"bf": "0"}
            packets = []
            for _ in range(10):
                frame = av.VideoFrame(width, height, "yuv420p")
                frame.pts, frame.time_base = pts, Fraction(1, 25)
                packets += encoder.encode(frame)
                pts += 1
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                clip.mux(packet)
    with pytest.raises(InputError, match=r"changes from 64x48 to 96x64 at 0\.40 s; stylize the parts one by one"):
        paint(source, tmp_path / "out.mkv")
    assert_nothing_written(tmp_path / "out.mkv")
    change = Fraction(4, 10)
    paint(source, tmp_path / "one.mkv", end=change)
    paint(source, tmp_path / "two.mkv", start=change)
    one, two = read(tmp_path / "one.mkv"), read(tmp_path / "two.mkv")
    assert (one.size, len(one.frames), two.size, len(two.frames)) == ((48, 64), 10, (64, 96), 10)


def test_outputs_that_are_refused(make_clip: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mp4", frames=2)
    (tmp_path / "there.mp4").write_bytes(b"precious")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "folder.mp4").mkdir()
    for name, words in (
        ("film.mp4", "is the film itself"),
        ("link.mp4", "is the film itself"),
        ("there.mp4", "already exists; --overwrite replaces it"),
        ("folder.mp4", "is a folder"),
        ("film.xyz", "is no name for a film"),
        ("film", "is no name for a film"),
    ):
        with pytest.raises(OutputError, match=words):
            plan_film(source, tmp_path / name)
    for name in ("film.mp4", "link.mp4"):
        with pytest.raises(OutputError, match="is the film itself"):
            plan_film(source, tmp_path / name, overwrite=True)
    assert (tmp_path / "there.mp4").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["out.mp4", "frames/%d.png"])
def test_output_that_appears_meanwhile(make_clip: Fixture, paint: Fixture, tmp_path: Path, name: str) -> None:
    source, output = make_clip("film.mp4", frames=5), tmp_path / name
    first = tmp_path / name.replace("%d", "1")

    def slowly(frame: np.ndarray) -> np.ndarray:
        first.parent.mkdir(exist_ok=True)
        first.write_bytes(b"precious")
        return frame

    with pytest.raises(OutputError, match="already exists; --overwrite replaces it"):
        paint(source, output, slowly)
    assert first.read_bytes() == b"precious"
    assert paint(source, output, overwrite=True).resumed == 5  # what was painted is not lost
    assert first.read_bytes() != b"precious"


@pytest.mark.parametrize(("name", "there"), [("out.mp4", "out.mp4"), ("frames/%d.png", "frames/3.png")])
def test_output_that_appears_while_the_film_is_put_together(
    make_clip: Fixture, paint: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: str
) -> None:
    source, output, taken = make_clip("film.mp4", frames=5), tmp_path / name, tmp_path / there
    taken.parent.mkdir(exist_ok=True)
    # The look before has passed; what comes now comes too late for it.
    monkeypatch.setattr(stylize, "refuse_existing", lambda *_: taken.write_bytes(b"precious"))
    with pytest.raises(OutputError, match="already exists; --overwrite replaces it"):
        paint(source, output)
    assert taken.read_bytes() == b"precious"
    if name != there:
        assert set(taken.parent.iterdir()) == {taken, job_folder(output)}  # all of the frames, or none
    assert paint(source, output, overwrite=True).resumed == 5
    assert taken.read_bytes() != b"precious"
    assert not job_folder(output).exists()


def test_names_with_a_percent_sign_are_films(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    source = make_clip("100%done.mp4", frames=3)
    paint(source, tmp_path / "50%decent.mkv")
    assert len(read(tmp_path / "50%decent.mkv").frames) == 3


def test_tracks_that_do_not_fit_are_named_before_work(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mkv", sounds=["eng"], subtitles="subrip", attachment=True)
    with pytest.raises(OutputError) as caught:
        plan_film(source, tmp_path / "out.mp4")
    assert one_line(caught.value).endswith(
        "film.mkv: track 3 (attachment: font.ttf) cannot be held by .mp4; write .mkv, or leave out with --drop-tracks"
    )
    plan = plan_film(source, tmp_path / "out.mp4", VideoSettings(drop_tracks=True))
    assert [track.kind for track in plan.tracks] == ["audio"]
    assert "track 2" in plan.notes[0]
    with pytest.raises(OutputError, match=r"track 3 \(attachment: font\.ttf\) cannot be held by \.webm"):
        plan_film(source, tmp_path / "out.webm")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"codec": "h246"}, SettingError, "codec 'h246': .* did you mean 'h264'"),
        ({"codec": "aac"}, SettingError, "no such video encoder"),
        ({"codec": "vp9", "crf": 99}, SettingError, "libvpx-vp9 takes 0 .* to 63"),
        ({"codec": "ffv1", "crf": 5}, SettingError, "no such setting"),
        ({"encoder_speed": "warp"}, SettingError, "encoder speed 'warp': libx264 has ultrafast"),
        ({"pixel_format": "yuv9"}, SettingError, "pixel format 'yuv9'"),
        ({"codec": "prores"}, OutputError, "prores_ks cannot encode .* choose another --codec"),
        ({"start": Fraction(3), "end": Fraction(2)}, SettingError, "expected a start before the end"),
        ({"start": Fraction(-1)}, SettingError, "expected a start before the end"),
        ({"start": Fraction(10**30)}, SettingError, "expected at most 31622400 s"),
        ({"end": Fraction(10**30)}, SettingError, "expected at most 31622400 s"),
        ({"codec_threads": 99999}, SettingError, "codec threads 99999; expected at least 1 and at most"),
        ({"frame_rate": Fraction(24)}, SettingError, "a film keeps its own rate"),
    ],
)
def test_settings_that_are_refused(
    make_clip: Fixture, tmp_path: Path, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        plan_film(make_clip("film.mp4", frames=2), tmp_path / "out.mp4", VideoSettings(**settings))


def test_missing_hardware_is_said_before_work(make_clip: Fixture, tmp_path: Path) -> None:
    if "h264_qsv" not in av.codecs_available:
        pytest.skip("this FFmpeg knows no h264_qsv")
    try:
        plan_film(make_clip("film.mp4", frames=2), tmp_path / "out.mp4", VideoSettings(codec="h264_qsv"))
    except OutputError as error:
        assert "h264_qsv cannot encode 64x48 here" in one_line(error)


def test_no_frames_in_the_part_that_was_asked_for(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames between --start and --end"):
        paint(make_clip("film.mp4"), tmp_path / "out.mp4", start=Fraction(100))
    assert_nothing_written(tmp_path / "out.mp4")


def test_sound_whose_stamps_run_backwards(make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    plain = make_clip("plain.mkv", frames=10, sounds=["eng"])
    source = tmp_path / "muddled.mkv"
    with av.open(str(plain)) as reading, av.open(str(source), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in reading.streams}
        for number, packet in enumerate(packet for packet in reading.demux() if packet.size):
            if packet.stream.type == "audio" and number % 5 == 0:
                packet.pts = packet.dts = 100
            packet.stream = streams[packet.stream_index]
            try:
                out.mux(packet)
            except av.FFmpegError:
                continue
    before = read(source)
    paint(source, tmp_path / "out.mp4", drop_tracks=True)
    after = read(tmp_path / "out.mp4")
    assert [content for _, _, content in after.tracks[0].packets] == [
        content for _, _, content in before.tracks[0].packets
    ]


def test_a_track_that_appears_on_the_way(make_clip: Fixture) -> None:
    class Container:
        """What PyAV 18 does then, or not, as the memory beyond an array of its happens to be."""

        def __init__(self, container: av.container.InputContainer) -> None:
            self.format, self.duration, self._container = container.format, container.duration, container

        def demux(self) -> Iterator[av.Packet]:
            yield from self._container.demux()
            raise IndexError("list index out of range")

    source, damage = make_clip("film.flv", frames=25, rate=Fraction(25)), FilmDamage()
    with open_film(source) as container:
        decoder = FilmDecoder(Container(container), main_video(container, source), tolerate=False, damage=damage)
        assert len(list(decoder)) == 25
    assert str(damage) == ""


def test_sound_too_damaged_to_be_written_is_left_out(
    make_clip: Fixture, paint: Fixture, read: Fixture, tmp_path: Path
) -> None:
    source = make_clip("film.ts", frames=10, rate=Fraction(25), sounds=["eng"])
    before = read(source).tracks[0].packets
    beginning = before[8][2][:20]
    content = source.read_bytes()
    assert content.count(beginning) == 1
    source.write_bytes(content.replace(beginning, bytes(7) + beginning[7:]))
    result = paint(source, tmp_path / "out.mkv")
    assert str(result.damage) == "1 damaged packet(s) of other tracks left out"
    after = read(tmp_path / "out.mkv")
    assert len(after.frames) == 10
    assert 10 < len(after.tracks[0].packets) < len(before)


LISTS = {
    "list.ffconcat": "ffconcat version 1.0\nfile secret.ts\n",
    "list.mp4": "ffconcat version 1.0\nfile secret.ts\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "of_url.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///FOLDER/secret.ts\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_other_files_is_no_film(name: str, make_clip: Fixture, tmp_path: Path) -> None:
    # Noise, and much of it: of a small one FFmpeg cannot tell what it is.
    noise = list(np.random.default_rng(0).integers(0, 256, (80, 48, 64, 3), np.uint8))
    make_clip("film.ts", codec="mpeg2video", frames=noise).rename(tmp_path / "secret.ts")
    (tmp_path / name).write_text(LISTS[name].replace("/FOLDER", str(tmp_path)))
    with pytest.raises(InputError, match="is a list of other files, not a film; name the films themselves"):
        probe(tmp_path / name)


def test_a_film_makes_nobody_call_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Were lists films, what stands in them would still not be fetched.
    monkeypatch.setattr(decoder, "_film_formats", lambda: "hls,mpegts")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        (tmp_path / "list.m3u8").write_text(LISTS["list.m3u8"].replace("secret.ts", address))
        with pytest.raises(InputError):
            probe(tmp_path / "list.m3u8")
        with pytest.raises(TimeoutError):
            server.accept()


def test_ffmpeg_may_use_files_alone(make_clip: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    # What FFmpeg allows unasked differs from build to build.
    film = make_clip("film.mkv", frames=3)
    opened, seen = av.open, []
    monkeypatch.setattr(
        av, "open", lambda *args, **options: (seen.append((args[0], options)), opened(*args, **options))[1]
    )
    probe(film)
    assert {name for name, _ in seen} == {f"file:{film}"}
    assert {options["container_options"]["protocol_whitelist"] for _, options in seen} == {"file,data"}
