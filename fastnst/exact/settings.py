"""What the exact method is given: its settings, and style pictures, with their part in the whole, their regions and the
shape they are brought into.

Frames are uint8 (H, W, 3) RGB, H height and W width; sizes are (height, width) in pixels.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from fastnst.errors import InputError, SettingError
from fastnst.io.images import Frame, fit_long_side
from fastnst.losses.settings import LOOK, LOSS, RESEARCH, SCHEDULE, LossSettings, check_fine_tuning, option_of

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


@dataclass(frozen=True, kw_only=True)
class OptimizeSettings(LossSettings):
    """How a picture is optimized.

    Examples:
        >>> OptimizeSettings(size=768, content_target=0.4).steps
        300
    """

    tv_weight: Annotated[float, LOOK] = 2.0
    """Weight of the total variation: how smooth the picture must be. Without it flat skies fill with colored dots."""

    tv_kind: Annotated[Literal["l1", "squared"], RESEARCH] = "l1"
    """Form of the total variation: absolute differences or their squares."""

    steps: int = 300
    """Optimizer steps: evaluations of the loss and its gradient. With several sizes that many at the smallest; larger
    ones get fewer, in inverse proportion to their long side."""

    size: int = 512
    """Longest side, pixels: larger photos are reduced to it first, smaller ones stay as they are unless --enlarge."""

    enlarge: bool = False
    """Enlarge a photo that is smaller than --size to it."""

    pyramid_levels: Annotated[int | None, SCHEDULE] = None
    """Sizes that the picture is stylized at one after the other, up to --size. By default as many as keep the smallest
    at 512 pixels or more: so a picture of 512 has one, one of 2048 has three."""

    pyramid_factor: Annotated[float, SCHEDULE] = 2.0
    """Ratio of each of these sizes to the one before."""

    style_size: Annotated[int | None, LOOK] = None
    """Longest side of the style picture, pixels: the larger, the larger the strokes. By default that of --size."""

    content_target: Annotated[float | None, LOOK] = None
    """Content loss to aim at, 0 to 1: how much of the photo is given up, whatever the painting. The style weight is
    found for it by painting the pair small first. 0.2 leaves a tinted photo, 0.4 a painting of it, 0.7 little of
    it."""

    stroke: Annotated[float, LOOK] = 1.0
    """Size of the strokes: 1 is the style picture's own at --style-size, 2 twice as large."""

    aspect: Annotated[Literal["keep", "crop", "square"], LOOK] = "keep"
    """Aspect ratios of the pictures: kept as they are, style pictures cropped to the photo's shape, or
    all of them stretched to squares."""

    style_blend: Annotated[Literal["gram", "loss", "image"], LOOK] = "gram"
    """How several styles are mixed: their statistics are averaged, or their losses, or the pictures themselves."""

    color: Annotated[Literal["style", "luminance", "match", "histogram", "chroma"], LOOK] = "style"
    """Whose colors: the style's; the photo's, pixel by pixel (luminance: brightness alone is stylized) or as a whole
    (match, histogram: the style picture is recolored first); or chroma: only the style's colors, no strokes."""

    region_count: Annotated[int | None, LOOK] = None
    """Number of regions that the masks have. By default their colors are counted."""

    missing_regions: Annotated[Literal["error", "whole", "plain"], LOOK] = "error"
    """What becomes of a region of the photo that no style mask has: an error, all of the style, or no style."""

    mask_guard: Annotated[float, LOOK] = 0.75
    """Part of a neuron's field of view that its region must fill, 0 to 1: keeps styles from leaking over borders."""

    fine_tune_steps: Annotated[int, LOSS] = 0
    """How many of the last steps go through VGG-19, where the loss network is compact: 30 close most of the gap."""

    fine_tune_weights: Annotated[Path | None, LOSS] = None
    """File with VGG-19's weights for the fine-tuning, instead of a download."""

    optimizer: Annotated[Literal["lbfgs", "adam"], SCHEDULE] = "lbfgs"
    """Optimizer: lbfgs needs fewer steps, adam less memory."""

    history: Annotated[int, SCHEDULE] = 20
    """Steps that lbfgs remembers. Each costs 24 bytes a pixel; more than 10 gain next to nothing."""

    max_memory: Annotated[float | None, SCHEDULE] = None
    """Memory that may be taken, GB. lbfgs remembers fewer steps where it is short. By default what is free."""

    learning_rate: Annotated[float | None, SCHEDULE] = None
    """Learning rate of the optimizer. By default 1 for lbfgs, 10/255 for adam (on pixels in 0..1)."""

    learning_rate_end: Annotated[float | None, SCHEDULE] = None
    """What adam's learning rate falls to, linearly. By default it stays."""

    learning_rate_steps: Annotated[int | None, SCHEDULE] = None
    """Steps that the fall to --learning-rate-end takes. By default --steps."""

    adam_beta1: Annotated[float, RESEARCH] = 0.9
    """How much of the last direction adam keeps."""

    adam_beta2: Annotated[float, RESEARCH] = 0.999
    """How long adam remembers the size of gradients."""

    adam_epsilon: Annotated[float, RESEARCH] = 1e-12
    """Added to the size of gradients, on pixels in 0..1. Gradients of a balanced loss are about 1e-6 a pixel, less in
    large pictures: the usual 1e-8 would show."""

    init: Annotated[Literal["content", "noise"] | Path, SCHEDULE] = "content"
    """What the picture starts as: the photo, white noise, a picture file, or fast:STYLE, which is the photo as the
    trained network of that style stylizes it."""

    seed: Annotated[int, RESEARCH] = 0
    """Random seed: of the noise."""

    save_every: Annotated[int, SCHEDULE] = 25
    """Steps between two writings of the best picture so far, and of what --log-dir keeps; 0 writes at the end only."""

    def __post_init__(self) -> None:
        least = {
            "steps": 1,
            "size": 1,
            "style_size": 1,
            "learning_rate_steps": 1,
            "pyramid_levels": 1,
            "history": 1,
            "region_count": 1,
            "save_every": 0,
            "seed": 0,
            "fine_tune_steps": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise SettingError(f"{option_of(name)} is {value}; expected at least {bound}")
        for name in ("learning_rate", "learning_rate_end", "stroke", "adam_epsilon", "max_memory"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SettingError(f"{option_of(name)} is {value}; expected a number above 0")
        if self.content_target is not None and not 0 < self.content_target <= 1:
            raise SettingError(f"--content-target is {self.content_target}; expected a number above 0, up to 1")
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{option_of(name)} is {getattr(self, name)}; expected a number from 0 to below 1")
        if not 1 < self.pyramid_factor < math.inf:
            raise SettingError(f"--pyramid-factor is {self.pyramid_factor}; expected a number above 1")
        if not 0 <= self.mask_guard <= 1:
            raise SettingError(f"--mask-guard is {self.mask_guard}; expected a number from 0 to 1")
        self._check_fine_tuning()
        self._check_weights()

    @property
    def fine_tunes(self) -> bool:
        """Whether the last steps go through VGG-19, after the compact network."""
        return self.fine_tune_steps > 0

    def _check_fine_tuning(self) -> None:
        check_fine_tuning("--fine-tune-steps", self.fine_tune_steps, self.fine_tune_weights, self.loss_network)
        if self.fine_tune_steps >= self.steps:
            raise SettingError(f"--fine-tune-steps is {self.fine_tune_steps} of --steps {self.steps}; expected fewer")

    def _check_weights(self) -> None:
        for name in ("content_weight", "style_weight", "tv_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{option_of(name)} is {getattr(self, name)}; expected 0 or more")
        if self.content_weight == self.style_weight == self.tv_weight == 0:
            raise SettingError(
                "all weights are 0: nothing is left to optimize; give --content-weight or --style-weight"
            )
