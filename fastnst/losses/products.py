"""Products of features with themselves: the costly part of a Gram matrix, and its gradient.

Shapes: B batch, C channels, H and W height and width of a feature map.
"""

from typing import Any

import torch
from torch import Tensor

# Positions that are brought to float32 at a time: features in bfloat16 are never held whole in both forms.
_POSITIONS = 8192


def self_product(features: Tensor) -> Tensor:
    """Sum the products of every pair of channels over all pixels: (B, C, H, W) -> (B, C, C), float32.

    As `flat @ flat.mT` of the flattened features, and its gradients of any order. But the gradient is one product
    instead of two and their sum, it has the features' memory layout, and features in half precision are converted bit
    by bit. Sums are taken in float32, or in float64 where the features are.
    """
    product: Tensor = _SelfProduct.apply(features)
    return product


class _SelfProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = _rows(features)
        exact = torch.promote_types(features.dtype, torch.float32)
        product = torch.zeros(rows.shape[0], rows.shape[2], rows.shape[2], dtype=exact, device=features.device)
        for part in torch.split(rows, _POSITIONS, dim=1):
            whole = part.to(exact)
            product.baddbmm_(whole.mT, whole)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        # Each product appears twice, for (i, j) and for (j, i).
        both = gradients[0] + gradients[0].mT
        rows = _rows(features)
        parts = ((part.to(both.dtype) @ both).to(rows.dtype) for part in torch.split(rows, _POSITIONS, dim=1))
        if torch.is_grad_enabled():  # a gradient of the gradient is asked for
            gradient = torch.cat(list(parts), dim=1)
        else:
            gradient = torch.empty_like(rows)
            for place, part in zip(torch.split(gradient, _POSITIONS, dim=1), parts, strict=True):
                place.copy_(part)
        batch, channels, height, width = features.shape
        return gradient.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H*W, C), no copy where channels are innermost in memory."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)
