"""What passes leave for later ones: means and variances, and feature maps.

Maps are kept in float16, in bands of rows, in memory or in a temporary file.

C channels, h and w rows and columns of a piece, W columns of the map.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from fastnst.errors import OutputError

Numbers: TypeAlias = npt.NDArray[np.float64]


class Moments:
    """Sums over the tiles of a picture, by channel, of x - shift and of its square.

    With a shift near the mean, the variance is no small difference of large numbers (Chan, Golub and LeVeque 1983).
    """

    def __init__(self, shift: Numbers) -> None:
        """Start with nothing; shift (C,) should lie near the mean."""
        self.shift = shift
        self._count = 0
        self._sum, self._squares = np.zeros_like(shift), np.zeros_like(shift)

    def add(self, count: int, sums: npt.ArrayLike, squares: npt.ArrayLike) -> None:
        """Add a tile of `count` pixels: sums of x - shift and of (x - shift)^2, each (C,)."""
        self._count += count
        self._sum += np.asarray(sums, np.float64)
        self._squares += np.asarray(squares, np.float64)

    def mean(self) -> Numbers:
        """Mean by channel, (C,)."""
        return self.shift + self._sum / self._count

    def variance(self) -> Numbers:
        """Variance by channel, (C,); not below 0."""
        moved = self._sum / self._count
        return np.maximum(self._squares / self._count - moved**2, 0.0)


Half: TypeAlias = npt.NDArray[np.float16]


class FeatureMap:
    """One value over the whole picture, written and read band by band from the top."""

    def __init__(self, channels: int, edges: Sequence[int], width: int, folder: Path | None = None) -> None:
        """Make an empty map of C channels, W wide; `edges` are the row where each band starts, and how many there are.

        The bands are kept in a file without a name in a folder; None: in memory. Raises OutputError where no file can
        be made.
        """
        self._channels, self._edges, self._width = channels, list(edges), width
        self._bands: dict[int, Half] = {}
        self._folder, self._file = folder, _open(folder)

    def write(self, band: int, left: int, values: Half) -> None:
        """Write a piece, (C, h, w), as high as the band, at its columns from `left` on."""
        self._bands[band][:, :, left : left + values.shape[2]] = values

    def open_band(self, band: int) -> None:
        """Make room for a band."""
        rows = self._edges[band + 1] - self._edges[band]
        self._bands[band] = np.empty((self._channels, rows, self._width), np.float16)

    def close_band(self, band: int) -> None:
        """A band is complete: it goes into the file, if there is one. Raises OutputError: the disk is full."""
        if self._file is not None:
            left = self._bands.pop(band).data.cast("B")
            try:
                self._file.seek(self._offset(band))
                # A disk that fills up takes a part of what it is given, and refuses the rest only when asked again.
                while left:
                    left = left[self._file.write(left) :]
            except OSError as error:
                raise OutputError(
                    f"{self._folder}: no room for what is kept between passes ({error.strerror})"
                ) from error

    def fetch(self, top: int, bottom: int) -> None:
        """Get the bands that hold rows `top` to `bottom` ready for `read`; raises OutputError where they are gone."""
        if self._file is not None:
            for band in self._touched(top, bottom):
                if band not in self._bands:
                    self.open_band(band)
                    self._read_band(band, self._file)

    def read(self, top: int, bottom: int, left: int, right: int) -> Half:
        """Return a piece, (C, bottom - top, right - left)."""
        pieces = []
        for band in self._touched(top, bottom):
            start = self._edges[band]
            pieces.append(self._bands[band][:, max(top - start, 0) : bottom - start, left:right])
        return np.ascontiguousarray(pieces[0]) if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    def release(self, top: int, *, last: bool) -> None:
        """Rows above `top` are not read again in this pass; nor in a later one, if it is the last."""
        if self._file is not None or last:
            for band in [band for band in self._bands if self._edges[band + 1] <= top]:
                del self._bands[band]

    def close(self) -> None:
        """Give memory and file back."""
        self._bands.clear()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_band(self, band: int, file: BinaryIO) -> None:
        left, reason = self._bands[band].data.cast("B"), "it ends too early"
        try:
            file.seek(self._offset(band))
            while left and (count := file.readinto(left)):  # type: ignore[attr-defined]
                left = left[count:]
        except OSError as error:
            reason = error.strerror or str(error)
        if left:
            raise OutputError(f"{self._folder}: what was kept between passes cannot be read ({reason})")

    def _touched(self, top: int, bottom: int) -> range:
        first = int(np.searchsorted(self._edges, top, side="right")) - 1
        return range(first, int(np.searchsorted(self._edges, bottom, side="left")))

    def _offset(self, band: int) -> int:
        return self._edges[band] * self._channels * self._width * np.dtype(np.float16).itemsize


def _open(folder: Path | None) -> BinaryIO | None:
    if folder is None:
        return None
    try:
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as error:
        raise OutputError(f"{folder}: cannot keep what is needed between passes there ({error.strerror})") from error
