"""How strong colors and detail of each size, direction and period are: bands of a pyramid, spectra, the terms by them.

A Gram matrix or a covariance is matched best by a picture that is too pale: where a network cannot find the painting's
structure, the least squared error is that of less structure; and the energy of fine detail is met in the cheapest way,
by one grating over the whole picture. What stands here compares how strong detail is apart from how it is arranged, and
penalises gratings.

Shapes: B batch, H and W height and width. Every loss returns one value per image, (B,).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from fastnst.errors import SettingError
from fastnst.losses.terms import JudgedImages, LossTerm, Positions, StyleReference, StyleTarget
from fastnst.losses.vgg import Features

PERIODS = (2.5, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
"""Edges of the rings of periods in which patterns are looked for, pixels."""

SECTORS = 18
"""Directions in which they are looked for, 10 degrees each."""

WINDOW = 64
"""Side of the windows whose spectra are taken, pixels; they overlap by half."""

RELIEF_LEVELS = 3
"""Bands in which relief is looked for: detail of about 2, 4 and 8 pixels."""

TOLERANCE = 1.5
"""How many times its allowed share of the energy a direction may have before it counts as a pattern."""

COLOR_SCALE = 4
"""Pixels, each way, that colors are averaged over before their spread is compared."""

LEAST_SPREAD = 0.03
"""Variance of a direction of color that still counts, as a part of that of the strongest one."""

_BINOMIAL = (1, 4, 6, 4, 1)  # Burt and Adelson (1983), "The Laplacian pyramid as a compact image code"
_LEAST_SHARE = 0.05  # of the painting's energy: keeps the logarithm of a flat picture's from minus infinity
_EPSILON = 1e-6


# Strength: how far values are spread, apart from how they are arranged.


def log_ratio_loss(given: Tensor, reference: Tensor) -> Tensor:
    """Squared logarithm of a ratio of energies or deviations, (...); 0 equal. Twice and half as much cost the same."""
    ratio = given / (reference + _EPSILON)
    return ((ratio + _LEAST_SHARE) / (1 + _LEAST_SHARE)).log().square()


# Detail: its sizes, directions and periods.


def luma_chroma(image: Tensor) -> Tensor:
    """Y, Cb and Cr of ITU-R BT.601: (B, 3, H, W) in [0, 1] -> (B, 3, H, W); Cb and Cr around 0."""
    rows = [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]]
    return torch.einsum("kc,bchw->bkhw", image.new_tensor(rows), image)


def finest_detail(image: Tensor) -> Tensor:
    """Standard deviation of luminance less its own blurred copy, detail of about 2 pixels: (B, 3, H, W) -> (B,).

    It is the first band of the pyramid that Heeger and Bergen (1995, "Pyramid-based texture analysis/synthesis") match.
    """
    luma = luma_chroma(image)[:, :1]
    if min(luma.shape[2:]) <= len(_BINOMIAL) // 2:  # too small a picture to be blurred
        return luma.flatten(1).std(-1, correction=0)
    return (luma - _blurred(luma)).flatten(1).std(-1)


def _blurred(image: Tensor) -> Tensor:
    channels = image.shape[1]
    row = image.new_tensor(_BINOMIAL) / sum(_BINOMIAL)
    kernel = torch.outer(row, row).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def oriented_energies(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean power of Y, Cb and Cr in each ring of periods and sector of directions, and in each ring.

    (B, 3, H, W) in [0, 1] -> (B, 3, rings, sectors), (B, 3, rings, 1): means over windows under Hann's window (Welch
    1967). Pictures smaller than a window are mirrored to its size.
    """
    short = [max(0, WINDOW - side) for side in image.shape[2:]]
    if any(short):
        image = F.pad(image, (0, short[1], 0, short[0]), mode="replicate")
    windows = luma_chroma(image).unfold(2, WINDOW, WINDOW // 2).unfold(3, WINDOW, WINDOW // 2)
    hann = torch.hann_window(WINDOW, device=image.device)
    windows = (windows - windows.mean((-1, -2), keepdim=True)) * torch.outer(hann, hann)
    spectrum = torch.fft.rfft2(windows)
    power = (spectrum.real.square() + spectrum.imag.square()).mean((2, 3)).flatten(2)
    bins, counts = (part.to(image.device) for part in _bins())
    rings = len(PERIODS) - 1
    sums = power.new_zeros(*power.shape[:2], rings * SECTORS + 1).index_add(2, bins, power)[..., :-1]
    sums = sums.view(*power.shape[:2], rings, SECTORS)
    return sums / counts.clamp(min=1), sums.sum(-1, keepdim=True) / counts.sum(-1, keepdim=True)


@cache
def _bins() -> tuple[Tensor, Tensor]:
    """For each frequency of a window its ring and sector as one number; one beyond all for the rest. Their counts."""
    down, across = torch.meshgrid(torch.fft.fftfreq(WINDOW), torch.fft.rfftfreq(WINDOW), indexing="ij")
    period = 1 / torch.hypot(down, across).clamp(min=1e-9)
    rings = len(PERIODS) - 1
    ring = torch.bucketize(period, torch.tensor(PERIODS), right=True) - 1
    angle = torch.remainder(torch.atan2(down, across), math.pi)
    sector = (angle / math.pi * SECTORS).long().clamp(max=SECTORS - 1)
    inside = (ring >= 0) & (ring < rings)
    bins = torch.where(inside, ring * SECTORS + sector, rings * SECTORS).flatten()
    counts = torch.bincount(bins, minlength=rings * SECTORS + 1)[:-1].view(rings, SECTORS)
    return bins, counts


def oriented_shares(image: Tensor) -> Tensor:
    """Each sector's share of the power of its ring, 1 where none prevails: (B, 3, H, W) -> (B, 3, rings, sectors)."""
    energies, rings = oriented_energies(image)
    return energies / (rings + _EPSILON)


def pattern_loss(image: Tensor, allowed: Tensor, painting: Tensor) -> Tensor:
    """Energy in one direction and period beyond its allowed share of its ring, over the painting's energy there.

    Feed-forward networks meet the energy of fine detail in the cheapest way, by one grating over the whole picture; Liu
    et al. (2016, "Texture synthesis through convolutional neural networks and spectrum constraints") constrain the
    whole spectrum instead.

    Image (B, 3, H, W) in [0, 1]; shares that are no pattern, (B, 3, rings, sectors): those of the photo, of the
    painting, or 1; the painting's energy in each ring, (B or 1, 3, rings, 1).
    """
    energies, rings = oriented_energies(image)
    beyond = (energies - TOLERANCE * allowed * rings).relu() / (painting + _EPSILON)
    return beyond.sum((-1, -2)).mean(1) / SECTORS


# Relief: the derivative of the photo, painted over it.


def relief_loss(image: Tensor, photo: Tensor, *, together: bool = False) -> Tensor:
    """Share of the detail's power that a derivative of the photo explains: (B, 3, H, W) in [0, 1], twice -> (B,).

    Networks that cannot find the strokes of a painting emboss the photo instead: every edge gets a light and a dark
    side, as if lit from one corner. Where strokes follow the photo, detail looks the same on both sides of an edge and
    has no correlation with the signed derivative. Squared correlation with the derivatives to the right and downwards,
    summed, averaged over three bands of luminance; (1,) over all images where they are judged `together`.
    """
    own, given = luma_chroma(image)[:, :1], luma_chroma(photo)[:, :1]
    losses = []
    for _ in range(RELIEF_LEVELS):
        if min(own.shape[2:]) <= len(_BINOMIAL) // 2:
            break  # too small a picture to be halved further
        blurred, smooth = _blurred(own), _blurred(given)
        band = (own - blurred)[..., 1:-1, 1:-1]
        right = smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]
        down = smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]
        losses.append(_squared_correlation(band, right, together) + _squared_correlation(band, down, together))
        own, given = blurred[..., ::2, ::2], smooth[..., ::2, ::2]
    return torch.stack(losses).mean(0) if losses else image.new_zeros(1 if together else len(image))


def _squared_correlation(one: Tensor, other: Tensor, together: bool) -> Tensor:
    start = 0 if together else 1
    one, other = one.flatten(start), other.flatten(start)
    product = (one * other).mean(-1).square()
    return (product / (one.square().mean(-1) * other.square().mean(-1) + _EPSILON**2)).reshape(-1)


# Colors: how far they spread, in every direction.


def color_moments(image: Tensor, *, together: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and covariance of RGB over squares of `COLOR_SCALE` pixels: (B, 3, H, W) -> (B, 3), (B, 3, 3).

    Over all images where they are judged `together`: (1, 3), (1, 3, 3). Single pixels would let a grating of fine color
    stand for the colors of strokes.
    """
    colors = F.avg_pool2d(image, min(COLOR_SCALE, *image.shape[2:])).flatten(2)
    colors = colors.transpose(0, 1).flatten(1)[None] if together else colors
    mean = colors.mean(-1)
    centred = colors - mean[..., None]
    return mean, centred @ centred.mT / colors.shape[-1]


def whitening(covariance: Tensor) -> Tensor:
    """What brings colors of a covariance, (B, 3, 3), to one deviation in every direction: (B, 3, 3).

    Directions with less than `LEAST_SPREAD` of the largest variance count as if they had so much.
    """
    variances, directions = torch.linalg.eigh(covariance)
    least = LEAST_SPREAD * variances.amax(-1, keepdim=True) + _EPSILON
    whitened: Tensor = directions.mT / (variances.clamp(min=0) + least).sqrt()[..., None]
    return whitened


def color_loss(moments: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], whitened: Tensor) -> Tensor:
    """Squared differences of mean and covariance in the painting's whitened colors, a mean over directions: (B,).

    A loss network hardly sees color: most energy of its first layers is that of light and dark edges, so that networks
    trained by it alone are grey. Here each direction of color counts as much as that from black to white.

    Mean and covariance, (B, 3) and (B, 3, 3); those wanted, the painting's, (B or 1, 3) and (B or 1, 3, 3); `whitening`
    of the painting's covariance, (B or 1, 3, 3).
    """
    shifted = (whitened @ (moments[0] - wanted[0])[..., None]).square().mean((-1, -2))
    spread = whitened @ (moments[1] - wanted[1]) @ whitened.mT
    return shifted + spread.square().sum((-1, -2)) / 3


# The terms.


@dataclass(frozen=True)
class ColorLoss(LossTerm):
    """How far the colors spread in every direction, beside the style image's: see `color_loss`."""

    name = "color"
    follows_strength = True

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """Mean, (1, 3), covariance and its whitening, (1, 3, 3) each."""
        _whole(positions)
        mean, covariance = color_moments(style.image)
        return {self.name: (mean, covariance, whitening(covariance))}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,), or (1,) where images are judged together."""
        moments, losses = color_moments(judged.image, together=judged.together), []
        for target in styles:
            mean, covariance, whitened = target.reference[self.name]
            losses.append(target.weight * color_loss(moments, (mean, covariance), whitened))
        return torch.stack(losses).sum(0)


@dataclass(frozen=True)
class DetailLoss(LossTerm):
    """How strong the finest detail is beside the style image's: without it networks are soft."""

    name = "detail"
    follows_strength = True

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """Its deviation, (1,)."""
        _whole(positions)
        return {self.name: (finest_detail(style.image),)}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:  # noqa: ARG002
        """(B,), or (1,) where images are judged together."""
        own = finest_detail(judged.image)
        if judged.together:  # what the images have on average: one may be flatter than another, not all of them
            own = own.square().mean(0, keepdim=True).sqrt()
        losses = [target.weight * log_ratio_loss(own, target.reference[self.name][0]) for target in styles]
        return torch.stack(losses).sum(0)


@dataclass(frozen=True)
class PatternLoss(LossTerm):
    """Energy in one direction and period beyond what the photo or the style image has there: gratings, weaves."""

    name = "pattern"

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:
        """Shares of directions, (1, 3, rings, sectors), and energies of rings, (1, 3, rings, 1)."""
        _whole(positions)
        return {self.name: (oriented_shares(style.image), oriented_energies(style.image)[1])}

    def measure_content(self, content: JudgedImages) -> Features:
        """The photo's own shares, (B, 3, rings, sectors)."""
        return {self.name: oriented_shares(content.image)}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:
        """(B,)."""
        losses = []
        for target in styles:
            shares, rings = target.reference[self.name]
            allowed = torch.maximum(content[self.name], shares).clamp(min=1)
            losses.append(target.weight * pattern_loss(judged.image, allowed, rings))
        return torch.stack(losses).sum(0)


@dataclass(frozen=True)
class ReliefLoss(LossTerm):
    """How much the image looks like the photo embossed: see `relief_loss`."""

    name = "relief"

    def measure_style(self, style: JudgedImages, positions: Positions | None = None) -> StyleReference:  # noqa: ARG002
        """Nothing of the style image."""
        _whole(positions)
        return {}

    def measure_content(self, content: JudgedImages) -> Features:
        """The photo itself, (B, 3, H, W)."""
        return {self.name: content.image}

    def __call__(self, judged: JudgedImages, content: Features, styles: Sequence[StyleTarget]) -> Tensor:
        """(B,), or (1,) where images are judged together."""
        loss = relief_loss(judged.image, content[self.name], together=judged.together)
        return loss * sum(target.weight for target in styles)


def _whole(positions: Positions | None) -> None:
    if positions is not None:
        raise SettingError(
            "--color-weight, --detail-weight, --pattern-weight and --relief-weight compare whole pictures, not "
            "regions; leave them or the masks out"
        )
