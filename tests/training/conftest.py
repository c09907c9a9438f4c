"""A training that takes seconds: each test file changes what it needs. Its loss is that of Gram matrices."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from fastnst.losses.perceptual import Losses
from fastnst.training.engine import TrainCallbacks, TrainProgress, run_training
from fastnst.training.objective import Paint, TrainingObjective
from fastnst.training.settings import TrainSettings


@pytest.fixture(scope="session")
def tiny(style_picture: Path, loss_weights: Path) -> TrainSettings:
    """Two channels, crops of 64 px, one layer of the loss network, nothing read by other processes."""
    return TrainSettings(
        style=style_picture,
        width=2,
        blocks=1,
        steps=6,
        batch_size=2,
        crop_size=64,
        style_size=64,
        style_statistic="gram",
        style_weight=5.0,
        style_scales=(1,),
        statistics_over="image",
        detail_weight=0,
        pattern_weight=0,
        relief_weight=0,
        color_weight=0,
        content_layers=("relu1_1",),
        style_layers=("relu1_1",),
        loss_weights=loss_weights,
        workers=0,
        preview_every=3,
        early_export_s=0,
        precision="float32",
    )


@pytest.fixture(scope="session")
def train_until(photos: Path) -> Callable[..., None]:
    """Train until a step, in which an error comes; there is a checkpoint of each step before."""

    def train(settings: TrainSettings, folder: Path, at: int, on_note: Callable[[str], object] | None = None) -> None:
        def stop(progress: TrainProgress) -> None:
            if progress.step == at:
                raise RuntimeError("stopped")

        eager = dataclasses.replace(settings, checkpoint_every_s=0.0)
        calls = TrainCallbacks(on_step=stop, on_note=on_note or (lambda _: None))
        with pytest.raises(RuntimeError, match="stopped"):
            run_training(eager, photos, folder, callbacks=calls)

    return train


@pytest.fixture(scope="session")
def scalars() -> Callable[[Path, str], list[tuple[int, float]]]:
    """Steps and values of a curve that a training in a folder has written for TensorBoard."""

    def read(folder: Path, name: str) -> list[tuple[int, float]]:
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars(name)]

    return read


Judged = Callable[[TrainingObjective, Tensor, range, Losses], Losses]


@pytest.fixture
def on_losses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Judged], None]:
    """Let a function see objective, images and samples, and change the losses, whenever a training computes them."""
    judge = TrainingObjective.__call__

    def watch(seen: Judged) -> None:
        def watched(
            objective: TrainingObjective, paint: Paint, images: Tensor, samples: range, step: int = 0
        ) -> tuple[Losses, Tensor]:
            losses, stylized = judge(objective, paint, images, samples, step)
            return seen(objective, images, samples, losses), stylized

        monkeypatch.setattr(TrainingObjective, "__call__", watched)

    return watch
