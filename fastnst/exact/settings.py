"""The settings of the exact method."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastnst.errors import SettingError
from fastnst.losses.settings import LOOK, LOSS, RESEARCH, SCHEDULE, LossSettings, check_fine_tuning, option_of


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
