"""A job that was stopped goes on from there, and the film is the one that an unbroken run makes."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from fastnst.backends.choosing import Choice
from fastnst.errors import InputError, OutputError, SettingError
from fastnst.video import plan
from fastnst.video.encoder import SEGMENT_FRAMES
from fastnst.video.film import Span
from fastnst.video.job import JobFolder, job_folder
from fastnst.video.reader import probe, read_frames
from fastnst.video.stylize import FilmProgress
from fastnst.video.writer import EncodedFrame, SegmentWriter, load_segment

Fixture = Any
FRAMES = 3 * SEGMENT_FRAMES + 40

# Stylizes slowly, and says how far it is.
JOB = """
import sys, time
from pathlib import Path
from fastnst.video.plan import plan_film
from fastnst.video.plan import VideoSettings
from fastnst.inference.pipeline import StylePipeline
from fastnst.video.stylize import stylize_film

def show(progress):
    time.sleep(0.002)
    print(progress.done, flush=True)

plan = plan_film(Path(sys.argv[1]), Path(sys.argv[2]), VideoSettings(codec_threads=1, encoder_speed="ultrafast"))
with StylePipeline(sys.argv[3], provider="cpu", threads=1) as pipeline:
    stylize_film(pipeline, plan, on_progress=show)
"""


class Counter:
    """Inverts frames and counts them."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        self.calls += 1
        return 255 - frame


@pytest.mark.slow
def test_killed_at_80_percent(make_clip: Fixture, paint: Fixture, read: Fixture, invert: Path, tmp_path: Path) -> None:
    name = "film.mkv"  # films that are stopped otherwise are MP4
    source = make_clip(name, frames=FRAMES, sounds=["eng"], options={"preset": "ultrafast"}, gop=50)
    output, unbroken = tmp_path / f"out-{name}", tmp_path / f"unbroken-{name}"
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(source), str(output), str(invert)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert job.stdout is not None
    for line in job.stdout:
        if int(line) >= FRAMES * 8 // 10:
            break
    job.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    job.wait(10)
    job.stdout.close()
    assert not output.exists()

    painter = Counter()
    result = paint(source, output, painter, style=invert, encoder_speed="ultrafast")
    assert result.resumed % SEGMENT_FRAMES == 0
    assert result.resumed >= 2 * SEGMENT_FRAMES
    assert painter.calls == FRAMES - result.resumed
    assert not job_folder(output).exists()

    paint(source, unbroken, Counter(), style=invert, encoder_speed="ultrafast")
    resumed, whole = read(output), read(unbroken)
    assert len(resumed.frames) == FRAMES
    assert resumed.stamps == whole.stamps
    assert resumed.tracks == whole.tracks
    # Matroska does not store how long sounds last, and here readers guess differently.
    sounds = [[(at, content) for at, _, content in clip.tracks[0].packets] for clip in (read(source), resumed)]
    assert sounds[0] == sounds[1]
    for one, other in zip(resumed.frames, whole.frames, strict=True):
        np.testing.assert_array_equal(one, other)


def stop_after(frames: int, paint: Fixture, source: Path, output: Path, **settings: Any) -> None:
    count = 0

    def painter(frame: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count > frames:
            raise KeyboardInterrupt
        return 255 - frame

    with pytest.raises(KeyboardInterrupt):
        paint(source, output, painter, style="inverted", encoder_speed="ultrafast", **settings)


@pytest.fixture
def film(make_clip: Fixture) -> Path:
    return make_clip("film.mp4", frames=SEGMENT_FRAMES * 2 + 30, options={"preset": "ultrafast"}, size=(32, 48))


def test_interrupted_twice(film: Path, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    stop_after(SEGMENT_FRAMES + 20, paint, film, output)
    stop_after(SEGMENT_FRAMES + 20, paint, film, output)
    painter = Counter()
    assert paint(film, output, painter, style="inverted", encoder_speed="ultrafast").resumed == 2 * SEGMENT_FRAMES
    assert painter.calls == 30
    assert len(read(output).frames) == SEGMENT_FRAMES * 2 + 30


def test_a_film_goes_on_with_as_many_threads_of_its_encoder(
    film: Path, paint: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # x264's frames depend on their number, by default that of the processors that a process may use.
    def identity_on(processors: int, output: Path) -> object:
        monkeypatch.setattr(plan, "usable_processors", lambda: processors)
        encoding = plan.plan_film(film, output).encoding
        assert encoding is not None
        return encoding.threads

    output = tmp_path / "out.mp4"
    assert identity_on(2, output) == 3
    monkeypatch.setattr(plan, "usable_processors", lambda: 2)
    stop_after(SEGMENT_FRAMES + 20, paint, film, output, codec_threads=None)
    assert identity_on(8, output) == 3
    assert identity_on(8, tmp_path / "another.mp4") == 12
    result = paint(film, output, Counter(), style="inverted", encoder_speed="ultrafast", codec_threads=None)
    assert result.resumed == SEGMENT_FRAMES


@pytest.mark.parametrize(
    "change",
    [{"style": "another"}, {"crf": 30}, {"resume": False}, {"pixel_format": "yuv444p"}, {"end": 8}],
)
def test_other_settings_start_anew(film: Path, paint: Fixture, tmp_path: Path, change: dict[str, Any]) -> None:
    output = tmp_path / "out.mp4"
    stop_after(SEGMENT_FRAMES + 20, paint, film, output)
    settings = {"style": "inverted", "encoder_speed": "ultrafast"} | change
    assert paint(film, output, Counter(), **settings).resumed == 0


@pytest.fixture
def machine(fake_session: type) -> Fixture:
    """What opens networks on a computer of some providers; each paints another level.

    The first one is what `auto` takes. A provider that is an error cannot run there.
    """

    def make(**precisions: str | SettingError) -> Fixture:
        def opened(path: Path, *, provider: str, **_options: object) -> Any:
            taken = next(iter(precisions)) if provider == "auto" else provider
            precision = precisions[taken]
            if isinstance(precision, SettingError):
                raise precision
            level = 10 * len(taken) + len(precision)
            session = fake_session(lambda frame: np.full_like(frame, level), path=path)
            session.choice = Choice(taken, precision)  # type: ignore[arg-type]
            return session

        return opened

    return make


@pytest.fixture
def stopped(film: Path, paint: Fixture, machine: Fixture, tmp_path: Path) -> Path:
    """The output of a film that `auto` began on OpenVINO in bfloat16, and that was stopped in its second segment."""

    def stop(progress: FilmProgress) -> None:
        if progress.done > SEGMENT_FRAMES + 10:
            raise KeyboardInterrupt

    output = tmp_path / "out.mkv"
    opened = machine(openvino="bfloat16", cpu="float32")
    with pytest.raises(KeyboardInterrupt):
        paint(film, output, codec="ffv1", provider="auto", open_session=opened, on_progress=stop)
    return output


def test_auto_goes_on_with_what_the_film_was_begun_with(
    film: Path, stopped: Path, paint: Fixture, read: Fixture, machine: Fixture
) -> None:
    opened = machine(cpu="float32", openvino="bfloat16")
    result = paint(film, stopped, codec="ffv1", provider="auto", open_session=opened)
    assert (result.resumed, str(result.choice)) == (SEGMENT_FRAMES, "openvino in bfloat16")
    frames = read(stopped).frames
    np.testing.assert_array_equal(frames[0], frames[-1])


@pytest.mark.parametrize(
    ("openvino", "words"),
    [
        (SettingError("it was taken out"), "was started elsewhere: it was taken out"),
        ("float16", "was started on openvino in bfloat16, which is float16 today"),
    ],
)
def test_what_the_film_was_begun_with_is_gone(
    film: Path, stopped: Path, paint: Fixture, machine: Fixture, openvino: Any, words: str
) -> None:
    opened = machine(cpu="float32", openvino=openvino)
    with pytest.raises(SettingError) as caught:
        paint(film, stopped, codec="ffv1", provider="auto", open_session=opened)
    assert str(caught.value) == f"{stopped}: {words}; --resume never starts again"
    assert job_folder(stopped).exists()
    assert paint(film, stopped, codec="ffv1", provider="auto", open_session=opened, resume=False).resumed == 0
    assert not job_folder(stopped).exists()


def test_another_provider_by_name_starts_anew(film: Path, stopped: Path, paint: Fixture, machine: Fixture) -> None:
    opened = machine(openvino="bfloat16", cpu="float32")
    result = paint(film, stopped, codec="ffv1", provider="cpu", open_session=opened)
    assert (result.resumed, str(result.choice)) == (0, "cpu")


def test_changed_film_starts_anew(film: Path, paint: Fixture, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    stop_after(SEGMENT_FRAMES + 20, paint, film, output)
    os.utime(film, (time.time() + 5, time.time() + 5))
    assert paint(film, output, Counter(), style="inverted", encoder_speed="ultrafast").resumed == 0


def test_damaged_segment_is_painted_again(film: Path, paint: Fixture, read: Fixture, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    stop_after(SEGMENT_FRAMES * 2 + 10, paint, film, output)
    _, second = sorted(job_folder(output).glob("*.segment"))
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 255
    second.write_bytes(content)
    assert paint(film, output, Counter(), style="inverted", encoder_speed="ultrafast").resumed == SEGMENT_FRAMES
    assert len(read(output).frames) == SEGMENT_FRAMES * 2 + 30


def test_damaged_film_goes_on_with_damaged_skip(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    source = make_clip("film.mkv", frames=SEGMENT_FRAMES + 60, options={"preset": "ultrafast"}, gop=10)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 9 // 10])
    output = tmp_path / "out.mkv"
    with pytest.raises(InputError, match=r"readable frame\(s\); --damaged skip"):
        paint(source, output, Counter(), style="inverted")
    assert job_folder(output).exists()
    assert paint(source, output, Counter(), style="inverted", damaged="skip").resumed == SEGMENT_FRAMES


def test_only_one_job_at_a_time(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with JobFolder(output, {"style": "a"}):
        with pytest.raises(OutputError, match="another fastnst is painting it"), JobFolder(output, {"style": "a"}):
            pass
        assert job_folder(output).exists()
    with JobFolder(output, {"style": "a"}):
        pass
    assert not job_folder(output).exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows locks otherwise")
def test_a_disk_without_locks_goes_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with JobFolder(tmp_path / "out.mp4", {"style": "a"}) as job:
        assert (job.folder / "job.json").exists()
    assert not job.folder.exists()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), JobFolder(tmp_path / "file" / "out.mp4", {}):
        pass


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi"])
def test_reading_on_gives_the_same_frames(make_clip: Fixture, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    film = probe(make_clip(name, frames=70, codec=codec, gop=25))
    whole = list(read_frames(film, Span(), threads=1))
    assert len(whole) == 70
    for done in (1, 24, 25, 26, 69):
        rest = list(read_frames(film, Span(), done=done, last_done=whole[done - 1].pts, threads=1))
        assert [frame.pts for frame in rest] == [frame.pts for frame in whole[done:]]
        for one, other in zip(rest, whole[done:], strict=True):
            np.testing.assert_array_equal(one.frame, other.frame)


def test_reading_on_from_a_frame_that_is_not_there_counts_instead(make_clip: Fixture) -> None:
    film = probe(make_clip("film.mp4", frames=40))
    whole = list(read_frames(film, Span(), threads=1))
    rest = list(read_frames(film, Span(), done=10, last_done=whole[9].pts + 1, threads=1))
    assert [frame.pts for frame in rest] == [frame.pts for frame in whole[10:]]


def test_segment_by_hand(tmp_path: Path) -> None:
    frames = [
        EncodedFrame(0, 10, True, b"key"),
        EncodedFrame(20, 5, False, b""),
        EncodedFrame(10, 10, False, b"\x00\x01"),
    ]
    writer = SegmentWriter(tmp_path / "0.segment")
    for frame in frames:
        writer.add(frame)
    assert load_segment(tmp_path / "0.segment") is None  # not finished
    written = writer.finish(b"extra")
    loaded = load_segment(tmp_path / "0.segment")
    assert loaded == written
    assert loaded is not None
    assert (loaded.pts, loaded.durations, loaded.extradata) == ((0, 20, 10), (10, 5, 10), b"extra")
    assert list(loaded.frames()) == frames


@pytest.mark.parametrize("at", range(0, 90, 7))
def test_no_byte_of_a_segment_may_change(tmp_path: Path, at: int) -> None:
    writer = SegmentWriter(tmp_path / "0.segment")
    writer.add(EncodedFrame(0, 10, True, b"picture"))
    writer.finish(b"extra")
    content = bytearray((tmp_path / "0.segment").read_bytes())
    content[at % len(content)] ^= 1
    (tmp_path / "0.segment").write_bytes(content)
    assert load_segment(tmp_path / "0.segment") is None
    (tmp_path / "0.segment").write_bytes(content[: at % len(content)])
    assert load_segment(tmp_path / "0.segment") is None


def test_a_folder_that_is_not_a_jobs_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    for name in ("notes.txt", "000000001.png"):  # one that no job writes, and one without the job's description
        job_folder(output).mkdir(exist_ok=True)
        (job_folder(output) / name).write_text("mine")
        with pytest.raises(OutputError, match="it is left alone"), JobFolder(output, {"style": "a"}):
            pass
        assert [path.name for path in job_folder(output).iterdir()] == [name]
        (job_folder(output) / name).unlink()
    (job_folder(output) / "job.json").write_text("{}")
    (job_folder(output) / "sub").mkdir()
    with pytest.raises(OutputError, match="holds sub"), JobFolder(output, {"style": "a"}):
        pass
    assert (job_folder(output) / "job.json").read_text() == "{}"


def test_a_link_in_place_of_the_jobs_folder_is_not_followed(tmp_path: Path) -> None:
    output, precious = tmp_path / "out.mp4", tmp_path / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("mine")
    job_folder(output).symlink_to(precious)
    with pytest.raises(OutputError, match="is a link"), JobFolder(output, {"style": "a"}):
        pass
    assert [path.name for path in precious.iterdir()] == ["letter.txt"]
    job_folder(output).unlink()
    job_folder(output).symlink_to(tmp_path / "missing")
    with pytest.raises(OutputError, match="is a link"), JobFolder(output, {"style": "a"}):
        pass


@pytest.mark.parametrize("name", ["lock", "job.json", "000000.part", "whole.mp4"])
def test_a_link_in_the_jobs_folder_is_not_written_through(tmp_path: Path, name: str) -> None:
    output, precious = tmp_path / "out.mp4", tmp_path / "letter.txt"
    precious.write_text("mine")
    job_folder(output).mkdir()
    (job_folder(output) / "job.json").write_text("{}")
    (job_folder(output) / name).unlink(missing_ok=True)
    (job_folder(output) / name).symlink_to(precious)
    with pytest.raises(OutputError, match=f"holds {name}, which is no ordinary file"), JobFolder(output, {}):
        pass
    assert precious.read_text() == "mine"


def test_what_is_put_into_the_jobs_folder_meanwhile_stays(tmp_path: Path) -> None:
    with JobFolder(tmp_path / "out.mp4", {"style": "a"}) as job:
        (job.folder / "000000.segment").write_bytes(b"work")
        (job.folder / "notes.txt").write_text("mine")
    assert [path.name for path in job.folder.iterdir()] == ["notes.txt"]


def test_the_end_of_one_job_does_not_remove_the_next_ones_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.mp4"
    second = JobFolder(output, {"style": "b"})
    acquire = FileLock.acquire

    def late(lock: FileLock, *args: Any, **options: Any) -> Any:
        """The second one has opened the lock's file; before it is locked, the first job ends."""
        if lock is second._lock._lock and first.folder.exists() and not ended:
            ended.append(True)
            first.__exit__(None, None, None)
        return acquire(lock, *args, **options)

    ended: list[bool] = []
    first = JobFolder(output, {"style": "a"})
    first.__enter__()
    monkeypatch.setattr(FileLock, "acquire", late)
    with second:
        assert ended
        (second.folder / "000000.segment").write_bytes(b"an hour's work")
        with pytest.raises(OutputError, match="another fastnst"), JobFolder(output, {"style": "c"}):
            pass
        assert (second.folder / "000000.segment").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_ends_waits_for_its_folder_before_it_lets_another_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, seen = tmp_path / "out.mp4", []
    release = FileLock.release
    monkeypatch.setattr(
        FileLock, "release", lambda lock, *args, **options: (seen.append(job_folder(output).exists()), release(lock))
    )
    with JobFolder(output, {"style": "a"}):
        pass
    assert seen[0] is False
