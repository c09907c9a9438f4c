"""What is asked of torch: a network for a painting (`--style sunflowers.jpg`), and going on where a network ended.

A painting is fitted once, kept in the user's cache, and runs as every other network does. Refining takes steps of the
exact method (`exact/engine.py`). Both are loaded only where they are asked for; what describes them is plain data that
any process can open.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, cast

from fastnst.errors import SettingError, StyleError
from fastnst.inference.effects import Effects
from fastnst.io.files import sole_writer
from fastnst.io.images import Frame, read_frame
from fastnst.io.styles import fitted_name, fitted_styles_folder, is_painting
from fastnst.machine import check_training_installed

FIT_S = 50.0
"""Seconds that fitting takes by default, at most."""

_LONGEST_S = 3600.0

Report: TypeAlias = Callable[[Path, float], None]
"""Takes a painting that is being fitted, and the share that is done."""


def network_of(painting: Path, seconds: float = FIT_S, report: Report = lambda _painting, _share: None) -> Path:
    """Return the ONNX file of a network for a painting, which is fitted first where that was not done before.

    It takes `seconds` at most; 0: a mixture of the styles that the gallery knows, the nearest ones most. `report` is
    called with the share that is done.

    Raises InputError for a picture that is none, too small or of one color; StyleError for no such file; SettingError
    for seconds that are none; MissingPackageError where it has to be fitted, and the extra `train` is missing;
    OutputError where the cache cannot be written.
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


Quality: TypeAlias = Literal["draft", "good", "best"]

STEPS: dict[Quality, int] = {"draft": 0, "good": 12, "best": 100}
"""Steps after the network for each quality."""

_MOST = 10_000


class Refine(Protocol):
    """Goes on painting where a network ended."""

    on_progress: Callable[[float], None] | None
    """Called with the share that is done of a picture."""

    def __call__(
        self, given: Frame, painted: Frame, network: Path, styles: Mapping[str, float], strength: float
    ) -> Frame:
        """Refine what a network made of a frame, by the share of each of its styles and its strength."""
        ...


@dataclass(frozen=True)
class Refinement:
    """How far a painted picture is refined."""

    steps: int = 0
    """Steps of L-BFGS; 0: none."""

    painting: Path | None = None
    """Picture of the style; None: what is known of the network's own."""

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= _MOST:
            raise SettingError(f"--refine is {self.steps}; expected a number of steps from 0 to {_MOST}")

    def open(self) -> Refine | None:
        """Load what refines, if anything is to be refined.

        Raises MissingPackageError: the extra `train` is missing; InputError: the painting cannot be read.
        """
        if not self.steps:
            return None
        check_training_installed("--quality or --refine, steps of the exact method,")
        painting = None if self.painting is None else read_frame(self.painting)
        # By its name: nothing on the side of inference imports torch.
        return cast(Refine, import_module("fastnst.exact.engine").PictureRefiner(self.steps, painting))


NONE = Refinement()
"""What the network paints is the picture."""


def choose_refinement(quality: Quality | None, steps: int | None, painting: Path | None) -> Refinement:
    """The refinement that options ask for: a quality, or a number of steps; raises SettingError for both."""
    if quality is not None and steps is not None:
        raise SettingError(f"--quality {quality} and --refine {steps} are both given; --quality names a --refine")
    chosen = Refinement(STEPS[quality or "draft"] if steps is None else steps, painting)
    if painting is not None and not chosen.steps:
        raise SettingError("--style-image is given, and nothing is refined by it; add --refine STEPS or --quality good")
    return chosen
