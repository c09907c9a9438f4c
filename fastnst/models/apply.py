"""Running a network on frames in torch, exactly as an exported file does it in its own graph."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.io.images import Frame
from fastnst.io.tensors import to_frame, to_image
from fastnst.models.network import StyleNetwork

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
