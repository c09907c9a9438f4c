import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fastnst.errors import SettingError
from fastnst.io.images import Frame, read_frame
from fastnst.io.tensors import to_image
from fastnst.losses.vgg import LossNetwork
from fastnst.losses.weights import load_loss_network
from fastnst.training import engine, setup
from fastnst.training.engine import TrainCallbacks
from fastnst.training.settings import TrainSettings
from fastnst.training.setup import find_style_weight


@pytest.fixture
def settings(tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    """What is tried is painted in a quarter of the steps."""
    monkeypatch.setattr(setup, "STEPS", setup.STEPS // 4)
    layers = {"content_layers": ("relu2_1",), "style_layers": ("relu1_1", "relu2_1")}
    return dataclasses.replace(
        tiny, **layers, style_weight="auto", steps=2, batch_size=1, preview_every=250, style_size=48
    )


@pytest.fixture
def network(settings: TrainSettings) -> LossNetwork:
    return load_loss_network(settings)[0]


@pytest.fixture
def images(photos: Path) -> torch.Tensor:
    return torch.cat([to_image(read_frame(photos / f"photo{i}.png")[:32, :32]) for i in range(2)])


def test_the_weight_found_makes_small_paintings_lose_what_was_asked_for(
    settings: TrainSettings, network: LossNetwork, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[tuple[float, float]] = []
    search = setup.search_style_weight

    def watched(lost, wanted: float, weight: float) -> float:  # type: ignore[no-untyped-def]
        def noted(tried: float) -> float:
            tries.append((tried, lost(tried)))
            return tries[-1][1]

        assert wanted == pytest.approx(0.3 / setup.EXCESS)
        return search(noted, wanted, weight)

    monkeypatch.setattr(setup, "search_style_weight", watched)
    goal = dataclasses.replace(settings, content_target=0.3)
    found = find_style_weight(network, goal, [read_frame(settings.style[0])], images, None)
    assert found == min(tries, key=lambda one: abs(np.log(one[1] / (0.3 / setup.EXCESS))))[0]
    # More weight, more content lost.
    tries.sort()
    assert [lost for _, lost in tries] == sorted(lost for _, lost in tries)


def test_paintings_of_other_contrast_get_other_weights_and_a_lower_goal_takes_less_style(
    settings: TrainSettings, network: LossNetwork, images: torch.Tensor
) -> None:
    style: Frame = read_frame(settings.style[0])
    before = images.clone()
    faint = (style.astype(int) // 4 + 96).astype(np.uint8)
    found = [find_style_weight(network, settings, [picture], images, None) for picture in (style, faint)]
    assert abs(np.log(found[0] / found[1])) > 0.1
    two = dataclasses.replace(settings, style=(*settings.style, Path("faint.png")))
    both = find_style_weight(network, two, [style, faint], images, None)
    assert both == pytest.approx((found[0] * found[1]) ** 0.5, rel=1e-3)
    lower = dataclasses.replace(settings, content_target=settings.content_target / 4)
    assert find_style_weight(network, lower, [style], images, None) < found[0]
    assert torch.equal(images, before)  # the photos are left as they are
    assert not images.requires_grad


def test_losses_that_are_not_relative_are_refused(
    settings: TrainSettings, network: LossNetwork, images: torch.Tensor
) -> None:
    paper = dataclasses.replace(settings, normalization="paper")
    with pytest.raises(SettingError, match="auto needs --normalization balanced"):
        find_style_weight(network, paper, [read_frame(settings.style[0])], images, None)


def test_training_finds_the_weight_once_and_keeps_it(
    settings: TrainSettings,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train_until: Callable[..., None],
) -> None:
    found = []
    monkeypatch.setattr("fastnst.training.setup.find_style_weight", lambda *given: found.append(given) or 7.5)
    notes: list[str] = []
    train_until(settings, tmp_path, at=2, on_note=notes.append)
    assert notes == ["Style weight 7.5, found for a content loss of 0.6."]
    seen: list[dict[str, float]] = []
    calls = TrainCallbacks(on_step=lambda progress: seen.append(progress.losses))
    result = engine.run_training(settings, photos, tmp_path, resume=True, callbacks=calls)
    assert (len(found), result.style_weight) == (1, 7.5)
    for losses in seen:
        expected = losses["content"] + 7.5 * losses["style"] + 1000 * losses["checkerboard"]
        assert losses["total"] == pytest.approx(expected, rel=1e-5)
    assert seen


@pytest.mark.parametrize("goal", [0.0, 1.0, -1.0])
def test_a_goal_that_makes_no_sense_is_refused(settings: TrainSettings, goal: float) -> None:
    with pytest.raises(SettingError, match="--content-target"):
        dataclasses.replace(settings, content_target=goal)
