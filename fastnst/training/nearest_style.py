"""Which of the styles that a start knows a painting begins with: the one of its name, or the one that comes nearest."""

from collections.abc import Sequence
from math import fsum

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fastnst.models.checkpoint import ModelInfo
from fastnst.models.network import StyleNetwork
from fastnst.training.objective import Objective


def of_their_names(names: Sequence[str], start: ModelInfo) -> list[int] | None:
    """Numbers of the start's styles with these names; None where it lacks one, or knows but one."""
    if not set(names) <= set(start.styles):
        return None
    return [start.styles.index(name) for name in names]


def must_be_found(names: Sequence[str], start: ModelInfo) -> bool:
    """Whether the start knows several styles, and not all of these: then what comes nearest has to be found."""
    return len(start.styles) > 1 and of_their_names(names, start) is None


def nearest_style(trained: StyleNetwork, objective: Objective, style: int, photos: Tensor) -> int:
    """The number of the network's style with the least loss for one of the objective's, over photos, (B, 3, H, W)."""
    count = trained.conditions.styles
    strength = [torch.ones(1, device=photos.device)] if trained.conditions.strength else []
    totals = []
    for told in one_hot(torch.arange(count, device=photos.device)).float():

        def paint(image: Tensor, *_: Tensor, told: Tensor = told) -> Tensor:
            painted: Tensor = trained(image, told, *strength)
            return painted

        totals.append(fsum(objective.measure(paint, photo, style)[1]["total"] for photo in torch.split(photos, 1)))
    return min(range(count), key=totals.__getitem__)
