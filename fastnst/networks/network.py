"""What every network that paints in one pass has in common."""

from torch import Tensor, nn


class StyleNetwork(nn.Module):
    """Image to stylized image of the same size, whose height and width must be multiples of `stride`."""

    stride: int
    """Pixels of the picture, each way, for one place of the deepest layers."""

    width: int
    """Channels, as each kind counts them."""

    blocks: int
    """Residual blocks."""

    def forward(self, image: Tensor) -> Tensor:
        """Image, (B, 3, H, W) in [0, 1], to stylized image, (B, 3, H, W), about [0, 1] but not clamped."""
        raise NotImplementedError


# Centred and scaled to about unit variance: a photograph's mean is near 0.45, its deviation near 0.25.
MEAN, DEVIATION = 0.45, 0.25


def centred(image: Tensor) -> Tensor:
    """An image in [0, 1] as networks take it."""
    return (image - MEAN) / DEVIATION


def uncentred(image: Tensor) -> Tensor:
    """What a network gives as an image, in float32 also under autocast: bfloat16 has but 128 steps from 0.5 to 1."""
    return MEAN + DEVIATION * image.float()
