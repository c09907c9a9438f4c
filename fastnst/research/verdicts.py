"""What the figures bear out: that a network is worth its time, passes the acceptance gate, or beats another.

What a style must reach before it is shipped stands here and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from fastnst.metrics.appearance import OCTAVES
from fastnst.metrics.perceptual import STYLE_SIZE
from fastnst.report.blocks import Verdict, paired_interval
from fastnst.research.evaluate import MATCHED, PLAIN, Evaluated, Evaluation


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
    """Lines along the edges; photos, and stylized pictures whose edges were cut off, read 0.5 to 1.3."""

    grid: float = 0.02
    """Grid energy; photographs and paintings read below 0.01, visible checkerboards above 0.05."""

    blobs: float = 0.005
    """Half a per cent of dead or saturated picture."""

    contrast: tuple[float, float] = (0.85, 1.15)
    """Paler than the painting, or harsher."""

    chroma: tuple[float, float] = (0.85, 1.2)
    """Grayer than the painting, or gaudier."""

    octaves: tuple[float, float] = (0.8, 1.25)
    """Each band from 2 to 32 px: strokes of that size are missing, or are noise. 64 px is the photo's composition."""

    tones: float = 0.7
    """Fewer, and the picture falls into two or three masses."""

    relief: float = 0.002
    """More, and the picture looks embossed; networks that people like read 0.0006 or less."""

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
    """Compare the figures of the appearance alone with the thresholds, as at sizes other than 512.

    Returns one sentence for each threshold that is missed.
    """
    ranges = {"contrast": thresholds.contrast, "chroma": thresholds.chroma}
    ranges |= {f"octave_{size}": thresholds.octaves for size in OCTAVES[:-1]}
    missed = [
        f"{measure} {means[measure]:.4g}, {low:g} to {high:g}"
        for measure, (low, high) in ranges.items()
        if not low <= means[measure] <= high
    ]
    if not means["tones"] >= thresholds.tones:
        missed.append(f"tones {means['tones']:.4g}, at least {thresholds.tones:g}")
    return missed + _too_high(means, {"relief": thresholds.relief, "pattern": thresholds.pattern})


def _too_high(means: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    # `not <=` and not `>`, so that an undefined figure does not pass.
    return [
        f"{measure} {means[measure]:.4g}, at most {limit:.4g}"
        for measure, limit in limits.items()
        if not means[measure] <= limit
    ]


MUST_BE_LOWER = ("style", "centred", "alexnet_style", "alexnet_centred")
"""Figures on which a network that beats another is lower beyond doubt: the interval of the differences is below 0."""

MUST_NOT_BE_WORSE = ("content", "alexnet_content")
"""Figures whose mean must be no higher: less of the photo for more of the painting is a trade, no win."""


def baseline_verdicts(result: Evaluation) -> list[Verdict]:
    """Whether each network beats the plain photo and the recolored one on style and on the centred figure."""
    return [_beats_baselines(network, [result.row(PLAIN), result.row(MATCHED)]) for network in result.networks]


def gate_verdicts(result: Evaluation) -> list[Verdict]:
    """Whether each network passes the acceptance gate, of which at sizes other than 512 the appearance alone counts."""
    verdicts = []
    for network in result.networks:
        means = network.means()
        whole = result.size == STYLE_SIZE
        missed = check_gate(means, result.row(MATCHED).means()) if whole else check_appearance(means)
        verdicts.append(Verdict(not missed, f"{network.name} passes the acceptance gate", "; ".join(missed)))
    return verdicts


def pair_verdicts(result: Evaluation) -> list[Verdict]:
    """For each pair of networks, whether the one with the lower centred figure beats the other."""
    return [
        _beats(*sorted(pair, key=lambda network: network.interval("centred").mean))
        for pair in combinations(result.networks, 2)
    ]


def _beats_baselines(network: Evaluated, baselines: Sequence[Evaluated]) -> Verdict:
    checks = [
        (f"{measure} {_means(network, row, measure)} of the {row.name}", _is_lower(network, row, measure))
        for row in baselines
        for measure in ("style", "centred")
    ]
    claim = f"{network.name} beats the {PLAIN} and the {MATCHED} on style and centred"
    return _verdict(claim, checks)


def _beats(network: Evaluated, other: Evaluated) -> Verdict:
    claim = f"{network.name} beats {other.name}"
    checks = [
        (_difference(network, other, measure), _is_lower(network, other, measure))
        for measure in MUST_BE_LOWER
        if measure in network.values
    ]
    checks += [
        (
            _difference(network, other, measure),
            paired_interval(network.values[measure], other.values[measure]).mean <= 0,
        )
        for measure in MUST_NOT_BE_WORSE
        if measure in network.values
    ]
    verdict = _verdict(claim, checks)
    if verdict.holds and "alexnet_style" not in network.values:
        return Verdict(None, claim, f"{verdict.reason}; but AlexNet's weights are not at hand")
    return verdict


def _verdict(claim: str, checks: Sequence[tuple[str, bool]]) -> Verdict:
    """All checks must hold; the reason names those that do not, or all where they do."""
    missed = [words for words, holds in checks if not holds]
    if missed:
        return Verdict(False, claim, "not on " + "; ".join(missed))
    return Verdict(True, claim, "; ".join(words for words, _ in checks))


def _is_lower(network: Evaluated, other: Evaluated, measure: str) -> bool:
    return paired_interval(network.values[measure], other.values[measure]).high < 0


def _means(network: Evaluated, other: Evaluated, measure: str) -> str:
    own, reference = network.interval(measure).mean, other.interval(measure).mean
    return f"{own:.3f} against {reference:.3f}"


def _difference(network: Evaluated, other: Evaluated, measure: str) -> str:
    difference = paired_interval(network.values[measure], other.values[measure])
    margin = f" ± {difference.margin:.3f}" if difference.count > 1 else ""
    words = measure.replace("alexnet_", "AlexNet ")
    return f"{words} {_means(network, other, measure)} ({difference.mean:+.3f}{margin})"
