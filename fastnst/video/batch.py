"""Many films, and one film over many workers.

Of many, which are meant, which file each stylized one is written to, and what is done with one of them. A long one's
segments are stylized by whoever has time, and the last one assembles them. A segment has an encoder of its own, so the
film is that of one process, bit for bit, where the workers compute alike. Frames that are held steady depend on all
before them; a segment then begins some frames early, until what came before weighs next to nothing.
"""

import glob
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import av

from fastnst.backends.contract import ProviderChoice
from fastnst.batch.jobs import WHOLE, BatchPlan, Job, Shard, each_object, places_of, settle_jobs
from fastnst.batch.run import Attempt, BatchRun, BatchTally, Perform, Task, Work, Workshop
from fastnst.errors import InputError, OutputError
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.session import TileChoice, describe_look
from fastnst.inference.steadying import Past
from fastnst.io.addresses import delivered, fetched, is_address
from fastnst.io.files import atomic_path
from fastnst.io.folders import READ_SUFFIXES, is_left_out, list_left_out, name_left_out, walk
from fastnst.video.assembly import assemble
from fastnst.video.decoder import FilmDamage, main_video, open_film
from fastnst.video.encoder import SEGMENT_FRAMES
from fastnst.video.film import turn_upright
from fastnst.video.frame_files import is_pattern
from fastnst.video.job import SharedFolder, overlapping, writing
from fastnst.video.plan import CONTAINERS, FilmPlan, VideoSettings, plan_film, refuse_existing
from fastnst.video.stylize import FilmProgress, FilmResult, as_stored, assembly_of, by_fields, read_plan, stylize_film
from fastnst.video.writer import Segment, SegmentedEncoder, load_segment, segment_name

_FILMS = (
    "3g2 3gp apng asf avi divx dv f4v flv m2t m2ts m2v mjpeg mjpg mod mpe mpeg mpg mts mxf ogm ogv qt rm "
    "rmvb tod ts vob wmv wtv"
)
FILM_SUFFIXES = frozenset(CONTAINERS) | {f".{kind}" for kind in _FILMS.split()}
"""Files that a search takes for films."""


def plan_films(
    films: Sequence[str | Path], output: str | Path, *, listed: Sequence[str] = (), shard: Shard = WHOLE
) -> BatchPlan:
    """Find the films and give each its output.

    Films are files, folders (searched to the bottom; or numbered pictures, if there are only such), glob patterns,
    addresses, patterns for numbered pictures such as `frames/%04d.png`, and those of a list, see `places_of`.

    One film and an output with a film's suffix, or a pattern for numbered pictures: that one. Otherwise output is a
    folder, or an address: subfolders and names are kept; formats that are not written become .mkv, numbered pictures
    .mp4. For a film that is named outright, a new folder's name has no suffix: film.avi is no folder that anyone means.

    Raises InputError for no films; OutputError for two films for one output, a film that would be overwritten, or a
    suffix that is not written.
    """
    output, jobs = str(output), list(_each_job(films, str(output)))
    jobs += [Job(source, _written_name(source, place)) for source, place in places_of(listed)]
    if not jobs:
        raise InputError("no films were given to stylize; name a FILM, or a list of them with --from")
    if is_address(output):
        return settle_jobs(jobs, output, what="films", shard=shard)
    path, outright = Path(output), len(films) == 1 and not listed and _is_outright(films[0], jobs)
    single = is_pattern(path) or (path.suffix.lower() in CONTAINERS and not path.is_dir())
    if single and len({os.path.realpath(job.source) for job in jobs}) > 1:
        raise OutputError(f"{output}: is one film, but {len(jobs)} are to go there; name a folder")
    if single:
        folder, name = os.path.split(output)
        return settle_jobs([Job(jobs[0].source, name)], folder or ".", what="films", alone=True)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder, or a name such as painted.mp4")
    if outright and path.suffix and not path.is_dir():
        raise OutputError(
            f"{output}: suffix {path.suffix!r}; expected one of {' '.join(CONTAINERS)}, "
            "'frames/%04d.png', or a folder that exists"
        )
    return settle_jobs(jobs, output, what="films", shard=shard)


def _is_outright(film: str | Path, jobs: list[Job]) -> bool:
    return str(film) in {job.source for job in jobs} or Path(film) in {Path(job.source) for job in jobs}


def _each_job(films: Sequence[str | Path], output: str) -> Iterator[Job]:
    for film in films:
        if film == "":  # Path would take it for the working folder
            raise InputError("one of the names is empty; expected a film, a folder or a pattern")
        if is_address(film) and str(film).lower().startswith(_STREAMS):
            raise InputError(
                f"{film}: is the address of a stream, and films are read from files; download it first. "
                "fastnst webcam --camera takes the address of a network camera"
            )
        if is_address(film):
            yield from each_object(str(film), _is_film, lambda place: _written_name("", place))
        else:
            for path, relative in _find(Path(film), output):
                yield Job(str(path), _written_name(str(path), relative.as_posix()))


_STREAMS = ("rtsp://", "rtsps://", "rtmp://", "rtp://", "udp://", "tcp://", "mms://", "srt://")


def _is_film(name: str) -> bool:
    return Path(name).suffix.lower() in FILM_SUFFIXES


def _find(path: Path, output: str) -> Iterator[tuple[Path, Path]]:
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


def frames_left_out(source: str) -> list[Path]:
    """Pictures in a folder of frames that are of a kind that is not read here, see `name_left_out`."""
    return sorted(filter(is_left_out, Path(source).iterdir())) if Path(source).is_dir() else []


def _search(folder: Path, output: str) -> Iterator[Path]:
    results = os.path.realpath(output)
    for place, names, files in walk(folder):
        names[:] = [name for name in names if os.path.realpath(place / name) != results]
        yield from (place / name for name in files if Path(name).suffix.lower() in FILM_SUFFIXES)


def _written_name(source: str, relative: str) -> str:
    path, place = Path(source), PurePosixPath(relative)
    if source and path.is_dir():
        return f"{relative}.mp4"
    if source and is_pattern(path):
        return f"{path.parent.resolve().name or 'frames'}.mp4"
    return relative if place.suffix.lower() in CONTAINERS else str(place.with_suffix(".mkv"))


@dataclass(frozen=True, kw_only=True)
class FilmWorkshop:
    """All that stylizing films takes; see `Workshop`."""

    style: str | None
    effects: Effects = PLAIN
    video: VideoSettings = field(default_factory=VideoSettings)
    provider: ProviderChoice = "auto"
    threads: int | None = None
    tile: TileChoice = "auto"
    show: Callable[[StylePipeline, FilmPlan], AbstractContextManager[Callable[[FilmProgress], None]]] | None = None
    """Says what a user should know of a film, and gives what is called with how far it is."""

    on_result: Callable[[FilmResult], None] | None = None
    """Called with each film that is done, where `show` is given."""

    @property
    def settings(self) -> dict[str, object]:
        """What a stylized film depends on beside its source."""
        written = {each.name: str(getattr(self.video, each.name)) for each in fields(self.video)}
        free = ("resume", "codec_threads")
        kept = {name: value for name, value in written.items() if name not in free}
        return {"look": describe_look(self.style, self.effects), **kept}

    @contextmanager
    def open(self) -> Iterator[Perform]:
        """Load the networks."""
        with self.open_pipeline() as pipeline:
            yield partial(self._stylize, pipeline)

    def open_pipeline(self) -> StylePipeline:
        """Open what stylizes."""
        return StylePipeline(self.style, self.effects, provider=self.provider, threads=self.threads, tile=self.tile)

    def _stylize(self, pipeline: StylePipeline, task: Task) -> tuple[str, ...]:
        task.check()
        with fetched(task.job.source) as source, delivered(task.output) as output:
            plan = plan_film(source, output, self.video, overwrite=task.replace)
            if self.show is None:
                result = stylize_film(pipeline, plan)
                return (*plan.notes, str(result.damage)) if str(result.damage) else plan.notes
            with self.show(pipeline, plan) as on_progress:
                result = stylize_film(pipeline, plan, on_progress=on_progress)
            if self.on_result is not None:
                self.on_result(result)
            return ()


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
    `times` are from `frame_times`; `work_of` turns a workshop into work: here, or over Ray; `on_done` is called after
    each segment. Raises OutputError.
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
