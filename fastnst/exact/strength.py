"""Automatic weights: one knob, `strength`, that means the same for every pair of photo and style.

Strength is how much of the photo's content is given up: the relative squared error of the stylized picture's features
at the content layers, 0 the photo itself, 1 as far from it as nothing at all. Which style weight leads there depends on
photo, painting and formulas by orders of magnitude; so the pair is painted small, a few steps at a time, until the
weight is known. That takes about as long as ten steps at 512 pixels.

Images are float32 (1, 3, H, W) RGB in [0, 1], H height and W width in pixels.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from fastnst.errors import SettingError
from fastnst.exact.lbfgs import LBFGSDescent
from fastnst.exact.objective import PixelObjective
from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.subject import Subject
from fastnst.losses.perceptual import PerceptualLoss, search_style_weight
from fastnst.losses.vgg import LossNetwork

PILOT_SIDE = 128
"""Long side of the small paintings, pixels, where the pictures' shapes allow it."""
PILOT_STEPS = 30
SETTLING = 1.2
"""After the small paintings' few steps that much more is lost than in the end: content comes back as a picture settles
(0.378 after 30 steps, 0.331 after 100, 0.313 after 300, at 128 pixels; 0.382 after 30 at 256)."""


def weigh(
    subject: Subject,
    network: LossNetwork,
    settings: OptimizeSettings,
    device: torch.device,
    dtype: torch.dtype | None,
) -> OptimizeSettings:
    """Return the settings with the style weight that their strength asks for, or as they are where there is none.

    The photo is the first image of the small paintings, whatever `init` says.
    """
    if settings.strength is None:
        return settings
    if not settings.content_layers or not settings.style_layers:
        raise SettingError("--strength weighs style against content; give layers for both")
    side = pilot_side(subject, network, settings.size)
    content = settings.content_weight or 1.0
    plain = replace(settings, content_weight=content, strength=None)
    objective = subject.objective(PerceptualLoss(network, plain), side, device, dtype)
    photo = subject.photo(side).to(device)

    def lost(style_weight: float) -> float:
        objective.loss = PerceptualLoss(network, replace(plain, style_weight=style_weight))
        return objective.content_lost(_paint(objective, photo))

    weight = search_style_weight(lost, SETTLING * settings.strength, first_weight(objective, photo))
    return replace(plain, style_weight=weight)


def pilot_side(subject: Subject, network: LossNetwork, longest: int) -> int:
    """Long side of the small paintings: so large that also narrow pictures reach the deepest layer."""
    side = min(PILOT_SIDE, longest)
    while side < longest and subject.shortest_side(side) < 4 * network.smallest_side:
        side = min(longest, math.ceil(side * 1.25))
    return side


def first_weight(objective: PixelObjective, photo: Tensor) -> float:
    """A style weight at which both terms pull alike at a photo with some noise in it, where each has a gradient."""
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0)).to(photo.device)
    image = objective.constrain(0.9 * photo + 0.1 * noise)
    loss, norms = objective.loss, []
    settings = replace(loss.settings, tv_weight=0.0)
    for content_weight, style_weight in ((loss.settings.content_weight, 0.0), (0.0, 1.0)):
        weights = replace(settings, content_weight=content_weight, style_weight=style_weight)
        objective.loss = PerceptualLoss(loss.network, weights)
        norms.append(float(objective.evaluate(image)[1].norm()))
    objective.loss = loss
    return max(norms[0], 1e-30) / max(norms[1], 1e-30)


def _paint(objective: PixelObjective, image: Tensor) -> Tensor:
    descent, best, lowest = LBFGSDescent(), image, math.inf
    for _ in range(PILOT_STEPS):
        losses, gradient = objective.evaluate(image)
        if losses["total"] < lowest:
            best, lowest = image, losses["total"]
        image = objective.constrain(descent.propose(image, losses["total"], gradient))
    return best
