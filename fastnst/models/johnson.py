"""The image transformation network of Johnson et al. (2016), in its best-known form.

Differs from the paper: instance instead of batch normalisation (Ulyanov et al. 2016), upsampling and a convolution
instead of transposed convolutions (Odena et al. 2016), reflection padding at every convolution, a linear output instead
of a scaled tanh.
"""

from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn

from fastnst.models.network import (
    PLAIN,
    Chain,
    ConditionalInstanceNorm2d,
    Conditioned,
    Conditions,
    StyleNetwork,
    centred,
    uncentred,
)

Upsampling: TypeAlias = Literal["nearest", "bilinear"]
"""Between convolutions on the way back to full size: the nearest neighbor leaves strokes like bricks of 4 pixels."""

UPSAMPLINGS: tuple[Upsampling, ...] = get_args(Upsampling)


def _doubled(upsampling: Upsampling) -> nn.Upsample:
    if upsampling == "bilinear":
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Upsample(scale_factor=2)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution that pads by reflection to keep the size (divided by the stride)."""
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride))


def normalized(inputs: int, outputs: int, kernel: int, stride: int = 1, *, conditions: Conditions = PLAIN) -> Chain:
    """Convolution, instance normalisation with scale and shift, rectifier."""
    return Chain(
        convolution(inputs, outputs, kernel, stride), ConditionalInstanceNorm2d(outputs, conditions), nn.ReLU()
    )


class ResidualBlock(Conditioned):
    """Two normalised convolutions beside the identity, no rectifier after the sum (Gross and Wilber 2016)."""

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__()
        self.body = Chain(
            normalized(channels, channels, 3, conditions=conditions),
            convolution(channels, channels, 3),
            ConditionalInstanceNorm2d(channels, conditions),
        )

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        residual: Tensor = self.body(x, shares)
        return x + residual


class TransformNet(StyleNetwork):
    """Works at a quarter of the size; `width` is the number of channels at full size: 32 in the paper."""

    stride = 4

    def __init__(
        self, width: int = 32, blocks: int = 5, conditions: Conditions = PLAIN, upsampling: Upsampling = "nearest"
    ) -> None:
        super().__init__(conditions)
        self.width, self.blocks = width, blocks
        self.body = Chain(
            normalized(3, width, 9, conditions=conditions),
            normalized(width, 2 * width, 3, stride=2, conditions=conditions),
            normalized(2 * width, 4 * width, 3, stride=2, conditions=conditions),
            *(ResidualBlock(4 * width, conditions) for _ in range(blocks)),
            _doubled(upsampling),
            normalized(4 * width, 2 * width, 3, conditions=conditions),
            _doubled(upsampling),
            normalized(2 * width, width, 3, conditions=conditions),
            convolution(width, 3, 9),
        )

    def paint(self, image: Tensor, shares: Tensor | None) -> Tensor:
        """Image, (B, 3, H, W) in [0, 1], to stylized image, (B, 3, H, W), about [0, 1] but not clamped."""
        return uncentred(self.body(centred(image), shares))
