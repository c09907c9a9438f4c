"""The settings of a comparison and of a distillation. Without torch, as the command line reads them."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from fastnst.errors import SettingError
from fastnst.exact.settings import OptimizeSettings
from fastnst.losses.settings import (
    LOOK,
    LOSS,
    RESEARCH,
    SCHEDULE,
    LossNetworkChoice,
    LossSettings,
    Precision,
    VGGName,
    option_of,
)


@dataclass(frozen=True, kw_only=True)
class CompareSettings(LossSettings):
    """How the exact method is run beside the fast one; the loss is that of the network's training."""

    loss_network: Annotated[LossNetworkChoice, LOSS] = "vgg19"
    """Loss network: what judges the pictures, and what the exact method goes through."""

    steps: int = 500
    """Optimizer steps: those of the exact method."""

    style_size: Annotated[int, LOOK] = 1024
    """Longest side of the style picture, pixels; that of the network's training, or the two aim at different
    strokes."""

    optimizer: Annotated[Literal["lbfgs", "adam"], SCHEDULE] = "lbfgs"
    """Optimizer: that of the exact method."""

    init: Annotated[Literal["content", "noise"], SCHEDULE] = "content"
    """What the picture starts as: the photo, or white noise."""

    seed: Annotated[int, RESEARCH] = 0
    """Random seed: of the noise."""

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise SettingError(f"--steps is {self.steps}; expected at least 2")
        self.exact(1)  # it checks the others

    def exact(self, size: int) -> OptimizeSettings:
        """The exact method's own settings for a long side of `size` pixels."""
        shared = {field.name: getattr(self, field.name) for field in fields(self)}
        return OptimizeSettings(size=size, **shared)


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How the compact loss network is made."""

    paintings: Path
    """Folder of paintings, searched with its subfolders: style pictures, and part of what is looked at."""

    content: str = "val2017"
    """Photographs: a folder (searched with its subfolders), or COCO's val2017 or train2017, fetched if needed."""

    loss_network: VGGName = "vgg19-caffe"
    """Loss network: the VGG-19 that the compact one shall stand in for."""

    loss_weights: Path | None = None
    """File with the loss network's weights (.safetensors or .pth, torchvision's names) instead of a download."""

    license: str = "not stated"
    """License of the trained weights, written into the files."""

    rounds: int = 3
    """Times that the network is fitted; from the second on also to pictures optimized through the one before."""

    images_per_round: int = 120
    """Pictures that each round looks at."""

    descents: int = 60
    """Pictures that are optimized through the network between two rounds; they are kept for all later ones."""

    crop_size: int = 192
    """Side of the square crops, pixels; a multiple of 16."""

    init_from: Path | None = None
    """Trained network to start from, instead of from nothing: a compact one (.safetensors); no rounds are then done."""

    refine_steps: int = 4000
    """Updates by gradient descent after the last round, on how VGG's responses change from a picture to a near one;
    0 none."""

    refine_rate: float = 3e-4
    """Adam's learning rate of those at its highest."""

    refine_crop_size: int = 128
    """Side of the square pictures of those, pixels; a multiple of 16."""

    refine_pairs: int = 4
    """Pairs of near pictures that each of those looks at, at least 2. A GPU takes hardly longer for 32."""

    workers: int = 2
    """Worker processes: those that draw pictures for the refinement, so many for pairs, and so many for pictures to be
    optimized."""

    checkpoint_every_s: float = 300.0
    """Seconds between two checkpoints."""

    seed: int = 0
    """Random seed: of all that is drawn."""

    precision: Precision = "auto"
    """Arithmetic of the networks: auto takes bfloat16 where the processor has it."""

    def __post_init__(self) -> None:
        for name in ("rounds", "images_per_round"):
            if getattr(self, name) < 1:
                raise SettingError(f"{option_of(name)} is {getattr(self, name)}; expected at least 1")
        if self.refine_pairs < 2:
            raise SettingError(f"--refine-pairs is {self.refine_pairs}; expected at least 2")
        for name in ("descents", "seed", "refine_steps", "workers"):
            if getattr(self, name) < 0:
                raise SettingError(f"{option_of(name)} is {getattr(self, name)}; expected 0 or more")
        for name in ("crop_size", "refine_crop_size"):
            side = getattr(self, name)
            if side % 16 or side < 32:
                raise SettingError(f"{option_of(name)} is {side}; expected a multiple of 16 from 32 pixels on")
        if not 0 < self.refine_rate < 1:
            raise SettingError(f"--refine-rate is {self.refine_rate}; expected a number between 0 and 1, e.g. 0.0003")
        if not self.loss_network.startswith("vgg19"):
            raise SettingError(f"--loss-network {self.loss_network}: the compact network stands in for a VGG-19")
