"""The image transformation network of Johnson et al. (2016), in its best-known form.

Differs from the paper: instance instead of batch normalisation (Ulyanov et al. 2016), nearest upsampling and a
convolution instead of transposed convolutions (Odena et al. 2016), reflection padding at every convolution, a
linear output instead of a scaled tanh.
"""

from torch import Tensor, nn

from fastnst.networks.network import StyleNetwork, centred, uncentred


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution that pads by reflection to keep the size (divided by the stride)."""
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride))


def normalized(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, instance normalisation with scale and shift, rectifier."""
    return nn.Sequential(
        convolution(inputs, outputs, kernel, stride), nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()
    )


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside the identity, no rectifier after the sum (Gross and Wilber 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            normalized(channels, channels, 3),
            convolution(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        residual: Tensor = self.body(x)
        return x + residual


class TransformNet(StyleNetwork):
    """Works at a quarter of the size; `width` is the number of channels at full size: 32 in the paper."""

    stride = 4

    def __init__(self, width: int = 32, blocks: int = 5) -> None:
        super().__init__()
        self.width, self.blocks = width, blocks
        self.body = nn.Sequential(
            normalized(3, width, 9),
            normalized(width, 2 * width, 3, stride=2),
            normalized(2 * width, 4 * width, 3, stride=2),
            *(ResidualBlock(4 * width) for _ in range(blocks)),
            nn.Upsample(scale_factor=2),
            normalized(4 * width, 2 * width, 3),
            nn.Upsample(scale_factor=2),
            normalized(2 * width, width, 3),
            convolution(width, 3, 9),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Image, (B, 3, H, W) in [0, 1], to stylized image, (B, 3, H, W), about [0, 1] but not clamped."""
        return uncentred(self.body(centred(image)))
