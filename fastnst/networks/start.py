"""Beginning a training with what another one learnt."""

import torch
from torch import Tensor

from fastnst.networks.conditioning import ConditionalInstanceNorm2d, ConditionalScale
from fastnst.networks.network import StyleNetwork


def take_over(network: StyleNetwork, trained: StyleNetwork) -> None:
    """Give a network the weights of a trained one of the same kind and size.

    The two may know other styles: as many are taken as they are, else each begins with the even mix of the old. What
    strength adds begins with nothing where only one of the two takes a strength, or their numbers of styles differ.
    """
    if network.conditions == trained.conditions:
        network.load_state_dict(trained.state_dict())
        return
    state, tables = trained.state_dict(), _tables(network)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name in tables:
                begun = _begun(network, trained, state.get(name))
                value.copy_(begun if value.ndim > 1 else begun[0])
            elif name == "kept":
                value.zero_()
            else:
                value.copy_(state[name])


def _tables(network: StyleNetwork) -> set[str]:
    kinds = (ConditionalInstanceNorm2d, ConditionalScale)
    parts = [(name, part) for name, part in network.named_modules() if isinstance(part, kinds)]
    return {f"{name}.{table}" for name, part in parts for table, _ in part.named_parameters(recurse=False)}


def _begun(network: StyleNetwork, trained: StyleNetwork, old: Tensor | None) -> Tensor:
    """A table to begin with, (R, C); a scale that a plain network does not have is 1."""
    if old is None:
        return network.conditions.ones(1)
    styles = network.conditions.styles
    rows = old.reshape(-1, old.shape[-1])[: trained.conditions.styles]
    rows = rows if len(rows) == styles else rows.mean(dim=0).expand(styles, -1)
    return torch.cat([rows, rows.new_zeros(network.conditions.rows - styles, rows.shape[1])])
