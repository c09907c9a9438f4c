"""What a network is trained for: the loss of a batch of content pictures, term by term.

Shapes: B batch, H and W height and width. Images are float (B, 3, H, W) RGB in [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.images import Frame, fit_long_side, resize_frame
from fastnst.perceptual.losses import lattice_pattern
from fastnst.perceptual.perceptual import PerceptualLoss
from fastnst.perceptual.precision import autocast
from fastnst.tensors import to_image
from fastnst.training.settings import TrainSettings
from fastnst.training.stopwatch import Stopwatch

Paint: TypeAlias = Callable[[Tensor], Tensor]
"""A network, or what stands for it: images, (B, 3, H, W), to stylized images of the same size."""


@dataclass(frozen=True)
class Terms:
    """The loss of one batch."""

    total: Tensor
    """The weighted sum, with its graph."""

    values: dict[str, Tensor]
    """Every term by name, a mean over the batch, unweighted; "total" is their weighted sum."""

    stylized: Tensor
    """What the network painted, (B, 3, H, W)."""


class Objective:
    """The perceptual loss against a style picture, and the penalty on patterns that repeat.

    A further term belongs in `__call__`: its mean over the batch among the values, and times its weight in the total.
    """

    def __init__(
        self,
        loss: PerceptualLoss,
        style: Frame,
        settings: TrainSettings,
        *,
        stride: int,
        device: torch.device,
        dtype: torch.dtype | None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        """Measure the style picture, uint8 (H, W, 3); `stride` is the period of the patterns, pixels."""
        self.loss, self.settings, self.stride = loss, settings, stride
        self.stopwatch = stopwatch or Stopwatch(device)
        self.device, self.dtype = device, dtype
        size = fit_long_side(style.shape[:2], settings.style_size)
        with autocast(device, dtype):
            self.style = loss.measure_style(to_image(resize_frame(style, size)).to(device))

    def __call__(self, paint: Paint, images: Tensor, samples: range) -> Terms:
        """Loss of what `paint` makes of the images; `samples` are their numbers in the content sequence.

        What a further term draws at random follows from the seed and those numbers, so that neither going on after
        a stop nor several processes change it.
        """
        del samples
        with autocast(self.device, self.dtype):
            stylized = paint(images)
            self.stopwatch.lap("network")
            perceptual = self.loss.terms(stylized, self.loss.measure_content(images), self.style)
        lattice = lattice_pattern(stylized, self.stride).mean()
        total = perceptual.total + self.settings.lattice_weight * lattice
        self.stopwatch.lap("loss")
        values = {
            "total": total.detach(),
            "content": perceptual.content.detach(),
            "style": perceptual.style.detach(),
            "total_variation": perceptual.total_variation.detach(),
            "lattice": lattice.detach(),
        }
        return Terms(total, values, stylized)

    def measure(self, paint: Paint, image: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Paint one held-out image, (1, 3, H, W); the result, clamped as when it is saved, and its losses by name."""
        with torch.no_grad(), autocast(self.device, self.dtype):
            stylized = paint(image).float().clamp(0, 1)
            return stylized, self.loss.terms(stylized, self.loss.measure_content(image), self.style).floats()
