"""What a training leaves: checkpoints and early exports on the way; at its end the model, the ONNX file and a card."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fastnst.errors import OutputError, on_one_line
from fastnst.io.files import atomic_path, sha256_of, write_atomically
from fastnst.io.images import read_frame, resize_long_side
from fastnst.io.noise import with_noise
from fastnst.io.styles import sample_picture
from fastnst.models.checkpoint import ModelInfo, find_model, in_words, save_model
from fastnst.models.export import export_model, to_onnx
from fastnst.models.network import StyleNetwork, stylize_frame
from fastnst.training.run import TrainingRun
from fastnst.training.settings import TrainSettings, plain

CARD_SIDE = 512
"""Long side of the card's picture, pixels."""


@dataclass(frozen=True)
class TrainResult:
    """A trained network and what is known about its training."""

    network: StyleNetwork
    losses: dict[str, float]
    """Losses on the held-out pictures at the end."""
    steps: int
    images: int
    elapsed_s: float
    multiply_adds: float
    """Arithmetic of all updates, with those of the network it started from where that says."""
    style_weight: float
    skipped: dict[str, str]
    loss_weights: str
    """Which weights the loss network had."""
    hardware: str
    """What computed, and in which arithmetic."""
    settings: TrainSettings
    """The settings, with what a budget has chosen."""


@dataclass(frozen=True)
class TrainedFiles:
    """Where the results of a training lie."""

    model: Path
    onnx: Path
    card: Path
    picture: Path | None
    """The project's sample picture as the network stylizes it; None where that is missing."""


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
    picture = _paint(result.network, info, folder / f"{name}.jpg")
    (folder / PREVIEW).unlink(missing_ok=True)
    parameters = sum(value.numel() for value in result.network.parameters())
    write_atomically(page, card(info, parameters, len(result.skipped), picture).encode(errors="backslashreplace"))
    return TrainedFiles(model, onnx, page, picture)


def _paint(network: StyleNetwork, info: ModelInfo, path: Path) -> Path | None:
    photo = sample_picture()
    if photo is None:
        return None
    frame = read_frame(photo)
    frame = with_noise(resize_long_side(frame, CARD_SIDE), info.input_noise)
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


PREVIEW = "preview.onnx"

COST = 50
"""An export takes at most one such part of the time since the last one."""

SHORTEST_BUDGET = 5
"""With a budget of fewer times the first export's time, there is none."""


class EarlyExport:
    """Writes preview.onnx after the first minute and then now and then."""

    def __init__(self, run: TrainingRun, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.validation_s = 0.0
        """Seconds that painting the held-out pictures takes."""
        first_s, budget_s = run.settings.early_export_s, run.settings.budget_s
        short = budget_s is not None and budget_s < SHORTEST_BUDGET * first_s
        self._first = True
        self._next_s = math.inf if short or not first_s else run.state.begun_s + first_s

    def write_if_due(self) -> None:
        """Export the network where it is time to; whatever goes wrong with it is only said."""
        run = self.run
        if run.clock.elapsed_s < self._next_s:
            return
        started, first = time.monotonic(), run.pace.reserve_s
        try:
            network = copy.deepcopy(run.state.shown)
            info = model_info(run.settings, run.state.step, run.state.images, run.loss_weights)
            write_atomically(run.folder / PREVIEW, to_onnx(network, info).SerializeToString())
        except Exception as error:
            self._next_s = math.inf
            self.say(f"No {PREVIEW}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return
        took_s = time.monotonic() - started
        if self._first:
            self._first = False
            self.say(f"Step {run.state.step}: try it with --style {run.folder / PREVIEW}")
        self._next_s = run.clock.elapsed_s + max(run.settings.checkpoint_every_s, COST * took_s)
        if first:  # a budget: what is left for the end is now known
            run.pace.reserve_s = 3 + 1.5 * (took_s + max(self.validation_s, 2 * run.clock.step_s))


class Saving:
    """Checkpoints and early exports of a run, by its main process."""

    def __init__(self, run: TrainingRun, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self.early_export = EarlyExport(run, say)
        self._saved_s = run.state.elapsed_s

    def save_if_due(self, *, last: bool) -> None:
        """Write the checkpoint where it is time to, or the last one. A full disk is waited out, but for the last one.

        Raises OutputError where the last one cannot be written.
        """
        run, now_s = self.run, self.run.clock.elapsed_s
        if last or now_s - self._saved_s > run.settings.checkpoint_every_s:
            self._saved_s = now_s
            try:
                run.save()
            except OutputError as error:
                if last:
                    raise
                again_s = run.settings.checkpoint_every_s
                self.say(f"{error}; training continues, the next try is in {again_s:.0f} s.")
        if not last:
            self.early_export.write_if_due()


# Where things lay on the machine that trained is nobody else's business.
PRIVATE = ("style", "content", "loss_weights", "fine_tune_weights", "init_from", "teacher")


def model_info(
    settings: TrainSettings, steps: int, images: int, loss_weights: str, training: dict[str, Any] | None = None
) -> ModelInfo:
    """Describe a network: its style, its form, and how it came about in one sentence.

    It saw so many content pictures. `training` has further facts: losses, seconds and hardware.
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
        input_noise=settings.input_noise,
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
    return "".join(f"{what} {path.name} (sha256 {sha256_of(path)[:8]}), " for what, path in named)
