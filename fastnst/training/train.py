"""`fastnst.train`: a style picture and a folder of photographs become a network and an ONNX file."""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from fastnst.errors import InputError
from fastnst.io.files import alone_in
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.distributed import is_main
from fastnst.training.engine import TrainCallbacks, TrainResult, run_training
from fastnst.training.finish import TrainedFiles, finish
from fastnst.training.settings import TrainSettings
from fastnst.training.teacher import prepare_teacher


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
    resume: bool = False,
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
        resume: go on with the training that `folder` holds.
        callbacks: called after steps, after the held-out pictures were painted, and with notes.
        device: what computes; by default a GPU where there is one.
        began: the time by time.monotonic from which a budget counts; by default now.

    Raises:
        InputError: no photographs, or a style picture that cannot be read.
        OutputError: the folder holds a training already, another one is writing there, or it cannot be written.
        CheckpointError: what is to be resumed does not fit.
        WeightsError: no loss network.
        DivergedError: the training failed, also after going back to a good state several times.
    """
    folder = folder or Path("runs") / settings.style_name
    content = content or Path(settings.content)
    if not content.is_dir():
        raise InputError(f"{content}: no folder of photographs; give one, such as that which fastnst coco prints")
    began = time.monotonic() if began is None else began
    callbacks = callbacks or TrainCallbacks()
    # Of the processes of one training, the first one writes.
    with alone_in(folder) if is_main() else nullcontext():
        student = prepare_teacher(
            settings, content, folder, resume=resume, callbacks=callbacks, device=device, began=began
        )
        result = run_training(
            student.settings,
            content,
            folder,
            resume=resume and (student.settings is settings or (folder / CHECKPOINT).exists()),
            callbacks=callbacks,
            device=device,
            began=min(began, time.monotonic() - student.elapsed_s),
        )
        return Trained(result, finish(result, folder) if is_main() else None)
