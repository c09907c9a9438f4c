"""Regions of colour masks, and spatial control by them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fastnst.errors import InputError
from fastnst.exact.regions import LONGEST_SIDE, find_regions, region_positions, resize_labels
from fastnst.io.images import Frame

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def draw(size: tuple[int, int], *discs: tuple[int, int, int, tuple[int, int, int]], smooth: int = 1) -> Image.Image:
    """Red, with discs (x, y, radius, colour); with `smooth` the edges are anti-aliased."""
    width, height = size[1] * smooth, size[0] * smooth
    picture = Image.new("RGB", (width, height), RED)
    pen = ImageDraw.Draw(picture)
    for x, y, radius, colour in discs:
        pen.ellipse(
            [smooth * (x - radius), smooth * (y - radius), smooth * (x + radius), smooth * (y + radius)], colour
        )
    return picture.resize((size[1], size[0]), Image.Resampling.BOX)


def through_jpeg(picture: Image.Image, quality: int) -> Frame:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def names(masks: list[Frame], count: int | None = None) -> list[str]:
    found = find_regions(masks, count)
    return [found.name(region) for region in range(len(found.colours))]


def test_flat_colours_and_single_pixels_are_masks() -> None:
    mask = np.zeros((4, 6, 3), np.uint8)
    mask[:, 4:] = BLUE
    found = find_regions([mask])
    assert names([mask]) == ["#000000", "#0000ff"]
    assert found.labels[0].tolist() == [[0, 0, 0, 0, 1, 1]] * 4
    assert found.share(0, 1) == pytest.approx(1 / 3)
    assert names([np.full((1, 1, 3), 7, np.uint8)]) == ["#040404"]
    assert find_regions([np.full((5, 5, 3), 200, np.uint8)]).labels[0].tolist() == [[0] * 5] * 5


@pytest.mark.parametrize("quality", [95, 75, 40])
def test_jpeg_and_smooth_edges_change_few_pixels(quality: int) -> None:
    discs = ((40, 40, 25, GREEN), (100, 60, 30, BLUE))
    clean = np.asarray(draw((120, 160), *discs))
    found = find_regions([clean, through_jpeg(draw((120, 160), *discs, smooth=4), quality)])
    assert len(found.colours) == 3
    assert (found.labels[0] != found.labels[1]).mean() < 0.01
    for region, where in enumerate((np.all(clean == RED, 2), np.all(clean == BLUE, 2), np.all(clean == GREEN, 2))):
        assert (found.labels[0] == region).sum() == where.sum()


def test_an_edge_does_not_fall_to_a_region_of_the_colour_between() -> None:
    # Between black and white an anti-aliased edge is grey, and grey is a region too.
    mask = np.zeros((40, 60, 3), np.uint8)
    mask[:, 20:] = (255, 255, 255)
    mask[:, 20] = (128, 128, 128)
    mask[30:, :10] = GREY
    labels = find_regions([mask]).labels[0]
    grey = labels[35, 5]
    assert set(labels[:30].ravel().tolist()) == {labels[0, 0], labels[0, 59]}
    assert 95 <= (labels == grey).sum() <= 100


def test_regions_are_the_same_in_every_mask() -> None:
    first, second = draw((60, 60), (30, 30, 15, BLUE)), draw((40, 80), (20, 20, 15, (20, 10, 240)))
    found = find_regions([np.asarray(first), np.asarray(second)])
    assert len(found.colours) == 2
    assert found.labels[0][30, 30] == found.labels[1][20, 20] == 1
    assert found.labels[0][0, 0] == found.labels[1][39, 79] == 0


def test_specks_belong_to_what_surrounds_them() -> None:
    mask = np.asarray(draw((100, 100), (50, 50, 30, BLUE))).copy()
    mask[50:52, 50:52] = (90, 20, 20)
    assert set(find_regions([mask]).labels[0][45:55, 45:55].ravel().tolist()) == {1}


def test_count_says_how_many() -> None:
    mask = np.asarray(draw((90, 90), (30, 30, 20, GREEN), (65, 65, 15, (0, 200, 90))))
    assert len(names([mask])) == 3
    assert len(names([mask], 2)) == 2
    with pytest.raises(InputError, match="the masks have 3 colors, --region-count is 4; give 3 or less"):
        find_regions([mask], 4)


def test_photos_and_noise_are_no_masks() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="a mask has no area of one color"):
        find_regions([noise])
    squares = np.kron(np.random.default_rng(0).integers(0, 256, (8, 8, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    with pytest.raises(InputError, match=r"the masks have \d+ colors; expected at most 24"):
        find_regions([squares])
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="a mask has no area of one color"):
        find_regions([noise, np.zeros((20, 30, 3), np.uint8)])


def test_large_masks_are_read_smaller() -> None:
    mask = np.zeros((30, 2 * LONGEST_SIDE, 3), np.uint8)
    mask[:, LONGEST_SIDE:] = RED
    labels = find_regions([mask]).labels[0]
    assert labels.shape == (15, LONGEST_SIDE)
    assert (labels[:, : LONGEST_SIDE // 2] == labels[0, 0]).all()
    assert (labels[:, LONGEST_SIDE // 2 :] == labels[0, -1]).all()


def test_resized_labels_by_hand() -> None:
    labels = np.array([[0, 1, 2, 3]])
    assert resize_labels(labels, (2, 2)).tolist() == [[1, 3], [1, 3]]
    assert resize_labels(labels, (1, 8)).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]


SIZES = {"relu1_1": (16, 32), "relu2_1": (8, 16), "relu3_1": (4, 8)}


def halves(height: int = 16, width: int = 32) -> np.ndarray:
    """Left half 0, right half 1."""
    labels = np.zeros((height, width), np.int64)
    labels[:, width // 2 :] = 1
    return labels


def columns(positions: torch.Tensor, width: int) -> list[int]:
    return sorted(set((positions % width).tolist()))


def test_without_a_guard_and_with_the_strictest() -> None:
    found = region_positions(halves(), 2, SIZES, 0.0)
    for layer, (height, width) in SIZES.items():
        assert columns(found[0][layer], width) == list(range(width // 2))
        assert sorted(torch.cat([part[layer] for part in found]).tolist()) == list(range(height * width))
    # All of it, at 1.0: what sees the neighbour goes, what sees none of it stays.
    found = region_positions(halves(), 2, SIZES, 1.0)
    assert columns(found[0]["relu1_1"], 32) == list(range(15))
    assert columns(found[1]["relu1_1"], 32) == list(range(17, 32))
    assert columns(found[0]["relu2_1"], 16) == list(range(6))
    assert columns(found[0]["relu3_1"], 8) == [0]


def test_the_guard_leaves_out_what_sees_the_neighbour_by_hand() -> None:
    # relu1_1: one mean over 3: the column at the border sees 2/3. relu2_1: two means over 3: weights 1 2 3 2 1 of 9,
    # so that the column at the border sees 6/9, the next one 8/9. relu3_1: three means: 1 3 6 7 6 3 1 of 27.
    found = region_positions(halves(), 2, SIZES, 0.7)
    assert columns(found[0]["relu1_1"], 32) == list(range(15))
    assert columns(found[1]["relu1_1"], 32) == list(range(17, 32))
    assert columns(found[0]["relu2_1"], 16) == list(range(7))
    assert columns(found[0]["relu3_1"], 8) == [0, 1, 2]  # the border sees 17/27, the next 23/27
    stricter = region_positions(halves(), 2, SIZES, 0.9)
    assert columns(stricter[0]["relu2_1"], 16) == list(range(6))


def test_small_regions_and_the_pictures_own_border() -> None:
    found = region_positions(np.zeros((16, 32), np.int64), 1, SIZES, 1.0)
    assert all(len(found[0][layer]) == height * width for layer, (height, width) in SIZES.items())
    labels = np.zeros((16, 32), np.int64)
    labels[4:8, 8:16] = 1
    found = region_positions(labels, 2, SIZES, 0.9)
    assert len(found[1]["relu1_1"]) == 2 * 6  # less a margin of one
    assert found[1]["relu3_1"].tolist() == [8 + 2, 8 + 3]
    assert all(set(found[0][layer].tolist()).isdisjoint(found[1][layer].tolist()) for layer in SIZES)
    labels = np.zeros((16, 32), np.int64)
    labels[5:7, 9:11] = 1  # in no layer's area the most, but the first's
    found = region_positions(labels, 3, SIZES, 0.5)
    assert len(found[1]["relu1_1"]) == 4
    assert "relu3_1" not in found[1]
    assert found[2] == {}


def test_sizes_that_halve_unevenly() -> None:
    found = region_positions(halves(17, 31), 2, {"relu1_1": (17, 31), "relu2_1": (8, 15)}, 0.0)
    assert len(found[0]["relu2_1"]) + len(found[1]["relu2_1"]) == 8 * 15
