import json
import math
from dataclasses import asdict, astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastnst.errors import DivergedError, InputError, SettingError, StyleError, WeightsError
from fastnst.exact.engine import optimize
from fastnst.exact.objective import PixelObjective
from fastnst.exact.pyramid import Level, initial_image
from fastnst.exact.result import OptimizeDivergedError, OptimizeProgress, Step, Trace, report
from fastnst.exact.settings import OptimizeSettings
from fastnst.inference import stylizer
from fastnst.io.images import Frame
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import load_loss_network


@pytest.fixture
def settings(small: OptimizeSettings) -> OptimizeSettings:
    return replace(small, steps=12)


def interrupt_at(number: int):
    def callback(progress: OptimizeProgress) -> None:
        if progress.last.step == number:
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("init", ["content", "noise"])
def test_the_loss_falls(optimizer: str, init: str, settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    result = optimize(photo, painting, replace(settings, optimizer=optimizer, init=init, steps=30))
    assert [step.step for step in result.history] == list(range(1, 31))
    assert result.best.total < 0.5 * result.history[0].total
    assert result.frame.shape == (17, 24, 3)
    assert result.frame.dtype == np.uint8
    assert not result.interrupted


def test_the_callback_sees_every_step_and_the_best(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    seen: list[OptimizeProgress] = []
    result = optimize(photo, painting, settings, callback=seen.append)
    assert [progress.last for progress in seen] == result.history
    assert seen[-1].best == result.best == min(result.history, key=lambda step: step.total)
    assert seen[-1].steps == 12
    assert np.array_equal(seen[-1].best_frame(), result.frame)
    elapsed = [step.elapsed_s for step in result.history]
    assert elapsed == sorted(elapsed)
    assert 0 < elapsed[-1] < result.elapsed_s


def resized(frame: Frame, height: int, width: int) -> torch.Tensor:
    return to_image(np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)))


def test_losses_are_those_of_the_picture_as_written(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    result = optimize(photo, painting, settings)
    # Starting from the result, the first evaluation is of the result.
    network, _ = load_loss_network(settings)
    objective = PixelObjective(
        PerceptualLoss(network, settings), resized(photo, 17, 24), resized(painting, 20, 24), dtype=None
    )
    losses, _ = objective.evaluate(to_image(result.frame))
    assert result.losses == pytest.approx(losses)
    assert result.losses["total"] == pytest.approx(result.best.total, rel=0.02)


def test_first_evaluation_of_the_photo_has_its_content(
    settings: OptimizeSettings, photo: Frame, painting: Frame
) -> None:
    first = optimize(photo, painting, replace(settings, steps=1))
    assert first.history[0].content == 0
    assert first.history[0].total == pytest.approx(5 * first.history[0].style)
    assert np.array_equal(first.frame, to_frame_of(photo))


def to_frame_of(photo: Frame) -> Frame:
    return np.array(Image.fromarray(photo).resize((24, 17), Image.Resampling.LANCZOS))


def test_same_seed_same_picture(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    noisy = replace(settings, init="noise", steps=4)
    first, again = (optimize(photo, painting, noisy) for _ in range(2))
    other = optimize(photo, painting, replace(noisy, seed=1))
    assert np.array_equal(first.frame, again.frame)
    assert not np.array_equal(first.frame, other.frame)


def test_the_best_picture_is_kept_not_the_last(
    settings: OptimizeSettings, photo: Frame, painting: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = iter([5.0, 2.0, 3.0])
    evaluate = PixelObjective.evaluate

    def evaluate_so(objective: PixelObjective, image: torch.Tensor):
        losses, gradient = evaluate(objective, image)
        return losses | {"total": next(totals)}, gradient

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate_so)
    frames: list[Frame] = []
    result = optimize(
        photo, painting, replace(settings, steps=3), callback=lambda progress: frames.append(progress.best_frame())
    )
    assert result.best.step == 2
    assert np.array_equal(result.frame, frames[1])
    assert not np.array_equal(result.frame, frames[0])


def test_init_from_a_picture_and_from_noise_of_the_whole_range(
    settings: OptimizeSettings, photo: Frame, tmp_path: Path
) -> None:
    Image.new("RGB", (60, 20), (255, 0, 51)).save(tmp_path / "start.png")
    photo_image = to_image(to_frame_of(photo))
    start = initial_image(photo_image, replace(settings, init=tmp_path / "start.png"))
    assert start.shape == photo_image.shape
    assert start[0, :, 5, 5].tolist() == pytest.approx([1, 0, 0.2])
    noise = initial_image(torch.zeros(1, 3, 30, 40), replace(settings, init="noise"))
    assert 0 <= noise.min() < 0.01
    assert 0.99 < noise.max() <= 1


def test_init_from_a_trained_network(settings: OptimizeSettings, photo: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    class Negative:
        def __init__(self, style: str) -> None:
            assert style == "starry"

        def __enter__(self) -> "Negative":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __call__(self, frame: Frame) -> Frame:
            return 255 - frame

    monkeypatch.setattr(stylizer, "Stylizer", Negative)
    frame = to_frame_of(photo)
    start = initial_image(to_image(frame), replace(settings, init=Path("fast:starry")))
    assert torch.equal(start, to_image(255 - frame))


def test_init_from_an_unknown_style(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    with pytest.raises(StyleError, match="nowhere"):
        optimize(photo, painting, replace(settings, init=Path("fast:nowhere")))


def test_style_size_defaults_to_size(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    short = replace(settings, steps=2)
    default, same, larger = (
        optimize(photo, painting, replace(short, style_size=size)).history[0].style for size in (None, 24, 48)
    )
    assert default == same
    assert default != larger


def test_only_the_layers_asked_for_are_computed(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    # The tiny weights end at conv2_1: anything deeper would be an error.
    shallow = replace(settings, content_layers=(), style_layers=("relu1_1",), steps=3)
    assert optimize(photo, painting, shallow).history[-1].content == 0


def test_content_alone_is_reconstructed(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    alone = replace(settings, style_weight=0.0, init="noise", steps=60)
    result = optimize(photo, painting, alone)
    assert result.losses["content"] < 0.1 * result.history[0].content


def test_ctrl_c_keeps_the_best_so_far(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    result = optimize(photo, painting, settings, callback=interrupt_at(5))
    assert result.interrupted
    assert len(result.history) == 5
    assert result.best == min(result.history, key=lambda step: step.total)


def test_ctrl_c_before_the_first_step_is_passed_on(
    settings: OptimizeSettings, photo: Frame, painting: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(objective: PixelObjective, image: torch.Tensor):
        raise KeyboardInterrupt

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt):
        optimize(photo, painting, settings)


def test_divergence_names_the_term_and_keeps_the_best(
    settings: OptimizeSettings, photo: Frame, painting: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, count = PixelObjective.evaluate, iter(range(1, 100))

    def evaluate_so(objective: PixelObjective, image: torch.Tensor):
        losses, gradient = evaluate(objective, image)
        return losses | ({"style": math.nan, "total": math.nan} if next(count) == 4 else {}), gradient

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate_so)
    with pytest.raises(
        OptimizeDivergedError, match=r"step 4: the style loss is nan, it was .* lower --style-weight"
    ) as caught:
        optimize(photo, painting, settings)
    assert isinstance(caught.value, DivergedError)
    assert caught.value.result is not None
    assert len(caught.value.result.history) == 3
    assert math.isfinite(caught.value.result.losses["total"])


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_weights_too_large_for_float32(
    optimizer: str, settings: OptimizeSettings, photo: Frame, painting: Frame
) -> None:
    huge = replace(settings, style_weight=1e39, init="noise", optimizer=optimizer)
    with pytest.raises(OptimizeDivergedError, match="step 1: the total loss is inf, from the start; lower") as caught:
        optimize(photo, painting, huge)
    assert caught.value.result is None


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_large_weights_work(optimizer: str, settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    large = replace(settings, style_weight=1e15, init="noise", optimizer=optimizer)
    history = optimize(photo, painting, large).history
    assert history[-1].total < 0.8 * history[0].total


def test_gradient_that_is_not_finite_is_named(
    settings: OptimizeSettings, photo: Frame, painting: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = PixelObjective.evaluate
    monkeypatch.setattr(PixelObjective, "evaluate", lambda self, image: (evaluate(self, image)[0], image * math.nan))
    with pytest.raises(DivergedError, match="step 1: the gradient is nan"):
        optimize(photo, painting, settings)


def test_a_step_takes_in_terms_of_any_name_and_each_that_diverges_is_named() -> None:
    losses = {"total": 4.0, "content": 1.0, "style": 2.0, "total_variation": 0.5, "brightness": 0.25}
    step = Step.of(3, losses, 1.5, Level(24, 5, fine_tune=True))
    assert step.losses == losses
    assert (step.step, step.elapsed_s, step.long_side, step.fine_tune) == (3, 1.5, 24, True)
    assert Step(*json.loads(json.dumps(astuple(step)))) == step  # as a checkpoint keeps it
    with pytest.raises(DivergedError, match="the brightness loss is nan, from the start; lower the weights"):
        Trace().add(Step.of(1, losses | {"brightness": math.nan}, 0.0, Level(24, 5)), torch.zeros(1, 3, 2, 2))
    good = Step(1, 1.0, 1.0, 1.0, 1.0, 0.0, 24)
    for term, option in (("content", "content"), ("style", "style"), ("total_variation", "tv")):
        trace = Trace()
        trace.add(good, torch.zeros(1))
        with pytest.raises(DivergedError, match=f"step 2: the {term.replace('_', ' ')} loss is inf.*--{option}-weight"):
            trace.add(replace(good, step=2, **{term: math.inf}), torch.zeros(1))
        assert trace.history == [good]


@pytest.mark.parametrize("statistic", ["gram", "covariance"])
@pytest.mark.parametrize("grey", ["photo", "painting"])
def test_uniform_grey_pictures_work(
    statistic: str, grey: str, settings: OptimizeSettings, photo: Frame, painting: Frame
) -> None:
    flat = np.full((20, 30, 3), 128, np.uint8)
    pictures = (flat, painting) if grey == "photo" else (photo, flat)
    result = optimize(*pictures, replace(settings, style_statistic=statistic))
    assert result.history[-1].total < result.history[0].total


def test_a_few_pixels_are_no_picture(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    dot, least = np.full((1, 1, 3), 200, np.uint8), np.full((4, 8, 3), 200, np.uint8)
    with pytest.raises(InputError, match=r"the style picture is 1x1 pixels, .* expected a longer side of at least 8"):
        optimize(photo, dot, settings)
    with pytest.raises(InputError, match=r"the photo is 7x3 pixels, .* expected a longer side of at least 8"):
        optimize(photo[:3, :7], painting, settings)
    assert optimize(photo, least, settings).frame.shape == (17, 24, 3)


def test_pictures_too_narrow_for_the_network(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    ribbon = np.zeros((2000, 7, 3), np.uint8)
    with pytest.raises(
        InputError, match=r"the photo is 1x24 pixels once resized to --size; .* at least 2 a side for relu2_1"
    ):
        optimize(ribbon, painting, settings)
    with pytest.raises(InputError, match="the style picture is 1x24 pixels once resized to --style-size"):
        optimize(photo, ribbon, settings)
    with pytest.raises(InputError, match=r"the style picture is 1x1 pixels once .*: give a larger --stroke or"):
        optimize(photo, photo, replace(settings, stroke=0.05))


def test_panoramas_too_narrow_for_the_smallest_scale(settings: OptimizeSettings, painting: Frame) -> None:
    # At 48 pixels 2 are left, as the network needs; at 24, where the painting begins, 1.
    panorama = painting[:4, :96]
    wide = replace(settings, size=48, steps=1)
    assert optimize(panorama, painting, replace(wide, pyramid_levels=1)).frame.shape == (2, 48, 3)
    with pytest.raises(
        InputError,
        match=r"the photo is 24x1 pixels once resized to the smallest of --pyramid-levels; .* give fewer --p",
    ):
        optimize(panorama, painting, replace(wide, pyramid_levels=2))
    with pytest.raises(InputError, match=r"the photo is 24x1 pixels once resized to --size; .*: give a larger --size"):
        optimize(panorama, painting, replace(wide, size=24, pyramid_levels=2))


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_frames(array: np.ndarray, settings: OptimizeSettings, painting: Frame) -> None:
    with pytest.raises(InputError, match=r"expected uint8 \(height, width, 3\) RGB"):
        optimize(array, painting, settings)


def test_unusable_settings_are_named(settings: OptimizeSettings, photo: Frame, painting: Frame, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="did you mean 'relu1_1'"):
        optimize(photo, painting, replace(settings, style_layers=("rleu1_1",)))
    with pytest.raises(WeightsError, match="no such file"):
        optimize(photo, painting, replace(settings, loss_weights=tmp_path / "gone.pth"))
    with pytest.raises(InputError, match=r"gone\.png: no such file; --init expects content"):
        optimize(photo, painting, replace(settings, init=tmp_path / "gone.png"))
    with pytest.raises(InputError, match="nois: no such file; --init expects content, noise,"):
        # Before the small paintings that --content-target makes.
        optimize(photo, painting, replace(settings, init=Path("nois"), content_target=0.5, style_layers=()))


def test_bfloat16_goes_the_same_way(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    exact, rounded = (
        optimize(photo, painting, replace(settings, precision=precision, steps=20))
        for precision in ("float32", "bfloat16")
    )
    assert rounded.hardware.endswith("bfloat16")
    assert rounded.losses["total"] == pytest.approx(exact.losses["total"], rel=0.1)


def test_the_photo_is_left_alone(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    before = photo.copy(), painting.copy()
    # At its own size the photo is not resized, and so the very array is handed on.
    optimize(photo, painting, replace(settings, size=max(photo.shape), steps=3))
    assert np.array_equal(photo, before[0])
    assert np.array_equal(painting, before[1])


def test_report_is_complete_json(settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    result = optimize(photo, painting, settings)
    told = json.loads(json.dumps(report(result, settings), allow_nan=False))
    assert told["settings"]["loss_weights"] == str(settings.loss_weights)
    assert told["settings"].keys() == asdict(settings).keys()
    assert told["settings"]["style_layers"] == ["relu1_1", "relu2_1"]
    assert told["loss_weights"].startswith("vgg19, torchvision normalisation, tiny.safetensors")
    assert (told["width"], told["height"]) == (24, 17)
    assert len(told["history"]) == 12
    assert told["history"][0].keys() == {
        "step",
        "total",
        "content",
        "style",
        "total_variation",
        "elapsed_s",
        "long_side",
        "fine_tune",
    }
    assert told["losses"]["total"] == result.losses["total"]
    assert told["hardware"].endswith("float32")
    assert told["elapsed_s"] > 0
    assert told["interrupted"] is False


def test_a_pyramid_paints_small_first_and_takes_the_best_of_the_largest(
    settings: OptimizeSettings, photo: Frame, painting: Frame
) -> None:
    seen: list[OptimizeProgress] = []
    result = optimize(photo, painting, replace(settings, size=48, pyramid_levels=2, steps=8), callback=seen.append)
    assert [step.long_side for step in result.history] == [24] * 8 + [48] * 4
    assert [step.step for step in result.history] == list(range(1, 13))
    assert {progress.steps for progress in seen} == {12}
    assert [max(progress.best_image.shape) for progress in seen] == [24] * 8 + [48] * 4
    assert result.frame.shape == (35, 48, 3)
    assert result.best.long_side == 48
    assert result.best == min(result.history[8:], key=lambda step: step.total)


def test_a_level_begins_with_what_the_one_before_painted(
    settings: OptimizeSettings, photo: Frame, painting: Frame
) -> None:
    levels = replace(settings, size=48, pyramid_levels=2, steps=20)
    result = optimize(photo, painting, levels)
    plain = optimize(photo, painting, replace(levels, pyramid_levels=1, steps=1))
    assert result.history[20].style < 0.7 * plain.history[0].style


@pytest.mark.parametrize("stop", [3, 8, 9])
def test_ctrl_c_in_a_pyramid(stop: int, settings: OptimizeSettings, photo: Frame, painting: Frame) -> None:
    levels = replace(settings, size=48, pyramid_levels=2, steps=8)
    result = optimize(photo, painting, levels, callback=interrupt_at(stop))
    assert result.interrupted
    assert max(result.frame.shape) == (24 if stop <= 8 else 48)
    assert result.losses["total"] == pytest.approx(result.best.total, rel=0.05)


def test_divergence_as_a_level_begins_keeps_the_one_before(
    settings: OptimizeSettings, photo: Frame, painting: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = PixelObjective.evaluate

    def evaluate_so(objective: PixelObjective, image: torch.Tensor):
        losses, gradient = evaluate(objective, image)
        return losses | ({"total": math.nan} if max(image.shape) == 48 else {}), gradient

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate_so)
    with pytest.raises(OptimizeDivergedError, match="step 9: the total loss is nan") as caught:
        optimize(photo, painting, replace(settings, size=48, pyramid_levels=2, steps=8))
    assert caught.value.result is not None
    assert max(caught.value.result.frame.shape) == 24
