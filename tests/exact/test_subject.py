from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fastnst.errors import InputError, SettingError
from fastnst.exact.engine import optimize
from fastnst.exact.objective import MeasuredStyle, PixelObjective, Subject, blend_images, make_targets
from fastnst.exact.settings import OptimizeSettings, Style, crop_to, fitted_size, share_out
from fastnst.io.images import Frame, read_frame
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import load_loss_network

RED, BLUE = (230, 20, 20), (20, 20, 230)
CPU = torch.device("cpu")


@pytest.fixture
def settings(small: OptimizeSettings) -> OptimizeSettings:
    return replace(small, steps=20)


@pytest.fixture
def frames(photos: Path) -> list[Frame]:
    return [read_frame(photos / f"photo{number}.png") for number in range(4)]


def flat(size: tuple[int, int], *colours: tuple[int, int, int]) -> Frame:
    """Equal vertical bands of colours."""
    frame = np.zeros((*size, 3), np.uint8)
    for index, colour in enumerate(colours):
        frame[:, index * size[1] // len(colours) :] = colour
    return frame


def speckled(size: tuple[int, int], *colours: tuple[int, int, int]) -> Frame:
    """Bands with some texture in them."""
    noise = np.random.default_rng(0).integers(-20, 20, (*size, 3))
    return (flat(size, *colours) + noise).clip(0, 255).astype(np.uint8)


def objective_of(
    settings: OptimizeSettings, content: Frame, styles: object, mask: Frame | None = None
) -> PixelObjective:
    network, _ = load_loss_network(settings)
    return Subject(content, styles, settings, mask).objective(PerceptualLoss(network, settings), 24, CPU, None)


def test_weights_of_styles_sum_to_one(frames: list[Frame]) -> None:
    shared = share_out([Style(frames[0], 3), frames[1], Style(frames[2], 0)])
    assert [style.weight for style in shared] == [0.75, 0.25]
    assert share_out(frames[0])[0].weight == 1
    # Whose sum is no float any more.
    huge = share_out([Style(frames[0], 1e308), Style(frames[1], 1e308)])
    assert [style.weight for style in huge] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "no style has a weight above 0"),
        ([0.0, 0.0], "no style has a weight above 0"),
        ([1.0, -0.5], "a style has weight -0.5; expected a number from 0 on"),
        ([float("nan")], "a style has weight nan"),
        ([float("inf")], "a style has weight inf"),
    ],
)
def test_impossible_weights(weights: list[float], message: str, frames: list[Frame]) -> None:
    with pytest.raises(SettingError, match=message):
        share_out([Style(frames[0], weight) for weight in weights])


def test_crops_and_sizes_by_hand() -> None:
    frame = np.arange(2 * 7).reshape(2, 7)
    assert crop_to(frame, (10, 15)).tolist() == [[2, 3, 4], [9, 10, 11]]
    assert crop_to(frame.T, (1, 1)).tolist() == [[2, 9], [3, 10]]
    assert crop_to(frame, (4, 14)).tolist() == frame.tolist()
    frame = np.zeros((30, 60, 3))
    assert fitted_size(frame, 20, "keep") == fitted_size(frame, 20, "crop") == (10, 20)
    assert fitted_size(frame, 20, "square") == (20, 20)


@pytest.mark.parametrize("aspect", ["keep", "crop", "square"])
def test_fit_of_photo_and_style(aspect: str, settings: OptimizeSettings, frames: list[Frame]) -> None:
    photo, tall = frames[0], np.ascontiguousarray(frames[1].swapaxes(0, 1))
    result = optimize(photo, tall, replace(settings, aspect=aspect, steps=2))
    assert result.frame.shape[:2] == ((24, 24) if aspect == "square" else (17, 24))


def test_style_scale_and_pyramids_scale_the_style(settings: OptimizeSettings, frames: list[Frame]) -> None:
    assert Subject(*frames[:2], settings).style_side(24) == 24
    assert Subject(*frames[:2], settings).style_side(12) == 12
    assert Subject(*frames[:2], replace(settings, stroke=1.5)).style_side(24) == 36
    assert Subject(*frames[:2], replace(settings, style_size=48, stroke=0.5)).style_side(12) == 12


@pytest.mark.parametrize("normalization", ["paper", "cs229", "johnson", "kmit"])
def test_gram_and_loss_blending_have_equal_gradients(
    normalization: str, settings: OptimizeSettings, frames: list[Frame]
) -> None:
    gram, loss = (_gradient(settings, normalization, blend, frames) for blend in ("gram", "loss"))
    assert_close(gram, loss, rtol=1e-3, atol=1e-5 * float(gram.abs().max()))


def test_gram_and_loss_blending_differ_where_each_style_has_its_own_scale(
    settings: OptimizeSettings, frames: list[Frame]
) -> None:
    gram, loss = (_gradient(settings, "balanced", blend, frames) for blend in ("gram", "loss"))
    difference = gram / gram.norm() - loss / loss.norm()
    assert difference.norm() > 0.02


def _gradient(settings: OptimizeSettings, normalization: str, blend: str, frames: list[Frame]) -> torch.Tensor:
    # One style is dark, or their energies would be alike.
    styles = [Style(frames[1], 0.3), Style(frames[2] // 4, 0.7)]
    blended = replace(settings, normalization=normalization, style_blend=blend, content_weight=0.0)
    objective = objective_of(blended, frames[0], styles)
    return objective.evaluate(Subject(frames[0], styles, blended).photo(24))[1]


def test_blend_of_images_by_hand() -> None:
    styles = [Style(flat((2, 2), (200, 0, 100)), 0.25), Style(flat((4, 4), (0, 100, 101)), 0.75)]
    blended = blend_images(styles)
    assert len(blended) == 1
    assert blended[0].weight == 1
    assert blended[0].frame.tolist() == flat((2, 2), (50, 75, 101)).tolist()


def test_one_style_is_the_same_however_it_is_blended(settings: OptimizeSettings, frames: list[Frame]) -> None:
    painted = [
        optimize(frames[0], [frames[1], Style(frames[2], 0)], replace(settings, style_blend=blend, steps=3)).frame
        for blend in ("gram", "loss", "image")
    ]
    assert all(np.array_equal(frame, painted[0]) for frame in painted)


def test_mixed_styles_lie_between(settings: OptimizeSettings) -> None:
    photo = speckled((24, 24), (128, 128, 128))
    reds = []
    for share in (0.0, 0.5, 1.0):
        styles = [Style(speckled((24, 24), RED), share), Style(speckled((24, 24), BLUE), 1 - share)]
        painted = optimize(photo, styles, replace(settings, content_weight=0.0, steps=60)).frame
        reds.append(float(painted[..., 0].mean()))
    assert reds[0] + 20 < reds[1] < reds[2] - 20


def test_targets_by_hand() -> None:
    # Two styles of weights 1/4 and 3/4; the second alone has region 7, and neither has region 9.
    def statistics(value: float, *layers: str) -> dict[str, tuple[torch.Tensor, ...]]:
        return {layer: (torch.tensor([[float(value)]]),) for layer in layers}

    styles = [
        MeasuredStyle(0.25, {5: statistics(8, "a", "b")}),
        MeasuredStyle(0.75, {5: statistics(4, "a"), 7: statistics(2, "a", "b")}),
    ]
    where = {5: {"a": torch.tensor([0]), "b": torch.tensor([0])}, 7: {"a": torch.tensor([1])}, 9: {}}
    gram = make_targets(styles, where, "gram")
    assert [target.weight for target in gram] == [0.5, 0.5]
    assert [target.positions for target in gram] == [where[5], where[7]]
    assert {layer: values[0].item() for layer, values in gram[0].reference.items()} == {"a": 5.0, "b": 8.0}
    # The photo's region 7 has no position in layer b.
    assert {layer: values[0].item() for layer, values in gram[1].reference.items()} == {"a": 2.0}
    loss = make_targets(styles, where, "loss")
    assert [target.weight for target in loss] == [0.125, 0.375, 0.5]


def test_even_mean_is_equally_far_from_two_styles_by_hand() -> None:
    # Norms 5 and 10: weights 1/5 and 1/10, of the sum 2/3 and 1/3: (3, 4) 2/3 + (10, 0) 1/3 = (16/3, 8/3).
    values = [torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0, 0.0]])]
    styles = [MeasuredStyle(0.5, {0: {"a": (value,)}}) for value in values]
    (target,) = make_targets(styles, {0: None}, "gram", even=True)
    (mean,) = target.reference["a"]
    assert_close(mean, torch.tensor([[16 / 3, 8 / 3]]))
    distances = [((mean - value).norm() / value.norm()).item() for value in values]
    assert distances[0] == pytest.approx(distances[1])
    values = [torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)]
    styles = [MeasuredStyle(0.5, {0: {"a": (value,)}}) for value in values]
    (target,) = make_targets(styles, {0: None}, "gram", even=True)
    assert target.reference["a"][0].isfinite().all()


def test_balanced_gram_blends_are_even(settings: OptimizeSettings, frames: list[Frame]) -> None:
    styles = [Style(frames[1], 0.5), Style(frames[2] // 4, 0.5)]
    single = [objective_of(settings, frames[0], style).style[0].reference for style in styles]
    for normalization, even in (("balanced", True), ("paper", False)):
        (target,) = objective_of(replace(settings, normalization=normalization), frames[0], styles).style
        for layer in ("relu1_1", "relu2_1"):
            far = [
                ((target.reference[layer][0] - own[layer][0]).norm() / own[layer][0].norm()).item() for own in single
            ]
            assert (far[0] == pytest.approx(far[1], rel=1e-3)) is even


def band_masks(style: Frame) -> tuple[Frame, Frame]:
    return flat((24, 24), (255, 0, 0), (0, 0, 255)), flat(style.shape[:2], (0, 0, 255), (250, 8, 0))


@pytest.mark.parametrize("blend", ["gram", "loss"])
def test_regions_take_the_style_of_their_colour(blend: str, settings: OptimizeSettings) -> None:
    photo, style = speckled((24, 24), (128, 128, 128)), speckled((24, 30), BLUE, RED)
    content_mask, style_mask = band_masks(style)
    painted = optimize(
        photo,
        Style(style, mask=style_mask),
        replace(settings, style_blend=blend, steps=60, content_weight=0.1),
        content_mask=content_mask,
    ).frame.astype(float)
    left, right = painted[:, :9].mean((0, 1)), painted[:, 15:].mean((0, 1))
    # The photo's left is red in its mask, as the style's right half is, which is RED.
    assert left[0] > left[2] + 60
    assert right[2] > right[0] + 60


def test_a_style_for_each_region_by_colour(settings: OptimizeSettings) -> None:
    photo = speckled((24, 24), (128, 128, 128))
    styles = [Style(speckled((20, 30), RED), mask="#00FF00"), Style(speckled((30, 20), BLUE), mask="#000000")]
    mask = flat((48, 48), (0, 0, 0), (0, 255, 0))
    painted = optimize(photo, styles, replace(settings, steps=60, content_weight=0.1), content_mask=mask).frame
    left, right = painted[:, :9].astype(float).mean((0, 1)), painted[:, 15:].astype(float).mean((0, 1))
    assert left[2] > left[0] + 60
    assert right[0] > right[2] + 60


@pytest.mark.parametrize("aspect", ["keep", "crop", "square"])
def test_masks_follow_their_pictures(aspect: str, settings: OptimizeSettings) -> None:
    # Cropped to a square, the wide style loses the bands at its sides, in the mask as well.
    photo = speckled((24, 24), (128, 128, 128))
    style = speckled((24, 72), (0, 255, 0), BLUE, RED, (0, 255, 0))
    style_mask = flat((12, 36), (0, 0, 0), (0, 0, 255), (255, 0, 0), (0, 0, 0))
    content_mask = flat((24, 24), (0, 0, 255), (255, 0, 0))
    objective = objective_of(replace(settings, aspect=aspect), photo, Style(style, mask=style_mask), content_mask)
    blue, red = objective.style
    mean = {"b": blue.reference["relu1_1"][0], "r": red.reference["relu1_1"][0]}
    network, _ = load_loss_network(settings)
    judged = PerceptualLoss(network, settings)
    for name, colour in (("b", BLUE), ("r", RED)):
        pure = judged.measure_style(torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 24, 24) / 255)["relu1_1"][0]
        assert (mean[name] - pure).norm() < 0.3 * pure.norm()


def test_a_mask_of_one_colour_is_no_restriction(settings: OptimizeSettings, frames: list[Frame]) -> None:
    mask = flat((10, 10), RED)
    square = [np.ascontiguousarray(frame[:60, :60]) for frame in frames[:2]]
    plain = objective_of(settings, *square).judge(Subject(*square, settings).photo(24))
    masked = objective_of(settings, square[0], Style(square[1], mask=mask), mask)
    assert masked.judge(Subject(*square, settings).photo(24)) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ((flat((24, 24), RED), None), "regions need masks of both sides: --content-mask .* #ff0000"),
        ((None, flat((24, 30), RED)), "regions need masks of both sides"),
        ((flat((24, 30), RED), flat((24, 30), RED)), "--content-mask is 30x24 pixels, its photo 24x24: a mask has"),
        ((flat((24, 24), RED), flat((24, 24), RED)), "--style-mask is 24x24 pixels, its style picture 30x24"),
        (
            (flat((24, 24), RED, (0, 255, 0)), flat((24, 30), RED, BLUE)),
            r"a region of color #00ff00 \(50.0% of it\) that no style mask has \(they have .*\); add it there, or",
        ),
        ((np.zeros((24, 24), np.uint8), flat((24, 30), RED)), "is no picture"),
        ((flat((24, 24), RED), "#ff00"), "a style's mask is '#ff00'; expected a picture or a color such as #ff0000"),
    ],
)
def test_masks_that_do_not_fit(masks: tuple[Frame, Frame], message: str, settings: OptimizeSettings) -> None:
    photo, style = speckled((24, 24), BLUE), Style(speckled((24, 30), RED), mask=masks[1])
    with pytest.raises(InputError, match=message):
        optimize(photo, style, settings, content_mask=masks[0])


def test_masks_and_blended_images_exclude_each_other(settings: OptimizeSettings) -> None:
    photo, mask = speckled((24, 24), BLUE), flat((24, 24), RED)
    with pytest.raises(SettingError, match="--style-blend image knows no regions"):
        optimize(photo, Style(photo, mask=mask), replace(settings, style_blend="image"), content_mask=mask)


def test_missing_regions(settings: OptimizeSettings) -> None:
    photo, style = speckled((24, 24), (128, 128, 128)), Style(speckled((24, 24), RED), mask=flat((24, 24), RED))
    mask = flat((24, 24), RED, (0, 255, 0))
    whole = objective_of(replace(settings, missing_regions="whole"), photo, style, mask)
    assert [target.weight for target in whole.style] == [0.5, 0.5]
    plain = objective_of(replace(settings, missing_regions="plain"), photo, style, mask)
    assert [target.weight for target in plain.style] == [1.0]
    assert plain.style[0].positions.keys() == {"relu1_1", "relu2_1"}
    with pytest.raises(InputError, match="no color in common: nothing would be stylized"):
        objective_of(replace(settings, missing_regions="plain"), photo, style, flat((24, 24), (0, 255, 0)))


def test_a_style_without_a_mask_serves_every_region(settings: OptimizeSettings) -> None:
    photo = speckled((24, 24), (128, 128, 128))
    styles = [Style(speckled((24, 24), RED), mask=flat((24, 24), RED)), Style(speckled((24, 24), BLUE))]
    targets = objective_of(replace(settings, style_blend="loss"), photo, styles, flat((24, 24), RED, BLUE)).style
    assert [target.weight for target in targets] == [0.25, 0.25, 0.5]
