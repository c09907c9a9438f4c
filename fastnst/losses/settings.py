"""The settings of the perceptual loss; the exact and the fast method take the same ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter

from fastnst.errors import SettingError

Normalization: TypeAlias = Literal["balanced", "paper", "cs229", "kmit", "tutorial", "johnson"]
StyleStatistic: TypeAlias = Literal["gram", "covariance", "diagonal", "off-diagonal", "moments", "sliced-wasserstein"]
VGGName: TypeAlias = Literal["vgg19", "vgg19-caffe", "vgg16", "vgg16-caffe"]
LossNetworkName: TypeAlias = Literal[VGGName, "compact"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
LossNetworkChoice: TypeAlias = Literal["auto", "vgg19", "vgg19-caffe", "vgg16", "vgg16-caffe", "compact"]
"""Written out: a nested one would be shown as it is nested to who gave a wrong name."""


LOOK = Parameter(group=Group("Look", sort_key=1))
SCHEDULE = Parameter(group=Group("Schedule", sort_key=2))
LOSS = Parameter(group=Group("Loss", sort_key=3))
RESEARCH = Parameter(group=Group("Research", sort_key=4))
"""Groups that the help of a command shows settings in; those without one stand before them."""


def option_of(name: str) -> str:
    """What a setting is called on the command line and in its documentation."""
    return f"--{name.replace('_', '-')}"


def check_fine_tuning(option: str, part: float, weights: Path | None, loss_network: LossNetworkChoice) -> None:
    """Raise SettingError for a fine-tuning by VGG-19, of some steps or a part of them, that does not fit the rest.

    `option` is what it is asked for by.
    """
    if weights and not part:
        raise SettingError(f"--fine-tune-weights {weights} does nothing without {option}; add that")
    if part and loss_network != "compact":
        raise SettingError(
            f"{option} {part} goes with --loss-network compact, not {loss_network}; add that, or leave it out"
        )


FURTHER_TERMS = ("color_weight", "detail_weight", "pattern_weight", "relief_weight")
"""Settings of the terms that neither Gatys et al. (2016) nor Johnson et al. (2016) have: parts of the style weight."""


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What the picture is judged by."""

    content_weight: Annotated[float, LOOK] = 1.0
    """Weight of the content term: how much of the photo stays."""

    style_weight: Annotated[float, LOOK] = 5.0
    """Weight of the style term: how much of the painting comes in."""

    tv_weight: Annotated[float, LOOK] = 0.0
    """Weight of the total variation: how smooth the picture must be."""

    content_layers: Annotated[tuple[str, ...], LOSS] = ("relu4_2",)
    """Layers that content is compared at."""

    content_layer_weights: Annotated[tuple[float, ...], LOSS] = ()
    """Weight of each content layer in the content term; by default 1 / number of layers each."""

    style_layers: Annotated[tuple[str, ...], LOSS] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    """Layers that style is compared at."""

    style_layer_weights: Annotated[tuple[float, ...], LOSS] = ()
    """Weight of each style layer in the style term; by default 1 / number of layers each."""

    style_statistic: Annotated[StyleStatistic, LOSS] = "gram"
    """What style compares: the Gram matrix (Gatys), its diagonal or the rest of it alone, each channel's mean and the
    channels' covariance, moments: each channel's mean and standard deviation, or sliced-wasserstein: how often values
    occur (Heitz et al. 2021)."""

    style_scales: Annotated[tuple[int, ...], LOSS] = (1,)
    """Scales at which style is compared: pixels, each way, that the picture and the painting are averaged over first.
    1 sees strokes, larger ones masses. With several, relu1_1 at scale 1 counts a tenth: its fine color noise is what
    networks meet by stripes."""

    style_scale_weights: Annotated[tuple[float, ...], LOSS] = ()
    """Weight of each of --style-scales; by default 1 for the first and 0.5 for each further one."""

    color_weight: Annotated[float, LOSS] = 0.0
    """Weight of the difference in how far colors spread, in every direction of color alike, as a part of the style
    weight."""

    detail_weight: Annotated[float, LOSS] = 0.0
    """Weight of the difference in how strong the finest detail, of about 2 pixels, is, as a part of the style
    weight."""

    pattern_weight: Annotated[float, LOSS] = 0.0
    """Weight of the penalty on gratings that neither the photo nor the painting has, as a part of the style weight."""

    relief_weight: Annotated[float, LOSS] = 0.0
    """Weight of the penalty on detail that is the photo embossed, lit from one side, as a part of the style weight."""

    normalization: Annotated[Normalization, RESEARCH] = "balanced"
    """balanced: each term relative to its reference's own energy, so that one weight suits every painting.
    paper: the formulas of Gatys et al. (2016), pixels in 0..255. The others are those of the papers and projects
    behind the presets: docs/research/papers.md."""

    tv_kind: Annotated[Literal["l1", "squared"], RESEARCH] = "squared"
    """Form of the total variation: absolute differences or their squares."""

    loss_network: Annotated[LossNetworkChoice, LOSS] = "auto"
    """Loss network: what judges the pictures. vgg19 and vgg16 have torchvision's weights, -caffe their authors' own;
    compact is in the package and takes a tenth of their arithmetic, at some cost in quality
    (docs/research/compact.md). auto: VGG-19 where its weights already exist, or where compact cannot stand in for it,
    else compact: nothing is downloaded."""

    loss_weights: Annotated[Path | None, LOSS] = None
    """File with the loss network's weights (.safetensors or .pth, torchvision's names) instead of a download."""

    pool: Annotated[Literal["average", "max"], RESEARCH] = "average"
    """Pooling between the loss network's blocks."""

    precision: Annotated[Precision, RESEARCH] = "auto"
    """Arithmetic of the networks: auto takes bfloat16 where the processor has it."""

    @property
    def fine_tunes(self) -> bool:
        """Whether the end of the work goes through VGG-19, after the compact network."""
        return False

    @property
    def weight_of_scale(self) -> dict[int, float]:
        """Scales to their weights; SettingError where they do not fit together."""
        scales = self.style_scales
        weights = self.style_scale_weights or (1.0, *[0.5] * (len(scales) - 1))
        if len(scales) != len(weights):
            raise SettingError(
                f"--style-scale-weights has {len(weights)} weights for {len(scales)} --style-scales; give one for each"
            )
        if not scales or min(scales) < 1 or len(set(scales)) < len(scales):
            raise SettingError(f"--style-scales is {scales}; expected different whole numbers from 1 on, e.g. 1 2 4")
        return dict(zip(scales, weights, strict=True))
