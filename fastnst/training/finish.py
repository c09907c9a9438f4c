"""What a finished training leaves: the model file, the ONNX file, and a card with a picture on how they came about."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fastnst.io.files import atomic_path, write_atomically
from fastnst.io.images import fit_long_side, read_frame, resize_frame
from fastnst.io.styles import sample_picture
from fastnst.models.apply import stylize_frame
from fastnst.models.architectures import in_words
from fastnst.models.checkpoint import ModelInfo, save_model
from fastnst.models.export import export_model
from fastnst.models.network import StyleNetwork
from fastnst.training.describe import model_info
from fastnst.training.early_exports import PREVIEW
from fastnst.training.loop import TrainResult

CARD_SIDE = 512
"""Long side of the card's picture, pixels."""


@dataclass(frozen=True)
class Files:
    """Where the results of a training lie."""

    model: Path
    onnx: Path
    card: Path
    picture: Path | None
    """The project's sample picture as the network paints it; None where that is missing."""


def finish(result: TrainResult, folder: Path) -> Files:
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
    write_atomically(page, card(info, result, picture).encode())
    return Files(model, onnx, page, picture)


def _paint(network: StyleNetwork, path: Path) -> Path | None:
    photo = sample_picture()
    if photo is None:
        return None
    frame = read_frame(photo)
    frame = resize_frame(frame, fit_long_side(frame.shape[:2], CARD_SIDE))
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


def card(info: ModelInfo, result: TrainResult, picture: Path | None) -> str:
    """Model card in Markdown, with a picture that lies beside it."""
    training: dict[str, Any] = info.training
    settings: dict[str, Any] = training["settings"]
    parameters = sum(value.numel() for value in result.network.parameters())
    seconds = training["elapsed_s"]
    rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
    shown = f"![the sample picture in this style]({picture.name})\n\n" if picture else ""
    return f"""# {info.style}

{info.provenance[0].upper()}{info.provenance[1:]}.

{shown}| | |
|---|---|
| network | {in_words(info.network)}, {parameters:,} parameters |
| licence | {info.licence} |
| trained for | {seconds // 3600} h {seconds % 3600 // 60} min on {training["hardware"]}, torch {torch.__version__} |
| pictures seen | {result.images:,} in {result.steps:,} steps |
| arithmetic | {result.multiply_adds:.3g} multiply-adds, the loss network's included |
| content loss on held-out pictures | {result.losses["content"]:.3f} |
| style loss on held-out pictures | {result.losses["style"]:.3f} |
{"".join(_row(style, result.losses) for style in info.styles)}| style weight | {result.style_weight:.3g} |
| pictures left out as unusable | {len(result.skipped)} |

Losses are the perceptual loss's own ({settings["normalization"]}), at {settings["crop"]} px.

## Settings

| setting | value |
|---|---|
{rows}
"""


def _row(style: str, losses: dict[str, float]) -> str:
    return f"| {style}: content, style | {losses[f'content {style}']:.3f}, {losses[f'style {style}']:.3f} |\n"
