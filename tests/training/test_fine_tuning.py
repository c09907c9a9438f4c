"""The last part of a training through VGG-19, after the compact network: `polish`."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fastnst.errors import CheckpointError, SettingError, WeightsError
from fastnst.io.images import read_frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.compact import CompactFeatures
from fastnst.losses.perceptual import Losses, PerceptualLoss
from fastnst.losses.settings import LossNetworkName
from fastnst.losses.weights import load_fine_tuning_network
from fastnst.training import engine
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.engine import TrainCallbacks
from fastnst.training.objective import TrainingObjective
from fastnst.training.results import TrainResult
from fastnst.training.run import Validation
from fastnst.training.settings import TrainSettings


@pytest.fixture
def settings(tiny: TrainSettings, loss_weights: Path) -> TrainSettings:
    """Four steps through the compact network, then two through a VGG-19 of random weights."""
    return replace(
        tiny, loss_network="compact", loss_weights=None, fine_tune_fraction=1 / 3, fine_tune_weights=loss_weights
    )


def totals(settings: TrainSettings, photos: Path, folder: Path) -> tuple[list[float], TrainResult]:
    """Losses step by step, and the result."""
    seen: list[float] = []
    result = engine.run_training(
        settings, photos, folder, on_step=lambda progress: seen.append(progress.losses["total"])
    )
    return seen, result


def through(name: LossNetworkName, settings: TrainSettings) -> TrainSettings:
    """The same training through one network alone."""
    weights = settings.fine_tune_weights if name == "vgg19-caffe" else None
    return replace(settings, fine_tune_fraction=0, fine_tune_weights=None, loss_network=name, loss_weights=weights)


def test_first_through_one_then_through_the_other(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    both, result = totals(settings, photos, tmp_path / "both")
    compact, _ = totals(through("compact", settings), photos, tmp_path / "compact")
    assert both[:4] == compact[:4]
    # The fifth step is judged by VGG-19, on what four through compact have made.
    assert both[4] != pytest.approx(compact[4], rel=2e-3)
    assert "compact" in result.loss_weights
    assert "the last 33.3 % vgg19, torchvision" in result.loss_weights


def test_all_of_it_is_the_training_through_vgg19(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    whole, _ = totals(replace(settings, fine_tune_fraction=1.0), photos, tmp_path / "whole")
    vgg, _ = totals(through("vgg19-caffe", settings), photos, tmp_path / "vgg")
    assert whole == vgg


def test_held_out_pictures_are_judged_by_vgg19_throughout(
    settings: TrainSettings, photos: Path, tmp_path: Path, style_picture: Path
) -> None:
    looks: dict[str, list[Validation]] = {"both": [], "compact": []}
    for name, each in (("both", settings), ("compact", through("compact", settings))):
        engine.run_training(each, photos, tmp_path / name, callbacks=TrainCallbacks(on_validation=looks[name].append))
    first, other = looks["both"][0], looks["compact"][0]
    assert first.step == other.step == 3
    # After three steps through compact both have painted the same; here it is judged by hand.
    assert all((one == two).all() for one, two in zip(first.painted, other.painted, strict=True))
    network, _ = load_fine_tuning_network(settings, settings.fine_tune_weights)
    loss = PerceptualLoss(network, settings)
    painting = read_frame(style_picture)
    style = loss.measure_style(to_image(resize_long_side(painting, 64)))
    content = [
        loss(to_image(painted), loss.measure_content(to_image(photo)), style).floats()["content"]
        for photo, painted in zip(first.photos, first.painted, strict=True)
    ]
    assert first.losses["content"] == pytest.approx(sum(content) / len(content), rel=1e-2)
    assert first.losses["content"] != pytest.approx(other.losses["content"], rel=2e-2)


def test_arithmetic_is_counted_by_who_judges(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    _, both = totals(settings, photos, tmp_path / "both")
    _, compact = totals(through("compact", settings), photos, tmp_path / "compact")
    _, vgg = totals(through("vgg19-caffe", settings), photos, tmp_path / "vgg")
    assert vgg.multiply_adds > 2 * compact.multiply_adds
    assert both.multiply_adds == pytest.approx((4 * compact.multiply_adds + 2 * vgg.multiply_adds) / 6)


@pytest.mark.parametrize("stopped_at", [3, 6])
def test_resumed_in_either_part_equals_uninterrupted(
    settings: TrainSettings, photos: Path, tmp_path: Path, train_until: Callable[..., None], stopped_at: int
) -> None:
    whole, _ = totals(settings, photos, tmp_path / "whole")
    train_until(settings, tmp_path / "stopped", at=stopped_at)
    rest: list[float] = []
    engine.run_training(
        settings, photos, tmp_path / "stopped", resume=True, on_step=lambda p: rest.append(p.losses["total"])
    )
    assert rest == whole[stopped_at - 1 :]
    with pytest.raises(CheckpointError, match=r"--fine-tune-fraction 0\.5 instead of 0\.333"):
        engine.run_training(replace(settings, fine_tune_fraction=0.5), photos, tmp_path / "stopped", resume=True)


def test_a_checkpoint_of_before_it_was_there_is_not_polished(
    settings: TrainSettings, photos: Path, tmp_path: Path
) -> None:
    old = through("compact", settings)
    engine.run_training(old, photos, tmp_path)
    path = tmp_path / CHECKPOINT
    with safe_open(path, framework="numpy") as opened:
        metadata = opened.metadata()
    saved = {name: value for name, value in json.loads(metadata["settings"]).items() if name != "fine_tune_fraction"}
    save_file(load_file(path), path, metadata | {"settings": json.dumps(saved)})
    engine.run_training(old, photos, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"--fine-tune-fraction 0\.333.* instead of 0\.0"):
        engine.run_training(settings, photos, tmp_path, resume=True)


def test_of_a_budget_it_is_a_part_of_the_time(
    settings: TrainSettings,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_losses: Callable[..., None],
) -> None:
    now, spent = [1000.0], {True: 0.0, False: 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def painted(objective: TrainingObjective, _images: Tensor, _samples: range, losses: Losses) -> Losses:
        compact = isinstance(objective.loss.network, CompactFeatures)
        now[0] += 1.0 if compact else 4.0
        spent[compact] += 1.0 if compact else 4.0
        return losses

    on_losses(painted)
    notes: list[str] = []
    callbacks = TrainCallbacks(on_note=notes.append)
    planned = replace(settings, budget="145s", fine_tune_fraction=0.5, batch_size=1, preview_every=10_000)
    engine.run_training(planned, photos, tmp_path, callbacks=callbacks, began=now[0])
    # Six passes of each network to plan and to count; the rest in two halves of the time, give or take a step.
    assert now[0] - 1000 <= 145
    assert spent[True] + spent[False] > 110
    assert abs((spent[True] - 4) - (spent[False] - 16)) <= 8
    # At 1 and 4 s a step, half of the time each, a step takes 1 / (0.5 / 1 + 0.5 / 4) = 1.6 s.
    assert any("1.6 s each here" in note for note in notes)


def test_settings_that_cannot_be(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"--fine-tune-fraction is 30; expected a part of the training, 0 to 1"):
        replace(settings, fine_tune_fraction=30)
    with pytest.raises(SettingError, match=r"--fine-tune-fraction 0\.5 goes with --loss-network compact, not auto"):
        replace(settings, fine_tune_fraction=0.5, loss_network="auto")
    with pytest.raises(
        SettingError, match=r"--fine-tune-fraction 0\.1 of --steps 6 is less than one step; expected 0\.17 or more"
    ):
        replace(settings, fine_tune_fraction=0.1)
    with pytest.raises(SettingError, match=r"tiny\.safetensors does nothing without --fine-tune-fraction"):
        replace(settings, fine_tune_fraction=0)
    with pytest.raises(WeightsError, match=r"gone\.pth: no such file"):
        engine.run_training(replace(settings, fine_tune_weights=Path("gone.pth")), photos, tmp_path)
