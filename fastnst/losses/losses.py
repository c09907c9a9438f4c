"""The formulas of the perceptual loss, each a function of tensors alone.

Shapes: B batch, C channels, H and W height and width of a feature map.
Every loss returns one value per image, (B,).
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pixel_unshuffle

from fastnst.losses.products import self_product
from fastnst.losses.settings import StyleStatistic

# Keeps a flat picture, whose features or differences have no energy, from dividing by zero. Features of natural
# pictures have a mean square of 1e-2 (torchvision's weights) to 1e5 (Caffe's).
EPSILON = 1e-8


def gram_matrix(features: Tensor) -> Tensor:
    """Correlate every pair of channels over all pixels: (B, C, H, W) -> (B, C, C).

    Divided by H*W, so that images of different sizes compare. Johnson et al. (2016, eq. 3) also divide by C;
    Gatys et al. (2016, eq. 3) leave both factors to the loss. Of features in half precision it is float32.
    """
    height, width = features.shape[2:]
    return self_product(features) / (height * width)


def covariance_matrix(features: Tensor) -> Tensor:
    """Gram matrix of the features less each channel's spatial mean: (B, C, H, W) -> (B, C, C)."""
    return gram_matrix(features - features.mean(dim=(2, 3), keepdim=True))


def style_statistics(features: Tensor, kind: StyleStatistic) -> tuple[Tensor, ...]:
    """Measure what style compares, averaged over positions: (B, C, H, W) -> matrices (B, C, C), vectors (B, C).

    gram: Gatys et al. (2016). diagonal: how active each channel is; off-diagonal: which channels are active together.
    covariance: the channels' covariance and means. moments: means and standard deviations, the "BN statistics" of Li
    et al. (2017, "Demystifying neural style transfer", section 4.2).
    """
    if kind in ("gram", "off-diagonal"):
        gram = gram_matrix(features)
        return (gram if kind == "gram" else gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2)),)
    # Means in half precision would be no more exact than that.
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    if kind == "diagonal":
        return (features.square().mean(dim=(2, 3)),)
    means = features.mean(dim=(2, 3))
    if kind == "covariance":
        return covariance_matrix(features), means
    variances = (features - means[..., None, None]).square().mean(dim=(2, 3))
    return means, (variances + EPSILON).sqrt()


def squared_error(given: Tensor, reference: Tensor) -> Tensor:
    """Sum of squared differences of each image: (B, ...), (B or 1, ...) -> (B,)."""
    return (given - reference).square().flatten(1).sum(1)


def relative_error(given: Tensor, reference: Tensor) -> Tensor:
    """Squared error over the reference's own energy: (B, ...), (B or 1, ...) -> (B,); 0 equal, 1 as bad as nothing."""
    energy = reference.square().flatten(1).sum(1)
    return squared_error(given, reference) / (energy + EPSILON * reference[0].numel())


def total_variation(image: Tensor, kind: Literal["l1", "squared"]) -> Tensor:
    """Sum over all horizontal and vertical neighbours of |difference| or its square: (B, 3, H, W) -> (B,).

    l1 is eq. 5 of Johnson-type papers (anisotropic); squared is the usual smooth form.
    """
    across = image[..., :, 1:] - image[..., :, :-1]
    down = image[..., 1:, :] - image[..., :-1, :]
    norm = torch.abs if kind == "l1" else torch.square
    return norm(across).flatten(1).sum(1) + norm(down).flatten(1).sum(1)


def lattice_pattern(image: Tensor, period: int, window: int = 5) -> Tensor:
    """Mean square of what repeats every `period` pixels within `window` periods: (B, 3, H, W) -> (B,); 0 none.

    Networks that work at 1/period of the size leave such patterns (Odena et al. 2016, "Deconvolution and checkerboard
    artifacts"). Each of the period^2 places in a cell is averaged over neighbouring cells; where the averages differ,
    the picture repeats; a slope through the cell is taken off first. The form is ours.
    """
    images, channels = image.shape[:2]
    places = pixel_unshuffle(image, period)
    local = avg_pool2d(places, window, stride=1)
    cells = local.reshape(images, channels, period, period, *local.shape[2:])
    cells = cells - cells.mean(dim=(2, 3), keepdim=True)
    place = torch.arange(period, dtype=cells.dtype, device=cells.device) - (period - 1) / 2
    for ramp in (place[:, None, None, None], place[None, :, None, None]):
        slope = (cells * ramp).sum(dim=(2, 3), keepdim=True) / (ramp.square().sum() * period)
        cells = cells - slope * ramp
    return cells.square().flatten(1).mean(1)


def differences(image: Tensor) -> int:
    """Count the terms that total_variation sums for one image."""
    channels, height, width = image.shape[1:]
    return int(channels * (height * (width - 1) + (height - 1) * width))
