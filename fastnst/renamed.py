"""Options and settings that have another name now: the one table of them, for the command line and for old files.

An option that is given under its old name is an error that says the new one; recipes likewise. Checkpoints and model
files of before are read with their old names.
"""

from collections.abc import Mapping
from typing import Any

_LOSS_NETWORK = {"polish-weights": "fine-tune-weights"}
_EXACT = _LOSS_NETWORK | {
    "polish": "fine-tune-steps",
    "fine-tune": "fine-tune-steps",
    "strength": "content-target",
    "style-scale": "stroke",
    "fit": "aspect",
    "scales": "pyramid-levels",
    "scale-factor": "pyramid-factor",
    "regions": "region-count",
}

RENAMED: Mapping[str, Mapping[str, str]] = {
    "video": {"quality": "crf", "preset": "encoder-speed", "fresh": "resume never"},
    "webcam": {
        "fps": "target-fps",
        "backend": "capture-backend",
        "folder": "output",
        "split": "split-screen",
    },
    "optimize": _EXACT,
    "train": _LOSS_NETWORK
    | {
        "polish": "fine-tune-fraction",
        "fine-tune": "fine-tune-fraction",
        "steady": "temporal-weight",
        "start": "init-from",
        "content-goal": "content-target",
        "licence": "license",
        "batch": "batch-size",
        "crop": "crop-size",
        "small-first": "progressive-resizing",
        "small-crop": "progressive-crop-size",
        "small-batch": "progressive-batch-size",
        "decay": "lr-schedule",
        "average": "ema-decay",
        "lattice-weight": "checkerboard-weight",
    },
    "doctor": {"json": "as-json"},
    "bench": {"size": "frame-size"},
    "research study": _EXACT | {"network": "trained-style"},
    "research bench-optimize": _EXACT | {"compact-polish": "compact-fine-tune-steps"},
    "research distill": {
        "licence": "license",
        "crop": "crop-size",
        "start": "init-from",
        "samples": "images-per-round",
        "refine-crop": "refine-crop-size",
    },
}
"""By command: what an option was called, and what it is called now, both without dashes before."""


def new_name(command: str, option: str) -> str | None:
    """What an option, such as --polish or a recipe's polish, is called now; None for one that keeps its name."""
    return RENAMED.get(command, {}).get(option.removeprefix("--").replace("_", "-"))


def with_current_names(command: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a command by name, as an earlier version wrote them, under today's names."""
    renamed = {name: new_name(command, name) for name in settings}
    return {(renamed[name] or name).replace("-", "_"): value for name, value in settings.items()}
