"""Regions carried down the loss network: which positions of which layer belong to which region.

H and W are height and width of an image in pixels, h and w those of a feature map.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, one_hot

from fastnst.exact.regions import Labels

FEWEST = 4
"""Where fewer positions of a layer pass the guard, all whose own area lies mostly in the region take part."""


def region_positions(
    labels: Labels, regions: int, sizes: Mapping[str, tuple[int, int]], guard: float
) -> list[dict[str, Tensor]]:
    """Find the positions of each region at each layer, counted row by row, (n,); a layer without any is left out.

    A deep position sees a wide field: near a border also the neighbours of its region, whose style would leak in.
    So it takes part only where its region fills `guard` or more of that field, weighted as the field is: for a stack of
    3 x 3 convolutions it is bell-shaped, the repeated mean over 3 x 3 positions (Luo et al. 2016, "Understanding the
    effective receptive field"). Gatys et al. (2017, "Controlling perceptual factors", section 4.2) erode for the same
    reason; the form is ours.

    Args:
        labels: region of each pixel, (H, W).
        regions: how many there are.
        sizes: (h, w) of each layer.
        guard: smallest share, 0 to 1. At 0 each position belongs to the region that covers most of it.
    """
    pixels = one_hot(torch.from_numpy(labels), regions).permute(2, 0, 1)[None].float()
    found: list[dict[str, Tensor]] = [{} for _ in range(regions)]
    for layer, size in sizes.items():
        covered = adaptive_avg_pool2d(pixels, size)
        seen, most = _blurred(covered, pixels)[0].flatten(1), covered[0].argmax(0).flatten()
        for region, positions in enumerate(found):
            mine = most == region
            safe = mine & (seen[region] >= guard)
            chosen = (safe if int(safe.sum()) >= FEWEST else mine).nonzero().flatten()
            if len(chosen):
                positions[layer] = chosen
    return found


def _blurred(covered: Tensor, pixels: Tensor) -> Tensor:
    """Part of each position's field of view that each region fills, from that of its own area, (1, K, h, w)."""
    # In VGG about one more convolution than halvings lies between the pixels and a layer, in its own positions:
    # the field of relu1_1 is 3 pixels wide, that of relu5_1 156 pixels or 10 positions.
    halvings = math.log2(max(1.0, *(own / less for own, less in zip(pixels.shape[2:], covered.shape[2:], strict=True))))
    for _ in range(1 + round(halvings)):
        covered = avg_pool2d(covered, 3, stride=1, padding=1, count_include_pad=False)
    return covered
