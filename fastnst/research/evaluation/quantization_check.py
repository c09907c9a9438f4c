"""Whether a quantized network paints as well as the one it was made from: a gate before it is written.

Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from statistics import fmean

from fastnst.backends.choosing import psnr_db
from fastnst.io.images import Frame
from fastnst.metrics.perceptual import PerceptualDistances, PerceptualMetrics

LARGEST_LOSS = 0.03
"""Content, style or centred may be larger than before by that share, mean over photos."""

LEAST_PSNR = 30.0
"""Peak signal to noise ratio, dB, between what both paint, mean over photos."""


@dataclass(frozen=True)
class QuantizationCheck:
    """Two networks over the same photos."""

    before: PerceptualDistances
    after: PerceptualDistances
    psnr: float
    """Mean over photos, dB."""

    @property
    def worst(self) -> float:
        """Share by which the figure that lost most is larger than before; negative where all are smaller."""
        pairs = zip(astuple(self.before), astuple(self.after), strict=True)
        return max(float(after / max(before, 1e-9)) - 1 for before, after in pairs)

    @property
    def passed(self) -> bool:
        """Whether the second may stand for the first."""
        return self.worst <= LARGEST_LOSS and self.psnr >= LEAST_PSNR

    def __str__(self) -> str:
        """Both in figures."""
        names = ("content", "style", "centred")
        figures = zip(names, astuple(self.before), astuple(self.after), strict=True)
        shown = ", ".join(f"{name} {before:.3f} -> {after:.3f}" for name, before, after in figures)
        return f"{shown}; PSNR {self.psnr:.1f} dB"


def compare_painters(
    before: Callable[[Frame], Frame],
    after: Callable[[Frame], Frame],
    photos: Sequence[Frame],
    painting: Frame,
    metrics: PerceptualMetrics,
) -> QuantizationCheck:
    """Let two networks paint the same photos and measure both."""
    style = metrics.measure_style(painting)
    figures: tuple[list[PerceptualDistances], list[PerceptualDistances]] = ([], [])
    ratios = []
    for photo in photos:
        measured = metrics.measure(photo)
        painted = before(photo), after(photo)
        for rows, frame in zip(figures, painted, strict=True):
            rows.append(metrics.compare(metrics.measure(frame), measured, style))
        ratios.append(psnr_db(*painted))
    return QuantizationCheck(_mean(figures[0]), _mean(figures[1]), fmean(ratios))


def _mean(rows: Sequence[PerceptualDistances]) -> PerceptualDistances:
    return PerceptualDistances(*(fmean(values) for values in zip(*map(astuple, rows), strict=True)))
