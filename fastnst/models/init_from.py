"""Beginning a training with what another one learnt."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastnst.models.checkpoint import ModelInfo
from fastnst.models.conditioning import ConditionalInstanceNorm2d, ConditionalScale
from fastnst.models.network import StyleNetwork


def init_from(network: StyleNetwork, trained: StyleNetwork, styles: Sequence[int] | None = None) -> None:
    """Give a network the weights of a trained one of the same kind and size.

    The two may know other styles: `styles` says which of the old each new one begins as. Without it as many are
    taken as they are, else each begins with the even mix of the old. What strength adds begins with nothing where only
    one of the two takes a strength, or the new styles begin with a mix.
    """
    if styles is None and network.conditions.styles == trained.conditions.styles:
        styles = range(network.conditions.styles)
    rows = _rows(network, trained, styles)
    state, tables = trained.state_dict(), _tables(network)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name in tables:
                begun = _begun(network, trained, state.get(name), rows)
                value.copy_(begun if value.ndim > 1 else begun[0])
            elif name != "kept":
                value.copy_(state[name])
            elif rows is not None and len(rows) == len(value):
                value.copy_(state[name][rows])
            else:
                value.zero_()


def styles_of_names(names: Sequence[str], start: ModelInfo) -> list[int] | None:
    """Numbers of the start's styles with these names; None where it lacks one, or knows but one."""
    if not set(names) <= set(start.styles):
        return None
    return [start.styles.index(name) for name in names]


def must_be_found(names: Sequence[str], start: ModelInfo) -> bool:
    """Whether the start knows several styles, and not all of these: then what comes nearest has to be found."""
    return len(start.styles) > 1 and styles_of_names(names, start) is None


def _tables(network: StyleNetwork) -> set[str]:
    kinds = (ConditionalInstanceNorm2d, ConditionalScale)
    parts = [(name, part) for name, part in network.named_modules() if isinstance(part, kinds)]
    return {f"{name}.{table}" for name, part in parts for table, _ in part.named_parameters(recurse=False)}


def _rows(network: StyleNetwork, trained: StyleNetwork, styles: Sequence[int] | None) -> list[int] | None:
    """Rows of the old tables that the new ones begin with, what strength adds among them where both take one."""
    if styles is None:
        return None
    rows = list(styles)
    if network.conditions.strength and trained.conditions.strength:
        photo = trained.conditions.styles
        rows += [photo, *(photo + 1 + 2 * style + place for style in styles for place in (0, 1))]
    return rows


def _begun(network: StyleNetwork, trained: StyleNetwork, old: Tensor | None, rows: list[int] | None) -> Tensor:
    """A table to begin with, (R, C); a scale that a plain network does not have is 1."""
    if old is None:
        return network.conditions.ones(1)
    old = old.reshape(-1, old.shape[-1])
    if rows is None:
        begun = old[: trained.conditions.styles].mean(dim=0).expand(network.conditions.styles, -1)
    else:
        begun = old[rows]
    return torch.cat([begun, begun.new_zeros(network.conditions.rows - len(begun), begun.shape[1])])
