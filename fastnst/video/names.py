"""Which films are meant, and which file each painted one is written to, settled before any work starts."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastnst.errors import InputError, OutputError
from fastnst.io.folders import READ_SUFFIXES, is_left_out, list_left_out, name_left_out, walk
from fastnst.video.frame_files import is_pattern
from fastnst.video.plan import CONTAINERS

FILM_SUFFIXES = frozenset(CONTAINERS) | {
    ".3g2",
    ".3gp",
    ".apng",
    ".asf",
    ".avi",
    ".divx",
    ".dv",
    ".f4v",
    ".flv",
    ".m2t",
    ".m2ts",
    ".m2v",
    ".mod",
    ".mpe",
    ".mpeg",
    ".mpg",
    ".mts",
    ".mxf",
    ".ogm",
    ".ogv",
    ".qt",
    ".rm",
    ".rmvb",
    ".tod",
    ".ts",
    ".vob",
    ".wmv",
    ".wtv",
}
"""Files that a search takes for films."""


@dataclass(frozen=True)
class FilmJob:
    """One film to paint."""

    source: Path
    """A film, or numbered pictures: a folder or a pattern."""

    output: Path


def name_outputs(films: Sequence[str | Path], output: Path) -> list[FilmJob]:
    """Find the films and give each its output.

    One film and an output with a film's suffix, or a pattern for numbered pictures: that one. Otherwise output is a
    folder: sub-folders and names are kept; formats that are not written become .mkv, numbered pictures .mp4. For a film
    that is named outright, a new folder's name has no suffix: film.avi is no folder that anyone means.

    Args:
        films: files, folders (searched to the bottom; or numbered pictures, if there are only such), glob patterns,
            and patterns for numbered pictures such as `frames/%04d.png`.
        output: a file, a pattern or a folder; it need not exist.

    Raises:
        InputError: no films.
        OutputError: two films for one output, a film that would be overwritten, or a suffix that is not written.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for film in films:
        if film == "":  # Path would take it for the working folder
            raise InputError("one of the names is empty; expected a film, a folder or a pattern")
        if "://" in str(film):
            raise InputError(
                f"{film}: is an address, and films are read from files; download it first. "
                "fastnst webcam --camera takes the address of a network camera"
            )
        for path, relative in _find(Path(film), output):
            found.setdefault(os.path.realpath(path), (path, relative))
    if not found:
        raise InputError("no films were given to stylize")
    single = is_pattern(output) or (output.suffix.lower() in CONTAINERS and not output.is_dir())
    if single and len(found) > 1:
        raise OutputError(f"{output}: is one film, but {len(found)} are to go there; name a folder")
    if not single and output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder, or a name such as painted.mp4")
    lone = len(films) == 1 and Path(films[0]) in {path for path, _ in found.values()}
    if not single and lone and output.suffix and not output.is_dir():
        raise OutputError(
            f"{output}: suffix {output.suffix!r}; expected one of {' '.join(CONTAINERS)}, "
            "'frames/%04d.png', or a folder that exists"
        )
    jobs = [
        FilmJob(path, output if single else output / _written_name(path, relative)) for path, relative in found.values()
    ]
    _refuse_clashes(jobs)
    return jobs


def _find(path: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """Films with their places below what was asked for."""
    if path.is_dir():
        films = sorted(_search(path, output))
        if films:
            yield from ((film, film.relative_to(path)) for film in films)
        elif any(file.suffix.lower() in READ_SUFFIXES for file in path.iterdir()):
            yield path, Path(path.resolve().name)
        else:
            words = f"{path}: no films in this folder, and no numbered pictures"
            raise InputError("; ".join([words, *name_left_out(list_left_out(path))]))
    elif is_pattern(path) or os.path.lexists(path) or not glob.has_magic(str(path)):
        yield path, Path(path.name)
    else:
        # pathlib's own glob takes no absolute pattern.
        names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        films = [Path(name) for name in names if Path(name).suffix.lower() in FILM_SUFFIXES]
        if not films:
            raise InputError(f"{path}: no film matches this pattern")
        yield from ((film, Path(film.name)) for film in films)


def frames_left_out(job: FilmJob) -> list[Path]:
    """Pictures in a folder of frames that are of a kind that is not read here, see `name_left_out`."""
    return sorted(filter(is_left_out, job.source.iterdir())) if job.source.is_dir() else []


def _search(folder: Path, output: Path) -> Iterator[Path]:
    results = os.path.realpath(output)
    for place, names, files in walk(folder):
        names[:] = [name for name in names if os.path.realpath(place / name) != results]
        yield from (place / name for name in files if Path(name).suffix.lower() in FILM_SUFFIXES)


def _written_name(path: Path, relative: Path) -> Path:
    if path.is_dir():
        return relative.with_name(f"{relative.name}.mp4")
    if is_pattern(path):
        return Path(f"{path.parent.resolve().name or 'frames'}.mp4")
    return relative if relative.suffix.lower() in CONTAINERS else relative.with_suffix(".mkv")


def _refuse_clashes(jobs: list[FilmJob]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs}
    taken: dict[str, FilmJob] = {}
    for job in jobs:
        first = taken.setdefault(os.path.normcase(job.output), job)
        if first is not job:
            raise OutputError(
                f"{job.output}: both {first.source} and {job.source} would be written there; "
                "stylize them into different folders"
            )
        if os.path.realpath(job.output) in sources:
            raise OutputError(f"{job.output}: is one of the films, and is not overwritten; choose another -o")
