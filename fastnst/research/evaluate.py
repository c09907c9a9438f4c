"""Several networks over several photos, with the plain and the recolored photo as what they must beat.

Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from fastnst.errors import InputError, OutputError
from fastnst.io.blending import match_colors
from fastnst.io.files import append_text, write_atomically
from fastnst.io.images import Frame, read_frame, resize_long_side
from fastnst.report.blocks import Column, Interval, mean_interval
from fastnst.research.judge import MEDIANS, EvaluatedNetwork, Judge, digest

CACHE_FILE = "figures.jsonl"
"""Name in the folder of the report."""


class MeasurementCache:
    """Figures by row and photo, both known by their content: a file that was changed is measured anew."""

    def __init__(
        self, file: Path, *, resume: bool, given: Mapping[str, str], style: Frame, source: Path | None = None
    ) -> None:
        """Open a file that is written line by line; with `resume` it takes over what `source`, or itself, holds.

        `given` is what the figures depend on besides the style image, uint8 (H, W, 3): weights, sizes. Raises
        OutputError.
        """
        self._file = file
        self._given = digest(json.dumps(dict(given), sort_keys=True), str(style.shape), style.tobytes())
        self._values = _read_lines(source or file) if resume else {}
        write_atomically(file, "".join(_line(*pair) for pair in self._values.items()).encode())

    def find(self, row: str, photo: str, measures: Sequence[str]) -> dict[str, float] | None:
        """Figures of a row for a photo, each as `digest` gives it; None unless all measures are there."""
        values = self._values.get(digest(self._given, row, photo), {})
        return {measure: values[measure] for measure in measures} if set(measures) <= values.keys() else None

    def add(self, row: str, photo: str, values: Mapping[str, float]) -> None:
        """Write down the figures of a row for a photo. Raises OutputError."""
        key = digest(self._given, row, photo)
        self._values[key] = dict(values)
        append_text(self._file, _line(key, values))


def _line(key: str, values: Mapping[str, float]) -> str:
    return json.dumps({"key": key, "values": dict(values)}) + "\n"


def _read_lines(file: Path) -> dict[str, dict[str, float]]:
    try:
        lines = file.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(
            f"{file}: cannot be read ({error.strerror or error}); --resume never measures anew"
        ) from error
    return dict(pair for line in lines if (pair := _pair(line)) is not None)


def _pair(line: str) -> tuple[str, dict[str, float]] | None:
    try:
        found: Any = json.loads(line)
        return str(found["key"]), {str(key): float(value) for key, value in found["values"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


PLAIN = "plain photo"
MATCHED = "recolored photo"
"""The photo with the mean and the covariance of the painting's colors."""


@dataclass(frozen=True)
class MeasuredPhoto:
    """One photo in every row."""

    values: dict[str, dict[str, float]]
    """Figures by row and measure."""

    frames: dict[str, Frame]
    """Pictures by row; of all rows where they were asked for, else of those that had to be stylized."""


class Rows:
    """Paints and measures photos, or finds what was measured before."""

    def __init__(
        self,
        networks: Sequence[EvaluatedNetwork],
        style: Frame,
        judge: Judge,
        *,
        size: int,
        cache: MeasurementCache | None = None,
    ) -> None:
        """Prepare rows for networks of different names, as `evaluate` has them.

        The cache has the figures of an earlier run with the same size, judge and style image, and gets the new ones.
        """
        self._style, self._judge, self._size, self._cache = style, judge, size, cache
        self._painters = {network.name: network.paint for network in networks}
        self._names = [*self._painters, PLAIN, MATCHED]
        self._known_by = {PLAIN: PLAIN, MATCHED: MATCHED}
        if cache:
            self._known_by |= {network.name: network.identity for network in networks}

    def measure(self, path: Path, *, with_frames: bool) -> MeasuredPhoto:
        """Measure a photo in every row. Raises InputError for one that cannot be used."""
        frame = read_sized(path, self._size)
        content = digest(path.read_bytes()) if self._cache else ""
        values = self._recall(content)
        missing = [name for name in self._names if name not in values]
        frames = {name: self._paint(name, frame) for name in (self._names if with_frames else missing)}
        if missing:
            photo = self._judge.measure_photo(frame)
            for name in missing:
                values[name] = self._judge.measure(frames[name], photo)
                if self._cache:
                    self._cache.add(self._known_by[name], content, values[name])
        return MeasuredPhoto(values, frames)

    def _recall(self, content: str) -> dict[str, dict[str, float]]:
        if self._cache is None:
            return {}
        measures = list(self._judge.measures)
        found = {name: self._cache.find(self._known_by[name], content, measures) for name in self._names}
        return {name: values for name, values in found.items() if values is not None}

    def _paint(self, name: str, frame: Frame) -> Frame:
        if name == PLAIN:
            return frame
        return match_colors(frame, self._style) if name == MATCHED else self._painters[name](frame)


def read_sized(path: Path, size: int) -> Frame:
    """Read a picture scaled to a long side of `size` px. Raises InputError."""
    frame = read_frame(path)
    return resize_long_side(frame, size)


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
    """Measure networks of different names and the two rows to beat; Ctrl-C ends it with the photos done until then.

    The judge measures against the same style image, which is also that for the photo in its colors. Photos are scaled
    to a long side of `size` pixels; one that cannot be used is skipped; pictures of the first `samples` are kept.
    `on_photo` is called after each, skipped or not. Raises InputError where not a single photo could be used,
    KeyboardInterrupt before the first was done.
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
