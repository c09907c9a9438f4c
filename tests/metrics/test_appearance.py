"""Contrast, chroma, tones, octaves, relief and patterns: values worked by hand on pictures drawn here."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fastnst.io.images import Frame
from fastnst.losses.spectrum import relief_loss
from fastnst.metrics.appearance import (
    OCTAVES,
    PERIODS,
    AppearanceFigures,
    compare_appearance,
    count_tones,
    direction_shares,
    measure_appearance,
    measure_relief,
    octave_spreads,
    to_luma_chroma,
)


def noise(seed: int, size: tuple[int, int] = (256, 320), spread: float = 30) -> Frame:
    """White noise around mid grey, each channel its own."""
    levels = np.random.default_rng(seed).normal(128, spread, (*size, 3))
    return levels.round().clip(0, 255).astype(np.uint8)


def grating(period: float, degrees: float, size: tuple[int, int] = (256, 320), amplitude: float = 60) -> Frame:
    """A grey sine that repeats every `period` px along a direction, 0 to the right, 90 down."""
    down, across = np.mgrid[: size[0], : size[1]]
    along = across * np.cos(np.radians(degrees)) + down * np.sin(np.radians(degrees))
    level = 128 + amplitude * np.sin(2 * np.pi * along / period)
    return np.repeat(level.round()[..., None], 3, axis=2).astype(np.uint8)


def compared(stylized: Frame, photo: Frame, painting: Frame) -> AppearanceFigures:
    return compare_appearance(*map(measure_appearance, (stylized, photo, painting)))


def test_luma_and_chroma_by_hand() -> None:
    planes = to_luma_chroma(np.array([[[255, 0, 0], [0, 0, 255]], [[90, 90, 90], [0, 255, 0]]], np.uint8))
    np.testing.assert_allclose(planes[0], [[76.245, 29.07], [90, 149.685]], rtol=1e-5)
    # Blue: Cb = (255 - 29.07) 0.564 = 127.4; red: Cr = (255 - 76.245) 0.713 = 127.5; grey has no chroma.
    np.testing.assert_allclose(planes[1], [[-43.0, 127.42], [0, -84.42]], atol=0.01)
    np.testing.assert_allclose(planes[2], [[127.45, -20.73], [0, -106.73]], atol=0.01)


def test_a_picture_against_itself_is_one_in_all_figures() -> None:
    figures = compared(noise(0), noise(1), noise(0))
    assert (figures.contrast, figures.chroma, figures.octaves) == (1, 1, (1,) * 6)
    assert figures.pattern == pytest.approx(1, abs=1e-6)


def test_contrast_and_chroma_by_hand() -> None:
    # Half black and half at 2 v has a standard deviation of v, so of Y as much as the grey's level.
    grey = np.zeros((64, 64, 3), np.uint8)
    grey[:, 32:] = 100
    stronger = grey * np.uint8(2)
    blue, bluer = grey * np.array([0, 0, 1], np.uint8), grey * np.array([0, 0, 2], np.uint8)
    assert measure_appearance(grey).luma == pytest.approx(50, rel=1e-5)
    # Blue 0 and 100: Cb 0 and 0.564 * 88.6, Cr 0 and -0.713 * 11.4; halved, and the mean of both.
    assert measure_appearance(blue).chroma == pytest.approx((0.564 * 88.6 + 0.713 * 11.4) / 4, rel=1e-5)
    assert compared(stronger, grey, grey).contrast == pytest.approx(2, rel=1e-5)
    assert compared(bluer, grey, blue).chroma == pytest.approx(2, rel=1e-5)
    assert compared(grey, stronger, stronger).contrast == pytest.approx(0.5, rel=1e-5)


def test_a_plain_picture_has_nothing_and_divides_by_nothing() -> None:
    plain = np.full((80, 80, 3), 90, np.uint8)
    figures = compared(plain, noise(0, (80, 80)), noise(1, (80, 80)))
    assert figures.contrast < 1e-3 and figures.pattern < 1e-3 and max(figures.octaves) < 1e-2
    nothing = compared(plain, plain, plain)
    assert (nothing.contrast, nothing.chroma, nothing.octaves) == (1, 1, (1,) * 6)
    assert nothing.pattern == pytest.approx(0, abs=1e-6)
    assert np.isfinite(compared(noise(0, (80, 80)), plain, plain).contrast)


def test_octaves_by_hand() -> None:
    # Lines of one pixel, 0 and 100: the binomial (1 4 6 4 1) / 16 leaves them at 50, so the first band is +-50.
    lines = np.zeros((64, 64), np.float32)
    lines[:, ::2] = 100
    assert octave_spreads(lines) == pytest.approx([50, 0, 0, 0, 0, 0], abs=1e-4)
    # Lines of two pixels, 0 0 100 100: blurred 37.5 37.5 62.5 62.5, so +-37.5 is left. Every second pixel of that is
    # 37.5 or 62.5: lines of one pixel again, +-12.5. Wide, as mirrored edges differ.
    lines = np.tile(np.repeat(np.tile(np.float32([0, 100]), 512), 2), (8, 1))
    assert octave_spreads(lines)[:3] == pytest.approx([37.5, 12.5, 0], rel=0.01, abs=0.5)


@pytest.mark.parametrize("band", range(6))
def test_each_octave_shows_its_own_size(band: int) -> None:
    # A wave of twice the size: a stroke and a gap.
    spreads = octave_spreads(to_luma_chroma(grating(2 * OCTAVES[band], 0, (256, 512)))[0])
    assert spreads.argmax() == band


def test_a_softer_picture_lacks_the_fine_octaves_alone() -> None:
    painting = noise(0)
    soft = painting.astype(np.float64)
    for axis in (0, 1):
        soft = sum(np.roll(soft, step, axis) for step in (-1, 0, 1)) / 3
    octaves = compared(soft.round().astype(np.uint8), noise(1), painting).octaves
    assert octaves[0] < 0.3 and octaves[1] < 0.75
    assert octaves[3:] == pytest.approx([1, 1, 1], abs=0.1)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_noise_has_no_pattern(seed: int) -> None:
    assert 1 <= compared(noise(seed), noise(0), noise(1)).pattern < 1.6


@pytest.mark.parametrize(("period", "degrees"), [(3, 5), (4, 95), (6, 45), (8, 5), (12, 125), (16, 65)])
def test_a_grating_is_a_pattern_at_its_period_and_direction(period: float, degrees: float) -> None:
    stripes = grating(period, degrees)
    assert compared(stripes, noise(0), noise(1)).pattern > 5
    ring = int(np.digitize(period, PERIODS)) - 1
    # The ring of its period; Hann's window leaks a little into others, where nothing else is.
    assert direction_shares(to_luma_chroma(stripes))[0, ring].argmax() == degrees // 10


def test_a_grating_woven_into_a_picture_shows() -> None:
    # 8 levels of corduroy on noise of 30.
    woven = noise(2).astype(np.float64) + (grating(5.5, 30, amplitude=8).astype(np.float64) - 128)
    assert compared(woven.round().clip(0, 255).astype(np.uint8), noise(0), noise(1)).pattern > 2


def test_patterns_in_color_alone_show() -> None:
    # Red up as green goes down, so that Y stays: 0.299 * 59 = 17.6 = 0.587 * 30.
    wave = (grating(6, 0).astype(np.float64)[..., 0] - 128) / 60
    picture = noise(2).astype(np.float64) + wave[..., None] * [59, -30, 0]
    stripes = picture.round().clip(0, 255).astype(np.uint8)
    planes = direction_shares(to_luma_chroma(stripes))
    assert planes[0].max() < 1.5
    assert planes[2].max() > 4
    assert compared(stripes, noise(0), noise(1)).pattern > 4


@pytest.mark.parametrize("pictures", [lambda stripes: (noise(0), stripes), lambda stripes: (stripes, noise(0))])
def test_patterns_of_the_painting_or_of_the_photo_are_excused(pictures: Callable[[Frame], tuple[Frame, Frame]]) -> None:
    stripes = grating(6, 45)
    assert compared(stripes, *pictures(stripes)).pattern == pytest.approx(1, abs=1e-6)


def test_a_small_picture_is_mirrored() -> None:
    assert compared(grating(6, 0, (48, 50)), noise(0, (48, 50)), noise(1)).pattern > 3
    assert direction_shares(to_luma_chroma(noise(0, (20, 70)))).shape == (3, 6, 18)


def test_shares_are_one_on_average() -> None:
    shares = direction_shares(to_luma_chroma(noise(5, (512, 512))))
    # All but the ring of 14 to 20 px, where some sectors of 10 degrees hold no frequency of a window of 64 px.
    assert shares[:, :5].mean(-1) == pytest.approx(np.ones((3, 5)), abs=0.05)
    assert shares.max() < 1.6


def test_tones_by_hand() -> None:
    # A quarter and three quarters: entropy 0.5623, e to it 1.755; eight even stripes are eight tones. The blurred edge
    # adds some shades between.
    halves = np.zeros((64, 4096), np.float32)
    halves[:, 3072:] = 200
    assert count_tones(halves) == pytest.approx(1.755, abs=0.1)
    stripes = np.repeat(np.arange(8, dtype=np.float32) * 32 + 4, 4096)[None].repeat(64, axis=0)
    assert count_tones(stripes) == pytest.approx(8, abs=0.2)
    assert count_tones(np.full((32, 32), 7, np.float32)) == 1


def test_the_photo_excuses_few_tones() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 512).astype(np.uint8)[None, :, None], (64, 512, 3))
    flat = ramp // 4
    assert compared(flat, flat, ramp).tones == 1
    assert compared(flat, ramp, ramp).tones < 0.4


def test_relief_is_the_same_figure_as_the_loss() -> None:
    photo, stylized = noise(1, (64, 96)), noise(1, (64, 96)) // 2 + noise(2, (64, 96)) // 4
    stylized = (stylized + np.roll(photo, 1, axis=1) // 4).astype(np.uint8)
    tensors = [torch.from_numpy(frame.copy()).permute(2, 0, 1)[None] / 255 for frame in (stylized, photo)]
    measured = measure_relief(to_luma_chroma(stylized)[0], to_luma_chroma(photo)[0])
    assert measured == pytest.approx(relief_loss(*tensors).item(), rel=0.02)
    assert measured > 0.005
    with pytest.raises(ValueError, match="expected one size"):
        measure_relief(np.zeros((9, 9), np.float32), np.zeros((8, 9), np.float32))
