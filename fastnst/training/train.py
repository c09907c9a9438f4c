"""`fastnst.train`: a style picture and a folder of photographs become a network and an ONNX file.

Of a network for live pictures the teacher, a larger one on the same painting, is trained first.
"""

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fastnst.errors import InputError, OutputError, SettingError
from fastnst.io.files import alone_in, write_atomically
from fastnst.models.checkpoint import find_model, load_model
from fastnst.training.checkpoint import CHECKPOINT, TEACHER, WAITING, Resume, new_state, saved_settings
from fastnst.training.engine import TrainCallbacks, run_training
from fastnst.training.processes import is_main, started_by_torchrun
from fastnst.training.results import TrainedFiles, TrainResult, finish
from fastnst.training.settings import TrainSettings, plain


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    result: TrainResult
    """The network, its losses, and what it took."""

    files: TrainedFiles | None
    """Where the results lie; None in processes other than the first."""


def train(
    settings: TrainSettings,
    folder: Path | None = None,
    *,
    content: Path | None = None,
    resume: Resume = False,
    callbacks: TrainCallbacks | None = None,
    device: torch.device | None = None,
    began: float | None = None,
) -> Trained:
    """Train a network on a style picture, export it to ONNX and write its card.

    Of a network for live pictures the teacher is trained first, unless the settings say otherwise (`prepare_teacher`).

    Nothing is printed; `callbacks` are told what happens. Whatever one of them raises ends the training; its last
    checkpoint stays. A script that has `settings.workers` above 0 does its work below `if __name__ == "__main__":`.

    Args:
        settings: style picture, photographs, network and schedule.
        folder: for checkpoint, previews and results; by default runs/NAME.
        content: folder of photographs; by default the settings', which must then be a folder.
        resume: go on with the training that `folder` holds; "force" also where settings differ that can be changed on
            the way.
        callbacks: called after steps, after the held-out pictures were painted, and with notes.
        device: what computes; by default a GPU where there is one.
        began: the time by time.monotonic from which a budget counts; by default now.

    Raises:
        InputError: no photographs, or a style picture that cannot be read.
        OutputError: the folder holds a training already, another one is writing there, or it cannot be written.
        CheckpointError: what is to be resumed does not fit.
        WeightsError: no loss network.
        DivergedError: the training failed, also after going back to a good state several times.

    Examples:
        >>> settings = TrainSettings(style=Path("painting.jpg"), content="photos", budget="20m")
        >>> train(settings, Path("runs/painting"))
        Traceback (most recent call last):
            ...
        fastnst.errors.InputError: photos: no folder of photographs; give one, such as that which fastnst coco prints
    """
    folder = folder or Path("runs") / settings.style_name
    content = content or Path(settings.content)
    if not content.is_dir():
        raise InputError(f"{content}: no folder of photographs; give one, such as that which fastnst coco prints")
    began = time.monotonic() if began is None else began
    callbacks = callbacks or TrainCallbacks()
    # Of the processes of one training, the first one writes. Where torchrun starts it anew, the one before, on a
    # machine whose agent is lost, ends when it finds its partners gone.
    patience_s = ORPHAN_S if started_by_torchrun() else 0.0
    with alone_in(folder, patience_s) if is_main() else nullcontext():
        student = prepare_teacher(
            settings, content, folder, resume=resume, callbacks=callbacks, device=device, began=began
        )
        result = run_training(
            student.settings,
            content,
            folder,
            resume=resume if student.settings is settings or (folder / CHECKPOINT).exists() else False,
            callbacks=callbacks,
            device=device,
            began=min(began, time.monotonic() - student.elapsed_s),
        )
        return Trained(result, finish(result, folder) if is_main() else None)


ORPHAN_S = 60.0
"""How long a process that lost its partners may take to end."""

TEACHER_WIDTH = 16
TEACHER_SHARE = 0.5
"""Of a budget of time."""


@dataclass(frozen=True)
class DistillationSetup:
    """The settings of a training whose teacher there is."""

    settings: TrainSettings
    elapsed_s: float
    """Seconds of the training so far that the teacher took."""


def wants_teacher(settings: TrainSettings) -> bool:
    """Whether a teacher is to be trained first: as asked for, else for a live network that begins with nothing."""
    if settings.teacher is not None:
        return settings.teacher == "auto"
    return settings.network != "johnson" and settings.init_model is None and settings.teacher_weight > 0


def check_teacher(settings: TrainSettings, folder: Path, *, resume: Resume) -> None:
    """Raise what would keep `prepare_teacher` from its work, before anything is fetched or trained.

    OutputError where `folder` holds a teacher and `resume` is not asked for, SettingError in one of several processes.
    """
    place = folder / TEACHER
    if not wants_teacher(settings):
        return
    if not resume and any((place / name).exists() for name in (CHECKPOINT, f"{settings.style_name}.safetensors")):
        raise OutputError(f"{folder}: already holds a training; resume it with --resume {folder}, or choose another -o")
    if started_by_torchrun():
        raise SettingError(
            "--teacher auto trains in one process; under torchrun train a network of --network johnson first and give "
            "it as --teacher, or --teacher none"
        )


def prepare_teacher(
    settings: TrainSettings,
    content: Path,
    folder: Path,
    *,
    resume: Resume,
    callbacks: TrainCallbacks,
    device: torch.device | None,
    began: float,
) -> DistillationSetup:
    """Train the teacher in `folder`/teacher, where the settings want one and it is not there yet.

    With `resume` it goes on with what it left there; a student that began without one does without. Raises as
    `check_teacher` and `run_training`.
    """
    place, begun = folder / TEACHER, (folder / CHECKPOINT).exists()
    model = place / f"{settings.style_name}.safetensors"
    if not wants_teacher(settings):
        return DistillationSetup(_moved(settings, place), 0.0)
    if resume and begun and not model.exists():
        return DistillationSetup(settings, 0.0)
    if resume and not begun and not model.exists():
        saved_settings(folder)  # raises where there is nothing to go on with
    check_teacher(settings, folder, resume=resume)
    found = replace(settings, teacher=model)
    if model.exists():
        return DistillationSetup(found, 0.0 if begun else float(load_model(model)[1].training.get("elapsed_s", 0.0)))
    new_state(settings, torch.device("cpu"))  # what is wrong with the student is better known before
    going_on = resume if (place / CHECKPOINT).exists() else False
    if not going_on:
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / WAITING, json.dumps(plain(settings)).encode())
    callbacks.on_note(
        f"First its teacher, a larger network of the same painting, in {place} (--teacher none: without)."
    )
    result = run_training(
        teacher_of(settings), content, place, resume=going_on, callbacks=callbacks, device=device, began=began
    )
    finish(result, place)
    callbacks.on_note(f"The teacher is trained: {model.with_suffix('.onnx')}. Now {settings.style_name} itself.")
    return DistillationSetup(found, result.elapsed_s)


def teacher_of(settings: TrainSettings) -> TrainSettings:
    """The settings of the teacher's training."""
    own: dict[str, Any] = {
        "network": "johnson",
        "width": TEACHER_WIDTH,
        "blocks": None,
        "init_from": "auto",
        "teacher": "none",
    }
    if settings.budget_s is not None:
        own["budget"] = f"{max(1, round(TEACHER_SHARE * settings.budget_s))}s"
    return replace(settings, name=settings.style_name, **own)


def _moved(settings: TrainSettings, place: Path) -> TrainSettings:
    """The settings with the teacher where it lies now: a training's folder may have been moved."""
    named = settings.teacher
    if isinstance(named, Path) and not find_model(named).is_file() and (place / named.name).is_file():
        return replace(settings, teacher=place / named.name)
    return settings
