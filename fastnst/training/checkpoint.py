"""What changes from step to step of a training, and all of it as one safetensors file.

The file is replaced in one go: a killed run leaves the last good one.
"""

import copy
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import save
from torch import Tensor

from fastnst.errors import CheckpointError, OutputError
from fastnst.io.files import check_kinds, parse_table, read_table, reading, set_aside, write_atomically
from fastnst.losses.settings import option_of
from fastnst.models.checkpoint import (
    build_network,
    check_finite,
    convolutions_of,
    find_model,
    init_from,
    load_model,
    read_safetensors,
    styles_of_names,
)
from fastnst.models.network import StyleNetwork
from fastnst.renamed import with_current_names
from fastnst.training.settings import TrainSettings, of_their_time, plain


@dataclass
class TrainState:
    """All that a training needs to go on. The pictures of a step follow from `images` alone."""

    network: StyleNetwork
    optimizer: torch.optim.Adam
    ema: StyleNetwork | None = None
    """Running average of the network's weights, where the settings ask for one."""
    step: int = 0
    """Updates done."""
    images: int = 0
    """Content pictures seen."""
    elapsed_s: float = 0.0
    """Seconds of training, over all runs."""
    begun_s: float = 0.0
    """Seconds until the first step began."""
    multiply_adds: float = 0.0
    """Arithmetic of all updates, and of those of the network it started from where that says."""
    style_weight: float = 0.0
    """Weight of the style term; 0 until it is known."""
    rescues: int = 0
    """How often it went back to a good state."""
    rate_factor: float = 1.0
    """What the schedule's learning rate is multiplied by: half for each rescue."""
    gradient: float = 0.0
    """Running mean of the gradient's length; 0 before the first step."""
    losses: list[dict[str, float]] = field(default_factory=list)
    """Losses on the held-out pictures so far, each with its step, seconds and arithmetic."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Content pictures that could not be used, and why."""

    @property
    def validated_step(self) -> int:
        """The last step after which the held-out pictures were painted; -1 before the first."""
        return int(self.losses[-1]["step"]) if self.losses else -1

    @property
    def shown(self) -> StyleNetwork:
        """The network that is measured, shown and exported: the average where there is one."""
        return self.ema if self.ema is not None else self.network


def new_state(settings: TrainSettings, device: torch.device) -> TrainState:
    """Network and optimiser before the first step; the same seed gives the same weights on every device."""
    torch.manual_seed(settings.seed)
    network = build_network(settings.network_spec)
    already = 0.0
    if settings.init_model is not None:
        trained, info = load_model(find_model(settings.init_model))
        if convolutions_of(info.network) != convolutions_of(settings.network_spec):
            raise CheckpointError(
                f"{settings.init_model}: a network of {_described(info.network)} ({info.style}); asked for is one of "
                f"{_described(settings.network_spec)}"
            )
        init_from(network, trained, styles_of_names(settings.style_names, info))
        already = float(info.training.get("multiply_adds", 0.0))
    network.to(memory_format=torch.channels_last).to(device).train()
    return TrainState(
        network,
        torch.optim.Adam(network.parameters(), settings.learning_rate),
        start_ema(network) if settings.ema_decay else None,
        multiply_adds=already,
    )


def _described(spec: dict[str, int | str]) -> str:
    return " ".join(f"{name} {value}" for name, value in convolutions_of(spec).items())


def start_ema(network: StyleNetwork) -> StyleNetwork:
    """A copy of the network to hold the running average of its weights, which is steadier than the newest ones."""
    return copy.deepcopy(network).requires_grad_(False)


def update_ema(ema: StyleNetwork, network: StyleNetwork, decay: float, step: int) -> None:
    """Move the average towards the network after update `step`, counted from 1.

    Early on the decay is (1 + step) / (10 + step) where that is less, as TensorFlow's ExponentialMovingAverage has it,
    so that the first weights are soon forgotten.
    """
    part = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), part)
        for own, new in zip(ema.buffers(), network.buffers(), strict=True):
            own.copy_(new)


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

KEPT = ("network", "width", "blocks", "strength_input", "ema_decay")
"""Settings that a checkpoint fits or does not; the others can be changed on the way where that is asked for."""

Resume: TypeAlias = bool | Literal["force"]
"""Whether to resume a checkpoint; with "force" also where settings differ that can be changed on the way."""

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
        settings = with_current_names("train", parse_table(metadata["settings"]))
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
        raise CheckpointError(f"{folder}: no training to resume; expected a folder with {CHECKPOINT} in it")
    _, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version of fastnst")
    with reading(path, REMEDY):
        return of_their_time(parse_table(metadata["settings"]))


def holds_training(folder: Path) -> bool:
    """Whether there is a training to go on with in `folder`, or one whose teacher is still being trained."""
    return (folder / CHECKPOINT).is_file() or (folder / TEACHER / WAITING).is_file()


def set_training_aside(folder: Path) -> list[Path]:
    """Give what a later run would go on with, checkpoint and teacher, names of their own; returns these.

    Raises OSError.
    """
    return [set_aside(path) for path in (folder / CHECKPOINT, folder / TEACHER) if path.exists()]


def check_folder(folder: Path, *, resume: Resume) -> None:
    """Raise OutputError where a new training would overwrite the one that `folder` holds."""
    if (folder / CHECKPOINT).exists() and not resume:
        raise OutputError(f"{folder}: already holds a training; resume it with --resume {folder}, or choose another -o")


def resume_from(
    checkpoint: Path, state: TrainState, settings: TrainSettings, style_sha256: str, *, force: bool = False
) -> tuple[TrainSettings, str]:
    """Fill `state` from a checkpoint.

    Returns the settings to go on with, where a budget has chosen some of them, and in words what differs from the
    checkpoint's; nothing does without `force`.

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
    changes = {
        name: (saved.get(name), value)
        for name, value in plain(settings).items()
        if name not in FREE_ON_RESUME and saved.get(name) != value
    }
    words = "; ".join(f"{option_of(name)} {now} instead of {_said(before)}" for name, (before, now) in changes.items())
    _refuse_changes(checkpoint, words, fixed=bool(changes.keys() & set(KEPT)), force=force)
    return settings, words


def _refuse_changes(checkpoint: Path, words: str, *, fixed: bool, force: bool) -> None:
    """Raise CheckpointError for settings other than a checkpoint's, unless they are forced and can be."""
    if not words or (force and not fixed):
        return
    folder = checkpoint.parent
    go_on = "" if fixed else f", --resume {folder} resumes with what is given now"
    raise CheckpointError(f"{checkpoint}: now it is {words}; --resume never starts again{go_on}, another -o keeps both")


def _said(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)


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
