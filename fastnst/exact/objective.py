"""What the exact method minimises: the perceptual loss of the pixels, against references measured once.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1].
"""

import torch
from torch import Tensor

from fastnst.errors import InputError
from fastnst.perceptual.perceptual import PerceptualLoss
from fastnst.perceptual.precision import autocast


class Objective:
    """The loss of an image and its gradient; the references are measured in float32 whatever `dtype` is."""

    def __init__(self, loss: PerceptualLoss, content: Tensor, style: Tensor, dtype: torch.dtype | None) -> None:
        """Measure the references.

        Args:
            loss: the perceptual loss.
            content: content image, (1, 3, H, W).
            style: style image, (1, 3, H, W) of any size.
            dtype: arithmetic of the loss network in `evaluate`; None is float32.

        Raises InputError for an image that the loss network is too deep for.
        """
        self.loss, self.dtype = loss, dtype
        self._check_size("photo", content, "--size")
        self._check_size("style picture", style, "--style-size")
        self.content = loss.measure_content(content)
        self.style = loss.measure_style(style)

    def evaluate(self, image: Tensor) -> tuple[dict[str, float], Tensor]:
        """Losses of an image by name (total, content, style, total_variation), and the gradient of the total."""
        pixels = image.detach().requires_grad_()
        with autocast(image.device, self.dtype):
            terms = self.loss.terms(pixels, self.content, self.style)
        (gradient,) = torch.autograd.grad(terms.total, pixels)
        return terms.floats(), gradient

    def judge(self, image: Tensor) -> dict[str, float]:
        """Losses of an image by name, in float32."""
        with torch.no_grad():
            return self.loss.terms(image, self.content, self.style).floats()

    def _check_size(self, what: str, image: Tensor, option: str) -> None:
        network = self.loss.network
        height, width = image.shape[2:]
        if min(height, width) < network.smallest_side:
            raise InputError(
                f"the {what} is {width}x{height} pixels once resized to {option}; the loss network needs at least "
                f"{network.smallest_side} a side for {network.layers[-1]}: give a larger {option} or shallower layers"
            )
