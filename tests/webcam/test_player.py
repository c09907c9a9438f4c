"""A film as a camera, on a clock that the test turns."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fastnst.errors import InputError
from fastnst.webcam.capture import FilmPlayer, SourceEndedError, open_film_player


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames at 10 a second, each brighter by 20 levels than the one before."""
    path = tmp_path_factory.mktemp("film") / "steps.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(10), width=32, height=16, pix_fmt="bgr0")
        for number in range(8):
            picture = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 20 * number, np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


class Clock:
    """Time that passes by sleeping, and by what the test adds."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


def play(film: Path, clock: Clock, *, loop: bool = False) -> FilmPlayer:
    return FilmPlayer(film, loop=loop, clock=clock, sleep=clock.sleep)


def test_frames_come_when_they_are_due(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    seen = []
    for _ in range(8):
        frame = player.read()
        seen.append((int(frame[0, 0, 0]) // 20, round(clock.now - 100, 3)))
    assert seen == [(number, number / 10) for number in range(8)]
    assert player.dropped == 0
    with pytest.raises(SourceEndedError):
        player.read()


def test_work_between_frames_shortens_the_wait(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    player.read()
    clock.now += 0.06
    player.read()
    assert clock.slept == [0.04]


def test_after_a_delay_it_catches_up_by_leaving_out(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    player.read()
    clock.now += 0.45  # frames 1 to 4 are due by now
    assert player.read()[0, 0, 0] == 20  # the next one, for nothing newer is decoded
    # 2 and 3 are late by more than a frame; 4 is late by 0.05 s and shown.
    assert player.read()[0, 0, 0] == 80
    assert player.dropped == 2
    player.read()
    assert clock.now == pytest.approx(100.5)


def test_after_a_long_delay_it_goes_on_from_where_it_is(film: Path) -> None:
    clock = Clock()
    player = play(film, clock)
    player.read()
    clock.now += 60
    assert player.read()[0, 0, 0] == 20
    assert player.read()[0, 0, 0] == 40
    assert clock.now == pytest.approx(160.1)
    assert player.dropped == 0


def test_slow_decoding_leaves_nothing_out(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    player = play(film, clock)
    following = player._next

    def slow() -> object:
        clock.now += 0.15
        return following()

    monkeypatch.setattr(player, "_next", slow)
    assert [int(player.read()[0, 0, 0]) // 20 for _ in range(8)] == list(range(8))


def test_a_loop_goes_on_in_time(film: Path) -> None:
    clock = Clock()
    player = play(film, clock, loop=True)
    seen = [int(player.read()[0, 0, 0]) // 20 for _ in range(19)]
    assert seen == [*range(8), *range(8), *range(3)]
    assert clock.now == pytest.approx(101.8)


def test_a_turned_film_is_shown_upright(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    player = play(film, Clock())
    object.__setattr__(player._film, "orientation", turned)
    assert player.read().shape == (32, 16, 3)


def test_no_film(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--camera"):
        open_film_player(tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(InputError, match=r"text\.mp4"):
        open_film_player(tmp_path / "text.mp4")


def test_close_in_the_middle(film: Path) -> None:
    player = play(film, Clock())
    player.read()
    player.close()


def test_pixels_come_square_as_from_a_camera(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=48, height=32, pix_fmt="yuv420p")
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 48, 3), 90, np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    assert play(path, Clock()).read().shape == (32, 64, 3)  # 48 * 4 / 3
