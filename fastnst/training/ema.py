"""A running average of a network's weights: steadier than the newest ones, so it is what is shown and exported."""

import copy

import torch

from fastnst.models.network import StyleNetwork


def start_average(network: StyleNetwork) -> StyleNetwork:
    """A copy of the network to hold the average."""
    return copy.deepcopy(network).requires_grad_(False)


def update_average(average: StyleNetwork, network: StyleNetwork, decay: float, step: int) -> None:
    """Move the average towards the network after update `step`, counted from 1.

    Early on the decay is (1 + step) / (10 + step) where that is less, as TensorFlow's ExponentialMovingAverage has it,
    so that the first weights are soon forgotten.
    """
    part = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), part)
        for own, new in zip(average.buffers(), network.buffers(), strict=True):
            own.copy_(new)
