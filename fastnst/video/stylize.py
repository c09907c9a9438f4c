"""Painting a film: decoding, painting and encoding overlap, and nothing is lost when it stops half-way.

H height, W width in pixels.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import av

from fastnst.errors import InputError, StyleError
from fastnst.inference.batch import Painter
from fastnst.inference.stages import overlap
from fastnst.inference.steadying import Steadier
from fastnst.video.assembly import Assembly, assemble
from fastnst.video.decoder import Damage
from fastnst.video.encoder import SEGMENT_FRAMES
from fastnst.video.film import Film, FilmFrame
from fastnst.video.frame_files import FrameFileWriter, find_frames, read_frame_files
from fastnst.video.job import Job, left_identity
from fastnst.video.orientation import turn_back, turn_upright
from fastnst.video.plan import FilmPlan, refuse_existing
from fastnst.video.reader import read_frames
from fastnst.video.tracks import Cut
from fastnst.video.writer import SegmentedEncoder


@dataclass(frozen=True)
class Progress:
    """How far a film is."""

    done: int
    """Frames painted, those of earlier runs included."""

    total: int | None
    resumed: int
    """Frames that an earlier run painted."""


@dataclass(frozen=True)
class FilmResult:
    """A film that is painted."""

    output: Path
    frames: int
    resumed: int
    elapsed_s: float
    damage: Damage


def stylize_film(
    painter: Painter,
    plan: FilmPlan,
    *,
    painter_id: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> FilmResult:
    """Paint a film. Decoding, painting and encoding overlap; the output appears when it is whole.

    What is painted when something stops it stays beside the output, in `.NAME.painting`, and the next call with the
    same plan and painter goes on from there.

    Args:
        painter: a Stylizer, or anything that turns a frame, uint8 (H, W, 3) RGB, into another of the same size.
        plan: from `plan_film`.
        painter_id: what tells this painter from another that would paint otherwise.
        on_progress: called after each painted frame.

    Raises:
        InputError: a film that is damaged or changes its size.
        OutputError: no space, or an encoder that fails.
        StyleError: a painter that changes the size.
    """
    started, damage = time.perf_counter(), Damage()
    with Job(plan.output, _identity(plan) | {"painter": dict(painter_id or {})}, resume=_may_resume(plan)) as job:
        writer = _open_writer(plan, job)
        steadier = Steadier(plan.settings.steady, writer.past) if plan.settings.steady else None
        resumed = count = writer.done

        def paint(frame: FilmFrame) -> FilmFrame:
            nonlocal count
            painted = _paint(painter, steadier, plan, frame)
            count += 1
            if on_progress is not None:
                on_progress(Progress(count, plan.frames, resumed))
            return painted

        try:
            overlap(_read(plan, writer.done, writer.last_pts, damage), paint, writer.write)
            writer.finish()
        finally:
            writer.abandon()
        if count == 0:
            raise InputError(f"{plan.film.path}: no frames between --start and --end")
        _publish(plan, writer, job, damage)
    return FilmResult(plan.output, count, resumed, time.perf_counter() - started, damage)


def painter_left(plan: FilmPlan) -> Mapping[str, str] | None:
    """Say by what painter an earlier run with this plan was stopped; None where there is nothing to go on from."""
    left = left_identity(plan.output) if _may_resume(plan) else None
    painter = left.pop("painter", None) if left is not None else None
    return painter if isinstance(painter, dict) and left == _identity(plan) else None


def _open_writer(plan: FilmPlan, job: Job) -> SegmentedEncoder | FrameFileWriter:
    if plan.encoding is None:
        return FrameFileWriter(job, plan.output)
    return SegmentedEncoder(job, plan.encoding, held=plan.settings.steady > 0)


def _may_resume(plan: FilmPlan) -> bool:
    """Not with pictures that are held: some formats of theirs do not give back what the next frame depends on."""
    return plan.settings.resume and not (plan.encoding is None and plan.settings.steady)


def _read(plan: FilmPlan, done: int, last_done: int | None, damage: Damage) -> Iterator[FilmFrame]:
    if plan.film.container == "frames":
        return read_frame_files(plan.film, plan.span, done)
    return read_frames(
        plan.film,
        plan.span,
        done=done,
        last_done=last_done,
        tolerate=plan.settings.damaged == "skip",
        damage=damage,
        threads=plan.settings.codec_threads,
    )


def _paint(painter: Painter, steadier: Steadier | None, plan: FilmPlan, read: FilmFrame) -> FilmFrame:
    """Paint a frame the way up in which it is shown: a network has learnt from upright pictures."""
    turn = plan.film.orientation
    upright = turn_upright(read.frame, turn)
    painted = painter(upright)
    if painted.shape != upright.shape:
        raise StyleError(f"the painter turned {upright.shape} into {painted.shape}; expected the same size")
    if steadier is not None:
        painted = steadier(upright, painted)
    past = steadier.past if steadier is not None else None
    alpha = read.alpha
    if plan.upright:
        alpha = None if alpha is None else turn_upright(alpha, turn)
    else:
        painted = turn_back(painted, turn)
    return replace(read, frame=painted, alpha=alpha, past=past)


def _publish(plan: FilmPlan, writer: SegmentedEncoder | FrameFileWriter, job: Job, damage: Damage) -> None:
    # Settled before the start too; but that may be hours ago, and somebody else may have written there.
    refuse_existing(plan.output, plan.overwrite)
    if isinstance(writer, FrameFileWriter):
        writer.publish()
        return
    film, settings, segments = plan.film, plan.settings, writer.segments
    assert plan.encoding is not None
    first = min(segments[0].pts) * film.time_base
    cut = Cut(
        start_s=None if settings.start is None else first,
        end_s=None if settings.end is None else film.origin_s + settings.end,
        shift_s=film.origin_s if settings.start is None else first,
    )
    assembly = Assembly(
        encoding=plan.encoding,
        source=None if film.container == "frames" else film,
        tracks=plan.tracks,
        orientation=None if plan.upright else film.orientation,
        cut=cut,
    )
    whole = job.folder / f"whole{plan.output.suffix}"
    try:
        assemble(assembly, segments, whole, plan.output, damage)
    except BaseException:
        whole.unlink(missing_ok=True)
        raise
    job.publish(whole)


def _identity(plan: FilmPlan) -> dict[str, object]:
    """All but the painter that decides what the painted frames look like, in words."""
    return {
        "film": _fingerprint(plan.film),
        "span": str(plan.span),
        "encoding": str(plan.encoding),
        "steady": str(plan.settings.steady),
        "ffmpeg": str(av.library_versions),
        "segment": str(SEGMENT_FRAMES),
    }


def _fingerprint(film: Film) -> str:
    """Tell this film from another by names, sizes and times of its files."""
    files = find_frames(film.path) if film.container == "frames" else [film.path]
    described = hashlib.sha256(str(film.rate).encode())
    for path in files:
        status = path.stat()
        described.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return described.hexdigest()
