"""Whether a checkpoint belongs to what is asked for now: the same settings, pictures and weights."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastnst.errors import CheckpointError
from fastnst.exact.checkpoint import load_checkpoint, read_asked
from fastnst.exact.logbook import CHECKPOINT
from fastnst.exact.run import Run
from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.style import Style, Styles
from fastnst.io.images import Frame

# What may differ on going on: more steps, and how often the work is kept. The weights' files are known by their hash.
_FREE = {"steps", "save_every", "loss_weights", "polish_weights", "max_memory"}


def what_is_asked(
    settings: OptimizeSettings, content: Frame, styles: Styles, content_mask: Frame | None, loss_weights: str
) -> dict[str, Any]:
    """All that decides the picture, as values that JSON holds; pictures by their hash."""
    several = [styles] if isinstance(styles, np.ndarray | Style) else list(styles)
    given = [style if isinstance(style, Style) else Style(style) for style in several]
    # Where the last steps are of another kind, all of them decide where those begin.
    free = _FREE - {"steps"} if settings.polish else _FREE
    wanted = {name: _plain(value) for name, value in dataclasses.asdict(settings).items() if name not in free}
    return {
        "settings": wanted,
        "photo": _hash(content),
        "content mask": None if content_mask is None else _hash(content_mask),
        "styles": [
            [_hash(style.frame), style.weight, _hash(style.mask) if isinstance(style.mask, np.ndarray) else style.mask]
            for style in given
        ],
        "loss network": loss_weights,
    }


def resumed(folder: Path, asked: dict[str, Any], fresh: Run, device: torch.device) -> Run:
    """The run in a folder's checkpoint, in the place of one that has not begun.

    Raises CheckpointError where there is none, and where something else was asked for then: it says what.
    """
    path = folder / CHECKPOINT
    before = read_asked(path)
    for what, value in asked.items():
        if what == "settings":
            _check_settings(path, before.get(what, {}), value)
        elif before.get(what) != value:
            raise CheckpointError(f"{path}: was made with another {what}; resume with the same, or begin anew")
    run = load_checkpoint(path, fresh.levels, fresh.descent, device)
    return _lengthened(run)


def _lengthened(run: Run) -> Run:
    """A run that was done goes on from its best image where more steps are asked for now."""
    last = run.levels[-1]
    done = sum((step.long_side, step.polish) == (last.long_side, last.polish) for step in run.trace.history)
    if run.level == len(run.levels) and done < last.steps:
        run.level, run.done, run.image = run.level - 1, done, run.trace.best_image
    return run


def _check_settings(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise CheckpointError(
                f"{path}: was made with --{name.replace('_', '-')} {before.get(name)}, now it is {now.get(name)}; "
                "resume with the same, or begin anew in another folder"
            )


def _hash(frame: Frame) -> str:
    return hashlib.sha256(repr(frame.shape).encode() + np.ascontiguousarray(frame).tobytes()).hexdigest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
