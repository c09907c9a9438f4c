"""Networks with random weights, exported once for all tests of tiles: that takes seconds."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from fastnst.models.checkpoint import ModelInfo
from fastnst.models.export import Layout, to_onnx
from fastnst.models.network import StyleNetwork, TransformNet

INFO = ModelInfo(style="waves", network={"kind": "johnson", "width": 8, "blocks": 2}, provenance="a test")

Export = Callable[..., Path]


@pytest.fixture(scope="session")
def export() -> Export:
    """Export a network, whose normalisations get random scales and biases, to a path."""

    def write(network: StyleNetwork, path: Path, layout: Layout = "nhwc-uint8") -> Path:
        for module in network.modules():
            if isinstance(module, nn.InstanceNorm2d):
                nn.init.normal_(module.weight, 1, 0.3)
                nn.init.normal_(module.bias, 0, 0.3)
        onnx.save(to_onnx(network.eval(), INFO, layout), path)
        return path

    return write


@pytest.fixture(scope="session")
def johnson(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(TransformNet(width=8, blocks=2), tmp_path_factory.mktemp("onnx") / "johnson.onnx")
