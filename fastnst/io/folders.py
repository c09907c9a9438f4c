"""Finding pictures: from files, folders and patterns to a list, each with its place below what was asked for."""

import glob
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastnst.errors import InputError
from fastnst.io.decoding import EXTRA_READERS, is_film
from fastnst.io.formats import RAW_SUFFIXES
from fastnst.io.images import WRITE_FORMATS
from fastnst.machine import install_line

_EXTRA_SUFFIXES = {".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".jxl": "JPEG XL"}
_INSTALLED = {kind for kind, module in EXTRA_READERS.items() if importlib.util.find_spec(module) is not None}

_FURTHER = "apng avif dib gif jp2 pbm pgm pnm ppm tga"
READ_SUFFIXES = frozenset(WRITE_FORMATS) | {
    *(f".{kind}" for kind in _FURTHER.split()),
    *(suffix for suffix, kind in _EXTRA_SUFFIXES.items() if kind in _INSTALLED),
}
"""Files that a search takes for pictures: those that can be read here."""

_NOT_READ = RAW_SUFFIXES | _EXTRA_SUFFIXES.keys() - READ_SUFFIXES
"""Pictures too, which a search leaves out."""


@dataclass(frozen=True)
class Found:
    """One picture file."""

    path: Path
    """Where it is."""

    relative: Path
    """The same below the folder that was searched, so that results can mirror it; for a lone file, its name."""


def find_pictures(
    paths: Sequence[str | Path], skip: Path | None = None, left_out: list[Path] | None = None
) -> list[Found]:
    """List the pictures meant by files, folders (searched to the bottom) and patterns such as `photos/**/*.jpg`.

    Folders and patterns give files with a picture's suffix only, hidden ones left out; of a folder first its own,
    sorted, then those of its sub-folders. A file named outright is listed whatever its name, even if it is not there:
    reading it says what is wrong. Nothing is listed twice, and nothing in a folder to skip, that of earlier results.
    `left_out` gets the pictures in folders that are of a kind that is not read here, see `name_left_out`.

    Raises InputError for a folder or a pattern without a single picture.
    """
    found: dict[str, Found] = {}
    for path, relative in each_picture(paths, skip, left_out):
        found.setdefault(os.path.realpath(path), Found(Path(path), Path(relative)))
    return list(found.values())


def each_picture(
    paths: Sequence[str | Path], skip: Path | None = None, left_out: list[Path] | None = None
) -> Iterator[tuple[str, str]]:
    """Find pictures as `find_pictures` does, one after another as they are come upon, some perhaps twice.

    Gives path and place below what was searched, with "/" between folders; of a million, Paths would take most time.
    """
    left_out = [] if left_out is None else left_out
    for path in paths:
        yield from _find(path, skip, left_out)


def name_left_out(left_out: Sequence[Path]) -> list[str]:
    """Say how many pictures of which kind a search left out, the first one's name, and what helps."""
    lines = []
    for kind in sorted({_kind_of(path) for path in left_out}):
        mine = [path for path in left_out if _kind_of(path) == kind]
        remedy = "export them as TIFF, PNG or JPEG" if kind == "raw" else f"{install_line('heif')} lets them be read"
        counted = f"1 {kind} file is" if len(mine) == 1 else f"{len(mine)} {kind} files are"
        lines.append(f"{counted} left out, {mine[0]}{'' if len(mine) == 1 else ' first'}; {remedy}")
    return lines


def list_left_out(folder: Path) -> list[Path]:
    """List the pictures in and below a folder that are of a kind that is not read here, see `name_left_out`."""
    return sorted(place / name for place, _, files in walk(folder) for name in files if is_left_out(Path(name)))


def is_left_out(path: Path) -> bool:
    """Whether a file is a picture, by its suffix, of a kind that is not read here."""
    return path.suffix.lower() in _NOT_READ


def _name_films(folder: Path) -> list[str]:
    """Say that a folder without pictures holds films, with the first one's name; nothing where it holds none."""
    for place, _, files in walk(folder):
        for name in files:
            if (place / name).is_file() and is_film(_head(place / name)):
                return [f"{place / name} is a film; fastnst video stylizes films"]
    return []


def _head(path: Path) -> bytes:
    """The first bytes of a file; none of one that cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(32)
    return b""


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Go through a folder and those below it, linked ones too: place, names of folders, names of files, both sorted.

    Hidden ones are passed over, and folders that were seen under another name: a link to a folder above has no end.
    Names taken out of the list of folders are not gone into.
    """
    return ((Path(place), folders, files) for place, folders, files in _walk(str(folder)))


def _walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # Assigning to the slice keeps os.walk out of the folders that are left out.
        folders[:] = sorted(name for name in folders if name[0] != ".")
        files = [name for name in files if name[0] != "."]  # noqa: PLW2901
        files.sort()
        yield place, folders, files


def _kind_of(path: Path) -> str:
    return _EXTRA_SUFFIXES.get(path.suffix.lower(), "raw")


def _find(path: str | Path, skip: Path | None, left_out: list[Path]) -> Iterator[tuple[str, str]]:
    if path == "":  # Path would take it for the working folder
        raise InputError("one of the names is empty; expected a picture, a folder or a pattern")
    path = Path(path)
    if path.is_dir():
        others: list[Path] = []
        empty = True
        for picture in _search(str(path), str(path), skip, others):
            empty = False
            yield picture
        if empty:
            words = [f"{path}: no pictures in this folder", *_name_films(path), *name_left_out(sorted(others))]
            raise InputError("; ".join(words))
        left_out += sorted(others)
        return
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        yield str(path), path.name
        return
    pictures = sorted(_match(path, skip, left_out), key=lambda picture: picture[1].split("/"))
    if not pictures:
        raise InputError(f"{path}: no picture matches this pattern")
    yield from pictures


def _search(folder: str, root: str, skip: Path | None, left_out: list[Path]) -> Iterator[tuple[str, str]]:
    results = None if skip is None else os.path.realpath(skip)
    for place, names, files in _walk(folder):
        if results is not None:
            names[:] = [name for name in names if os.path.realpath(f"{place}{os.sep}{name}") != results]
        before, below = _joined(place), _below(place, root)
        for name in files:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a million Paths are slow
            if suffix in READ_SUFFIXES:
                yield before + name, below + name
            elif suffix in _NOT_READ:
                left_out.append(Path(place, name))


def _joined(folder: str) -> str:
    """What stands before a name in a folder."""
    return "" if folder == "." else os.path.join(folder, "")  # noqa: PTH118 - Path takes the end away


def _below(place: str, root: str) -> str:
    """What stands before a name of a folder in its place below the root."""
    relative = Path(place).relative_to(root).as_posix()
    return "" if relative == "." else f"{relative}/"


def _match(pattern: Path, skip: Path | None, left_out: list[Path]) -> Iterator[tuple[str, str]]:
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
                yield from _search(str(path), str(root), skip, left_out)
        elif path.suffix.lower() in READ_SUFFIXES:
            yield str(path), path.relative_to(root).as_posix()
        elif is_left_out(path):
            left_out.append(path)


def _real(path: Path) -> Path:
    """The path without links."""
    return Path(os.path.realpath(path))
