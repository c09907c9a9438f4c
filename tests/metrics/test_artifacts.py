"""Artifact measures: each fires on a picture with that artifact planted and is silent on the clean one."""

import numpy as np
import pytest

from fastnst.io.images import Frame
from fastnst.metrics.artifacts import (
    blob_share,
    border_excess,
    distance_to_palette,
    find_artifacts,
    grid_energy,
    palette_of,
    to_lab,
)
from fastnst.research.evaluation_report import THRESHOLDS


def clouds(seed: int, size: tuple[int, int] = (200, 260)) -> Frame:
    """Random picture with the spectrum of natural ones, amplitude as 1 / frequency (Field 1987), and a little noise."""
    rng = np.random.default_rng(seed)
    down, across = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(down, across), 1 / max(size))
    planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=size)) * amplitude).real for _ in range(3)]
    values = np.stack([plane / plane.std() for plane in planes], axis=-1)
    return np.clip(127.5 + 45 * values + rng.normal(0, 2, values.shape), 3, 252).astype(np.uint8)


def add(frame: Frame, pattern: np.ndarray) -> Frame:
    return np.clip(frame + pattern, 0, 255).astype(np.uint8)


PHOTO = clouds(1)
CLEAN = clouds(2)


def test_border_is_silent_on_clean_pictures() -> None:
    values = [border_excess(clouds(seed), clouds(seed + 100)) for seed in range(8)]
    assert max(values) < 1.5
    assert max(values) < THRESHOLDS.border


@pytest.mark.parametrize("side", range(4))
def test_border_fires_on_a_dark_band_along_any_side(side: int) -> None:
    band = np.zeros(CLEAN.shape)
    turned = np.rot90(band, side)
    turned[:3] = -60
    assert border_excess(add(CLEAN, band), PHOTO) > THRESHOLDS.border


def test_border_fires_on_ringing_along_the_edges() -> None:
    ringing = np.zeros(CLEAN.shape)
    for depth in range(8):
        ringing[depth : -depth or None, [depth, -1 - depth]] = 25 * (-1) ** depth
        ringing[[depth, -1 - depth], depth : -depth or None] = 25 * (-1) ** depth
    assert border_excess(add(CLEAN, ringing), PHOTO) > THRESHOLDS.border


def test_border_does_not_blame_the_photos_own_frame() -> None:
    framed, painted = PHOTO.copy(), CLEAN.copy()
    for picture in (framed, painted):
        picture[:4], picture[-4:], picture[:, :4], picture[:, -4:] = 0, 0, 0, 0
    assert border_excess(painted, PHOTO) > THRESHOLDS.border
    assert border_excess(painted, framed) < 1.5


def test_flat_and_tiny_pictures_have_no_artifacts() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert border_excess(flat, flat) == 0
    assert grid_energy(np.zeros((15, 200, 3), np.uint8), 4) == 0
    assert blob_share(np.zeros((5, 90, 3), np.uint8), np.zeros((5, 90, 3), np.uint8)) == 0


def test_grid_is_silent_on_clean_pictures() -> None:
    values = [grid_energy(clouds(seed), period) for seed in range(4) for period in (4, 8)]
    assert max(values) < 0.006 < THRESHOLDS.grid


@pytest.mark.parametrize("period", [4, 8])
def test_grid_fires_on_a_faint_grid(period: int) -> None:
    pattern = np.zeros(CLEAN.shape)
    pattern[::period] += 12
    pattern[:, ::period] += 12
    assert grid_energy(add(CLEAN, pattern), period) > THRESHOLDS.grid


def test_grid_fires_on_a_checkerboard_that_changes_its_sign() -> None:
    down, across = np.indices(CLEAN.shape[:2])
    checker = 5.0 * (-1) ** (down + across) * np.sign(np.sin(across / 30))
    assert grid_energy(add(CLEAN, checker[..., None]), 4) > THRESHOLDS.grid


def test_grid_does_not_take_texture_of_another_period_for_one() -> None:
    across = np.indices(CLEAN.shape[:2])[1]
    stripes = 20 * np.sin(2 * np.pi * across / 6.1)
    assert grid_energy(add(CLEAN, stripes[..., None]), 8) < 0.006


@pytest.mark.parametrize("turned", [False, True])
def test_grid_does_not_take_a_horizon_for_one(turned: bool) -> None:
    # A straight edge fills a whole column of the spectrum, the grid's frequencies among all others.
    horizon = np.zeros(CLEAN.shape)
    horizon[97:] = 120
    picture = add(clouds(4) // 4 + 40, horizon)
    picture = np.rot90(picture) if turned else picture
    assert max(grid_energy(picture, period) for period in (4, 8)) < 0.006


def test_grid_share_by_hand() -> None:
    # Nothing but stripes of two pixels: all that changes is the grid's.
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 200
    assert grid_energy(stripes, 4) == pytest.approx(1, abs=0.01)
    assert grid_energy(np.full((128, 128, 3), 9, np.uint8), 4) == 0


def test_blobs_are_silent_on_clean_pictures_and_leave_out_specks() -> None:
    assert blob_share(CLEAN, PHOTO) == 0
    picture = CLEAN.copy()
    picture[50:56, 100:106] = 0
    assert blob_share(picture, PHOTO) == 0


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (90, 120, 60)])
def test_blobs_fire_on_a_dead_square(color: tuple[int, int, int]) -> None:
    picture = CLEAN.copy()
    picture[50:80, 100:140] = color
    # All of the square: a square that is flat is covered by squares of 7 px that are.
    assert blob_share(picture, PHOTO) == 30 * 40 / (200 * 260)


def test_blobs_are_counted_where_saturated_colors_alternate() -> None:
    picture = CLEAN.copy()
    picture[50:80:2, 100:140] = (255, 0, 0)
    picture[51:80:2, 100:140] = (0, 0, 255)
    assert blob_share(picture, PHOTO) == 30 * 40 / (200 * 260)


def test_blobs_do_not_blame_what_is_flat_in_the_photo() -> None:
    photo, picture = PHOTO.copy(), CLEAN.copy()
    photo[40:90, 90:150] = 255
    picture[50:80, 100:140] = 0
    assert blob_share(picture, photo) == 0


def test_blobs_do_not_blame_plain_paper_for_a_smooth_sky() -> None:
    noise = np.random.default_rng(0).integers(-4, 5, (50, 60, 3))
    photo, picture = PHOTO.copy(), CLEAN.copy()
    photo[40:90, 90:150] = 120 + noise  # 8 levels at most
    picture[50:80, 100:140] = (230, 220, 190)
    assert blob_share(picture, photo) == 0
    photo[40:90, 90:150] = 120 + 3 * noise
    assert blob_share(picture, photo) == 30 * 40 / (200 * 260)
    # Saturated is another matter: a smooth sky of 120 levels has no black in it.
    photo[40:90, 90:150] = 120 + noise
    picture[50:80, 100:140] = 0
    assert blob_share(picture, photo) == 30 * 40 / (200 * 260)


def test_color_is_silent_in_the_paintings_colors_and_fires_on_a_tint() -> None:
    painting = clouds(5) // 2 + np.array([90, 40, 10], np.uint8)
    palette = palette_of(painting)
    inside = painting[::-1, ::-1]
    tinted = add(inside.astype(int), np.array([-60, 0, 60]))
    silent, loud = (find_artifacts(picture, PHOTO, palette).color for picture in (inside, tinted))
    assert silent < 6 < 12 < loud


def test_all_measures_at_once() -> None:
    artifacts = find_artifacts(CLEAN, PHOTO, palette_of(CLEAN))
    assert artifacts.border == border_excess(CLEAN, PHOTO)
    assert artifacts.grid == max(grid_energy(CLEAN, 4), grid_energy(CLEAN, 8))
    assert artifacts.blobs == 0


def test_lab_by_hand() -> None:
    lab = to_lab(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8))
    assert lab == pytest.approx(np.array([[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20]]), abs=0.03)


def test_lab_is_that_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    colors = np.random.default_rng(0).integers(0, 256, (50, 3), np.uint8)
    assert to_lab(colors) == pytest.approx(color.rgb2lab(colors[None])[0], abs=0.05)


def test_palette_of_few_colors_is_these_colors() -> None:
    frame = np.array([[[200, 0, 0], [0, 0, 200], [200, 0, 0]]], np.uint8).repeat(4, axis=0)
    assert np.sort(palette_of(frame), axis=0) == pytest.approx(np.sort(to_lab(frame[0, :2]), axis=0), abs=1e-9)


def test_distance_to_palette_by_hand() -> None:
    # Levels with the two lowest bits at 2 are kept as they are: greys at L* = a and b, the palette at a and white.
    frame = np.array([[[50] * 3, [50] * 3, [50] * 3, [202] * 3]], np.uint8)
    palette = to_lab(np.array([[50] * 3, [255] * 3], np.uint8))
    expected = (100 - to_lab(np.full(3, 202, np.uint8))[0]) / 4
    assert distance_to_palette(frame, palette) == pytest.approx(expected, abs=1e-6)


def test_distance_takes_many_colors() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    palette = to_lab(np.array([[10, 20, 30], [200, 100, 90]], np.uint8))
    exact = np.linalg.norm(to_lab(frame)[:, :, None] - palette, axis=-1).min(-1).mean()
    assert distance_to_palette(frame, palette) == pytest.approx(exact, rel=0.01)
