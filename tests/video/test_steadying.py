"""Films that are held steady: what only moves keeps its paint; what is new is painted afresh; stopped films go on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnst.errors import SettingError
from fastnst.inference.steadying import Past, Steadier, load_past, save_past
from fastnst.video.job import job_folder
from fastnst.video.plan import VideoSettings, plan_film

Fixture = Any


def texture(shift: int = 0, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """A picture of soft spots; `shift` moves it to the right, pixels."""
    height, width = size
    down, across = np.mgrid[:height, :width].astype(np.float64)
    across = across - shift
    levels = 127 + 50 * np.sin(across / 5) * np.cos(down / 6) + 50 * np.cos(across / 11 + down / 7)
    return np.repeat(levels.round().astype(np.uint8)[..., None], 3, 2)


def flat(level: int) -> np.ndarray:
    return np.full((64, 96, 3), level, np.uint8)


def test_what_stands_still_by_hand() -> None:
    steady = Steadier(0.75)
    first = steady(texture(), flat(100))
    np.testing.assert_array_equal(first, flat(100))
    second = steady(texture(), flat(200))
    np.testing.assert_allclose(second, 125, atol=1)  # three quarters of 100, one of 200
    np.testing.assert_allclose(steady(texture(), flat(200)), 144, atol=1)


def test_paint_moves_with_the_film() -> None:
    painted = texture()[:, ::-1].copy()
    steady = Steadier(0.9)
    steady(texture(), painted)
    moved = steady(texture(4), flat(0))
    expected = 0.9 * np.roll(painted, 4, axis=1)
    error = np.abs(moved - expected)[16:48, 24:72].mean()
    unmoved = np.abs(moved - 0.9 * painted)[16:48, 24:72].mean()
    assert error < 0.4 * unmoved


def test_a_new_scene_is_painted_afresh() -> None:
    steady = Steadier(0.9)
    steady(texture(), flat(100))
    blue = texture() * np.array([0, 0, 1], np.uint8)
    np.testing.assert_allclose(steady(blue, flat(200)), 200, atol=1)


def test_what_comes_into_view_is_painted_afresh() -> None:
    steady = Steadier(0.9)
    photo = texture()
    steady(photo, flat(100))
    changed = photo.copy()
    changed[20:44, 40:64] = (255, 0, 0)
    held = steady(changed, flat(200))
    np.testing.assert_allclose(held[28:36, 48:56], 200, atol=2)
    np.testing.assert_allclose(held[:, :16], 110, atol=2)


def test_noise_is_no_motion() -> None:
    rng = np.random.default_rng(0)
    steady = Steadier(0.8)
    for level in (100, 200):
        noisy = (texture() + rng.normal(0, 2, (64, 96, 3))).clip(0, 255).astype(np.uint8)
        held = steady(noisy, flat(level))
    assert held.mean() < 140


def test_arguments_are_not_changed_and_other_sizes_start_anew() -> None:
    steady = Steadier(0.8)
    photo, painted = texture(), flat(100)
    steady(texture(), flat(50))
    before = photo.copy(), painted.copy()
    steady(photo, painted)
    np.testing.assert_array_equal((photo, painted), before)
    small = np.full((20, 30, 3), 7, np.uint8)
    np.testing.assert_array_equal(steady(small, small), small)
    tiny = np.full((4, 5, 3), 7, np.uint8)
    for _ in range(2):
        np.testing.assert_array_equal(steady(tiny, tiny), tiny)


def test_large_frames_are_followed_on_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnst.inference.steadying._FLOW_SIDE", 96)
    size = (128, 192)
    painted = texture(0, size)[:, ::-1].copy()
    steady = Steadier(0.9)
    steady(texture(0, size), painted)
    moved = steady(texture(4, size), np.zeros((*size, 3), np.uint8))
    expected = 0.9 * np.roll(painted, 4, axis=1)
    assert np.abs(moved[32:96, 48:144] - expected[32:96, 48:144]).mean() < 8


def test_past_on_disk(tmp_path: Path) -> None:
    past = Past(texture(), flat(3))
    save_past(tmp_path / "0.npz", past)
    loaded = load_past(tmp_path / "0.npz")
    assert loaded is not None
    np.testing.assert_array_equal(loaded, past)
    assert load_past(tmp_path / "1.npz") is None
    content = bytearray((tmp_path / "0.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "0.npz").write_bytes(content)
    assert load_past(tmp_path / "0.npz") is None


def flickering() -> Callable[[np.ndarray], np.ndarray]:
    """A painter whose results depend on the frame, and jump from one to the next."""
    return lambda frame: (frame // 2 + (int(frame.sum()) % 5) * 20).astype(np.uint8)


def stopped(frames: int, painter: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    count = 0

    def paint(frame: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count > frames:
            raise KeyboardInterrupt
        return painter(frame)

    return paint


@pytest.mark.parametrize("damaged", [False, True])
def test_a_held_film_goes_on_to_the_same_frames(
    make_clip: Fixture,
    paint: Fixture,
    read: Fixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damaged: bool,
) -> None:
    monkeypatch.setattr("fastnst.video.writer.SEGMENT_FRAMES", 12)
    source = make_clip("film.mp4", frames=30, rotation=90)
    held = {"steady": 0.8, "codec": "ffv1"}
    output = tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        paint(source, output, stopped(28, flickering()), **held)
    (past,) = job_folder(output).glob("*.npz")
    if damaged:
        past.write_bytes(past.read_bytes()[:-100])
    assert paint(source, output, flickering(), **held).resumed == (0 if damaged else 24)
    paint(source, tmp_path / "unbroken.mkv", flickering(), **held)
    paint(source, tmp_path / "single.mkv", flickering(), codec="ffv1")
    resumed, unbroken, single = (read(tmp_path / f"{name}.mkv").frames for name in ("out", "unbroken", "single"))
    assert len(resumed) == 30
    np.testing.assert_array_equal(resumed, unbroken)
    still = slice(30, 40)  # the lower part of the film stands still
    jumps = [np.abs(np.diff([frame[still].mean() for frame in frames])).mean() for frames in (unbroken, single)]
    assert jumps[0] < 0.3 * jumps[1]


def test_held_pictures_start_anew(make_clip: Fixture, paint: Fixture, tmp_path: Path) -> None:
    source, pattern = make_clip("film.mp4", frames=12), tmp_path / "frames" / "%d.jpg"
    with pytest.raises(KeyboardInterrupt):
        paint(source, pattern, stopped(8, flickering()), steady=0.8)
    assert paint(source, pattern, flickering(), steady=0.8).resumed == 0


@pytest.mark.parametrize("steady", [-0.1, 0.96, float("nan")])
def test_shares_that_are_none(make_clip: Fixture, tmp_path: Path, steady: float) -> None:
    with pytest.raises(SettingError, match=r"expected 0 .* to 0\.95"):
        plan_film(make_clip("film.mp4", frames=2), tmp_path / "out.mp4", VideoSettings(steady=steady))
