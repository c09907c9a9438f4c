"""Files for phones: the network of one size is the usual one, and what the converters make of it is run back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fastnst.io.noise import with_noise
from fastnst.models.checkpoint import ModelInfo, save_model
from fastnst.models.live import LiveNet
from fastnst.models.mobile import FixedSizeNetwork, save_coreml, save_litert
from fastnst.models.network import PLAIN, Conditions, StyleNetwork, TransformNet, stylize_frame

FRAME = np.random.default_rng(0).integers(0, 256, (50, 75, 3), np.uint8)
"""Of a size that must be extended both ways: to 64 pixels high, to a multiple of the stride across."""


def network(kind: str = "johnson", conditions: Conditions = PLAIN) -> StyleNetwork:
    torch.manual_seed(0)
    made = TransformNet(4, 1, conditions) if kind == "johnson" else LiveNet(8, 1, conditions)
    for name, value in made.named_parameters():
        if name.endswith(("weight", "scale")) and value.shape[0] == conditions.rows:
            torch.nn.init.uniform_(value, 0.5, 1.5)
    return made.eval()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    spec: dict[str, int | str] = {"kind": "johnson", "width": 4, "blocks": 1, "styles": 2}
    info = ModelInfo("two", spec, "drawn", styles=("a", "b"))
    save_model(tmp_path / "two.safetensors", network("johnson", Conditions(2)), info)
    return tmp_path / "two.safetensors"


@pytest.mark.parametrize("kind", ["johnson", "live"])
@pytest.mark.parametrize("conditions", [PLAIN, Conditions(2, strength=True)], ids=["plain", "conditioned"])
def test_the_network_of_one_size_is_the_usual_one(kind: str, conditions: Conditions) -> None:
    usual = network(kind, conditions)
    mix = {} if conditions.plain else {"style_weights": [0.25, 0.75], "strength": 0.5}
    given = [] if conditions.plain else [torch.tensor([0.25, 0.75]), torch.tensor([0.5])]
    levels = torch.from_numpy(FRAME).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        made = FixedSizeNetwork(usual, (50, 75), noise=12)(levels, *given)
    noisy = with_noise(FRAME, 12 if conditions.plain else 6)
    expected = stylize_frame(usual, noisy, **mix)  # type: ignore[arg-type]
    assert np.abs(made[0].permute(1, 2, 0).round().numpy() - expected.astype(float)).max() <= 1
    assert expected.std() > 5


@pytest.mark.slow
def test_litert_runs_it_and_paints_alike(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    assert save_litert(model, tmp_path / "two.tflite", (50, 75), noise=12, overwrite=False) <= 1
    assert (tmp_path / "two.tflite").stat().st_size > 0


@pytest.mark.slow
def test_coreml_describes_images_and_the_mix(model: Path, tmp_path: Path) -> None:
    tools = pytest.importorskip("coremltools")
    save_coreml(model, tmp_path / "two.mlpackage", (50, 75), noise=12, fp16=False, overwrite=False)
    said = tools.utils.load_spec(str(tmp_path / "two.mlpackage")).description
    assert [port.name for port in said.input] == ["frame", "style_weights"]
    assert said.input[0].type.imageType.width == said.output[0].type.imageType.width == 75
    assert said.metadata.userDefined["styles"] == "a,b"
    assert said.metadata.userDefined["noise_in_graph"] == "12"
    assert {path.name for path in tmp_path.iterdir()} == {"two.safetensors", "two.mlpackage"}
