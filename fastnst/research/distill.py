"""Making the compact loss network: rounds of fitting, each to pictures optimized through the network before it too; a
refinement; and the weights, with a card that says how they came about.

Images are float32 (1, 3, H, W) RGB in [0, 1].
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from fastnst.errors import CheckpointError, OutputError
from fastnst.io.files import check_kinds, parse_table, reading, write_atomically
from fastnst.losses.compact import LAYERS, SHAPES, CompactFeatures, CompactInfo, load_compact, save_compact
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import VGGFeatures
from fastnst.losses.weights import find_weights, hardware, resolve_precision
from fastnst.models.checkpoint import read_safetensors
from fastnst.renamed import with_current_names
from fastnst.research.distill_pictures import Pictures, draw_descent
from fastnst.research.fitting import Fit, Fitter, Missed, Refiner
from fastnst.research.settings import DistillSettings

CHECKPOINT = "checkpoint.safetensors"
FORMAT = "fastnst distillation 1"
_STEADY = 0.99
"""Of the running means of the refinement's errors."""
_NOISE = (0.02, 0.05, 0.1, 0.2)
"""Standard deviations of the noise that every third picture gets: how a layer answers to small changes counts too."""


@dataclass(frozen=True)
class DistillProgress:
    """Something was done: a picture was optimized, a layer was fitted, or the network was refined by a step."""

    round: int
    rounds: int
    descents: int
    """Pictures optimized for this round so far."""

    fit: Fit | None = None

    refined: int = 0
    """Steps of the refinement so far."""

    missed: Mapping[str, Missed] | None = None
    """Errors before its last step, by layer."""


Callback: TypeAlias = Callable[[DistillProgress], None]


@dataclass
class DistillState:
    """All that a later round needs of those before."""

    network: CompactFeatures
    round: int = 0
    """Rounds done."""

    elapsed_s: float = 0.0
    descents: list[Tensor] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    """How well the layers were fitted in the last round."""

    refined: int = 0
    """Steps of the refinement done."""

    missed: dict[str, list[float]] = field(default_factory=dict)
    """Running means of the errors of responses, of their changes and of their Gram matrix's, by layer."""


@dataclass(frozen=True)
class DistillResult:
    """A compact network and what is known about how it was made."""

    network: CompactFeatures
    teacher: str
    fits: list[dict[str, Any]]
    missed: dict[str, list[float]]
    elapsed_s: float
    hardware: str


def distill(
    settings: DistillSettings,
    content: Path,
    folder: Path,
    *,
    resume: bool = False,
    on_progress: Callback | None = None,
    device: torch.device | None = None,
) -> DistillResult:
    """Make the compact loss network: rounds of fitting, then a refinement. Its state is kept in `folder` meanwhile.

    A refinement that is resumed has other components and begins Adam's averages anew.

    Raises OutputError where the folder already holds a distillation and `resume` is not asked for, CheckpointError
    where there is none to go on with, InputError without usable pictures, WeightsError.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise OutputError(
            f"{folder}: already holds a distillation; resume it with --resume {folder}, or choose another -o"
        )
    dtype = resolve_precision(settings.precision, device)
    pictures = Pictures(content, settings.paintings, settings.crop_size)
    weights = find_weights(settings.loss_network, settings.loss_weights)
    teacher = VGGFeatures(weights.architecture, tuple(SHAPES), "average", weights.normalization)
    teacher.load_torchvision(weights.state)
    teacher.to(memory_format=torch.channels_last).to(device)
    state = load_state(checkpoint) if resume else _begin(settings)
    state.network.to(memory_format=torch.channels_last).to(device)
    started = time.monotonic() - state.elapsed_s
    tell = on_progress or (lambda _: None)
    while state.round < settings.rounds:
        rng = np.random.default_rng((settings.seed, state.round))
        number = state.round + 1
        if state.round:
            for count in range(1, settings.descents + 1):
                state.descents.append(draw_descent(state.network, pictures, rng, device, dtype))
                tell(DistillProgress(number, settings.rounds, count))
        drawn = [_draw(pictures, rng, n).to(device) for n in range(settings.images_per_round)]
        fitter = Fitter(state.network, teacher, drawn + [image.to(device) for image in state.descents], dtype)
        state.fits = []
        for name in SHAPES:
            fit = fitter.fit(name)
            state.fits.append(asdict(fit))
            tell(DistillProgress(number, settings.rounds, settings.descents, fit))
        state.round, state.elapsed_s = number, time.monotonic() - started
        save_state(checkpoint, state, settings)
    if state.refined < settings.refine_steps:
        pictures = Pictures(content, settings.paintings, settings.refine_crop_size)
        refiner = Refiner(
            state.network,
            teacher,
            pictures,
            learning_rate=settings.refine_rate,
            steps=settings.refine_steps,
            pairs=settings.refine_pairs,
            workers=settings.workers,
            dtype=dtype,
            seed=settings.seed + state.refined,
        )
        for missed in _refine(state, refiner, settings, started, checkpoint):
            tell(
                DistillProgress(
                    settings.rounds, settings.rounds, settings.descents, refined=state.refined, missed=missed
                )
            )
    return DistillResult(
        state.network, weights.provenance, state.fits, state.missed, state.elapsed_s, hardware(device, dtype)
    )


def _begin(settings: DistillSettings) -> DistillState:
    if settings.init_from is None:
        return DistillState(CompactFeatures())
    given = LossSettings(loss_network="compact", loss_weights=settings.init_from)
    network, _ = load_compact(given, LAYERS)
    return DistillState(network, round=settings.rounds)


def _refine(
    state: DistillState, refiner: Refiner, settings: DistillSettings, started: float, checkpoint: Path
) -> Iterator[Mapping[str, Missed]]:
    """Refine the network from where the state stands; yields the errors of each step."""
    saved_s = time.monotonic()
    while state.refined < settings.refine_steps:
        missed = refiner.step(state.refined)
        state.refined += 1
        for layer, errors in missed.items():
            now = [errors.responses, errors.changes, errors.style]
            before = state.missed.get(layer, now)
            before = before if len(before) == len(now) else now  # the first version had two errors
            state.missed[layer] = [_STEADY * old + (1 - _STEADY) * new for old, new in zip(before, now, strict=True)]
        last = state.refined == settings.refine_steps
        if last or time.monotonic() - saved_s > settings.checkpoint_every_s:
            saved_s = time.monotonic()
            state.elapsed_s = saved_s - started
            save_state(checkpoint, state, settings)
        yield missed


def _draw(pictures: Pictures, rng: np.random.Generator, number: int) -> Tensor:
    image = pictures.photo(rng) if number % 2 else pictures.other(rng)
    if number % 3:
        return image
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return (image + noise * float(rng.choice(_NOISE))).clamp(0, 1)


def save_state(path: Path, state: DistillState, settings: DistillSettings) -> None:
    """Write a checkpoint; raises OutputError where that fails."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"descents.{number}": value.half() for number, value in enumerate(state.descents)}
    plain = _plain(settings)
    names = ("round", "elapsed_s", "fits", "refined", "missed")
    progress = {name: getattr(state, name) for name in names}
    metadata = {"format": FORMAT, "settings": json.dumps(plain), "progress": json.dumps(progress)}
    write_atomically(path, save({name: value.cpu().contiguous() for name, value in tensors.items()}, metadata))


def load_state(path: Path) -> DistillState:
    """Read a checkpoint; raises CheckpointError for a file that is none."""
    tensors, metadata = read_safetensors(path)
    _check_format(path, metadata)
    with reading(path, "start again in another folder"):
        progress = parse_table(metadata["progress"])
        check_kinds(progress, {"round": 0, "elapsed_s": 0.0, "fits": [], "refined": 0, "missed": {}})
        for fit in progress.get("fits", ()):
            Fit(**fit)
        for errors in progress.get("missed", {}).values():
            check_kinds(dict(enumerate(errors)), dict.fromkeys(range(len(errors)), 0.0))  # type: ignore[arg-type]
        state = DistillState(CompactFeatures(), **progress)
        state.network.load_state_dict({name: tensors[f"network.{name}"] for name in state.network.state_dict()})
        count = sum(name.startswith("descents.") for name in tensors)
        state.descents = [tensors[f"descents.{number}"].float() for number in range(count)]
        if any(image.ndim != 4 or image.shape[:2] != (1, 3) for image in state.descents):
            raise ValueError("a picture that was optimized is no image")
        return state


def saved_settings(folder: Path) -> dict[str, Any]:
    """Settings of the distillation in `folder`; raises CheckpointError where there is none."""
    path = folder / CHECKPOINT
    if not path.is_file():
        raise CheckpointError(f"{folder}: no distillation to resume; expected a folder with {CHECKPOINT} in it")
    _, metadata = read_safetensors(path)
    _check_format(path, metadata)
    with reading(path, "start again in another folder"):
        return with_current_names("research distill", parse_table(metadata["settings"]))


# What may differ between a run and the one that goes on with its checkpoint.
_FREE_ON_RESUME = ("paintings", "content", "loss_weights", "init_from", "license", "workers", "checkpoint_every_s")


def check_same(folder: Path, settings: DistillSettings, *, force: bool) -> None:
    """Raise CheckpointError where the distillation in `folder` had other settings, unless it is to go on with these."""
    saved = saved_settings(folder)
    now = {name: value for name, value in _plain(settings).items() if name not in _FREE_ON_RESUME}
    changes = {name: value for name, value in now.items() if saved.get(name, value) != value}
    if changes and not force:
        words = "; ".join(
            f"--{name.replace('_', '-')} {value} instead of {saved[name]}" for name, value in changes.items()
        )
        raise CheckpointError(
            f"{folder / CHECKPOINT}: now it is {words}; --resume {folder} resumes with what is given now, "
            "--resume never starts again"
        )


def _plain(settings: DistillSettings) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(settings).items() if value is not None}


def _check_format(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of a distillation")


# Where things lay on the machine that trained is nobody else's business.
_PRIVATE = ("paintings", "content", "loss_weights", "init_from")


def finish(result: DistillResult, settings: DistillSettings, folder: Path) -> Path:
    """Write compact.safetensors and compact.md into `folder`, and return the first; OutputError where that fails."""
    weights = folder / "compact.safetensors"
    shown = {name: value for name, value in asdict(settings).items() if name not in _PRIVATE}
    training = {
        "settings": shown,
        "fits": result.fits,
        "missed": {layer: [round(value, 4) for value in errors] for layer, errors in result.missed.items()},
        "elapsed_s": round(result.elapsed_s),
        "hardware": result.hardware,
        "torch": torch.__version__,
    }
    info = CompactInfo(result.teacher, settings.license, training)
    save_compact(weights, result.network, info)
    write_atomically(weights.with_suffix(".md"), _card(info, result).encode(errors="backslashreplace"))
    return weights


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
| license | {info.license} |
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
