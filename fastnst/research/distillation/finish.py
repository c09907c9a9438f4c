"""What a finished distillation leaves: the weights and a card that says how they came about."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from fastnst.io.files import write_atomically
from fastnst.losses.compact import CompactInfo, save_compact
from fastnst.research.distillation.loop import DistillResult
from fastnst.research.distillation.refining import Missed
from fastnst.research.distillation.settings import DistillSettings

# Where things lay on the machine that trained is nobody else's business.
_PRIVATE = ("paintings", "content", "loss_weights", "start")


@dataclass(frozen=True)
class DistilledFiles:
    """Where the results of a distillation lie."""

    weights: Path
    card: Path


def finish(result: DistillResult, settings: DistillSettings, folder: Path) -> DistilledFiles:
    """Write compact.safetensors and compact.md into `folder`; raises OutputError where that fails."""
    files = DistilledFiles(folder / "compact.safetensors", folder / "compact.md")
    shown = {name: value for name, value in asdict(settings).items() if name not in _PRIVATE}
    training = {
        "settings": shown,
        "fits": result.fits,
        "missed": {layer: [round(value, 4) for value in errors] for layer, errors in result.missed.items()},
        "elapsed_s": round(result.elapsed_s),
        "hardware": result.hardware,
        "torch": torch.__version__,
    }
    info = CompactInfo(result.teacher, settings.licence, training)
    save_compact(files.weights, result.network, info)
    write_atomically(files.card, _card(info, result).encode())
    return files


def _card(info: CompactInfo, result: DistillResult) -> str:
    training: dict[str, Any] = info.training
    seconds = training["elapsed_s"]
    parameters = sum(value.numel() for value in result.network.parameters())
    rows = "\n".join(f"| {name} | {value} |" for name, value in training["settings"].items())
    return f"""# The compact loss network

Stands in for {info.teacher}.

| | |
|---|---|
| parameters | {parameters:,} |
| licence | {info.license} |
| made in | {seconds // 3600} h {seconds % 3600 // 60} min on {training["hardware"]}, torch {training["torch"]} |

{_fits(training["fits"])}{_missed(training["missed"])}## Settings

| setting | value |
|---|---|
{rows}
"""


def _fits(fits: list[dict[str, Any]]) -> str:
    rows = "\n".join(
        f"| {fit['layer']} | {fit['convolution']:.3f} | {'' if fit['head'] is None else format(fit['head'], '.3f')} |"
        for fit in fits
    )
    table = f"""## How well each layer was fitted

Shares of VGG's variance that are missed, over the pictures of the last round: by the kept channels, and by the
principal components that the layer's head gives.

| layer | channels | components |
|---|---|---|
{rows}

"""
    return table if fits else ""


def _missed(missed: dict[str, list[float]]) -> str:
    rows = "\n".join(
        " | ".join([f"| {layer}", *(f"{error:.3f}" for error in errors)]) + " |"
        for layer, errors in missed.items()
        if len(errors) == len(fields(Missed))  # the first version had two errors
    )
    table = f"""## What is missed after the refinement

Relative squared errors, running means over the last hundred steps: of the responses in the layer's principal
components, of their changes from a picture to a near one, and of their Gram matrix's changes.

| layer | responses | changes | Gram matrix's changes |
|---|---|---|---|
{rows}

"""
    return table if missed else ""
