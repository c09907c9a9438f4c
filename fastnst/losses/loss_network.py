"""What the perceptual loss asks of a loss network, whichever it is."""

from typing import Protocol, TypeAlias

from torch import Tensor

Features: TypeAlias = dict[str, Tensor]
"""Activations by layer name, e.g. {"relu1_1": (B, 64, H, W)}."""


class LossNetwork(Protocol):
    """A frozen network that gives features of an image."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that it gives, from the first to the deepest."""
        ...

    @property
    def smallest_side(self) -> int:
        """Shortest side, in pixels, that an image may have."""
        ...

    def __call__(self, image: Tensor) -> Features:
        """Image, (B, 3, H, W) RGB in [0, 1], to the features of `layers`."""
        ...
