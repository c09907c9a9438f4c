from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from fastnst.losses.perceptual import PerceptualLoss, loss_terms, of_each_image
from fastnst.losses.settings import LossSettings
from fastnst.losses.terms import JudgedImages, LossTerm, Positions, StyleReference, StyleTarget
from fastnst.losses.vgg import Features, VGGFeatures

LAYERS = ("relu1_1", "relu2_1")
SETTINGS = LossSettings(content_layers=LAYERS, style_layers=LAYERS, precision="float32")


class Pyramid(nn.Module):
    """A loss network of two layers: the image itself, and its halves' means."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"relu1_1": image, "relu2_1": nn.functional.avg_pool2d(image, 2)}


def loss(**changes: object) -> PerceptualLoss:
    return PerceptualLoss(Pyramid(), replace(SETTINGS, **changes))


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def other() -> Tensor:
    return torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(1))


def test_total_is_the_weighted_sum(image: Tensor, other: Tensor) -> None:
    judged = loss(content_weight=2.0, style_weight=3.0, tv_weight=5.0)
    terms = judged(image, judged.measure_content(other), judged.measure_style(other)).floats()
    assert list(terms) == ["total", "content", "style", "total_variation"]
    expected = 2 * terms["content"] + 3 * terms["style"] + 5 * terms["total_variation"]
    assert terms["total"] == pytest.approx(expected)
    assert min(terms.values()) > 0


def test_loss_of_a_batch_is_the_mean(image: Tensor, other: Tensor) -> None:
    judged = loss(tv_weight=1.0)
    style = judged.measure_style(other)
    whole = judged(image, judged.measure_content(other), style).floats()
    halves = [judged(half, judged.measure_content(other), style).floats() for half in image.split(1)]
    for name, value in whole.items():
        assert value == pytest.approx((halves[0][name] + halves[1][name]) / 2)


def test_each_image_of_a_batch_has_its_own_content(image: Tensor, other: Tensor) -> None:
    judged = loss()
    terms = judged(image, judged.measure_content(image), judged.measure_style(other))
    assert terms.values["content"].item() == 0
    assert terms.values["style"].item() > 0


def test_loss_of_the_style_picture_is_zero_whatever_its_size(other: Tensor) -> None:
    for statistic in ("gram", "covariance"):
        judged = loss(style_statistic=statistic)
        terms = judged(
            other.tile(1, 1, 2, 3), judged.measure_content(other.tile(1, 1, 2, 3)), judged.measure_style(other)
        )
        assert terms.values["style"].item() < 1e-10


def test_references_carry_no_gradient(image: Tensor) -> None:
    image.requires_grad_()
    judged = loss(style_statistic="covariance")
    assert not any(value.requires_grad for value in judged.measure_content(image).values())
    assert not any(value.requires_grad for parts in judged.measure_style(image).values() for value in parts)


def test_gradient_reaches_the_pixels(image: Tensor, other: Tensor) -> None:
    judged = loss(tv_weight=0.1)
    content, style = judged.measure_content(image), judged.measure_style(other)
    pixels = image.roll(1, dims=3).requires_grad_()
    (gradient,) = torch.autograd.grad(judged(pixels, content, style).total, pixels)
    step = 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        rise = judged(pixels + step, content, style).total - judged(pixels - step, content, style).total
    assert rise.item() == pytest.approx(2e-3 * gradient.norm().item(), rel=1e-2)


def test_formulas_are_computed_in_float32_under_autocast(image: Tensor, other: Tensor) -> None:
    judged = loss()
    plain = judged(image, judged.measure_content(other), judged.measure_style(other))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        style = judged.measure_style(other)
        terms = judged(image, judged.measure_content(other), style)
    assert all(value.dtype == torch.float32 for parts in style.values() for value in parts)
    # The pyramid computes nothing that bfloat16 would blur, so that the formulas alone would show it.
    assert terms.floats() == plain.floats()


def test_features_are_float32_under_autocast(image: Tensor) -> None:
    judged = PerceptualLoss(VGGFeatures("vgg16", ["relu1_1"]), replace(SETTINGS, content_layers=("relu1_1",)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert judged.network(image)["relu1_1"].dtype == torch.bfloat16
        assert judged.features(image)["relu1_1"].dtype == torch.float32


def test_a_term_without_layers_is_zero(image: Tensor, other: Tensor) -> None:
    for missing, kept in (("content", "style"), ("style", "content")):
        judged = loss(**{f"{missing}_layers": ()})
        terms = judged(image, judged.measure_content(other), judged.measure_style(other))
        assert terms.values[missing].item() == 0
        assert terms.values[kept].item() > 0


def test_pictures_have_their_own_styles_and_weights(image: Tensor, other: Tensor) -> None:
    perceptual = loss()
    second = torch.rand(1, 3, 8, 6, generator=torch.Generator().manual_seed(2))
    styles = perceptual.measure_styles([other, second])
    content = perceptual.measure_content(image.flip(0))
    together = perceptual(image, content, of_each_image(styles, torch.tensor([1, 0])), torch.tensor([0.25, 4.0]))
    alone = [
        perceptual(
            image[place : place + 1],
            {layer: value[place : place + 1] for layer, value in content.items()},
            perceptual.measure_style(style),
        )
        for place, style in enumerate((second, other))
    ]
    assert_close(together.values["content"], (alone[0].values["content"] + alone[1].values["content"]) / 2)
    assert_close(together.values["style"], (alone[0].values["style"] + alone[1].values["style"]) / 2)
    weighed = (
        SETTINGS.content_weight * together.values["content"]
        + SETTINGS.style_weight * (0.25 * alone[0].values["style"] + 4 * alone[1].values["style"]) / 2
    )
    assert_close(together.total, weighed)


@dataclass(frozen=True)
class BrightnessLoss(LossTerm):
    """A term that this package does not have: squared difference of mean levels."""

    name = "brightness"
    follows_strength = True

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        return {"level": (style.image.mean(dim=(1, 2, 3)),)}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:
        levels = judged.image.mean(dim=(1, 2, 3))
        return sum(target.weight * (levels - target.reference["level"][0]).square() for target in styles)


def test_a_further_term_is_measured_weighed_and_named(image: Tensor, other: Tensor) -> None:
    usual = loss()
    judged = PerceptualLoss(Pyramid(), SETTINGS, [*loss_terms(SETTINGS), BrightnessLoss(7.0)])
    dark, light = torch.full((1, 3, 6, 8), 0.25), torch.full((1, 3, 6, 8), 0.75)
    styles = judged.measure_styles([dark, light])
    flat = torch.cat([dark, dark])
    content, factors = judged.measure_content(image), torch.tensor([1.0, 0.5])
    losses = judged(flat, content, of_each_image(styles, torch.tensor([0, 1])), factors)
    # Off by 0 and by 0.5; the second counts half in the sum.
    assert losses.values["brightness"].item() == pytest.approx(0.25 / 2)
    without = usual(flat, content, of_each_image(styles, torch.tensor([0, 1])), factors)
    assert losses.total.item() == pytest.approx(without.total.item() + 7 * 0.5 * 0.25 / 2)


def test_one_more_term_is_added_to_the_sum(image: Tensor, other: Tensor) -> None:
    judged = loss()
    losses = judged(image, judged.measure_content(other), judged.measure_style(other))
    more = losses.plus("temporal", torch.tensor(0.5), 4.0)
    assert more.floats()["total"] == pytest.approx(losses.floats()["total"] + 2)
    assert list(more.floats()) == ["total", "content", "style", "total_variation", "temporal"]
    assert "temporal" not in losses.values
