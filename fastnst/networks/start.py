"""Beginning a training with what another one learnt."""

import torch
from torch import Tensor

from fastnst.networks.conditioning import ConditionalInstanceNorm2d, ConditionalScale, mixed
from fastnst.networks.network import StyleNetwork


def take_over(network: StyleNetwork, trained: StyleNetwork) -> None:
    """Give a network the weights of a trained one of the same kind and size.

    The two may know other styles: each row of the new tables begins with the even mix, at full strength, of the old.
    """
    state = trained.state_dict()
    if network.conditions != trained.conditions:
        state = _in_one_style(trained)
    own = network.state_dict()
    with torch.no_grad():
        for name, value in own.items():
            if name in state:
                value.copy_(state[name].expand_as(value))


def _in_one_style(trained: StyleNetwork) -> dict[str, Tensor]:
    """Weights with one row for each table; what only strength needs is left out."""
    state = {name: value for name, value in trained.state_dict().items() if name != "kept"}
    shares = trained.conditions.shares(None, None, next(trained.parameters()).device)
    if shares is not None:
        for name, part in trained.named_modules():
            if isinstance(part, ConditionalInstanceNorm2d | ConditionalScale):
                tables = [f"{name}.{table}" for table, _ in part.named_parameters(recurse=False)]
                state |= {table: mixed(state[table], shares) for table in tables}
    return state
