from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from fastnst.errors import SettingError
from fastnst.losses.perceptual import LossTerms, PerceptualLoss, of_each_image
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import VGGFeatures

LAYERS = ("relu1_1", "relu2_1")
SETTINGS = LossSettings(content_layers=LAYERS, style_layers=LAYERS, precision="float32")

# Two layers of two channels, of unequal sizes: a of 1 x 2 pixels, b of 1 x 3.
GIVEN = {
    "relu1_1": torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]]),
    "relu2_1": torch.tensor([[[[1.0, 0.0, 2.0]], [[0.0, 3.0, 0.0]]]]),
}
REFERENCE = {
    "relu1_1": torch.tensor([[[[1.0, 0.0]], [[2.0, 2.0]]]]),
    "relu2_1": torch.tensor([[[[0.0, 0.0, 2.0]], [[0.0, 0.0, 1.0]]]]),
}


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


def test_balanced_content_by_hand() -> None:
    # a: differences 0 2 1 -2, 9 over the reference's energy 1 + 4 + 4 = 9.
    # b: differences 1 0 0 0 3 -1, 11 over 4 + 1 = 5.
    assert_close(loss().content_term(GIVEN, REFERENCE), torch.tensor([(9 / 9 + 11 / 5) / 2]))


def test_paper_content_by_hand() -> None:
    # Gatys et al. (2016), eq. 1: half the sum of squares, of each layer; their mean.
    assert_close(loss(normalization="paper").content_term(GIVEN, REFERENCE), torch.tensor([(9 / 2 + 11 / 2) / 2]))


# Gram matrices: a given [[5, 3], [3, 9]] / 2, reference [[1, 2], [2, 8]] / 2; difference [[4, 1], [1, 1]] / 2.
# b given [[5, 0], [0, 9]] / 3, reference [[4, 2], [2, 1]] / 3; difference [[1, -2], [-2, 8]] / 3.
def test_balanced_style_by_hand() -> None:
    style = loss().style_of(REFERENCE)
    expected = (19 / (1 + 4 + 4 + 64) + 73 / (16 + 4 + 4 + 1)) / 2
    assert_close(loss().style_term(GIVEN, style), torch.tensor([expected]))


def test_paper_style_by_hand() -> None:
    # Gatys et al. (2016), eq. 4: N = 2 channels, M = 2 and 3 pixels; the sums are of matrices times M.
    paper = loss(normalization="paper")
    expected = (19 / (4 * 2**2 * 2**2) + 73 / (4 * 2**2 * 3**2)) / 2
    assert_close(paper.style_term(GIVEN, paper.style_of(REFERENCE)), torch.tensor([expected]))


def test_covariance_style_by_hand() -> None:
    # Of layer a alone. Means 1.5 1.5 and 0.5 2; covariances [[.25, -.75], [-.75, 2.25]] and [[.25, 0], [0, 0]].
    covariance = loss(style_statistic="covariance", style_layers=("relu1_1",))
    style = covariance.style_of(REFERENCE)
    matrices = 2 * 0.75**2 + 2.25**2, 0.25**2
    means = 1 + 0.5**2, 0.5**2 + 2**2
    expected = (matrices[0] / matrices[1] + means[0] / means[1]) / 2
    assert_close(covariance.style_term(GIVEN, style), torch.tensor([expected]))
    paper = replace_settings(covariance, normalization="paper")
    assert_close(paper.style_term(GIVEN, style), torch.tensor([(matrices[0] + means[0]) / 16]))


def replace_settings(given: PerceptualLoss, **changes: object) -> PerceptualLoss:
    return PerceptualLoss(given.network, replace(given.settings, **changes))


def test_smoothness_by_hand() -> None:
    # Three channels with the differences 0.5 across, 0.5 and 0 down ... of [[0, 0.5], [0.5, 0.5]]: 0.5 0 0.5 0.
    image = torch.tensor([[0.0, 0.5], [0.5, 0.5]]).expand(1, 3, 2, 2)
    assert_close(loss(tv_kind="l1").smoothness_term(image), torch.tensor([3 * 1.0 / 12]))
    assert_close(loss(tv_kind="squared").smoothness_term(image), torch.tensor([3 * 0.5 / 12]))
    # paper: sums, of pixels in 0..255.
    assert_close(loss(tv_kind="l1", normalization="paper").smoothness_term(image), torch.tensor([3 * 255.0]))
    expected = torch.tensor([3 * 2 * 127.5**2])
    assert_close(loss(tv_kind="squared", normalization="paper").smoothness_term(image), expected)


def test_smoothness_of_one_pixel_is_zero() -> None:
    assert loss().smoothness_term(torch.rand(1, 3, 1, 1)).item() == 0


def test_total_is_the_weighted_sum(image: Tensor, other: Tensor) -> None:
    judged = loss(content_weight=2.0, style_weight=3.0, tv_weight=5.0)
    terms = judged.terms(image, judged.measure_content(other), judged.measure_style(other)).floats()
    assert list(terms) == ["total", "content", "style", "total_variation"]
    expected = 2 * terms["content"] + 3 * terms["style"] + 5 * terms["total_variation"]
    assert terms["total"] == pytest.approx(expected)
    assert min(terms.values()) > 0


def test_loss_of_a_batch_is_the_mean(image: Tensor, other: Tensor) -> None:
    judged = loss(tv_weight=1.0)
    style = judged.measure_style(other)
    whole = judged.terms(image, judged.measure_content(other), style).floats()
    halves = [judged.terms(half, judged.measure_content(other), style).floats() for half in image.split(1)]
    for name, value in whole.items():
        assert value == pytest.approx((halves[0][name] + halves[1][name]) / 2)


def test_each_image_of_a_batch_has_its_own_content(image: Tensor, other: Tensor) -> None:
    judged = loss()
    terms = judged.terms(image, judged.measure_content(image), judged.measure_style(other))
    assert terms.content.item() == 0
    assert terms.style.item() > 0


def test_loss_of_the_style_picture_is_zero_whatever_its_size(other: Tensor) -> None:
    for statistic in ("gram", "covariance"):
        judged = loss(style_statistic=statistic)
        terms = judged.terms(
            other.tile(1, 1, 2, 3), judged.measure_content(other.tile(1, 1, 2, 3)), judged.measure_style(other)
        )
        assert terms.style.item() < 1e-10


def test_balanced_loss_ignores_the_scale_of_the_features(image: Tensor, other: Tensor) -> None:
    judged = loss()
    near, far = ({name: value * factor for name, value in Pyramid()(image).items()} for factor in (1, 50))
    near_other, far_other = ({name: value * factor for name, value in Pyramid()(other).items()} for factor in (1, 50))
    assert_close(judged.content_term(near, near_other), judged.content_term(far, far_other))
    assert_close(
        judged.style_term(near, judged.style_of(near_other)), judged.style_term(far, judged.style_of(far_other))
    )


def test_references_carry_no_gradient(image: Tensor) -> None:
    image.requires_grad_()
    judged = loss(style_statistic="covariance")
    assert not any(value.requires_grad for value in judged.measure_content(image).values())
    assert not any(value.requires_grad for parts in judged.measure_style(image).values() for value in parts)
    assert not any(value.requires_grad for value in judged.content_of(judged.features(image)).values())


@pytest.mark.parametrize("statistic", ["gram", "covariance"])
@pytest.mark.parametrize("normalization", ["balanced", "paper"])
def test_gradients(statistic: str, normalization: str) -> None:
    judged = loss(style_statistic=statistic, normalization=normalization)
    given = [value.double().requires_grad_() for value in GIVEN.values()]
    reference = {name: value.double() for name, value in REFERENCE.items()}
    style = judged.style_of(reference)

    def weighed(*values: Tensor) -> Tensor:
        features = dict(zip(LAYERS, values, strict=True))
        return judged.content_term(features, reference) + 3 * judged.style_term(features, style)

    assert torch.autograd.gradcheck(weighed, given)


def test_gradient_reaches_the_pixels(image: Tensor, other: Tensor) -> None:
    judged = loss(tv_weight=0.1)
    content, style = judged.measure_content(image), judged.measure_style(other)
    pixels = image.roll(1, dims=3).requires_grad_()
    (gradient,) = torch.autograd.grad(judged.terms(pixels, content, style).total, pixels)
    step = 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        rise = judged.terms(pixels + step, content, style).total - judged.terms(pixels - step, content, style).total
    assert rise.item() == pytest.approx(2e-3 * gradient.norm().item(), rel=1e-2)


def test_formulas_are_computed_in_float32_under_autocast(image: Tensor, other: Tensor) -> None:
    judged = loss()
    plain = judged.terms(image, judged.measure_content(other), judged.measure_style(other))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        style = judged.measure_style(other)
        terms = judged.terms(image, judged.measure_content(other), style)
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
        terms = judged.terms(image, judged.measure_content(other), judged.measure_style(other))
        assert isinstance(terms, LossTerms)
        assert getattr(terms, missing).item() == 0
        assert getattr(terms, kept).item() > 0


def test_layers_not_asked_for_play_no_part() -> None:
    near = loss(style_layers=("relu1_1",), content_layers=("relu1_1",))
    spoilt = {"relu1_1": GIVEN["relu1_1"], "relu2_1": GIVEN["relu2_1"] * 100}
    assert near.content_term(spoilt, REFERENCE).item() == pytest.approx(1)
    assert near.style_term(spoilt, near.style_of(REFERENCE)).item() == pytest.approx(19 / 73)


@pytest.mark.parametrize("layers", [(), ("relu9_9",)])
def test_network_refuses_unusable_layers(layers: tuple[str, ...]) -> None:
    with pytest.raises(SettingError):
        VGGFeatures("vgg19", layers)


def test_pictures_have_their_own_styles_and_weights(image: Tensor, other: Tensor) -> None:
    perceptual = loss()
    second = torch.rand(1, 3, 8, 6, generator=torch.Generator().manual_seed(2))
    styles = perceptual.measure_styles([other, second])
    content = perceptual.measure_content(image.flip(0))
    together = perceptual.terms(image, content, of_each_image(styles, torch.tensor([1, 0])), torch.tensor([0.25, 4.0]))
    alone = [
        perceptual.terms(
            image[place : place + 1],
            {layer: value[place : place + 1] for layer, value in content.items()},
            perceptual.measure_style(style),
        )
        for place, style in enumerate((second, other))
    ]
    assert_close(together.content, (alone[0].content + alone[1].content) / 2)
    assert_close(together.style, (alone[0].style + alone[1].style) / 2)
    weighed = (
        SETTINGS.content_weight * together.content
        + SETTINGS.style_weight * (0.25 * alone[0].style + 4 * alone[1].style) / 2
    )
    assert_close(together.total, weighed)
