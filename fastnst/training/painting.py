"""A painting instead of a network: the gallery's scales and shifts alone are fitted to it, in a minute.

The convolutions stay: a style is added to a trained network by its normalisations alone (Dumoulin, Shlens and Kudlur
2017, "A learned representation for artistic style", section 3.3). Of a `johnson` with 16 channels that are 1,600
numbers.

S styles that the gallery knows. Images are float (B, 3, H, W) RGB in [0, 1].
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from fastnst.errors import InputError
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame, read_frame
from fastnst.io.styles import FOUNDATION, bundled_models, bundled_styles_folder, sample_pictures
from fastnst.losses.perceptual import PerceptualLoss, beside, measure_painting, save_references
from fastnst.losses.weights import load_loss_network
from fastnst.models.checkpoint import ModelInfo, build_network, init_from, load_model, save_model, size_of
from fastnst.models.export import export_like
from fastnst.models.network import ConditionalInstanceNorm2d, StyleNetwork
from fastnst.training.data import ContentImages, held_out
from fastnst.training.objective import TrainingObjective, losses_of_styles
from fastnst.training.settings import TrainSettings

Report: TypeAlias = Callable[[float], None]
"""Takes the share that is done, 0 to 1."""

SMALLEST_PAINTING = 64
"""Pixels a side; smaller ones have no strokes that could be learnt."""

STEPS = 200
"""Where the time suffices for more, no more are made."""

LEARNING_RATE = 0.02
"""Of scales and shifts, which are about 1 and 0."""

CROP, BATCH = 160, 2
PHOTOS, PHOTO_SIDE = 2, 128
"""What the gallery's styles are compared on."""

_WARM_UP = 10
_SHARPNESS = 8.0
_RESERVE_S = 2.0
_FLAT = 2.0


def fit_painting(painting: Path, name: str, target: Path, seconds: float, report: Report = lambda _: None) -> None:
    """Fit the gallery to a painting; write `target` (.onnx) and its weights beside it (.safetensors).

    It takes `seconds` at most, all told; 0: a mixture of the gallery's styles, the nearest ones most. `report` is
    called with the share that is done. Raises InputError for no picture, or one too small or of one color; OutputError
    where the files cannot be written.
    """
    began = time.monotonic()
    frame = _checked(painting, read_frame(painting))
    trained, known = load_model(bundled_models() / f"{FOUNDATION}.safetensors")
    settings = _settings(painting, known)
    loss_network, loss_weights = load_loss_network(settings, torch.device("cpu"))
    objective = TrainingObjective(
        PerceptualLoss(loss_network, settings),
        [frame],
        settings,
        stride=trained.stride,
        device=torch.device("cpu"),
        dtype=None,
    )
    photos = held_out(sample_pictures(), PHOTOS, PHOTO_SIDE).images.float() / 255
    totals = losses_of_styles(trained, objective, photos)
    network = build_network(size_of(known.network))
    steps = 0
    if seconds:
        init_from(network, trained, [int(totals.argmin())])
        steps = _fit(network, objective, began + seconds - _RESERVE_S, report)
    else:
        shares = torch.softmax(-_SHARPNESS * totals / totals.min(), dim=0)
        _take_mixture(network, trained, shares)
    how = f"{steps} steps of {BATCH} at {CROP} px" if seconds else "as a mixture of its styles"
    info = ModelInfo(
        style=name,
        network=size_of(known.network),
        provenance=f"{known.style} fitted to {painting.name}, {how}, judged by {loss_weights}",
        input_noise=settings.input_noise,
        training={"steps": steps, "elapsed_s": round(time.monotonic() - began, 1)},
    )
    network.eval()
    save_model(target.with_suffix(".safetensors"), network, info)
    save_references(beside(target), {name: measure_painting(loss_network, frame)})
    model = export_like(bundled_styles_folder() / "starry.onnx", network, info)
    write_atomically(target, model.SerializeToString())
    report(1.0)


def _settings(painting: Path, known: ModelInfo) -> TrainSettings:
    """What a training of this painting would judge by, through the compact network."""
    width, blocks = int(known.network["width"]), int(known.network["blocks"])
    return TrainSettings(
        style=(painting,),
        loss_network="compact",
        width=width,
        blocks=blocks,
        crop_size=CROP,
        batch_size=BATCH,
        precision="float32",
        init_from="none",
    )


def _checked(painting: Path, frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    if min(height, width) < SMALLEST_PAINTING:
        raise InputError(
            f"{painting}: is {width}x{height} pixels, too small to learn strokes from; expected a painting of at least "
            f"{SMALLEST_PAINTING} a side"
        )
    if max(float(channel.std()) for channel in (frame[..., place] for place in range(3))) < _FLAT:
        raise InputError(f"{painting}: is of one color; expected a painting, with strokes to learn")
    return frame


def _take_mixture(network: StyleNetwork, trained: StyleNetwork, shares: Tensor) -> None:
    """Give a network of one style the rows of another one, mixed, and its convolutions."""
    init_from(network, trained, [0])
    tables = trained.state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if tables[name].ndim == value.ndim + 1:
                value.copy_(shares @ tables[name])


def _fit(network: StyleNetwork, objective: TrainingObjective, until: float, report: Report) -> int:
    """Fit scales and shifts until a time by time.monotonic, or `STEPS`; return how many steps were made."""
    network.to(memory_format=torch.channels_last).train()
    network.requires_grad_(False)
    rows = [part for part in network.modules() if isinstance(part, ConditionalInstanceNorm2d)]
    parameters = [value.requires_grad_() for part in rows for value in part.parameters()]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, betas=(0.9, 0.95))
    images = ContentImages(sample_pictures(), CROP)
    began, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / _WARM_UP) * (1 + math.cos(math.pi * done)) / 2
        samples = range(step * BATCH, (step + 1) * BATCH)
        batch = torch.stack([images[n].image for n in samples]).float() / 255
        losses, _ = objective(network, batch.contiguous(memory_format=torch.channels_last), samples, step)
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        step += 1
        now = time.monotonic()
        # A step more must fit as well.
        done = max(step / STEPS, (now - began + (now - began) / step) / max(until - began, 1e-9))
        report(min(done, 1.0))
    return step
