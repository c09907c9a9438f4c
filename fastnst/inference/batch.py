"""Stylizing picture files, one or many: a bad file costs only itself."""

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastnst.errors import FastNSTError, OutputError
from fastnst.inference.outputs import PhotoJob
from fastnst.io.images import Frame, Picture, fit_long_side, read_picture, resize_frame, write_picture
from fastnst.io.pixels import resize_visible

# After one of these every further picture would fail too, each after the network has done its work.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Outcome:
    """What became of one picture."""

    job: PhotoJob
    error: FastNSTError | None = None
    """Why there is no output; None after success."""

    animated: bool = False
    """The file held more pictures; only the first was painted."""

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
    on_done: Callable[[Outcome], None] = lambda _outcome: None,
) -> BatchResult:
    """Stylize picture files, going on after one that fails; after a full disk the rest is given up.

    Transparency, color profile and EXIF block of each photo stay.

    Args:
        stylize: a StylePipeline, or anything that turns a frame into another of the same size.
        jobs: photos and their outputs, from `plan_outputs`.
        size: longest side in pixels; larger photos are reduced to it, smaller ones are never enlarged.
        overwrite: replace files that are there by now.
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
            painted = replace(photo, frame=stylize(photo.frame))
            # Settled before the start too; but a batch may take hours, and somebody else may write there.
            if not overwrite and job.output.exists():
                raise OutputError(f"{job.output}: is there already; --overwrite replaces it")
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
