"""`fastnst bench`: how fast networks are here, side by side."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fastnst.backends.backend import ProviderChoice
from fastnst.cli.console import Console
from fastnst.errors import OutputError, SettingError
from fastnst.io.files import write_atomically
from fastnst.io.styles import find_style, installed_styles

if TYPE_CHECKING:
    from fastnst.research.benchmarks.benchmark import Benchmark, Case, Measurement

POSITIVE = validators.Number(gte=1)
SEVERAL = Parameter(consume_multiple=True, negative="")


def bench(
    *,
    style: Annotated[list[str] | None, SEVERAL] = None,
    against: Annotated[list[Path] | None, SEVERAL] = None,
    size: Annotated[list[str] | None, SEVERAL] = None,
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
        Installed styles or .onnx files; by default all installed styles. The first is what others are compared with.
    against:
        ONNX files of other projects: float32 (N, 3, H, W), RGB, in and out.
    size:
        Sizes of picture as WIDTHxHEIGHT. By default 640x480.
    provider:
        What computes; several are compared. By default auto.
    runs:
        Runs of each, after the warm-up; the median counts.
    threads:
        Threads on the CPU. By default one for each core.
    json:
        Also write everything to this file.
    """
    if json is not None and json.is_dir():  # known now, not after minutes of timing
        raise OutputError(f"--json {json}: is a folder; expected a file, such as bench.json")
    from fastnst.research.benchmarks.benchmark import WARM_UP, run_benchmark  # noqa: PLC0415

    cases = _plan(style, against or [], size or ["640x480"], provider or ["auto"])
    console = Console(stderr=True)
    columns = (TextColumn("timing"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("", total=(WARM_UP + runs) * len(cases))
        benchmark = run_benchmark(cases, runs=runs, threads=threads, on_run=lambda: progress.advance(bar))
    if json is not None:
        write_atomically(json, benchmark.as_json().encode(errors="backslashreplace"))
    _show(benchmark)
    if any(measurement.error for measurement in benchmark.measurements):
        sys.exit(1)


def _plan(
    styles: list[str] | None, against: list[Path], sizes: list[str], providers: list[ProviderChoice]
) -> "list[Case]":
    from fastnst.research.benchmarks.benchmark import Case  # noqa: PLC0415

    names = list(installed_styles()) if styles is None else styles
    if not names and not against:
        raise SettingError("no style is installed; name ONNX files by --style or --against")
    networks = [(Path(name).stem if name.endswith(".onnx") else name, find_style(name), False) for name in names]
    networks += [(path.stem, find_style(path), True) for path in against]
    return [
        Case(name, path, measured, provider, foreign)
        for measured in map(_read_size, sizes)
        for name, path, foreign in networks
        for provider in providers
    ]


def _read_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as (height, width)."""
    match = re.fullmatch(r"([1-9]\d{0,4})[xX×]([1-9]\d{0,4})", text)  # noqa: RUF001 - people paste the real sign
    if match is None:
        raise SettingError(f"--size {text}: expected WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(match[2]), int(match[1])


def _show(benchmark: "Benchmark") -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 120
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("network", "size", "runs on"):
        table.add_column(title, no_wrap=True)
    for title in ("ms", "least", "fps", "ratio", "CPU ms", "memory", "differs"):
        table.add_column(title, justify="right", no_wrap=True)
    for measurement in benchmark.measurements:
        table.add_row(*_row(measurement))
    console.print(table)
    # The same for every size, mostly: once is enough.
    errors = {f"{row.case.name}: {row.error}": None for row in benchmark.measurements if row.error}
    for error in errors:
        console.print(error, style="red", markup=False, soft_wrap=True)
    machine = benchmark.machine
    busy = machine["load_before"] is not None and machine["load_before"] > 0.5 * (machine["processors"] or 1)
    note = f", busy before (load {machine['load_before']}): trust CPU ms and ratios" if busy else ""
    console.print(
        f"Median and least of {benchmark.runs} runs, picture to picture, on {machine['processors']} x "
        f"{machine['processor']}{note}. CPU ms: processor time of all threads. Memory: the most that the process held, "
        "in MB. Differs: largest difference from the same network on cpu, of 255 levels, and PSNR.",
        style="dim",
        markup=False,
        soft_wrap=True,
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
