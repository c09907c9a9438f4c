import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fastnst.errors import SettingError
from fastnst.exact.engine import optimize
from fastnst.exact.objective import Subject, pilot_side, weigh
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame, read_frame
from fastnst.losses.perceptual import PerceptualLoss, search_style_weight
from fastnst.losses.vgg import VGGFeatures
from fastnst.losses.weights import load_loss_network

CPU = torch.device("cpu")


@pytest.fixture
def settings(small: OptimizeSettings) -> OptimizeSettings:
    return replace(small, steps=30, size=32)


@pytest.fixture
def frames(photos: Path, style_picture: Path) -> list[Frame]:
    return [*(read_frame(photos / f"photo{number}.png") for number in range(4)), read_frame(style_picture)]


@pytest.mark.parametrize("power", [0.2, 0.4, 1.0])
@pytest.mark.parametrize("start", [1e-3, 5.0, 1e6])
def test_search_finds_the_weight_of_a_power_law(power: float, start: float) -> None:
    tried: list[float] = []

    def lost(weight: float) -> float:
        tried.append(weight)
        return 0.1 * weight**power

    found = search_style_weight(lost, 0.4, start)
    assert abs(math.log(lost(found) / 0.4)) <= min(abs(math.log(0.1 * weight**power / 0.4)) for weight in tried) + 1e-9
    # The right weight is 4^(1/power); two tries give the power, the third is it, where no jump was cut short.
    if start == 5.0:
        assert lost(found) == pytest.approx(0.4, rel=0.05)
        assert len(tried) <= 5


def test_search_keeps_the_best_and_survives_noise_and_nothing_lost() -> None:
    tried: list[float] = []

    def lost(weight: float) -> float:
        tried.append(weight)
        return 0.3 * weight / (weight + 1)

    assert search_style_weight(lost, 0.9, 1.0) == max(tried)
    values = iter([0.5, 0.6, 0.0, 0.45])
    assert search_style_weight(lambda weight: next(values), 0.4, 5.0) > 0


@pytest.mark.parametrize("normalization", ["balanced", "paper"])
def test_the_same_strength_gives_up_as_much_with_every_style(
    normalization: str, settings: OptimizeSettings, frames: list[Frame]
) -> None:
    asked = replace(settings, content_target=0.3, normalization=normalization, steps=60)
    lost = []
    for style in (frames[1], frames[4] // 3):
        result = optimize(frames[0], style, asked)
        subject = Subject(frames[0], style, asked)
        network, _ = load_loss_network(asked)
        objective = subject.objective(PerceptualLoss(network, asked), 32, CPU, None)
        assert result.style_weight > 0
        lost.append(objective.content_lost(torch.from_numpy(result.frame / 255).permute(2, 0, 1)[None].float()))
    assert max(lost) < 1.25 * min(lost)
    assert lost == pytest.approx([0.3] * 2, rel=0.3)


def test_more_strength_loses_more(settings: OptimizeSettings, frames: list[Frame]) -> None:
    weak, strong = (
        weigh_pair(replace(settings, content_target=strength), frames[0], frames[4]) for strength in (0.1, 0.6)
    )
    assert weak < strong / 4


def weigh_pair(settings: OptimizeSettings, photo: Frame, style: Frame) -> float:
    network, _ = load_loss_network(settings)
    return weigh(Subject(photo, style, settings), network, settings, CPU, None).style_weight


def test_pilots_aim_higher_since_content_comes_back(
    settings: OptimizeSettings, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[float] = []

    def noted(lost: object, aim: float, weight: float) -> float:
        wanted.append(aim)
        return weight

    monkeypatch.setattr("fastnst.exact.objective.search_style_weight", noted)
    weigh_pair(replace(settings, content_target=0.25), *frames[:2])
    assert wanted == [pytest.approx(0.3)]


def test_strength_replaces_the_weights_and_is_used_up(settings: OptimizeSettings, frames: list[Frame]) -> None:
    network, _ = load_loss_network(settings)
    assert weigh(Subject(*frames[:2], settings), network, settings, CPU, None) is settings
    network, _ = load_loss_network(settings)
    asked = replace(settings, content_target=0.3, content_weight=0.0, style_weight=0.0, tv_weight=1.0)
    found = weigh(Subject(*frames[:2], asked), network, asked, CPU, None)
    assert found.content_target is None
    assert (found.content_weight, found.tv_weight) == (1.0, 1.0)
    assert found.style_weight > 0


def test_pilots_are_large_enough_for_narrow_pictures(settings: OptimizeSettings, frames: list[Frame]) -> None:
    network = VGGFeatures("vgg19", ["relu5_1"])
    ribbon = np.zeros((40, 400, 3), np.uint8)
    large = replace(settings, size=1024)
    assert pilot_side(Subject(frames[0], frames[1], large), network, 1024) == 128
    side = pilot_side(Subject(ribbon, frames[1], large), network, 1024)
    assert side / 10 >= 4 * network.smallest_side
    assert pilot_side(Subject(ribbon, frames[1], large), network, 200) == 200
    assert pilot_side(Subject(frames[0], frames[1], settings), network, 32) == 32


@pytest.mark.parametrize("layers", ["content_layers", "style_layers"])
def test_strength_wants_both_terms(layers: str, settings: OptimizeSettings, frames: list[Frame]) -> None:
    with pytest.raises(SettingError, match="--content-target weighs style against content; give layers for both"):
        optimize(*frames[:2], replace(settings, content_target=0.5, **{layers: ()}))


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.5, math.nan])
def test_impossible_strengths(strength: float) -> None:
    with pytest.raises(SettingError, match=r"--content-target is .*; expected a number above 0, up to 1"):
        OptimizeSettings(content_target=strength)
