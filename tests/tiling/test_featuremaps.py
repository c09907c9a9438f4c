"""Maps kept in bands, in memory and in a file."""

import errno
import io
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fastnst.errors import OutputError
from fastnst.tiling.featuremaps import FeatureMap

EDGES = (0, 4, 6, 9)
WIDTH = 7


@pytest.fixture(params=["memory", "file"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "file" else None


def values() -> np.ndarray:
    """(2, 9, 7), each number another."""
    return np.arange(2 * 9 * WIDTH, dtype=np.float16).reshape(2, 9, WIDTH)


def fill(kept: FeatureMap) -> None:
    for band, (top, bottom) in enumerate(pairwise(EDGES)):
        kept.open_band(band)
        for left, right in ((3, WIDTH), (0, 3)):
            kept.write(band, left, values()[:, top:bottom, left:right])
        kept.close_band(band)


@pytest.mark.parametrize("rows", [(0, 4), (1, 3), (3, 7), (5, 9), (0, 9), (4, 6), (8, 9)])
def test_what_is_written_is_read(folder: Path | None, rows: tuple[int, int]) -> None:
    with FeatureMap(2, EDGES, WIDTH, folder) as kept:
        fill(kept)
        kept.fetch(*rows)
        np.testing.assert_array_equal(kept.read(*rows, 2, 6), values()[:, rows[0] : rows[1], 2:6])


def test_bands_are_read_again_in_the_next_pass(folder: Path | None) -> None:
    with FeatureMap(2, EDGES, WIDTH, folder) as kept:
        fill(kept)
        for _ in range(2):
            for rows in ((0, 5), (3, 7), (5, 9)):
                kept.fetch(*rows)
                np.testing.assert_array_equal(kept.read(*rows, 0, WIDTH), values()[:, rows[0] : rows[1]])
                kept.release(rows[0], last=False)


def test_bands_above_are_given_back_in_the_last_pass(folder: Path | None) -> None:
    with FeatureMap(2, EDGES, WIDTH, folder) as kept:
        fill(kept)
        kept.fetch(0, 9)
        kept.release(5, last=True)
        with pytest.raises(KeyError):
            kept.read(3, 7, 0, 1)
        np.testing.assert_array_equal(kept.read(5, 9, 0, 1), values()[:, 5:9, :1])


def test_a_file_leaves_nothing_behind_and_needs_its_folder(tmp_path: Path) -> None:
    with FeatureMap(2, EDGES, WIDTH, tmp_path) as kept:
        fill(kept)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot keep what is needed between passes"):
        FeatureMap(2, EDGES, WIDTH, tmp_path / "missing")


class Meager:
    """A file that takes and gives at most 5 bytes at a time, and has room for so many."""

    def __init__(self, room: int) -> None:
        self._file, self._room = io.BytesIO(), room

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def write(self, content: memoryview) -> int:
        room = self._room - self._file.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(content[: min(5, room)])

    def readinto(self, content: memoryview) -> int:
        return self._file.readinto(content[:5])

    def close(self) -> None:
        self._file.close()


def meager(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_options: Meager(room))


def test_what_the_disk_takes_in_parts_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meager(monkeypatch, room=1 << 20)
    with FeatureMap(2, EDGES, WIDTH, tmp_path) as kept:
        fill(kept)
        kept.fetch(0, 9)
        np.testing.assert_array_equal(kept.read(0, 9, 0, WIDTH), values())


def test_a_disk_that_fills_up_on_the_way_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meager(monkeypatch, room=2 * 9 * WIDTH * 2 - 3)  # all but the last three bytes
    with (
        FeatureMap(2, EDGES, WIDTH, tmp_path) as kept,
        pytest.raises(OutputError, match=r"no room for what is kept between passes \(No space left"),
    ):
        fill(kept)


def test_what_is_gone_from_the_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meager(monkeypatch, room=1 << 20)
    with FeatureMap(2, EDGES, WIDTH, tmp_path) as kept:
        fill(kept)
        kept._file._file.truncate(200)  # type: ignore[union-attr]
        with pytest.raises(OutputError, match=r"cannot be read \(it ends too early"):
            kept.fetch(0, 9)
