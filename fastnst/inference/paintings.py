"""Paintings in place of networks: `--style sunflowers.jpg`. Each is fitted once, and then kept in the user's cache.

Fitting needs torch; what was fitted runs as every other network does.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from fastnst.errors import SettingError, StyleError
from fastnst.inference.effects import Effects
from fastnst.io.files import sole_writer
from fastnst.io.styles import fitted_name, fitted_styles_folder, is_painting
from fastnst.machine.extras import check_training_installed

FIT_S = 50.0
"""Seconds that fitting takes by default, at most."""

_LONGEST_S = 3600.0

Report: TypeAlias = Callable[[Path, float], None]
"""Takes a painting that is being fitted, and the share that is done."""


def network_of(painting: Path, seconds: float = FIT_S, report: Report = lambda _painting, _share: None) -> Path:
    """Return the ONNX file of a network for a painting, which is fitted first where that was not done before.

    Args:
        painting: a picture file.
        seconds: to fit for, at most; 0: a mixture of the styles that the gallery knows, the nearest ones most.
        report: called with the share that is done.

    Raises:
        InputError: no picture, or one too small or of one color.
        StyleError: no such file.
        SettingError: seconds that are none.
        MissingPackageError: it has to be fitted, and the extra `train` is missing.
        OutputError: the cache cannot be written.
    """
    if not 0 <= seconds <= _LONGEST_S:
        raise SettingError(f"--fit is {seconds:g}; expected seconds from 0 to {_LONGEST_S:g}")
    if not painting.is_file():
        raise StyleError(f"{painting}: no such file; expected a painting, the name of a style, or an .onnx file")
    name = fitted_name(painting, seconds)
    target = fitted_styles_folder() / f"{name}.onnx"
    if not target.is_file():
        check_training_installed(f"--style {painting}: fitting a painting")
        target.parent.mkdir(parents=True, exist_ok=True)
        # By its name: nothing on the side of inference imports torch.
        fit = import_module("fastnst.training.painting").fit_painting
        with sole_writer(target, folder=False):
            fit(painting, name, target, seconds, lambda share: report(painting, share))
    return target


def with_networks(
    style: str | None, effects: Effects, seconds: float = FIT_S, report: Report = lambda _painting, _share: None
) -> tuple[str | None, Effects]:
    """Put networks in the place of the paintings that a style and the regions of effects name; raises as above."""

    def found(name: str) -> str:
        return str(network_of(Path(name), seconds, report)) if is_painting(name) else name

    regions = tuple("=".join((color, found(named))) for color, named in effects.regions().items())
    return None if style is None else found(style), replace(effects, region=regions)
