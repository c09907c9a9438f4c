"""The losses of both methods: every statistic, distance and penalty, each a small function of tensors.

What is added here is weighed and summed in perceptual.py.

Shapes: B batch, C channels, H and W height and width of a feature map. Every loss returns one value per image, (B,).
In the documents' letters N = C is the number of channels, M = H * W the number of positions, F and P are features, G
and A Gram matrices. Statistics come averaged over positions, so that the documents' G is M times ours.

| formula | content | style | total variation |
|---|---|---|---|
| balanced | relative to the reference's energy | likewise | mean, pixels in 0..1 |
| paper | 1/2 sum (F - P)^2 | 1/(4 N^2 M^2) sum (G - A)^2 | sum, pixels in 0..255 |
| cs229 | sum (F - P)^2 | as paper; of regions eq. 6 | sum, pixels in 0..255 |
| kmit | 1/2 sum (F - P)^2 | 1/M sum (G - A)^2 | sum, pixels in 0..1 |
| tutorial | mean (F - P)^2 | mean (G/M - A/M)^2 | sum, pixels in 0..1 |
| johnson | mean (F - P)^2 | squared Frobenius norm of (G - A)/(N M) | sum, pixels in 0..255 |
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize, pixel_unshuffle

from fastnst.losses.settings import Normalization, StyleStatistic

# Keeps a flat picture, whose features or differences have no energy, from dividing by zero. Features of natural
# pictures have a mean square of 1e-2 (torchvision's weights) to 1e5 (Caffe's).
EPSILON = 1e-8


# Content: how far features are from those of the photo.


def content_loss(formula: Normalization, given: Tensor, reference: Tensor) -> Tensor:
    """Content loss of one layer: features (B, C, H, W), (B or 1, C, H, W) -> (B,)."""
    if formula == "balanced":
        return relative_error(given, reference)
    squares = squared_error(given, reference)
    if formula in ("paper", "kmit"):
        return squares / 2  # Gatys et al. (2016), eq. 1
    if formula == "cs229":
        return squares  # its eq. 3
    return squares / reference[0].numel()  # Johnson et al. (2016), eq. 2; TensorFlow's tutorial


# Style: statistics of features over all positions, and how far they are from those of the painting.


def gram_matrix(features: Tensor) -> Tensor:
    """Correlate every pair of channels over all pixels: (B, C, H, W) -> (B, C, C).

    Divided by H*W, so that images of different sizes compare. Johnson et al. (2016, eq. 3) also divide by C;
    Gatys et al. (2016, eq. 3) leave both factors to the loss. Of features in half precision it is float32.
    """
    height, width = features.shape[2:]
    return self_product(features) / (height * width)


def off_diagonal_gram(features: Tensor) -> Tensor:
    """The Gram matrix with zeros on its diagonal, which channels are active together: (B, C, H, W) -> (B, C, C)."""
    gram = gram_matrix(features)
    return gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))


def covariance_matrix(features: Tensor) -> Tensor:
    """Gram matrix of the features less each channel's spatial mean: (B, C, H, W) -> (B, C, C)."""
    features = _full_precision(features)
    return gram_matrix(features - features.mean(dim=(2, 3), keepdim=True))


def channel_energies(features: Tensor) -> Tensor:
    """Mean square of each channel, the diagonal of the Gram matrix: (B, C, H, W) -> (B, C)."""
    return _full_precision(features).square().mean(dim=(2, 3))


def channel_means(features: Tensor) -> Tensor:
    """Mean of each channel: (B, C, H, W) -> (B, C)."""
    return _full_precision(features).mean(dim=(2, 3))


def channel_deviations(features: Tensor) -> Tensor:
    """Standard deviation of each channel: (B, C, H, W) -> (B, C)."""
    features = _full_precision(features)
    centred = features - features.mean(dim=(2, 3), keepdim=True)
    return (centred.square().mean(dim=(2, 3)) + EPSILON).sqrt()


def projected_quantiles(features: Tensor) -> Tensor:
    """How often values occur along each of 64 directions, 128 quantiles of each: (B, C, H, W) -> (B, 64, 128).

    The squared difference of two such is the sliced Wasserstein distance of Heitz et al. (2021, "A sliced Wasserstein
    loss for neural texture synthesis", eq. 4). Differs from them: the directions are always the same ones, and of a
    large map 16,384 positions are compared, always the same ones too.
    """
    flat = _full_precision(features).flatten(2)
    if flat.shape[-1] > _MOST_POSITIONS:
        drawn = torch.randint(flat.shape[-1], (_MOST_POSITIONS,), generator=torch.Generator().manual_seed(0))
        flat = flat[..., drawn.to(flat.device)]
    directions = random_directions(flat.shape[1]).to(flat.device, flat.dtype)
    return quantiles(directions @ flat, _QUANTILES)


@cache
def random_directions(channels: int) -> Tensor:
    """Unit vectors spread over all directions, always the same ones: (64, channels)."""
    drawn = torch.randn(_DIRECTIONS, channels, generator=torch.Generator().manual_seed(channels))
    return normalize(drawn, dim=1)


def quantiles(values: Tensor, count: int) -> Tensor:
    """Values at `count` evenly spaced probabilities, (i + 0.5) / count, linear in between: (..., N) -> (..., count)."""
    ordered, last = values.sort(-1).values, values.shape[-1] - 1
    place = (torch.arange(count, device=values.device) + 0.5) / count * values.shape[-1] - 0.5
    place = place.clamp(0, last)
    below = place.floor().long()
    above = (below + 1).clamp(max=last)
    return ordered[..., below].lerp(ordered[..., above], (place - below).to(values.dtype))


_DIRECTIONS, _QUANTILES, _MOST_POSITIONS = 64, 128, 16384

STYLE_STATISTICS: Mapping[StyleStatistic, tuple[Callable[[Tensor], Tensor], ...]] = {
    "gram": (gram_matrix,),  # Gatys et al. (2016)
    "diagonal": (channel_energies,),
    "off-diagonal": (off_diagonal_gram,),
    "covariance": (covariance_matrix, channel_means),
    # The "BN statistics" of Li et al. (2017, "Demystifying neural style transfer", section 4.2).
    "moments": (channel_means, channel_deviations),
    "sliced-wasserstein": (projected_quantiles,),  # Heitz et al. (2021)
}
"""What style can be compared by. Another statistic: its function here, and its name in settings.py."""


def style_loss(
    formula: Normalization, given: Tensor, reference: Tensor, channels: int, positions: int, *, region: bool = False
) -> Tensor:
    """Style loss of one layer: statistics averaged over positions, (B, ...), (B or 1, ...) -> (B,).

    N channels, and M positions that `given` was averaged over. With `region` the statistics are of one region of
    several, not of the whole pictures.
    """
    if formula == "balanced":
        return relative_error(given, reference)
    squares = squared_error(given, reference)
    if formula == "kmit":
        # The document's formula has unnormalised Gram matrices; its prose averages them over positions. So both are
        # averaged first, or pictures of other sizes would not compare, and given the image's M again.
        return squares * positions
    if formula in ("johnson", "tutorial") or (formula == "cs229" and region):
        # Johnson et al. (2016), eq. 3 and 4; a mean over N^2 entries; eq. 6 of cs229, whose "number of neurons" is
        # channels times positions. Three ways to the same number.
        return squares / channels**2
    # Gatys et al. (2016), eq. 4. cs229 leaves 1/(4 N^2 M^2) out of its eq. 4, but with the raw sum its weights would
    # be some 15 orders of magnitude apart, where section 5.1 says that all terms are of one order.
    return squares / (4 * channels**2)


# Penalties on the image itself.


def total_variation_loss(formula: Normalization, tv_kind: Literal["l1", "squared"], image: Tensor) -> Tensor:
    """Total variation of images as a formula scales it: (B, 3, H, W) in [0, 1] -> (B,)."""
    if formula == "balanced":
        return total_variation(image, tv_kind) / max(1, count_differences(image))
    return total_variation(image if formula in ("kmit", "tutorial") else image * 255, tv_kind)


def total_variation(image: Tensor, kind: Literal["l1", "squared"]) -> Tensor:
    """Sum over all horizontal and vertical neighbours of |difference| or its square: (B, 3, H, W) -> (B,).

    l1 is eq. 5 of Johnson-type papers (anisotropic); squared is the usual smooth form.
    """
    across = image[..., :, 1:] - image[..., :, :-1]
    down = image[..., 1:, :] - image[..., :-1, :]
    norm = torch.abs if kind == "l1" else torch.square
    return norm(across).flatten(1).sum(1) + norm(down).flatten(1).sum(1)


def count_differences(image: Tensor) -> int:
    """Count the terms that `total_variation` sums for one image."""
    channels, height, width = image.shape[1:]
    return int(channels * (height * (width - 1) + (height - 1) * width))


def checkerboard_loss(image: Tensor, period: int, window: int = 5) -> Tensor:
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


# Distances.


def squared_error(given: Tensor, reference: Tensor) -> Tensor:
    """Sum of squared differences of each image: (B, ...), (B or 1, ...) -> (B,)."""
    return (given - reference).square().flatten(1).sum(1)


def relative_error(given: Tensor, reference: Tensor) -> Tensor:
    """Squared error over the reference's own energy: (B, ...), (B or 1, ...) -> (B,); 0 equal, 1 as bad as nothing."""
    energy = reference.square().flatten(1).sum(1)
    return squared_error(given, reference) / (energy + EPSILON * reference[0].numel())


def _full_precision(features: Tensor) -> Tensor:
    """Means in half precision would be no more exact than that: float32, or float64 where the features are."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


# The costly half of a Gram matrix: products of features with themselves, and their gradient.

# Positions that are brought to float32 at a time: features in bfloat16 are never held whole in both forms.
POSITIONS = 8192


def self_product(features: Tensor) -> Tensor:
    """Sum the products of every pair of channels over all pixels: (B, C, H, W) -> (B, C, C), float32.

    As `flat @ flat.mT` of the flattened features, and its gradients of any order. But the gradient is one product
    instead of two and their sum, it has the features' memory layout, and features in half precision are converted bit
    by bit. Sums are taken in float32, or in float64 where the features are.
    """
    product: Tensor = _SelfProduct.apply(features)
    return product


class _SelfProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = _rows(features)
        exact = torch.promote_types(features.dtype, torch.float32)
        product = torch.zeros(rows.shape[0], rows.shape[2], rows.shape[2], dtype=exact, device=features.device)
        for part in torch.split(rows, POSITIONS, dim=1):
            whole = part.to(exact)
            product.baddbmm_(whole.mT, whole)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        # Each product appears twice, for (i, j) and for (j, i).
        both = gradients[0] + gradients[0].mT
        rows = _rows(features)
        parts = ((part.to(both.dtype) @ both).to(rows.dtype) for part in torch.split(rows, POSITIONS, dim=1))
        if torch.is_grad_enabled():  # a gradient of the gradient is asked for
            gradient = torch.cat(list(parts), dim=1)
        else:
            gradient = torch.empty_like(rows)
            for place, part in zip(torch.split(gradient, POSITIONS, dim=1), parts, strict=True):
                place.copy_(part)
        batch, channels, height, width = features.shape
        return gradient.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H*W, C), no copy where channels are innermost in memory."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)
