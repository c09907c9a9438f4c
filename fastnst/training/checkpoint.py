"""The whole state of a training as one safetensors file, replaced in one go: a killed run leaves the last good one."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from fastnst.errors import CheckpointError, OutputError
from fastnst.io.files import check_kinds, parse_table, read_table, reading, write_atomically
from fastnst.models.checkpoint import check_finite, read_safetensors
from fastnst.training.settings import TrainSettings, of_their_time, plain, with_new_names
from fastnst.training.state import TrainState

FORMAT = "fastnst checkpoint 1"
CHECKPOINT = "checkpoint.safetensors"
"""Name of the file inside a training's folder."""

TEACHER, WAITING = "teacher", "student.json"
"""Folder of a teacher that is trained first, inside its student's, and in it the settings of the student's training."""

# Settings that may differ between a run and the one that goes on with its checkpoint.
FREE_ON_RESUME = {
    "style",  # the picture's content is compared instead
    "init_from",
    "teacher",
    "name",
    "license",
    "content",
    "loss_weights",
    "fine_tune_weights",
    "workers",
    "preview_every",
    "checkpoint_every_s",
    "early_export_s",
    "precision",
}

REMEDY = "train anew with another -o"

PLANNED = ("crop_size", "batch_size")
"""Settings that a budget's plan has chosen: the checkpoint's count."""


def save_checkpoint(path: Path, state: TrainState, settings: dict[str, Any], style_sha256: str) -> None:
    """Write network, optimiser, random state and progress; settings and style are kept to be compared on resuming."""
    tensors: dict[str, Tensor] = {"random.torch": torch.get_rng_state()}
    tensors |= {f"network.{name}": value for name, value in state.network.state_dict().items()}
    if state.ema is not None:
        tensors |= {f"ema.{name}": value for name, value in state.ema.state_dict().items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    progress = {
        field.name: getattr(state, field.name)
        for field in dataclasses.fields(state)
        if field.name not in ("network", "optimizer", "ema")
    }
    metadata = {
        "format": FORMAT,
        "progress": json.dumps(progress),
        "settings": json.dumps(settings),
        "style_sha256": style_sha256,
    }
    write_atomically(path, save({name: value.cpu().contiguous() for name, value in tensors.items()}, metadata))


def load_checkpoint(path: Path, state: TrainState) -> tuple[dict[str, Any], str]:
    """Put a checkpoint's content into `state`; return the settings it was saved with and the SHA-256 of its style.

    Raises CheckpointError for a file that is not a checkpoint, or one of another network.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint; expected the checkpoint.safetensors of a training folder")
    check_finite(path, {**_below("network.", tensors), **_below("ema.", tensors)})
    with reading(path, REMEDY):
        state.network.load_state_dict(_below("network.", tensors))
        if state.ema is not None:  # version 0.1 called it average
            state.ema.load_state_dict(_below("ema.", tensors) or _below("average.", tensors))
        _load_optimizer(state.optimizer, _below("optimizer.", tensors))
        settings = with_new_names(parse_table(metadata["settings"]))
        progress = parse_table(metadata["progress"])
        progress.setdefault("images", progress["step"] * settings["batch_size"])  # the first version had no such entry
        _check_progress(progress)
        for name, value in progress.items():
            setattr(state, name, value)
        torch.set_rng_state(tensors["random.torch"])
        return settings, metadata["style_sha256"]


def saved_settings(folder: Path) -> dict[str, Any]:
    """Settings that the training in `folder` was run with; raises CheckpointError where there is none."""
    path, waiting = folder / CHECKPOINT, folder / TEACHER / WAITING
    if not path.is_file() and waiting.is_file():
        return _waiting(waiting)
    if not path.is_file():
        raise CheckpointError(f"{folder}: no training to go on with; expected a folder with {CHECKPOINT} in it")
    _, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version of fastnst")
    with reading(path, REMEDY):
        return of_their_time(parse_table(metadata["settings"]))


def check_folder(folder: Path, *, resume: bool) -> None:
    """Raise OutputError where a new training would overwrite the one that `folder` holds."""
    if (folder / CHECKPOINT).exists() and not resume:
        raise OutputError(f"{folder}: holds a training already; go on with --resume {folder}, or choose another -o")


def resume_from(checkpoint: Path, state: TrainState, settings: TrainSettings, style_sha256: str) -> TrainSettings:
    """Fill `state` from a checkpoint and return the settings to go on with, where a budget has chosen some of them.

    Raises CheckpointError for a checkpoint of another style picture or other settings.
    """
    saved, saved_style = load_checkpoint(checkpoint, state)
    if saved_style != style_sha256:
        given = ", ".join(map(str, settings.style))
        raise CheckpointError(f"{checkpoint}: was trained on another style picture than {given}; give that one")
    if settings.budget:
        with reading(checkpoint, REMEDY):
            planned: dict[str, Any] = {name: int(saved[name]) for name in PLANNED}
            settings = dataclasses.replace(settings, **planned)
    # What a checkpoint does not tell of came later, and did nothing by default.
    saved = {field.name: field.default for field in dataclasses.fields(TrainSettings)} | of_their_time(saved)
    for name, value in plain(settings).items():
        if name not in FREE_ON_RESUME and saved.get(name) != value:
            raise CheckpointError(
                f"{checkpoint}: was trained with {name} = {saved.get(name)}, now it is {value}; leave that setting out"
            )
    return settings


def _waiting(path: Path) -> dict[str, Any]:
    """Settings of a training whose teacher was still being trained."""
    with reading(path, REMEDY):
        return of_their_time(read_table(path, REMEDY))


def _check_progress(progress: dict[str, Any]) -> None:
    """Raise TypeError or ValueError where it is not what a training can go on from."""
    fields = {field.name: field for field in dataclasses.fields(TrainState)}
    samples = {
        name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for name, field in fields.items()
        if name not in ("network", "optimizer", "ema")
    }
    check_kinds(progress, samples)
    for row in progress.get("losses", ()):
        check_kinds(row, dict.fromkeys(row, 0.0))
        int(row["step"])
    if not all(isinstance(reason, str) for reason in progress.get("skipped", {}).values()):
        raise TypeError("skipped holds something else than reasons")


def _load_optimizer(optimizer: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        place, kind = name.split(".")
        moments.setdefault(int(place), {})[kind] = value
    shapes = [value.shape for group in optimizer.param_groups for value in group["params"]]
    for index, kinds in moments.items():
        for kind in ("exp_avg", "exp_avg_sq"):
            if kinds[kind].shape != shapes[index]:
                raise ValueError(f"optimizer.{index}.{kind} is of another shape than what it is of")
        if kinds["step"].numel() != 1 or not float(kinds["step"]) >= 0:
            raise ValueError(f"optimizer.{index}.step is no number of steps")
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
