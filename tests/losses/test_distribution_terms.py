"""The terms that compare distributions, through a loss network of two layers: the image, and its halves' means."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fastnst.errors import SettingError
from fastnst.losses.perceptual import PerceptualLoss, of_each_image
from fastnst.losses.settings import LossSettings

LAYERS = ("relu1_1", "relu2_1")
SETTINGS = LossSettings(
    content_layers=LAYERS,
    style_layers=LAYERS,
    precision="float32",
    style_statistic="distribution",
    color_weight=0.5,
    detail_weight=0.5,
    pattern_weight=0.5,
)


class TwoLayers(nn.Module):
    smallest_side = 2

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"relu1_1": image, "relu2_1": nn.functional.avg_pool2d(image, 2)}


def loss(**changes: object) -> PerceptualLoss:
    return PerceptualLoss(TwoLayers(), replace(SETTINGS, **changes))


def picture(seed: int, side: int = 96, channels: int = 3) -> Tensor:
    """Blurred noise, so that it has detail of several sizes."""
    drawn = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(seed))
    coarse = nn.functional.interpolate(drawn[..., ::8, ::8], size=(side, side), mode="bilinear")
    return 0.5 * drawn + 0.5 * coarse


@pytest.fixture
def painting() -> Tensor:
    return picture(1)


def values(judge: PerceptualLoss, image: Tensor, painting: Tensor) -> dict[str, float]:
    return judge(image, judge.measure_content(image), judge.measure_style(painting)).floats()


def test_the_painting_itself_costs_nothing(painting: Tensor) -> None:
    losses = values(loss(), painting, painting)
    assert list(losses) == ["total", "content", "style", "color", "detail", "pattern", "total_variation"]
    assert max(losses[name] for name in ("total", "style", "color", "detail", "pattern")) < 1e-3


def test_weights_are_parts_of_the_style_weight(painting: Tensor) -> None:
    losses = values(loss(style_weight=4.0, color_weight=0.25), picture(2), painting)
    parts = losses["style"] + 0.25 * losses["color"] + 0.5 * losses["detail"] + 0.5 * losses["pattern"]
    assert losses["total"] == pytest.approx(losses["content"] + 4 * parts, rel=1e-5)


def test_terms_without_weight_are_left_out(painting: Tensor) -> None:
    losses = values(loss(color_weight=0, detail_weight=0, pattern_weight=0), picture(2), painting)
    assert list(losses) == ["total", "content", "style", "total_variation"]


def test_a_paler_picture_costs_more_detail_and_style(painting: Tensor) -> None:
    judge = loss()
    pale, paler = (values(judge, 0.5 + (painting - 0.5) * depth, painting) for depth in (0.8, 0.5))
    assert 0 < pale["detail"] < paler["detail"]
    assert 0 < pale["style"] < paler["style"]


def test_contrast_is_wanted_whatever_the_arrangement(painting: Tensor) -> None:
    # The least of a Gram loss over contrasts lies below 1 where structures differ; that of these terms does not.
    other = picture(7)
    depths = [0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
    judge = loss(color_weight=0)
    costs = [values(judge, 0.5 + (other - 0.5) * depth, painting)["style"] for depth in depths]
    assert depths[costs.index(min(costs))] >= 0.9


def test_colors_that_are_exchanged_cost_color_though_their_spread_is_the_same(painting: Tensor) -> None:
    tinted = painting * torch.tensor([1.0, 0.6, 0.2])[:, None, None]
    judge = loss()
    assert values(judge, tinted, tinted)["color"] < 1e-5
    assert values(judge, tinted.flip(1), tinted)["color"] > 0.5


def test_the_photo_excuses_its_own_pattern(painting: Tensor) -> None:
    stripes = 0.3 * torch.sin(2 * torch.pi / 6 * torch.arange(96.0)).expand(1, 3, 96, 96)
    judge = loss()
    reference, striped = judge.measure_style(painting), (painting + stripes).clamp(0, 1)
    of_stripes = judge(striped, judge.measure_content(striped), reference).floats()["pattern"]
    of_plain = judge(striped, judge.measure_content(painting), reference).floats()["pattern"]
    assert of_stripes == 0
    assert of_plain > 0.1


def test_each_image_of_a_batch_has_its_own_style() -> None:
    judge = loss()
    first, second = picture(1), picture(2) ** 3
    styles = of_each_image(judge.measure_styles([first, second]), torch.tensor([1, 0]))
    images = torch.cat([second, first])
    assert judge(images, judge.measure_content(images), styles).floats()["total"] < 1e-3


def test_a_part_drawn_at_random_judges_about_as_all_do_and_the_same_again(painting: Tensor) -> None:
    judge, image = loss(), picture(2) ** 2
    content, style = judge.measure_content(image), judge.measure_style(painting)

    def drawn(seed: int) -> float:
        return judge(image, content, style, generator=torch.Generator().manual_seed(seed)).floats()["style"]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    mean = sum(drawn(seed) for seed in range(20)) / 20
    assert mean == pytest.approx(judge(image, content, style).floats()["style"], rel=0.1)


def test_gradients_reach_the_pixels(painting: Tensor) -> None:
    judge = loss()
    content, style = judge.measure_content(painting), judge.measure_style(painting)
    pixels = picture(2).requires_grad_()
    (gradient,) = torch.autograd.grad(judge(pixels, content, style).total, pixels)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        rise = judge(pixels + step, content, style).total - judge(pixels - step, content, style).total
    assert rise.item() == pytest.approx(2e-2 * gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"style_scales": (1, 2)}, "3 weights for 2 --style-scales"),
        ({"style_scales": (1, 2, 2)}, "expected different whole numbers"),
        ({"normalization": "paper"}, "balanced, not paper"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        loss(**changes)


def test_regions_are_refused(painting: Tensor) -> None:
    with pytest.raises(SettingError, match="compare whole pictures"):
        loss().measure_regions(painting, [{"relu1_1": torch.arange(4), "relu2_1": torch.arange(2)}])


def test_a_picture_narrower_than_the_largest_scale_is_judged() -> None:
    narrow = picture(1)[..., :3]
    losses = values(loss(pattern_weight=0), narrow, picture(2)[:, :, :3])
    assert all(math.isfinite(value) for value in losses.values())
