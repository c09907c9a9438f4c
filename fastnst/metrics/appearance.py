"""What the eye sees at first: contrast, colorfulness, tones, sizes of strokes, relief, and regular patterns.

A picture may be close to the painting by a loss network's features and still be pale, soft, or woven over with a
pattern. These figures are taken on the pixels as saved. docs/research/metrics.md says what other networks read.

Shapes: H height and W width in pixels. Frames are uint8 (H, W, 3) RGB; planes are float32 (3, H, W): Y in 0..255, and
Cb and Cr around 0, of ITU-R BT.601.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fastnst.io.images import Frame

Planes = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

OCTAVES = (2, 4, 8, 16, 32, 64)
"""Sizes of what the bands of the pyramid show, pixels, finest first."""

PERIODS = (2.5, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
"""Edges of the rings in which patterns are looked for: periods of a repeating motif, pixels."""

DIRECTIONS = 18
"""Sectors of 10 degrees each."""

RELIEF_OCTAVES = 3
"""Bands in which relief is looked for: detail of about 2, 4 and 8 pixels."""

TONE_BLUR = 4.0
"""Standard deviation of the Gaussian that takes strokes away before tones are counted, pixels."""

TONE_BINS = 32
"""Equal steps of luma from 0 to 256."""

_WINDOW, _STEP = 64, 32
# The 5-tap binomial filter of Burt and Adelson (1983).
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16
# A plain picture has no spread; what is compared with it stays finite.
_LEAST = 1e-3


@dataclass(frozen=True)
class Appearance:
    """What one picture looks like."""

    luma: float
    """Standard deviation of Y."""

    chroma: float
    """Mean of the standard deviations of Cb and Cr."""

    octaves: Values
    """Standard deviations of the bands of Y, (6,), finest first."""

    tones: float
    """Effective number of gray levels, of 32, once strokes are blurred away."""

    plane: Planes
    """Y itself, (H, W), for what is compared pixel by pixel."""

    shares: Values
    """Of Y, Cb, Cr: each direction's share of the power of its ring of periods, (3, 6, 18); 1 where none prevails."""


@dataclass(frozen=True)
class AppearanceFigures:
    """A stylized picture beside the painting; 1 as in the painting."""

    contrast: float
    chroma: float
    octaves: tuple[float, ...]
    tones: float
    """Gray levels that are left; of the painting's, or of the photo's where that has fewer."""

    relief: float
    """Share of the fine detail's power that is the photo embossed, lit from one side, 0 to 1."""

    pattern: float
    """How much one direction and period prevails beyond what the painting, the photo, or no preference at all has."""


def measure_appearance(frame: Frame) -> Appearance:
    """Measure a photo, a stylized picture, or a painting that was scaled to the size of its strokes."""
    planes = to_luma_chroma(frame)
    return Appearance(
        float(planes[0].std()),
        float(planes[1:].std((1, 2)).mean()),
        octave_spreads(planes[0]),
        count_tones(planes[0]),
        planes[0],
        direction_shares(planes),
    )


def compare_appearance(stylized: Appearance, photo: Appearance, painting: Appearance) -> AppearanceFigures:
    """Compare a stylized picture with the painting; the photo excuses patterns that are its own, and few
    tones. Photo and stylized picture are of one size."""
    own = np.maximum(np.maximum(painting.shares, photo.shares), 1)
    octaves = np.maximum(stylized.octaves, _LEAST) / np.maximum(painting.octaves, _LEAST)
    return AppearanceFigures(
        max(stylized.luma, _LEAST) / max(painting.luma, _LEAST),
        max(stylized.chroma, _LEAST) / max(painting.chroma, _LEAST),
        tuple(map(float, octaves)),
        stylized.tones / min(painting.tones, photo.tones),
        measure_relief(stylized.plane, photo.plane),
        float((stylized.shares / own).max()),
    )


def to_luma_chroma(frame: Frame) -> Planes:
    """Y, Cb and Cr of ITU-R BT.601 in full range: uint8 (H, W, 3) -> float32 (3, H, W), Cb and Cr around 0."""
    levels = frame.astype(np.float32)
    luma = levels @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([luma, (levels[..., 2] - luma) * 0.564, (levels[..., 0] - luma) * 0.713])


def octave_spreads(luma: Planes) -> Values:
    """Standard deviations of six differences of a Gaussian pyramid (Burt and Adelson 1983), (H, W) -> (6,).

    Differs from their Laplacian pyramid: a level is taken from its own blurred copy before that is halved, not from
    what the halved one can be interpolated to.
    """
    spreads = []
    for _ in OCTAVES:
        blurred = cv2.sepFilter2D(luma, -1, _BINOMIAL, _BINOMIAL, borderType=cv2.BORDER_REFLECT_101)
        spreads.append(float((luma - blurred).std()))
        luma = np.asarray(blurred[::2, ::2], np.float32)
    return np.array(spreads)


def count_tones(luma: Planes) -> float:
    """Effective number of gray levels, (H, W) -> 1 to 32: e to the entropy of the histogram of the blurred luma.

    A picture of two tones in broad masses has the contrast of one with all shades between, but not their number.
    """
    blurred = cv2.GaussianBlur(luma, (0, 0), TONE_BLUR, borderType=cv2.BORDER_REFLECT_101)
    shares = np.histogram(blurred, TONE_BINS, (0, 256))[0] / luma.size
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def measure_relief(stylized: Planes, photo: Planes) -> float:
    """Share of the power of detail that derivatives of the photo explain: (H, W) twice -> 0 to 1.

    Squared correlations of each band of the stylized luma with the derivatives of the photo to the right and downwards,
    summed, averaged over the bands. Strokes that follow the photo look the same on both sides of an edge and have none.
    Raises ValueError where the sizes differ.
    """
    if stylized.shape != photo.shape:
        raise ValueError(f"a stylized picture of {stylized.shape} beside a photo of {photo.shape}; expected one size")
    relief = 0.0
    for _ in range(RELIEF_OCTAVES):
        blurred, smooth = (
            cv2.sepFilter2D(plane, -1, _BINOMIAL, _BINOMIAL, borderType=cv2.BORDER_REFLECT_101)
            for plane in (stylized, photo)
        )
        band = (stylized - blurred)[1:-1, 1:-1]
        right = smooth[1:-1, 2:] - smooth[1:-1, :-2]
        down = smooth[2:, 1:-1] - smooth[:-2, 1:-1]
        relief += _squared_correlation(band, right) + _squared_correlation(band, down)
        stylized, photo = (np.asarray(plane[::2, ::2], np.float32) for plane in (blurred, smooth))
    return relief / RELIEF_OCTAVES


def _squared_correlation(one: Planes, other: Planes) -> float:
    product = float(np.mean(one * other, dtype=np.float64)) ** 2
    power = float(np.mean(one**2, dtype=np.float64) * np.mean(other**2, dtype=np.float64))
    return product / max(power, _LEAST)


def direction_shares(planes: Planes) -> Values:
    """Power in each direction of each ring of periods, over the ring's mean: (3, H, W) -> (3, 6, 18).

    Power spectra of windows of 64 px under Hann's window, every 32 px, each less its mean, are averaged (Welch 1967).
    """
    short = [max(_WINDOW - side, 0) for side in planes.shape[1:]]
    if any(short):
        planes = np.pad(planes, ((0, 0), (0, short[0]), (0, short[1])), mode="reflect")
    power = _power(planes).reshape(len(planes), -1)
    sums = np.stack([np.bincount(_BINS, weights=plane, minlength=_COUNTS.size + 1)[:-1] for plane in power])
    sums = sums.reshape(len(planes), *_COUNTS.shape)
    ring = sums.sum(-1, keepdims=True) / _COUNTS.sum(-1, keepdims=True)
    shares: Values = sums / np.maximum(_COUNTS, 1) / np.maximum(ring, _LEAST_POWER)
    return shares


def _power(planes: Planes) -> Values:
    """Mean power spectrum of all windows, (3, 64, 33)."""
    windows = np.lib.stride_tricks.sliding_window_view(planes, (_WINDOW, _WINDOW), axis=(1, 2))[:, ::_STEP, ::_STEP]
    total: Values = np.zeros((len(planes), *_BINS_SHAPE))
    for row in range(windows.shape[1]):  # one row of windows at a time: all of them would be nine times the picture
        parts = windows[:, row]
        parts = (parts - parts.mean((-2, -1), keepdims=True)) * _HANN
        total += (np.abs(np.fft.rfft2(parts)) ** 2).sum(1)
    total /= windows.shape[1] * windows.shape[2]
    return total


def _bins() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each frequency of a window, (64 * 33,), the number of its ring and direction; one beyond all for the rest."""
    down, across = np.meshgrid(np.fft.fftfreq(_WINDOW), np.fft.rfftfreq(_WINDOW), indexing="ij")
    period = 1 / np.maximum(np.hypot(down, across), 1e-9)
    ring = np.digitize(period, PERIODS) - 1
    angle = np.mod(np.arctan2(down, across), np.pi)
    direction = np.minimum((angle / np.pi * DIRECTIONS).astype(int), DIRECTIONS - 1)
    rings = len(PERIODS) - 1
    bins = np.where((ring >= 0) & (ring < rings), ring * DIRECTIONS + direction, rings * DIRECTIONS).ravel()
    counts = np.bincount(bins, minlength=rings * DIRECTIONS + 1)[:-1].reshape(rings, DIRECTIONS)
    return bins, counts


_HANN = np.outer(np.hanning(_WINDOW + 1)[:-1], np.hanning(_WINDOW + 1)[:-1]).astype(np.float32)
# What noise of a tenth of a level has: rounding alone makes more, so only planes without any detail fall below.
_LEAST_POWER = 0.1**2 * float((_HANN**2).sum())
_BINS_SHAPE = (_WINDOW, _WINDOW // 2 + 1)
_BINS, _COUNTS = _bins()
