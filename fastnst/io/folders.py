"""Finding pictures: from files, folders and patterns to a list, each with its place below what was asked for."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastnst.errors import InputError
from fastnst.io.images import WRITE_FORMATS

READ_SUFFIXES = frozenset(WRITE_FORMATS) | {
    ".apng",
    ".avif",
    ".dib",
    ".gif",
    ".jp2",
    ".pbm",
    ".pgm",
    ".pnm",
    ".ppm",
    ".tga",
}
"""Files that a search takes for pictures."""


@dataclass(frozen=True)
class Found:
    """One picture file."""

    path: Path
    """Where it is."""

    relative: Path
    """The same below the folder that was searched, so that results can mirror it; for a lone file, its name."""


def find_pictures(paths: Sequence[str | Path], skip: Path | None = None) -> list[Found]:
    """List the pictures meant by files, folders (searched to the bottom) and patterns such as `photos/**/*.jpg`.

    Folders and patterns give files with a picture's suffix only, hidden ones left out. A file named outright is listed
    whatever its name, even if it is not there: reading it says what is wrong. Nothing is listed twice.

    Args:
        paths: what the user gave, in any mixture.
        skip: a folder whose pictures are not listed when it lies inside a searched folder: earlier results.

    Returns:
        Found pictures in the order of `paths`, sorted within each folder or pattern.

    Raises:
        InputError: a folder or a pattern without a single picture.
    """
    found: dict[str, Found] = {}
    for path in paths:
        for picture in _find(path, skip):
            found.setdefault(os.path.realpath(picture.path), picture)
    return list(found.values())


def _find(path: str | Path, skip: Path | None) -> list[Found]:
    if path == "":  # Path would take it for the working folder
        raise InputError("one of the names is empty; expected a picture, a folder or a pattern")
    path = Path(path)
    if path.is_dir():
        pictures = sorted(_search(path, path, skip), key=lambda picture: picture.relative)
        if not pictures:
            raise InputError(f"{path}: no pictures in this folder")
        return pictures
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [Found(path, Path(path.name))]
    pictures = sorted(_match(path, skip), key=lambda picture: picture.relative)
    if not pictures:
        raise InputError(f"{path}: no picture matches this pattern")
    return pictures


def _search(folder: Path, root: Path, skip: Path | None) -> Iterator[Found]:
    results = None if skip is None else _real(skip)
    for place, names, files in os.walk(folder):
        # Assigning to the slice keeps os.walk out of the folders that are left out.
        names[:] = [name for name in names if not name.startswith(".") and _real(Path(place, name)) != results]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in READ_SUFFIXES:
                path = Path(place, name)
                yield Found(path, path.relative_to(root))


def _match(pattern: Path, skip: Path | None) -> Iterator[Found]:
    plain = next(index for index, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:plain])
    results = None if skip is None else _real(skip)
    inside = results is not None and _real(root) in results.parents
    # pathlib's own glob takes no absolute pattern.
    for name in glob.iglob(str(pattern), recursive=True):  # noqa: PTH207
        path = Path(name)
        if inside and results in (_real(path), *_real(path).parents):
            continue
        if path.is_dir():
            # `**` lists the folders themselves and then their files; only other patterns leave searching to us.
            if "**" not in pattern.parts:
                yield from _search(path, root, skip)
        elif path.suffix.lower() in READ_SUFFIXES:
            yield Found(path, path.relative_to(root))


def _real(path: Path) -> Path:
    """The path without links."""
    return Path(os.path.realpath(path))
