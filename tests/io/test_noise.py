"""Smooth noise on what a network gets."""

import numpy as np
import pytest

from fastnst.io.noise import TILE, noise_tile, smooth_noise, tiled_noise, with_noise


def test_noise_is_smooth_of_unit_variance_and_goes_on_over_its_borders() -> None:
    noise = smooth_noise(np.random.default_rng(3), 256)
    assert noise.mean() == pytest.approx(0, abs=1e-5)
    assert noise.std() == pytest.approx(1, abs=0.05)
    inside = np.abs(np.diff(noise, axis=0)).mean(axis=1)
    assert np.abs(noise[0] - noise[-1]).mean() < inside.max() * 1.2
    # Half of the variance is in waves of more than 16 pixels; white noise has 1 percent there.
    spectrum = np.abs(np.fft.fft2(noise)) ** 2
    across, down = np.meshgrid(*[np.fft.fftfreq(256)] * 2)
    coarse = spectrum[np.hypot(across, down) < 1 / 16].sum() / spectrum.sum()
    assert 0.4 < coarse < 0.7


def test_a_frame_gets_the_tile_in_levels_gray_and_repeated() -> None:
    gray = np.full((TILE + 40, TILE + 30, 3), 128, np.uint8)
    added = with_noise(gray, 12).astype(int) - 128
    assert added.std() == pytest.approx(12, rel=0.03)
    assert (added[..., 0] == added[..., 2]).all()
    assert (added[:40] == added[TILE:]).all()
    assert (added[:, :30] == added[:, TILE:]).all()
    assert (added[:TILE, :TILE, 0] == np.floor(noise_tile() * (12 / 32) + 0.5)).all()
    assert np.abs(added[..., 0] / 12 - tiled_noise(gray.shape[:2])).max() < 0.05


def test_levels_end_at_black_and_white_and_none_changes_nothing() -> None:
    frames = np.stack([np.zeros((90, 70, 3), np.uint8), np.full((90, 70, 3), 255, np.uint8)])
    noisy = with_noise(frames, 30)
    assert noisy.shape == frames.shape
    assert (noisy[0] < 160).all()
    assert (noisy[1] > 95).all()
    assert (noisy[0] > 0).any()
    assert with_noise(frames, 0) is frames


def test_noise_is_as_strong_at_every_place_of_a_network_stride() -> None:
    noise = smooth_noise(np.random.default_rng(5), 1024)
    for period in (2, 4, 8):
        strength = np.square(noise).reshape(1024 // period, period, 1024 // period, period).mean(axis=(0, 2))
        assert strength.max() < 1.05 * strength.min()
