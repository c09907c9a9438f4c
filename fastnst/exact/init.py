"""What an optimisation starts from. Images are float32 (1, 3, H, W) RGB in [0, 1]."""

from pathlib import Path

import torch
from torch import Tensor

from fastnst.errors import InputError
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import read_frame, resize_frame
from fastnst.io.tensors import to_frame, to_image

FAST = "fast:"
"""Before the name of a trained style."""


def initial_image(photo: Tensor, settings: OptimizeSettings) -> Tensor:
    """What the optimisation starts from, of the photo's size, (1, 3, H, W).

    The photo, noise, a picture file, or `fast:STYLE`: the photo as the trained network of that style paints it. The
    noise is uniform and, for one seed and size, the same on every device.

    Raises InputError for a bad file, StyleError for a style that is not there.
    """
    if settings.init == "content":
        return photo
    if settings.init == "noise":
        generator = torch.Generator().manual_seed(settings.seed)
        return torch.rand(photo.shape, generator=generator).to(photo.device)
    name = str(settings.init)
    if name.startswith(FAST):
        return _painted(photo, name.removeprefix(FAST))
    height, width = photo.shape[2:]
    return to_image(resize_frame(read_frame(settings.init), (height, width))).to(photo.device)


def check_init(settings: OptimizeSettings) -> None:
    """Raise InputError for an initial picture that is not there, before any work."""
    init = settings.init
    if isinstance(init, Path) and not str(init).startswith(FAST) and not init.exists():
        raise InputError(f"{init}: no such file; --init expects content, noise, fast:STYLE or a picture file")


def _painted(photo: Tensor, style: str) -> Tensor:
    # The one place where the exact method knows the runtime; neither imports the other's framework without need.
    from fastnst.inference.stylizer import Stylizer  # noqa: PLC0415

    with Stylizer(style) as stylizer:
        return to_image(stylizer(to_frame(photo))).to(photo.device)
