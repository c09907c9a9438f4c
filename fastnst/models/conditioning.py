"""Normalisation whose scale and shift follow the style and its strength: "conditional instance normalization" of
Dumoulin et al. (2017, "A learned representation for artistic style", section 2.2).

All styles share the convolutions. Each normalisation has a table of scales and one of shifts, a row for each style; a
mix of styles takes the same mix of rows (their section 3.4). Strength is ours, by the same tables: further rows hold
what is added to a style's own at the strengths 0.5 and 1.5, and, for all styles alike, at 0; in between they are mixed.
At strength 1 nothing is added, so what is learnt at any strength serves all.

Shapes: B batch, C channels, H and W height and width, S styles, R rows. A condition is the same for a batch, style
weights (S,) and strength (1,), or each picture's own, (B, S) and (B, 1).
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRENGTHS = (0.0, 0.5, 1.0, 1.5)
"""Strengths with rows of their own; 1 has those of the styles."""

_STEP = STRENGTHS[1] - STRENGTHS[0]


@dataclass(frozen=True)
class Conditions:
    """What a network can be conditioned on."""

    styles: int = 1
    """S, how many styles it knows."""

    strength: bool = False
    """On how strongly it paints."""

    @property
    def plain(self) -> bool:
        """On nothing: one style, always of full strength."""
        return self.styles == 1 and not self.strength

    @property
    def rows(self) -> int:
        """R, rows of the tables: one for each style; with strength then one for the photo, and two for each style."""
        return self.styles + (1 + 2 * self.styles if self.strength else 0)

    def shares(
        self, style_weights: Tensor | None, strength: Tensor | None, device: torch.device | None = None
    ) -> Tensor | None:
        """Share of each row in a mix of styles of a strength: (S,) or (B, S), (1,) or (B, 1) -> (R,) or (B, R).

        Without style weights all styles alike, without a strength the full one. None for a plain network.
        """
        if self.plain:
            return None
        if style_weights is None:
            style_weights = torch.full((self.styles,), 1 / self.styles, device=device)
        if not self.strength:
            return style_weights
        if strength is None:
            strength = torch.ones(1, device=device)
        places = torch.arange(len(STRENGTHS), device=device)
        near = (1 - (strength / _STEP - places).abs()).relu()
        added = style_weights[..., :, None] * near[..., None, 1::2]
        batch = added.shape[:-2]
        photo = near[..., :1].expand(*batch, 1)
        return torch.cat([style_weights.expand(*batch, self.styles), photo, added.flatten(-2)], dim=-1)

    def ones(self, channels: int) -> Tensor:
        """A table that says 1 for every style and adds nothing, (R, C)."""
        table = torch.zeros(self.rows, channels)
        table[: self.styles] = 1
        return table


PLAIN = Conditions()


class Conditioned(nn.Module):
    """A part of a network that takes the shares of rows beside its input."""

    @abstractmethod
    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and shares, (R,), (B, R) or, in a plain network, None."""


class Chain(Conditioned, nn.Sequential):
    """Parts one after the other; those that are conditioned get the shares."""

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        for part in self:
            x = part(x, shares) if isinstance(part, Conditioned) else part(x)
        return x


class ConditionalInstanceNorm2d(Conditioned, nn.InstanceNorm2d):
    """Instance normalisation with a scale and a shift for each row; in a plain network PyTorch's own."""

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__(channels, affine=True)
        if not conditions.plain:
            self.weight = nn.Parameter(conditions.ones(channels))
            self.bias = nn.Parameter(torch.zeros(conditions.rows, channels))

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if shares is None:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        scale, shift = mixed(self.weight, shares), mixed(self.bias, shares)
        if shares.ndim == 1:
            return F.instance_norm(x, weight=scale, bias=shift, eps=self.eps)
        # What instance_norm does inside, with scales that may differ from picture to picture: no pass over x is added.
        batch, channels, height, width = x.shape
        apart = x.contiguous().view(1, batch * channels, height, width)
        normal = F.batch_norm(apart, None, None, scale.flatten(), shift.flatten(), training=True, eps=self.eps)
        return normal.view(batch, channels, height, width)


def mixed(table: Tensor, shares: Tensor) -> Tensor:
    """Mix the rows of a table, (R, ...): shares (R,) -> (...), (B, R) -> (B, ...).

    No matrix product, which autocast would round to bfloat16.
    """
    return (table * shares.reshape(*shares.shape, *[1] * (table.ndim - 1))).sum(shares.ndim - 1)


class ConditionalScale(Conditioned):
    """A scale of each channel for each row; nothing in a plain network."""

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__()
        # None is registered as a parameter too, and left out of files.
        self.scale: nn.Parameter | None
        self.register_parameter("scale", None if conditions.plain else nn.Parameter(conditions.ones(channels)))

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x if self.scale is None or shares is None else x * mixed(self.scale, shares)[..., None, None]
