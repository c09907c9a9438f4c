"""The perceptual loss: named, weighted terms over one pass of the loss network, the same for both methods.

And what is known of paintings without their pictures: their Gram matrices, by which a painted picture can be refined.
These are measured through the compact loss network, of the painting at a long side of 512 pixels. Files hold the upper
triangles in float16, each in parts of its largest value. C channels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from fastnst.errors import SettingError, StyleError
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame, resize_long_side
from fastnst.io.styles import bundled_models
from fastnst.io.tensors import to_image
from fastnst.losses.settings import LossSettings
from fastnst.losses.spectrum import ColorLoss, DetailLoss, PatternLoss, ReliefLoss
from fastnst.losses.terms import (
    ContentLoss,
    JudgedImages,
    LossTerm,
    Positions,
    StyleLoss,
    StyleReference,
    StyleTarget,
    TotalVariationLoss,
)
from fastnst.losses.vgg import Features, LossNetwork
from fastnst.losses.weights import read_tensors


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
        together: bool = False,
    ) -> Losses:
        """Loss of images, (B, 3, H, W) in [0, 1], against their content references, and one of style, or one each.

        `style_factors`, (B,), multiply the weights of style for each image; None: 1. `features` are those of the images
        where they are known already. `together` takes what is compared with the style over all images as if they were
        one; then `style` is one reference, of all of them.
        """
        # As they come: the losses bring them to float32 themselves, where it is cheapest.
        features = self.network(image) if features is None else features
        reduced = self._reduced(image)
        targets = [StyleTarget(style)] if isinstance(style, dict) else style
        weighted, values = [], {}
        with torch.autocast(image.device.type, enabled=False):
            judged = JudgedImages(image.float(), features, reduced, together)
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

    def _reduced(self, image: Tensor) -> dict[int, Features]:
        """Features of images averaged over the pixels of each further scale that a term asks for."""
        scales = {scale for term in self.terms for scale in term.scales} - {1}
        return {scale: self.network(self._smaller(image, scale)) for scale in sorted(scales)}

    def _smaller(self, image: Tensor, scale: int) -> Tensor:
        """Averaged over `scale` pixels each way; its edges go on where nothing would be left for the deepest layer."""
        height, width = image.shape[2:]
        smaller = F.avg_pool2d(image, (min(scale, height), min(scale, width)))
        short = [max(0, self.network.smallest_side - side) for side in smaller.shape[2:]]
        return F.pad(smaller, (0, short[1], 0, short[0]), mode="replicate") if any(short) else smaller

    def measure_content(self, image: Tensor) -> Features:
        """Content reference of content images, (B, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            features = self.features(image)
            content = JudgedImages(image.float(), features)
            with torch.autocast(image.device.type, enabled=False):
                measured = {name: value for term in self.terms for name, value in term.measure_content(content).items()}
            return {layer: features[layer].detach() for layer in self.settings.content_layers} | measured

    def measure_style(self, image: Tensor) -> StyleReference:
        """Style reference of a style image, (1, 3, H, W) in [0, 1]."""
        return self.measure_regions(image, [None])[0]

    def measure_regions(self, image: Tensor, regions: Sequence[Positions | None]) -> list[StyleReference]:
        """Style reference of each of several regions of a style image, (1, 3, H, W) in [0, 1]; None is all of it."""
        with torch.no_grad():
            style = JudgedImages(image, self.features(image), self._reduced(image))
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


def loss_terms(settings: LossSettings) -> list[LossTerm]:
    """The terms that the settings weigh; SettingError where the layers' weights do not fit the layers."""
    formula = settings.normalization
    content = _layer_weights("content", settings.content_layers, settings.content_layer_weights)
    style = _layer_weights("style", settings.style_layers, settings.style_layer_weights)
    if settings.style_statistic == "sliced-wasserstein" and formula != "balanced":
        raise SettingError(
            f"--style-statistic sliced-wasserstein goes with --normalization balanced, not {formula}; take that, or "
            "--style-statistic gram"
        )
    terms: list[LossTerm] = [
        ContentLoss(settings.content_weight, content, formula),
        StyleLoss(settings.style_weight, style, settings.style_statistic, formula, settings.weight_of_scale),
    ]
    further = (
        (ColorLoss, settings.color_weight),
        (DetailLoss, settings.detail_weight),
        (PatternLoss, settings.pattern_weight),
        (ReliefLoss, settings.relief_weight),
    )
    terms += [term(settings.style_weight * weight) for term, weight in further if weight]
    return [*terms, TotalVariationLoss(settings.tv_weight, settings.tv_kind, formula)]


def _layer_weights(term: str, layers: tuple[str, ...], weights: tuple[float, ...]) -> dict[str, float]:
    for layer in layers:
        if layers.count(layer) > 1:
            raise SettingError(
                f"--{term}-layers names {layer} twice; name each layer once, --{term}-layer-weights weighs"
            )
    if weights and len(weights) != len(layers):
        raise SettingError(
            f"--{term}-layer-weights has {len(weights)} weights for {len(layers)} {term} layers "
            f"({', '.join(layers) or 'none'}); give one for each layer"
        )
    if any(not 0 <= weight < float("inf") for weight in weights):
        raise SettingError(f"--{term}-layer-weights is {weights}; expected numbers from 0 on")
    return dict(zip(layers, weights or [1 / len(layers)] * len(layers), strict=True)) if layers else {}


ROUNDS = 4

TOLERANCE = 0.05
"""Part by which the content lost may be missed in the trial."""

# Content lost grows about with this power of the style weight, as measured over 20 pairs; only a first guess.
_POWER = 0.4
_LONGEST_JUMP = 30.0


def search_style_weight(lost: Callable[[float], float], wanted: float, weight: float) -> float:
    """Find the style weight at which the content lost is `wanted`, on logarithmic scales: a few tries, then the best.

    `lost` paints with a style weight and gives the content lost; `weight` is tried first. The first step goes by the
    usual power, later ones by the line through the two nearest tries.
    """
    tries: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        found = max(lost(weight), 1e-9)
        tries.append((math.log(weight), math.log(found / wanted)))
        if abs(found / wanted - 1) < TOLERANCE:
            break
        weight = math.exp(_next(tries))
    return math.exp(min(tries, key=lambda one: abs(one[1]))[0])


def _next(tries: list[tuple[float, float]]) -> float:
    (place, error), *others = sorted(tries, key=lambda one: abs(one[1]))
    power = _POWER
    if others and others[0][0] != place:
        power = (others[0][1] - error) / (others[0][0] - place)
    # Content lost does not fall as the style weighs more; where it seems to, that is noise.
    step = -error / max(power, _POWER / 4)
    return place + max(-math.log(_LONGEST_JUMP), min(math.log(_LONGEST_JUMP), step))


STYLE_SIDE = 512
"""Long side of the painting, pixels."""

SETTINGS = LossSettings(loss_network="compact", precision="float32", tv_weight=2.0, tv_kind="l1")
"""What the exact method judges by (OptimizeSettings), through the compact network."""

ALIASES = {"starry": "starry_night", "starry-live": "starry_night"}
"""Networks in the package that are called otherwise than their painting."""


def measure_painting(network: LossNetwork, painting: Frame) -> StyleReference:
    """Measure a painting, uint8 (H, W, 3), through the compact network."""
    return PerceptualLoss(network, SETTINGS).measure_style(to_image(resize_long_side(painting, STYLE_SIDE)))


def mixed(references: Mapping[str, StyleReference], shares: Mapping[str, float]) -> StyleReference:
    """The mixture of paintings: of each statistic the mean by their shares."""
    kinds = next(iter(references.values()))
    return {
        layer: tuple(
            torch.stack([share * references[name][layer][place] for name, share in shares.items()]).sum(0)
            for place in range(len(kinds[layer]))
        )
        for layer in kinds
    }


def save_references(path: Path, references: Mapping[str, StyleReference]) -> None:
    """Write what is known of paintings by name; raises OutputError."""
    tensors: dict[str, Tensor] = {}
    for name, reference in references.items():
        for layer, (gram,) in reference.items():
            triangle = gram[0][tuple(torch.triu_indices(*gram.shape[1:]))].float()
            largest = triangle.abs().max()
            tensors[f"{name}/{layer}"] = (triangle / largest).half()
            tensors[f"{name}/{layer}/largest"] = largest
    write_atomically(path, save(tensors))


def read_references(path: Path) -> dict[str, StyleReference]:
    """Read what `save_references` wrote; raises WeightsError for a file that is none."""
    tensors, _ = read_tensors(path)
    found: dict[str, StyleReference] = {}
    for key, triangle in tensors.items():
        if key.endswith("/largest"):
            continue
        name, layer = key.split("/")
        side = round(((8 * len(triangle) + 1) ** 0.5 - 1) / 2)
        gram = torch.zeros(side, side)
        rows, columns = torch.triu_indices(side, side)
        gram[rows, columns] = gram[columns, rows] = triangle.float() * tensors[f"{key}/largest"]
        found.setdefault(name, {})[layer] = (gram[None],)
    return found


def beside(network: Path) -> Path:
    """Where what is known of the painting of a fitted network lies: beside it."""
    return network.with_suffix(".painting.safetensors")


@cache
def _bundled() -> dict[str, StyleReference]:
    return read_references(bundled_models() / "paintings.safetensors")


def find_references(network: Path, styles: Mapping[str, float]) -> StyleReference:
    """What is known of the paintings of a network's styles, mixed by their shares.

    Raises StyleError where the paintings of a network are not known.
    """
    if beside(network).is_file():
        (reference,) = read_references(beside(network)).values()
        return reference
    known = _bundled()
    names = {ALIASES.get(name, name): share for name, share in styles.items() if share}
    if missing := [name for name in names if name not in known]:
        raise StyleError(
            f"{network}: refining needs the painting of {', '.join(missing)}; --style-image names a picture of it"
        )
    return mixed(known, names)
