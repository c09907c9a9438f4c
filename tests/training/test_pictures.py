"""Which pictures a network sees in training, as they come to it: floats in [0, 1], none of those held out."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fastnst.losses.perceptual import Losses
from fastnst.training.data import ContentImages, held_out
from fastnst.training.engine import run_training
from fastnst.training.objective import Paint, TrainingObjective
from fastnst.training.settings import TrainSettings


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[int, Tensor]:
    """The images that losses are computed of in training, by number of the sample; filled as it goes on."""
    judge, images_by_sample = TrainingObjective.__call__, {}

    def watched(objective: TrainingObjective, paint: Paint, images: Tensor, samples: range) -> tuple[Losses, Tensor]:
        images_by_sample.update(zip(samples, images.clone(), strict=True))
        return judge(objective, paint, images, samples)

    monkeypatch.setattr(TrainingObjective, "__call__", watched)
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
    # As many as it takes: four are held out where there are twenty times more. Each has a level of its own.
    folder, levels = tmp_path / "photos", range(10, 90)
    folder.mkdir()
    for level in levels:
        Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(folder / f"{level}.png")
    held = {int(Path(name).stem) for name in held_out(folder, 4, 64).names}
    assert len(held) == 4
    run_training(dataclasses.replace(tiny, steps=4, batch_size=19, preview_every=9), folder, tmp_path / "run")
    learnt = [round(255 * float(image.mean())) for number, image in sorted(seen.items()) if number < 76]
    assert sorted(learnt) == [level for level in levels if level not in held]
