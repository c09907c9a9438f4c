"""The settings of a distillation."""

from dataclasses import dataclass
from pathlib import Path

from fastnst.errors import SettingError
from fastnst.perceptual.precision import Precision
from fastnst.perceptual.settings import VGGName


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How the compact loss network is made."""

    paintings: Path
    """Folder of paintings, searched with its sub-folders: style pictures, and part of what is looked at."""

    content: str = "val2017"
    """Photographs: a folder (searched with its sub-folders), or COCO's val2017 or train2017, fetched if needed."""

    loss_network: VGGName = "vgg19-caffe"
    """The teacher: the network that the compact one shall stand in for; a VGG-19."""

    loss_weights: Path | None = None
    """File with the teacher's weights (.safetensors or .pth, torchvision's names) instead of a download."""

    licence: str = "not stated"
    """Terms under which the weights may be used; written into the files."""

    rounds: int = 3
    """Times that the network is fitted; from the second on also to pictures optimised through the one before."""

    samples: int = 120
    """Pictures that each round looks at."""

    descents: int = 60
    """Pictures that are optimised through the network between two rounds; they are kept for all later ones."""

    crop: int = 192
    """Side of the square pictures, pixels; a multiple of 16."""

    seed: int = 0
    """Seed of all that is drawn."""

    precision: Precision = "auto"
    """Arithmetic of both networks; auto takes bfloat16 where the processor has it."""

    def __post_init__(self) -> None:
        for name in ("rounds", "samples"):
            if getattr(self, name) < 1:
                raise SettingError(f"--{name} is {getattr(self, name)}; expected at least 1")
        for name in ("descents", "seed"):
            if getattr(self, name) < 0:
                raise SettingError(f"--{name} is {getattr(self, name)}; expected 0 or more")
        if self.crop % 16 or self.crop < 32:
            raise SettingError(f"--crop is {self.crop}; expected a multiple of 16 from 32 pixels on")
        if not self.loss_network.startswith("vgg19"):
            raise SettingError(f"--loss-network {self.loss_network}: the compact network stands in for a VGG-19")
