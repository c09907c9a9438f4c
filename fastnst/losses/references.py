"""What is known of paintings without their pictures: their Gram matrices, by which a painted picture can be refined.

Measured through the compact loss network, of the painting at a long side of 512 pixels. Files hold the upper triangles
in float16, each in parts of its largest value.

C channels.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from fastnst.errors import StyleError
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame, resize_long_side
from fastnst.io.styles import bundled_models
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.settings import LossSettings
from fastnst.losses.terms import StyleReference
from fastnst.losses.vgg import LossNetwork
from fastnst.losses.weights import read_tensors

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
