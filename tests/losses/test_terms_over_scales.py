"""Style at several scales, detail, patterns and relief, through a loss network of two layers: image, and its half."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fastnst.errors import SettingError
from fastnst.losses.losses import covariance_matrix, relative_error
from fastnst.losses.perceptual import PerceptualLoss, of_each_image
from fastnst.losses.settings import LossSettings
from fastnst.losses.spectrum import COLOR_SCALE, LEAST_SPREAD, color_moments, luma_chroma, relief_loss, whitening

LAYERS = ("relu1_1", "relu2_1")
SETTINGS = LossSettings(
    content_layers=LAYERS,
    style_layers=LAYERS,
    precision="float32",
    style_statistic="covariance",
    style_scales=(1, 2, 4),
    color_weight=0.5,
    detail_weight=0.5,
    pattern_weight=0.5,
    relief_weight=0.5,
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
    assert list(losses) == ["total", "content", "style", "color", "detail", "pattern", "relief", "total_variation"]
    assert max(losses[name] for name in ("style", "color", "detail", "pattern", "relief")) < 1e-3


def test_weights_are_parts_of_the_style_weight(painting: Tensor) -> None:
    losses = values(loss(style_weight=4.0, detail_weight=0.25), picture(2), painting)
    parts = losses["style"] + 0.25 * losses["detail"] + 0.5 * (losses["color"] + losses["pattern"] + losses["relief"])
    assert losses["total"] == pytest.approx(losses["content"] + 4 * parts, rel=1e-5)


def test_terms_without_weight_are_left_out(painting: Tensor) -> None:
    losses = values(loss(color_weight=0, detail_weight=0, pattern_weight=0, relief_weight=0), picture(2), painting)
    assert list(losses) == ["total", "content", "style", "total_variation"]


def test_a_paler_picture_costs_more_detail_and_style(painting: Tensor) -> None:
    judge = loss()
    pale, paler = (values(judge, 0.5 + (painting - 0.5) * depth, painting) for depth in (0.8, 0.5))
    assert 0 < pale["detail"] < paler["detail"]
    assert 0 < pale["style"] < paler["style"]


def test_color_by_hand() -> None:
    """Colors that spread along red alone, and a picture of them twice as far from their mean."""
    side = COLOR_SCALE * torch.tensor([4, 4])
    painting = torch.full((1, 3, *side), 0.5)
    painting[:, 0, :, : int(side[1]) // 2], painting[:, 0, :, int(side[1]) // 2 :] = 0.4, 0.6
    mean, covariance = color_moments(painting)
    torch.testing.assert_close(mean, torch.tensor([[0.5, 0.5, 0.5]]))
    torch.testing.assert_close(covariance[0], torch.diag(torch.tensor([0.01, 0.0, 0.0])))
    whitened = whitening(covariance)[0] @ covariance[0] @ whitening(covariance)[0].T
    assert whitened.trace().item() == pytest.approx(1 / (1 + LEAST_SPREAD), rel=1e-3)
    wide = 0.5 + 2 * (painting - 0.5)
    # Four times the variance: three more than there should be, of one direction of three.
    expected = (3 / (1 + LEAST_SPREAD)) ** 2 / 3
    assert values(loss(), wide, painting)["color"] == pytest.approx(expected, rel=1e-2)


def test_every_direction_of_color_counts_alike(painting: Tensor) -> None:
    """A painting with little blue: a picture that lacks that little loses as much as one that lacks its lights."""
    levels = torch.tensor([1.0, 0.6, 0.35]).view(1, 3, 1, 1)
    drawn = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(5))
    seldom = 0.5 + levels * (nn.functional.interpolate(drawn, scale_factor=4) - 0.5)
    judge, lost = loss(), []
    for channel in range(3):
        flat = seldom.clone()
        flat[:, channel] = 0.5
        lost.append(values(judge, flat, seldom)["color"])
    assert min(lost) > 0.15
    assert max(lost) < 3 * min(lost)
    assert values(judge, painting, painting)["color"] == pytest.approx(0, abs=1e-6)


def test_fine_color_does_not_stand_for_that_of_strokes() -> None:
    stripes = torch.full((1, 3, 32, 32), 0.5)
    stripes[..., 0::2], stripes[..., 1::2] = 0.2, 0.8
    assert color_moments(stripes)[1].abs().max() < 1e-6


def test_fine_detail_is_wanted_whatever_the_arrangement(painting: Tensor) -> None:
    # The least of a covariance's error over contrasts lies below 1 where structures differ; that of detail does not.
    other = picture(7)
    depths = [0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
    judge = loss()
    costs = [values(judge, 0.5 + (other - 0.5) * depth, painting)["detail"] for depth in depths]
    assert depths[costs.index(min(costs))] >= 0.9


def test_scales_by_hand() -> None:
    # At scale s the layers are those of the picture averaged over s x s pixels; relu1_1 at scale 1 counts a tenth.
    settings = replace(SETTINGS, style_layer_weights=(2.0, 3.0), style_scale_weights=(1.0, 0.5, 0.25))
    image, style = picture(2), picture(1)

    def error(scale: int, layer: str) -> float:
        given, reference = (TwoLayers()(nn.functional.avg_pool2d(one, scale))[layer] for one in (image, style))
        parts = [(covariance_matrix(given), covariance_matrix(reference)), (given.mean((2, 3)), reference.mean((2, 3)))]
        return sum(relative_error(a, b).item() for a, b in parts) / 2

    wanted = sum(
        scale_weight * (finest * 2.0 * error(scale, "relu1_1") + 3.0 * error(scale, "relu2_1"))
        for scale, scale_weight, finest in ((1, 1.0, 0.1), (2, 0.5, 1.0), (4, 0.25, 1.0))
    )
    assert values(PerceptualLoss(TwoLayers(), settings), image, style)["style"] == pytest.approx(wanted, rel=1e-4)


def test_of_one_scale_every_layer_counts_in_full(painting: Tensor) -> None:
    halves = values(loss(style_scales=(1,), style_layers=("relu1_1",)), picture(2), painting)
    doubled = loss(style_scales=(1,), style_layers=("relu1_1",), style_layer_weights=(2.0,))
    assert values(doubled, picture(2), painting)["style"] == pytest.approx(2 * halves["style"])


def test_images_judged_together_are_as_one(painting: Tensor) -> None:
    # Two halves of a picture, neither of which has the painting's palette: the one above, the other below its mean.
    judge = loss(pattern_weight=0)
    bright, dark = painting[:, :, :48] * 0.5 + 0.5, painting[:, :, 48:] * 0.5
    style = judge.measure_style(torch.cat([bright, dark], dim=2))
    images = torch.cat([bright, dark])
    content = judge.measure_content(images)
    together = judge(images, content, style, together=True).floats()
    assert together["style"] < 1e-4
    assert judge(images, content, style).floats()["style"] > 0.1


def test_content_of_a_formula_in_units_is_a_mean_over_images_judged_together() -> None:
    judge = loss(
        normalization="johnson", style_scales=(1,), color_weight=0, detail_weight=0, pattern_weight=0, relief_weight=0
    )
    photos, style = torch.cat([picture(1), picture(2)]), judge.measure_style(picture(3))
    content = judge.measure_content(photos)
    apart, together = (
        judge(photos + torch.tensor([0.1, 0.3])[:, None, None, None], content, style, together=flag).floats()["content"]
        for flag in (False, True)
    )
    assert together == pytest.approx(apart, rel=1e-5)


def test_a_flat_image_may_have_less_detail_where_another_has_more(painting: Tensor) -> None:
    judge = loss()
    depths = torch.tensor([0.2, (2 - 0.2**2) ** 0.5])[:, None, None, None]  # their squares' mean is 1
    images = painting + (depths - 1) * (painting - painting.mean((2, 3), keepdim=True))
    content, style = judge.measure_content(images), judge.measure_style(painting)
    assert judge(images, content, style, together=True).floats()["detail"] < 1e-4
    assert judge(images, content, style).floats()["detail"] > 0.5


def test_a_plain_sky_counts_by_its_energy_where_images_are_judged_together() -> None:
    judge = loss()
    photos = torch.cat([picture(1), torch.full((1, 3, 96, 96), 0.01)])
    images = photos + 0.1
    apart, together = (
        judge(images, judge.measure_content(photos), judge.measure_style(picture(3)), together=flag).floats()["content"]
        for flag in (False, True)
    )
    assert apart > 10  # 100 times the plain one's energy
    assert together == pytest.approx(2 * 0.01 / (photos.square().mean((1, 2, 3)).sum()).item(), rel=0.05)


def test_the_photo_excuses_its_own_pattern(painting: Tensor) -> None:
    stripes = 0.3 * torch.sin(2 * torch.pi / 6 * torch.arange(96.0)).expand(1, 3, 96, 96)
    judge = loss()
    reference, striped = judge.measure_style(painting), (painting + stripes).clamp(0, 1)
    of_stripes = judge(striped, judge.measure_content(striped), reference).floats()["pattern"]
    of_plain = judge(striped, judge.measure_content(painting), reference).floats()["pattern"]
    assert of_stripes == 0
    assert of_plain > 0.1


def test_each_image_of_a_batch_has_its_own_style() -> None:
    judge = loss(relief_weight=0)
    first, second = picture(1), picture(2) ** 3
    styles = of_each_image(judge.measure_styles([first, second]), torch.tensor([1, 0]))
    images = torch.cat([second, first])
    assert judge(images, judge.measure_content(images), styles).floats()["total"] < 1e-3


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
        ({"style_scales": (1, 2), "style_scale_weights": (1.0,)}, "1 weights for 2 --style-scales"),
        ({"style_scales": (1, 2, 2)}, "expected different whole numbers"),
        ({"style_statistic": "sliced-wasserstein", "normalization": "paper"}, "balanced, not paper"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        loss(**changes)


def test_regions_are_refused(painting: Tensor) -> None:
    for changes in (
        {"color_weight": 0, "detail_weight": 0, "pattern_weight": 0, "relief_weight": 0},
        {"style_scales": (1,)},
    ):
        with pytest.raises(SettingError, match="compare whole pictures"):
            loss(**changes).measure_regions(painting, [{"relu1_1": torch.arange(4), "relu2_1": torch.arange(2)}])


def test_a_picture_narrower_than_the_largest_scale_is_judged() -> None:
    narrow = picture(1)[..., :3]
    losses = values(loss(pattern_weight=0), narrow, picture(2)[:, :, :3])
    assert all(math.isfinite(value) for value in losses.values())


def test_relief_is_the_photo_lit_from_one_side() -> None:
    photo = picture(1)
    luma = luma_chroma(photo)[:, :1]
    embossed = 0.5 + 0.25 * (luma.roll(1, dims=3) - luma.roll(-1, dims=3))
    assert relief_loss(embossed.expand(-1, 3, -1, -1), photo).item() > 0.1
    outlined = 0.5 + 0.25 * (2 * luma - luma.roll(1, dims=3) - luma.roll(-1, dims=3))
    for image in (photo, 1 - photo, picture(2), outlined.expand(-1, 3, -1, -1), torch.full_like(photo, 0.5)):
        assert relief_loss(image, photo).item() < 0.01


def test_relief_of_images_judged_together_is_what_they_share() -> None:
    photo = picture(1)
    luma = luma_chroma(photo)[:, :1].expand(-1, 3, -1, -1)
    shift = 0.25 * (luma.roll(1, dims=3) - luma.roll(-1, dims=3))
    images, photos = torch.cat([0.5 + shift, 0.5 - shift]), torch.cat([photo, photo])
    assert relief_loss(images, photos).min().item() > 0.1
    assert relief_loss(images, photos, together=True).shape == (1,)
    assert relief_loss(images, photos, together=True).item() < 1e-6
