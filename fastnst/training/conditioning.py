"""The conditioning of each picture of a batch in training: which style to paint it in, and how strongly.

Shapes: B batch, S styles.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastnst.models.network import STRENGTHS, Conditions

FULL_SHARE = 0.4
"""Share of pictures that are stylized with strength 1: it is what networks are used with most."""

# Keeps these random numbers apart from others drawn from the same seed.
_STREAM = 2


@dataclass(frozen=True)
class BatchConditions:
    """Conditions of each picture of a batch."""

    styles: Tensor
    """Number of its style, int64 (B,)."""

    strength: Tensor
    """(B,)."""

    conditions: Conditions

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the network takes beside the pictures: nothing, style weights (B, S), or these and strength (B, 1)."""
        if self.conditions.plain:
            return ()
        weights = torch.nn.functional.one_hot(self.styles, self.conditions.styles).float()
        return (weights, self.strength[:, None]) if self.conditions.strength else (weights,)

    @property
    def style_factors(self) -> Tensor | None:
        """What the style weight is multiplied by, (B,): s^2. None where all are painted at full strength."""
        return self.strength.square() if self.conditions.strength else None

    def __getitem__(self, part: list[int]) -> "BatchConditions":
        return BatchConditions(self.styles[part], self.strength[part], self.conditions)


def draw_conditions(conditions: Conditions, seed: int, samples: range, device: torch.device) -> BatchConditions:
    """Conditions of samples of the content sequence; they follow from the seed and the samples' numbers alone.

    Styles take turns, so that each gets the same number of pictures. Strength is 1, or uniform between the least and
    the greatest. Strength 0 itself is never drawn: there a network gives the photo back, whatever its weights are.
    """
    styles = torch.tensor([n % conditions.styles for n in samples], device=device)
    strengths = [draw_strength(seed, n) if conditions.strength else 1.0 for n in samples]
    return BatchConditions(styles, torch.tensor(strengths, device=device), conditions)


def draw_step_conditions(
    conditions: Conditions, seed: int, step: int, count: int, device: torch.device
) -> BatchConditions:
    """Conditions of all `count` pictures of a step alike: styles take turns from step to step, strength as above."""
    strength = draw_strength(seed, step) if conditions.strength else 1.0
    return same_conditions(conditions, step % conditions.styles, strength, count, device)


def draw_strength(seed: int, n: int) -> float:
    """Strength of sample n."""
    chance, place = np.random.default_rng((_STREAM, seed, n)).random(2)
    return 1.0 if chance < FULL_SHARE else float(STRENGTHS[-1] * (1 - place))


def same_conditions(
    conditions: Conditions, style: int, strength: float, count: int, device: torch.device
) -> BatchConditions:
    """The same style and strength for `count` pictures."""
    return BatchConditions(
        torch.full((count,), style, device=device), torch.full((count,), strength, device=device), conditions
    )
