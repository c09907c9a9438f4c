"""A network for live pictures: nearly all of its work is done at an eighth of the size.

Cost is decided by how much runs at full and at half size. So the picture is reduced at once, three times, by
convolutions whose kernels are as long as their strides; residual blocks at an eighth of the size do the painting; on
the way back the features of the way down are added, which carry small forms past the blocks; the last convolution makes
the four places of each cell of two by two pixels (Shi et al. 2016, sub-pixel convolution). But for the residual blocks
nothing is normalised. Channels come in multiples of 16, the blocks that ONNX Runtime's kernels for processors compute.
All padding is by reflection: with zeros, the blocks painted a frame along the picture's border.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.networks.johnson import convolution
from fastnst.networks.network import DEVIATION, MEAN, StyleNetwork, centred, uncentred

_HALF = 16
_LARGE = 48
CELL = 2
"""Side of what one place of the last convolution makes, pixels."""


class LiveBlock(nn.Module):
    """Two convolutions beside the identity, the first normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels, 3)
        self.norm = nn.InstanceNorm2d(channels, affine=True)
        self.second = convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        residual: Tensor = self.second(F.relu(self.norm(self.first(x))))
        return x + residual


class LiveNet(StyleNetwork):
    """Works at an eighth of the size; `width` is the number of channels there, 48 or 32."""

    stride = 8

    def __init__(self, width: int = 48, blocks: int = 3) -> None:
        super().__init__()
        self.width, self.blocks = width, blocks
        quarter = 2 * _HALF if width >= _LARGE else _HALF
        self.to_halves = nn.Conv2d(3, _HALF, CELL, stride=CELL)
        self.to_quarters = nn.Conv2d(_HALF, quarter, 2, stride=2)
        self.to_eighths = nn.Conv2d(quarter, width, 2, stride=2)
        self.norm = nn.InstanceNorm2d(width, affine=True)
        self.body = nn.Sequential(*(LiveBlock(width) for _ in range(blocks)))
        self.from_eighths = convolution(width, quarter, 3)
        self.at_quarters = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(quarter, quarter, 3, groups=quarter, bias=False),
            nn.Conv2d(quarter, quarter, 1),
        )
        self.from_quarters = nn.Conv2d(quarter, _HALF, 1)
        self.last = nn.Conv2d(_HALF, 3 * CELL**2, 3)
        _alike(self.last)

    def forward(self, image: Tensor) -> Tensor:
        """Image, (B, 3, H, W) in [0, 1], to stylized image, (B, 3, H, W), about [0, 1] but not clamped."""
        half = F.relu(self._reduce(image))
        quarter = F.relu(self.to_quarters(half))
        eighth = self.body(F.relu(self.norm(self.to_eighths(quarter))))
        quarter = F.relu(_doubled(self.from_eighths(eighth)) + quarter)
        quarter = F.relu(self.at_quarters(quarter))
        half = F.relu(_doubled(self.from_quarters(quarter)) + half)
        return self._finish(half)

    def _reduce(self, image: Tensor) -> Tensor:
        if self.training:
            reduced: Tensor = self.to_halves(centred(image))
            return reduced
        # The same with the centring in the weights: it saves two passes over the whole picture.
        weight = self.to_halves.weight / DEVIATION
        assert self.to_halves.bias is not None
        return F.conv2d(image, weight, self.to_halves.bias - MEAN * weight.sum((1, 2, 3)), stride=CELL)

    def _finish(self, half: Tensor) -> Tensor:
        half = F.pad(half, (1, 1, 1, 1), mode="reflect")
        if self.training:
            return uncentred(F.pixel_shuffle(self.last(half), CELL))
        assert self.last.bias is not None
        planes = F.conv2d(half, DEVIATION * self.last.weight, MEAN + DEVIATION * self.last.bias)
        return F.pixel_shuffle(planes, CELL).float()


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _alike(convolution: nn.Conv2d) -> None:
    """Let all places of a cell begin with the same weights (ICNR, Aitken et al. 2017), so that no grid shows."""
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight[:: CELL**2].repeat_interleave(CELL**2, dim=0))
        if convolution.bias is not None:
            convolution.bias.zero_()
