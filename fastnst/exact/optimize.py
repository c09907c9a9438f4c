"""Gatys' method (Gatys, Ecker and Bethge 2016): the pixels themselves are optimised; nothing is trained beforehand.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], frames uint8 (H, W, 3) RGB.
"""

import math
import time

import torch
from torch import Tensor

from fastnst.errors import DivergedError
from fastnst.exact.descent import AdamDescent, Descent, LBFGSDescent
from fastnst.exact.objective import Objective
from fastnst.exact.result import Callback, OptimizeDivergedError, OptimizeResult, Progress, Step, Trace
from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.style import Styles
from fastnst.exact.subject import Subject
from fastnst.images import Frame, read_frame, resize_frame
from fastnst.perceptual.perceptual import PerceptualLoss
from fastnst.perceptual.precision import hardware, resolve_precision
from fastnst.perceptual.weights import load_loss_network
from fastnst.tensors import to_frame, to_image


def optimize(
    content: Frame,
    styles: Styles,
    settings: OptimizeSettings | None = None,
    *,
    content_mask: Frame | None = None,
    callback: Callback | None = None,
    device: torch.device | None = None,
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

    Raises:
        InputError: a picture that is no frame, too small for the loss network, or an unreadable init picture.
        WeightsError: no weights for the loss network.
        SettingError: an unknown layer.
        OptimizeDivergedError: a loss that is no finite number.
    """
    started = time.perf_counter()
    settings = settings or OptimizeSettings()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    subject = Subject(content, styles, settings, content_mask)
    first = initial_image(subject.photo(settings.size).to(device), settings)
    dtype = resolve_precision(settings.precision, device)
    network, loss_weights = load_loss_network(settings, device)
    objective = subject.objective(PerceptualLoss(network, settings), settings.size, device, dtype)

    trace = Trace()

    def result() -> OptimizeResult:
        frame = to_frame(trace.best_image)
        return OptimizeResult(
            frame=frame,
            losses=objective.judge(to_image(frame).to(device)),
            best=trace.best,
            history=trace.history,
            loss_weights=loss_weights,
            hardware=hardware(device, dtype),
            elapsed_s=time.perf_counter() - started,
            interrupted=trace.interrupted,
        )

    try:
        descend(objective, first, settings, trace, callback)
    except DivergedError as error:
        raise OptimizeDivergedError(str(error), result() if trace.history else None) from error
    return result()


def descend(
    objective: Objective, image: Tensor, settings: OptimizeSettings, trace: Trace, callback: Callback | None = None
) -> None:
    """Lower the objective from `image` on, (1, 3, H, W), for the settings' number of steps; `trace` takes them in.

    Ends early, marked in the trace, on Ctrl-C after the first step. Raises DivergedError.
    """
    descent = new_descent(settings)
    image = objective.constrain(image)
    started = time.perf_counter()
    try:
        for number in range(1, settings.steps + 1):
            losses, gradient = objective.evaluate(image)
            step = Step(number, **losses, elapsed_s=time.perf_counter() - started)
            trace.add(step, image)
            if callback is not None:
                callback(Progress(step, trace.best, settings.steps, trace.best_image))
            if number < settings.steps:
                _check_gradient(gradient, number)
                image = objective.constrain(descent.propose(image, step.total, gradient))
    except KeyboardInterrupt:
        if not trace.history:
            raise
        trace.interrupted = True


def _check_gradient(gradient: Tensor, number: int) -> None:
    # Where a loss is finite its gradient may still overflow; told now, it is not blamed on the next step's loss.
    size = gradient.abs().sum().item()
    if not math.isfinite(size):
        raise DivergedError(f"step {number}: the gradient is {size}; lower the weights, or try --precision float32")


def new_descent(settings: OptimizeSettings) -> Descent:
    """The way down that the settings name."""
    if settings.optimizer == "adam":
        return AdamDescent(
            settings.learning_rate or 10 / 255,
            settings.learning_rate_end,
            settings.learning_rate_steps or settings.steps,
            (settings.adam_beta1, settings.adam_beta2),
            settings.adam_epsilon,
        )
    return LBFGSDescent(settings.learning_rate or 1.0)


def initial_image(photo: Tensor, settings: OptimizeSettings) -> Tensor:
    """What the optimisation starts from, of the photo's size, (1, 3, H, W): the photo, noise, or a picture file.

    The noise is uniform and, for one seed and size, the same on every device. Raises InputError for a bad file.
    """
    if settings.init == "content":
        return photo
    if settings.init == "noise":
        generator = torch.Generator().manual_seed(settings.seed)
        return torch.rand(photo.shape, generator=generator).to(photo.device)
    height, width = photo.shape[2:]
    return to_image(resize_frame(read_frame(settings.init), (height, width))).to(photo.device)
