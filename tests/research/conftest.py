"""A distillation that takes seconds."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fastnst.losses.compact import COMPONENTS, SHAPES, Shape
from fastnst.losses.vgg import layer_names
from fastnst.research import distill_pictures
from fastnst.research.settings import DistillSettings


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SHAPES:
        monkeypatch.setitem(SHAPES, name, Shape(6, 0 if name == "conv1_1" else 4, 4))
    for layer in COMPONENTS:
        monkeypatch.setitem(COMPONENTS, layer, 3)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of VGG-19 as far as conv5_1."""
    generator, state, inputs = torch.Generator().manual_seed(0), {}, 3
    for index, name in enumerate(layer_names("vgg19")):
        if name.startswith("conv"):
            outputs = (64, 128, 256, 512, 512)[int(name[4]) - 1]
            scale = (2 / (9 * inputs)) ** 0.5
            state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * scale
            state[f"features.{index}.bias"] = torch.zeros(outputs)
            inputs = outputs
        if name == "conv5_1":
            break
    path = tmp_path_factory.mktemp("teacher") / "vgg.safetensors"
    save_file(state, path, {"normalization": "torchvision"})
    return path


@pytest.fixture
def settings(photos: Path, style_picture: Path, teacher: Path) -> DistillSettings:
    return DistillSettings(
        content=str(photos),
        paintings=style_picture.parent,
        loss_weights=teacher,
        images_per_round=3,
        descents=2,
        rounds=2,
        crop_size=32,
        refine_steps=0,
        precision="float32",
        workers=0,
    )


@pytest.fixture
def short_descents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill_pictures, "DESCENT_STEPS", (4, 4))
