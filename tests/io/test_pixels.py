"""What transparency hides must count for nothing."""

from pathlib import Path

import numpy as np
from PIL import Image

from fastnst.io.images import read_picture
from fastnst.io.pixels import fill_hidden, resize_visible


def disc(side: int, hidden: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A yellow disc with a soft edge; what is beyond it has another color."""
    down, across = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = ((side / 3 - np.hypot(down, across)) * 60 + 128).clip(0, 255).astype(np.uint8)
    frame = np.where(alpha[..., None] > 0, (255, 220, 0), hidden).astype(np.uint8)
    return frame, alpha


def test_hidden_colors_take_those_beside_them_or_white_by_hand() -> None:
    frame = np.array([[[10, 20, 30], [1, 2, 3], [9, 9, 9]]], np.uint8)
    filled = fill_hidden(frame, np.array([[200, 0, 0]], np.uint8))
    np.testing.assert_array_equal(filled, [[[10, 20, 30]] * 3])
    assert frame[0, 1].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(fill_hidden(np.zeros((3, 2, 3), np.uint8), np.zeros((3, 2), np.uint8)), 255)


def test_visible_colors_stay() -> None:
    frame, alpha = disc(50, (0, 0, 255))
    filled = fill_hidden(frame, alpha)
    np.testing.assert_array_equal(filled, np.full_like(frame, 1) * np.array([255, 220, 0], np.uint8))
    assert fill_hidden(frame, np.full_like(alpha, 1)) is frame


def test_equal_visible_pixels_are_equal_pictures(tmp_path: Path) -> None:
    frames = []
    for name, hidden in (("a.png", (0, 0, 0)), ("b.png", (0, 255, 9))):
        Image.fromarray(np.dstack(disc(61, hidden))).save(tmp_path / name)
        frames.append(read_picture(tmp_path / name).frame)
    np.testing.assert_array_equal(frames[0], frames[1])


def test_no_halo_at_any_opacity() -> None:
    for hidden in ((0, 0, 0), (255, 255, 255)):
        frame, alpha = resize_visible(*disc(200, hidden), (51, 50))
        assert frame.shape == (51, 50, 3)
        assert len(np.unique(alpha)) > 10
        np.testing.assert_array_equal(frame, np.full_like(frame, 1) * np.array([255, 220, 0], np.uint8))


def test_opaque_pictures_are_resized_as_without_alpha() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    resized, alpha = resize_visible(frame, np.full((40, 60), 255, np.uint8), (20, 30))
    plain = np.asarray(Image.fromarray(frame).resize((30, 20), Image.Resampling.LANCZOS))
    np.testing.assert_allclose(resized.astype(int), plain, atol=5)  # Pillow rounds between rows and columns
    assert (alpha == 255).all()
