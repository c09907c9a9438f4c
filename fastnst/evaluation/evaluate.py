"""Several networks over several photos, with the plain and the recoloured photo as what they must beat.

Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastnst.errors import InputError
from fastnst.evaluation.intervals import Interval, mean_interval
from fastnst.evaluation.judge import Judge, Photo
from fastnst.evaluation.networks import Network
from fastnst.evaluation.palette import match_colours
from fastnst.evaluation.report import Column
from fastnst.images import Frame, fit_long_side, read_frame, resize_frame

PLAIN = "plain photo"
MATCHED = "recoloured photo"
"""The photo with the mean and the covariance of the painting's colours."""


@dataclass
class Evaluated:
    """One network, or one of the two rows to beat, over all photos."""

    name: str
    parameters: int | None
    """None for a row that is no network."""

    values: dict[str, list[float]] = field(default_factory=dict)
    """By measure, a value for each photo."""

    @property
    def baseline(self) -> bool:
        """It is no network but a row to beat."""
        return self.parameters is None

    def interval(self, measure: str) -> Interval:
        """Mean over photos of one measure, with its 95 % interval."""
        return mean_interval(self.values[measure])

    def means(self) -> dict[str, float]:
        """Mean over photos of every measure."""
        return {measure: self.interval(measure).mean for measure in self.values}

    def add(self, values: dict[str, float]) -> None:
        """Append one photo's values."""
        for measure, value in values.items():
            self.values.setdefault(measure, []).append(value)


@dataclass(frozen=True)
class Sample:
    """A photo with what each row made of it, to look at."""

    name: str
    frames: dict[str, Frame]
    """By row; the plain photo is one of them."""


@dataclass
class Evaluation:
    """What was measured."""

    measures: dict[str, Column]
    rows: list[Evaluated]
    """Networks in the order given, then the two rows to beat."""

    photos: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Photos that could not be used, with the reason."""

    samples: list[Sample] = field(default_factory=list)

    def row(self, name: str) -> Evaluated:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def networks(self) -> list[Evaluated]:
        """The rows that are networks."""
        return [row for row in self.rows if not row.baseline]


def evaluate(
    networks: Sequence[Network],
    style: Frame,
    photos: Sequence[Path],
    judge: Judge,
    *,
    size: int = 512,
    samples: int = 4,
    on_photo: Callable[[Path], None] = lambda _path: None,
) -> Evaluation:
    """Measure networks and the two rows to beat over photos.

    Args:
        networks: to compare; their names must differ.
        style: style image, for the photo in its colours.
        photos: picture files; one that cannot be used is skipped.
        judge: measures against the same style image.
        size: long side that photos are scaled to, pixels.
        samples: photos whose pictures are kept, the first ones.
        on_photo: called after each photo, skipped or not.

    Raises:
        InputError: not a single photo could be used.
    """
    rows = [Evaluated(network.name, network.parameters) for network in networks]
    rows += [Evaluated(PLAIN, None), Evaluated(MATCHED, None)]
    result = Evaluation(judge.measures, rows)
    for path in photos:
        try:
            photo = judge.measure_photo(read_sized(path, size))
        except InputError as error:
            result.skipped[str(path)] = str(error)
        else:
            frames = _paint_all(networks, photo, style)
            for row in rows:
                row.add(judge.measure(frames[row.name], photo))
            result.photos.append(path.name)
            if len(result.samples) < samples:
                result.samples.append(Sample(path.stem, frames))
        on_photo(path)
    if not result.photos:
        raise InputError(
            f"none of {len(photos)} photos could be used; {next(iter(result.skipped.values()), 'none given')}"
        )
    return result


def choose_evenly(photos: Sequence[Path], limit: int | None) -> list[Path]:
    """At most `limit` photos, spread evenly over the list, so that they are not all of one kind; None: all."""
    if limit is None or limit >= len(photos):
        return list(photos)
    return [photos[(2 * index + 1) * len(photos) // (2 * limit)] for index in range(limit)]


def read_sized(path: Path, size: int) -> Frame:
    """Read a picture scaled to a long side of `size` px. Raises InputError."""
    frame = read_frame(path)
    return resize_frame(frame, fit_long_side(frame.shape[:2], size))


def _paint_all(networks: Sequence[Network], photo: Photo, style: Frame) -> dict[str, Frame]:
    painted = {network.name: network.paint(photo.frame) for network in networks}
    return painted | {PLAIN: photo.frame, MATCHED: match_colours(photo.frame, style)}
