"""Training networks of several styles, of any strength, and steady ones."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.testing import assert_close

from fastnst.errors import CheckpointError, SettingError
from fastnst.io.images import read_frame
from fastnst.io.noise import with_noise
from fastnst.io.tensors import to_frame, to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import load_loss_network
from fastnst.models.checkpoint import (
    ModelInfo,
    build_network,
    load_model,
    must_be_found,
    read_safetensors,
    save_model,
    styles_of_names,
)
from fastnst.models.network import ConditionalInstanceNorm2d, Conditions, StyleNetwork
from fastnst.training import engine
from fastnst.training.checkpoint import CHECKPOINT, new_state
from fastnst.training.objective import TrainingObjective, draw_conditions
from fastnst.training.results import finish
from fastnst.training.settings import TrainSettings, plain

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Two style pictures of other colours and sizes."""
    folder, paths = tmp_path_factory.mktemp("paintings"), []
    for name, colour, size in (("red one", (220, 60, 20), (80, 96)), ("blue", (20, 60, 220), (72, 64))):
        noise = np.random.default_rng(len(name)).integers(-20, 20, (*size, 3))
        paths.append(folder / f"{name}.png")
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(paths[-1])
    return tuple(paths)


@pytest.fixture
def settings(tiny: TrainSettings, paintings: tuple[Path, ...]) -> TrainSettings:
    return dataclasses.replace(tiny, style=paintings, steps=4, preview_every=4)


GRAM = {
    "style_statistic": "gram",
    "style_scales": (1,),
    "statistics_over": "image",
    "detail_weight": 0.0,
    "pattern_weight": 0.0,
    "relief_weight": 0.0,
    "color_weight": 0.0,
}
"""A loss of content and style alone, whose value does not hang on what is drawn at random."""


def objective(settings: TrainSettings, *, input_noise: float = 0.0) -> TrainingObjective:
    settings = dataclasses.replace(settings, **GRAM, input_noise=input_noise)  # type: ignore[arg-type]
    network, _ = load_loss_network(settings, CPU)
    styles = [read_frame(path) for path in settings.style]
    return TrainingObjective(PerceptualLoss(network, settings), styles, settings, stride=4, device=CPU, dtype=None)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_settings_of_several_styles(settings: TrainSettings, paintings: tuple[Path, ...]) -> None:
    assert settings.style_names == ("red_one", "blue")
    assert settings.style_name == "red_one-blue"
    assert dataclasses.replace(settings, name="duo").style_name == "duo"
    assert settings.network_spec == {"kind": "johnson", "width": 2, "blocks": 1, "upsampling": "bilinear", "styles": 2}
    strong = dataclasses.replace(settings, style=paintings[:1], strength_input=True)
    assert strong.network_spec == {"kind": "johnson", "width": 2, "blocks": 1, "upsampling": "bilinear", "strength": 1}
    single = dataclasses.replace(settings, style=paintings[0])  # type: ignore[arg-type]
    assert single.style == paintings[:1]
    assert single.style_name == "red one"
    assert single.network_spec == {"kind": "johnson", "width": 2, "blocks": 1, "upsampling": "bilinear"}
    usual = dataclasses.replace(single, upsampling="nearest")
    assert usual.network_spec == {"kind": "johnson", "width": 2, "blocks": 1}
    assert json.loads(json.dumps(plain(settings)))["style"] == [str(path) for path in paintings]


def test_styles_that_cannot_be(settings: TrainSettings, paintings: tuple[Path, ...], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="two pictures are called blue"):
        dataclasses.replace(settings, style=(*paintings, tmp_path / "blue.jpg"))
    with pytest.raises(SettingError, match="--style is missing"):
        dataclasses.replace(settings, style=())
    for sizes in ((64, 0), (64, 64, 64), ()):
        with pytest.raises(SettingError, match=r"--style-size is .*; expected one number of pixels, or one for each"):
            dataclasses.replace(settings, style_size=sizes)
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="--temporal-weight is"):
            dataclasses.replace(settings, temporal_weight=weight)


def test_each_picture_is_judged_by_its_own_style_at_its_size(settings: TrainSettings, images: Tensor) -> None:
    settings = dataclasses.replace(settings, style_size=(64, 40))
    judge = objective(settings)
    total = judge(lambda image, _weights: image, images, range(1, 4))[0].floats()
    ones = [
        dataclasses.replace(settings, style=(settings.style[n % 2],), style_size=(settings.style_size[n % 2],))
        for n in range(1, 4)
    ]
    alone = [
        objective(one)(lambda image: image, images[place : place + 1], range(1))[0].floats()
        for place, one in enumerate(ones)
    ]
    for term in ("content", "style", "total"):
        assert total[term] == pytest.approx(sum(values[term] for values in alone) / 3)
    assert alone[0]["style"] != pytest.approx(alone[1]["style"], rel=1e-3)


def test_the_style_weight_follows_the_square_of_the_strength(settings: TrainSettings, images: Tensor) -> None:
    strong = dataclasses.replace(settings, strength_input=True, checkerboard_weight=0.0)
    samples = range(5, 8)
    told = draw_conditions(Conditions(2, strength=True), strong.seed, samples, CPU)
    assert len(set(told.strength.tolist())) > 1
    given = []

    def paint(image: Tensor, weights: Tensor, strength: Tensor) -> Tensor:
        given.append((weights, strength))
        return image

    losses, _ = objective(strong)(paint, images, samples)
    assert_close(given[0][1][:, 0], told.strength)
    each = [
        objective(settings)(lambda image, _: image, images[n : n + 1], samples[n : n + 1])[0].values for n in range(3)
    ]
    weighed = sum(s**2 * one["style"] for s, one in zip(told.strength, each, strict=True)) / 3
    assert_close(losses.total, losses.values["content"] + strong.style_weight * weighed)


def test_the_network_alone_gets_noise_new_for_each_sample_and_half_as_much_at_half_the_strength(
    settings: TrainSettings,
) -> None:
    strong = dataclasses.replace(settings, style=settings.style[:1], strength_input=True)
    judge, gray = objective(strong, input_noise=10.0), torch.full((3, 3, 64, 96), 0.5)
    given: list[tuple[Tensor, Tensor]] = []

    def paint(images: Tensor, _weights: Tensor, strength: Tensor) -> Tensor:
        given.append((images, strength))
        return gray

    for samples in (range(3), range(3), range(3, 6)):
        losses, _ = judge(paint, gray, samples)
        assert losses.values["content"] == 0, "content is that of the photo without noise"
    (first, strength), (again, _), (other, _) = given
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first[:, 0], first[:, 2])
    levels = (first - 0.5).std(dim=(1, 2, 3)) * 255 / strength[:, 0].clamp(max=1)
    assert (levels > 3).all()
    assert (levels < 18).all()


def test_held_out_pictures_are_measured_with_the_noise_that_pictures_are_stylized_with(settings: TrainSettings) -> None:
    judge, frame = objective(settings, input_noise=10.0), np.full((64, 64, 3), 100, np.uint8)
    stylized, _ = judge.measure(lambda image, _: image, to_image(frame))
    assert np.abs(to_frame(stylized).astype(int) - with_noise(frame, 10.0)).max() <= 1


def test_nothing_is_computed_twice(settings: TrainSettings, images: Tensor) -> None:
    calls = {"paint": 0, "loss": 0}
    judge = objective(dataclasses.replace(settings, strength_input=True))
    network = judge.loss.network

    def counted(image: Tensor) -> dict[str, Tensor]:
        calls["loss"] += 1
        return network(image)

    def paint(image: Tensor, _weights: Tensor, _strength: Tensor) -> Tensor:
        calls["paint"] += 1
        return image

    judge.loss.network = counted  # type: ignore[assignment]
    judge(paint, images, range(3))
    assert calls == {"paint": 1, "loss": 2}  # of the photos and of the paintings


def test_flicker_is_the_penalty_on_every_other_picture_of_each_style(settings: TrainSettings, images: Tensor) -> None:
    steady = dataclasses.replace(settings, temporal_weight=10.0)
    painted: list[Tensor] = []

    def paint(image: Tensor, weights: Tensor) -> Tensor:
        painted.append(weights)
        grid = torch.zeros(image.shape)
        grid[..., ::4] = 0.5
        return image + grid

    plain, losses = (objective(one)(paint, images, range(3))[0] for one in (settings, steady))
    assert [len(weights) for weights in painted] == [3, 3, 2]
    assert_close(painted[2], painted[1][:2])  # of either style the first; the third picture is the first's second
    assert "temporal" not in plain.values
    assert_close(losses.total, plain.total + 10 * losses.values["temporal"])
    noiseless = objective(steady)(lambda image, _: image, images, range(3))[0].values["temporal"]
    assert noiseless < 0.2 * losses.values["temporal"]


def test_flicker_takes_each_style_in_turn_however_a_batch_is_shared(settings: TrainSettings, images: Tensor) -> None:
    judge = objective(dataclasses.replace(settings, temporal_weight=10.0))
    four, twice = images[[0, 1, 2, 0]], list[Tensor]()

    def paint(image: Tensor, weights: Tensor) -> Tensor:
        twice.append(weights)
        return image**2

    whole = judge(paint, four, range(4, 8))[0].values["temporal"]
    assert twice.pop().tolist() == [[1, 0], [0, 1]]
    parts = [judge(paint, four[[n, n + 1]], range(4 + n, 6 + n))[0].values["temporal"] for n in (0, 2)]
    assert_close(sum(parts) / 2, whole)
    assert whole > 0
    assert parts[1] == 0


def test_a_network_learns_both_paintings(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    layers = {"content_layers": ("relu2_1",), "style_layers": ("relu1_1", "relu2_1")}
    longer = dataclasses.replace(
        settings, **layers, steps=40, learning_rate=3e-2, checkerboard_weight=0.0, preview_every=60
    )
    result = engine.run_training(longer, photos, tmp_path)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        red, blue, mix = (
            result.network(image, torch.tensor(weights)).mean(dim=(0, 2, 3))
            for weights in ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5])
        )
    assert red[0] > blue[0] + 0.15
    assert blue[2] > red[2] + 0.15
    assert blue[0] < mix[0] < red[0]
    assert set(result.losses) >= {"content red_one", "style red_one", "content blue", "style blue"}
    assert result.losses["style"] == pytest.approx((result.losses["style red_one"] + result.losses["style blue"]) / 2)


def test_files_of_several_styles(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    strong = dataclasses.replace(settings, strength_input=True, name="duo", temporal_weight=2.0, steps=2)
    files = finish(engine.run_training(strong, photos, tmp_path), tmp_path)
    network, info = load_model(files.model)
    assert info.styles == ("red_one", "blue")
    assert network.conditions == Conditions(2, strength=True)
    assert "red one.png, blue.png" in info.provenance
    session = onnxruntime.InferenceSession(files.onnx, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["frame", "style_weights", "strength"]
    card = files.card.read_text(encoding="utf-8")
    assert "| network | johnson 2 1 bilinear, 2 styles, strength," in card
    assert "| blue: content, style | " in card
    assert files.picture is not None
    height, width, _ = read_frame(files.picture).shape
    assert width > 2 * height  # both styles beside each other
    assert read_frame(tmp_path / "preview.png").shape == (64 * 2, 64 * 4 * 2, 3)


def test_resumed_equals_uninterrupted_and_takes_no_other_order_of_styles(
    settings: TrainSettings, photos: Path, tmp_path: Path, train_until: Callable[..., None]
) -> None:
    strong = dataclasses.replace(settings, strength_input=True, temporal_weight=2.0)
    whole: dict[int, dict[str, float]] = {}
    engine.run_training(strong, photos, tmp_path / "a", on_step=lambda p: whole.update({p.step: p.losses}))
    train_until(strong, tmp_path / "b", at=3)
    rest: dict[int, dict[str, float]] = {}
    engine.run_training(strong, photos, tmp_path / "b", resume=True, on_step=lambda p: rest.update({p.step: p.losses}))
    assert rest == {step: whole[step] for step in (3, 4)}
    first, second = (read_safetensors(tmp_path / run / CHECKPOINT)[0] for run in "ab")
    for name, value in first.items():
        assert_close(second[name], value, rtol=0, atol=0)
    turned = dataclasses.replace(strong, style=settings.style[::-1])
    with pytest.raises(CheckpointError, match="another style picture"):
        engine.run_training(turned, photos, tmp_path / "b", resume=True)


def test_several_styles_start_from_one(settings: TrainSettings, photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    spec: dict[str, int | str] = {"kind": "johnson", "width": 2, "blocks": 1, "upsampling": "bilinear"}
    single = build_network(spec)
    save_model(tmp_path / "one.safetensors", single, ModelInfo(style="one", network=spec, provenance="test"))
    started = dataclasses.replace(settings, init_from=tmp_path / "one.safetensors", learning_rate=1e-12, steps=1)
    network = engine.run_training(started, photos, tmp_path / "run").network
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for weights in ([1.0, 0.0], [0.3, 0.7]):
            assert_close(network(image, torch.tensor(weights)), single(image), rtol=1e-2, atol=1e-3)
    with pytest.raises(CheckpointError, match=r"width 2 blocks 1 \(one\); asked for is one of .* blocks 3"):
        engine.run_training(dataclasses.replace(started, blocks=3), photos, tmp_path / "other")


@pytest.fixture
def trio(settings: TrainSettings, tmp_path: Path) -> Path:
    """A network whose styles paint all blue, all red and all grey."""
    torch.manual_seed(5)
    spec = {**settings.network_spec, "styles": 3}
    network = build_network(spec)
    *_, norm = (part for part in network.modules() if isinstance(part, ConditionalInstanceNorm2d))
    *_, last = (part for part in network.modules() if isinstance(part, nn.Conv2d))
    with torch.no_grad():
        norm.weight.fill_(0.01)
        norm.bias.copy_(torch.tensor([[9.0, 0.0], [0.0, 9.0], [0.0, 0.0]]))
        last.weight.zero_()
        last.weight[:, :, 4, 4] = torch.tensor([[-0.2, 0.2], [0.0, 0.0], [0.2, -0.2]])
    path = tmp_path / "trio.safetensors"
    info = ModelInfo(style="trio", network=spec, provenance="test", styles=("sea", "fire", "grey"))
    save_model(path, network, info)
    return path


def colours(network: StyleNetwork, styles: int) -> list[Tensor]:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return [network(image, *([weights] if styles > 1 else [])).mean(dim=(0, 2, 3)) for weights in torch.eye(styles)]


def test_each_painting_begins_as_the_nearest_that_the_start_knows(
    settings: TrainSettings, photos: Path, trio: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    noting = engine.TrainCallbacks(on_note=said.append)
    begun = dataclasses.replace(settings, init_from=trio, steps=1, learning_rate=1e-12, ema_decay=0.5)
    network = engine.run_training(begun, photos, tmp_path / "run", callbacks=noting).network
    red, blue = colours(network, 2)
    assert red[0] > blue[0] + 0.1
    assert blue[2] > red[2] + 0.1
    assert [line.split(", the nearest")[0] for line in said if "starts from" in line] == [
        "red_one starts from fire",
        "blue starts from sea",
    ]
    single = dataclasses.replace(begun, style=settings.style[1:], ema_decay=0.0)
    assert_close(
        colours(engine.run_training(single, photos, tmp_path / "one").network, 1)[0], blue, rtol=1e-3, atol=1e-4
    )
    said.clear()
    red_one, _ = settings.style
    Image.open(red_one).save(tmp_path / "sea.png")
    named = dataclasses.replace(begun, style=(red_one, tmp_path / "sea.png"))
    again = colours(engine.run_training(named, photos, tmp_path / "named", callbacks=noting).network, 2)
    assert_close(torch.stack(again), torch.stack([red, blue]), rtol=1e-3, atol=1e-4)
    assert len([line for line in said if "starts from" in line]) == 1
    said.clear()
    engine.run_training(begun, photos, tmp_path / "run", resume=True, callbacks=noting)
    assert not any("starts from" in line for line in said)


def test_a_painting_of_the_same_name_begins_as_itself(settings: TrainSettings, trio: Path, tmp_path: Path) -> None:
    of_names = (tmp_path / "fire.png", tmp_path / "grey.png")
    begun = new_state(dataclasses.replace(settings, init_from=trio, style=of_names), CPU).network
    known, _ = load_model(trio)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    painted = begun(image, torch.tensor([0.3, 0.7]))
    assert_close(painted, known(image, torch.tensor([0.0, 0.3, 0.7])), rtol=1e-4, atol=1e-5)


def test_as_many_other_styles_are_not_taken_in_their_order(trio: Path) -> None:
    _, info = load_model(trio)
    assert must_be_found(("fire", "grey", "new"), info)
    assert must_be_found(("new",), info)
    assert not must_be_found(("grey", "sea", "fire"), info)
    assert styles_of_names(("grey", "sea", "fire"), info) == [2, 0, 1]
    assert not must_be_found(("new",), dataclasses.replace(info, styles=()))
