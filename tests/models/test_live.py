from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from fastnst.models.checkpoint import ModelInfo, load_model, save_model
from fastnst.models.live import LiveNet
from fastnst.models.network import Conditions


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
    network = LiveNet(32, 2, Conditions(strength=True))
    assert network.last.bias is not None
    torch.nn.init.normal_(network.last.bias)
    with torch.no_grad():
        exported = network.for_export()(image, strength=torch.tensor([0.7]))
        assert_close(exported, network(image, strength=torch.tensor([0.7])), atol=1e-5, rtol=0)


def test_phases_are_the_pixels_between_four_places(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = LiveNet(32, 1).eval()
    assert network.last.bias is not None
    torch.nn.init.normal_(network.last.weight)
    torch.nn.init.normal_(network.last.bias)
    with torch.no_grad():
        painted, phases = 255 * network(image), network.for_export().paint_phases(255 * image, None)
    assert phases.shape == (2, 12, 23, 35)
    for row in range(2):
        for column in range(2):
            channels = phases[:, 6 * row + 3 * column :][:, :3]
            assert_close(channels, painted[..., 1 + row : -1 : 2, 1 + column : -1 : 2], atol=1e-2, rtol=1e-4)


def test_the_border_is_what_is_next_to_it(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = LiveNet(32, 1).eval()
    torch.nn.init.normal_(network.last.weight)
    with torch.no_grad():
        painted = network(image)
    assert_close(painted, F.pad(painted[..., 1:-1, 1:-1], (1, 1, 1, 1), mode="replicate"))


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
