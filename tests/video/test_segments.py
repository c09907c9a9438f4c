"""One film in segments over workers is the film of one process."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from fastnst.batch.jobs import Shard
from fastnst.batch.run import work_here
from fastnst.cli import main
from fastnst.errors import OutputError
from fastnst.video.batch import FilmWorkshop, early_frames, frame_times, plan_segments, stylize_in_segments
from fastnst.video.plan import VideoSettings, plan_film
from fastnst.video.stylize import stylize_film

MakeClip = Callable[..., Path]


@pytest.fixture
def film(make_clip: MakeClip) -> Path:
    return make_clip("film.mp4", frames=270, size=(16, 24), sounds=["eng"])


def workshop(invert: Path, **settings: object) -> FilmWorkshop:
    video = VideoSettings(codec_threads=1, **settings)  # type: ignore[arg-type]
    return FilmWorkshop(style=str(invert), video=video, provider="cpu", threads=1)


def alone(shop: FilmWorkshop, film: Path, output: Path) -> Path:
    with shop.open_pipeline() as pipeline:
        stylize_film(pipeline, plan_film(film, output, shop.video))
    return output


def test_two_shards_make_the_film_of_one_process(film: Path, invert: Path, tmp_path: Path) -> None:
    shop, output = workshop(invert), tmp_path / "out.mp4"
    found = plan_segments(shop, str(film), str(output), overwrite=False)
    assert found is not None
    plan, times = found
    assert len(times) == 270
    first = stylize_in_segments(shop, plan, times, work_here, shard=Shard(1, 2))
    assert (first.tally.done, first.segments, first.whole) == (1, 3, False)
    assert not output.exists()
    last = stylize_in_segments(shop, plan, times, work_here, shard=Shard(2, 2))
    assert (last.tally.done, last.whole, last.frames) == (2, True, 270)
    assert output.read_bytes() == alone(shop, film, tmp_path / "one.mp4").read_bytes()
    assert not list(tmp_path.glob(".out*"))


def test_a_damaged_segment_is_done_anew(film: Path, invert: Path, tmp_path: Path) -> None:
    shop, output = workshop(invert), tmp_path / "out.mp4"
    found = plan_segments(shop, str(film), str(output), overwrite=False)
    assert found is not None
    stylize_in_segments(shop, *found, work_here, shard=Shard(1, 2))
    (segment,) = (tmp_path / ".out.mp4.segments").glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-9] + bytes(9))
    with pytest.raises(OutputError, match=r"segment 0 of .* is damaged"):
        stylize_in_segments(shop, *found, work_here)
    assert stylize_in_segments(shop, *found, work_here).whole
    assert output.read_bytes() == alone(shop, film, tmp_path / "one.mp4").read_bytes()


def test_held_frames_of_a_segment_are_those_of_one_process(film: Path, invert: Path, tmp_path: Path) -> None:
    shop, output = workshop(invert, steady=0.8, codec="ffv1"), tmp_path / "out.mkv"
    found = plan_segments(shop, str(film), str(output), overwrite=False)
    assert found is not None
    for number in (2, 1):  # so that no segment follows on the one before
        stylize_in_segments(shop, *found, work_here, shard=Shard(number, 2))
    one = alone(shop, film, tmp_path / "one.mkv")
    for mine, theirs in zip(stored_frames(output), stored_frames(one), strict=True):
        assert np.abs(mine.astype(int) - theirs).max() <= 2


def stored_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray() for frame in film.decode(video=0)]


def test_how_early_by_hand() -> None:
    assert early_frames(0) == 0
    assert early_frames(0.1) == 6  # 0.1 ** 6 is 1e-6
    assert early_frames(0.8) == 62


def test_films_that_are_not_cut(make_clip: MakeClip, film: Path, tmp_path: Path) -> None:
    assert frame_times(plan_film(film, tmp_path / "%04d.png")) is None
    assert frame_times(plan_film(make_clip("a.avi", frames=5), tmp_path / "out.mkv")) is None
    assert frame_times(plan_film(film, tmp_path / "out.mkv", VideoSettings(damaged="skip"))) is None


def test_the_command_line_splits_one_film(
    film: Path, invert: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["video", str(film), "--style", str(invert), "-o", str(tmp_path / "out.mp4"), "--provider", "cpu"]
    for shard, words in (("2/2", "whoever does the last one puts the film together"), ("1/2", "270 frames")):
        with pytest.raises(SystemExit) as caught:
            main([*command, "--shard", shard])
        assert not caught.value.code
        assert words in capfd.readouterr().err
