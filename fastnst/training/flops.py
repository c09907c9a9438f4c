"""How much arithmetic a training takes, in multiply-adds of the network and the loss network, forwards and backwards.

Counted by torch's own counter on one small picture; every part of it grows with the pixels.
"""

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastnst.models.network import StyleNetwork
from fastnst.training.objective import Objective
from fastnst.training.settings import SMALLEST_CROP


def multiply_adds_per_pixel(network: StyleNetwork, objective: Objective) -> float:
    """Multiply-adds of convolutions and matrix products in one update, for each pixel of a content picture."""
    trial = copy.deepcopy(network)
    device = next(trial.parameters()).device
    picture = torch.linspace(0, 1, 3 * SMALLEST_CROP**2, device=device).reshape(1, 3, SMALLEST_CROP, SMALLEST_CROP)
    with FlopCounterMode(display=False) as counter:
        objective(trial, picture, range(1))[0].total.backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / 2 / SMALLEST_CROP**2
