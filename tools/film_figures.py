"""Measure `fastnst video`: its speed beside each of its stages alone, its memory over time, what --steady does.

    python tools/film_figures.py throughput FILM --style starry --frames 200
    python tools/film_figures.py memory --minutes 10 --size 192x108 --style starry
    python tools/film_figures.py steady FILM ... --style starry --hold 0.8 --frames 8

All that is compared is measured in one run, in turns. On a computer with other work to do, only the ratios mean
something, and they little. `--wait 20` paints nothing and waits 20 ms for each frame instead, as a network on a GPU
lets the processor wait.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import av
import cv2
import numpy as np

from fastnst.errors import FastNSTError
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.session import StyleSession
from fastnst.inference.steadying import Steadier
from fastnst.io.images import Frame
from fastnst.machine import describe_machine, peak_memory_mb
from fastnst.research.video_report import evaluate_video, gather_scenes
from fastnst.video import stylize
from fastnst.video.job import JobFolder
from fastnst.video.plan import FilmPlan, VideoSettings, plan_film
from fastnst.video.reader import read_frames
from fastnst.video.writer import SegmentedEncoder

RATE = 25
MINUTE_FRAMES = 60 * RATE

Painter = Callable[[Frame], Frame]


@dataclass(frozen=True)
class Taken:
    """What something took: seconds by the clock, and of all processors together."""

    elapsed_s: float
    cpu_s: float


def measure(action: Callable[[], object]) -> Taken:
    """Run something and time it."""
    started, cpu_started = time.perf_counter(), time.process_time()
    action()
    return Taken(time.perf_counter() - started, time.process_time() - cpu_started)


def measure_stages(pipeline: StylePipeline, plan: FilmPlan, rounds: int) -> dict[str, Taken]:
    """Take the medians of reading, painting and writing alone, all of it one after another, and `video`.

    Args:
        pipeline: what paints.
        plan: a film, short enough that its frames fit the memory twice.
        rounds: how often each is measured, in turns.
    """
    threads = plan.settings.codec_threads
    frames = list(read_frames(plan.film, plan.span, threads=threads))
    painted = [pipeline(frame.frame) for frame in frames]
    assert plan.encoding is not None
    encoding = plan.encoding

    def read() -> None:
        for _ in read_frames(plan.film, plan.span, threads=threads):
            pass

    def paint() -> None:
        for frame in frames:
            pipeline(frame.frame)

    def write() -> None:
        with JobFolder(plan.output, {}) as job:
            writer = SegmentedEncoder(job, encoding)
            for frame, picture in zip(frames, painted, strict=True):
                writer.write(replace(frame, frame=picture))
            writer.finish()
            job.keep = False

    def in_turn() -> None:
        with mock.patch.object(stylize, "overlapping", one_after_another):
            stylize.stylize_film(pipeline, plan)

    stages: dict[str, Callable[[], object]] = {
        "reading": read,
        "painting": paint,
        "writing": write,
        "one after another": in_turn,
        "video": lambda: stylize.stylize_film(pipeline, plan),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in stages}
    for _ in range(rounds):
        for name, stage in stages.items():
            taken[name].append(measure(stage))
    return {name: _median(times) for name, times in taken.items()}


@contextmanager
def one_after_another(
    source: Iterable[Any], sink: Callable[[Any], None]
) -> Iterator[tuple[Iterable[Any], Callable[[Any], bool]]]:
    """Do what `overlapping` does, without any overlap."""

    def write(item: Any) -> bool:
        sink(item)
        return True

    yield source, write


def _median(times: list[Taken]) -> Taken:
    return Taken(statistics.median(t.elapsed_s for t in times), statistics.median(t.cpu_s for t in times))


def show_throughput(pipeline: StylePipeline, plan: FilmPlan, rounds: int) -> None:
    """Print the times and what they mean."""
    frames = sum(1 for _ in read_frames(plan.film, plan.span, threads=plan.settings.codec_threads))
    taken = measure_stages(pipeline, plan, rounds)
    for name, times in taken.items():
        fps = frames / times.elapsed_s
        print(f"{name:18} {times.elapsed_s:8.2f} s {fps:8.1f} fps {times.cpu_s:8.2f} s of processors")
    whole = taken["video"]
    slowest = max(("reading", "painting", "writing"), key=lambda name: taken[name].elapsed_s)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"video reaches {taken[slowest].elapsed_s / whole.elapsed_s:.0%} of the slowest stage alone ({slowest})")
    print(f"and {taken['one after another'].elapsed_s / whole.elapsed_s:.2f} times the speed of one after another;")
    print(f"the {processors} processor(s) were busy for {whole.cpu_s / whole.elapsed_s / processors:.0%} of the time")


def show_memory(pipeline: StylePipeline, plan: FilmPlan) -> None:
    """Paint a film and print the most memory held in each of its minutes."""
    most: dict[int, float] = {}

    def sample(progress: stylize.FilmProgress) -> None:
        minute = (progress.done - 1) // MINUTE_FRAMES
        most[minute] = max(most.get(minute, 0.0), resident_mb())

    result = stylize.stylize_film(pipeline, plan, on_progress=sample)
    for minute, megabytes in most.items():
        print(f"minute {minute + 1:3}: {megabytes:7.1f} MB")
    first, last = most[0], most[max(most)]
    print(f"{result.frames} frames in {result.elapsed_s:.0f} s; first minute {first:.1f} MB, last {last:.1f} MB")
    print(f"({last / first - 1:+.1%}); the most of the whole run, putting together included: {peak_memory_mb():.1f} MB")


def resident_mb() -> float:
    """Memory of this process that is resident now, in megabytes of 2^20 bytes. Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def show_steadiness(painter: Painter, paths: Sequence[Path], hold: float, frames: int, long_side: int) -> None:
    """Print how steady scenes are painted, each frame for itself and held, as in docs/research/metrics.md."""
    print(f"{'scene':20} {'kind':17} {'excess':>8} {'held':>8} {'fine detail':>12}")
    for scene in gather_scenes(paths, frames=frames, long_side=long_side):
        painted = [painter(frame) for frame in scene.frames]
        steadier = Steadier(hold)
        held = [steadier(frame, picture) for frame, picture in zip(scene.frames, painted, strict=True)]
        kept = _detail(held[-1]) / _detail(painted[-1])
        rows = evaluate_video({"each": replay(painted), "held": replay(held)}, [scene])
        for kind in dict.fromkeys(row.kind for row in rows):
            each, steady = (row.excess for row in rows if row.kind == kind)
            print(f"{scene.name:20} {kind:17} {each:8.4f} {steady:8.4f} {kept:12.2f}", flush=True)


def replay(frames: Iterable[Frame]) -> Painter:
    """Give a painter that hands out what is painted already."""
    left = iter(frames)
    return lambda _frame: next(left)


def _detail(frame: Frame) -> float:
    """Mean size of the Laplacian of the grey picture: how much there is of fine strokes."""
    return float(np.abs(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_32F)).mean())


def draw_film(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Write a film with sound: stripes of noise that move, `size` (height, width)."""
    noise = np.random.default_rng(0).integers(0, 256, (size[0], size[1] // 8 + 1, 3), np.uint8)
    picture = np.repeat(noise, 8, 1)[:, : size[1]]
    with av.open(str(path), "w") as film:
        pictures = film.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        pictures.height, pictures.width = size
        pictures.pix_fmt = "yuv420p"
        sound = film.add_stream("aac", rate=48_000)
        for number in range(frames):
            film.mux(pictures.encode(av.VideoFrame.from_ndarray(np.roll(picture, number, 1), format="rgb24")))
            tone = av.AudioFrame.from_ndarray(np.zeros((2, 48_000 // RATE), np.float32), "fltp", "stereo")
            tone.sample_rate, tone.pts, tone.time_base = 48_000, number * 48_000 // RATE, Fraction(1, 48_000)
            film.mux(sound.encode(tone))
        film.mux(pictures.encode(None))
        film.mux(sound.encode(None))


@contextmanager
def open_pipeline(options: argparse.Namespace) -> Iterator[StylePipeline]:
    """Open what the command line asks for, and say what it is."""

    class Waits(StyleSession):
        def __call__(self, frames: Frame, **_options: Any) -> Frame:
            time.sleep(options.wait / 1000)
            return frames

    session = StyleSession if options.wait is None else Waits
    with StylePipeline(
        options.style, provider=options.provider, threads=options.threads, open_session=session
    ) as pipeline:
        print(f"{pipeline.style} on {pipeline.choice}" if options.wait is None else f"waits {options.wait} ms a frame")
        yield pipeline


def main() -> int:
    """Measure what the command line names."""
    options = _read_options()
    machine = describe_machine()
    print(f"{machine['processors']} x {machine['processor']}, load {machine['load_before']} before")
    settings = VideoSettings(
        codec=options.codec, encoder_speed=options.encoder_speed, codec_threads=options.codec_threads
    )
    try:
        with tempfile.TemporaryDirectory() as folder, open_pipeline(options) as pipeline:
            output = Path(folder) / "painted.mp4"
            if options.what == "throughput":
                rate = plan_film(options.film, output, settings).film.rate
                settings = replace(settings, drop_tracks=True, resume=False, end=options.frames / rate)
                plan = plan_film(options.film, output, settings, overwrite=True)
                show_throughput(pipeline, plan, options.rounds)
            elif options.what == "steady":
                show_steadiness(pipeline, options.films, options.hold, options.frames, options.long_side)
            else:
                width, height = (int(side) for side in options.size.split("x"))
                source = Path(folder) / "drawn.mp4"
                draw_film(source, round(options.minutes * MINUTE_FRAMES), (height, width))
                show_memory(pipeline, plan_film(source, output, settings))
    except FastNSTError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    kinds = parser.add_subparsers(dest="what", required=True)
    throughput = kinds.add_parser("throughput", help="video beside its stages")
    throughput.add_argument("film", type=Path)
    throughput.add_argument("--frames", type=int, default=200, help="how many of its frames (default: 200)")
    throughput.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    memory = kinds.add_parser("memory", help="memory over a long film that is drawn for it")
    memory.add_argument("--minutes", type=float, default=10)
    memory.add_argument("--size", default="192x108", help="WIDTHxHEIGHT (default: 192x108)")
    steady = kinds.add_parser("steady", help="how steady scenes are painted, with and without --steady")
    steady.add_argument("films", type=Path, nargs="+", help="films, folders of frames, folders with .flo files")
    steady.add_argument("--hold", type=float, default=0.8, help="share for --steady (default: 0.8)")
    steady.add_argument("--frames", type=int, default=8, help="how many of each film (default: 8)")
    steady.add_argument("--long-side", type=int, default=384, help="pixels (default: 384)")
    for kind in (throughput, memory, steady):
        kind.add_argument("--style", default="starry")
        kind.add_argument("--provider", default="auto")
        kind.add_argument("--threads", type=int, help="of the network")
        kind.add_argument("--codec-threads", type=int, help="of the decoder and of the encoder")
        kind.add_argument("--codec")
        kind.add_argument("--encoder-speed")
        kind.add_argument("--wait", type=float, metavar="MS", help="wait instead of painting")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
