"""Settings of a training under their names of version 0.1, in recipes, options and checkpoints."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from fastnst.models.checkpoint import read_safetensors
from fastnst.renamed import RENAMED, with_current_names
from fastnst.training.checkpoint import CHECKPOINT, saved_settings
from fastnst.training.engine import run_training
from fastnst.training.settings import TrainSettings, of_their_time


def test_old_names_become_new_ones() -> None:
    names = {field.name.replace("_", "-") for field in dataclasses.fields(TrainSettings)}
    assert set(RENAMED["train"].values()) <= names
    assert not RENAMED["train"].keys() & names
    assert with_current_names("train", {"batch": 3, "steps": 9}) == {"batch_size": 3, "steps": 9}


def test_one_size_of_all_style_pictures_was_a_number() -> None:
    assert of_their_time({"style_size": 512})["style_size"] == [512]


def test_a_checkpoint_of_version_0_1_goes_on(
    tiny: TrainSettings, photos: Path, tmp_path: Path, train_until: Callable[..., None]
) -> None:
    settings = dataclasses.replace(tiny, ema_decay=0.5)
    run_training(settings, photos, tmp_path / "whole")
    train_until(settings, tmp_path / "old", at=4)
    path = tmp_path / "old" / CHECKPOINT
    tensors, metadata = read_safetensors(path)
    old = {new.replace("-", "_"): name.replace("-", "_") for name, new in RENAMED["train"].items()}
    saved = {old.get(name, name): value for name, value in json.loads(metadata["settings"]).items()}
    assert saved["batch"] == 2
    tensors = {f"average.{name[4:]}" if name.startswith("ema.") else name: tensors[name] for name in tensors}
    save_file(tensors, path, metadata | {"settings": json.dumps(saved)})
    assert saved_settings(tmp_path / "old")["ema_decay"] == 0.5
    run_training(settings, photos, tmp_path / "old", resume=True)
    whole, resumed = (read_safetensors(tmp_path / name / CHECKPOINT)[0] for name in ("whole", "old"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
