"""What the figures bear out: that a network is worth its time, passes the gate, or beats another."""

from collections.abc import Sequence
from itertools import combinations

from fastnst.metrics.perceptual import STYLE_SIZE
from fastnst.report.blocks import Verdict, paired_interval
from fastnst.research.evaluation.evaluate import Evaluated, Evaluation
from fastnst.research.evaluation.gate import check_appearance, check_gate
from fastnst.research.evaluation.rows import MATCHED, PLAIN

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
    return [_beats(*sorted(pair, key=_centred)) for pair in combinations(result.networks, 2)]


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
        (_difference(network, other, measure), not _is_worse(network, other, measure))
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


def _is_worse(network: Evaluated, other: Evaluated, measure: str) -> bool:
    return paired_interval(network.values[measure], other.values[measure]).mean > 0


def _means(network: Evaluated, other: Evaluated, measure: str) -> str:
    own, reference = network.interval(measure).mean, other.interval(measure).mean
    return f"{own:.3f} against {reference:.3f}"


def _difference(network: Evaluated, other: Evaluated, measure: str) -> str:
    difference = paired_interval(network.values[measure], other.values[measure])
    margin = f" ± {difference.margin:.3f}" if difference.count > 1 else ""
    return f"{_words(measure)} {_means(network, other, measure)} ({difference.mean:+.3f}{margin})"


def _centred(network: Evaluated) -> float:
    return network.interval("centred").mean


def _words(measure: str) -> str:
    return measure.replace("alexnet_", "AlexNet ")
