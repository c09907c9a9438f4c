"""Steady on video without video: a picture and the same one moved and with noise must be painted alike.

The motion is known exactly, so that nothing has to be estimated (Gupta et al. 2017 and Huang et al. 2017 take the flow
of films; synthetic shifts are used by fast-artistic-videos as well). Differs from both: the error is relative to the
painting's own variance, for a network that paints with less contrast is not steadier.

Shapes: B batch, H and W height and width. Images are float (B, 3, H, W) RGB in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.metrics.scenes import Motion

SHIFT = 8
"""Pixels that a picture moves by, at most, each way."""

ZOOM, DEGREES = 0.03, 2.0
"""What it grows or shrinks by and turns by, at most, where it does not only move."""

NOISE_LEVELS = 4.0
"""Standard deviation of the noise at most, levels of 255; two pictures of a camera in daylight differ by about 3."""

EVERY = 2
"""Of so many pictures of a style, one is stylized twice."""

# Keeps these random numbers apart from others drawn from the same seed.
_STREAM = 3
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
    rng = np.random.default_rng((_STREAM, seed, n))
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
