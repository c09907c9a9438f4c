"""One photo after another, painted and measured in every row: the networks, and the two rows they must beat.

Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastnst.io.color_transfer import match_colors
from fastnst.io.images import Frame, fit_long_side, read_frame, resize_frame
from fastnst.research.evaluation.cache import MeasurementCache, digest
from fastnst.research.evaluation.judge import Judge
from fastnst.research.evaluation.networks import EvaluatedNetwork

PLAIN = "plain photo"
MATCHED = "recolored photo"
"""The photo with the mean and the covariance of the painting's colors."""


@dataclass(frozen=True)
class MeasuredPhoto:
    """One photo in every row."""

    values: dict[str, dict[str, float]]
    """Figures by row and measure."""

    frames: dict[str, Frame]
    """Pictures by row; of all rows where they were asked for, else of those that had to be painted."""


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
        """Prepare the rows.

        Args:
            networks: their names must differ.
            style: style image, for the photo in its colors.
            judge: measures against the same style image.
            size: long side that photos are scaled to, pixels.
            cache: figures of an earlier run with the same size, judge and style image, and where new ones are written.
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
    return resize_frame(frame, fit_long_side(frame.shape[:2], size))
