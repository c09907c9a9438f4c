"""Settings of a training under their names of version 0.1, in recipes, options and checkpoints."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import pytest
import torch
from cyclopts import App, Parameter
from safetensors.torch import save_file

from fastnst.models.checkpoint import read_safetensors
from fastnst.training.checkpoint import CHECKPOINT, saved_settings
from fastnst.training.engine import TrainProgress, run_training
from fastnst.training.settings import RENAMED, TrainSettings, with_new_names


def test_every_new_name_is_a_setting_and_no_old_one() -> None:
    names = {field.name for field in dataclasses.fields(TrainSettings)}
    assert set(RENAMED.values()) <= names
    assert not RENAMED.keys() & names


@pytest.mark.parametrize("names", [RENAMED.keys(), RENAMED.values()])
def test_options_are_read_under_either_name(names: list[str]) -> None:
    given = {
        "polish": "0.25",
        "polish_weights": "vgg.pth",
        "licence": "MIT",
        "batch": "3",
        "crop": "128",
        "small_first": "0.5",
        "small_crop": "64",
        "small_batch": "6",
        "decay": "constant",
        "average": "0.9",
        "start": "none",
        "lattice_weight": "7",
    }
    app = App(result_action="return_value")

    @app.default
    def settings(*, settings: Annotated[TrainSettings, Parameter(name="*")]) -> TrainSettings:
        return settings

    options = [f"--{name.replace('_', '-')}={given[old]}" for old, name in zip(RENAMED, names, strict=True)]
    read = app([*options, "--style=x.png", "--loss-network=compact"])
    assert (read.fine_tune, read.fine_tune_weights, read.license) == (0.25, Path("vgg.pth"), "MIT")
    assert (read.batch_size, read.crop_size, read.lr_schedule, read.ema_decay) == (3, 128, "constant", 0.9)
    assert (read.progressive_resizing, read.progressive_crop_size, read.progressive_batch_size) == (0.5, 64, 6)
    assert (read.init_from, read.checkerboard_weight) == ("none", 7.0)


def test_old_names_become_new_ones() -> None:
    assert with_new_names({"batch": 3, "steps": 9}) == {"batch_size": 3, "steps": 9}


def test_a_checkpoint_of_version_0_1_goes_on(tiny: TrainSettings, photos: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(tiny, ema_decay=0.5)
    run_training(settings, photos, tmp_path / "whole")

    def stop(progress: TrainProgress) -> None:
        if progress.step == 4:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        run_training(dataclasses.replace(settings, checkpoint_every_s=0.0), photos, tmp_path / "old", on_step=stop)
    path = tmp_path / "old" / CHECKPOINT
    tensors, metadata = read_safetensors(path)
    old = {new: name for name, new in RENAMED.items()}
    saved = {old.get(name, name): value for name, value in json.loads(metadata["settings"]).items()}
    assert saved["batch"] == 2
    tensors = {f"average.{name[4:]}" if name.startswith("ema.") else name: tensors[name] for name in tensors}
    save_file(tensors, path, metadata | {"settings": json.dumps(saved)})
    assert saved_settings(tmp_path / "old")["ema_decay"] == 0.5
    run_training(settings, photos, tmp_path / "old", resume=True)
    whole, resumed = (read_safetensors(tmp_path / name / CHECKPOINT)[0] for name in ("whole", "old"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
