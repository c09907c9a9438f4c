"""Training the teacher of a network for live pictures first: a larger one, on the same painting."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fastnst.errors import OutputError, SettingError
from fastnst.files import write_atomically
from fastnst.training.checkpoint import CHECKPOINT, TEACHER, WAITING
from fastnst.training.finish import finish
from fastnst.training.loop import TrainCallbacks
from fastnst.training.loop import train as run_loop
from fastnst.training.processes import started_by_torchrun
from fastnst.training.settings import TrainSettings, plain

WIDTH = 16
START = Path("starry")
"""A style in the package of that width, to start from."""

SHARE = 0.5
"""Of a budget of time."""


@dataclass(frozen=True)
class Taught:
    """The settings of a training whose teacher there is."""

    settings: TrainSettings
    elapsed_s: float
    """Seconds that the teacher took; 0 where it was there already, or is none."""


def wants_teacher(settings: TrainSettings) -> bool:
    """Whether a teacher is to be trained first: as asked for, else for a live network that begins with nothing."""
    if settings.teacher == "auto":
        return True
    return settings.teacher is None and settings.network != "johnson" and settings.start is None


def taught(
    settings: TrainSettings,
    content: Path,
    folder: Path,
    *,
    resume: bool,
    callbacks: TrainCallbacks,
    device: torch.device | None,
    began: float,
) -> Taught:
    """Train the teacher in `folder`/teacher, where the settings want one and it is not there yet.

    With `resume` it goes on with what it left there. Raises as `loop.train`, and OutputError where there is a teacher
    already and `resume` is not asked for.
    """
    if not wants_teacher(settings):
        return Taught(settings, 0.0)
    place = folder / TEACHER
    model = place / f"{settings.style_name}.safetensors"
    if not resume and any((place / name).exists() for name in (CHECKPOINT, model.name)):
        raise OutputError(f"{folder}: holds a training already; go on with --resume {folder}, or choose another -o")
    found = replace(settings, teacher=model)
    if model.exists():
        return Taught(found, 0.0)
    if started_by_torchrun():
        raise SettingError(
            "--teacher auto trains in one process; under torchrun train a network of --network johnson first and give "
            "it as --teacher, or --teacher none"
        )
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(place / WAITING, json.dumps(plain(settings)).encode())
    callbacks.on_note(
        f"First its teacher, a larger network of the same painting, in {place} (--teacher none: without)."
    )
    going_on = resume and (place / CHECKPOINT).exists()
    result = run_loop(
        teacher_of(settings), content, place, resume=going_on, callbacks=callbacks, device=device, began=began
    )
    finish(result, place)
    callbacks.on_note(f"The teacher is trained: {model.with_suffix('.onnx')}. Now {settings.style_name} itself.")
    return Taught(found, result.elapsed_s)


def teacher_of(settings: TrainSettings) -> TrainSettings:
    """The settings of the teacher's training."""
    own: dict[str, Any] = {"network": "johnson", "width": WIDTH, "blocks": None, "start": START, "teacher": "none"}
    if settings.budget_s is not None:
        own["budget"] = f"{max(1, round(SHARE * settings.budget_s))}s"
    return replace(settings, name=settings.style_name, **own)
