"""From settings, photographs and a folder to a training that is ready for its first step, or its next one.

The style weight is found as well: content ends about as far from the photos, whatever the painting. A few photographs
are painted small by changing their pixels, with different style weights, until the content loss is what such a painting
has where a trained network reaches the goal. `fastnst optimize --strength` does the same for one pair.

Images are float32 (B, 3, H, W) RGB in [0, 1].
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.errors import CheckpointError, SettingError
from fastnst.io.images import Frame, fit_long_side, read_frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss, search_style_weight
from fastnst.losses.vgg import LossNetwork
from fastnst.losses.weights import (
    COMPACT_CHOSEN,
    autocast,
    chosen_network,
    load_fine_tuning_network,
    load_loss_network,
    resolve_precision,
)
from fastnst.models.checkpoint import find_model, init_from, load_model, must_be_found
from fastnst.models.network import StyleNetwork
from fastnst.training.checkpoint import CHECKPOINT, Resume, new_state, resume_from, start_ema
from fastnst.training.data import ContentImages, check_shares, held_out
from fastnst.training.objective import ImitationObjective, TrainingObjective, losses_of_styles
from fastnst.training.processes import Processes, check_step
from fastnst.training.run import Stopwatch, TrainingRun
from fastnst.training.schedule import (
    SMALLEST_PLANNED_CROP,
    StepSchedule,
    TimeSchedule,
    in_words,
    multiply_adds_per_pixel,
    plan_budget,
    time_steps,
)
from fastnst.training.settings import TrainSettings

HELD_OUT_COUNT = 4

Say: TypeAlias = Callable[[str], None]
"""Takes one line for the user."""


class Setup:
    """What all parts of a training need, and the way from there to a run."""

    def __init__(
        self,
        settings: TrainSettings,
        content: Path,
        folder: Path,
        *,
        device: torch.device,
        processes: Processes,
        say: Say,
    ) -> None:
        """Read the style pictures and load the loss network."""
        self.content, self.folder, self.device, self.processes, self.say = content, folder, device, processes, say
        check_shares(min(settings.batch_size, settings.progressive_batch_size or settings.batch_size), processes.count)
        free, settings = settings, chosen_network(settings)
        if settings is not free and settings.loss_network == "compact":
            say(COMPACT_CHOSEN)
        self.styles = [read_frame(path) for path in settings.style]
        self.dtype = resolve_precision(settings.precision, device)
        self.loss_network, self.loss_weights = load_loss_network(settings, device)
        # What the last part is judged by, and the held-out pictures throughout.
        self.fine_tuning_network = self.loss_network
        if settings.fine_tune_fraction:
            self.fine_tuning_network, weights = load_fine_tuning_network(settings, settings.fine_tune_weights, device)
            self.loss_weights += f"; the last {100 * settings.fine_tune_fraction:.3g} % {weights}"
        self.state = new_state(settings, device)
        self.stopwatch = Stopwatch(device)
        self.settings = settings

    def run(self, began: float, *, resume: Resume) -> TrainingRun:
        """Measure and plan all that is left; with `resume` the training stands where the folder's checkpoint does.

        Raises InputError, CheckpointError.
        """
        if resume:
            checkpoint, force = self.folder / CHECKPOINT, resume == "force"
            self.settings, changed = resume_from(
                checkpoint, self.state, self.settings, digest(self.styles), force=force
            )
            self._say_resumed(changed)
        began -= self.state.elapsed_s
        teacher = self._teacher()
        self._check_memory(teacher)
        self._weigh()
        objective = self._objective(self.loss_network, teacher)
        fine_tuning = (
            self._objective(self.fine_tuning_network, teacher) if self.settings.fine_tune_fraction else objective
        )
        if not resume:
            self._begin_near(objective)
        pace = self._pace(objective, fine_tuning, began, resume=bool(resume))
        settings, state = self.settings, self.state
        imitates = teacher is not None and settings.imitation_fraction > 0
        imitation = ImitationObjective(objective) if imitates else None
        objectives = {objective, fine_tuning, imitation or objective}
        held = held_out(self.content, HELD_OUT_COUNT, settings.crop_size)
        state.skipped |= dict(held.skipped)
        return TrainingRun(
            settings=settings,
            folder=self.folder,
            device=self.device,
            dtype=self.dtype,
            processes=self.processes,
            state=state,
            first_objective=objective,
            fine_tuning_objective=fine_tuning,
            imitation=imitation,
            pace=pace,
            images=ContentImages(self.content, settings.crop_size, settings.seed, exclude=held.names),
            held_out=list(torch.split(held.images.to(self.device).float() / 255, 1)),
            style_sha256=digest(self.styles),
            loss_weights=self.loss_weights,
            began=began,
            per_pixel={each: multiply_adds_per_pixel(state.network, each) for each in objectives},
            stopwatch=self.stopwatch,
        )

    def _say_resumed(self, changed: str) -> None:
        all_steps = "" if self.settings.budget else f" of {self.settings.steps}"
        words = f", now with {changed}" if changed else ""
        self.say(f"Going on with {self.folder} after step {self.state.step}{all_steps}{words}.")

    def _check_memory(self, teacher: StyleNetwork | None) -> None:
        """Raise SettingError where a step does not fit into memory; accelerators say so themselves."""
        if self.device.type != "cpu":
            return
        last, network, small = self.fine_tuning_network, self.state.network, replace(self.settings, style_size=(SIDE,))
        sizes = zip(self.styles, self.settings.style_sizes, strict=True)
        pixels = max(math.prod(fit_long_side(style.shape[:2], side)) for style, side in sizes)
        for loss_network in (self.loss_network, last) if last is not self.loss_network else (last,):
            make = partial(self._objective, loss_network, teacher, small)
            check_step(self.settings, make, network, pixels, processes=self.processes.count)

    def _weigh(self) -> None:
        """Find the style weight, unless the settings or the checkpoint have it."""
        state, given = self.state, self.settings.style_weight
        if given != "auto":
            state.style_weight = given
        elif not state.style_weight:
            settings = self.settings
            photos = self._photos(PHOTOS, max(SIDE, self.fine_tuning_network.smallest_side))
            found = find_style_weight(self.fine_tuning_network, settings, self.styles, photos, self.dtype)
            (state.style_weight,) = self.processes.broadcast([found])
            self.say(f"Style weight {state.style_weight:.3g}, found for a content loss of {settings.content_target:g}.")

    def _objective(
        self, loss_network: LossNetwork, teacher: StyleNetwork | None, settings: TrainSettings | None = None
    ) -> TrainingObjective:
        weighed = replace(settings or self.settings, style_weight=self.state.style_weight)
        return TrainingObjective(
            PerceptualLoss(loss_network, weighed),
            self.styles,
            weighed,
            stride=self.state.network.stride,
            device=self.device,
            dtype=self.dtype,
            lap=self.stopwatch.lap,
            teacher=teacher,
        )

    def _begin_near(self, objective: TrainingObjective) -> None:
        """Of a start that knows other styles, let each painting begin as the one that comes nearest."""
        settings, state = self.settings, self.state
        if settings.init_model is None:
            return
        trained, info = load_model(find_model(settings.init_model))
        if not must_be_found(settings.style_names, info):
            return
        photos = self._photos(PHOTOS, max(SIDE, objective.loss.network.smallest_side))
        trained = trained.to(memory_format=torch.channels_last).to(self.device)
        rows = []
        for number, name in enumerate(settings.style_names):
            if name in info.styles:
                rows.append(info.styles.index(name))
                continue
            totals = losses_of_styles(trained, objective, photos, number)
            (found,) = self.processes.broadcast([float(totals.argmin())])
            rows.append(int(found))
            self.say(f"{name} starts from {info.styles[rows[-1]]}, the nearest style in {info.style}.")
        init_from(state.network, trained, rows)
        state.ema = start_ema(state.network) if state.ema is not None else None

    def _teacher(self) -> StyleNetwork | None:
        path = self.settings.teacher
        if not isinstance(path, Path):
            return None
        network, _ = load_model(find_model(path))
        if network.conditions != self.state.network.conditions:
            raise CheckpointError(
                f"{path}: has {_described(network)}; --teacher is one with {_described(self.state.network)}, "
                "as what is trained"
            )
        return network.to(memory_format=torch.channels_last).to(self.device).requires_grad_(False)

    def _pace(
        self, objective: TrainingObjective, fine_tuning: TrainingObjective, began: float, *, resume: bool
    ) -> StepSchedule | TimeSchedule:
        """A pace by steps, or by the budget; the settings' crop and batch then become the plan's."""
        settings, budget_s = self.settings, self.settings.budget_s
        if budget_s is None:
            return StepSchedule(settings.steps)
        left_s = budget_s - (time.monotonic() - began)
        if resume:
            self.say(f"Budget {settings.budget}: {in_words(max(0.0, left_s))} are left.")
            return TimeSchedule(budget_s)
        pictures = self._photos(
            max(1, settings.batch_size // self.processes.count), min(settings.crop_size, SMALLEST_PLANNED_CROP)
        )
        took = {each: time_steps(self.state.network, each, pictures) for each in {objective, fine_tuning}}
        left_s = budget_s - (time.monotonic() - began)
        processes = self.processes.count
        left_s, *per_pixel = self.processes.broadcast(
            [left_s, took[objective] / processes, took[fine_tuning] / processes]
        )
        chosen = plan_budget(settings, left_s, *per_pixel, processes=processes)
        self.settings = replace(settings, crop_size=chosen.crop, batch_size=chosen.batch)
        self.say(chosen.words(settings.budget))
        return TimeSchedule(budget_s, chosen.reserve_s)

    def _photos(self, count: int, size: int) -> Tensor:
        """Some content pictures as images, (count or fewer, 3, size, size)."""
        return held_out(self.content, count, size).images.to(self.device).float() / 255


def _described(network: StyleNetwork) -> str:
    styles, strength = network.conditions.styles, network.conditions.strength
    return f"{styles} style{'' if styles == 1 else 's'} and {'a' if strength else 'no'} strength input"


def digest(styles: Sequence[Frame]) -> str:
    """SHA-256 of the pixels of pictures."""
    return hashlib.sha256(b"".join(style.tobytes() for style in styles)).hexdigest()


PHOTOS = 3
SIDE = 96
STEPS = 40
LEARNING_RATE = 0.03

EXCESS = 1.2
"""A network's content loss over that of the small paintings with the same style weight: a network cannot fit each
picture as its own pixels can (docs/how-it-works.md)."""

FIRST_WEIGHT = 5.0


def find_style_weight(
    network: LossNetwork,
    settings: TrainSettings,
    styles: Sequence[Frame],
    images: Tensor,
    dtype: torch.dtype | None,
) -> float:
    """Find the style weight with which a network should end at the settings' content goal.

    The settings' own style weight plays no part. Of several style pictures, each uint8 (H, W, 3), the geometric mean of
    their weights is taken. Images are some photographs, (B, 3, H, W), on the device that computes; `dtype` is the
    arithmetic of the loss network under autocast; None is float32.

    Raises SettingError for losses that are not relative to the photo's own energy, or without layers.
    """
    if settings.normalization != "balanced" or not settings.content_layers or not settings.style_layers:
        raise SettingError("--style-weight auto needs --normalization balanced and layers for content and style")
    sizes = zip(styles, settings.style_sizes, strict=True)
    found = [_find(network, settings, resize_long_side(style, side), images, dtype) for style, side in sizes]
    return math.exp(sum(map(math.log, found)) / len(found))


def _find(
    network: LossNetwork, settings: TrainSettings, style: Frame, images: Tensor, dtype: torch.dtype | None
) -> float:
    device = images.device
    with autocast(device, dtype):
        loss = PerceptualLoss(network, replace(settings, style_weight=FIRST_WEIGHT))
        reference = loss.measure_style(to_image(style).to(device))
        content = loss.measure_content(images)

    def lost(style_weight: float) -> float:
        weighed = PerceptualLoss(network, replace(settings, style_weight=style_weight))
        pixels = images.clone().requires_grad_()
        optimizer = torch.optim.Adam([pixels], LEARNING_RATE)
        for _ in range(STEPS):
            with autocast(device, dtype):
                losses = weighed(pixels, content, reference)
            optimizer.zero_grad()
            losses.total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
        with torch.no_grad(), autocast(device, dtype):
            judged = weighed(pixels, content, reference)
            return float(judged.values["content"])

    return search_style_weight(lost, settings.content_target / EXCESS, FIRST_WEIGHT * settings.content_weight)
