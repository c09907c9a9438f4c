"""What a finished training leaves: the model file, the ONNX file, and a card with a picture on how they came about."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fastnst.io.files import atomic_path, write_atomically
from fastnst.io.images import read_frame, resize_long_side
from fastnst.io.styles import sample_picture
from fastnst.models.checkpoint import save_model
from fastnst.models.export import export_model
from fastnst.models.network import StyleNetwork, stylize_frame
from fastnst.training.card import card, model_info
from fastnst.training.engine import TrainResult
from fastnst.training.saving import PREVIEW

CARD_SIDE = 512
"""Long side of the card's picture, pixels."""


@dataclass(frozen=True)
class TrainedFiles:
    """Where the results of a training lie."""

    model: Path
    onnx: Path
    card: Path
    picture: Path | None
    """The project's sample picture as the network paints it; None where that is missing."""


def finish(result: TrainResult, folder: Path) -> TrainedFiles:
    """Write NAME.safetensors, NAME.onnx, NAME.md and NAME.jpg into `folder`; raises OutputError where that fails."""
    name = result.settings.style_name
    model, onnx, page = (folder / f"{name}.{suffix}" for suffix in ("safetensors", "onnx", "md"))
    info = model_info(
        result.settings,
        result.steps,
        result.images,
        result.loss_weights,
        {
            "held_out_losses": result.losses,
            "elapsed_s": round(result.elapsed_s),
            "multiply_adds": result.multiply_adds,
            "style_weight": result.style_weight,
            "hardware": result.hardware,
        },
    )
    save_model(model, result.network, info)
    export_model(model, onnx)
    picture = _paint(result.network, folder / f"{name}.jpg")
    (folder / PREVIEW).unlink(missing_ok=True)
    parameters = sum(value.numel() for value in result.network.parameters())
    write_atomically(page, card(info, parameters, len(result.skipped), picture).encode(errors="backslashreplace"))
    return TrainedFiles(model, onnx, page, picture)


def _paint(network: StyleNetwork, path: Path) -> Path | None:
    photo = sample_picture()
    if photo is None:
        return None
    frame = resize_long_side(read_frame(photo), CARD_SIDE)
    styles = network.conditions.styles
    # Beside each other where there are several.
    painted = np.concatenate(
        [stylize_frame(network, frame, style_weights=shares) for shares in np.eye(styles).tolist()]
        if styles > 1
        else [stylize_frame(network, frame)],
        axis=1,
    )
    with atomic_path(path) as temporary:
        Image.fromarray(painted).save(temporary, format="JPEG", quality=90)
    return path
