"""A network for live pictures: nearly all of its work is done at an eighth of the size.

Cost is decided by how much runs at full and at half size. So the picture is reduced at once, three times, by
convolutions whose kernels are as long as their strides; residual blocks at an eighth of the size do the painting; on
the way back the features of the way down are added, which carry small forms past the blocks; the last step is
one transposed convolution, whose kernel is twice its stride, so that all pixels get the same number of terms. It is
exported as what it amounts to, a convolution of 2 x 2 whose channels are the four pixels between four places: ONNX
Runtime takes a third of the time for it. But for the residual blocks nothing is normalised; in a network of several
styles, what is added on the way back has scales of its own for each, and what comes from the blocks has scales and
shifts at a quarter of the size, so that each style has colors of its own. Channels come in multiples of 16, the blocks
that ONNX Runtime's kernels for processors compute.
All padding inside is by reflection: with zeros, the blocks painted a frame along the picture's border.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.models.network import (
    DEVIATION,
    MEAN,
    PLAIN,
    Chain,
    ConditionalAffine,
    ConditionalInstanceNorm2d,
    ConditionalScale,
    Conditioned,
    Conditions,
    StyleNetwork,
    centred,
    convolution,
    uncentred,
)

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
        self.last: nn.ConvTranspose2d | nn.Conv2d = nn.ConvTranspose2d(_HALF, 3, 4, stride=2)
        self.beside_eighths = ConditionalScale(quarter, conditions)
        self.beside_quarters = ConditionalScale(_HALF, conditions)
        self.toned_at_quarters = ConditionalAffine(quarter, conditions)
        self.toned_from_quarters = ConditionalAffine(_HALF, conditions)
        _begin_alike(self.last)

    def paint(self, image: Tensor, shares: Tensor | None) -> Tensor:
        """Image, (B, 3, H, W) in [0, 1], to stylized image, (B, 3, H, W), about [0, 1] but not clamped."""
        half = self._paint(self.to_halves(centred(image)), shares)
        return uncentred(_enlarged(half, self.last))

    def for_export(self) -> StyleNetwork:
        """The network with centring and scale in its weights: it saves passes over the whole picture."""
        return _FoldedLiveNet(self)

    def _paint(self, half: Tensor, shares: Tensor | None) -> Tensor:
        """From the first convolution to what the last one takes, both (B, 16, H / 2, W / 2)."""
        half = F.relu(half)
        quarter = F.relu(self.to_quarters(half))
        eighth = self.body(F.relu(self.norm(self.to_eighths(quarter), shares)), shares)
        quarter = F.relu(_doubled(self.from_eighths(eighth)) + self.beside_eighths(quarter, shares))
        quarter = F.relu(self.toned_at_quarters(self.at_quarters(quarter), shares))
        quarter = self.toned_from_quarters(self.from_quarters(quarter), shares)
        return F.relu(_doubled(quarter) + self.beside_quarters(half, shares))


class _FoldedLiveNet(LiveNet):
    phases = 2

    def __init__(self, network: LiveNet) -> None:
        super().__init__(network.width, network.blocks, network.conditions)
        self.load_state_dict(network.state_dict())
        # With a share of the photo in it a network gives no phases, and images are in [0, 1].
        white = _WHITE if network.kept is None else 1.0
        weight = network.to_halves.weight / DEVIATION
        assert network.to_halves.bias is not None and network.last.bias is not None
        _set(self.to_halves, weight / white, network.to_halves.bias - MEAN * weight.sum((1, 2, 3)))
        weight, bias = white * DEVIATION * network.last.weight, white * (MEAN + DEVIATION * network.last.bias)
        if network.kept is None:
            self.last = nn.Conv2d(_HALF, 12, 2)
            weight, bias = _between(weight), bias.repeat(4)
        _set(self.last, weight, bias)

    def paint(self, image: Tensor, shares: Tensor | None) -> Tensor:
        return _enlarged(self._paint(self.to_halves(image), shares), self.last)

    def paint_phases(self, levels: Tensor, shares: Tensor | None) -> Tensor:
        phases: Tensor = self.last(self._paint(self.to_halves(levels), shares))
        return phases


def _set(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.get_parameter("weight").copy_(weight)
        layer.get_parameter("bias").copy_(bias)


def _enlarged(half: Tensor, last: nn.Module) -> Tensor:
    """The transposed convolution where it has all its places; the border repeats the pixels next to it."""
    weight, bias = last.get_parameter("weight"), last.get_parameter("bias")
    inner = F.conv_transpose2d(half, weight, bias, stride=2, padding=2)
    return F.pad(inner, (1, 1, 1, 1), mode="replicate")


def _between(weight: Tensor) -> Tensor:
    """A transposed convolution's weights, (16, 3, 4, 4), as one's of 2 x 2 to row, column, colour: (12, 16, 2, 2)."""
    # Pixel a = 0, 1 between places 0 and 1, which lie at -0.5 and 1.5, is at 2 + a - 2 d of place d's kernel.
    given = weight.shape[0]
    apart = weight.reshape(given, 3, 2, 2, 2, 2).flip(2, 4)
    return apart.permute(3, 5, 1, 0, 2, 4).reshape(12, given, 2, 2)


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
