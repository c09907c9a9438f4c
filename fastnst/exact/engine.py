"""Gatys' method (Gatys, Ecker and Bethge 2016): the pixels themselves are optimized; nothing is trained beforehand.

`optimize` is all of it: it prepares a photo and its styles, and takes step after step at one level of the pyramid
after the other. `PictureRefiner` takes some such steps on what a network painted.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], channels innermost in memory, frames uint8
(H, W, 3) RGB.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fastnst.errors import DivergedError
from fastnst.exact.checkpoint import Logbook, check_sizes, resumed, what_is_asked
from fastnst.exact.objective import PixelObjective, Subject, weigh
from fastnst.exact.optimizers import new_descent
from fastnst.exact.pyramid import (
    Level,
    MemoryPlan,
    check_init,
    fitting_size,
    initial_image,
    largest,
    measure_footprint,
    plan_levels,
    plan_memory,
    repaint,
)
from fastnst.exact.result import (
    Callback,
    OptimizationRun,
    OptimizeDivergedError,
    OptimizeProgress,
    OptimizeResult,
    Step,
    Trace,
)
from fastnst.exact.settings import OptimizeSettings, Styles
from fastnst.io.blending import add_change
from fastnst.io.files import alone_in
from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.io.tensors import quiet_tensorboard, to_frame, to_image
from fastnst.losses.perceptual import STYLE_SIDE, PerceptualLoss, find_references, measure_painting
from fastnst.losses.terms import StyleTarget
from fastnst.losses.weights import (
    chosen_network,
    hardware,
    load_fine_tuning_network,
    load_loss_network,
    resolve_precision,
)


def optimize(
    content: Frame,
    styles: Styles,
    settings: OptimizeSettings | None = None,
    *,
    content_mask: Frame | None = None,
    callback: Callback | None = None,
    device: torch.device | None = None,
    log_dir: Path | None = None,
    resume: bool = False,
    on_plan: Callable[[MemoryPlan], None] | None = None,
) -> OptimizeResult:
    """Paint a photo in the manner of a style picture.

    Ctrl-C ends the work early: the best picture so far is returned, marked `interrupted`.

    Args:
        content: the photo, uint8 (H, W, 3) RGB; it is resized to the settings' size.
        styles: a style picture, uint8 (H, W, 3) RGB, or several, each perhaps a Style with its weight; they are
            resized to the settings' style_size.
        settings: by default OptimizeSettings().
        content_mask: the photo's regions, uint8 (H, W, 3) RGB, each in a colour of its own: a Style's mask has the
            same colours.
        callback: called after each step.
        device: what computes; by default CUDA where there is one.
        log_dir: a folder for TensorBoard events, pictures and a checkpoint, as Logbook says.
        resume: go on with the checkpoint in `log_dir`, bit for bit; only `steps` may differ, where there is no
            `fine_tune`, and how much is kept. With less memory than before, lbfgs forgets what does not fit.
        on_plan: called once, before the work, with the memory it will take.

    Raises:
        InputError: a picture that is no frame, too small for the loss network, or an unreadable init picture.
        WeightsError: no weights for the loss network.
        SettingError: an unknown layer, or more memory than there is.
        StyleError: no style of the name in `init`.
        OptimizeDivergedError: a loss that is no finite number.
        CheckpointError: nothing to resume, or something else was asked for then.
        OutputError: `log_dir` cannot be written to, or another run is writing there.

    Examples:
        >>> import numpy as np
        >>> photo = np.zeros((48, 64, 3), np.uint8)
        >>> stripes = np.tile(np.array([[40, 90, 200], [230, 190, 60]], np.uint8), (64, 32, 1))
        >>> result = optimize(photo, stripes, OptimizeSettings(steps=1, loss_network="compact"))
        >>> result.frame.shape, len(result.history)
        ((48, 64, 3), 1)
    """
    started = time.perf_counter()
    settings = chosen_network(settings or OptimizeSettings())
    settings = _at_most_the_photo(settings, content)
    check_init(settings)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    work = LevelObjectives(Subject(content, styles, settings, content_mask), settings, device)
    plan = work.plan()
    if on_plan is not None:
        on_plan(plan)
    run = OptimizationRun(plan_levels(settings), new_descent(replace(settings, history=plan.history)))
    try:
        with ExitStack() as stack:
            if log_dir is not None:
                stack.enter_context(alone_in(log_dir))
                asked = what_is_asked(settings, content, styles, content_mask, work.loss_weights)
                if resume:
                    run = resumed(log_dir, asked, run, device)
                    check_sizes(log_dir, run, work.subject.size)
                stack.enter_context(quiet_tensorboard())
                logbook = stack.enter_context(Logbook(log_dir, run, asked, settings.save_every))
                callback = _both(logbook.note, callback)
            while run.level < len(run.levels):
                objective = work.begin_level(run)
                began = time.perf_counter() - run.elapsed_s
                while (image := run.next_image()) is not None:
                    losses, gradient = objective.evaluate(image)
                    elapsed_s = time.perf_counter() - began
                    progress = _take_step(run, objective, image, losses, gradient, elapsed_s=elapsed_s)
                    if callback is not None:
                        callback(progress)
                run.end_level()
    except KeyboardInterrupt:
        if not run.trace.history:
            raise
        run.trace.interrupted = True
    except DivergedError as error:
        best = work.result(run.trace, time.perf_counter() - started) if run.trace.history else None
        raise OptimizeDivergedError(str(error), best) from error
    return work.result(run.trace, time.perf_counter() - started)


def _at_most_the_photo(settings: OptimizeSettings, content: Frame) -> OptimizeSettings:
    """The settings with the photo's own size where that is less, unless it is to be enlarged."""
    own = max(content.shape[:2]) if content.ndim == 3 else settings.size
    return settings if settings.enlarge else replace(settings, size=max(1, min(settings.size, own)))


def _take_step(
    run: OptimizationRun,
    objective: PixelObjective,
    image: Tensor,
    losses: dict[str, float],
    gradient: Tensor,
    *,
    elapsed_s: float,
) -> OptimizeProgress:
    """Note an evaluation, and find the image that is evaluated next at this level; none after its last step.

    Raises DivergedError for a loss or a gradient that is no finite number.
    """
    level, trace = run.levels[run.level], run.trace
    run.torn, run.elapsed_s = True, elapsed_s
    number = len(trace.history) + 1
    trace.add(Step.of(number, losses, elapsed_s, level), image)
    run.done += 1
    if run.done < level.steps:
        _check_finite(gradient, number)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        run.image = objective.constrain(run.descent.propose(image, losses["total"], gradient))
    run.torn = False
    return OptimizeProgress(trace.history[-1], trace.best, run.steps, trace.best_image, run.level, run.done)


def _check_finite(gradient: Tensor, step: int) -> None:
    # Where a loss is finite its gradient may still overflow; told now, it is not blamed on the next step's loss.
    size = gradient.abs().sum().item()
    if not math.isfinite(size):
        raise DivergedError(f"step {step}: the gradient is {size}; lower the weights, or try --precision float32")


def _both(first: Callback, second: Callback | None) -> Callback:
    def call(progress: OptimizeProgress) -> None:
        first(progress)
        if second is not None:
            second(progress)

    return call


class LevelObjectives:
    """What the levels of a run share: the subject, the loss networks, and the objective measured last."""

    def __init__(self, subject: Subject, settings: OptimizeSettings, device: torch.device) -> None:
        """Load the loss network; raises WeightsError and SettingError as it does."""
        self.subject, self.device = subject, device
        self.dtype = resolve_precision(settings.precision, device)
        network, self.loss_weights = load_loss_network(settings, device)
        # By whether it is for the last steps alone, `fine_tune`.
        networks = {False: network}
        if settings.fine_tune_steps:
            networks[True], weights = load_fine_tuning_network(settings, settings.fine_tune_weights, device)
            self.loss_weights += f"; the last {settings.fine_tune_steps} steps {weights}"
        self.settings = weigh(subject, networks[settings.fine_tune_steps > 0], settings, device, self.dtype)
        self._losses = {fine_tune: PerceptualLoss(one, self.settings) for fine_tune, one in networks.items()}
        self._measured: tuple[tuple[int, bool], PixelObjective] | None = None
        self._planned_bytes = 0

    def plan(self) -> MemoryPlan:
        """How much memory it will take; raises SettingError where there is less, and says what would fit."""

        def pixels_at(size: int) -> tuple[int, int]:
            height, width = self.subject.size(size)
            # With a --style-size the style picture is as large beside a smaller photo.
            return height * width, round((self.settings.style_size or size) * self.settings.stroke) ** 2

        footprints = [measure_footprint(loss, self.dtype, self.device) for loss in self._losses.values()]
        plan = plan_memory(largest(footprints), self.settings, pixels_at, self.device)
        self._planned_bytes = plan.peak_bytes
        return plan

    def begin_level(self, run: OptimizationRun) -> PixelObjective:
        """What is minimised at the level at hand; `run.image` is what it begins with, or stays where it has begun."""
        level = run.levels[run.level]
        objective = self.objective(level.long_side, level.fine_tune)
        if run.image is None:
            run.image = objective.constrain(self._first(run))
        return objective

    def objective(self, long_side: int, fine_tune: bool = False) -> PixelObjective:
        """What is minimised at a long side of that many pixels; the newest one is kept."""
        if self._measured is None or self._measured[0] != (long_side, fine_tune):
            self._measured = None  # its references are let go before the next ones are measured
            objective = self.subject.objective(self._losses[fine_tune], long_side, self.device, self.dtype)
            self._measured = (long_side, fine_tune), objective
        return self._measured[1]

    def result(self, trace: Trace, elapsed_s: float) -> OptimizeResult:
        """The best picture of a trace that is not empty, judged in float32."""
        frame = to_frame(trace.best_image)
        last = trace.history[-1]
        objective = self.objective(last.long_side, last.fine_tune)
        return OptimizeResult(
            frame=frame,
            losses=objective.judge(to_image(frame).to(self.device)),
            best=trace.best,
            history=trace.history,
            loss_weights=self.loss_weights,
            hardware=hardware(self.device, self.dtype),
            style_weight=self.settings.style_weight,
            elapsed_s=elapsed_s,
            interrupted=trace.interrupted,
            planned_bytes=self._planned_bytes,
        )

    def _first(self, run: OptimizationRun) -> Tensor:
        """What a level begins with: the settings' initial image, or the best of the level before, enlarged."""
        level = run.levels[run.level]
        photo = self._photo(level)
        if run.level == 0:
            return initial_image(photo, self.settings)
        before = run.levels[run.level - 1]
        if before.fine_tune != level.fine_tune:
            run.descent.forget()
        if before.long_side == level.long_side:
            return run.trace.best_image
        run.descent.grow((photo.shape[2], photo.shape[3]))
        return repaint(run.trace.best_image, self._photo(before), photo)

    def _photo(self, level: Level) -> Tensor:
        return self.subject.photo(level.long_side).to(self.device)


def minimize(
    objective: PixelObjective, image: Tensor, settings: OptimizeSettings, trace: Trace, callback: Callback | None = None
) -> None:
    """Lower one objective from `image` on, (1, 3, H, W), for the settings' number of steps; `trace` takes them in.

    Ends early, marked in the trace, on Ctrl-C after the first step. Raises DivergedError.
    """
    level = Level(max(image.shape[2:]), settings.steps)
    run = OptimizationRun([level], new_descent(settings), trace, image=objective.constrain(image))
    began = time.perf_counter()
    try:
        while (step_image := run.next_image()) is not None:
            losses, gradient = objective.evaluate(step_image)
            elapsed_s = time.perf_counter() - began
            progress = _take_step(run, objective, step_image, losses, gradient, elapsed_s=elapsed_s)
            if callback is not None:
                callback(progress)
    except KeyboardInterrupt:
        if not trace.history:
            raise
        trace.interrupted = True


class PictureRefiner:
    """Call it with what a network was given and what it painted; pictures too large for the memory are refined smaller,
    and what changes is enlarged and added."""

    def __init__(self, steps: int, painting: Frame | None = None) -> None:
        """Load the compact loss network, for so many steps of L-BFGS a picture; WeightsError where it is missing.

        Without a painting the style is what is known of the network's own.
        """
        self.on_progress: Callable[[float], None] | None = None
        """Called with the share of the steps that is done of a picture."""

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._settings = OptimizeSettings(loss_network="compact", steps=steps)
        self._dtype = resolve_precision(self._settings.precision, self.device)
        self._network, _ = load_loss_network(self._settings, self.device)
        self._reference = None if painting is None else measure_painting(self._network, painting)

    def __call__(
        self, given: Frame, painted: Frame, network: Path, styles: Mapping[str, float], strength: float = 1.0
    ) -> Frame:
        """Refine what a network, by its file, painted of the photo as it got it, with shares of its styles by name.

        The weight of style is multiplied by the square of the strength. Raises StyleError where the painting of a style
        is not known, DivergedError for a loss that is no finite number.
        """
        reference = self._reference or find_references(network, styles)
        weighed = replace(self._settings, style_weight=self._settings.style_weight * strength**2)
        loss = PerceptualLoss(self._network, weighed)
        size = self._size(loss, given)
        photo, begun = resize_frame(given, size), resize_frame(painted, size)
        on_device = {name: tuple(part.to(self.device) for part in parts) for name, parts in reference.items()}
        image = to_image(photo).to(self.device)
        objective = PixelObjective(loss, image, [StyleTarget(on_device)], self._dtype)
        trace = Trace()
        minimize(objective, to_image(begun).to(self.device), weighed, trace, lambda at: self._report(at.done))
        refined = to_frame(trace.best_image)
        return refined if size == painted.shape[:2] else add_change(painted, begun, refined)

    def _report(self, done: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done / self._settings.steps)

    def _size(self, loss: PerceptualLoss, given: Frame) -> tuple[int, int]:
        """The largest size, up to that of the picture, that fits into memory."""
        own = (given.shape[0], given.shape[1])

        def pixels_at(size: int) -> tuple[int, int]:
            height, width = fit_long_side(own, size)
            return height * width, STYLE_SIDE**2

        footprint = measure_footprint(loss, self._dtype, self.device)
        side = fitting_size(footprint, replace(self._settings, size=max(own)), pixels_at, self.device)
        return own if side == max(own) else fit_long_side(own, side)
