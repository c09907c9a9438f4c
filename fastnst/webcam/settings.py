"""What a user can choose about a camera that is stylized live, and what came of it."""

from dataclasses import dataclass, field
from pathlib import Path

from fastnst.inference.steadying import check_steady
from fastnst.webcam.controls import Controls


@dataclass(frozen=True, kw_only=True)
class WebcamSettings:
    """What the user asks for."""

    fps: float = 30
    """Frames a second to hold by painting smaller."""

    long_side: int | None = None
    """Paint at this size always, pixels; None: as large as the frame rate allows."""

    controls: Controls = field(default_factory=Controls)
    """What the keys change, as it is at first."""

    steady: float = 0.0
    """How much of the frame before stays in what only moves or stands still: 0 paints each frame for itself."""

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
    """At which the network painted last, (height, width)."""

    files: tuple[Path, ...]
    """Snapshots and recordings."""

    failures: tuple[str, ...]
    """Snapshots and recordings that could not be written, each with the reason."""

    provider: str
    """What computed last."""
