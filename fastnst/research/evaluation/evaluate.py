"""Several networks over several photos, with the plain and the recolored photo as what they must beat.

Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fastnst.errors import InputError
from fastnst.io.images import Frame
from fastnst.report.blocks import Column, Interval, mean_interval
from fastnst.research.evaluation.cache import MeasurementCache
from fastnst.research.evaluation.judge import MEDIANS, Judge
from fastnst.research.evaluation.networks import EvaluatedNetwork
from fastnst.research.evaluation.rows import MATCHED, PLAIN, MeasuredPhoto, Rows


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
        """Mean over photos of one measure, with its 95 % interval; of some the median, without one."""
        values = self.values[measure]
        return Interval(median(values), math.inf, len(values)) if measure in MEDIANS else mean_interval(values)

    def means(self) -> dict[str, float]:
        """Mean, or median, over photos of every measure."""
        return {measure: self.interval(measure).mean for measure in self.values}

    def add(self, values: dict[str, float]) -> None:
        """Append one photo's values."""
        for measure, value in values.items():
            self.values.setdefault(measure, []).append(value)


@dataclass(frozen=True)
class SamplePhoto:
    """A photo with what each row made of it, to look at."""

    name: str
    frames: dict[str, Frame]
    """By row; the plain photo is one of them."""


@dataclass
class Evaluation:
    """What was measured."""

    measures: dict[str, Column]
    size: int
    """Long side of the photos, pixels."""

    rows: list[Evaluated]
    """Networks in the order given, then the two rows to beat."""

    photos: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Photos that could not be used, with the reason."""

    samples: list[SamplePhoto] = field(default_factory=list)
    interrupted: bool = False
    """Ctrl-C ended it before the last photo."""

    def row(self, name: str) -> Evaluated:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def networks(self) -> list[Evaluated]:
        """The rows that are networks."""
        return [row for row in self.rows if not row.baseline]

    def add(self, path: Path, measured: MeasuredPhoto, samples: int) -> None:
        """Take a photo in, and its pictures while there are fewer than `samples`."""
        for row in self.rows:
            row.add(measured.values[row.name])
        self.photos.append(path.name)
        if len(self.samples) < samples:
            self.samples.append(SamplePhoto(path.stem, measured.frames))


def evaluate(
    networks: Sequence[EvaluatedNetwork],
    style: Frame,
    photos: Sequence[Path],
    judge: Judge,
    *,
    size: int = 512,
    samples: int = 4,
    cache: MeasurementCache | None = None,
    on_photo: Callable[[Path], None] = lambda _path: None,
) -> Evaluation:
    """Measure networks and the two rows to beat over photos; Ctrl-C ends it with the photos done until then.

    Args:
        networks: to compare; their names must differ.
        style: style image, for the photo in its colors.
        photos: picture files; one that cannot be used is skipped.
        judge: measures against the same style image.
        size: long side that photos are scaled to, pixels.
        samples: photos whose pictures are kept, the first ones.
        cache: figures of an earlier run, taken over, and where new ones are written.
        on_photo: called after each photo, skipped or not.

    Raises:
        InputError: not a single photo could be used.
        KeyboardInterrupt: Ctrl-C before the first photo was done.
    """
    result = Evaluation(judge.measures, size, [Evaluated(network.name, network.parameters) for network in networks])
    result.rows += [Evaluated(PLAIN, None), Evaluated(MATCHED, None)]
    rows = Rows(networks, style, judge, size=size, cache=cache)
    try:
        for path in photos:
            try:
                measured = rows.measure(path, with_frames=len(result.samples) < samples)
            except InputError as error:
                result.skipped[str(path)] = str(error)
            else:
                result.add(path, measured, samples)
            on_photo(path)
    except KeyboardInterrupt:
        if not result.photos:
            raise
        result.interrupted = True
    if not result.photos:
        raise InputError(
            f"none of {len(photos)} photos could be used; {next(iter(result.skipped.values()), 'none given')}"
        )
    return result


def measure_sizes(
    networks: Sequence[EvaluatedNetwork],
    style: Frame,
    photos: Sequence[Path],
    judge: Judge,
    *,
    sizes: Sequence[int],
    samples: int = 4,
    open_cache: Callable[[int], MeasurementCache] | None = None,
    on_photo: Callable[[Path], None] = lambda _path: None,
) -> list[Evaluation]:
    """Evaluate at several sizes, one after the other; Ctrl-C ends it with what is done until then.

    `open_cache` gives each size its figures of an earlier run; otherwise as `evaluate`, which see.
    """
    results: list[Evaluation] = []
    for size in sizes:
        cache = open_cache(size) if open_cache else None
        try:
            results.append(
                evaluate(networks, style, photos, judge, size=size, samples=samples, cache=cache, on_photo=on_photo)
            )
        except KeyboardInterrupt:
            if not results:
                raise
            results[-1].interrupted = True
        if results[-1].interrupted:
            break
    return results


def choose_evenly(photos: Sequence[Path], limit: int | None) -> list[Path]:
    """At most `limit` photos, spread evenly over the list, so that they are not all of one kind; None: all."""
    if limit is None or limit >= len(photos):
        return list(photos)
    return [photos[(2 * index + 1) * len(photos) // (2 * limit)] for index in range(limit)]
