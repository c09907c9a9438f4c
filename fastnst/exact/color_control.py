"""Whose colours the picture gets: the style's, or the photo's.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], frames uint8 (H, W, 3) RGB. "Brightness"
is Y of YIQ (ITU-R BT.601), on the colours as they are stored. Equal shifts of red, green and blue change Y alone and
leave I and Q, the hues, as they are.
"""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastnst.io.blending import match_colors
from fastnst.io.images import Frame

ColorChoice: TypeAlias = Literal["style", "luminance", "match", "histogram", "chroma"]

BRIGHTNESS = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in Y."""

_QUANTILES = 1024
_ROTATIONS = 20
_SAMPLE = 40_000


class ColourRule:
    """Which colours an image may have, and what of it is judged: here every colour is allowed, and all of it judged."""

    def view(self, image: Tensor) -> Tensor:
        """What the loss sees of an image, (1, 3, H, W)."""
        return image

    def constrain(self, image: Tensor) -> Tensor:
        """The nearest image that is allowed, within [0, 1]."""
        return image

    def project(self, gradient: Tensor) -> Tensor:
        """The part of a gradient along changes that are allowed."""
        return gradient


class OwnHues(ColourRule):
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


class OwnBrightness(ColourRule):
    """Hues alone are painted: each pixel keeps the photo's brightness."""

    def __init__(self, photo: Tensor) -> None:
        """Take the content image, (1, 3, H, W)."""
        self._brightness = brightness(photo)

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
    return OwnBrightness(photo) if choice == "chroma" else ColourRule()


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
