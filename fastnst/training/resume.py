"""Going on with a training where its checkpoint stands."""

from dataclasses import fields, replace
from pathlib import Path

from fastnst.errors import CheckpointError, OutputError
from fastnst.training.checkpoint import CHECKPOINT, load_checkpoint
from fastnst.training.settings import TrainSettings, of_their_time, plain
from fastnst.training.state import TrainState

# Settings that may differ between a run and the one that goes on with its checkpoint.
FREE_ON_RESUME = {
    "style",  # the picture's content is compared instead
    "start",
    "teacher",
    "name",
    "licence",
    "content",
    "loss_weights",
    "polish_weights",
    "workers",
    "preview_every",
    "checkpoint_every_s",
    "early_export_s",
    "precision",
}

PLANNED = ("crop", "batch")
"""Settings that a budget's plan has chosen: the checkpoint's count."""


def check_folder(folder: Path, *, resume: bool) -> None:
    """Raise OutputError where a new training would overwrite the one that `folder` holds."""
    if (folder / CHECKPOINT).exists() and not resume:
        raise OutputError(f"{folder}: holds a training already; go on with --resume {folder}, or choose another -o")


def go_on(checkpoint: Path, state: TrainState, settings: TrainSettings, style_sha256: str) -> TrainSettings:
    """Fill `state` from a checkpoint and return the settings to go on with, where a budget has chosen some of them.

    Raises CheckpointError for a checkpoint of another style picture or other settings.
    """
    saved, saved_style = load_checkpoint(checkpoint, state)
    if saved_style != style_sha256:
        given = ", ".join(map(str, settings.style))
        raise CheckpointError(f"{checkpoint}: was trained on another style picture than {given}; give that one")
    if settings.budget:
        settings = replace(settings, **{name: saved[name] for name in PLANNED})
    # What a checkpoint does not tell of came later, and did nothing by default.
    saved = {field.name: field.default for field in fields(TrainSettings)} | of_their_time(saved)
    for name, value in plain(settings).items():
        if name not in FREE_ON_RESUME and saved[name] != value:
            raise CheckpointError(
                f"{checkpoint}: was trained with {name} = {saved[name]}, now it is {value}; leave that setting out"
            )
    return settings
