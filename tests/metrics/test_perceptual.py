"""Content, style and centred: values worked by hand, and what they are measured with."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fastnst.io.images import Frame
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import Features
from fastnst.metrics import perceptual as module
from fastnst.metrics.perceptual import STYLE_LAYERS, PerceptualMetrics, load_perceptual_metrics


def red_green_and_blue(image: Tensor) -> Features:
    """Two layers with unequal channels and sizes: red and green of all pixels, blue of the first row."""
    return {"first": image[:, :2], "second": image[:, 2:, :1]}


def frame(red: list[int], green: list[int], blue: list[int]) -> Frame:
    """One column of pixels, colors 0 or 1."""
    return np.array([red, green, blue], np.uint8).T[:, None] * np.uint8(255)


METRICS = PerceptualMetrics(red_green_and_blue, "first", ["first", "second"])
STYLIZED = frame(red=[1, 1], green=[0, 1], blue=[1, 0])
PHOTO = frame(red=[1, 0], green=[0, 1], blue=[0, 0])
STYLE = frame(red=[0, 1], green=[1, 0], blue=[1, 1])


def test_figures_by_hand() -> None:
    figures = METRICS.compare(METRICS.measure(STYLIZED), METRICS.measure(PHOTO), METRICS.measure(STYLE))
    # Content: (1 1 0 1) - (1 0 0 1) = (0 1 0 0), 1 over the photo's 2.
    assert figures.content == pytest.approx(1 / 2)
    # Grams of the first layer: (1 .5; .5 .5) and (.5 0; 0 .5), so (.25 + .25 + .25 + 0) / .5; of the second: 1 and 1.
    assert figures.style == pytest.approx((1.5 + 0) / 2)
    # Covariances: (0 0; 0 .25) and (.25 -.25; -.25 .25), so 3 * .0625 / .25; the second has one pixel.
    assert figures.centred == pytest.approx((0.75 + 0) / 2)


def test_a_photo_is_no_distance_from_itself() -> None:
    photo = METRICS.measure(PHOTO)
    assert METRICS.compare(photo, photo, METRICS.measure(STYLE)).content == 0


def test_the_style_image_is_no_distance_from_itself() -> None:
    figures = METRICS.compare(METRICS.measure(STYLE), METRICS.measure(PHOTO), METRICS.measure(STYLE))
    assert (figures.style, figures.centred) == (0, 0)


def test_centred_does_not_see_a_shift_of_all_colors() -> None:
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 100, (6, 5, 3), np.uint8)
    figures = METRICS.compare(*map(METRICS.measure, (dark + np.uint8(100), dark, dark)))
    assert figures.style > 1
    assert figures.centred == pytest.approx(0, abs=1e-6)


def test_style_image_is_measured_at_512() -> None:
    seen = []

    def network(image: Tensor) -> Features:
        seen.append(tuple(image.shape))
        return red_green_and_blue(image)

    measured = PerceptualMetrics(network, "first", ["first"]).measure_style(np.zeros((30, 60, 3), np.uint8))
    assert seen == [(1, 3, 256, 512)]
    assert measured.content.numel() == 0


def test_the_metrics_are_those_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(settings: LossSettings) -> tuple[object, str]:
        asked.append(settings)
        return torch.nn.Identity(), "which weights"

    monkeypatch.setattr(module, "load_loss_network", load)
    _, provenance = load_perceptual_metrics(
        LossSettings(loss_network="vgg19-caffe", pool="max", content_layers=("relu1_1",))
    )
    assert provenance == "which weights"
    assert (asked[0].loss_network, asked[0].pool, asked[0].content_layers) == ("vgg19-caffe", "average", ("relu4_2",))
    assert asked[0].style_layers == STYLE_LAYERS == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
