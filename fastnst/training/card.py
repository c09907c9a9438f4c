"""What a trained network's files say of it: its description, and a card in Markdown."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from fastnst.errors import on_one_line
from fastnst.models.checkpoint import ModelInfo, find_model, in_words
from fastnst.training.settings import TrainSettings, plain

# Where things lay on the machine that trained is nobody else's business.
PRIVATE = ("style", "content", "loss_weights", "fine_tune_weights", "init_from", "teacher")


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
    pictures = (
        f"{steps} steps of {settings.batch_size}" if images == steps * settings.batch_size else f"{images} pictures"
    )
    names = on_one_line(", ".join(path.name for path in settings.style))
    sizes = f"{'up to ' if settings.progressive_resizing else ''}{settings.crop_size} px"
    return ModelInfo(
        style=on_one_line(settings.style_name),
        network=settings.network_spec,
        provenance=f"trained on {names}, {pictures} at {sizes}, {_origin(settings)}judged by {loss_weights}",
        license=settings.license,
        training={"settings": used, "images": images, **(training or {})},
        styles=tuple(map(on_one_line, settings.style_names)) if len(settings.style) > 1 else (),
    )


def card(info: ModelInfo, parameters: int, skipped: int, picture: Path | None) -> str:
    """Model card in Markdown, with a picture that lies beside it."""
    training: dict[str, Any] = info.training
    settings: dict[str, Any] = training["settings"]
    losses: dict[str, float] = training["held_out_losses"]
    seconds = training["elapsed_s"]
    rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
    shown = f"![the sample picture in this style]({picture.name})\n\n" if picture else ""
    return f"""# {info.style}

{info.provenance[0].upper()}{info.provenance[1:]}.

{shown}| | |
|---|---|
| network | {in_words(info.network)}, {parameters:,} parameters |
| license | {info.license} |
| trained for | {seconds // 3600} h {seconds % 3600 // 60} min on {training["hardware"]}, torch {torch.__version__} |
| pictures seen | {training["images"]:,} in {settings["steps"]:,} steps |
| arithmetic | {training["multiply_adds"]:.3g} multiply-adds, the loss network's included |
| content loss on held-out pictures | {losses["content"]:.3f} |
| style loss on held-out pictures | {losses["style"]:.3f} |
{"".join(_row(style, losses) for style in info.styles)}| style weight | {training["style_weight"]:.3g} |
| pictures left out as unusable | {skipped} |

Losses are the perceptual loss's own ({settings["normalization"]}), at {settings["crop_size"]} px.

## Settings

| setting | value |
|---|---|
{rows}
"""


def _row(style: str, losses: dict[str, float]) -> str:
    return f"| {style}: content, style | {losses[f'content {style}']:.3f}, {losses[f'style {style}']:.3f} |\n"


def _origin(settings: TrainSettings) -> str:
    origins = (("starting from", settings.init_model), ("imitating", settings.teacher))
    named = [(what, find_model(path)) for what, path in origins if isinstance(path, Path)]
    return "".join(f"{what} {path.name} (sha256 {_digest(path)}), " for what, path in named)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
