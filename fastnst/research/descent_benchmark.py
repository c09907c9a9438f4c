"""How much sooner `fastnst optimize` reaches the loss that plain L-BFGS ends with: `fastnst research bench-optimize`.

Each contender runs in a process of its own; seconds count from asking for the process, so imports, loading the loss
network, references and all levels of a pyramid are in. All are judged alike and afterwards: the picture as it would be
saved, uint8, by VGG-19 in float32. What is finished is kept in a folder and not run again.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from fastnst.errors import FastNSTError, InputError
from fastnst.exact.objective import Subject
from fastnst.exact.pyramid import plan_levels
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.files import read_table, reading, write_atomically
from fastnst.io.images import Frame, Picture, read_frame, write_picture
from fastnst.io.tensors import to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.settings import LossSettings
from fastnst.losses.weights import load_loss_network
from fastnst.machine import describe_machine
from fastnst.report.blocks import Plot
from fastnst.report.report import MARKERS, Theme, draw_plot, scale_log, to_json
from fastnst.research.descent_worker import picture_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINE = "baseline"


@dataclass(frozen=True)
class DescentPoint:
    """A picture on the way."""

    step: int
    elapsed_s: float
    cpu_s: float
    """Processor time of all threads: tells more than seconds where the computer had other work."""
    total: float
    content: float
    style: float


@dataclass(frozen=True)
class Curve:
    """A contender's pictures on one pair, judged."""

    photo: str
    style: str
    contender: str
    points: tuple[DescentPoint, ...]
    threads: int
    machine: Mapping[str, Any]

    @property
    def last(self) -> DescentPoint:
        """The last picture."""
        return self.points[-1]

    def first_below(self, total: float) -> DescentPoint | None:
        """The first picture that is at least as good."""
        return next((point for point in self.points if point.total <= total), None)


@dataclass(frozen=True)
class PicturePair:
    """A photo and the painting it is painted like."""

    photo: Path
    style: Path

    @property
    def name(self) -> str:
        """Serves in file names."""
        return f"{self.photo.stem}-{self.style.stem}"


class DescentBenchmark:
    """Runs contenders on pairs, one after the other, and judges them."""

    def __init__(
        self, folder: Path, settings: OptimizeSettings, *, baseline_steps: int = 500, work: "Work | None" = None
    ) -> None:
        """Take the folder of curves, pictures and the report, and loss, size and loss network of all contenders.

        Total variation has no weight. `work` does a job; by default `work_in_process`.
        """
        self._work = work or work_in_process
        self.folder, self.settings, self.baseline_steps = folder, settings, baseline_steps

    def run(
        self,
        pair: PicturePair,
        contender: str,
        changes: Mapping[str, Any],
        on_step: Callable[[int], None] | None = None,
    ) -> Curve:
        """The curve of "baseline", or of a contender with changes of the settings: kept from before, or a new one.

        `on_step` is called with the number of each kept step. Raises InputError where a kept curve belongs to something
        else, FastNSTError for what goes wrong on the way.
        """
        steps = self.steps_of(contender, changes)
        wanted = _plain(asdict(self.settings) | dict(changes))
        deciding = _plain(_of_baseline(self.settings)) if contender == BASELINE else wanted
        asked = {"settings": deciding, "steps": steps, "photo": pair.photo.name, "style": pair.style.name}
        path = self.folder / f"{pair.name}-{contender}.json"
        if path.is_file():
            return self._kept(path, asked)
        self.folder.mkdir(parents=True, exist_ok=True)
        job = {
            "method": "baseline" if contender == BASELINE else "fastnst",
            "photo": str(pair.photo),
            "style": str(pair.style),
            "pictures": str(path.with_suffix("")),
            "steps": steps,
            "settings": wanted,
        }
        machine = describe_machine()
        told, threads = self._work(job, on_step or (lambda _: None))
        points = self._judge(pair, told, path.with_suffix(""))
        curve = Curve(pair.photo.stem, pair.style.stem, contender, tuple(points), threads, machine)
        write_atomically(path, (json.dumps({"asked": asked, "curve": asdict(curve)}, indent=1) + "\n").encode())
        shutil.rmtree(path.with_suffix(""))
        return curve

    def steps_of(self, contender: str, changes: Mapping[str, Any]) -> int:
        """Evaluations that a contender will take."""
        if contender == BASELINE:
            return self.baseline_steps
        return sum(level.steps for level in plan_levels(replace(self.settings, **changes)))

    def _kept(self, path: Path, asked: dict[str, Any]) -> Curve:
        kept = read_table(path, "remove it", InputError)
        with reading(path, "remove it", InputError):
            if kept["asked"] != json.loads(json.dumps(asked)):
                raise InputError(f"{path}: was measured with other settings; remove it or choose another folder")
            curve = kept["curve"]
            return Curve(**(curve | {"points": tuple(DescentPoint(**point) for point in curve["points"])}))

    def _judge(self, pair: PicturePair, told: Sequence[dict[str, Any]], pictures: Path) -> list[DescentPoint]:
        """Judge the pictures of full size; smaller ones, of a pyramid's first levels, are passed over."""
        network, _ = load_loss_network(self.settings)
        subject = Subject(read_frame(pair.photo), read_frame(pair.style), self.settings)
        objective = subject.objective(
            PerceptualLoss(network, self.settings), self.settings.size, torch.device("cpu"), None
        )
        points = []
        frame: Frame | None = None
        for answer in told:
            frame = np.load(picture_file(pictures, answer["step"]))
            if max(frame.shape) == self.settings.size:
                losses = objective.judge(to_image(frame))
                total, content, style = losses["total"], losses["content"], losses["style"]
                points.append(DescentPoint(**answer, total=total, content=content, style=style))
        if frame is not None:
            write_picture(self.folder / f"{pictures.name}.png", Picture(frame=frame))
        return points


Work: TypeAlias = Callable[[dict[str, Any], Callable[[int], None]], tuple[list[dict[str, Any]], int]]
"""Does a job of descent_worker.py, calls with each kept step, and gives what was said of each and the threads."""


def work_in_process(job: dict[str, Any], on_step: Callable[[int], None]) -> tuple[list[dict[str, Any]], int]:
    """Let a process do a job; what it told of each kept step, and its number of threads."""
    told: list[dict[str, Any]] = []
    command = [sys.executable, "-m", "fastnst.research.descent_worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            with process.stdin as questions:
                questions.write(json.dumps(job | {"started": time.time()}) + "\n")
            for answer in map(json.loads, process.stdout):
                if "error" in answer:
                    raise FastNSTError(answer["error"])
                if "done" in answer:
                    return told, answer["threads"]
                told.append(answer)
                on_step(answer["step"])
        finally:
            process.terminate()
    raise FastNSTError(f"{Path(job['pictures']).stem}: its process ended before its time; is there memory enough?")


def _of_baseline(settings: OptimizeSettings) -> dict[str, Any]:
    """What decides the baseline's curve: the loss, and the pictures. Other ways down do not change it."""
    names = {field.name for field in fields(LossSettings)} - {"precision", "tv_weight", "tv_kind"}
    names |= {"size", "style_size", "stroke", "aspect", "color"}
    return {name: value for name, value in asdict(settings).items() if name in names}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """A row for each contender on each pair: its last picture, and when it reached the baseline's last loss."""
    baselines = {(curve.photo, curve.style): curve for curve in curves if curve.contender == BASELINE}
    found = []
    for curve in curves:
        baseline = baselines[curve.photo, curve.style]
        reached = baseline.last if curve is baseline else curve.first_below(baseline.last.total)
        found.append(
            {
                "photo": curve.photo,
                "style": curve.style,
                "contender": curve.contender,
                "steps": curve.last.step,
                "elapsed_s": curve.last.elapsed_s,
                "total": curve.last.total,
                "content": curve.last.content,
                "style_loss": curve.last.style,
                "reached_step": reached and reached.step,
                "reached_s": reached and reached.elapsed_s,
                "ratio": reached and baseline.last.elapsed_s / reached.elapsed_s,
                "cpu_ratio": reached and baseline.last.cpu_s / reached.cpu_s,
            }
        )
    return found


def mean_ratios(table: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Geometric mean over the pairs of how much sooner each contender was; None where it was not, on some pair."""
    contenders = dict.fromkeys(row["contender"] for row in table if row["contender"] != BASELINE)
    means = {}
    for contender in contenders:
        ratios = [row["ratio"] for row in table if row["contender"] == contender]
        means[contender] = None if None in ratios else geometric_mean(ratios)
    return means


def as_json(curves: Sequence[Curve], settings: Mapping[str, Any]) -> str:
    """Everything, for programs."""
    table = rows(curves)
    content = {
        "settings": dict(settings),
        "table": table,
        "mean_ratio": mean_ratios(table),
        "curves": [asdict(curve) for curve in curves],
    }
    return to_json(content)


def loss_plot(curves: Sequence[Curve]) -> Plot:
    """Loss against seconds, a panel for each pair; dashed: the loss that the baseline ends with."""
    pairs = list(dict.fromkeys((curve.photo, curve.style) for curve in curves))
    contenders = list(dict.fromkeys(curve.contender for curve in curves))

    def draw(axes: "list[Axes]", theme: Theme) -> None:
        for panel, pair in zip(axes, pairs, strict=True):
            for curve in curves:
                if (curve.photo, curve.style) == pair:
                    _draw_curve(panel, curve, contenders.index(curve.contender), theme)
            panel.set_title(f"{pair[0]}, {pair[1]}", fontsize=9)
            panel.set_xlabel("seconds")
            scale_log(panel)
        axes[0].set_ylabel("loss, judged by VGG-19")
        axes[0].legend(fontsize=8)

    caption = "Loss of the picture as saved, judged by VGG-19 in float32; dashed: what the baseline ends with."
    return draw_plot("loss-against-seconds", draw, caption=caption, panels=len(pairs), size=(4.6 * len(pairs), 4.2))


def _draw_curve(panel: "Axes", curve: Curve, number: int, theme: Theme) -> None:
    color = theme.series[number % len(theme.series)]
    seconds, totals = [point.elapsed_s for point in curve.points], [point.total for point in curve.points]
    panel.plot(seconds, totals, color=color, label=curve.contender, marker=MARKERS[number], markersize=3, markevery=6)
    if curve.contender == BASELINE:
        panel.axhline(curve.last.total, color=color, linestyle="--", linewidth=1)
