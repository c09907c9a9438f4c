"""Which pictures a network sees in training, as they come to it: floats in [0, 1], none of those held out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fastnst.losses.perceptual import Losses
from fastnst.training.data import ContentImages, held_out
from fastnst.training.engine import run_training
from fastnst.training.settings import TrainSettings


@pytest.fixture
def seen(on_losses: Callable[..., None]) -> dict[int, Tensor]:
    """The images that losses are computed of in training, by number of the sample; filled as it goes on."""
    images_by_sample: dict[int, Tensor] = {}

    def watched(_: object, images: Tensor, samples: range, losses: Losses) -> Losses:
        images_by_sample.update(zip(samples, images.clone(), strict=True))
        return losses

    on_losses(watched)
    return images_by_sample


def test_levels_of_255_become_parts_of_1(
    tiny: TrainSettings, photos: Path, tmp_path: Path, seen: dict[int, Tensor]
) -> None:
    run_training(dataclasses.replace(tiny, steps=2), photos, tmp_path)
    files = ContentImages(photos, tiny.crop_size, tiny.seed)
    assert sorted(seen) == [0, 1, 2, 3]
    for number, image in seen.items():
        assert torch.equal(image, files[number].image / 255)
        assert 0.5 < float(image.max()) <= 1


def test_pictures_that_are_held_out_are_not_learnt_from(
    tiny: TrainSettings, tmp_path: Path, seen: dict[int, Tensor]
) -> None:
    # As many as it takes: four are held out where there are twenty times more. Each has a color of its own, far from
    # the others', as crops of some are compressed or get noise.
    folder = tmp_path / "photos"
    folder.mkdir()
    colors = np.array([(40 + 40 * (i % 5), 50 + 50 * (i // 5 % 4), 50 + 50 * (i // 20)) for i in range(80)], np.uint8)
    for i, color in enumerate(colors):
        Image.fromarray(np.full((32, 32, 3), color, np.uint8)).save(folder / f"{i}.png")
    held = {int(Path(name).stem) for name in held_out(folder, 4, 64).names}
    assert len(held) == 4
    run_training(dataclasses.replace(tiny, steps=4, batch_size=19, preview_every=9), folder, tmp_path / "run")
    means = np.array([255 * image.mean((1, 2)).numpy() for number, image in sorted(seen.items()) if number < 76])
    learnt = np.square(means[:, None] - colors).sum(2).argmin(1)
    assert sorted(learnt) == [i for i in range(80) if i not in held]
