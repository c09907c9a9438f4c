"""What the exact method minimises: the perceptual loss of the pixels, against references measured once.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastnst.errors import InputError
from fastnst.exact.color_control import ColorChoice, colour_rule
from fastnst.losses.losses import relative_error
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.precision import autocast
from fastnst.losses.terms import StyleReference, StyleTarget
from fastnst.losses.vgg import LossNetwork


class PixelObjective:
    """The loss of an image and its gradient; the references are measured in float32 whatever `dtype` is."""

    def __init__(
        self,
        loss: PerceptualLoss,
        content: Tensor,
        style: Tensor | Sequence[StyleTarget],
        dtype: torch.dtype | None,
        *,
        color: ColorChoice = "style",
    ) -> None:
        """Measure the references.

        Args:
            loss: the perceptual loss.
            content: content image, (1, 3, H, W).
            style: style image, (1, 3, H, W) of any size, or targets that were measured beforehand.
            dtype: arithmetic of the loss network in `evaluate`; None is float32.
            color: whose colours the image gets.

        Raises InputError for an image that the loss network is too deep for.
        """
        self.loss, self.dtype = loss, dtype
        self.check_size(loss.network, "photo", (content.shape[2], content.shape[3]), "--size", "a larger --size")
        self._colours = colour_rule(color, content)
        self.content = loss.measure_content(self._colours.view(content))
        self.style: StyleReference | Sequence[StyleTarget]
        if isinstance(style, Tensor):
            self.check_size(
                loss.network, "style picture", (style.shape[2], style.shape[3]), "--style-size", "a larger --style-size"
            )
            self.style = loss.measure_style(style)
        else:
            self.style = style

    def evaluate(self, image: Tensor) -> tuple[dict[str, float], Tensor]:
        """Losses of an image by name (total, content, style, total_variation), and the gradient of the total."""
        pixels = image.detach().requires_grad_()
        with autocast(image.device, self.dtype):
            terms = self.loss(self._colours.view(pixels), self.content, self.style)
        (gradient,) = torch.autograd.grad(terms.total, pixels)
        return terms.floats(), self._colours.project(gradient)

    def judge(self, image: Tensor) -> dict[str, float]:
        """Losses of an image by name, in float32."""
        with torch.no_grad():
            return self.loss(self._colours.view(image), self.content, self.style).floats()

    def content_lost(self, image: Tensor) -> float:
        """How much of the photo an image has given up: relative error at the content layers, 0 nothing, 1 all."""
        with torch.no_grad():
            features = self.loss.features(self._colours.view(image))
        errors = [relative_error(features[layer], self.content[layer]) for layer in self.loss.settings.content_layers]
        return float(torch.stack(errors).mean())

    def constrain(self, image: Tensor) -> Tensor:
        """The nearest image that is allowed, (1, 3, H, W): to be asked after every change of the pixels."""
        return self._colours.constrain(image)

    @staticmethod
    def check_size(network: LossNetwork, what: str, size: tuple[int, int], decided_by: str, remedy: str) -> None:
        """Raise InputError for a picture that the network is too deep for.

        Args:
            network: the loss network.
            what: the picture, in words.
            size: its (height, width), pixels.
            decided_by: what it was resized to.
            remedy: what to give instead.
        """
        height, width = size
        if min(height, width) < network.smallest_side:
            raise InputError(
                f"the {what} is {width}x{height} pixels once resized to {decided_by}; the loss network needs at least "
                f"{network.smallest_side} a side for {network.layers[-1]}: give {remedy} or shallower layers"
            )
