"""What a user can choose about a camera that is stylized live, before and by keys, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastnst.backends.mixing import even_weights, to_shares
from fastnst.inference.steadying import check_steady
from fastnst.io.images import Frame

MIX_STEP = 0.25
"""How far one press of a key goes from one style of a network towards the next."""

STRENGTH_STEP = 0.1


@dataclass(frozen=True)
class Controls:
    """What the keys set."""

    style: int = 0
    """Place in the list of installed styles."""

    strength: float = 1.0
    """0 leaves the photo, 1 is the full style; more for networks that take a strength."""

    mix: float | None = None
    """For a network that mixes S styles: 0 is its first, 0.5 halfway to its second, up to S; None: by `weights`."""

    weights: Mapping[str, float] | None = None
    """The same by the styles' names; None: all alike."""

    preserve_color: bool = False
    """Only brightness is stylized."""

    split: bool = False
    """The left half shows the photo."""

    def shares(self, names: tuple[str, ...]) -> tuple[float, ...] | None:
        """Shares of the styles of these names, whose sum is 1; None for a network that knows but one."""
        if len(names) < 2:
            return None
        if self.mix is not None:
            return mix_weights(self.mix, len(names))
        return even_weights(len(names)) if self.weights is None else to_shares(names, self.weights)


def mix_weights(mix: float, styles: int) -> tuple[float, ...]:
    """Shares of a network's S styles, which stand in a ring, for a place between two of them; their sum is 1."""
    first, share = int(mix) % styles, mix - int(mix)
    weights = [0.0] * styles
    weights[first] += 1 - share
    weights[(first + 1) % styles] += share
    return tuple(weights)


def split_view(painted: Frame, photo: Frame) -> Frame:
    """Show the photo in the left half, the painted picture in the right one, a white line between them."""
    shown, middle = painted.copy(), painted.shape[1] // 2
    shown[:, :middle] = photo[:, :middle]
    shown[:, max(0, middle - 1) : middle + 1] = 255
    return shown


@dataclass(frozen=True, kw_only=True)
class WebcamSettings:
    """What the user asks for."""

    fps: float = 30
    """Frames a second to hold by painting smaller."""

    long_side: int | None = None
    """Stylize at this size always, pixels; None: as large as the frame rate allows."""

    controls: Controls = field(default_factory=Controls)
    """What the keys change, as it is at first."""

    steady: float = 0.0
    """How much of the frame before stays in what only moves or stands still: 0 stylizes each frame on its own."""

    record: Path | None = None
    """Record into this file from the start."""

    overwrite: bool = False
    """Replace that file if it is there."""

    folder: Path = Path()
    """Where snapshots and recordings that keys ask for go."""

    virtual_camera: bool = False
    frames: int | None = None
    """End after so many pictures were shown."""

    seconds: float | None = None
    """End after so long."""

    def __post_init__(self) -> None:
        check_steady(self.steady)


@dataclass(frozen=True, kw_only=True)
class WebcamResult:
    """What happened."""

    captured: int
    """Pictures that the camera gave."""

    shown: int
    elapsed_s: float
    latency_ms: float
    """From capture to screen, median."""

    slow_latency_ms: float
    """95 of 100 pictures were faster."""

    size: tuple[int, int]
    """At which the network stylized last, (height, width)."""

    files: tuple[Path, ...]
    """Snapshots and recordings."""

    failures: tuple[str, ...]
    """Snapshots and recordings that could not be written, each with the reason."""

    provider: str
    """What computed last."""
