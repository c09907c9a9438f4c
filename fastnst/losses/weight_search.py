"""Finding the style weight at which so much of the content is given up, by a few trial paintings."""

import math
from collections.abc import Callable

ROUNDS = 4

TOLERANCE = 0.05
"""Part by which the content lost may be missed in the trial."""

# Content lost grows about with this power of the style weight, as measured over 20 pairs; only a first guess.
_POWER = 0.4
_LONGEST_JUMP = 30.0


def search(lost: Callable[[float], float], wanted: float, weight: float) -> float:
    """Find the style weight at which the content lost is `wanted`, on logarithmic scales: a few tries, then the best.

    `lost` paints with a style weight and gives the content lost; `weight` is tried first. The first step goes by the
    usual power, later ones by the line through the two nearest tries.
    """
    tries: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        found = max(lost(weight), 1e-9)
        tries.append((math.log(weight), math.log(found / wanted)))
        if abs(found / wanted - 1) < TOLERANCE:
            break
        weight = math.exp(_next(tries))
    return math.exp(min(tries, key=lambda one: abs(one[1]))[0])


def _next(tries: list[tuple[float, float]]) -> float:
    (place, error), *others = sorted(tries, key=lambda one: abs(one[1]))
    power = _POWER
    if others and others[0][0] != place:
        power = (others[0][1] - error) / (others[0][0] - place)
    # Content lost does not fall as the style weighs more; where it seems to, that is noise.
    step = -error / max(power, _POWER / 4)
    return place + max(-math.log(_LONGEST_JUMP), min(math.log(_LONGEST_JUMP), step))
