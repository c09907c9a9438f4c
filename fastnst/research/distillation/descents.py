"""Pictures optimized through the compact network, stopped at all stages of it.

An optimizer finds what a loss network is blind to, and goes there; so the network is fitted again to what its teacher
says of such pictures (the idea of Ross et al. 2011, "A reduction of imitation learning and structured prediction to
no-regret online learning").

Shapes: B pictures. Images are float32 (1, 3, H, W) RGB in [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.precision import autocast
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import LossNetwork
from fastnst.research.distillation.pictures import Pictures

_NO_CONTENT = 1e6
"""Style weight beside which content does not count."""

_SETTINGS = LossSettings(loss_network="compact", style_weight=1.0)
"""Each picture's own style weight comes as a factor."""


@dataclass(frozen=True)
class DescentPlan:
    """What a picture is optimized from and for; all is drawn within what users ask for and beyond."""

    photo: Tensor
    start: Tensor
    style: Tensor
    style_weight: float
    learning_rate: float
    """Of Adam on the pixels."""
    steps: int


def draw_plan(pictures: Pictures, rng: np.random.Generator) -> DescentPlan:
    """Draw photograph, first image, style, weights, learning rate and number of steps."""
    photo = pictures.photo(rng)
    return DescentPlan(
        photo=photo,
        start=_start(photo, pictures, rng),
        style=pictures.style(rng),
        style_weight=_between(rng, 1.5, 40) if rng.random() < 0.9 else _NO_CONTENT,
        learning_rate=_between(rng, 0.008, 0.05),
        steps=int(_between(rng, 4, 120)),
    )


class PictureDescent:
    """A picture on its way down the loss by the compact network.

    Each step goes through the network as it then stands; photograph and style are measured once, at the beginning.
    """

    def __init__(
        self, network: LossNetwork, plan: DescentPlan, device: torch.device, dtype: torch.dtype | None
    ) -> None:
        """Measure what is aimed at. `device` is where the network is; `dtype` its arithmetic, None is float32."""
        self.image = plan.start.to(device)
        """Where it stands, (1, 3, H, W)."""
        self.left = plan.steps
        """Steps to come."""
        self.style_weight = plan.style_weight
        loss = PerceptualLoss(network, _SETTINGS)
        with autocast(device, dtype):
            self.content = loss.measure_content(plan.photo.to(device))
            self.style = loss.measure_style(plan.style.to(device))
        self.pixels = self.image.clone().requires_grad_()
        self.adam = torch.optim.Adam([self.pixels], lr=plan.learning_rate, betas=(0.9, 0.99), eps=1e-12)


def advance(network: LossNetwork, descents: Sequence[PictureDescent], steps: int, dtype: torch.dtype | None) -> Tensor:
    """Go that many steps with each, or as many as it has left; returns where they stand then, (B, 3, H, W).

    They go through the network together, which a GPU is hardly slower for. `dtype`: arithmetic, None is float32.
    """
    loss, device = PerceptualLoss(network, _SETTINGS), descents[0].pixels.device
    content = {layer: torch.cat([one.content[layer] for one in descents]) for layer in descents[0].content}
    style = {
        layer: tuple(torch.cat(parts) for parts in zip(*(one.style[layer] for one in descents), strict=True))
        for layer in descents[0].style
    }
    weights = torch.tensor([one.style_weight for one in descents], device=device)
    for step in range(min(steps, max(one.left for one in descents))):
        images = torch.cat([one.pixels.detach() for one in descents]).contiguous(memory_format=torch.channels_last)
        images.requires_grad_(True)
        with autocast(device, dtype):
            total = loss(images, content, style, weights).total
        (gradient,) = torch.autograd.grad(total, images)
        for one, own in zip(descents, gradient.chunk(len(descents)), strict=True):
            if step < one.left:
                one.pixels.grad = own.contiguous()
                one.adam.step()
                with torch.no_grad():
                    one.pixels.clamp_(0, 1)
    for one in descents:
        one.left = max(0, one.left - steps)
        one.image = one.pixels.detach().clone()
    return torch.cat([one.image for one in descents])


def draw_descent(
    network: LossNetwork, pictures: Pictures, rng: np.random.Generator, device: torch.device, dtype: torch.dtype | None
) -> Tensor:
    """Optimize one picture for a random number of steps."""
    descent = PictureDescent(network, draw_plan(pictures, rng), device, dtype)
    return advance(network, [descent], descent.left, dtype)


def _start(photo: Tensor, pictures: Pictures, rng: np.random.Generator) -> Tensor:
    kind = rng.random()
    if kind < 0.7:
        return photo
    if kind < 0.85:
        return torch.from_numpy(rng.random(photo.shape, dtype=np.float32))
    return pictures.other(rng)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
