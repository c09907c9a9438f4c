"""What every network that paints in one pass has in common, and painting with one in torch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.io.images import Frame
from fastnst.io.tensors import to_frame, to_image
from fastnst.models.conditioning import PLAIN, Conditions, mixed


class StyleNetwork(nn.Module):
    """Image to stylized image of the same size, whose height and width must be multiples of `stride`.

    At strength 0 a network that takes a strength gives the image back exactly, however it was trained: of the image
    itself it keeps a share, which is 1 at strength 0 and learnt for the others, from 0 on.
    """

    stride: int
    """Pixels of the picture, each way, for one place of the deepest layers."""

    phases: int = 1
    """Pixels of the picture, each way, that `paint_phases` gives as channels of one place."""

    width: int
    """Channels, as each kind counts them."""

    blocks: int
    """Residual blocks."""

    def __init__(self, conditions: Conditions = PLAIN) -> None:
        super().__init__()
        self.conditions = conditions
        self.kept: nn.Parameter | None
        self.register_parameter("kept", nn.Parameter(torch.zeros(conditions.rows)) if conditions.strength else None)

    def forward(self, image: Tensor, style_weights: Tensor | None = None, strength: Tensor | None = None) -> Tensor:
        """Paint images.

        Args:
            image: (B, 3, H, W) in [0, 1].
            style_weights: shares of the styles, (S,), or each image's, (B, S); None: all alike.
            strength: (1,), or each image's, (B, 1); None: 1.

        Returns:
            (B, 3, H, W), about [0, 1] but not clamped.
        """
        shares = self.conditions.shares(style_weights, strength, image.device)
        painted = self.paint(image, shares)
        if self.kept is None or shares is None:
            return painted
        photo = shares[..., self.conditions.styles]
        kept = photo + (1 - photo) * mixed(self.kept, shares)
        return painted + kept.reshape(-1, 1, 1, 1) * (image - painted)

    def paint(self, image: Tensor, shares: Tensor | None) -> Tensor:
        """Paint images as `forward`, by shares of rows, (R,) or (B, R); None in a plain network."""
        raise NotImplementedError

    def paint_phases(self, levels: Tensor, shares: Tensor | None) -> Tensor:
        """Paint levels of 0 to 255, (B, 3, H, W), in the form that an exported graph weaves last, as uint8.

        Returns:
            About [0, 255], not clamped. With `phases` 1 (B, 3, H, W); with 2 (B, 12, H / 2 - 1, W / 2 - 1): pixels by
            row, column and colour, of which the border's are left out, as they are those next to it once more.
        """
        return 255 * self.paint(levels / 255, shares)


# Centred and scaled to about unit variance: a photograph's mean is near 0.45, its deviation near 0.25.
MEAN, DEVIATION = 0.45, 0.25


def centred(image: Tensor) -> Tensor:
    """An image in [0, 1] as networks take it."""
    return (image - MEAN) / DEVIATION


def uncentred(image: Tensor) -> Tensor:
    """What a network gives as an image, in float32 also under autocast: bfloat16 has but 128 steps from 0.5 to 1."""
    return MEAN + DEVIATION * image.float()


# Smaller pictures are extended to this many pixels a side: reflection inside the network needs room.
SMALLEST_SIDE = 64


def padded(image: Tensor, stride: int) -> Tensor:
    """Extend an image, (B, 3, H, W), below and to the right: its edge to 64 pixels, then reflected to `stride`."""
    below, right = (max(0, SMALLEST_SIDE - side) for side in image.shape[2:])
    image = F.pad(image, (0, right, 0, below), mode="replicate")
    below, right = (-side % stride for side in image.shape[2:])
    return F.pad(image, (0, right, 0, below), mode="reflect")


def stylize_frame(
    network: StyleNetwork,
    frame: Frame,
    *,
    style_weights: Sequence[float] | None = None,
    strength: float | None = None,
) -> Frame:
    """Frame, uint8 (H, W, 3), to stylized frame of the same size; torch's own arithmetic, on the network's device.

    `style_weights` are shares of the network's styles, None all alike; `strength` is 1 if None.
    """
    height, width = frame.shape[:2]
    device = next(network.parameters()).device
    weights = None if style_weights is None else torch.tensor(style_weights, device=device)
    strengths = None if strength is None else torch.tensor([strength], device=device)
    with torch.no_grad():
        stylized = network(padded(to_image(frame).to(device), network.stride), weights, strengths)
    return to_frame(stylized[..., :height, :width])
