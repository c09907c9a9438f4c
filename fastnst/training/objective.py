"""What a network is trained for: the loss of a batch of content pictures, term by term.

Shapes: B batch, H and W height and width. Images are float (B, 3, H, W) RGB in [0, 1].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.io.tensors import to_image
from fastnst.losses.loss_network import Features
from fastnst.losses.losses import lattice_pattern, relative_error
from fastnst.losses.perceptual import PerceptualLoss, StyleStatistics, of_each_image
from fastnst.losses.precision import autocast
from fastnst.models.architectures import conditions_of
from fastnst.models.network import StyleNetwork
from fastnst.training.conditioning import Told, tell, told_all
from fastnst.training.settings import TrainSettings
from fastnst.training.steadiness import EVERY, Moved, changed, draw_change, unsteadiness
from fastnst.training.stopwatch import Stopwatch

Paint: TypeAlias = Callable[..., Tensor]
"""A network, or what stands for it: images, (B, 3, H, W), and what it is told of them (`Told.inputs`) to stylized
images of the same size."""


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
    """The perceptual loss of each picture against its style, and the penalties on patterns that repeat and on flicker.

    With a strength s, the style weight of a picture is s^2 times the settings'.
    A further term belongs in `__call__`: its mean over the batch among the values, and times its weight in the total.
    """

    def __init__(
        self,
        loss: PerceptualLoss,
        styles: Sequence[Frame],
        settings: TrainSettings,
        *,
        stride: int,
        device: torch.device,
        dtype: torch.dtype | None,
        stopwatch: Stopwatch | None = None,
        teacher: StyleNetwork | None = None,
    ) -> None:
        """Measure the style pictures, each uint8 (H, W, 3).

        `stride` is the period of the patterns, pixels; `teacher` a network of the same styles, to be imitated.
        """
        self.loss, self.settings, self.stride = loss, settings, stride
        self.stopwatch = stopwatch or Stopwatch(device)
        self.device, self.dtype, self.teacher = device, dtype, teacher
        self.conditions = conditions_of(settings.network_spec)
        sized = (resize_frame(style, fit_long_side(style.shape[:2], settings.style_size)) for style in styles)
        with autocast(device, dtype):
            self.styles = loss.measure_styles([to_image(style).to(device) for style in sized])

    def __call__(self, paint: Paint, images: Tensor, samples: range) -> Terms:
        """Loss of what `paint` makes of the images; `samples` are their numbers in the content sequence.

        What a further term draws at random follows from the seed and those numbers, so that neither going on after
        a stop nor several processes change it.
        """
        settings = self.settings
        told = tell(self.conditions, settings.seed, samples, self.device)
        with autocast(self.device, self.dtype):
            stylized = paint(images, *told.inputs)
            self.stopwatch.lap("network")
            features = self.loss.network(stylized)
            perceptual = self.loss.terms_of(
                features, stylized, self.loss.measure_content(images), self._styles_of(told), told.style_factors
            )
            taught = self._difference(features, images, told)
        lattice = lattice_pattern(stylized, self.stride).mean()
        total = perceptual.total + settings.lattice_weight * lattice
        if taught is not None:
            total = total + settings.teacher_weight * taught
        self.stopwatch.lap("loss")
        values = {
            "total": total.detach(),
            "content": perceptual.content.detach(),
            "style": perceptual.style.detach(),
            "total_variation": perceptual.total_variation.detach(),
            "lattice": lattice.detach(),
        } | ({} if taught is None else {"difference": taught.detach()})
        if settings.steady:
            with autocast(self.device, self.dtype):
                flicker = self._flicker(paint, images, stylized, samples, told)
            total = total + settings.steady * flicker
            values |= {"total": total.detach(), "flicker": flicker.detach()}
            self.stopwatch.lap("network")
        return Terms(total, values, stylized)

    def measure(self, paint: Paint, image: Tensor, style: int = 0) -> tuple[Tensor, dict[str, float]]:
        """Paint one held-out image, (1, 3, H, W), in one of the styles, at full strength.

        Returns the result, clamped as when it is saved, and its losses by name.
        """
        told = told_all(self.conditions, style, 1.0, 1, self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            stylized = paint(image, *told.inputs).float().clamp(0, 1)
            content = self.loss.measure_content(image)
            return stylized, self.loss.terms(stylized, content, self._styles_of(told)).floats()

    def _difference(self, features: Features, images: Tensor, told: Told) -> Tensor | None:
        """Relative squared error to the features of the teacher's pictures, a mean over layers and batch."""
        if self.teacher is None:
            return None
        with torch.no_grad():
            wanted = self.loss.network(self.teacher(images, *told.inputs).clamp(0, 1))
        with torch.autocast(self.device.type, enabled=False):
            errors = [relative_error(features[layer].float(), wanted[layer].float()) for layer in features]
            return torch.stack(errors).mean()

    def _styles_of(self, told: Told) -> StyleStatistics:
        return self.styles if self.conditions.styles == 1 else of_each_image(self.styles, told.styles)

    def _flicker(self, paint: Paint, images: Tensor, stylized: Tensor, samples: range, told: Told) -> Tensor:
        """`unsteadiness` of the batch, by every other picture of each style: painting them once more is what it costs.

        A sum over the batch's own number, not over how many those are: so the mean of several processes is that of one.
        """
        part = [place for place, n in enumerate(samples) if n // self.conditions.styles % EVERY == 0]
        if not part:
            return stylized.new_zeros(())
        changes = [draw_change(self.settings.seed, samples[place]) for place in part]
        moved = Moved([change.motion for change in changes], (images.shape[2], images.shape[3]), self.device)
        after = changed(images[part], moved, changes).contiguous(memory_format=torch.channels_last)
        errors = unsteadiness(stylized[part], paint(after, *told[part].inputs), moved)
        return EVERY * errors.sum() / len(samples)
