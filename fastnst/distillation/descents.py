"""Pictures optimised through the compact network, stopped at all stages of it.

An optimiser finds what a loss network is blind to, and goes there; so the network is fitted again to what its teacher
says of such pictures (the idea of Ross et al. 2011, "A reduction of imitation learning and structured prediction to
no-regret online learning").

Images are float32 (1, 3, H, W) RGB in [0, 1].
"""

import math

import numpy as np
import torch
from torch import Tensor

from fastnst.distillation.pictures import Pictures
from fastnst.perceptual.network import LossNetwork
from fastnst.perceptual.perceptual import PerceptualLoss
from fastnst.perceptual.precision import autocast
from fastnst.perceptual.settings import LossSettings


def draw_descent(
    network: LossNetwork, pictures: Pictures, rng: np.random.Generator, device: torch.device, dtype: torch.dtype | None
) -> Tensor:
    """Optimise one picture for a random number of steps; all of it is drawn within what users ask for and beyond.

    Args:
        network: the loss network as it stands.
        pictures: where photograph and style come from.
        rng: what is drawn from.
        device: where the network is.
        dtype: arithmetic of the network; None is float32.
    """
    photo = pictures.photo(rng).to(device)
    image = _start(photo, pictures, rng).to(device)
    style = pictures.style(rng).to(device)
    settings = LossSettings(
        loss_network="compact",
        content_weight=1.0 if rng.random() < 0.9 else 0.0,
        style_weight=_between(rng, 1.5, 40),
    )
    learning_rate, steps = _between(rng, 0.008, 0.05), int(_between(rng, 4, 120))
    loss = PerceptualLoss(network, settings)
    pixels = image.clone().requires_grad_()
    adam = torch.optim.Adam([pixels], lr=learning_rate, betas=(0.9, 0.99), eps=1e-12)
    with autocast(device, dtype):
        content, reference = loss.measure_content(photo), loss.measure_style(style)
        for _ in range(steps):
            (pixels.grad,) = torch.autograd.grad(loss.terms(pixels, content, reference).total, pixels)
            adam.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
    return pixels.detach()


def _start(photo: Tensor, pictures: Pictures, rng: np.random.Generator) -> Tensor:
    kind = rng.random()
    if kind < 0.7:
        return photo
    if kind < 0.85:
        return torch.from_numpy(rng.random(photo.shape, dtype=np.float32))
    return pictures.other(rng)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
