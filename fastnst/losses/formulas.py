"""The formulas of the documents behind the presets, each as its document writes it.

Shapes: B batch, C channels, H and W height and width of a feature map. In the documents' letters N = C is the number
of channels, M = H * W the number of positions, F and P are features, G and A Gram matrices. Statistics come averaged
over positions, so that the documents' G is M times ours.

| normalization | content | style | total variation |
|---|---|---|---|
| balanced | relative to the reference's energy | likewise | mean, pixels in 0..1 |
| paper | 1/2 sum (F - P)^2 | 1/(4 N^2 M^2) sum (G - A)^2 | sum, pixels in 0..255 |
| cs229 | sum (F - P)^2 | as paper; of regions eq. 6 | sum, pixels in 0..255 |
| kmit | 1/2 sum (F - P)^2 | 1/M sum (G - A)^2 | sum, pixels in 0..1 |
| tutorial | mean (F - P)^2 | mean (G/M - A/M)^2 | sum, pixels in 0..1 |
| johnson | mean (F - P)^2 | squared Frobenius norm of (G - A)/(N M) | sum, pixels in 0..255 |
"""

from typing import Literal

from torch import Tensor

from fastnst.losses.losses import differences, relative_error, squared_error, total_variation
from fastnst.losses.settings import Normalization


def content_error(kind: Normalization, given: Tensor, reference: Tensor) -> Tensor:
    """Content loss of one layer: features (B, C, H, W), (B or 1, C, H, W) -> (B,)."""
    if kind == "balanced":
        return relative_error(given, reference)
    squares = squared_error(given, reference)
    if kind in ("paper", "kmit"):
        return squares / 2  # Gatys et al. (2016), eq. 1
    if kind == "cs229":
        return squares  # its eq. 3
    return squares / reference[0].numel()  # Johnson et al. (2016), eq. 2; TensorFlow's tutorial


def style_error(
    kind: Normalization, given: Tensor, reference: Tensor, channels: int, positions: int, *, region: bool = False
) -> Tensor:
    """Style loss of one layer: statistics averaged over positions, (B, ...), (B or 1, ...) -> (B,).

    Args:
        kind: whose formula.
        given: statistic of the images.
        reference: statistic of the style picture.
        channels: N, channels of the layer.
        positions: M, positions of the layer that `given` was averaged over.
        region: the statistics are of one region of several, not of the whole pictures.
    """
    if kind == "balanced":
        return relative_error(given, reference)
    squares = squared_error(given, reference)
    if kind == "kmit":
        # The document's formula has unnormalised Gram matrices; its prose averages them over positions. So both are
        # averaged first, or pictures of other sizes would not compare, and given the image's M again.
        return squares * positions
    if kind in ("johnson", "tutorial") or (kind == "cs229" and region):
        # Johnson et al. (2016), eq. 3 and 4; a mean over N^2 entries; eq. 6 of cs229, whose "number of neurons" is
        # channels times positions. Three ways to the same number.
        return squares / channels**2
    # Gatys et al. (2016), eq. 4. cs229 leaves 1/(4 N^2 M^2) out of its eq. 4, but with the raw sum its weights would
    # be some 15 orders of magnitude apart, where section 5.1 says that all terms are of one order.
    return squares / (4 * channels**2)


def smoothness_error(kind: Normalization, tv_kind: Literal["l1", "squared"], image: Tensor) -> Tensor:
    """Total variation of images, (B, 3, H, W) in [0, 1] -> (B,)."""
    if kind == "balanced":
        return total_variation(image, tv_kind) / max(1, differences(image))
    return total_variation(image if kind in ("kmit", "tutorial") else image * 255, tv_kind)
