"""Many films: which are meant, which file each stylized one is written to, and what is done with one of them."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path, PurePosixPath

from fastnst.backends.contract import ProviderChoice
from fastnst.batch.jobs import WHOLE, BatchPlan, Job, Shard, each_object, places_of, settle_jobs
from fastnst.batch.run import Perform, Task
from fastnst.errors import InputError, OutputError
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.layers import describe_look
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.session import TileChoice
from fastnst.io.addresses import delivered, fetched, is_address
from fastnst.io.folders import READ_SUFFIXES, is_left_out, list_left_out, name_left_out, walk
from fastnst.video.frame_files import is_pattern
from fastnst.video.plan import CONTAINERS, FilmPlan, VideoSettings, plan_film
from fastnst.video.stylize import FilmProgress, FilmResult, stylize_film

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
    ".mjpeg",
    ".mjpg",
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


def plan_films(
    films: Sequence[str | Path], output: str | Path, *, listed: Sequence[str] = (), shard: Shard = WHOLE
) -> BatchPlan:
    """Find the films and give each its output.

    One film and an output with a film's suffix, or a pattern for numbered pictures: that one. Otherwise output is a
    folder, or an address: subfolders and names are kept; formats that are not written become .mkv, numbered pictures
    .mp4. For a film that is named outright, a new folder's name has no suffix: film.avi is no folder that anyone means.

    Args:
        films: files, folders (searched to the bottom; or numbered pictures, if there are only such), glob patterns,
            addresses, and patterns for numbered pictures such as `frames/%04d.png`.
        output: a file, a pattern, a folder or an address; it need not exist.
        listed: names of files that keep their folders, see `places_of`.
        shard: the part that this process does.

    Raises:
        InputError: no films.
        OutputError: two films for one output, a film that would be overwritten, or a suffix that is not written.
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
