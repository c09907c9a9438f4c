"""Going on where a network ended: how many steps of the exact method, as plain data that any process can open.

The work itself is torch's (`exact/refinement.py`), and is loaded only where it is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, cast

from fastnst.errors import SettingError
from fastnst.io.images import Frame, read_frame
from fastnst.machine.extras import check_training_installed

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

        Raises:
            MissingPackageError: the extra `train` is missing.
            InputError: the painting cannot be read.
        """
        if not self.steps:
            return None
        check_training_installed("--refine")
        painting = None if self.painting is None else read_frame(self.painting)
        # By its name: nothing on the side of inference imports torch.
        return cast(Refine, import_module("fastnst.exact.refinement").PictureRefiner(self.steps, painting))


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
