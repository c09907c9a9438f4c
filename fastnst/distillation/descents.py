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


class Descent:
    """A picture on its way down the loss by the compact network; all is drawn within what users ask for and beyond."""

    def __init__(
        self, network: LossNetwork, pictures: Pictures, rng: np.random.Generator, device: torch.device
    ) -> None:
        """Draw photograph, first image, style, weights, learning rate and number of steps.

        Args:
            network: the loss network; each step goes through it as it then stands.
            pictures: where photograph and style come from.
            rng: what is drawn from.
            device: where the network is.
        """
        self._photo = pictures.photo(rng).to(device)
        self.image = _start(self._photo, pictures, rng).to(device)
        """Where it stands, (1, 3, H, W)."""
        self._style = pictures.style(rng).to(device)
        settings = LossSettings(
            loss_network="compact",
            content_weight=1.0 if rng.random() < 0.9 else 0.0,
            style_weight=_between(rng, 1.5, 40),
        )
        self._loss = PerceptualLoss(network, settings)
        self._pixels = self.image.clone().requires_grad_()
        self._adam = torch.optim.Adam([self._pixels], lr=_between(rng, 0.008, 0.05), betas=(0.9, 0.99), eps=1e-12)
        self.left = int(_between(rng, 4, 120))
        """Steps to come."""

    def advance(self, steps: int, dtype: torch.dtype | None) -> Tensor:
        """Go that many steps, or as many as are left; returns the image then. `dtype`: arithmetic, None is float32."""
        pixels, steps = self._pixels, min(steps, self.left)
        with autocast(pixels.device, dtype):
            content, style = self._loss.measure_content(self._photo), self._loss.measure_style(self._style)
            for _ in range(steps):
                (pixels.grad,) = torch.autograd.grad(self._loss.terms(pixels, content, style).total, pixels)
                self._adam.step()
                with torch.no_grad():
                    pixels.clamp_(0, 1)
        self.left -= steps
        self.image = pixels.detach().clone()
        return self.image


def draw_descent(
    network: LossNetwork, pictures: Pictures, rng: np.random.Generator, device: torch.device, dtype: torch.dtype | None
) -> Tensor:
    """Optimise one picture for a random number of steps, by `Descent`."""
    descent = Descent(network, pictures, rng, device)
    return descent.advance(descent.left, dtype)


def _start(photo: Tensor, pictures: Pictures, rng: np.random.Generator) -> Tensor:
    kind = rng.random()
    if kind < 0.7:
        return photo
    if kind < 0.85:
        return torch.from_numpy(rng.random(photo.shape, dtype=np.float32))
    return pictures.other(rng)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
