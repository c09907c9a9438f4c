"""`fastnst bench` and `research bench-optimize`: how fast networks are here, and the exact method."""

import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fastnst.backends.contract import ProviderChoice
from fastnst.cli.console import Console
from fastnst.errors import InputError, OutputError, SettingError, on_one_line
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.files import sole_writer, write_atomically
from fastnst.io.styles import find_network, installed_styles
from fastnst.losses.settings import LossNetworkName

if TYPE_CHECKING:
    from fastnst.research.benchmark import Benchmark, Case, Measurement
    from fastnst.research.descent_benchmark import Curve, PicturePair


POSITIVE = validators.Number(gte=1)
SEVERAL = Parameter(consume_multiple=True, negative="")


def bench(
    *,
    style: Annotated[list[str] | None, SEVERAL] = None,
    against: Annotated[list[Path] | None, SEVERAL] = None,
    frame_size: Annotated[list[str] | None, SEVERAL] = None,
    provider: Annotated[list[ProviderChoice] | None, SEVERAL] = None,
    runs: Annotated[int, Parameter(validator=POSITIVE)] = 15,
    threads: Annotated[int | None, Parameter(validator=POSITIVE)] = None,
    json: Path | None = None,
) -> None:
    """Time networks on this computer: milliseconds, frames a second, memory.

    From picture to picture, each network in a process of its own, all in turns after a warm-up.

    Parameters
    ----------
    style:
        Style: the name of an installed one, or an .onnx file; by default all that are installed. The first
        is what others are compared with.
    against:
        ONNX files of other projects, timed beside these.
    frame_size:
        Width and height of the pictures, pixels, as WIDTHxHEIGHT; several are timed. By default 640x480.
    provider:
        What computes: several are compared, by default auto.
    runs:
        Runs of each, after the warm-up; the median counts.
    threads:
        Threads of the network on the CPU. By default one for each core.
    json:
        Write settings and figures to this file, as JSON.
    """
    if json is not None and json.is_dir():  # known now, not after minutes of timing
        raise OutputError(f"--json {json}: is a folder; expected a file, such as bench.json")
    from fastnst.research.benchmark import WARM_UP, run_benchmark  # noqa: PLC0415

    cases = _plan(style, against or [], frame_size or ["640x480"], provider or ["auto"])
    console = Console(stderr=True)
    columns = (TextColumn("timing"), BarColumn(), TimeRemainingColumn())
    with nullcontext() if json is None else sole_writer(json, folder=False):
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
            bar = progress.add_task("", total=(WARM_UP + runs) * len(cases))
            benchmark = run_benchmark(cases, runs=runs, threads=threads, on_run=lambda: progress.advance(bar))
        _show(benchmark)  # first, so that a file that cannot be written costs no figures
        if json is not None:
            write_atomically(json, benchmark.as_json().encode(errors="backslashreplace"))
    if any(measurement.error for measurement in benchmark.measurements):
        sys.exit(1)


def _plan(
    styles: list[str] | None, against: list[Path], sizes: list[str], providers: list[ProviderChoice]
) -> "list[Case]":
    from fastnst.research.benchmark import Case  # noqa: PLC0415

    names = list(installed_styles()) if styles is None else styles
    if not names and not against:
        raise SettingError("no style is installed; name ONNX files by --style or --against")
    networks = [(Path(name).stem if name.endswith(".onnx") else name, find_network(name)) for name in names]
    networks += [(path.stem, find_network(path)) for path in against]
    return [
        Case(name, path, measured, provider)
        for measured in map(_read_size, sizes)
        for name, path in networks
        for provider in providers
    ]


def _read_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as (height, width)."""
    match = re.fullmatch(r"([1-9]\d{0,4})[xX×]([1-9]\d{0,4})", text)  # noqa: RUF001 - people paste the real sign
    if match is None:
        raise SettingError(f"--frame-size {text}: expected WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(match[2]), int(match[1])


def _table(width: int, names: Sequence[str], figures: Sequence[str]) -> tuple[Console, Table]:
    """A table of names and figures, and the console to print it on: `width` characters wide where it is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = width
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in names:
        table.add_column(title, no_wrap=True)
    for title in figures:
        table.add_column(title, justify="right", no_wrap=True)
    return console, table


def _show(benchmark: "Benchmark") -> None:
    console, table = _table(
        120, ("network", "size", "runs on"), ("ms", "least", "fps", "ratio", "CPU ms", "memory", "differs")
    )
    for measurement in benchmark.measurements:
        table.add_row(*_row(measurement))
    console.print(table)
    # The same for every size, mostly: once is enough.
    errors = {f"{row.case.name}: {row.error}": None for row in benchmark.measurements if row.error}
    for error in errors:
        console.print(error, style="red")
    machine = benchmark.machine
    busy = machine["load_before"] is not None and machine["load_before"] > 0.5 * (machine["processors"] or 1)
    note = f", busy before (load {machine['load_before']}): trust CPU ms and ratios" if busy else ""
    console.print(
        f"Median and least of {benchmark.runs} runs, picture to picture, on {machine['processors']} x "
        f"{machine['processor']}{note}. CPU ms: processor time of all threads. Memory: the most that the process held, "
        "in MB. Differs: largest difference from the same network on cpu, of 255 levels, and PSNR.",
        style="dim",
    )


def _row(measurement: "Measurement") -> list[str]:
    height, width = measurement.case.size
    start = [measurement.case.name, f"{width}x{height}"]
    if measurement.error is not None:
        return [*start, f"{measurement.case.provider}: failed", *([""] * 7)]
    memory, ratio = measurement.peak_memory_mb, measurement.ratio
    return [
        *start,
        measurement.ran_on,
        f"{measurement.median_ms:.1f}",
        f"{measurement.min_ms:.1f}",
        f"{measurement.fps:.1f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{measurement.cpu_ms:.1f}",
        "?" if memory is None else f"{memory:.0f}",
        _difference(measurement),
    ]


def _difference(measurement: "Measurement") -> str:
    if measurement.largest_difference is None or measurement.psnr_db is None:
        return ""
    return f"{measurement.largest_difference} ({measurement.psnr_db:.0f} dB)" if measurement.largest_difference else "0"


DEFAULTS = OptimizeSettings()


def bench_optimize(
    *,
    photo: Annotated[list[Path], Parameter(negative="")],
    style: Annotated[list[Path], Parameter(negative="")],
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    baseline_steps: Annotated[int, Parameter(validator=POSITIVE)] = 500,
    contender_init: Annotated[list[str], Parameter(negative="")] = [],  # noqa: B006 - never changed
    compact: Annotated[bool, Parameter(negative="")] = False,
    compact_fine_tune_steps: Annotated[list[int], Parameter(negative="")] = [],  # noqa: B006 - never changed
    settings: Annotated[OptimizeSettings, Parameter(name="*")] = DEFAULTS,
) -> None:
    """Time the exact method against plain L-BFGS (torch's, float32, one size): seconds to the same loss.

    Each contender has a process of its own, from whose start seconds are counted. Pictures are judged afterwards, as
    they would be saved, by VGG-19 in float32. What is finished is kept in the output folder, and not run again.
    Total variation has no weight here.

    Parameters
    ----------
    photo:
        Photo; each goes with the style of the same place.
    style:
        Style: a picture.
    output:
        Output: a folder for curves, pictures, the table (bench.json) and the plot (loss-against-seconds.png).
    baseline_steps:
        Evaluations of the baseline.
    contender_init:
        Further contenders, each begun with this: noise, a picture file, or fast:STYLE.
    compact:
        Another contender: the compact loss network in the place of VGG-19.
    compact_fine_tune_steps:
        Further contenders: the compact loss network, then VGG-19 for that many of the --steps.
    """
    settings = replace(settings, tv_weight=0.0, loss_network=_judge(settings))
    if len(photo) != len(style):
        raise SettingError(f"{len(photo)} photos and {len(style)} styles; give one --style for each --photo")
    for path in (*photo, *style):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; expected a folder")
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.exact.pyramid import check_init  # noqa: PLC0415
    from fastnst.research.descent_benchmark import BASELINE, PicturePair, as_json, loss_plot  # noqa: PLC0415

    contenders: dict[str, dict[str, Any]] = {BASELINE: {}, "fastnst": {}}
    contenders |= {
        f"fastnst from {_word(start)}": {"init": start if start == "noise" else Path(start)} for start in contender_init
    }
    through_compact = {"loss_network": "compact", "loss_weights": None}
    if compact:
        contenders["fastnst compact"] = through_compact
    for steps in compact_fine_tune_steps:
        polish = {"fine_tune_steps": steps, "fine_tune_weights": settings.loss_weights}
        contenders[f"fastnst compact, last {steps} VGG-19"] = through_compact | polish
    for changes in contenders.values():  # each in vain after hours of the others
        check_init(replace(settings, **changes))
    pairs = [PicturePair(one, other) for one, other in zip(photo, style, strict=True)]
    with sole_writer(output, folder=True):
        curves = _run(pairs, contenders, output, settings, baseline_steps)
        write_atomically(output / "bench.json", as_json(curves, asdict(settings)).encode(errors="backslashreplace"))
        plot = loss_plot(curves)
        write_atomically(output / "loss-against-seconds.png", plot.light)
        write_atomically(output / "loss-against-seconds-dark.png", plot.dark)
    _show_curves(curves)


def _run(
    pairs: "list[PicturePair]",
    contenders: dict[str, dict[str, Any]],
    output: Path,
    settings: OptimizeSettings,
    baseline_steps: int,
) -> "list[Curve]":
    from fastnst.research.descent_benchmark import DescentBenchmark  # noqa: PLC0415

    benchmark = DescentBenchmark(output, settings, baseline_steps=baseline_steps)
    console = Console(stderr=True)
    curves = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for pair in pairs:
            for contender, changes in contenders.items():
                steps = benchmark.steps_of(contender, changes)
                task = progress.add_task(escape(on_one_line(f"{pair.name}: {contender}")), total=steps)
                curves.append(benchmark.run(pair, contender, changes, partial(_tell, progress, task)))
                progress.update(task, completed=steps)
    return curves


def _tell(progress: Progress, task: TaskID, step: int) -> None:
    progress.update(task, completed=step)


def _show_curves(curves: "list[Curve]") -> None:
    from fastnst.research.descent_benchmark import mean_ratios, rows  # noqa: PLC0415

    figures = ("steps", "seconds", "loss", "content", "style", "reached at step", "seconds", "ratio", "CPU ratio")
    console, table = _table(200, ("photo", "style", "contender"), figures)
    found = rows(curves)
    for row in found:
        table.add_row(*_cells(row))
    console.print(table)
    for contender, ratio in mean_ratios(found).items():
        said = "did not reach the baseline's loss on every pair" if ratio is None else f"{ratio:.1f} times as fast"
        console.print(f"{contender}: {said} (geometric mean)")
    machine = curves[0].machine
    console.print(
        f"Loss of the pictures as saved, judged by VGG-19 in float32. Reached: at least the baseline's last loss. "
        f"{curves[0].threads} threads on {machine['processors']} x {machine['processor']}, "
        f"load before {machine['load_before']}: if that is not near 0, trust the CPU ratio.",
        style="dim",
    )


def _cells(row: dict[str, Any]) -> list[str]:
    def number(name: str, form: str) -> str:
        return "" if row[name] is None else format(row[name], form)

    return [
        row["photo"],
        row["style"],
        row["contender"],
        str(row["steps"]),
        number("elapsed_s", ".0f"),
        number("total", ".4f"),
        number("content", ".4f"),
        number("style_loss", ".4f"),
        number("reached_step", "d") or "never",
        number("reached_s", ".0f"),
        number("ratio", ".1f"),
        number("cpu_ratio", ".1f"),
    ]


def _judge(settings: OptimizeSettings) -> LossNetworkName:
    """What judges, and what all contenders go through that say nothing else: VGG-19, also where it must be fetched."""
    return "vgg19" if settings.loss_network == "auto" else settings.loss_network


def _word(start: str) -> str:
    return start.removeprefix("fast:") if start.startswith("fast:") else Path(start).stem
