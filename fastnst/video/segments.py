"""One long film over many workers: its segments are stylized by whoever has time, and the last one assembles them.

A segment has an encoder of its own, so the film is that of one process, bit for bit, where the workers compute alike.
Frames that are held steady depend on all before them; a segment then begins some frames early, until what came before
weighs next to nothing.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import av

from fastnst.batch.jobs import WHOLE, BatchPlan, Job, Shard
from fastnst.batch.run import Attempt, BatchRun, BatchTally, Perform, Task, Work, Workshop
from fastnst.errors import OutputError
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.steadying import Past
from fastnst.io.files import atomic_path
from fastnst.video.assembly import assemble
from fastnst.video.batch import FilmWorkshop
from fastnst.video.decoder import FilmDamage, main_video, open_film
from fastnst.video.encoder import SEGMENT_FRAMES
from fastnst.video.film import turn_upright
from fastnst.video.job import SharedFolder, writing
from fastnst.video.plan import FilmPlan, plan_film, refuse_existing
from fastnst.video.stages import overlapping
from fastnst.video.stylize import as_stored, assembly_of, by_fields, read_plan
from fastnst.video.writer import Segment, SegmentedEncoder, load_segment, segment_name

_FORGOTTEN = 1e-6
"""Share of a frame long before that may be left in one. A thousandth leaves differences of 3 levels: frames are rounded
to whole levels, and a difference of 2 that is held at 0.8 rounds to 2 again; noise dissolves it in time."""


def early_frames(steady: float) -> int:
    """How many frames early a segment begins, so that the first that counts is held as if all had come before."""
    return math.ceil(math.log(_FORGOTTEN) / math.log(steady)) if steady else 0


def frame_times(plan: FilmPlan) -> list[int] | None:
    """When the frames of a plan are shown, ticks, in order, from the film's packets; decodes nothing.

    None where the packets do not say so, or the film is not one that is cut into segments.
    """
    film = plan.film
    if plan.encoding is None or film.path.is_dir() or not film.container.startswith(("mov", "matroska")):
        return None
    with open_film(film.path) as container:
        packets = container.demux(main_video(container, film.path))
        try:
            times = [packet.pts for packet in packets if packet.size and not packet.is_discard]
        except av.FFmpegError:
            return None
    found = sorted(pts for pts in times if pts is not None and pts in plan.span)
    if None in times or len(set(found)) < len(found) or plan.settings.damaged == "skip":
        return None
    return found


@dataclass(frozen=True)
class SegmentWorkshop:
    """All that stylizing segments of one film takes; see `Workshop`."""

    film: FilmWorkshop
    plan: FilmPlan
    times: tuple[int, ...]
    """When its frames are shown, ticks."""

    @contextmanager
    def open(self) -> Iterator[Perform]:
        """Load the networks."""
        with self.film.open_pipeline() as pipeline:
            yield partial(self._stylize, pipeline, {})

    def _stylize(self, pipeline: StylePipeline, before: dict[int, Past | None], task: Task) -> tuple[str, ...]:
        """Do a segment; `before` holds the last frame of the one that was done last, by its number."""
        number, plan = int(Path(task.job.name).stem), self.plan
        first, past = number * SEGMENT_FRAMES, before.pop(number - 1, None)
        early = 0 if past is not None else min(first, early_frames(plan.settings.steady))
        begin, count = first - early, early + min(SEGMENT_FRAMES, len(self.times) - first)
        assert plan.encoding is not None
        with writing(plan.output):
            Path(task.output).parent.mkdir(parents=True, exist_ok=True)
        folder = SharedFolder(plan.output, Path(task.output).parent)
        writer = SegmentedEncoder(folder, plan.encoding, first=number)
        pipeline.steady(plan.settings.steady, past)
        paint = by_fields(pipeline, plan)
        frames = read_plan(plan, begin, self.times[begin - 1] if begin else None, FilmDamage())
        try:
            with overlapping(islice(frames, count), writer.write) as (read, write):
                for place, frame in enumerate(read):
                    painted = as_stored(
                        frame, paint(turn_upright(frame.frame, plan.film.orientation)), pipeline.past, plan
                    )
                    if place >= early and not write(painted):
                        break
            writer.finish()
            before.clear()
            before[number] = pipeline.past
        finally:
            writer.abandon()
        return ()


@dataclass
class SegmentedFilm:
    """How it went with a film in segments."""

    tally: BatchTally
    whole: bool
    """All segments were there, and the film was put together; otherwise other shards have some to do."""

    segments: int
    frames: int


def stylize_in_segments(
    film: FilmWorkshop,
    plan: FilmPlan,
    times: list[int],
    work_of: Callable[[Workshop], Work],
    *,
    shard: Shard = WHOLE,
    on_done: Callable[[Attempt], None] = lambda _attempt: None,
) -> SegmentedFilm:
    """Stylize a shard's segments of a film, and put it together where all are there.

    What is done stays in `.NAME.segments` beside the output until then, with a manifest and claims as any batch has.

    Args:
        film: what stylizes.
        plan: of the film.
        times: from `frame_times`.
        work_of: turns a workshop into work: here, or over Ray.
        shard: the part that is done here.
        on_done: called after each segment.

    Raises OutputError.
    """
    folder = plan.output.with_name(f".{plan.output.name}.segments")
    source, count = str(plan.film.path), math.ceil(len(times) / SEGMENT_FRAMES)
    jobs = [Job(source, segment_name(number)) for number in range(count)]
    # One after another, so that frames that are held are not stylized twice.
    mine = jobs[count * (shard.number - 1) // shard.parts : count * shard.number // shard.parts]
    work = work_of(SegmentWorkshop(film, plan, tuple(times)))
    settings = film.settings | {"encoding": str(plan.encoding), "ffmpeg": str(av.library_versions)}
    todo = BatchPlan(mine, str(folder), count, shard)
    with BatchRun(todo, settings, work, overwrite=not plan.settings.resume) as batch:
        for attempt in batch:
            with attempt:
                attempt.notes = attempt.do()
            on_done(attempt)
        ledger = batch.ledger
        assert ledger is not None
        ledger.manifest.refresh()
        done = all(ledger.is_done(job) for job in jobs)
        last = Job(source, f"whole{plan.output.suffix}")
        whole = done and ledger.claim(last)
        if whole:
            _put_together(plan, times, [folder / job.name for job in jobs])
    if whole:
        shutil.rmtree(folder, ignore_errors=True)
    return SegmentedFilm(batch.tally, whole, count, len(times))


def _put_together(plan: FilmPlan, times: list[int], paths: list[Path]) -> None:
    segments: list[Segment] = []
    for number, path in enumerate(paths):
        segment, first = load_segment(path), number * SEGMENT_FRAMES
        if segment is None or sorted(segment.pts) != times[first : first + SEGMENT_FRAMES]:
            path.unlink(missing_ok=True)
            raise OutputError(
                f"{plan.output}: segment {number} of {plan.film.path} is damaged, or has other frames than the film's "
                "index says; run it again, or without --ray and --shard"
            )
        segments.append(segment)
    refuse_existing(plan.output, plan.overwrite)
    with atomic_path(plan.output, overwrite=plan.overwrite) as whole:
        assemble(assembly_of(plan, segments), segments, whole, plan.output, FilmDamage())


def plan_segments(
    film: FilmWorkshop, source: str, output: str, *, overwrite: bool
) -> tuple[FilmPlan, list[int]] | None:
    """Plan a film that is stylized in segments; None for one that is not: numbered pictures, or without an index.

    Raises what `plan_film` does.
    """
    plan = plan_film(Path(source), Path(output), film.video, overwrite=overwrite)
    times = frame_times(plan)
    return None if times is None or len(times) <= SEGMENT_FRAMES else (plan, times)
