"""Fast beside exact: the same loss for both, honest clocks, the first match, and the figures of table 1."""

import dataclasses
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from fastnst.errors import SettingError
from fastnst.exact.engine import optimize
from fastnst.exact.objective import PixelObjective
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.losses import gram_matrix, relative_error
from fastnst.losses.weights import load_loss_network
from fastnst.research.compare import (
    Comparer,
    Comparison,
    CurvePoint,
    Judged,
    judged_steps,
    shown_steps,
    time_painting,
)
from fastnst.research.judge import EvaluatedNetwork, open_network
from fastnst.research.settings import CompareSettings


@pytest.fixture
def inverter(invert: Path) -> EvaluatedNetwork:
    """A network that turns each color round."""
    return open_network(invert)


@pytest.fixture
def settings(loss_weights: Path) -> CompareSettings:
    return CompareSettings(
        steps=6,
        style_size=64,
        content_layers=("relu2_1",),
        style_layers=("relu1_1", "relu2_1"),
        precision="float32",
        loss_weights=loss_weights,
    )


def losses(total: float) -> Judged:
    return Judged(total, total / 2, total / 10, 0.0)


def comparison(totals: dict[int, float], fast: float, step_s: float = 2.0, fast_s: float = 0.5) -> Comparison:
    blank = np.zeros((2, 3, 3), np.uint8)
    return Comparison(
        photo="photo",
        size=3,
        content=blank,
        content_losses=losses(9),
        fast=blank,
        fast_losses=losses(fast),
        fast_s=fast_s,
        exact={},
        curve=[CurvePoint(step, step_s * step, losses(total)) for step, total in totals.items()],
        step_s=step_s,
    )


# Figures, by hand


def test_first_match_speed_up_and_judged_steps_by_hand() -> None:
    found = comparison({1: 5, 2: 3, 4: 2, 8: 1}, fast=2).matched
    assert found is not None
    assert (found.step, found.elapsed_s) == (4, 8)
    assert comparison({1: 5, 2: 3}, fast=2.9).matched is None
    assert comparison({1: 5, 2: 3}, fast=6).matched == CurvePoint(1, 2.0, losses(5))
    made = comparison({1: 5, 100: 1}, fast=2)
    made = dataclasses.replace(made, curve=[made.curve[0], CurvePoint(100, 150.0, losses(1))])
    # 100 steps took 150 s; 300 were not run: 300 times the median step of 2 s.
    assert made.exact_s(100) == 150
    assert made.speed_up(100) == 300
    assert made.exact_s(300) == 600
    assert made.speed_up(300) == 1200
    made = comparison({1: 5, 4: 2}, fast=2)
    assert made.at(4) == made.curve[1]
    assert made.at(3) is None
    assert made.at(5) is None


def test_judged_steps_are_dense_at_first_and_never_a_twentieth_apart_later() -> None:
    steps = sorted(judged_steps(500))
    assert steps[:40] == list(range(1, 41))
    assert {100, 300, 500} <= set(steps)
    assert all(after - before <= max(1, after / 19) for before, after in pairwise(steps))
    assert len(steps) < 110
    assert max(judged_steps(37)) == 37


@pytest.mark.parametrize(
    ("steps", "expected"), [(500, [100, 300, 500]), (1000, [100, 300, 500, 1000]), (250, [100, 250]), (20, [20])]
)
def test_shown_steps(steps: int, expected: list[int]) -> None:
    assert shown_steps(steps) == expected


# Runs


def test_the_fast_picture_is_judged_by_the_same_loss_by_hand(
    inverter: EvaluatedNetwork, settings: CompareSettings, photo: Frame, painting: Frame
) -> None:
    made = Comparer(inverter, painting, settings).compare("photo0", photo, 48)
    assert made.content.shape == (35, 48, 3)
    np.testing.assert_array_equal(made.fast, 255 - made.content)
    network, _ = load_loss_network(settings)
    with torch.no_grad():
        given, own = network(to_image(made.content)), network(to_image(made.fast))
        aim = network(to_image(resize_long_side(painting, 64)))
        content = float(relative_error(own["relu2_1"], given["relu2_1"]))
        style = np.mean(
            [float(relative_error(gram_matrix(own[x]), gram_matrix(aim[x]))) for x in ("relu1_1", "relu2_1")]
        )
    assert made.fast_losses.content == pytest.approx(content, rel=1e-4)
    assert made.fast_losses.style == pytest.approx(style, rel=1e-4)
    assert made.fast_losses.total == pytest.approx(content + 5 * style, rel=1e-4)
    assert made.content_losses.content == pytest.approx(0, abs=1e-6)


def test_the_exact_picture_is_what_optimize_paints(
    inverter: EvaluatedNetwork, settings: CompareSettings, photo: Frame, painting: Frame
) -> None:
    made = Comparer(inverter, painting, settings).compare("photo0", photo, 48)
    own = optimize(photo, painting, settings.exact(48), device=torch.device("cpu"))
    assert list(made.exact) == [6]
    np.testing.assert_array_equal(made.exact[6], own.frame)
    assert made.curve[-1].losses.total == pytest.approx(own.losses["total"], rel=1e-5)
    assert [point.step for point in made.curve] == [1, 2, 3, 4, 5, 6]
    assert made.curve[-1].losses.total < made.content_losses.total


def test_judging_costs_no_time(
    inverter: EvaluatedNetwork,
    settings: CompareSettings,
    photo: Frame,
    painting: Frame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick, judge = Comparer(inverter, painting, settings), PixelObjective.judge

    def slow_judge(objective: PixelObjective, image: torch.Tensor) -> dict[str, float]:
        time.sleep(0.5)
        return judge(objective, image)

    monkeypatch.setattr(PixelObjective, "judge", slow_judge)
    made = quick.compare("photo0", photo, 32)
    assert 0 < made.step_s < 0.4
    assert made.curve[-1].elapsed_s < 6 * 0.4
    elapsed = [point.elapsed_s for point in made.curve]
    assert elapsed == sorted(elapsed)


def test_photos_and_sizes_are_compared_one_by_one(
    inverter: EvaluatedNetwork, settings: CompareSettings, photo: Frame, painting: Frame
) -> None:
    seen: list[tuple[str, int, int, int]] = []
    run = Comparer(inverter, painting, settings).run(
        [("a", photo), ("b", photo[:, ::-1])], [24, 32], on_step=lambda *where: seen.append(where)
    )
    first = next(run)
    assert (first.photo, first.size) == ("a", 24)
    assert seen == [("a", 24, step, 6) for step in range(1, 7)]
    assert [(made.photo, made.size) for made in run] == [("a", 32), ("b", 24), ("b", 32)]


def test_ctrl_c_in_the_exact_method_ends_the_comparison(
    inverter: EvaluatedNetwork, settings: CompareSettings, photo: Frame, painting: Frame
) -> None:
    def stop(_name: str, _size: int, step: int, _steps: int) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Comparer(inverter, painting, settings).compare("photo0", photo, 32, stop)


def test_what_computes_is_said(
    inverter: EvaluatedNetwork, settings: CompareSettings, painting: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparer = Comparer(inverter, painting, settings)
    assert comparer.fast_hardware == "cpu (ONNX Runtime, float32)"
    pairs = [("cpu", "cpu"), ("cpu", "openvino"), ("cuda", "tensorrt"), ("cuda", "cpu"), ("cpu", "cuda")]
    for device, provider in pairs:
        comparer.device = torch.device(device)
        monkeypatch.setattr(Stylizer, "provider", provider)
        assert comparer.same_hardware == ((device, provider) in pairs[:3])
    assert "float32" in comparer.exact_hardware
    assert "tiny.safetensors" in comparer.loss_weights


def test_painting_is_timed_by_its_median_after_warming_up() -> None:
    calls = iter(range(1000))

    def paint(frame: Frame) -> Frame:
        time.sleep(0.3 if next(calls) < 2 else 0.02)
        return 255 - frame

    frame = np.zeros((2, 2, 3), np.uint8)
    painted, seconds = time_painting(paint, frame)
    assert painted[0, 0, 0] == 255
    assert 0.02 <= seconds < 0.2


# Settings


def test_the_exact_method_gets_every_setting(loss_weights: Path) -> None:
    given = CompareSettings(
        steps=7, style_size=99, optimizer="adam", init="noise", seed=3, style_weight=2.5, loss_weights=loss_weights
    )
    exact = given.exact(123)
    for field in dataclasses.fields(given):
        assert getattr(exact, field.name) == getattr(given, field.name)
    assert exact.size == 123


@pytest.mark.parametrize("wrong", [{"steps": 1}, {"style_size": 0}, {"style_weight": -1.0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        CompareSettings(**wrong)
