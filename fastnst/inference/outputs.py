"""Which file each stylized picture is written to, settled before any work starts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastnst.errors import OutputError
from fastnst.io.folders import Found, find_pictures
from fastnst.io.images import WRITE_FORMATS, format_of


@dataclass(frozen=True)
class PhotoJob:
    """One picture to paint."""

    source: Path
    """The photo."""

    output: Path
    """The file to write."""


def plan_outputs(
    photos: Sequence[str | Path], output: Path, *, overwrite: bool = False, left_out: list[Path] | None = None
) -> list[PhotoJob]:
    """Find the photos and give each its output file.

    One photo and an output with a picture's suffix: that file. Otherwise output is a folder: sub-folders, names and
    formats are kept; formats that are not written become .png.

    Args:
        photos: files, folders and patterns; see `find_pictures`.
        output: a file or a folder; it need not exist.
        overwrite: replace files that are there. A photo is never replaced by its own painting, nor is any other
            photo of the batch.
        left_out: gets the pictures in folders of a kind that is not read here, see `name_left_out`.

    Raises:
        InputError: no photos.
        OutputError: two photos for one file, a file that is there already, a photo that would be overwritten.
    """
    found = find_pictures(photos, skip=output, left_out=left_out)
    if not found:
        raise OutputError(f"{output}: no photos were given to paint")
    jobs = _name_outputs(found, output, lone=len(photos) == 1 and not Path(photos[0]).is_dir())
    _refuse_shared_outputs(jobs)
    _refuse_photos_as_outputs(jobs)
    if not overwrite:
        _refuse_existing_outputs(jobs)
    return jobs


def _name_outputs(found: list[Found], output: Path, lone: bool) -> list[PhotoJob]:
    is_folder = output.is_dir()
    if len(found) == 1 and lone and not is_folder and output.suffix:
        format_of(output)
        return [PhotoJob(found[0].path, output)]
    if output.suffix.lower() in WRITE_FORMATS and not is_folder:
        raise OutputError(f"{output}: is one file, but {len(found)} picture(s) of a set go there; name a folder")
    if output.exists() and not is_folder:
        raise OutputError(f"{output}: is a file; expected a folder for the pictures, or a name ending in .png or .jpg")
    return [PhotoJob(picture.path, output / _writable_name(picture.relative)) for picture in found]


def _writable_name(relative: Path) -> Path:
    return relative if relative.suffix.lower() in WRITE_FORMATS else relative.with_suffix(".png")


def _refuse_shared_outputs(jobs: list[PhotoJob]) -> None:
    taken: dict[str, PhotoJob] = {}
    for job in jobs:
        first = taken.setdefault(os.path.normcase(job.output), job)
        if first is not job:
            raise OutputError(
                f"{job.output}: both {first.source} and {job.source} would be written there; "
                "rename one, or paint them into different folders"
            )


def _refuse_photos_as_outputs(jobs: list[PhotoJob]) -> None:
    photos = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        if os.path.realpath(job.output) in photos:
            raise OutputError(f"{job.output}: is one of the photos, and is not overwritten; choose another -o")


def _refuse_existing_outputs(jobs: list[PhotoJob]) -> None:
    existing = [job.output for job in jobs if os.path.lexists(job.output)]
    if len(existing) == 1:
        raise OutputError(f"{existing[0]}: is there already; --overwrite replaces it")
    if existing:
        raise OutputError(f"{len(existing)} files are there already, {existing[0]} first; --overwrite replaces them")
