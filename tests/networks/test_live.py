from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from fastnst.networks.live import LiveNet
from fastnst.networks.model import ModelInfo, load_model, save_model
from fastnst.networks.network import uncentred, woven


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 48, 72, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("width", "blocks", "parameters"), [(48, 3, 150_067), (32, 2, 46_595)])
def test_size_and_parameters(width: int, blocks: int, parameters: int, image: torch.Tensor) -> None:
    network = LiveNet(width, blocks)
    assert network(image).shape == image.shape
    quarter = 32 if width == 48 else 16
    convolutions = [
        3 * 4 * 16 + 16,
        16 * 4 * quarter + quarter,
        quarter * 4 * width + width,
        2 * blocks * (9 * width * width + width),
        9 * width * quarter + quarter,
        9 * quarter + quarter * quarter + quarter,
        quarter * 16 + 16,
        16 * 16 * 3 + 3,
    ]
    assert sum(value.numel() for value in network.parameters()) == sum(convolutions) + 2 * width * (1 + blocks)
    assert sum(value.numel() for value in network.parameters()) == parameters


def test_what_is_exported_computes_what_was_trained(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = LiveNet(32, 2)
    assert network.last.bias is not None
    torch.nn.init.normal_(network.last.bias)
    with torch.no_grad():
        trained = network.train()(image)
        assert_close(network.eval()(image), trained, atol=1e-5, rtol=0)


def test_the_last_step_is_a_transposed_convolution(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = LiveNet(32, 1)
    torch.nn.init.normal_(network.last.weight)
    last: list[torch.Tensor] = []
    for name, part in network.named_modules():
        if name == "beside_quarters":
            part.register_forward_hook(lambda _part, _given, made: last.append(made))
    # What the last step takes is relu(up + beside); with nothing from the blocks it is beside, which is a ReLU's.
    for parameter in network.from_quarters.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        painted = network.train()(image)
        expected = uncentred(F.conv_transpose2d(last[0], network.last.weight, network.last.bias, stride=2, padding=1))
    inner = (..., slice(1, -1), slice(1, -1))
    assert_close(painted[inner], expected[inner])
    assert_close(painted, F.pad(painted[inner], (1, 1, 1, 1), mode="replicate"))


def test_phases_by_hand() -> None:
    # One place: its pixels are 0, 1 in the first row and 2, 3 in the second, each three colours.
    phases = torch.arange(12.0).view(1, 12, 1, 1)
    red = torch.tensor([[0, 0, 3, 3], [0, 0, 3, 3], [6, 6, 9, 9], [6, 6, 9, 9]], dtype=torch.float32)
    assert_close(woven(phases, 2)[0], torch.stack([red, red + 1, red + 2]))


def test_places_of_a_cell_begin_alike(image: torch.Tensor) -> None:
    with torch.no_grad():
        stylized = LiveNet(32, 1)(image)
    assert_close(stylized[..., ::2, ::2], stylized[..., 1::2, 1::2])
    assert_close(stylized[..., ::2, ::2], stylized[..., ::2, 1::2])


def test_survives_the_file(tmp_path: Path, image: torch.Tensor) -> None:

    path = tmp_path / "live.safetensors"
    spec: dict[str, int | str] = {"kind": "live", "width": 32, "blocks": 2}
    save_model(path, LiveNet(32, 2), ModelInfo(style="waves", network=spec, provenance="test"))
    network, info = load_model(path)
    assert isinstance(network, LiveNet)
    assert (network.width, network.blocks, info.network) == (32, 2, spec)
