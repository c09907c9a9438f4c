import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from fastnst.errors import CheckpointError
from fastnst.losses.losses import checkerboard_loss
from fastnst.models.checkpoint import ModelInfo, build_network, in_words, load_model, read_safetensors, save_model
from fastnst.models.network import TransformNet

SPEC: dict[str, int | str] = {"kind": "johnson", "width": 4, "blocks": 2}


def test_model_survives_the_file(tmp_path: Path) -> None:
    network = TransformNet(width=4, blocks=2).eval()
    info = ModelInfo(style="waves", network=SPEC, provenance="test", training={"steps": 3})
    save_model(tmp_path / "m.safetensors", network, info)
    loaded, read = load_model(tmp_path / "m.safetensors")
    assert read == info
    for own, given in zip(loaded.parameters(), network.parameters(), strict=True):
        assert_close(own, given.half().float(), rtol=0, atol=0)


def test_johnson_has_the_published_number_of_parameters() -> None:
    # pytorch/examples' network of the same form: guide figures and its ONNX file say 1,679,235.
    assert sum(value.numel() for value in TransformNet().parameters()) == 1_679_235


def test_network_keeps_the_size_and_starts_near_the_middle() -> None:
    torch.manual_seed(0)
    stylized = TransformNet(width=4, blocks=1)(torch.rand(2, 3, 64, 72))
    assert stylized.shape == (2, 3, 64, 72)
    assert 0.2 < stylized.mean() < 0.7


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.safetensors: not a") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    network = TransformNet(width=4, blocks=1)
    with torch.no_grad():
        next(network.parameters()).view(-1)[3] = value
    save_model(tmp_path / "m.safetensors", network, ModelInfo(style="waves", network=SPEC, provenance="test"))
    with pytest.raises(CheckpointError, match=r"m\.safetensors: \S+ holds numbers that are none \(NaN or infinity\)"):
        load_model(tmp_path / "m.safetensors")


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(CheckpointError, match="'unet'"):
        build_network({"kind": "unet"})


@pytest.mark.parametrize(
    "change",
    [
        {"network": {"kind": "johnson", "width": 10**9, "blocks": 2}},
        {"network": {"kind": "johnson", "width": 4, "blocks": 10**9}},
        {"network": {"kind": "johnson", "width": 4, "blocks": -1}},
        {"network": {"kind": "johnson", "width": 4, "blocks": 2, "styles": 10**12}},
        {"network": {"kind": "johnson", "width": 4, "blocks": 1}},
        {"network": {"kind": "johnson", "width": "x", "blocks": 1}},
        {"network": {"kind": "johnson"}},
        {"network": []},
        {"network": None},
        {"style": 3},
        {"provenance": None},
        {"training": []},
        {"styles": 3},
        {"styles": [1, 2]},
        {"unknown": 1},
    ],
)
def test_a_model_that_says_nonsense_of_itself_is_one_line(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, TransformNet(width=4, blocks=2), ModelInfo(style="waves", network=SPEC, provenance="test"))
    tensors, metadata = read_safetensors(path)
    save_file(tensors, path, metadata | {"info": json.dumps(json.loads(metadata["info"]) | change)})
    with pytest.raises(CheckpointError, match=r"m\.safetensors: damaged, or of another version of fastnst"):
        load_model(path)


@pytest.mark.parametrize("info", ["", "[]", "null", "[" * 100_000, '"a"'])
def test_a_model_whose_description_is_no_table_is_one_line(info: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, TransformNet(width=4, blocks=2), ModelInfo(style="waves", network=SPEC, provenance="test"))
    tensors, metadata = read_safetensors(path)
    save_file(tensors, path, metadata | {"info": info})
    with pytest.raises(CheckpointError, match=r"m\.safetensors: damaged, or of another version of fastnst"):
        load_model(path)


def test_a_bilinear_johnson_is_smooth_where_one_of_nearest_neighbors_has_bricks() -> None:
    torch.manual_seed(0)
    spec: dict[str, int | str] = {**SPEC, "upsampling": "bilinear"}
    bilinear, nearest = build_network(spec), build_network(SPEC)
    nearest.load_state_dict(bilinear.state_dict())
    photo = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        grids = [float(checkerboard_loss(network(photo), 4)) for network in (bilinear, nearest)]
    assert grids[0] < 0.5 * grids[1]
    assert in_words(spec) == "johnson 4 2 bilinear"


@pytest.mark.parametrize(
    "spec", [{**SPEC, "upsampling": "cubic"}, {"kind": "live", "width": 32, "blocks": 1, "upsampling": "bilinear"}]
)
def test_an_upsampling_that_a_network_does_not_have_is_refused(spec: dict[str, int | str]) -> None:
    with pytest.raises(CheckpointError, match=r"with upsampling '(cubic|bilinear)'; unknown here"):
        build_network(spec)
