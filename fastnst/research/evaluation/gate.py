"""The acceptance gate: what a style must reach before it is shipped. The thresholds stand here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastnst.metrics.appearance import OCTAVES

_TRAINED_ON = "trained on "


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits of the means over photos; keys of the measures are those of `judge.MEASURES`.

    Those of the losses and of artifacts hold at long side 512, those of the appearance at every size.
    """

    style: float = 0.20
    """More, and the painting's colors and strokes are not there."""

    centred_share: float = 0.5
    """Centred figure as a share of the recolored photo's: half its distance must go into real texture."""

    border: float = 2.0
    """Lines along the edges; photos, and painted pictures whose edges were cut off, read 0.5 to 1.3."""

    grid: float = 0.02
    """Grid energy; photographs and paintings read below 0.01, visible checkerboards above 0.05."""

    blobs: float = 0.005
    """Half a per cent of dead or saturated picture."""

    contrast: tuple[float, float] = (0.85, 1.15)
    """Paler than the painting, or harsher."""

    chroma: tuple[float, float] = (0.85, 1.2)
    """Greyer than the painting, or gaudier."""

    octaves: tuple[float, float] = (0.8, 1.25)
    """Each band from 2 to 32 px: strokes of that size are missing, or are noise. 64 px is the photo's composition."""

    pattern: float = 3.0
    """Median over photos; more, and corduroy or a grid is seen at 1:1."""


THRESHOLDS = Thresholds()


def check_gate(
    means: Mapping[str, float], matched: Mapping[str, float], thresholds: Thresholds = THRESHOLDS
) -> list[str]:
    """Compare a style's means with the thresholds.

    Args:
        means: by measure, of the style's network.
        matched: the same of the photo with the painting's colors.
        thresholds: the limits.

    Returns:
        One sentence for each threshold that is missed, with both numbers; empty for a style that may be shipped.
    """
    limits = {name: getattr(thresholds, name) for name in ("style", "border", "grid", "blobs")}
    limits["centred"] = thresholds.centred_share * matched["centred"]
    return _too_high(means, limits) + check_appearance(means, thresholds)


def check_appearance(means: Mapping[str, float], thresholds: Thresholds = THRESHOLDS) -> list[str]:
    """Compare contrast, chroma, octaves and pattern alone with the thresholds, as at sizes other than 512.

    Returns one sentence for each threshold that is missed.
    """
    ranges = {"contrast": thresholds.contrast, "chroma": thresholds.chroma}
    ranges |= {f"octave_{size}": thresholds.octaves for size in OCTAVES[:-1]}
    missed = [
        f"{measure} {means[measure]:.4g}, {low:g} to {high:g}"
        for measure, (low, high) in ranges.items()
        if not low <= means[measure] <= high
    ]
    return missed + _too_high(means, {"pattern": thresholds.pattern})


def _too_high(means: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    # `not <=` and not `>`, so that an undefined figure does not pass.
    return [
        f"{measure} {means[measure]:.4g}, at most {limit:.4g}"
        for measure, limit in limits.items()
        if not means[measure] <= limit
    ]


def style_images(metadata: Mapping[str, str]) -> dict[str, str]:
    """File names of the pictures that a network was trained on, by style, from its metadata's provenance.

    A network of one style has it under the name of `style`; empty where the provenance is silent.
    """
    styles = metadata.get("styles", metadata.get("style", "")).split(",")
    provenance = metadata.get("provenance", "")
    names = provenance.removeprefix(_TRAINED_ON).split(", ") if provenance.startswith(_TRAINED_ON) else []
    return dict(zip(styles, names, strict=False))
