"""Every formula by hand. Gram matrices and means are written out as the documents sum them, not averaged."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from fastnst.errors import SettingError
from fastnst.losses.formulas import smoothness_error
from fastnst.losses.losses import style_statistics
from fastnst.losses.perceptual import PerceptualLoss, StyleTarget
from fastnst.losses.settings import LossSettings

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


def loss(**changes: object) -> PerceptualLoss:
    return PerceptualLoss(nn.Identity(), replace(SETTINGS, **changes))


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
    assert_close(loss(normalization=kind).content_term(GIVEN, REFERENCE), torch.tensor([(first + second) / 2]))


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
    judged = loss(normalization=kind)
    expected = torch.tensor([(first + second) / 2])
    assert_close(judged.style_term(GIVEN, judged.style_of(REFERENCE)), expected)


def test_layer_weights() -> None:
    weighed = loss(normalization="cs229", content_layer_weights=(1.0, 10.0), style_layer_weights=(1.0, 0.5))
    assert_close(weighed.content_term(GIVEN, REFERENCE), torch.tensor([9.0 + 110.0]))
    expected = torch.tensor([19 / 64 + 0.5 * 73 / 144])
    assert_close(weighed.style_term(GIVEN, weighed.style_of(REFERENCE)), expected)


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
        loss(**changes)


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
    assert smoothness_error(kind, "l1", image).item() == pytest.approx(l1)
    assert smoothness_error(kind, "squared", image).item() == pytest.approx(squared)


def test_gradient_of_l1_total_variation_is_finite_where_the_image_is_flat() -> None:
    # e4040 writes sqrt(d^2), whose gradient is NaN there.
    image = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    smoothness_error("paper", "l1", image).sum().backward()
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
    judged = loss(normalization=kind)
    for own, difference in zip(POSITIONS, REGION, strict=True):
        sums = [style_statistics(f[own].flatten(2)[:, :, None, POSITIONS[own]], "gram")[0] for f in (GIVEN, REFERENCE)]
        assert_close((sums[0] - sums[1])[0] * len(POSITIONS[own]), difference)
    target = StyleTarget(judged.style_of(REFERENCE, POSITIONS), 1.0, POSITIONS)
    assert_close(judged.style_term(GIVEN, [target]), torch.tensor([(first + second) / 2]))


def test_equation_6_of_two_regions() -> None:
    # K = 2: the region above and the rest, each with weight 1/K; the region is missing in the second layer.
    judged = loss(normalization="cs229", style_layer_weights=(1.0, 1.0))
    rest = {"relu1_1": torch.tensor([1]), "relu2_1": torch.tensor([0])}
    some = {"relu1_1": POSITIONS["relu1_1"]}
    targets = [StyleTarget(judged.style_of(REFERENCE, region), 1 / 2, region) for region in (some, rest)]
    # The rest: given [[4, 0], [0, 0]] less [[0, 0], [0, 4]]: 32 over 2^2; [[1, 0], [0, 0]] less 0: 1 over 2^2.
    assert_close(judged.style_term(GIVEN, targets), torch.tensor([(27 / 4 + 32 / 4 + 1 / 4) / 2]))


def test_regions_that_cover_everything_alike_are_the_whole() -> None:
    judged = loss(normalization="johnson")
    every = {layer: torch.arange(GIVEN[layer].shape[3]) for layer in LAYERS}
    whole = judged.style_of(REFERENCE)
    assert_close(judged.style_term(GIVEN, [StyleTarget(whole, 1.0, every)]), judged.style_term(GIVEN, whole))


def test_style_statistics_by_hand() -> None:
    # relu1_1: channels (1, 2) and (3, 0).
    given = GIVEN["relu1_1"]
    statistics = {
        kind: style_statistics(given, kind) for kind in ("gram", "diagonal", "off-diagonal", "covariance", "moments")
    }
    assert_close(statistics["gram"][0], torch.tensor([[[2.5, 1.5], [1.5, 4.5]]]))
    assert_close(statistics["diagonal"][0], torch.tensor([[2.5, 4.5]]))
    assert_close(statistics["off-diagonal"][0], torch.tensor([[[0.0, 1.5], [1.5, 0.0]]]))
    assert_close(statistics["covariance"][0], torch.tensor([[[0.25, -0.75], [-0.75, 2.25]]]))
    assert_close(statistics["covariance"][1], torch.tensor([[1.5, 1.5]]))
    assert_close(statistics["moments"][0], torch.tensor([[1.5, 1.5]]))
    assert_close(statistics["moments"][1], torch.tensor([[0.5, 1.5]]))


def test_moments_of_a_flat_map_have_a_finite_gradient() -> None:
    flat = torch.ones(1, 2, 3, 3, requires_grad=True)
    style_statistics(flat, "moments")[1].sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("statistic", ["gram", "covariance", "diagonal", "off-diagonal", "moments"])
@pytest.mark.parametrize("kind", ["balanced", "paper", "cs229", "kmit", "tutorial", "johnson"])
def test_gradients(kind: str, statistic: str) -> None:
    judged = loss(normalization=kind, style_statistic=statistic)
    given = [value.double().requires_grad_() for value in GIVEN.values()]
    reference = {name: value.double() for name, value in REFERENCE.items()}
    targets = [
        StyleTarget(judged.style_of(reference), 0.3),
        StyleTarget(judged.style_of(reference, POSITIONS), 0.7, POSITIONS),
    ]

    def weighed(*values: Tensor) -> Tensor:
        features = dict(zip(LAYERS, values, strict=True))
        return judged.content_term(features, reference) + 3 * judged.style_term(features, targets)

    assert torch.autograd.gradcheck(weighed, given)


def test_targets_of_one_region_measure_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = loss()
    targets = [StyleTarget(judged.style_of(REFERENCE), 0.5), StyleTarget(judged.style_of(REFERENCE), 0.5)]
    calls = []

    def counted(features: Tensor, kind: str) -> tuple[Tensor, ...]:
        calls.append(kind)
        return style_statistics(features, kind)

    monkeypatch.setattr("fastnst.losses.perceptual.style_statistics", counted)
    judged.style_term(GIVEN, targets)
    assert len(calls) == len(LAYERS)
