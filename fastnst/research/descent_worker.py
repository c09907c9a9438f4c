"""One contender of `fastnst research bench-optimize` in a process of its own, so that all it needs is counted.

Reads a job as JSON from standard input; after each kept step writes the picture to a folder, and a line of JSON to
standard output. Pictures are judged afterwards, by another process: that time is nobody's.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fastnst.errors import FastNSTError
from fastnst.exact.engine import optimize
from fastnst.exact.objective import Subject
from fastnst.exact.result import OptimizeProgress
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.files import atomic_path
from fastnst.io.images import Frame, read_frame
from fastnst.io.tensors import to_frame
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.weights import load_loss_network


@dataclass(frozen=True)
class DescentJob:
    """What a contender has to do."""

    method: Literal["baseline", "fastnst"]
    photo: str
    style: str
    pictures: str
    """Folder for the kept pictures, a .npy file each."""
    started: float
    """When the process was asked for, seconds since 1970."""
    steps: int
    settings: dict[str, Any]
    """Fields of OptimizeSettings that differ from the defaults."""


def kept_steps(steps: int) -> list[int]:
    """Steps whose pictures are kept: all of the first ten, then ever fewer, about five in a hundred, and the last."""
    kept = [*range(1, min(steps, 10) + 1)]
    while kept[-1] < steps:
        kept.append(min(steps, max(kept[-1] + 1, round(kept[-1] * 1.05))))
    return kept


def settings_of(job: DescentJob) -> OptimizeSettings:
    """The job's settings; paths and tuples come out of JSON as texts and lists."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in job.settings.items()
    }
    for name in ("loss_weights", "fine_tune_weights", "init"):
        if values.get(name) not in (None, "content", "noise"):
            values[name] = Path(values[name])
    return OptimizeSettings(**values)


def picture_file(folder: Path, step: int) -> Path:
    """Where the picture after a step is kept."""
    return folder / f"{step}.npy"


class Keeper:
    """Takes pictures on the way, with the seconds since the process was asked for."""

    def __init__(self, job: DescentJob, tell: Callable[[dict[str, Any]], None]) -> None:
        self._job, self._tell = job, tell
        self._kept = set(kept_steps(job.steps))
        self._folder = Path(job.pictures)

    def __call__(self, step: int, frame: Callable[[], Frame]) -> None:
        """Keep the picture after a step, if it is one of those to be kept; OutputError where the system refuses."""
        if step in self._kept:
            with atomic_path(picture_file(self._folder, step)) as temporary, temporary.open("wb") as file:
                np.save(file, frame())
            elapsed_s = time.time() - self._job.started
            self._tell({"step": step, "elapsed_s": elapsed_s, "cpu_s": time.process_time()})


def run_baseline(content: Frame, style: Frame, settings: OptimizeSettings, steps: int, keep: Keeper) -> None:
    """Gatys' method as it is mostly written: torch's L-BFGS in float32, at one size, from the content image.

    The picture after an evaluation is what the step after it leads to, as it would be saved.
    """
    network, _ = load_loss_network(settings)
    subject = Subject(content, style, settings)
    objective = subject.objective(PerceptualLoss(network, settings), settings.size, torch.device("cpu"), None)
    pixels = subject.photo(settings.size).contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [pixels], lr=1, max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0, line_search_fn=None
    )

    def closure() -> float:
        losses, gradient = objective.evaluate(pixels)
        pixels.grad = gradient.contiguous()
        return losses["total"]

    for number in range(1, steps + 1):
        optimizer.step(closure)  # type: ignore[no-untyped-call, unused-ignore]
        keep(number, lambda: to_frame(pixels))


def run_fastnst(content: Frame, style: Frame, settings: OptimizeSettings, keep: Keeper) -> None:
    """Do what `fastnst optimize` does; the picture after a step is the best until then."""

    def callback(progress: OptimizeProgress) -> None:
        keep(progress.last.step, progress.best_frame)

    optimize(content, style, settings, callback=callback)


def work(job: DescentJob, tell: Callable[[dict[str, Any]], None]) -> None:
    """Do a job; errors are answers too."""
    keep = Keeper(job, tell)
    try:
        content, style, settings = read_frame(job.photo), read_frame(job.style), settings_of(job)
        if job.method == "baseline":
            run_baseline(content, style, settings, job.steps, keep)
        else:
            run_fastnst(content, style, settings, keep)
    except FastNSTError as error:
        tell({"error": str(error)})
    else:
        tell({"done": True, "threads": torch.get_num_threads()})


if __name__ == "__main__":
    work(DescentJob(**json.loads(sys.stdin.readline())), lambda answer: print(json.dumps(answer), flush=True))
