"""Stylizing picture files, one or many: which is written where, and what is done with one of them."""

import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

from fastnst.backends.contract import ProviderChoice
from fastnst.batch.jobs import WHOLE, BatchPlan, Job, Shard, each_object, places_of, settle_jobs
from fastnst.batch.run import Perform, Task
from fastnst.errors import FastNSTError, OutputError
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.paintings import NONE, Refinement
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.session import TileChoice, describe_look
from fastnst.io.addresses import delivered, fetched, is_address
from fastnst.io.folders import READ_SUFFIXES, each_picture
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


def plan_pictures(
    photos: Sequence[str | Path],
    output: str | Path,
    *,
    listed: Sequence[str] = (),
    shard: Shard = WHOLE,
    left_out: list[Path] | None = None,
) -> BatchPlan:
    """Find the photos, as `find_pictures` and `places_of` do, and give each its output file.

    One photo and an output with a picture's suffix: that file. Otherwise output is a folder, or an address: subfolders,
    names and formats are kept; formats that are not written become .png. `left_out` gets the pictures in folders of a
    kind that is not read here, see `name_left_out`.

    Raises InputError for a folder, a pattern or an address without a picture; OutputError for no photos, two photos for
    one file, or a photo that would be overwritten.
    """
    output = str(output)
    if not photos and not listed:
        raise OutputError(f"{output}: no photos were given to stylize; name a PHOTO, or a list of them with --from")
    found: Iterator[Job] = chain(_each_job(photos, output, [] if left_out is None else left_out), _each_listed(listed))
    if not is_address(output):
        if len(photos) == 1 and not listed and Path(output).suffix and not Path(output).is_dir():
            jobs = list(found)
            if len(jobs) == 1 and not _is_folder(photos[0]):
                format_of(Path(output))
                folder, name = os.path.split(output)
                return settle_jobs([Job(jobs[0].source, name)], folder or ".", what="photos", alone=True)
            found = iter(jobs)
        found = _refuse_files(output, found)
    return settle_jobs(found, output, what="photos", shard=shard)


def _refuse_files(output: str, found: Iterator[Job]) -> Iterator[Job]:
    """Give the jobs of an output that is a folder."""
    path = Path(output)
    if path.suffix.lower() in WRITE_FORMATS and not path.is_dir():
        raise OutputError(f"{path}: is one file, but {len(list(found))} picture(s) of a set go there; name a folder")
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: is a file; expected a folder for the pictures, or a name ending in .png or .jpg")
    return found


def _is_folder(photo: str | Path) -> bool:
    return not _is_picture(str(photo)) if is_address(photo) else Path(photo).is_dir()


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in READ_SUFFIXES


def _each_job(photos: Sequence[str | Path], output: str, left_out: list[Path]) -> Iterator[Job]:
    skip = None if is_address(output) else Path(output)
    for photo in photos:
        if is_address(photo):
            yield from each_object(str(photo), _is_picture, _writable_name)
        else:
            for path, place in each_picture([photo], skip=skip, left_out=left_out):
                yield Job(path, _writable_name(place))


def _each_listed(listed: Sequence[str]) -> Iterator[Job]:
    return (Job(source, _writable_name(place)) for source, place in places_of(listed))


def _writable_name(relative: str) -> str:
    stem, suffix = posixpath.splitext(relative)
    return relative if suffix.lower() in WRITE_FORMATS else f"{stem}.png"


@dataclass(frozen=True, kw_only=True)
class PictureWorkshop:
    """All that stylizing picture files takes; see `Workshop`."""

    style: str | None
    effects: Effects = PLAIN
    size: int | None = None
    """Longest side in pixels; larger photos are reduced to it, smaller ones are never enlarged."""

    provider: ProviderChoice = "auto"
    threads: int | None = None
    tile: TileChoice = "auto"
    refine: Refinement = NONE
    on_describe: Callable[[str], None] | None = None
    """Called with how each picture is stylized."""

    on_open: Callable[[StylePipeline], None] | None = None
    """Called with the pipeline before the first picture."""

    @property
    def settings(self) -> dict[str, object]:
        """What a stylized picture depends on beside its photo."""
        return {"look": describe_look(self.style, self.effects, self.refine), "size": self.size}

    @contextmanager
    def open(self) -> Iterator[Perform]:
        """Load the networks."""
        with StylePipeline(
            self.style, self.effects, provider=self.provider, threads=self.threads, tile=self.tile, refine=self.refine
        ) as pipeline:
            if self.on_open is not None:
                self.on_open(pipeline)
            yield partial(stylize_file, pipeline, size=self.size, describe=partial(self._describe, pipeline))

    def _describe(self, pipeline: StylePipeline, size: tuple[int, int]) -> str:
        words = pipeline.describe(size)
        if self.on_describe is not None:
            self.on_describe(words)
        return words


def stylize_file(
    stylize: Callable[[Frame], Frame],
    task: Task,
    *,
    size: int | None = None,
    describe: Callable[[tuple[int, int]], str] = lambda _size: "stylized",
) -> tuple[str, ...]:
    """Stylize a picture file by a StylePipeline, or anything that turns a frame into another of the same size.

    Transparency, color profile and EXIF block of the photo stay. Photos with a longer side than `size` pixels are
    reduced to it. What `describe` says of a photo of a size, (height, width), is written into the output's EXIF block.

    Returns what a user should know of how the file was read, each to stand behind its name. Raises InputError,
    OutputError, StyleError.
    """
    source = task.job.source
    task.check()
    with fetched(source) as path, delivered(task.output) as result:
        try:
            photo = reduce_picture(read_picture(path), size)
            height, width = photo.frame.shape[:2]
            painted = signed(replace(photo, frame=stylize(photo.frame)), describe((height, width)))
            # Settled before the start too; but a batch may take hours, and somebody else may write there.
            if not task.replace and result.exists():
                raise OutputError(f"{result}: already exists; --overwrite replaces it")
            write_picture(result, painted, overwrite=task.replace)
        except FastNSTError as error:
            if str(path) == source and str(result) == task.output:
                raise
            words = str(error).replace(str(path), source).replace(str(result), task.output)
            raise type(error)(words) from error.__cause__
    return photo.notes


def reduce_picture(picture: Picture, size: int | None) -> Picture:
    """Reduce a picture, transparency and all, to a longest side of `size` pixels; a smaller one stays as it is."""
    if size is None or max(picture.frame.shape[:2]) <= size:
        return picture
    smaller = fit_long_side((picture.frame.shape[0], picture.frame.shape[1]), size)
    if picture.alpha is None:
        return replace(picture, frame=resize_frame(picture.frame, smaller))
    frame, alpha = resize_visible(picture.frame, picture.alpha, smaller)
    return replace(picture, frame=frame, alpha=alpha)
