"""Every formula by hand. Gram matrices and means are written out as the documents sum them, not averaged."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fastnst.errors import SettingError
from fastnst.losses.losses import (
    STYLE_STATISTICS,
    channel_deviations,
    gram_matrix,
    projected_quantiles,
    quantiles,
    random_directions,
    total_variation_loss,
)
from fastnst.losses.perceptual import loss_terms
from fastnst.losses.settings import LossSettings, StyleStatistic
from fastnst.losses.terms import JudgedImages, LossTerm, Positions, StyleReference, StyleTarget
from fastnst.losses.vgg import Features

LAYERS = ("relu1_1", "relu2_1")
SETTINGS = LossSettings(content_layers=LAYERS, style_layers=LAYERS)

# Two layers of N = 2 channels, of M = 2 and M = 3 positions.
GIVEN = {
    "relu1_1": torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]]),
    "relu2_1": torch.tensor([[[[1.0, 0.0, 2.0]], [[0.0, 3.0, 0.0]]]]),
}
REFERENCE = {
    "relu1_1": torch.tensor([[[[1.0, 0.0]], [[2.0, 2.0]]]]),
    "relu2_1": torch.tensor([[[[0.0, 0.0, 2.0]], [[0.0, 0.0, 1.0]]]]),
}
# Content differences: 0 2 1 -2, squares 9; 1 0 0 0 3 -1, squares 11.
# Sums over positions: [[5, 3], [3, 9]] less [[1, 2], [2, 8]]: 4 1 1 1, squares 19;
# [[5, 0], [0, 9]] less [[4, 2], [2, 1]]: 1 -2 -2 8, squares 73.


class Terms:
    """The content and the style term of some settings, asked about features alone."""

    def __init__(self, **changes: object) -> None:
        self.terms: dict[str, LossTerm] = {term.name: term for term in loss_terms(replace(SETTINGS, **changes))}

    def content(self, given: Features, reference: Features) -> Tensor:
        return self.terms["content"](judged(given), reference, [])

    def measure(self, reference: Features, positions: Positions | None = None) -> StyleReference:
        return self.terms["style"].measure_style(judged(reference), positions)

    def style(self, given: Features, targets: StyleReference | Sequence[StyleTarget]) -> Tensor:
        return self.terms["style"](judged(given), {}, [StyleTarget(targets)] if isinstance(targets, dict) else targets)


def judged(features: Features) -> JudgedImages:
    return JudgedImages(torch.zeros(1, 3, 1, 1), features)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("balanced", 9 / 9, 11 / 5),
        ("paper", 9 / 2, 11 / 2),
        ("cs229", 9, 11),
        ("kmit", 9 / 2, 11 / 2),
        ("tutorial", 9 / 4, 11 / 6),
        ("johnson", 9 / (2 * 1 * 2), 11 / (2 * 1 * 3)),
    ],
)
def test_content(kind: str, first: float, second: float) -> None:
    assert_close(Terms(normalization=kind).content(GIVEN, REFERENCE), torch.tensor([(first + second) / 2]))


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("balanced", 19 / 73, 73 / 25),
        # Gatys et al. (2016), eq. 4; gatys2015 writes 1 / (2 n_W n_H n_C)^2, which is the same.
        ("paper", 19 / (4 * 2**2 * 2**2), 73 / (4 * 2**2 * 3**2)),
        ("cs229", 19 / (4 * 2**2 * 2**2), 73 / (4 * 2**2 * 3**2)),
        # kmit's formula: 1 / M on unnormalised Gram matrices.
        ("kmit", 19 / 2, 73 / 3),
        # kmit's prose and the tutorial: Gram matrices averaged over positions, then the mean over 2 x 2 entries.
        ("tutorial", 19 / 2**2 / 4, 73 / 3**2 / 4),
        # Johnson et al. (2016), eq. 3: divided by C H W; eq. 4: squared Frobenius norm.
        ("johnson", 19 / (2 * 1 * 2) ** 2, 73 / (2 * 1 * 3) ** 2),
    ],
)
def test_style(kind: str, first: float, second: float) -> None:
    terms = Terms(normalization=kind)
    expected = torch.tensor([(first + second) / 2])
    assert_close(terms.style(GIVEN, terms.measure(REFERENCE)), expected)


def test_layer_weights() -> None:
    weighed = Terms(normalization="cs229", content_layer_weights=(1.0, 10.0), style_layer_weights=(1.0, 0.5))
    assert_close(weighed.content(GIVEN, REFERENCE), torch.tensor([9.0 + 110.0]))
    expected = torch.tensor([19 / 64 + 0.5 * 73 / 144])
    assert_close(weighed.style(GIVEN, weighed.measure(REFERENCE)), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style_layer_weights": (1.0,)}, r"--style-layer-weights has 1 weights for 2 style layers \(relu1_1, relu2_1"),
        ({"content_layer_weights": (1.0, -1.0)}, r"--content-layer-weights is .*; expected numbers from 0 on"),
        ({"content_layers": (), "content_layer_weights": (1.0,)}, "has 1 weights for 0 content layers"),
        ({"style_layers": ("relu1_1", "relu1_1")}, "--style-layers names relu1_1 twice"),
    ],
)
def test_layer_weights_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Terms(**changes)


@pytest.mark.parametrize(
    ("kind", "l1", "squared"),
    [
        # Three channels of [[0, 0.5], [0.5, 0.5]]: differences 0.5 and 0 across, 0.5 and 0 down.
        ("balanced", 3 * 1 / 12, 3 * 0.5 / 12),
        ("paper", 3 * 255, 3 * 2 * 127.5**2),
        ("cs229", 3 * 255, 3 * 2 * 127.5**2),
        ("johnson", 3 * 255, 3 * 2 * 127.5**2),
        ("kmit", 3, 3 * 0.5),
        ("tutorial", 3, 3 * 0.5),
    ],
)
def test_total_variation(kind: str, l1: float, squared: float) -> None:
    image = torch.tensor([[0.0, 0.5], [0.5, 0.5]]).expand(1, 3, 2, 2)
    assert total_variation_loss(kind, "l1", image).item() == pytest.approx(l1)
    assert total_variation_loss(kind, "squared", image).item() == pytest.approx(squared)


def test_gradient_of_l1_total_variation_is_finite_where_the_image_is_flat() -> None:
    # e4040 writes sqrt(d^2), whose gradient is NaN there.
    image = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    total_variation_loss("paper", "l1", image).sum().backward()
    assert image.grad is not None
    assert (image.grad == 0).all()


# A region: the first position of relu1_1, the last two of relu2_1; N_k = channels x positions = 2 and 4.
POSITIONS = {"relu1_1": torch.tensor([0]), "relu2_1": torch.tensor([1, 2])}
# Sums over these: given [[1, 3], [3, 9]] and [[4, 0], [0, 9]]; reference [[1, 2], [2, 4]] and [[4, 2], [2, 1]].
REGION = [torch.tensor([[0.0, 1.0], [1.0, 5.0]]), torch.tensor([[0.0, -2.0], [-2.0, 8.0]])]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("cs229", 27 / 2**2, 72 / 4**2),  # eq. 6: each matrix over its number of neurons
        ("paper", 27 / (4 * 2**2), 72 / (4 * 4**2)),
        ("johnson", 27 / 2**2, 72 / 4**2),
        ("tutorial", 27 / 4, 72 / 2**2 / 4),
        ("kmit", 27 / 1, 72 / 2),
        ("balanced", 27 / (1 + 4 + 4 + 16), 72 / (16 + 4 + 4 + 1)),
    ],
)
def test_region(kind: str, first: float, second: float) -> None:
    terms = Terms(normalization=kind)
    for own, difference in zip(POSITIONS, REGION, strict=True):
        sums = [gram_matrix(f[own].flatten(2)[:, :, None, POSITIONS[own]]) for f in (GIVEN, REFERENCE)]
        assert_close((sums[0] - sums[1])[0] * len(POSITIONS[own]), difference)
    target = StyleTarget(terms.measure(REFERENCE, POSITIONS), 1.0, POSITIONS)
    assert_close(terms.style(GIVEN, [target]), torch.tensor([(first + second) / 2]))


def test_equation_6_of_two_regions() -> None:
    # K = 2: the region above and the rest, each with weight 1/K; the region is missing in the second layer.
    terms = Terms(normalization="cs229", style_layer_weights=(1.0, 1.0))
    rest = {"relu1_1": torch.tensor([1]), "relu2_1": torch.tensor([0])}
    some = {"relu1_1": POSITIONS["relu1_1"]}
    targets = [StyleTarget(terms.measure(REFERENCE, region), 1 / 2, region) for region in (some, rest)]
    # The rest: given [[4, 0], [0, 0]] less [[0, 0], [0, 4]]: 32 over 2^2; [[1, 0], [0, 0]] less 0: 1 over 2^2.
    assert_close(terms.style(GIVEN, targets), torch.tensor([(27 / 4 + 32 / 4 + 1 / 4) / 2]))


def test_regions_that_cover_everything_alike_are_the_whole() -> None:
    terms = Terms(normalization="johnson")
    every = {layer: torch.arange(GIVEN[layer].shape[3]) for layer in LAYERS}
    whole = terms.measure(REFERENCE)
    assert_close(terms.style(GIVEN, [StyleTarget(whole, 1.0, every)]), terms.style(GIVEN, whole))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # relu1_1: channels (1, 2) and (3, 0).
        ("gram", [[[2.5, 1.5], [1.5, 4.5]]]),
        ("diagonal", [[2.5, 4.5]]),
        ("off-diagonal", [[[0.0, 1.5], [1.5, 0.0]]]),
        ("covariance", [[[0.25, -0.75], [-0.75, 2.25]], [1.5, 1.5]]),
        ("moments", [[1.5, 1.5], [0.5, 1.5]]),
    ],
)
def test_style_statistics_by_hand(kind: StyleStatistic, expected: list[object]) -> None:
    for features in (GIVEN["relu1_1"], GIVEN["relu1_1"].bfloat16()):
        measured = [measure(features) for measure in STYLE_STATISTICS[kind]]
        assert all(part.dtype == torch.float32 for part in measured)
        assert_close([part[0] for part in measured], [torch.tensor(part) for part in expected])


def test_every_statistic_that_can_be_asked_for_is_there() -> None:
    assert set(STYLE_STATISTICS) == set(get_args(StyleStatistic))


def test_quantiles_by_hand() -> None:
    values = torch.tensor([[4.0, 1.0, 3.0, 2.0]])
    assert_close(quantiles(values, 4), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    # At probabilities 1/4 and 3/4, half-way between neighbours.
    assert_close(quantiles(values, 2), torch.tensor([[1.5, 3.5]]))
    # More than there are values: the ends repeat.
    assert_close(quantiles(torch.tensor([[1.0, 2.0]]), 4), torch.tensor([[1.0, 1.25, 1.75, 2.0]]))


def test_directions_are_unit_vectors_and_always_the_same() -> None:
    directions = random_directions(5)
    assert_close(directions.norm(dim=1), torch.ones(64))
    assert_close(directions, random_directions(5))
    assert directions.mean(0).abs().max() < 0.3  # on all sides


def test_projected_quantiles_ignore_where_values_are_and_see_which_go_together() -> None:
    drawn = torch.rand(1, 2, 20, 30, generator=torch.Generator().manual_seed(0))
    moved = drawn.flatten(2)[..., torch.randperm(600)].view(1, 2, 30, 20)
    assert_close(projected_quantiles(moved), projected_quantiles(drawn))
    together = drawn[:, :1].expand(1, 2, 20, 30)  # each channel's values as before, but both the same
    across, along = (1 / 2) ** 0.5 * torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    spread = projected_quantiles(together)[0].std(1)
    nearest = random_directions(2) @ torch.stack([across, along], 1)
    assert spread[nearest[:, 0].abs().argmax()] < 0.2 * spread[nearest[:, 1].abs().argmax()]


def test_a_large_map_is_compared_by_some_of_its_positions() -> None:
    large = torch.randn(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    assert_close(projected_quantiles(large), projected_quantiles(large[..., :100]), atol=0.35, rtol=0)
    assert_close(projected_quantiles(large), projected_quantiles(large), rtol=0, atol=0)


def test_moments_of_a_flat_map_have_a_finite_gradient() -> None:
    flat = torch.ones(1, 2, 3, 3, requires_grad=True)
    channel_deviations(flat).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("statistic", ["gram", "covariance", "diagonal", "off-diagonal", "moments"])
@pytest.mark.parametrize("kind", ["balanced", "paper", "cs229", "kmit", "tutorial", "johnson"])
def test_gradients(kind: str, statistic: str) -> None:
    terms = Terms(normalization=kind, style_statistic=statistic)
    given = [value.double().requires_grad_() for value in GIVEN.values()]
    reference = {name: value.double() for name, value in REFERENCE.items()}
    targets = [
        StyleTarget(terms.measure(reference), 0.3),
        StyleTarget(terms.measure(reference, POSITIONS), 0.7, POSITIONS),
    ]

    def weighed(*values: Tensor) -> Tensor:
        features = dict(zip(LAYERS, values, strict=True))
        return terms.content(features, reference) + 3 * terms.style(features, targets)

    assert torch.autograd.gradcheck(weighed, given)


def test_covariance_averages_the_balanced_errors_of_its_parts() -> None:
    # Of layer relu1_1 alone. Means 1.5 1.5 and 0.5 2; covariances [[.25, -.75], [-.75, 2.25]] and [[.25, 0], [0, 0]].
    one = {"style_statistic": "covariance", "style_layers": ("relu1_1",)}
    matrices = 2 * 0.75**2 + 2.25**2, 0.25**2
    means = 1 + 0.5**2, 0.5**2 + 2**2
    expected = (matrices[0] / matrices[1] + means[0] / means[1]) / 2
    balanced, paper = Terms(**one), Terms(normalization="paper", **one)
    assert_close(balanced.style(GIVEN, balanced.measure(REFERENCE)), torch.tensor([expected]))
    assert_close(paper.style(GIVEN, paper.measure(REFERENCE)), torch.tensor([(matrices[0] + means[0]) / 16]))


def test_targets_of_one_region_share_it() -> None:
    judged_by = Terms()
    whole = judged_by.measure(REFERENCE)
    halves = [StyleTarget(whole, 0.5), StyleTarget(judged_by.measure(REFERENCE), 0.5)]
    assert_close(judged_by.style(GIVEN, halves), judged_by.style(GIVEN, whole))


def test_layers_not_asked_for_play_no_part() -> None:
    near = Terms(style_layers=("relu1_1",), content_layers=("relu1_1",))
    spoilt = {"relu1_1": GIVEN["relu1_1"], "relu2_1": GIVEN["relu2_1"] * 100}
    assert near.content(spoilt, REFERENCE).item() == pytest.approx(1)
    assert near.style(spoilt, near.measure(REFERENCE)).item() == pytest.approx(19 / 73)


def test_balanced_loss_ignores_the_scale_of_the_features() -> None:
    terms = Terms()
    far, far_reference = ({name: value * 50 for name, value in each.items()} for each in (GIVEN, REFERENCE))
    assert_close(terms.content(far, far_reference), terms.content(GIVEN, REFERENCE))
    assert_close(terms.style(far, terms.measure(far_reference)), terms.style(GIVEN, terms.measure(REFERENCE)))
