"""A network for live pictures: nearly all of its work is done at an eighth of the size.

Cost is decided by how much runs at full and at half size. So the picture is reduced at once, three times, by
convolutions whose kernels are as long as their strides; residual blocks at an eighth of the size do the painting; on
the way back the features of the way down are added, which carry small forms past the blocks; the last step is
one transposed convolution, whose kernel is twice its stride, so that all pixels get the same number of terms. It is
computed as what it amounts to, a convolution of 2 x 2 whose channels are the four pixels between four places: ONNX
Runtime takes a third of the time for it. But for the residual blocks nothing is normalised; in a network of several
styles, what is added on the way back has scales of its own for each. Channels come in multiples of 16, the blocks that
ONNX Runtime's kernels for processors compute.
All padding is by reflection: with zeros, the blocks painted a frame along the picture's border.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.networks.conditioning import (
    PLAIN,
    Chain,
    ConditionalInstanceNorm2d,
    ConditionalScale,
    Conditioned,
    Conditions,
)
from fastnst.networks.johnson import convolution
from fastnst.networks.network import DEVIATION, MEAN, StyleNetwork, centred, uncentred, woven

_HALF = 16
_LARGE = 48
_WHITE = 255.0


class LiveBlock(Conditioned):
    """Two convolutions beside the identity, the first normalised."""

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__()
        self.first = convolution(channels, channels, 3)
        self.norm = ConditionalInstanceNorm2d(channels, conditions)
        self.second = convolution(channels, channels, 3)

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        residual: Tensor = self.second(F.relu(self.norm(self.first(x), shares)))
        return x + residual


class LiveNet(StyleNetwork):
    """Works at an eighth of the size; `width` is the number of channels there, 48 or 32."""

    stride = 8
    phases = 2

    def __init__(self, width: int = 48, blocks: int = 3, conditions: Conditions = PLAIN) -> None:
        super().__init__(conditions)
        self.width, self.blocks = width, blocks
        quarter = 2 * _HALF if width >= _LARGE else _HALF
        self.to_halves = nn.Conv2d(3, _HALF, 2, stride=2)
        self.to_quarters = nn.Conv2d(_HALF, quarter, 2, stride=2)
        self.to_eighths = nn.Conv2d(quarter, width, 2, stride=2)
        self.norm = ConditionalInstanceNorm2d(width, conditions)
        self.body = Chain(*(LiveBlock(width, conditions) for _ in range(blocks)))
        self.from_eighths = convolution(width, quarter, 3)
        self.at_quarters = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(quarter, quarter, 3, groups=quarter, bias=False),
            nn.Conv2d(quarter, quarter, 1),
        )
        self.from_quarters = nn.Conv2d(quarter, _HALF, 1)
        self.last = nn.ConvTranspose2d(_HALF, 3, 4, stride=2)
        self.beside_eighths = ConditionalScale(quarter, conditions)
        self.beside_quarters = ConditionalScale(_HALF, conditions)
        _begin_alike(self.last)

    def paint(self, image: Tensor, shares: Tensor | None) -> Tensor:
        """Image, (B, 3, H, W) in [0, 1], to stylized image, (B, 3, H, W), about [0, 1] but not clamped."""
        if self.training:
            return woven(uncentred(self._paint(self.to_halves(centred(image)), shares, *self._last())), self.phases)
        return super().paint(image, shares)

    def paint_phases(self, levels: Tensor, shares: Tensor | None) -> Tensor:
        """Levels in [0, 255] to the four pixels about the corner of four places, (B, 12, H / 2 - 1, W / 2 - 1)."""
        # Centring and scale in the weights: it saves passes over the whole picture.
        first = self.to_halves.weight / DEVIATION
        assert self.to_halves.bias is not None
        half = F.conv2d(levels, first / _WHITE, self.to_halves.bias - MEAN * first.sum((1, 2, 3)), stride=2)
        weight, bias = self._last()
        return self._paint(half, shares, _WHITE * DEVIATION * weight, _WHITE * (MEAN + DEVIATION * bias)).float()

    def _paint(self, half: Tensor, shares: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
        half = F.relu(half)
        quarter = F.relu(self.to_quarters(half))
        eighth = self.body(F.relu(self.norm(self.to_eighths(quarter), shares)), shares)
        quarter = F.relu(_doubled(self.from_eighths(eighth)) + self.beside_eighths(quarter, shares))
        quarter = F.relu(self.at_quarters(quarter))
        half = F.relu(_doubled(self.from_quarters(quarter)) + self.beside_quarters(half, shares))
        return F.conv2d(half, weight, bias)

    def _last(self) -> tuple[Tensor, Tensor]:
        """The transposed convolution as one of 2 x 2 to 12 channels, row, column, colour: (12, 16, 2, 2) and (12,)."""
        assert self.last.bias is not None
        # Pixel a = 0, 1 between places 0 and 1, which lie at -0.5 and 1.5, is at 2 + a - 2 d of place d's kernel.
        given, _, side, _ = self.last.weight.shape
        apart = self.last.weight.reshape(given, 3, side // 2, 2, side // 2, 2).flip(2, 4)
        weight = apart.permute(3, 5, 1, 0, 2, 4).reshape(12, given, side // 2, side // 2)
        return weight, self.last.bias.repeat(4)


def _doubled(x: Tensor) -> Tensor:
    # Bilinear costs no more than the nearest neighbour, which leaves strokes like bricks.
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _begin_alike(convolution: nn.ConvTranspose2d) -> None:
    """Let each place begin as four equal pixels, so that no grid shows (as ICNR, Aitken et al. 2017, does)."""
    with torch.no_grad():
        middle = convolution.weight[..., 1:2, 1:2].expand(-1, -1, 2, 2).clone()
        convolution.weight.zero_()
        convolution.weight[..., 1:3, 1:3] = middle
        if convolution.bias is not None:
            convolution.bias.zero_()
