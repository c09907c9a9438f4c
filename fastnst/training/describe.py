"""What a trained network's files say of it."""

import hashlib
from pathlib import Path
from typing import Any

from fastnst.models.checkpoint import ModelInfo, find_model
from fastnst.training.settings import TrainSettings, plain

# Where things lay on the machine that trained is nobody else's business.
PRIVATE = ("style", "content", "loss_weights", "polish_weights", "start", "teacher")


def model_info(
    settings: TrainSettings, steps: int, images: int, loss_weights: str, training: dict[str, Any] | None = None
) -> ModelInfo:
    """Describe a network: its style, its form, and how it came about in one sentence.

    Args:
        settings: the training's.
        steps: updates done.
        images: content pictures seen.
        loss_weights: which weights the loss network had.
        training: further facts: losses, seconds and hardware.
    """
    # The settings' count of steps is not that of a training with a budget, or of one that still goes on.
    used = {key: value for key, value in plain(settings).items() if key not in PRIVATE} | {"steps": steps}
    pictures = f"{steps} steps of {settings.batch}" if images == steps * settings.batch else f"{images} pictures"
    names = ", ".join(path.name for path in settings.style)
    sizes = f"{'up to ' if settings.small_first else ''}{settings.crop} px"
    return ModelInfo(
        style=settings.style_name,
        network=settings.network_spec,
        provenance=f"trained on {names}, {pictures} at {sizes}, {_origin(settings)}judged by {loss_weights}",
        licence=settings.licence,
        training={"settings": used, "images": images, **(training or {})},
        styles=settings.style_names if len(settings.style) > 1 else (),
    )


def _origin(settings: TrainSettings) -> str:
    told = (("starting from", settings.start_model), ("imitating", settings.teacher))
    named = [(what, find_model(path)) for what, path in told if isinstance(path, Path)]
    return "".join(f"{what} {path.name} (sha256 {_digest(path)}), " for what, path in named)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
