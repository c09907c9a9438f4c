"""What a network is trained for: the loss of a batch of content pictures, term by term.

Shapes: B batch, H and W height and width. Images are float (B, 3, H, W) RGB in [0, 1].
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.io.tensors import to_image
from fastnst.losses.losses import checkerboard_loss, relative_error
from fastnst.losses.perceptual import Losses, PerceptualLoss, of_each_image
from fastnst.losses.precision import autocast
from fastnst.losses.terms import StyleReference
from fastnst.losses.vgg import Features
from fastnst.models.architectures import conditions_of
from fastnst.models.network import StyleNetwork
from fastnst.training.conditioning import Told, tell, told_all
from fastnst.training.settings import TrainSettings
from fastnst.training.steadiness import EVERY, Moved, changed, draw_change, unsteadiness
from fastnst.training.stopwatch import Stopwatch

Paint: TypeAlias = Callable[..., Tensor]
"""A network, or what stands for it: images, (B, 3, H, W), and what it is told of them (`Told.inputs`) to stylized
images of the same size."""


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

    def __call__(self, paint: Paint, images: Tensor, samples: range) -> tuple[Losses, Tensor]:
        """Loss of what `paint` makes of the images, and that; `samples` are their numbers in the content sequence.

        What a further term draws at random follows from the seed and those numbers, so that neither going on after
        a stop nor several processes change it.
        """
        settings = self.settings
        told = tell(self.conditions, settings.seed, samples, self.device)
        with autocast(self.device, self.dtype):
            stylized = paint(images, *told.inputs)
            self.stopwatch.lap("network")
            features = self.loss.network(stylized)
            content, style = self.loss.measure_content(images), self._styles_of(told)
            losses = self.loss(stylized, content, style, told.style_factors, features=features)
            losses = losses.plus(
                "checkerboard", checkerboard_loss(stylized, self.stride).mean(), settings.lattice_weight
            )
            if self.teacher is not None:
                losses = losses.plus(
                    "distillation", self._distillation(features, images, told), settings.teacher_weight
                )
            self.stopwatch.lap("loss")
            if settings.steady:
                losses = losses.plus(
                    "temporal", self._temporal(paint, images, stylized, samples, told), settings.steady
                )
                self.stopwatch.lap("network")
        return losses, stylized

    def measure(self, paint: Paint, image: Tensor, style: int = 0) -> tuple[Tensor, dict[str, float]]:
        """Paint one held-out image, (1, 3, H, W), in one of the styles, at full strength.

        Returns the result, clamped as when it is saved, and its losses by name.
        """
        told = told_all(self.conditions, style, 1.0, 1, self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            stylized = paint(image, *told.inputs).float().clamp(0, 1)
            content = self.loss.measure_content(image)
            return stylized, self.loss(stylized, content, self._styles_of(told)).floats()

    def _distillation(self, features: Features, images: Tensor, told: Told) -> Tensor:
        """Relative squared error to the features of the teacher's pictures, a mean over layers and batch."""
        assert self.teacher is not None
        with torch.no_grad():
            wanted = self.loss.network(self.teacher(images, *told.inputs).clamp(0, 1))
        with torch.autocast(self.device.type, enabled=False):
            errors = [relative_error(features[layer].float(), wanted[layer].float()) for layer in features]
            return torch.stack(errors).mean()

    def _styles_of(self, told: Told) -> StyleReference:
        return self.styles if self.conditions.styles == 1 else of_each_image(self.styles, told.styles)

    def _temporal(self, paint: Paint, images: Tensor, stylized: Tensor, samples: range, told: Told) -> Tensor:
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
