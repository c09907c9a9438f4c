from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from fastnst.errors import SettingError, WeightsError
from fastnst.losses.compact import LAYERS, MEAN, SHAPES, STD, CompactFeatures, CompactInfo, load_compact, save_compact
from fastnst.losses.losses import gram_matrix
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.settings import LossSettings
from fastnst.losses.weights import ENVIRONMENT_VARIABLE, load_loss_network

SETTINGS = LossSettings(loss_network="compact")


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, 34, 41, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "own.safetensors"
    save_compact(path, CompactFeatures(), CompactInfo(teacher="a teacher"))
    return path


def test_shapes_of_all_layers(image: Tensor) -> None:
    shapes = {layer: tuple(value.shape) for layer, value in CompactFeatures()(image).items()}
    assert shapes == {
        "relu1_1": (1, 16, 34, 41),
        "relu2_1": (1, 40, 17, 20),
        "relu3_1": (1, 80, 8, 10),
        "relu4_1": (1, 160, 4, 5),
        "relu4_2": (1, 192, 4, 5),
        "relu5_1": (1, 320, 2, 2),
    }


def test_a_head_mixes_what_is_rectified_and_the_path_does_not_pass_through_it(image: Tensor) -> None:
    network = CompactFeatures(["relu1_1"])
    with torch.no_grad():
        kernel = network.convolutions["conv1_1"].convolve.weight.zero_()
        network.convolutions["conv1_1"].convolve.bias.zero_()
        kernel[0, 0, 1, 1], kernel[1, 0, 1, 1] = 1, -1  # red above its mean, and red below it
        head = network.heads["relu1_1"].weight.zero_()
        head[0, 0], head[1, 1], head[1, 0] = 2, 3, 1
    red = (image[:, 0] - MEAN) / STD
    features = network(image)["relu1_1"]
    assert_close(features[:, 0], 2 * red.clamp(min=0))
    assert_close(features[:, 1], red.clamp(min=0) + 3 * (-red).clamp(min=0))
    assert_close(network.rectified(image)["conv1_1"][:, 1], (-red).clamp(min=0))


def test_only_as_deep_as_asked() -> None:
    network = CompactFeatures(["relu2_1", "relu1_1"])
    assert network.layers == ("relu1_1", "relu2_1")
    assert list(network.convolutions) == ["conv1_1", "conv1_2", "conv2_1"]
    assert (network.smallest_side, CompactFeatures().smallest_side) == (2, 16)


def test_pools_between_blocks(image: Tensor) -> None:
    network = CompactFeatures(["relu2_1"])
    responses = network.rectified(image)
    pooled = torch.nn.functional.avg_pool2d(responses["conv1_2"], 2)
    assert_close(responses["conv2_1"], network.convolutions["conv2_1"](pooled))


@pytest.mark.parametrize(("layers", "message"), [(["relu3_2"], "no layer 'relu3_2'.*vgg19"), ([], "at least")])
def test_layers_it_does_not_have(layers: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        CompactFeatures(layers)


def test_an_image_that_is_too_small() -> None:
    with pytest.raises(SettingError, match="too small for relu5_1"):
        CompactFeatures()(torch.rand(1, 3, 15, 40))


def test_is_an_eighth_of_vgg19() -> None:
    # Multiply-adds a pixel and parameters up to conv5_1; VGG-19's from table 1 of Simonyan and Zisserman (2015).
    blocks = [(64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512,)]
    inputs, vgg_multiplications, vgg_parameters = 3, 0.0, 0
    for block, widths in enumerate(blocks):
        for width in widths:
            vgg_parameters += 9 * inputs * width + width
            vgg_multiplications += 9 * inputs * width / 4**block
            inputs = width
    network = CompactFeatures()
    assert sum(value.numel() for value in network.parameters()) < vgg_parameters / 8
    multiplications = 0.0
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            block = int(name.split(".")[1][4])  # convolutions.conv3_1.reduce, heads.relu3_1
            multiplications += module.weight.numel() / 4 ** (block - 1)
    assert multiplications < vgg_multiplications / 8


def test_a_convolution_is_the_product_of_its_parts() -> None:
    torch.manual_seed(0)
    layer = CompactFeatures(["relu3_1"]).convolutions["conv2_2"]
    x = torch.randn(1, SHAPES["conv2_1"].channels, 5, 6)
    kernel = torch.einsum(
        "or,rsyx,si->oiyx", layer.expand.weight[..., 0, 0], layer.convolve.weight, layer.reduce.weight[..., 0, 0]
    )
    whole = torch.nn.functional.conv2d(x, kernel, layer.expand.bias, padding=1).relu()
    assert_close(layer(x), whole, rtol=1e-4, atol=1e-5)


def test_saved_and_loaded(file: Path, image: Tensor) -> None:
    network, provenance = load_compact(replace(SETTINGS, loss_weights=file), ["relu1_1", "relu2_1"])
    assert provenance.startswith("compact (stands in for a teacher), own.safetensors (sha256 ")
    torch.manual_seed(0)
    given = CompactFeatures()(image)
    for layer, value in network(image).items():
        assert_close(value, given[layer], rtol=2e-2, atol=2e-3)  # float16


def test_the_environments_vgg_is_not_taken_for_it(
    file: Path, loss_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(loss_weights))
    _, provenance = load_loss_network(replace(SETTINGS, loss_weights=file))
    assert "own.safetensors" in provenance


@pytest.mark.parametrize(
    ("change", "message"), [({"normalization": "paper"}, "units of VGG"), ({"pool": "max"}, "average pooling alone")]
)
def test_what_it_cannot_stand_in_for(change: dict[str, str], message: str, file: Path) -> None:
    with pytest.raises(SettingError, match=message + ".*--loss-network vgg19"):
        load_compact(replace(SETTINGS, loss_weights=file, **change), LAYERS)


def test_files_that_are_no_compact_network(loss_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"a": torch.zeros(1)}, tmp_path / "short.safetensors", {"format": "fastnst compact loss network 1"})
    for path, message in (
        (loss_weights, "not a compact loss network; expected a file that fastnst research distill wrote"),
        (tmp_path / "none.safetensors", "no such file"),
        (tmp_path / "text.safetensors", "damaged, or of another version"),
        (tmp_path / "short.safetensors", "damaged, or of another version"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_compact(replace(SETTINGS, loss_weights=path), LAYERS)


def test_a_file_that_lacks_a_tensor(file: Path) -> None:
    from safetensors.torch import load_file  # noqa: PLC0415

    state = load_file(file)
    del state["heads.relu5_1.weight"]
    save_file(state, file, {"format": "fastnst compact loss network 1", "info": '{"teacher": "a"}'})
    with pytest.raises(WeightsError, match="damaged, or of another version"):
        load_compact(replace(SETTINGS, loss_weights=file), LAYERS)


def test_the_bundled_weights_judge_pictures(image: Tensor) -> None:
    network, provenance = load_loss_network(SETTINGS)
    assert "vgg19" in provenance
    loss = PerceptualLoss(network, SETTINGS)
    pixels = image.clone().requires_grad_()
    losses = loss(pixels, loss.measure_content(image), loss.measure_style(image.flip(3)))
    assert float(losses.values["content"].detach()) < 1e-8
    assert 0 < float(losses.values["style"].detach()) < 0.2  # a mirrored picture is nearly the same style
    assert all(torch.isfinite(gram_matrix(value)).all() for value in network(image).values())
    (gradient,) = torch.autograd.grad(losses.total, pixels)
    assert gradient.abs().sum() > 0
