"""`fastnst video`: stylize films with a trained style."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter, validators
from PIL import ImageColor

from fastnst.backends.contract import ProviderChoice
from fastnst.cli import call
from fastnst.cli.batch import BATCH, COMPUTATION, BatchOptions, end_batch, open_batch
from fastnst.cli.console import Console, Resume, asks_to_resume, computed_on, film_progress, fitted
from fastnst.errors import InputError, OutputError, SettingError, StyleError
from fastnst.inference.effects import PLAIN, Effects
from fastnst.inference.paintings import FIT_S
from fastnst.losses.settings import LOOK

if TYPE_CHECKING:
    from fastnst.batch.jobs import BatchPlan, Shard
    from fastnst.batch.run import Attempt
    from fastnst.inference.pipeline import StylePipeline
    from fastnst.video.batch import FilmWorkshop
    from fastnst.video.plan import FilmPlan
    from fastnst.video.stylize import FilmProgress, FilmResult


_LARGE_BYTES = 5_000_000
_MUCH_LARGER = 2
POSITIVE = validators.Number(gte=1)
FILE = Parameter(group=Group("Film file", sort_key=2))


def video(
    sources: Annotated[list[str] | None, Parameter(name="FILM", negative="")] = None,
    /,
    *,
    style: str | None = None,
    output: Annotated[str, Parameter(name=("--output", "-o"))],
    batch: Annotated[BatchOptions, Parameter(name="*", negative=())] = BATCH,
    fit: Annotated[float, LOOK] = FIT_S,
    effects: Annotated[Effects, Parameter(name="*", negative=(), group=LOOK.group)] = PLAIN,
    steady: Annotated[float, LOOK] = 0.0,
    codec: Annotated[str | None, FILE] = None,
    crf: Annotated[int | None, FILE] = None,
    encoder_speed: Annotated[str | None, FILE] = None,
    pixel_format: Annotated[str | None, FILE] = None,
    compatible: Annotated[bool, FILE] = True,
    background: Annotated[str, FILE] = "white",
    interlaced: Annotated[Literal["deinterlace", "keep"], FILE] = "deinterlace",
    start: str | None = None,
    end: str | None = None,
    fps: str | None = None,
    drop_tracks: Annotated[bool, Parameter(group=FILE.group, negative="")] = False,
    damaged: Annotated[Literal["stop", "skip"], FILE] = "stop",
    resume: Resume = "auto",
    tile: Annotated[Literal["auto", "off"] | int, Parameter(group=COMPUTATION)] = "auto",
    provider: Annotated[ProviderChoice, Parameter(group=COMPUTATION)] = "auto",
    threads: Annotated[int | None, Parameter(group=COMPUTATION, validator=POSITIVE)] = None,
    codec_threads: Annotated[int | None, Parameter(group=COMPUTATION, validator=POSITIVE)] = None,
) -> None:
    """Stylize films with a trained style.

    Rate, time stamps, size, rotation, colors, sound, subtitles, chapters and metadata are the source's. The same
    command resumes an interrupted run.

    Parameters
    ----------
    sources:
        Films, folders (searched with their subfolders), patterns like 'clips/*.mp4'; numbered pictures as a folder
        or as 'frames/%04d.png'; addresses of objects such as s3://bucket/films, for which fsspec must be installed.
    style:
        Style: the name of an installed one, an .onnx file, or a painting (.jpg .png), to which a network is fitted the
        first time; trio@munch is one style of a network that knows several. May be left out where --region names
        styles.
    output:
        Output: for one film a file (.mp4 .mov .mkv .webm .gif), or 'frames/%04d.png'; otherwise a folder, which gets
        the films' names and subfolders, or an address.
    fit:
        Seconds to fit a network to a painting, at most, the first time; 0 takes a mixture of known styles, in a second.
    steady:
        Share of the frame before that is kept where things only move or stand still, so that strokes do not flicker: 0
        stylizes each frame on its own, 0.8 holds well, 0.95 is the most.
    codec:
        h264, hevc, vp9, av1, prores, ffv1, or any encoder of FFmpeg by its name, hardware too (hevc_nvenc, h264_qsv,
        h264_videotoolbox). By default h264, in .webm vp9.
    crf:
        Lower is better and larger. By default 16 for h264, 18 for hevc, 24 for vp9 and av1, and up to 10 more for
        films that are compressed hard themselves.
    encoder_speed:
        Speed of the encoder in its own words: ultrafast to placebo (h264, hevc), 0 to 8 (vp9), 0 to 13 (av1);
        proxy, lt, standard, hq, 4444 (prores).
    pixel_format:
        How colors are stored: yuv420p is shown by every player. By default as --compatible says.
    compatible:
        In .mp4 and .mov, store H.264 and HEVC so that phones and browsers show them: 4:2:0, H.264 with 8 bits.
        --no-compatible keeps the source's form.
    background:
        Color under transparent parts where the output cannot be transparent: a name such as black, or '#102030'.
    interlaced:
        deinterlace turns the frames of interlaced films into whole pictures; keep stylizes their fields one by one
        and keeps them, and says so in the output.
    start:
        Where to start: seconds or hours:minutes:seconds.
    end:
        Where to end.
    fps:
        Frames a second of numbered pictures, 25 by default: 24, 29.97, 30000/1001.
    drop_tracks:
        Leave out tracks that the output cannot hold, instead of encoding sound and subtitles anew.
    damaged:
        Where a film is damaged or cut short: stop with an error, or skip what cannot be decoded.
    resume:
        Whether to resume what an interrupted run left: auto does where its settings are the same, never starts
        again, DIR resumes the unfinished film in that folder, which must have the same settings.
    tile:
        Stylize in tiles of at most so many pixels a side, which limits the memory and shows no seams. auto does so
        where one piece might take more than 4 GB, or more than there is; off never does.
    provider:
        What computes: auto tries all and takes the fastest that really runs here, or what a stopped job was begun
        with; another that cannot run is an error. fastnst doctor says what is missing.
    threads:
        Threads of the network on the CPU. By default one for each core.
    codec_threads:
        Threads of the decoder and of the encoder.
    """
    # FFmpeg and ONNX Runtime take a moment to import: only now that the options are known to be right.
    from fastnst.batch.jobs import result_of  # noqa: PLC0415
    from fastnst.io.folders import name_left_out  # noqa: PLC0415
    from fastnst.video.batch import FilmWorkshop, frames_left_out, plan_films  # noqa: PLC0415
    from fastnst.video.plan import VideoSettings  # noqa: PLC0415

    settings = VideoSettings(
        codec=codec,
        crf=crf,
        encoder_speed=encoder_speed,
        pixel_format=pixel_format,
        compatible=compatible,
        background=_color(background),
        interlaced=interlaced,
        steady=steady,
        start=_seconds("--start", start),
        end=_seconds("--end", end),
        frame_rate=_rate(fps),
        drop_tracks=drop_tracks,
        damaged=damaged,
        resume="force" if isinstance(resume, Path) else asks_to_resume(resume),
        codec_threads=codec_threads,
    )
    console = Console(stderr=True)
    shard = batch.choose_shard(console)
    plan = plan_films(sources or [], output, listed=batch.names(), shard=shard)
    for line in name_left_out([path for job in plan.jobs for path in frames_left_out(job.source)]):
        console.print(line)
    if isinstance(resume, Path):
        _check_unfinished(resume, [Path(result_of(plan.output, job)) for job in plan.jobs])
    style, effects = fitted(style, effects.of_film(), fit, console)
    workshop = FilmWorkshop(
        style=style,
        effects=effects,
        video=settings,
        provider=provider,
        threads=threads,
        tile=tile,
        show=None if batch.ray else partial(_shown, console=console),
        on_result=None if batch.ray else lambda result: console.print(_summary(result)),
    )
    if plan.alone and (batch.ray or shard.parts > 1) and _in_segments(workshop, plan, batch, shard, console):
        return
    with open_batch(plan, workshop, batch) as tries:
        for attempt in tries:
            with attempt:
                attempt.notes = attempt.do()
            if attempt.outcome.error is not None and len(plan.jobs) > 1:
                console.print(f"failed: {attempt.outcome.error}", style="red")
            for note in attempt.outcome.notes:
                console.print(f"{attempt.task.job.source}: {note}")
    tally = tries.tally
    if len(plan.jobs) == 1 and tally.failures:
        raise tally.failures[0].outcome.error or AssertionError
    if not plan.alone:
        films = "1 film" if tally.done == 1 else f"{tally.done} films"
        end_batch(tally, f"{output}: {films} in {tally.elapsed_s:.1f} s", console)


def _in_segments(
    workshop: "FilmWorkshop", plan: "BatchPlan", batch: BatchOptions, shard: "Shard", console: Console
) -> bool:
    """Stylize a shard's segments of one film; False where it is not to be cut into segments."""
    from fastnst.batch.jobs import result_of  # noqa: PLC0415
    from fastnst.io.addresses import is_address  # noqa: PLC0415
    from fastnst.video.batch import plan_segments, stylize_in_segments  # noqa: PLC0415

    (job,) = plan.jobs
    output = result_of(plan.output, job)
    if is_address(job.source):
        return False
    found = plan_segments(workshop, job.source, output, overwrite=batch.overwrite)
    if found is None:
        return False
    film, times = found
    for note in film.notes:
        console.print(f"{job.source}: {note}")

    def show(attempt: "Attempt") -> None:
        outcome = attempt.outcome
        words = f"failed: {outcome.error}" if outcome.error else f"{outcome.elapsed_s:.1f} s"
        console.print(f"{output}: segment {attempt.task.job.name.partition('.')[0]}: {words}")

    result = stylize_in_segments(workshop, film, times, batch.work_of(workshop.threads), shard=shard, on_done=show)
    tally = result.tally
    line = f"{output}: {tally.done} of {result.segments} segments in {tally.elapsed_s:.1f} s"
    if result.whole:
        line += f"; the film is whole, with {result.frames} frames"
    elif not tally.failed:
        line += "; whoever does the last one puts the film together"
    end_batch(tally, line, console)
    return True


def _check_unfinished(folder: Path, outputs: list[Path]) -> None:
    """Raise InputError where a folder is not that of an unfinished film that is asked for."""
    from fastnst.video.job import job_folder, left_identity  # noqa: PLC0415

    places = {os.path.realpath(job_folder(output)): output for output in outputs}
    output = places.get(os.path.realpath(folder))
    if output is None or left_identity(output) is None:
        expected = ", ".join(str(job_folder(each)) for each in outputs[:3])
        raise InputError(f"--resume {folder}: holds no unfinished film that is asked for; expected {expected}")


@contextmanager
def _shown(
    pipeline: "StylePipeline", plan: "FilmPlan", *, console: Console
) -> "Iterator[Callable[[FilmProgress], None]]":
    """Say what a user should know of a film, and give what shows how far it is while it is stylized."""
    from fastnst.video.job import left_identity  # noqa: PLC0415

    for note in (*plan.notes, *pipeline.notes):
        console.print(f"{plan.film.path}: {note}")
    try:
        with film_progress(plan.film.path.name, console) as show:
            said = False

            def progress(at: "FilmProgress") -> None:
                nonlocal said
                if not said and at.size is not None:
                    said = True
                    _say_size(plan, at.size, console)
                show(at)

            yield progress
    except (InputError, OutputError, StyleError, KeyboardInterrupt):
        if left_identity(plan.output) is not None:
            console.print(f"{plan.output}: what is stylized is kept; this goes on: {call.again}")
        raise


def _say_size(plan: "FilmPlan", size: int, console: Console) -> None:
    """Say how large the film will be, where it will be much larger than its source."""
    source = plan.film.path.stat().st_size if plan.film.path.is_file() else 0
    if size >= _LARGE_BYTES and size > _MUCH_LARGER * source:
        smaller = "; --crf takes a higher number for a smaller file" if plan.encoding is not None else ""
        line = f"{plan.output}: will take about {size / 1e6:.0f} MB, and its source takes {source / 1e6:.1f}{smaller}"
        console.print(line)


def _summary(result: "FilmResult") -> str:
    painted = result.frames - result.resumed
    fps = painted / result.elapsed_s
    line = f"{result.output}: {result.frames} frames in {result.elapsed_s:.1f} s ({fps:.1f} fps)"
    line += f" on {computed_on(result.choice)}"
    if result.resumed:
        line += f"; {result.resumed} of them from an earlier run"
    return f"{line}; {result.damage}" if str(result.damage) else line


def _color(text: str) -> tuple[int, int, int]:
    """Read black or #102030 as RGB."""
    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise SettingError(f"--background {text}: expected a color such as black or '#102030'") from error


def _seconds(option: str, text: str | None) -> Fraction | None:
    """Read 90, 1:30 or 0:01:30.5 as seconds."""
    if text is None:
        return None
    numbers = _numbers(text, ":")
    if not 1 <= len(numbers) <= 3 or any(number >= 60 for number in numbers[1:]):
        raise SettingError(f"{option} {text}: expected seconds, or hours:minutes:seconds such as 0:01:30.5")
    seconds = Fraction(0)
    for number in numbers:
        seconds = seconds * 60 + number
    return seconds


def _rate(text: str | None) -> Fraction | None:
    """Read 24, 29.97 or 30000/1001 as frames a second."""
    if text is None:
        return None
    numbers = _numbers(text, "/")
    rate = Fraction(*numbers) if len(numbers) <= 2 and all(numbers) else Fraction(0)
    if not 0 < rate <= 1000:
        raise SettingError(f"--fps {text}: expected frames a second, such as 24, 29.97 or 30000/1001")
    return rate


def _numbers(text: str, sign: str) -> list[Fraction]:
    """Plain numbers between signs; empty where one is none. Fraction itself would compute 1e999999999 for hours."""
    words = text.split(sign)
    plain = all(re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", word) for word in words)
    return [Fraction(word) for word in words] if plain else []
