"""What is painted, and like what: the pictures of one painting, brought into form once, at whatever size is asked for.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], frames uint8 (H, W, 3) RGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from fastnst.errors import InputError, SettingError
from fastnst.exact.objective import Objective
from fastnst.exact.settings import OptimizeSettings
from fastnst.images import Frame, fit_long_side, resize_frame
from fastnst.perceptual.perceptual import PerceptualLoss, StyleTarget
from fastnst.tensors import to_image


@dataclass(frozen=True)
class Style:
    """A style picture and its part in the whole."""

    frame: Frame
    """The picture, uint8 (H, W, 3) RGB."""

    weight: float = 1.0
    """Its share; the weights of all styles are scaled to a sum of 1."""


Styles: TypeAlias = Frame | Style | Sequence[Frame | Style]


class Subject:
    """A photo and its styles. Asked for a size, it measures them anew: so every level of a pyramid has its own."""

    def __init__(self, content: Frame, styles: Styles, settings: OptimizeSettings) -> None:
        """Take the pictures; they are not changed.

        Raises InputError for what is no picture, SettingError for weights of styles that cannot be.
        """
        self.settings = settings
        self._content = check_frame(content)
        self._styles = share_out(styles)

    def photo(self, long_side: int) -> Tensor:
        """The content image at a long side of that many pixels."""
        return to_image(_fitted(self._content, long_side))

    def objective(
        self, loss: PerceptualLoss, long_side: int, device: torch.device, dtype: torch.dtype | None
    ) -> Objective:
        """What is minimised at a long side of that many pixels; style pictures are scaled along with the photo.

        Raises InputError for a picture that is too small for the loss network.
        """
        return Objective(loss, self.photo(long_side).to(device), self._targets(loss, long_side, device), dtype)

    def style_side(self, long_side: int) -> int:
        """Long side of the style pictures beside a photo of that long side, pixels."""
        s = self.settings
        return max(1, round((s.style_size or s.size) * long_side / s.size))

    def _targets(self, loss: PerceptualLoss, long_side: int, device: torch.device) -> list[StyleTarget]:
        targets = []
        for style in self._styles:
            image = to_image(_fitted(style.frame, self.style_side(long_side))).to(device)
            Objective.check_size(loss.network, "style picture", image, "--style-size")
            targets.append(StyleTarget(loss.measure_style(image), style.weight))
        return targets


def share_out(styles: Styles) -> list[Style]:
    """Styles with weights that sum to 1.

    Raises InputError for what is no picture, SettingError without styles and for weights that cannot be.
    """
    several = [styles] if isinstance(styles, np.ndarray | Style) else list(styles)
    given = [style if isinstance(style, Style) else Style(style) for style in several]
    for style in given:
        check_frame(style.frame)
        if not 0 <= style.weight < float("inf"):
            raise SettingError(f"a style has weight {style.weight}; expected a number from 0 on")
    total = sum(style.weight for style in given)
    if not total:
        raise SettingError("no style has a weight above 0; give at least one style, e.g. --style painting.jpg")
    return [replace(style, weight=style.weight / total) for style in given if style.weight]


def check_frame(frame: Frame) -> Frame:
    """Return a frame as it is, or raise InputError for an array that is none."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise InputError(
            f"an array of {frame.dtype} {frame.shape} is no picture; expected uint8 (height, width, 3) RGB"
        )
    return frame


def _fitted(frame: Frame, long_side: int) -> Frame:
    height, width = frame.shape[:2]
    return resize_frame(frame, fit_long_side((height, width), long_side))
