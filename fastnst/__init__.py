"""fastnst: neural style transfer, the fast and the exact way.

from fastnst import Stylizer, read_frame
painted = Stylizer("starry")(read_frame("photo.jpg"))

Names are imported when they are first used: painting needs no torch, and `fastnst --help` needs neither. `train` and
`optimize` need the extra `train`: pip install ".[train]" in a checkout.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnst.errors import FastNSTError
    from fastnst.exact.engine import optimize
    from fastnst.exact.presets import preset_settings
    from fastnst.exact.settings import OptimizeSettings, Style
    from fastnst.inference.effects import Effects
    from fastnst.inference.stylizer import Stylizer
    from fastnst.io.images import Picture, read_frame, read_picture, write_picture
    from fastnst.io.styles import find_style, installed_styles
    from fastnst.training.engine import TrainCallbacks
    from fastnst.training.settings import TrainSettings
    from fastnst.training.train import train

# ONNX Runtime (1.31) reports to its makers from its import on, under a device number that it writes into the user's
# cache; nobody who stylizes a photo agreed to that. Here, because nothing of fastnst is imported earlier.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Effects",
    "FastNSTError",
    "OptimizeSettings",
    "Picture",
    "Style",
    "Stylizer",
    "TrainCallbacks",
    "TrainSettings",
    "find_style",
    "installed_styles",
    "optimize",
    "preset_settings",
    "read_frame",
    "read_picture",
    "train",
    "write_picture",
]

_HOMES = {
    "Effects": "fastnst.inference.effects",
    "FastNSTError": "fastnst.errors",
    "OptimizeSettings": "fastnst.exact.settings",
    "Picture": "fastnst.io.images",
    "Style": "fastnst.exact.settings",
    "Stylizer": "fastnst.inference.stylizer",
    "TrainCallbacks": "fastnst.training.engine",
    "TrainSettings": "fastnst.training.settings",
    "find_style": "fastnst.io.styles",
    "installed_styles": "fastnst.io.styles",
    "optimize": "fastnst.exact.engine",
    "preset_settings": "fastnst.exact.presets",
    "read_frame": "fastnst.io.images",
    "read_picture": "fastnst.io.images",
    "train": "fastnst.training.train",
    "write_picture": "fastnst.io.images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastnst' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError:
        from fastnst.machine import check_training_installed  # noqa: PLC0415

        check_training_installed(f"fastnst.{name}")
        raise


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
