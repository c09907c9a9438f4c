"""`fastnst research bench-optimize`: how much sooner the exact method reaches the loss that plain L-BFGS ends with."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fastnst.cli.console import Console
from fastnst.errors import InputError, SettingError, on_one_line
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.files import write_atomically
from fastnst.losses.settings import LossNetworkName

if TYPE_CHECKING:
    from fastnst.research.benchmarks.descent_benchmark import Curve, PicturePair

POSITIVE = validators.Number(gte=1)
DEFAULTS = OptimizeSettings()


def bench_optimize(
    *,
    photo: Annotated[list[Path], Parameter(negative="")],
    style: Annotated[list[Path], Parameter(negative="")],
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    baseline_steps: Annotated[int, Parameter(validator=POSITIVE)] = 500,
    init: Annotated[list[str], Parameter(negative="")] = [],  # noqa: B006 - never changed
    compact: Annotated[bool, Parameter(negative="")] = False,
    compact_polish: Annotated[list[int], Parameter(negative="")] = [],  # noqa: B006 - never changed
    settings: Annotated[OptimizeSettings, Parameter(name="*")] = DEFAULTS,
) -> None:
    """Time the exact method against plain L-BFGS (torch's, float32, one size): seconds to the same loss.

    Each contender has a process of its own, from whose start seconds are counted. Pictures are judged afterwards, as
    they would be saved, by VGG-19 in float32. What is finished is kept in the output folder, and not run again.
    Total variation has no weight here.

    Parameters
    ----------
    photo:
        Photos; each goes with the style of the same place.
    style:
        Style pictures.
    output:
        Folder for curves, pictures, the table (bench.json) and the plot (loss-against-seconds.png).
    baseline_steps:
        Evaluations of the baseline.
    init:
        Further contenders, each begun with this: noise, a picture file, or fast:STYLE.
    compact:
        Another contender: the compact loss network in the place of VGG-19.
    compact_polish:
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
    from fastnst.research.benchmarks.descent_benchmark import BASELINE, PicturePair, as_json, loss_plot  # noqa: PLC0415  # noqa: PLC0415

    contenders: dict[str, dict[str, Any]] = {BASELINE: {}, "fastnst": {}}
    contenders |= {
        f"fastnst from {_word(start)}": {"init": start if start == "noise" else Path(start)} for start in init
    }
    through_compact = {"loss_network": "compact", "loss_weights": None}
    if compact:
        contenders["fastnst compact"] = through_compact
    for steps in compact_polish:
        polish = {"fine_tune": steps, "fine_tune_weights": settings.loss_weights}
        contenders[f"fastnst compact, last {steps} VGG-19"] = through_compact | polish
    for changes in contenders.values():  # each in vain after hours of the others
        check_init(replace(settings, **changes))
    pairs = [PicturePair(one, other) for one, other in zip(photo, style, strict=True)]
    curves = _run(pairs, contenders, output, settings, baseline_steps)
    write_atomically(output / "bench.json", as_json(curves, _plain(settings)).encode(errors="backslashreplace"))
    plot = loss_plot(curves)
    write_atomically(output / "loss-against-seconds.png", plot.light)
    write_atomically(output / "loss-against-seconds-dark.png", plot.dark)
    _show(curves)


def _run(
    pairs: "list[PicturePair]",
    contenders: dict[str, dict[str, Any]],
    output: Path,
    settings: OptimizeSettings,
    baseline_steps: int,
) -> "list[Curve]":
    from fastnst.research.benchmarks.descent_benchmark import DescentBenchmark  # noqa: PLC0415

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


def _show(curves: "list[Curve]") -> None:
    from fastnst.research.benchmarks.descent_benchmark import mean_ratios, rows  # noqa: PLC0415

    console = Console()
    if not console.is_terminal:
        console.width = 200
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("photo", "style", "contender"):
        table.add_column(title, no_wrap=True)
    for title in ("steps", "seconds", "loss", "content", "style", "reached at step", "seconds", "ratio", "CPU ratio"):
        table.add_column(title, justify="right", no_wrap=True)
    found = rows(curves)
    for row in found:
        table.add_row(*_cells(row))
    console.print(table)
    for contender, ratio in mean_ratios(found).items():
        said = "did not reach the baseline's loss on every pair" if ratio is None else f"{ratio:.1f} times as fast"
        console.print(f"{contender}: {said} (geometric mean)", markup=False)
    machine = curves[0].machine
    console.print(
        f"Loss of the pictures as saved, judged by VGG-19 in float32. Reached: at least the baseline's last loss. "
        f"{curves[0].threads} threads on {machine['processors']} x {machine['processor']}, "
        f"load before {machine['load_before']}: if that is not near 0, trust the CPU ratio.",
        style="dim",
        markup=False,
        soft_wrap=True,
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


def _plain(settings: OptimizeSettings) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
