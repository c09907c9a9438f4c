"""An optimisation as one safetensors file, to go on with later as if it had not stopped.

Images, and what belongs to their pixels, are (1, 3, H, W) with channels innermost in memory; the file holds them in
that order, (1, H, W, 3): so nothing is copied on the way, and what is read has the memory layout of what was written.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fastnst.errors import CheckpointError, OutputError
from fastnst.exact.optimizers import Descent
from fastnst.exact.pyramid import Level
from fastnst.exact.result import Step, Trace
from fastnst.exact.run import Run
from fastnst.io.files import atomic_path

FORMAT = "fastnst optimisation 1"


def save_checkpoint(path: Path, run: Run, asked: dict[str, Any]) -> None:
    """Write a run, and what it was asked to do, in one go: a killed process leaves the last good file.

    Raises OutputError where the system refuses.
    """
    tensors = {f"descent.{name}": value for name, value in run.descent.state().items()}
    tensors["best_image"] = run.trace.best_image
    if run.image is not None:
        tensors["image"] = run.image
    progress = {
        "level": run.level,
        "done": run.done,
        "elapsed_s": run.elapsed_s,
        "history": [dataclasses.astuple(step) for step in run.trace.history],
    }
    metadata = {"format": FORMAT, "progress": json.dumps(progress), "asked": json.dumps(asked)}
    with atomic_path(path) as temporary:
        try:
            save_file(_stored(tensors), temporary, metadata)
        except SafetensorError as error:
            raise OutputError(f"{path}: cannot be written ({error})") from error


def read_asked(path: Path) -> dict[str, Any]:
    """What the run in a checkpoint was asked to do; raises CheckpointError where there is none."""
    metadata, _ = _read(path, torch.device("cpu"), tensors=False)
    with _whole(path):
        asked: dict[str, Any] = dict(json.loads(metadata["asked"]))
        asked["settings"] = dict(asked["settings"])
        return asked


def load_checkpoint(path: Path, levels: list[Level], descent: Descent, device: torch.device) -> Run:
    """The run as it stood, with `levels` and `descent` made anew from the same settings.

    Raises CheckpointError for a file that is no checkpoint or does not fit.
    """
    metadata, tensors = _read(path, device)
    with _whole(path):
        progress = json.loads(metadata["progress"])
        history = [Step(*step) for step in progress["history"]]
        descent.load_state(
            {name.removeprefix("descent."): value for name, value in tensors.items() if name.startswith("descent.")}
        )
        return Run(
            levels,
            descent,
            Trace(history, tensors["best_image"]),
            progress["level"],
            progress["done"],
            tensors.get("image"),
            progress["elapsed_s"],
        )


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged, or of another version of fastnst ({error}); begin anew") from error


def _read(path: Path, device: torch.device, *, tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(
            f"{path.parent}: nothing to go on with; expected {path.name} in it, as --log-dir leaves it"
        )
    try:
        with safe_open(path, framework="pt", device=str(device)) as opened:
            metadata = opened.metadata() or {}
            names = opened.keys() if tensors else []
            values = {name: _restored(opened.get_tensor(name)) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); begin anew") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: no checkpoint of an optimisation by this version of fastnst")
    return metadata, values


def _stored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for name, value in tensors.items():
        innermost = value.detach().permute(0, 2, 3, 1).contiguous() if value.ndim == 4 else value.detach()
        # One tensor may stand for two things, the best image and the newest; safetensors wants memory for each.
        known = {other.data_ptr() for other in stored.values()}
        stored[name] = innermost.clone() if innermost.data_ptr() in known else innermost
    return stored


def _restored(value: Tensor) -> Tensor:
    # The copy begins where torch's own memory does, on which the order of sums depends, and so their last bit.
    own = value.clone()
    return own.permute(0, 3, 1, 2) if own.ndim == 4 else own
