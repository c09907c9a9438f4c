"""The last steps through VGG-19, after the compact network: `polish`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fastnst.errors import CheckpointError, SettingError, WeightsError
from fastnst.exact.engine import optimize
from fastnst.exact.objective import PixelObjective, Subject
from fastnst.exact.optimizers import AdamDescent, LBFGSDescent
from fastnst.exact.pyramid import Level, plan_levels
from fastnst.exact.result import OptimizeProgress, OptimizeResult, report
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import load_fine_tuning_network

CPU = torch.device("cpu")


@pytest.fixture
def settings(small: OptimizeSettings, loss_weights: Path) -> OptimizeSettings:
    """Six steps through the compact network, three through a VGG-19 of random weights."""
    compact = replace(small, loss_network="compact", loss_weights=None)
    return replace(compact, steps=9, history=4, fine_tune_steps=3, fine_tune_weights=loss_weights)


def vgg_objective(settings: OptimizeSettings, photo: Frame, painting: Frame) -> PixelObjective:
    network, _ = load_fine_tuning_network(settings, settings.fine_tune_weights, CPU)
    return Subject(photo, painting, settings).objective(PerceptualLoss(network, settings), settings.size, CPU, None)


def losses_of(result: OptimizeResult) -> list[tuple[float, ...]]:
    return [
        (step.step, step.total, step.content, step.style, step.long_side, step.fine_tune) for step in result.history
    ]


def test_the_last_of_all_steps_are_polish() -> None:
    compact = OptimizeSettings(loss_network="compact", steps=100, size=512)
    assert plan_levels(replace(compact, fine_tune_steps=30)) == [Level(512, 70), Level(512, 30, fine_tune=True)]
    # Two sizes, of 100 and 50 steps: 20 are part of the second; 50 all of it; 60 reach into the first.
    large = replace(compact, size=1024)
    assert plan_levels(replace(large, fine_tune_steps=20)) == [
        Level(512, 100),
        Level(1024, 30),
        Level(1024, 20, fine_tune=True),
    ]
    assert plan_levels(replace(large, fine_tune_steps=50)) == [Level(512, 100), Level(1024, 50, fine_tune=True)]
    assert plan_levels(replace(large, fine_tune_steps=60)) == [
        Level(512, 90),
        Level(512, 10, fine_tune=True),
        Level(1024, 50, fine_tune=True),
    ]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_last_steps_lower_what_vgg_sees(
    optimizer: str, settings: OptimizeSettings, photo: Frame, painting: Frame
) -> None:
    settings = replace(settings, optimizer=optimizer, steps=30, fine_tune_steps=12)
    seen: list[OptimizeProgress] = []
    result = optimize(photo, painting, settings, callback=seen.append)
    assert [step.fine_tune for step in result.history] == [False] * 18 + [True] * 12
    assert [(progress.level, progress.done) for progress in seen[17:19]] == [(0, 18), (1, 1)]
    assert {progress.steps for progress in seen} == {30}
    # Its losses are VGG's, and lower than those of what the compact network ended with.
    judged = vgg_objective(settings, photo, painting).judge(to_image(result.frame))
    assert result.losses == pytest.approx(judged)
    assert result.best.fine_tune
    assert result.best.total < 0.97 * result.history[18].total


def test_polishing_begins_with_the_best_image(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    best = []

    def watch(progress: OptimizeProgress) -> None:
        if not progress.last.fine_tune:
            best[:] = [progress.best_image]

    result = optimize(photo, painting, settings, callback=watch)
    judged = vgg_objective(settings, photo, painting).judge(best[0])
    assert result.history[6].total == pytest.approx(judged["total"], rel=1e-5)


def test_both_networks_are_told(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    told = report(optimize(photo, painting, settings), settings)
    assert told["loss_weights"].startswith("compact (")
    assert "; the last 3 steps vgg19, torchvision normalisation, tiny.safetensors (sha256 " in told["loss_weights"]
    assert told["settings"]["fine_tune_steps"] == 3
    assert [step["fine_tune"] for step in told["history"]] == [False] * 6 + [True] * 3


@pytest.mark.parametrize(
    ("optimizer", "stop"), [("lbfgs", 6), ("lbfgs", 7), ("lbfgs", 8), ("lbfgs", 10), ("adam", 7), ("adam", 11)]
)
def test_an_interrupted_run_goes_on_bit_for_bit(
    optimizer: str, stop: int, settings: OptimizeSettings, photo: Frame, painting: Frame, tmp_path: Path
) -> None:
    # Sizes 24 and 48 with nine and four steps; VGG-19 has the last seven: three of the small, all of the large.
    settings = replace(settings, optimizer=optimizer, size=48, pyramid_levels=2, steps=9, fine_tune_steps=7)
    evaluate, count = PixelObjective.evaluate, iter(range(1, 1000))

    def evaluate_so(objective: PixelObjective, image: torch.Tensor):
        if next(count) == stop:
            raise KeyboardInterrupt
        return evaluate(objective, image)

    whole = optimize(photo, painting, settings)
    assert [step.fine_tune for step in whole.history] == [False] * 6 + [True] * 7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PixelObjective, "evaluate", evaluate_so)
        assert optimize(photo, painting, settings, log_dir=tmp_path).interrupted
    rest = optimize(photo, painting, settings, log_dir=tmp_path, resume=True)
    assert losses_of(rest) == losses_of(whole)
    assert np.array_equal(rest.frame, whole.frame)


def test_a_polished_run_cannot_be_lengthened(
    settings: OptimizeSettings, photo: Frame, painting: Frame, tmp_path: Path
) -> None:
    optimize(photo, painting, settings, log_dir=tmp_path)
    with pytest.raises(CheckpointError, match="was made with --steps 9, now it is 12; give the same"):
        optimize(photo, painting, replace(settings, steps=12), log_dir=tmp_path, resume=True)


def test_weights_that_are_not_there_are_told_before_the_work(
    settings: OptimizeSettings, photo: Frame, painting: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no way out")

    monkeypatch.setattr("fastnst.io.addresses.urlopen", refuse)
    monkeypatch.setattr("fastnst.io.addresses.PAUSES_S", ())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FASTNST_LOSS_WEIGHTS", raising=False)
    seen: list[OptimizeProgress] = []
    with pytest.raises(
        WeightsError, match=r"weights of vgg19-caffe could not be fetched .* --fine-tune-weights FILE or"
    ):
        optimize(photo, painting, replace(settings, fine_tune_weights=None), callback=seen.append)
    with pytest.raises(WeightsError, match=r"gone.pth: no such file; expected the weights of vgg19-caffe"):
        optimize(photo, painting, replace(settings, fine_tune_weights=Path("gone.pth")), callback=seen.append)
    assert seen == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"loss_network": "vgg19", "fine_tune_steps": 30},
            "--fine-tune-steps 30 goes with --loss-network compact, not vgg19",
        ),
        (
            {"loss_network": "compact", "steps": 30, "fine_tune_steps": 30},
            "--fine-tune-steps is 30 of --steps 30; expected fewer",
        ),
        ({"loss_network": "compact", "fine_tune_steps": -1}, "--fine-tune-steps is -1; expected at least 0"),
    ],
)
def test_impossible_polish(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        OptimizeSettings(**changes)


def test_forgetting_begins_lbfgs_anew_and_keeps_adams_rate() -> None:
    descent, image = LBFGSDescent(), torch.full((1, 3, 4, 6), 0.5)
    for gradient in (0.2, 0.1, 0.05):
        image = descent.propose(image, 1.0, torch.full_like(image, gradient))
    descent.forget()
    # A loss ten times as high is no rise: it is another loss.
    assert torch.allclose(descent.propose(image, 10.0, torch.ones_like(image)), image - 1 / 255)
    # From 0.03 to 0.01 over two updates; the third has a gradient of the other sign, and no memory.
    descent, image = AdamDescent(0.03, 0.01, 2), torch.full((1, 3, 4, 6), 0.5)
    for _ in range(2):
        image = descent.propose(image, 1.0, torch.ones_like(image))
    descent.forget()
    assert torch.allclose(descent.propose(image, 1.0, -torch.ones_like(image)), image + 0.01)
