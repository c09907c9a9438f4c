"""What a network is trained for: the loss of a batch of content pictures, term by term.

Shapes: B batch, S styles, H and W height and width. Images are float (B, 3, H, W) RGB in [0, 1].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.io.images import Frame, resize_long_side
from fastnst.io.noise import smooth_noise, tiled_noise
from fastnst.io.tensors import to_image
from fastnst.losses.losses import checkerboard_loss, relative_error
from fastnst.losses.perceptual import Losses, PerceptualLoss, of_each_image
from fastnst.losses.terms import StyleReference
from fastnst.losses.vgg import Features
from fastnst.losses.weights import autocast
from fastnst.metrics.scenes import Motion
from fastnst.models.checkpoint import conditions_of
from fastnst.models.network import STRENGTHS, Conditions, StyleNetwork
from fastnst.training.settings import TrainSettings

# The conditioning of each picture of a batch: which style to paint it in, and how strongly.


FULL_SHARE = 0.4
"""Share of pictures that are stylized with strength 1: it is what networks are used with most."""

# Keep random numbers of one seed apart.
_CONDITIONS, _CHANGES, _INPUT_NOISE = 2, 3, 4


@dataclass(frozen=True)
class BatchConditions:
    """Conditions of each picture of a batch."""

    styles: Tensor
    """Number of its style, int64 (B,)."""

    strength: Tensor
    """(B,)."""

    conditions: Conditions

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the network takes beside the pictures: nothing, style weights (B, S), or these and strength (B, 1)."""
        if self.conditions.plain:
            return ()
        weights = torch.nn.functional.one_hot(self.styles, self.conditions.styles).float()
        return (weights, self.strength[:, None]) if self.conditions.strength else (weights,)

    @property
    def style_factors(self) -> Tensor | None:
        """What the style weight is multiplied by, (B,): s^2. None where all are painted at full strength."""
        return self.strength.square() if self.conditions.strength else None

    def __getitem__(self, part: list[int]) -> "BatchConditions":
        return BatchConditions(self.styles[part], self.strength[part], self.conditions)


def draw_conditions(conditions: Conditions, seed: int, samples: range, device: torch.device) -> BatchConditions:
    """Conditions of samples of the content sequence; they follow from the seed and the samples' numbers alone.

    Styles take turns, so that each gets the same number of pictures. Strength is 1, or uniform between the least and
    the greatest. Strength 0 itself is never drawn: there a network gives the photo back, whatever its weights are.
    """
    styles = torch.tensor([n % conditions.styles for n in samples], device=device)
    strengths = [draw_strength(seed, n) if conditions.strength else 1.0 for n in samples]
    return BatchConditions(styles, torch.tensor(strengths, device=device), conditions)


def draw_step_conditions(
    conditions: Conditions, seed: int, step: int, count: int, device: torch.device
) -> BatchConditions:
    """Conditions of all `count` pictures of a step alike: styles take turns from step to step, strength as above."""
    strength = draw_strength(seed, step) if conditions.strength else 1.0
    return same_conditions(conditions, step % conditions.styles, strength, count, device)


def draw_strength(seed: int, n: int) -> float:
    """Strength of sample n."""
    chance, place = np.random.default_rng((_CONDITIONS, seed, n)).random(2)
    return 1.0 if chance < FULL_SHARE else float(STRENGTHS[-1] * (1 - place))


def same_conditions(
    conditions: Conditions, style: int, strength: float, count: int, device: torch.device
) -> BatchConditions:
    """The same style and strength for `count` pictures."""
    return BatchConditions(
        torch.full((count,), style, device=device), torch.full((count,), strength, device=device), conditions
    )


# Steady on video without video: a picture and the same one moved and with noise must be painted alike. The motion is
# known exactly, so that nothing has to be estimated (Gupta et al. 2017 and Huang et al. 2017 take the flow of films;
# synthetic shifts are used by fast-artistic-videos as well). Differs from both: the error is relative to the painting's
# own variance, for a network that paints with less contrast is not steadier.


SHIFT = 8
"""Pixels that a picture moves by, at most, each way."""

ZOOM, DEGREES = 0.03, 2.0
"""What it grows or shrinks by and turns by, at most, where it does not only move."""

NOISE_LEVELS = 4.0
"""Standard deviation of the noise at most, levels of 255; two pictures of a camera in daylight differ by about 3."""

EVERY = 2
"""Of so many pictures of a style, one is stylized twice."""

# Keeps a flat painting from dividing by zero: a thousandth of usual pictures' variance.
_EPSILON = 1e-4
# A tenth of a pixel of a picture of 200.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Change:
    """What happens to one picture."""

    motion: Motion
    noise: float
    """Standard deviation, levels of 255."""

    noise_seed: int


def draw_change(seed: int, n: int) -> Change:
    """Change of sample n: one half moves by whole pixels, where nothing is resampled, the other in all ways."""
    rng = np.random.default_rng((_CHANGES, seed, n))
    across, down = rng.uniform(-SHIFT, SHIFT, 2)
    zoom, degrees = 1 + rng.uniform(-ZOOM, ZOOM), rng.uniform(-DEGREES, DEGREES)
    whole = Motion("whole", shift=(float(round(across)), float(round(down))))
    motion = whole if rng.random() < 0.5 else Motion("any", (float(across), float(down)), float(zoom), float(degrees))
    return Change(motion, float(rng.uniform(0, NOISE_LEVELS)), int(rng.integers(2**63)))


class Moved:
    """How a batch of pictures of one size moves, each by its own motion."""

    def __init__(self, motions: list[Motion], size: tuple[int, int], device: torch.device) -> None:
        """Prepare; `size` is (height, width)."""
        height, width = size
        # grid_sample counts from -1 at the first to 1 at the last pixel.
        scale = np.array([[(width - 1) / 2, 0, (width - 1) / 2], [0, (height - 1) / 2, (height - 1) / 2], [0, 0, 1]])
        affine = [np.vstack([motion.to_source(1, size, size), [0, 0, 1]]) for motion in motions]
        theta = np.stack([(np.linalg.inv(scale) @ one @ scale)[:2] for one in affine])
        self._grid = F.affine_grid(torch.from_numpy(theta), [len(motions), 1, height, width], align_corners=True).to(
            device, torch.float32
        )

    def __call__(self, images: Tensor) -> Tensor:
        """The images as they are after the motion, bicubic; what comes in from outside is mirrored."""
        return F.grid_sample(images.float(), self._grid, mode="bicubic", padding_mode="reflection", align_corners=True)

    def seen_before(self) -> Tensor:
        """Which pixels come from inside the picture: (B, 1, H, W), 1 or 0."""
        return (self._grid.abs() <= 1 + _ROUNDING).all(dim=-1)[:, None].float()


def changed(images: Tensor, moved: Moved, changes: list[Change]) -> Tensor:
    """The pictures after their changes."""
    noise = [_noise(images.shape[1:], change) for change in changes]
    return moved(images).clamp(0, 1) + torch.stack(noise).to(images.device)


def temporal_loss(stylized: Tensor, stylized_after: Tensor, moved: Moved) -> Tensor:
    """Error between what was painted before, moved, and what was painted after, over the painting's variance: (B,).

    Only pixels that were in the picture before count.
    """
    before, after, seen = stylized.float(), stylized_after.float(), moved.seen_before()
    error = ((moved(before) - after).square() * seen).flatten(1).sum(1) / (before.shape[1] * seen.flatten(1).sum(1))
    return error / (before.flatten(2).var(dim=2, correction=0).mean(dim=1) + _EPSILON)


def _noise(shape: torch.Size, change: Change) -> Tensor:
    generator = torch.Generator().manual_seed(change.noise_seed)
    return torch.randn(shape, generator=generator) * (change.noise / 255)


def draw_input_noise(seed: int, n: int, size: tuple[int, int], levels: float) -> Tensor:
    """Noise on the network's input for sample n, (1, H, W), of `size` (H, W): half to one and a half times `levels`."""
    rng = np.random.default_rng((_INPUT_NOISE, seed, n))
    height, width = size
    noise = smooth_noise(rng, max(size))[None, :height, :width]
    return torch.from_numpy(noise * np.float32(rng.uniform(0.5, 1.5) * levels / 255))


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
        sizes = zip(styles, settings.style_sizes, strict=True)
        sized = [resize_long_side(style, side) for style, side in sizes]
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
            noise = self.noise(images, samples, conditions)
            noisy = (images + noise).clamp(0, 1)
            stylized = paint(noisy, *conditions.inputs)
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
                    "distillation", self._distillation(stylized, features, noisy, conditions), settings.teacher_weight
                )
            self.lap("loss")
            if settings.temporal_weight:
                flicker = self._temporal(paint, (images, noise), stylized, samples, conditions)
                losses = losses.plus("temporal", flicker, settings.temporal_weight)
                self.lap("network")
        return losses, stylized

    def measure(self, paint: Paint, image: Tensor, style: int = 0) -> tuple[Tensor, dict[str, float]]:
        """Paint one held-out image, (1, 3, H, W), in one of the styles, at full strength.

        Returns the result, clamped as when it is saved, and its losses by name.
        """
        conditions = same_conditions(self.conditions, style, 1.0, 1, self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            noise = torch.from_numpy(tiled_noise((image.shape[2], image.shape[3]))).to(image.device)
            noisy = (image + noise * (self.settings.input_noise / 255)).clamp(0, 1)
            stylized = paint(noisy, *conditions.inputs).float().clamp(0, 1)
            content = self.loss.measure_content(image)
            losses = self.loss(stylized, content, self._styles_of(conditions))
            return stylized, losses.floats()

    def noise(self, images: Tensor, samples: range, conditions: BatchConditions) -> Tensor:
        """What is added to each of the images for the network, (B, 1, H, W): less where it paints less strongly."""
        levels, size = self.settings.input_noise, (images.shape[2], images.shape[3])
        if not levels:
            return images.new_zeros(len(images), 1, 1, 1)
        noise = torch.stack([draw_input_noise(self.settings.seed, n, size, levels) for n in samples])
        return noise.to(images.device) * conditions.strength.clamp(max=1)[:, None, None, None]

    def taught(self, images: Tensor, conditions: BatchConditions) -> Tensor:
        """The teacher's pictures, (B, 3, H, W)."""
        assert self.teacher is not None
        with torch.no_grad():
            pictures: Tensor = self.teacher(images, *conditions.inputs)
            return pictures.clamp(0, 1)

    def _distillation(
        self, stylized: Tensor, features: Features, images: Tensor, conditions: BatchConditions
    ) -> Tensor:
        """Error to the teacher's pictures: of pixels, and of features relative and squared, a mean over the layers."""
        pictures = self.taught(images, conditions)
        with torch.no_grad():
            wanted = self.loss.network(pictures)
        with torch.autocast(self.device.type, enabled=False):
            errors = [relative_error(features[layer].float(), wanted[layer].float()) for layer in features]
            return torch.stack(errors).mean() + pixel_error(stylized, pictures)

    def _styles_of(self, conditions: BatchConditions) -> StyleReference:
        return self.styles if self.conditions.styles == 1 else of_each_image(self.styles, conditions.styles)

    def _temporal(
        self,
        paint: Paint,
        given: tuple[Tensor, Tensor],
        stylized: Tensor,
        samples: range,
        conditions: BatchConditions,
    ) -> Tensor:
        """`temporal_loss` of the batch, by every other picture of each style: painting them once more is what it costs.

        A sum over the batch's own number, not over how many those are: so the mean of several processes is that of one.
        """
        part = [place for place, n in enumerate(samples) if n // self.conditions.styles % EVERY == 0]
        if not part:
            return stylized.new_zeros(())
        images, noise = given
        changes = [draw_change(self.settings.seed, samples[place]) for place in part]
        moved = Moved([change.motion for change in changes], (images.shape[2], images.shape[3]), self.device)
        # The noise on the network's input does not move with the picture.
        after = changed(images[part], moved, changes) + noise[part]
        after = after.contiguous(memory_format=torch.channels_last)
        errors = temporal_loss(stylized[part], paint(after, *conditions[part].inputs), moved)
        return EVERY * errors.sum() / len(samples)


class ImitationObjective:
    """What a network with a teacher learns first: the teacher's pictures, pixel by pixel.

    No loss network takes part, so it sees three times as many pictures in the same time, and learns colors and masses
    from them; strokes that it cannot place exactly come out soft, and are learnt after that, from the perceptual loss.
    """

    def __init__(self, perceptual: TrainingObjective) -> None:
        """Take the conditions, the noise and the teacher of what is learnt after that."""
        self.perceptual = perceptual

    def __call__(self, paint: Paint, images: Tensor, samples: range, step: int = 0) -> tuple[Losses, Tensor]:
        """As `TrainingObjective.__call__`; the styles take turns from picture to picture."""
        del step
        rest = self.perceptual
        conditions = draw_conditions(rest.conditions, rest.settings.seed, samples, rest.device)
        with autocast(rest.device, rest.dtype):
            noisy = (images + rest.noise(images, samples, conditions)).clamp(0, 1)
            stylized = paint(noisy, *conditions.inputs)
            rest.lap("network")
            error = pixel_error(stylized, rest.taught(noisy, conditions))
            rest.lap("loss")
        return Losses(error, {"imitation": error}), stylized


Objective: TypeAlias = TrainingObjective | ImitationObjective


_LEAST_SPREAD = 0.01
"""Keeps pictures of one color from dividing by zero."""


def pixel_error(given: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of pictures, (B, 3, H, W), as they are and averaged over 2, 4 and 8 pixels each way.

    Each relative to how far what is wanted is from its own mean: 1 is what a picture of one color has.
    """
    given, wanted = given.float(), wanted.float()
    errors = []
    for pixels in (1, 2, 4, 8):
        one, other = (F.avg_pool2d(images, pixels) if pixels > 1 else images for images in (given, wanted))
        spread = (other - other.mean((2, 3), keepdim=True)).abs().mean()
        errors.append((one - other).abs().mean() / spread.clamp(min=_LEAST_SPREAD))
    return torch.stack(errors).mean()


def losses_of_styles(trained: StyleNetwork, objective: TrainingObjective, photos: Tensor, style: int = 0) -> Tensor:
    """Loss of each style of a network for one of the objective's, (S,), over photos, (B, 3, H, W)."""
    strength = [torch.ones(1, device=photos.device)] if trained.conditions.strength else []
    totals = []
    for shares in torch.eye(trained.conditions.styles, device=photos.device):

        def paint(image: Tensor, *_: Tensor, shares: Tensor = shares) -> Tensor:
            painted: Tensor = trained(image, shares, *strength)
            return painted

        losses = (objective.measure(paint, photo, style)[1] for photo in torch.split(photos, 1))
        totals.append(math.fsum(each["total"] for each in losses))
    return torch.tensor(totals)
