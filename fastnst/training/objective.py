"""What a network is trained for: the loss of a batch of content pictures, term by term.

Shapes: B batch, H and W height and width. Images are float (B, 3, H, W) RGB in [0, 1].
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from fastnst.io.images import Frame, resize_long_side
from fastnst.io.tensors import to_image
from fastnst.losses.losses import checkerboard_loss, relative_error
from fastnst.losses.perceptual import Losses, PerceptualLoss, of_each_image
from fastnst.losses.precision import autocast
from fastnst.losses.terms import StyleReference
from fastnst.losses.vgg import Features
from fastnst.models.checkpoint import conditions_of
from fastnst.models.network import StyleNetwork
from fastnst.training.conditioning import BatchConditions, draw_conditions, draw_step_conditions, same_conditions
from fastnst.training.settings import TrainSettings
from fastnst.training.temporal import EVERY, Moved, changed, draw_change, temporal_loss

Paint: TypeAlias = Callable[..., Tensor]
"""A network, or what stands for it: images, (B, 3, H, W), and their conditions (`BatchConditions.inputs`) to stylized
images of the same size."""


class TrainingObjective:
    """The perceptual loss of each picture against its style, and what only a network in training can be judged by.

    With a strength s, the style weight of a picture is s^2 times the settings'.
    A term that needs no more than the stylized image, its features and the references belongs in losses/terms.py; one
    that needs the network or its teacher in `__call__`.
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
        lap: Callable[[str], None] = lambda _: None,
        teacher: StyleNetwork | None = None,
    ) -> None:
        """Measure the style pictures, each uint8 (H, W, 3).

        `stride` is the period of the patterns, pixels; `lap` is called with the name of each part once it is done;
        `teacher` is a network of the same styles, to be imitated.
        """
        self.loss, self.settings, self.stride = loss, settings, stride
        self.lap = lap
        self.device, self.dtype, self.teacher = device, dtype, teacher
        self.conditions = conditions_of(settings.network_spec)
        sized = (resize_long_side(style, settings.style_size) for style in styles)
        with autocast(device, dtype):
            self.styles = loss.measure_styles([to_image(style).to(device) for style in sized])

    def __call__(self, paint: Paint, images: Tensor, samples: range, step: int = 0) -> tuple[Losses, Tensor]:
        """Loss of what `paint` makes of the images, and that; `samples` are their numbers in the content sequence.

        Where style is compared over the batch, all its pictures are of one style: each step's is the next.
        """
        settings, together = self.settings, self.settings.statistics_over == "batch"
        if together:
            conditions = draw_step_conditions(self.conditions, settings.seed, step, len(samples), self.device)
        else:
            conditions = draw_conditions(self.conditions, settings.seed, samples, self.device)
        with autocast(self.device, self.dtype):
            stylized = paint(images, *conditions.inputs)
            self.lap("network")
            features = self.loss.network(stylized)
            content = self.loss.measure_content(images)
            style = self._styles_of(conditions[[0]] if together else conditions)
            losses = self.loss(
                stylized,
                content,
                style,
                conditions.style_factors,
                features=features,
                together=together,
            )
            losses = losses.plus(
                "checkerboard", checkerboard_loss(stylized, self.stride).mean(), settings.checkerboard_weight
            )
            if self.teacher is not None:
                losses = losses.plus(
                    "distillation", self._distillation(features, images, conditions), settings.teacher_weight
                )
            self.lap("loss")
            if settings.temporal_weight:
                losses = losses.plus(
                    "temporal", self._temporal(paint, images, stylized, samples, conditions), settings.temporal_weight
                )
                self.lap("network")
        return losses, stylized

    def measure(self, paint: Paint, image: Tensor, style: int = 0) -> tuple[Tensor, dict[str, float]]:
        """Paint one held-out image, (1, 3, H, W), in one of the styles, at full strength.

        Returns the result, clamped as when it is saved, and its losses by name.
        """
        conditions = same_conditions(self.conditions, style, 1.0, 1, self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            stylized = paint(image, *conditions.inputs).float().clamp(0, 1)
            content = self.loss.measure_content(image)
            losses = self.loss(stylized, content, self._styles_of(conditions))
            return stylized, losses.floats()

    def _distillation(self, features: Features, images: Tensor, conditions: BatchConditions) -> Tensor:
        """Relative squared error to the features of the teacher's pictures, a mean over layers and batch."""
        assert self.teacher is not None
        with torch.no_grad():
            wanted = self.loss.network(self.teacher(images, *conditions.inputs).clamp(0, 1))
        with torch.autocast(self.device.type, enabled=False):
            errors = [relative_error(features[layer].float(), wanted[layer].float()) for layer in features]
            return torch.stack(errors).mean()

    def _styles_of(self, conditions: BatchConditions) -> StyleReference:
        return self.styles if self.conditions.styles == 1 else of_each_image(self.styles, conditions.styles)

    def _temporal(
        self, paint: Paint, images: Tensor, stylized: Tensor, samples: range, conditions: BatchConditions
    ) -> Tensor:
        """`temporal_loss` of the batch, by every other picture of each style: painting them once more is what it costs.

        A sum over the batch's own number, not over how many those are: so the mean of several processes is that of one.
        """
        part = [place for place, n in enumerate(samples) if n // self.conditions.styles % EVERY == 0]
        if not part:
            return stylized.new_zeros(())
        changes = [draw_change(self.settings.seed, samples[place]) for place in part]
        moved = Moved([change.motion for change in changes], (images.shape[2], images.shape[3]), self.device)
        after = changed(images[part], moved, changes).contiguous(memory_format=torch.channels_last)
        errors = temporal_loss(stylized[part], paint(after, *conditions[part].inputs), moved)
        return EVERY * errors.sum() / len(samples)
