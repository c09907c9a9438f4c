"""Stylizing picture files, one or many: outputs are settled before work starts, a bad file costs only itself."""

import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastnst.errors import FastNSTError, OutputError
from fastnst.io.folders import Found, find_pictures
from fastnst.io.images import (
    WRITE_FORMATS,
    Frame,
    Picture,
    fit_long_side,
    format_of,
    read_picture,
    resize_frame,
    signed,
    write_picture,
)
from fastnst.io.pixels import resize_visible


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
        raise OutputError(f"{output}: no photos were given to stylize")
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
                "rename one, or stylize them into different folders"
            )


def _refuse_photos_as_outputs(jobs: list[PhotoJob]) -> None:
    photos = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        if os.path.realpath(job.output) in photos:
            raise OutputError(f"{job.output}: is one of the photos, and is not overwritten; choose another -o")


def _refuse_existing_outputs(jobs: list[PhotoJob]) -> None:
    existing = [job.output for job in jobs if os.path.lexists(job.output)]
    if len(existing) == 1:
        raise OutputError(f"{existing[0]}: already exists; --overwrite replaces it")
    if existing:
        raise OutputError(f"{len(existing)} files already exist, {existing[0]} first; --overwrite replaces them")


# After one of these every further picture would fail too, each after the network has done its work.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Outcome:
    """What became of one picture."""

    job: PhotoJob
    error: FastNSTError | None = None
    """Why there is no output; None after success."""

    animated: bool = False
    """The file held more pictures; only the first was stylized."""

    notes: tuple[str, ...] = ()
    """What a user should know of how the file was read, each to stand behind its name."""


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch."""

    outcomes: tuple[Outcome, ...]
    """Of the pictures that were tried, in order."""

    not_tried: tuple[PhotoJob, ...]
    """Given up, because the disk is full or cannot be written."""

    elapsed_s: float

    @property
    def written(self) -> list[Path]:
        """Files that were written."""
        return [outcome.job.output for outcome in self.outcomes if outcome.error is None]

    @property
    def failed(self) -> list[Outcome]:
        """Pictures that were tried in vain."""
        return [outcome for outcome in self.outcomes if outcome.error is not None]


def stylize_files(
    stylize: Callable[[Frame], Frame],
    jobs: Sequence[PhotoJob],
    *,
    size: int | None = None,
    overwrite: bool = False,
    describe: Callable[[Frame], str] = lambda _photo: "fastnst",
    on_done: Callable[[Outcome], None] = lambda _outcome: None,
) -> BatchResult:
    """Stylize picture files, going on after one that fails; after a full disk the rest is given up.

    Transparency, color profile and EXIF block of each photo stay.

    Args:
        stylize: a StylePipeline, or anything that turns a frame into another of the same size.
        jobs: photos and their outputs, from `plan_outputs`.
        size: longest side in pixels; larger photos are reduced to it, smaller ones are never enlarged.
        overwrite: replace files that are there by now.
        describe: says in ASCII how a photo is stylized; written into the output's EXIF block.
        on_done: called after each picture, failed or not.
    """
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    for job in jobs:
        error: FastNSTError | None = None
        animated = False
        notes: tuple[str, ...] = ()
        try:
            photo = reduce_picture(read_picture(job.source), size)
            painted = signed(replace(photo, frame=stylize(photo.frame)), describe(photo.frame))
            # Settled before the start too; but a batch may take hours, and somebody else may write there.
            if not overwrite and job.output.exists():
                raise OutputError(f"{job.output}: already exists; --overwrite replaces it")
            write_picture(job.output, painted, overwrite=overwrite)
            animated, notes = photo.animated, photo.notes
        except FastNSTError as caught:
            error = caught
        outcomes.append(Outcome(job, error, animated, notes))
        on_done(outcomes[-1])
        if _is_no_room(error):
            break
    return BatchResult(tuple(outcomes), tuple(jobs[len(outcomes) :]), time.perf_counter() - started)


def reduce_picture(picture: Picture, size: int | None) -> Picture:
    """Reduce a picture, transparency and all, to a longest side of `size` pixels; a smaller one stays as it is."""
    if size is None or max(picture.frame.shape[:2]) <= size:
        return picture
    smaller = fit_long_side((picture.frame.shape[0], picture.frame.shape[1]), size)
    if picture.alpha is None:
        return replace(picture, frame=resize_frame(picture.frame, smaller))
    frame, alpha = resize_visible(picture.frame, picture.alpha, smaller)
    return replace(picture, frame=frame, alpha=alpha)


def _is_no_room(error: FastNSTError | None) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in _NO_ROOM
