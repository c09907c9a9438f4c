"""Stylizing a film: decoding, painting and encoding overlap, and nothing is lost when it stops half-way.

H height, W width in pixels.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import av

from fastnst.backends.choosing import Choice
from fastnst.errors import InputError, SettingError
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.steadying import Past
from fastnst.io.images import Frame
from fastnst.video.assembly import Assembly, assemble
from fastnst.video.color import lay_over
from fastnst.video.decoder import FilmDamage
from fastnst.video.encoder import SEGMENT_FRAMES
from fastnst.video.film import Film, FilmFrame, each_field, swaps_sides, turn_back, turn_upright
from fastnst.video.frame_files import ANIMATED_WEBP, FrameFileWriter, find_frames, read_animation, read_frame_files
from fastnst.video.job import JobFolder, left_identity, overlapping
from fastnst.video.plan import FilmPlan, refuse_existing
from fastnst.video.reader import read_frames
from fastnst.video.tracks import Cut
from fastnst.video.writer import Segment, SegmentedEncoder


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is."""

    done: int
    """Frames stylized, those of earlier runs included."""

    total: int | None
    resumed: int
    """Frames that an earlier run stylized."""

    size: int | None = None
    """Bytes that the pictures of the whole film will take; None: not yet known."""


@dataclass(frozen=True)
class FilmResult:
    """A film that is painted."""

    output: Path
    frames: int
    resumed: int
    elapsed_s: float
    damage: FilmDamage
    choice: Choice
    """What computed."""


def stylize_film(
    pipeline: StylePipeline,
    plan: FilmPlan,
    *,
    on_progress: Callable[[FilmProgress], None] = lambda _progress: None,
) -> FilmResult:
    """Stylize a film. Decoding, painting and encoding overlap; the output appears when it is whole.

    What is painted when something stops it stays beside the output, in `.NAME.painting`, and the next call with the
    same plan and pipeline goes on from there. `on_progress` is called after each painted frame.

    Raises InputError for a film that is damaged or changes its size; OutputError for no space, or an encoder that
    fails; StyleError for a network that changes the size; SettingError where the provider that a stopped job was begun
    with is gone, or its precision.
    """
    started, damage = time.perf_counter(), FilmDamage()
    with _as_begun(pipeline, plan) as own, _open_job(own, plan) as job:
        writer = _open_writer(own, plan, job)
        own.steady(plan.settings.steady, writer.past)
        resumed = count = writer.done
        paint = by_fields(own, plan)
        try:
            frames = read_plan(plan, writer.done, writer.last_pts, damage)
            with overlapping(frames, writer.write) as (read, write):
                for frame in read:
                    # Upright, as it is shown: a network has learnt from upright pictures.
                    painted = paint(turn_upright(frame.frame, plan.film.orientation))
                    if not write(as_stored(frame, painted, own.past, plan)):
                        break
                    count += 1
                    on_progress(FilmProgress(count, plan.frames, resumed, _size_to_come(plan, writer)))
            writer.finish()
        finally:
            writer.abandon()
        if count == 0:
            raise InputError(f"{plan.film.path}: no frames between --start and --end")
        _publish(plan, writer, job, damage)
    return FilmResult(plan.output, count, resumed, time.perf_counter() - started, damage, own.choice)


def by_fields(pipeline: StylePipeline, plan: FilmPlan) -> Callable[[Frame], Frame]:
    """What paints a film's upright frames: the pipeline, or where fields are kept, the pipeline field by field.

    A film on its side has its fields in columns, as painted then.
    """
    keeps = plan.encoding is not None and plan.encoding.fields != "" and not swaps_sides(plan.film.orientation)
    return partial(each_field, pipeline) if keeps else pipeline


def _size_to_come(plan: FilmPlan, writer: SegmentedEncoder | FrameFileWriter) -> int | None:
    """Bytes of the whole film's pictures, if the rest is like what is finished."""
    if plan.frames is None or not writer.done or not writer.size:
        return None
    return round(writer.size / writer.done * max(plan.frames, writer.done))


@contextmanager
def _as_begun(pipeline: StylePipeline, plan: FilmPlan) -> Iterator[StylePipeline]:
    """Give what stylizes this film: where `auto` chooses, and a job was stopped, what that was begun with.

    `auto` may choose otherwise today, and the film's parts would not match to the last bit.
    """
    ours = pipeline.identity
    begun: dict[str, Any] = _left_pipeline(plan) or {**ours}
    if pipeline.asked != "auto" or begun == ours or begun.get("look") != ours["look"]:
        yield pipeline
        return
    provider, precision = begun.get("provider", ""), begun.get("precision")
    try:
        other = pipeline.on(provider=provider)
    except SettingError as error:
        raise SettingError(f"{plan.output}: was started elsewhere: {error}; --resume never starts again") from error
    with other:
        if other.identity != begun:
            words = f"was started on {provider} in {precision}, which is {other.choice.precision} today"
            raise SettingError(f"{plan.output}: {words}; --resume never starts again")
        yield other


def _left_pipeline(plan: FilmPlan) -> dict[str, Any] | None:
    """Say by what pipeline an earlier run with this plan was stopped; None where there is nothing to go on from."""
    left = left_identity(plan.output) if _may_resume(plan) else None
    pipeline = left.pop("painter", None) if left is not None else None
    return pipeline if isinstance(pipeline, dict) and left == _identity(plan) else None


def _open_job(pipeline: StylePipeline, plan: FilmPlan) -> JobFolder:
    # The name is that of earlier versions, whose stopped jobs go on.
    identity = _identity(plan) | {"painter": pipeline.identity}
    return JobFolder(plan.output, identity, resume=_may_resume(plan))


def _open_writer(pipeline: StylePipeline, plan: FilmPlan, job: JobFolder) -> SegmentedEncoder | FrameFileWriter:
    if plan.encoding is None:
        (height, width), turned = plan.film.size, swaps_sides(plan.film.orientation)
        return FrameFileWriter(job, plan.output, pipeline.describe((width, height) if turned else (height, width)))
    return SegmentedEncoder(job, plan.encoding, held=plan.settings.steady > 0)


def _may_resume(plan: FilmPlan) -> bool:
    """Not with pictures that are held: some formats of theirs do not give back what the next frame depends on."""
    return plan.settings.resume and not (plan.encoding is None and plan.settings.steady)


def read_plan(plan: FilmPlan, done: int, last_done: int | None, damage: FilmDamage) -> Iterator[FilmFrame]:
    """Frames of a plan's film after so many that are done, the last of which is shown at tick `last_done`."""
    if plan.film.container == "frames":
        return read_frame_files(plan.film, plan.span, done)
    if plan.film.container == ANIMATED_WEBP:
        return read_animation(plan.film, plan.span, done)
    return read_frames(
        plan.film,
        plan.span,
        done=done,
        last_done=last_done,
        tolerate=plan.settings.damaged == "skip",
        damage=damage,
        threads=plan.settings.codec_threads,
        deinterlace=plan.settings.interlaced == "deinterlace",
    )


def as_stored(read: FilmFrame, painted: Frame, past: Past | None, plan: FilmPlan) -> FilmFrame:
    """Turn a painted frame back as the film stores it, or with its transparency as it is shown."""
    turn, alpha = plan.film.orientation, read.alpha
    if alpha is not None and not plan.keeps_alpha:
        painted = lay_over(painted, turn_upright(alpha, turn), plan.settings.background)
        read, alpha = replace(read, alpha=None), None
    if plan.upright:
        return replace(read, frame=painted, alpha=None if alpha is None else turn_upright(alpha, turn), past=past)
    return replace(read, frame=turn_back(painted, turn), past=past)


def _publish(plan: FilmPlan, writer: SegmentedEncoder | FrameFileWriter, job: JobFolder, damage: FilmDamage) -> None:
    # Settled before the start too; but that may be hours ago, and somebody else may have written there.
    refuse_existing(plan.output, plan.overwrite)
    if isinstance(writer, FrameFileWriter):
        writer.publish(overwrite=plan.overwrite)
        return
    whole = job.folder / f"whole{plan.output.suffix}"
    try:
        assemble(assembly_of(plan, writer.segments), writer.segments, whole, plan.output, damage)
    except BaseException:
        whole.unlink(missing_ok=True)
        raise
    job.publish(whole, overwrite=plan.overwrite)


def assembly_of(plan: FilmPlan, segments: Sequence[Segment]) -> Assembly:
    """What goes into a film beside its stylized pictures."""
    film, settings = plan.film, plan.settings
    assert plan.encoding is not None
    first = min(segments[0].pts) * film.time_base
    cut = Cut(
        start_s=None if settings.start is None else first,
        end_s=None if settings.end is None else film.origin_s + settings.end,
        shift_s=film.origin_s if settings.start is None else first,
    )
    return Assembly(
        encoding=plan.encoding,
        source=None if film.container in {"frames", ANIMATED_WEBP} else film,
        tracks=plan.tracks,
        orientation=None if plan.upright else film.orientation,
        cut=cut,
    )


def _identity(plan: FilmPlan) -> dict[str, object]:
    """All but the pipeline that decides what the painted frames look like, in words."""
    return {
        "film": _fingerprint(plan.film),
        "span": str(plan.span),
        "encoding": str(plan.encoding),
        "encoder threads": None if plan.encoding is None else plan.encoding.threads,
        "steady": str(plan.settings.steady),
        "ffmpeg": str(av.library_versions),
        "segment": str(SEGMENT_FRAMES),
        "background": str(plan.settings.background),
        "interlaced": plan.settings.interlaced,
    }


def _fingerprint(film: Film) -> str:
    """Tell this film from another by names, sizes and times of its files."""
    files = find_frames(film.path) if film.container == "frames" else [film.path]
    described = hashlib.sha256(str(film.rate).encode())
    for path in files:
        status = path.stat()
        described.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return described.hexdigest()
