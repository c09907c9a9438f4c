"""A style picture: its part in the whole, its regions, its shape; and whose colors the result gets, its or the photo's.

Frames are uint8 (H, W, 3) RGB, H height and W width; sizes are (height, width) in pixels; images are float32
(1, 3, H, W) RGB in [0, 1]. "Brightness" is Y of YIQ (ITU-R BT.601), on the colors as they are stored. Equal shifts of
red, green and blue change Y alone and leave I and Q, the hues, as they are.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastnst.errors import InputError, SettingError
from fastnst.io.blending import match_colors
from fastnst.io.images import Frame, fit_long_side

SMALLEST_SIDE = 8
"""Pixels that the longer side of a photo or a style picture has at least, before it is resized."""

Fit = Literal["keep", "crop", "square"]
Array = TypeVar("Array", bound=npt.NDArray[Any])


@dataclass(frozen=True)
class Style:
    """A style picture and its part in the whole.

    Examples:
        >>> night, wave = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 200, np.uint8)
        >>> [style.weight for style in (Style(night, weight=0.7), Style(wave, weight=0.3))]
        [0.7, 0.3]
    """

    frame: Frame
    """The picture, uint8 (H, W, 3) RGB."""

    weight: float = 1.0
    """Its share; the weights of all styles are scaled to a sum of 1."""

    mask: Frame | str | None = None
    """Its regions, each in a color of its own, (H, W, 3) of the picture's shape; or one color, #rrggbb, for
    all of it. None: all of it serves every region of the photo."""


Styles: TypeAlias = Frame | Style | Sequence[Frame | Style]


def share_out(styles: Styles) -> list[Style]:
    """Styles with weights that sum to 1, and masks that are pictures; those of weight 0 are left out.

    Raises InputError for what is no picture, SettingError without styles and for weights that cannot be.
    """
    several = [styles] if isinstance(styles, np.ndarray | Style) else list(styles)
    given = [style if isinstance(style, Style) else Style(style) for style in several]
    for style in given:
        check_picture(style.frame, "style picture")
        if not 0 <= style.weight < math.inf:
            raise SettingError(f"a style has weight {style.weight}; expected a number from 0 on")
    # Relative to the largest one first: a sum of huge ones would be infinite.
    largest = max((style.weight for style in given), default=0.0)
    if not largest:
        raise SettingError("no style has a weight above 0; give at least one style, e.g. --style painting.jpg")
    shares = [style.weight / largest for style in given]
    total = sum(shares)
    return [
        replace(style, weight=share / total, mask=_drawn(style))
        for style, share in zip(given, shares, strict=True)
        if share
    ]


def check_picture(frame: Frame, what: str) -> Frame:
    """Return a picture as it is, or raise InputError, calling it `what`, where it is none or too small to be one."""
    height, width = check_frame(frame).shape[:2]
    if max(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the {what} is {width}x{height} pixels, of which enlarging makes no picture; "
            f"expected a longer side of at least {SMALLEST_SIDE}"
        )
    return frame


def check_frame(frame: Frame) -> Frame:
    """Return a frame as it is, or raise InputError for an array that is none."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise InputError(
            f"an array of {frame.dtype} {frame.shape} is no picture; expected uint8 (height, width, 3) RGB"
        )
    return frame


def is_colour(text: str) -> bool:
    """Whether a text is a colour, #rrggbb."""
    return re.fullmatch("#[0-9a-fA-F]{6}", text) is not None


def fitted_size(frame: npt.NDArray[Any], long_side: int, fit: Fit) -> tuple[int, int]:
    """Size of a picture, (H, W, ...), at a long side of that many pixels: of its own shape, or a square."""
    size = (1, 1) if fit == "square" else (frame.shape[0], frame.shape[1])
    return fit_long_side(size, long_side)


def crop_to(frame: Array, shape: tuple[int, ...]) -> Array:
    """The largest middle part of a picture, (H, W, ...), that has the proportions of shape = (height, width, ...)."""
    height, width = frame.shape[:2]
    scale = min(height / shape[0], width / shape[1])
    tall, wide = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    return np.ascontiguousarray(frame[top : top + tall, left : left + wide])  # type: ignore[return-value]


def _drawn(style: Style) -> Frame | None:
    if not isinstance(style.mask, str):
        return style.mask
    if not is_colour(style.mask):
        raise InputError(f"a style's mask is {style.mask!r}; expected a picture or a color such as #ff0000")
    return np.broadcast_to(np.frombuffer(bytes.fromhex(style.mask[1:]), np.uint8), style.frame.shape)


ColorChoice: TypeAlias = Literal["style", "luminance", "match", "histogram", "chroma"]

BRIGHTNESS = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in Y."""

_QUANTILES = 1024
_ROTATIONS = 20
_SAMPLE = 40_000


class ColourRule(Protocol):
    """Which colours an image may have, and what of it is judged."""

    def view(self, image: Tensor) -> Tensor:
        """What the loss sees of an image, (1, 3, H, W)."""
        ...

    def constrain(self, image: Tensor) -> Tensor:
        """The nearest image that is allowed, within [0, 1]."""
        ...

    def project(self, gradient: Tensor) -> Tensor:
        """The part of a gradient along changes that are allowed."""
        ...


class AnyColour:
    """Every colour is allowed and judged."""

    def view(self, image: Tensor) -> Tensor:
        """The image."""
        return image

    def constrain(self, image: Tensor) -> Tensor:
        """The image."""
        return image

    def project(self, gradient: Tensor) -> Tensor:
        """The gradient."""
        return gradient


class OwnHues:
    """Brightness alone is painted and judged: each pixel keeps the photo's I and Q.

    Gatys et al. (2016, "Preserving color in neural artistic style transfer", section 3.2) optimise a grey picture and
    lay the photo's I and Q over it; here each picture on the way is the whole one already.
    """

    def __init__(self, photo: Tensor) -> None:
        """Take the content image, (1, 3, H, W)."""
        self._photo, self._brightness = photo, brightness(photo)

    def view(self, image: Tensor) -> Tensor:
        """Its brightness, as three equal channels."""
        return brightness(image).expand_as(image)

    def constrain(self, image: Tensor) -> Tensor:
        """The photo, made as bright as the image, pixel by pixel."""
        return (self._photo + (brightness(image) - self._brightness)).clamp(0, 1)

    def project(self, gradient: Tensor) -> Tensor:
        """Equal shifts of the three channels."""
        return gradient.mean(1, keepdim=True).expand_as(gradient)


class OwnBrightness:
    """Hues alone are painted: each pixel keeps the photo's brightness."""

    def __init__(self, photo: Tensor) -> None:
        """Take the content image, (1, 3, H, W)."""
        self._brightness = brightness(photo)

    def view(self, image: Tensor) -> Tensor:
        """The image."""
        return image

    def constrain(self, image: Tensor) -> Tensor:
        """The image, made as bright as the photo; where a colour would leave the range, it fades."""
        for _ in range(4):  # clamping takes brightness off again
            image = (image + (self._brightness - brightness(image))).clamp(0, 1)
        return image

    def project(self, gradient: Tensor) -> Tensor:
        """Shifts that leave the brightness alone."""
        shares = torch.tensor(BRIGHTNESS, device=gradient.device, dtype=gradient.dtype).view(1, 3, 1, 1)
        return gradient - shares * ((gradient * shares).sum(1, keepdim=True) / shares.square().sum())


def colour_rule(choice: ColorChoice, photo: Tensor) -> ColourRule:
    """The rule for an image that is painted from a photo, (1, 3, H, W)."""
    if choice == "luminance":
        return OwnHues(photo)
    return OwnBrightness(photo) if choice == "chroma" else AnyColour()


def recolour_style(style: Frame, photo: Frame, choice: ColorChoice) -> Frame:
    """A style picture as it is to be measured.

    match: with the photo's mean colour and covariance (Gatys et al. 2016, "Preserving color", section 3.1).
    histogram: with its whole distribution of colours. luminance: grey, with the photo's mean and spread of brightness
    (section 3.2). Else unchanged.
    """
    if choice == "match":
        return match_colors(style, photo)
    if choice == "histogram":
        return match_histograms(style, photo)
    return match_brightness(style, photo) if choice == "luminance" else style


def brightness(image: Tensor) -> Tensor:
    """Y of YIQ: (B, 3, H, W) -> (B, 1, H, W)."""
    red, green, blue = BRIGHTNESS
    return red * image[:, :1] + green * image[:, 1:2] + blue * image[:, 2:]


def match_brightness(frame: Frame, reference: Frame) -> Frame:
    """A picture in grey, with the mean and the standard deviation of another's brightness, clipped to 0..255."""
    given, wanted = frame @ np.array(BRIGHTNESS), reference @ np.array(BRIGHTNESS)
    scale = wanted.std() / max(given.std(), 1e-6) if given.std() > 1e-3 else 0.0
    grey = (given - given.mean()) * scale + wanted.mean()
    return np.repeat(np.rint(grey.clip(0, 255)).astype(np.uint8)[..., None], 3, axis=2)


def match_histograms(frame: Frame, reference: Frame) -> Frame:
    """A picture with the distribution of another's colours, in three dimensions.

    Iterative distribution transfer (Pitie, Kokaram and Dahyot 2007, "Automated colour grading using colour distribution
    transfer"): along the axes of one rotation after the other, values take the place of those of equal rank.
    """
    colours = match_colors(frame, reference).reshape(-1, 3).astype(np.float64)
    wanted = reference.reshape(-1, 3).astype(np.float64)
    ranks, random = np.linspace(0, 1, _QUANTILES), np.random.default_rng(0)
    for turn in range(_ROTATIONS):
        # The axes themselves first and last, so that each channel's histogram comes out right.
        plain = turn in (0, _ROTATIONS - 1)
        axes = np.eye(3) if plain else np.linalg.qr(random.normal(size=(3, 3)))[0]
        turned, goal = colours @ axes, wanted @ axes
        moved = [_ranked(turned[:, axis], goal[:, axis], ranks) for axis in range(3)]
        colours = np.stack(moved, axis=1) @ axes.T
    levels: Frame = np.rint(colours.clip(0, 255)).astype(np.uint8)
    return levels.reshape(frame.shape)


def _ranked(
    values: npt.NDArray[np.float64], goal: npt.NDArray[np.float64], ranks: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    # Of tens of thousands of pixels, ranks are known well enough.
    own, other = (np.quantile(part[:: 1 + len(part) // _SAMPLE], ranks) for part in (values, goal))
    return np.interp(values, own, other)
