"""What a finished training leaves: the model file, the ONNX file and a card that says how they came about."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fastnst.export import export_model
from fastnst.files import write_atomically
from fastnst.networks.model import ModelInfo, save_model
from fastnst.training.loop import TrainResult
from fastnst.training.settings import TrainSettings, plain


@dataclass(frozen=True)
class Files:
    """Where the results of a training lie."""

    model: Path
    onnx: Path
    card: Path


# Where things lay on the machine that trained is nobody else's business.
PRIVATE = ("style", "content", "loss_weights", "start")


def finish(result: TrainResult, settings: TrainSettings, folder: Path) -> Files:
    """Write NAME.safetensors, NAME.onnx and NAME.md into `folder`; raises OutputError where that fails."""
    name = settings.style_name
    files = Files(folder / f"{name}.safetensors", folder / f"{name}.onnx", folder / f"{name}.md")
    info = ModelInfo(
        style=name,
        network=settings.network_spec,
        provenance=f"trained on {settings.style.name}, {settings.steps} steps of {settings.batch} "
        f"at {settings.crop} px, {_origin(settings)}judged by {result.loss_weights}",
        licence=settings.licence,
        training={
            "settings": {key: value for key, value in plain(settings).items() if key not in PRIVATE},
            "held_out_losses": result.losses,
            "elapsed_s": round(result.elapsed_s),
            "hardware": result.hardware,
        },
    )
    save_model(files.model, result.network, info)
    export_model(files.model, files.onnx)
    write_atomically(files.card, card(info, result).encode())
    return files


def _origin(settings: TrainSettings) -> str:
    if settings.start is None:
        return ""
    digest = hashlib.sha256(settings.start.read_bytes()).hexdigest()[:8]
    return f"starting from {settings.start.name} (sha256 {digest}), "


def card(info: ModelInfo, result: TrainResult) -> str:
    """Model card in Markdown."""
    training: dict[str, Any] = info.training
    settings: dict[str, Any] = training["settings"]
    parameters = sum(value.numel() for value in result.network.parameters())
    seconds = training["elapsed_s"]
    rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
    return f"""# {info.style}

{info.provenance[0].upper()}{info.provenance[1:]}.

| | |
|---|---|
| network | {" ".join(f"{key} {value}" for key, value in info.network.items())}, {parameters:,} parameters |
| licence | {info.licence} |
| trained for | {seconds // 3600} h {seconds % 3600 // 60} min on {training["hardware"]}, torch {torch.__version__} |
| content loss on held-out pictures | {result.losses["content"]:.3f} |
| style loss on held-out pictures | {result.losses["style"]:.3f} |
| pictures left out as unusable | {len(result.skipped)} |

Losses are the perceptual loss's own ({settings["normalization"]}), at {settings["crop"]} px.

## Settings

| setting | value |
|---|---|
{rows}
"""
