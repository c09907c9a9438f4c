"""Painting picture files, one or many: a bad file costs only itself."""

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from fastnst.errors import FastNSTError, OutputError
from fastnst.inference.outputs import Job
from fastnst.io.images import Frame, Picture, fit_long_side, read_picture, resize_frame, write_picture

# After one of these every further picture would fail too, each after the network has done its work.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Painter(Protocol):
    """Anything that paints a frame, uint8 (H, W, 3), as a Stylizer does."""

    def __call__(self, frames: Frame, /) -> Frame:
        """Return the painted frame, of the same size."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one picture."""

    job: Job
    error: FastNSTError | None = None
    """Why there is no output; None after success."""

    animated: bool = False
    """The file held more pictures; only the first was painted."""


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch."""

    outcomes: tuple[Outcome, ...]
    """Of the pictures that were tried, in order."""

    not_tried: tuple[Job, ...]
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
    painter: Painter,
    jobs: Sequence[Job],
    *,
    size: int | None = None,
    overwrite: bool = False,
    on_done: Callable[[Outcome], None] | None = None,
) -> BatchResult:
    """Paint picture files, going on after one that fails; after a full disk the rest is given up.

    Args:
        painter: a Stylizer.
        jobs: photos and their outputs, from `plan_outputs`.
        size: longest side in pixels; larger photos are reduced to it, smaller ones are never enlarged.
        overwrite: replace files that are there by now.
        on_done: called after each picture, failed or not.
    """
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    for job in jobs:
        outcome = _stylize_file(painter, job, size, overwrite)
        outcomes.append(outcome)
        if on_done is not None:
            on_done(outcome)
        if _is_no_room(outcome.error):
            break
    return BatchResult(tuple(outcomes), tuple(jobs[len(outcomes) :]), time.perf_counter() - started)


def stylize_picture(painter: Painter, picture: Picture, size: int | None = None) -> Picture:
    """Paint a picture; its transparency, colour profile and EXIF block stay.

    Args:
        painter: a Stylizer.
        picture: the photo; not changed.
        size: longest side in pixels; a larger photo is reduced to it first, a smaller one is never enlarged.
    """
    frame, alpha = picture.frame, picture.alpha
    if size is not None and max(frame.shape[:2]) > size:
        smaller = fit_long_side((frame.shape[0], frame.shape[1]), size)
        frame = resize_frame(frame, smaller)
        alpha = None if alpha is None else resize_frame(alpha, smaller)
    return replace(picture, frame=painter(frame), alpha=alpha)


def _stylize_file(painter: Painter, job: Job, size: int | None, overwrite: bool) -> Outcome:
    try:
        picture = read_picture(job.source)
        painted = stylize_picture(painter, picture, size)
        # Settled before the start too; but a batch may take hours, and somebody else may write there.
        if not overwrite and job.output.exists():
            raise OutputError(f"{job.output}: is there already; --overwrite replaces it")
        write_picture(job.output, painted)
    except FastNSTError as error:
        return Outcome(job, error)
    return Outcome(job, animated=picture.animated)


def _is_no_room(error: FastNSTError | None) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in _NO_ROOM
