"""The perceptual loss: named, weighted terms over one pass of the loss network, the same for both methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from fastnst.losses.settings import LossSettings
from fastnst.losses.terms import JudgedImages, LossTerm, Positions, StyleReference, StyleTarget, loss_terms
from fastnst.losses.vgg import Features, LossNetwork


@dataclass(frozen=True)
class Losses:
    """What came of one evaluation."""

    total: Tensor
    """The weighted sum, with its graph."""

    values: dict[str, Tensor]
    """Every term by name: a mean over the batch, unweighted."""

    def plus(self, name: str, value: Tensor, weight: float) -> "Losses":
        """With one more term, a mean over the batch."""
        return Losses(self.total + weight * value, {**self.values, name: value})

    def floats(self) -> dict[str, float]:
        """All values as plain numbers by name, "total" first."""
        return {name: float(value.detach()) for name, value in {"total": self.total, **self.values}.items()}


class PerceptualLoss:
    """The terms' weighted sum, against references that were measured beforehand.

    The losses are computed in float32, whatever the network's own arithmetic is.
    """

    def __init__(self, network: LossNetwork, settings: LossSettings, terms: Sequence[LossTerm] | None = None) -> None:
        """Take the network, the settings, and the terms: by default those that the settings weigh, `loss_terms`."""
        self.network = network
        self.settings = settings
        self.terms = loss_terms(settings) if terms is None else terms

    def __call__(
        self,
        image: Tensor,
        content: Features,
        style: StyleReference | Sequence[StyleTarget],
        style_factors: Tensor | None = None,
        *,
        features: Features | None = None,
    ) -> Losses:
        """Loss of images against their content and style references.

        Args:
            image: (B, 3, H, W) in [0, 1].
            content: reference of each image.
            style: reference of all images, or one whose first axis is B long, of each its own.
            style_factors: (B,), what the weights of style are multiplied by for each image; None: 1.
            features: those of the images where they are known already.
        """
        # As they come: the losses bring them to float32 themselves, where it is cheapest.
        features = self.network(image) if features is None else features
        targets = [StyleTarget(style)] if isinstance(style, dict) else style
        weighted, values = [], {}
        with torch.autocast(image.device.type, enabled=False):
            judged = JudgedImages(image.float(), features)
            for term in self.terms:
                losses = term(judged, content, targets)
                values[term.name] = losses.mean()
                factors = style_factors if term.follows_strength else None
                scaled = values[term.name] if factors is None else (factors * losses).mean()
                weighted.append(term.weight * scaled)
            return Losses(reduce(torch.add, weighted), values)

    def features(self, image: Tensor) -> Features:
        """Features of an image, (B, 3, H, W) in [0, 1], in float32."""
        return {name: value.float() for name, value in self.network(image).items()}

    def measure_content(self, image: Tensor) -> Features:
        """Content reference of content images, (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            features = self.features(image)
            return {layer: features[layer].detach() for layer in self.settings.content_layers}

    def measure_style(self, image: Tensor) -> StyleReference:
        """Style reference of a style image, (1, 3, H, W) in [0, 1]."""
        return self.measure_regions(image, [None])[0]

    def measure_regions(self, image: Tensor, regions: Sequence[Positions | None]) -> list[StyleReference]:
        """Style reference of each of several regions of a style image, (1, 3, H, W) in [0, 1]; None is all of it."""
        with torch.no_grad():
            style = JudgedImages(image, self.features(image))
            with torch.autocast(image.device.type, enabled=False):
                return [
                    {name: value for term in self.terms for name, value in term.measure_style(style, region).items()}
                    for region in regions
                ]

    def measure_styles(self, images: Sequence[Tensor]) -> StyleReference:
        """Style references of several style images, each (1, 3, H, W), one after the other: for `of_each_image`."""
        each = [self.measure_style(image) for image in images]
        return {
            name: tuple(torch.cat(parts) for parts in zip(*(one[name] for one in each), strict=True))
            for name in each[0]
        }

    def layer_sizes(self, image: Tensor) -> dict[str, tuple[int, int]]:
        """Height and width of each style layer's features of an image, (B, 3, H, W)."""
        with torch.no_grad():
            features = self.network(image)
        return {layer: (features[layer].shape[2], features[layer].shape[3]) for layer in self.settings.style_layers}


def of_each_image(styles: StyleReference, chosen: Tensor) -> StyleReference:
    """The reference of each image's own style: of S styles those numbered `chosen`, int64 (B,)."""
    return {name: tuple(part[chosen] for part in parts) for name, parts in styles.items()}
