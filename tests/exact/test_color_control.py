from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fastnst.exact.color_control import (
    OwnBrightness,
    OwnHues,
    brightness,
    colour_rule,
    match_brightness,
    match_histograms,
    recolour_style,
)
from fastnst.exact.engine import optimize
from fastnst.exact.objective import Subject
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import load_loss_network


@pytest.fixture
def settings(small: OptimizeSettings) -> OptimizeSettings:
    return replace(small, steps=25)


def random_image(seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed))


def hues(image: Tensor) -> Tensor:
    """I and Q of YIQ."""
    matrix = torch.tensor([[0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    return torch.einsum("ij,bjhw->bihw", matrix, image)


def test_brightness_by_hand_matched_and_of_flat_pictures() -> None:
    image = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    assert brightness(image).item() == pytest.approx(0.299 + 0.2935)
    frame = np.array([[[0, 0, 0], [100, 100, 100]]], np.uint8)
    reference = np.array([[[90, 90, 90], [110, 110, 110], [90, 90, 90], [110, 110, 110]]], np.uint8)
    assert match_brightness(frame, reference).tolist() == [[[90] * 3, [110] * 3]]
    flat, photo = np.full((3, 3, 3), 200, np.uint8), np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert (match_brightness(flat, photo) == match_brightness(flat, photo)[0, 0, 0]).all()
    assert (match_brightness(photo, flat) == 200).all()


def test_own_hues_and_own_brightness_keep_theirs_and_take_the_others() -> None:
    photo, image = random_image(0, 0.4, 0.6), random_image(1, 0.4, 0.6)
    kept = OwnHues(photo).constrain(image)
    assert_close(hues(kept), hues(photo), atol=1e-4, rtol=0)
    assert_close(brightness(kept), brightness(image), atol=1e-5, rtol=0)
    assert_close(OwnHues(photo).constrain(kept), kept)
    photo, image = random_image(0, 0.4, 0.6), random_image(1, 0.4, 0.6)
    kept = OwnBrightness(photo).constrain(image)
    assert_close(brightness(kept), brightness(photo), atol=1e-5, rtol=0)
    assert_close(hues(kept), hues(image), atol=1e-4, rtol=0)
    photo, image = random_image(0), random_image(1)
    kept = OwnBrightness(photo).constrain(image)
    assert kept.min() >= 0
    assert kept.max() <= 1
    assert (brightness(kept) - brightness(photo)).abs().max() < 0.05
    assert OwnHues(photo).constrain(image).min() >= 0


@pytest.mark.parametrize("rule", [OwnHues, OwnBrightness])
def test_projected_gradients_are_allowed_changes(rule: type) -> None:
    photo = random_image(0, 0.4, 0.6)
    own, gradient = rule(photo), random_image(2) - 0.5
    allowed = own.constrain(random_image(1, 0.4, 0.6))
    step = own.project(gradient)
    assert_close(own.constrain(allowed - 0.1 * step), allowed - 0.1 * step)
    # Projection: what is left points nowhere that is allowed.
    assert ((gradient - step) * step).sum().abs() < 1e-4
    assert_close(own.project(step), step)


def test_descent_of_what_is_judged(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    # The projected gradient is the gradient of the loss along allowed changes.
    network, _ = load_loss_network(settings)
    for color in ("luminance", "chroma"):
        subject = Subject(photo, painting, replace(settings, color=color))
        objective = subject.objective(PerceptualLoss(network, settings), 24, torch.device("cpu"), None)
        image = objective.constrain(subject.photo(24) * 0.6 + 0.2)
        _, gradient = objective.evaluate(image)
        step = 1e-3 * gradient / gradient.norm()
        before, after = (objective.evaluate(image + sign * step)[0]["total"] for sign in (-1, 1))
        assert after - before == pytest.approx(2e-3 * gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize("init", ["content", "noise"])
def test_luminance_keeps_the_photos_hues(init: str, settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    muted = (photo // 4 + 96).astype(np.uint8)
    result = optimize(muted, painting, replace(settings, color="luminance", init=init))
    given = to_image(result.frame)
    own = Subject(muted, painting, settings).photo(24)
    inside = (given > 0.01).all(1) & (given < 0.99).all(1)
    assert inside.float().mean() > 0.5
    assert (hues(given) - hues(own)).abs().amax(1)[inside].max() < 0.01
    assert (brightness(given) - brightness(own)).abs().mean() > 0.005
    assert result.history[-1].total < result.history[0].total


def test_chroma_keeps_the_photos_brightness(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    result = optimize(photo, painting, replace(settings, color="chroma"))
    given, own = to_image(result.frame), Subject(photo, painting, settings).photo(24)
    assert (brightness(given) - brightness(own)).abs().mean() < 0.01
    assert (hues(given) - hues(own)).abs().mean() > 0.01
    assert result.history[-1].style < result.history[0].style


def test_matched_histograms() -> None:
    random = np.random.default_rng(0)
    style = random.normal((60, 180, 90), (20, 40, 10), (80, 90, 3)).clip(0, 255).astype(np.uint8)
    # Two clusters: no linear map makes them from one.
    photo = (
        np.where(
            random.random((70, 60, 1)) < 0.3,
            random.normal((200, 40, 40), 12, (70, 60, 3)),
            random.normal((40, 80, 200), 12, (70, 60, 3)),
        )
        .clip(0, 255)
        .astype(np.uint8)
    )
    matched = match_histograms(style, photo)
    assert matched.shape == style.shape
    for channel in range(3):
        ranks = np.linspace(0.02, 0.98, 25)
        own, other = (np.quantile(frame[..., channel], ranks) for frame in (matched, photo))
        assert np.abs(own - other).mean() < 6
    red = (matched[..., 0] > 120) & (matched[..., 2] < 120)
    assert red.mean() == pytest.approx(0.3, abs=0.05)


def test_recoloured_style_also_for_a_grey_photo(photo: Frame, painting: Frame) -> None:
    for choice in ("style", "chroma"):
        assert recolour_style(painting, photo, choice) is painting
    for choice in ("match", "histogram"):
        recoloured = recolour_style(painting, photo, choice)
        assert np.abs(recoloured.mean((0, 1)) - photo.mean((0, 1))).max() < 6
    grey = recolour_style(painting, photo, "luminance")
    assert (grey == grey[..., :1]).all()
    photo = np.repeat(np.arange(100, 200, dtype=np.uint8).reshape(10, 10, 1), 3, axis=2)
    for choice in ("match", "histogram"):
        recoloured = recolour_style(painting, photo, choice).astype(int)
        assert np.abs(recoloured - recoloured.mean(2, keepdims=True)).max() < 12


def test_any_colour_is_allowed_by_default() -> None:
    image = random_image(0)
    rule = colour_rule("style", random_image(1))
    assert rule.view(image) is rule.constrain(image) is rule.project(image) is image
