"""All measures of a picture at once, and what happens without AlexNet's weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.errors import InputError, WeightsError
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import Features
from fastnst.metrics.appearance import OCTAVES
from fastnst.metrics.perceptual import AlexNetFeatures, AlexNetMetrics, PerceptualMetrics
from fastnst.research import judge as module
from fastnst.research.judge import MEASURES, SECOND_OPINION, Judge, load_measures

RNG = np.random.default_rng(0)
PHOTO, OTHER, STYLE = (RNG.integers(0, 256, (64, 70, 3), np.uint8) for _ in range(3))


def pooled(image: Tensor) -> Features:
    return {"layer": F.avg_pool2d(image, 4)}


METRICS = PerceptualMetrics(pooled, "layer", ["layer"])


@pytest.fixture(scope="module")
def alexnet() -> AlexNetMetrics:
    torch.manual_seed(0)
    return AlexNetMetrics(AlexNetFeatures())


def test_every_measure_is_taken(alexnet: AlexNetMetrics) -> None:
    judge = Judge(STYLE, METRICS, alexnet)
    values = judge.measure(OTHER, judge.measure_photo(PHOTO))
    assert list(values) == list(MEASURES) == list(judge.measures)
    assert all(np.isfinite(value) for value in values.values())
    assert values["content"] > 0 and values["lpips"] > 0 and values["ssim"] < 1


def test_the_photo_itself(alexnet: AlexNetMetrics) -> None:
    judge = Judge(STYLE, METRICS, alexnet)
    photo = judge.measure_photo(PHOTO)
    values = judge.measure(photo.frame, photo)
    assert [values[key] for key in ("content", "alexnet_content", "lpips", "ssim", "blobs")] == [0, 0, 0, 1, 0]
    assert values["style"] > 0


def test_without_alexnet_its_measures_are_left_out() -> None:
    judge = Judge(STYLE, METRICS, None)
    values = judge.measure(OTHER, judge.measure_photo(PHOTO))
    assert list(values) == list(judge.measures) == [key for key in MEASURES if key not in SECOND_OPINION]


def test_a_photo_too_narrow_to_be_judged() -> None:
    with pytest.raises(InputError, match=r"a picture of 200x47; expected sides of at least 48 px"):
        Judge(STYLE, METRICS, None).measure_photo(np.zeros((47, 200, 3), np.uint8))


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Path | None) -> None:
        raise WeightsError(f"cannot be fetched, {file}")

    monkeypatch.setattr(module, "load_perceptual_metrics", lambda settings: (METRICS, "vgg19"))
    monkeypatch.setattr(module, "load_alexnet_metrics", fail)


@pytest.mark.usefixtures("no_downloads")
def test_weights_that_cannot_be_had_are_reported_once() -> None:
    loaded = load_measures(LossSettings())
    assert loaded.alexnet is None
    assert loaded.weights == {"Loss network": "vgg19", "AlexNet": "left out: cannot be fetched, None"}
    assert "lpips" not in loaded.judge(STYLE).measures


@pytest.mark.usefixtures("no_downloads")
def test_weights_that_were_named_must_be_right(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be fetched"):
        load_measures(LossSettings(), tmp_path / "named.safetensors")


def test_which_side_of_each_measure_is_better() -> None:
    sides = {side: {key for key, column in MEASURES.items() if column.better == side} for side in ("near 1", "higher")}
    assert sides == {
        "near 1": {"contrast", "chroma", *(f"octave_{size}" for size in OCTAVES)},
        "higher": {"ssim", "tones"},
    }
    assert all(column.better == "lower" for key, column in MEASURES.items() if key not in set().union(*sides.values()))
