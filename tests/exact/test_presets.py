from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import fastnst
from fastnst.errors import SettingError
from fastnst.exact.engine import optimize
from fastnst.exact.presets import PRESETS, PresetName, preset_settings
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import read_frame

EVERY = get_args(PresetName)
FIRST_OF_FIVE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# What each document says, by hand from its text; where it says nothing, what was chosen for it.
STATED = {
    "aradwad-gauri": {
        "loss_network": "vgg16-caffe",
        "pool": "max",
        "normalization": "paper",
        "content_layers": ("relu4_2",),
        "content_layer_weights": (1,),
        "style_layers": FIRST_OF_FIVE,
        "style_layer_weights": (0.2,) * 5,
        "content_weight": 1e-3,
        "style_weight": 1,
        "style_blend": "image",
        "optimizer": "lbfgs",
        "steps": 200,
        "init": "noise",
        "size": 512,
        "aspect": "square",
        "tv_weight": 0,
    },
    "cs229": {
        "loss_network": "vgg19-caffe",
        "pool": "average",
        "normalization": "cs229",
        "content_layers": ("relu4_2",),
        "content_layer_weights": (1,),
        "style_layers": FIRST_OF_FIVE,
        "style_layer_weights": (1, 1, 1, 1, 1),
        "content_weight": 1e-4,
        "style_weight": 1,
        "tv_weight": 1e-5,
        "tv_kind": "l1",
        "optimizer": "adam",
        "learning_rate": pytest.approx(10 / 255),
        "learning_rate_end": pytest.approx(1 / 255),
        "learning_rate_steps": 1000,
        "adam_epsilon": pytest.approx(1e-8 * 255),
        "init": "noise",
        "steps": 400,
        "size": 500,
        "aspect": "crop",
    },
    "e4040": {
        "loss_network": "vgg19-caffe",
        "pool": "average",
        "normalization": "paper",
        "content_layers": ("relu4_2",),
        "style_layers": FIRST_OF_FIVE,
        "style_layer_weights": (),  # equal, summing to 1
        "content_weight": 1e-3,
        "style_weight": 1,
        "tv_weight": 1,
        "tv_kind": "l1",
        "optimizer": "adam",
        "learning_rate": pytest.approx(10 / 255),
        "learning_rate_end": None,
        "adam_epsilon": pytest.approx(1e-8 * 255),
        "steps": 200,
        "init": "content",
        "save_every": 20,
    },
    "gatys2015": {
        "loss_network": "vgg19-caffe",
        "pool": "average",
        "normalization": "paper",
        "content_layers": ("relu4_2",),
        "style_layers": FIRST_OF_FIVE,
        "style_layer_weights": (),
        "content_weight": 1e-3,
        "style_weight": 1,
        "tv_weight": 0,
        "optimizer": "lbfgs",
        "init": "noise",
        "steps": 500,
    },
    "kmit": {
        "loss_network": "vgg19-caffe",
        "pool": "max",
        "normalization": "tutorial",
        "content_layers": ("relu5_2",),
        "style_layers": FIRST_OF_FIVE,
        "content_weight": 1e4,
        "style_weight": 1e-2,
        "tv_weight": 0,
        "optimizer": "adam",
        "learning_rate": 0.02,
        "adam_beta1": 0.99,
        "adam_beta2": 0.999,
        "adam_epsilon": 0.1,
        "init": "content",
        "steps": 1000,
        "size": 512,
    },
    "johnson2016": {
        "loss_network": "vgg16-caffe",
        "pool": "max",
        "normalization": "johnson",
        "content_layers": ("relu3_3",),
        "style_layers": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
        "style_layer_weights": tuple(1 / channels**2 for channels in (64, 128, 256, 512)),
        "content_weight": 1,
        "style_weight": 5,
        "tv_weight": 1e-6,
        "tv_kind": "squared",
        "optimizer": "lbfgs",
        "init": "noise",
        "steps": 500,
        "size": 512,
    },
    "default": {},
}


@pytest.mark.parametrize("name", EVERY)
def test_presets_say_what_their_documents_say(name: str) -> None:
    settings = preset_settings(name)
    assert {field: getattr(settings, field) for field in STATED[name]} == STATED[name]


@pytest.mark.parametrize("name", EVERY[1:])
def test_the_documents_paint_at_one_size(name: str) -> None:
    assert preset_settings(name, size=2048).pyramid_levels == 1


def test_every_preset_is_there_and_explains_itself() -> None:
    assert set(PRESETS) == set(EVERY)
    known = {field.name for field in fields(OptimizeSettings)}
    for name, preset in PRESETS.items():
        assert preset.document
        assert set(preset.settings) <= known
        assert name == "default" or preset.chosen
    assert preset_settings("default") == OptimizeSettings()


def test_changes_go_before_the_preset() -> None:
    changed = preset_settings("cs229", steps=7, normalization="paper")
    assert changed == replace(preset_settings("cs229"), steps=7, normalization="paper")
    changed = preset_settings("johnson2016", style_layers=("relu1_1", "relu2_1"))
    assert changed.style_layer_weights == ()
    assert preset_settings("cs229", style_layers=("relu1_1",)).content_layer_weights == (1,)
    with pytest.raises(SettingError, match="no preset is called 'gatys'; did you mean 'gatys2015'"):
        preset_settings("gatys")


@pytest.fixture
def caffe_weights(loss_weights: Path, tmp_path: Path) -> Path:
    """The tiny weights for pixels in 0..255, which the documents' weights of the terms go with."""
    save_file(load_file(loss_weights), tmp_path / "caffe.safetensors", metadata={"normalization": "caffe"})
    return tmp_path / "caffe.safetensors"


@pytest.mark.parametrize("name", EVERY)
def test_every_preset_runs_towards_the_style(name: str, photos: Path, style_picture: Path, caffe_weights: Path) -> None:
    settings = preset_settings(
        name,
        steps=12,
        size=24,
        content_layers=("relu2_1",),
        style_layers=("relu1_1", "relu2_1"),
        loss_weights=caffe_weights,
        precision="float32",
    )
    result = optimize(read_frame(photos / "photo0.png"), read_frame(style_picture), settings)
    # The last picture tried may be one that L-BFGS goes back from.
    assert min(step.style for step in result.history[-3:]) < result.history[0].style
    assert result.frame.shape[:2] == ((24, 24) if settings.aspect == "square" else (17, 24))


def test_the_python_interface_does_it_all(photos: Path, style_picture: Path, loss_weights: Path) -> None:
    # As docs/exact.md shows it.
    photo, wave = fastnst.read_frame(photos / "photo0.png"), fastnst.read_frame(style_picture)
    settings = fastnst.preset_settings(
        "gatys2015",
        size=24,
        steps=3,
        content_layers=("relu2_1",),
        style_layers=("relu1_1",),
        loss_weights=loss_weights,
    )
    seen: list[int] = []
    mask = np.zeros_like(photo)
    result = fastnst.optimize(
        photo,
        [fastnst.Style(wave, weight=0.7, mask="#000000"), fastnst.Style(photo, weight=0.3)],
        settings,
        content_mask=mask,
        callback=lambda progress: seen.append(progress.last.step),
    )
    assert seen == [1, 2, 3]
    assert result.frame.shape == (17, 24, 3)
    assert len(result.history) == 3


def test_the_page_says_what_the_presets_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "research" / "papers.md").read_text(encoding="utf-8")
    for name, preset in PRESETS.items():
        assert f"| `{name}` |" in page
        for line in (*preset.chosen, *preset.differs):
            assert line in page
