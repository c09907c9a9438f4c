"""Draw the losses of two trainings against seconds and against arithmetic, and say how much sooner one gets there.

    python tools/training_figures.py runs/usual runs/ours -o docs/pictures/time_to_quality.png

Both are folders of `fastnst train`, with the same photographs, style picture, loss network and --crop-size, so that the
same held-out pictures were judged alike. The loss is content + 5 style, as balanced losses are weighed by default. The
mark is the lowest loss that both reach; arithmetic is multiply-adds of network and loss network, forwards and
backwards, with those of a starting network where its file tells them. `--init-from gallery` takes those of that network
off the second training, as it serves any number of them, and says how many they were; `--at 1.8 1.6` compares at other
losses too.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from safetensors import safe_open

from fastnst.errors import FastNSTError, InputError
from fastnst.io.files import write_atomically
from fastnst.models.checkpoint import find_model, load_model
from fastnst.renamed import with_current_names
from fastnst.report.report import MARKERS, Theme, draw_plot
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.run import TABLE

SAME = ("crop_size", "style_size", "loss_network", "content_layers", "style_layers", "normalization")
"""Settings without which the losses of two trainings do not compare."""


@dataclass(frozen=True)
class Curve:
    """One training's losses on the held-out pictures."""

    name: str
    seconds: list[float]
    multiply_adds: list[float]
    losses: list[float]

    def reaches(self, mark: float, along: list[float]) -> float | None:
        """Where, along seconds or arithmetic, the loss first comes down to the mark; straight lines between looks."""
        before = None
        for place, loss in zip(along, self.losses, strict=True):
            if loss <= mark:
                if before is None or before[1] == loss:
                    return place
                part = (before[1] - mark) / (before[1] - loss)
                return before[0] + part * (place - before[0])
            before = (place, loss)
        return None


def read_curve(folder: Path, style_weight: float) -> Curve:
    """Read a training's table; raises InputError where there is none."""
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        losses = [float(row["content"]) + style_weight * float(row["style"]) for row in rows]
        numbers = [[float(row[name]) for row in rows] for name in ("seconds", "multiply_adds")]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{folder / TABLE}: no losses of a training ({error})") from error
    if not rows:
        raise InputError(f"{folder / TABLE}: no losses yet; wait for the first --preview-every steps")
    return Curve(folder.name, *numbers, losses)


def check_alike(folders: list[Path]) -> None:
    """Raise InputError for trainings whose losses do not compare."""
    known = []
    for folder in folders:
        known.append(_settings(folder))
    for name, value in known[0].items():
        if None not in (value, known[1][name]) and known[1][name] != value:
            raise InputError(
                f"{folders[1]}: {name} is {known[1][name]}, {value} in {folders[0]}; losses do not compare"
            )


def _settings(folder: Path) -> dict[str, Any]:
    """What must be alike, from the checkpoint of a training or, where that was cleared away, the network it made."""
    path = folder / CHECKPOINT
    made = sorted(other for other in folder.glob("*.safetensors") if other != path)
    if not path.exists() and not made:
        raise InputError(f"{folder}: neither {CHECKPOINT} nor a trained network; give the folder of a training")
    with safe_open(path if path.exists() else made[0], framework="numpy") as opened:
        metadata = opened.metadata()
    if path.exists():
        settings = with_current_names("train", json.loads(metadata["settings"]))
    else:
        info = json.loads(metadata["info"])
        # The picture itself is not in the file; its name begins the sentence on what the network was trained on.
        settings = with_current_names("train", info["training"]["settings"]) | {
            "style": info["provenance"].partition(",")[0]
        }
    style = settings.get("style")
    names = ", ".join(Path(name).name for name in ([style] if isinstance(style, str) else style or []))
    pictures = {"style picture": names.removeprefix("trained on ") or None, "its SHA-256": metadata.get("style_sha256")}
    # What is fine-tuned is judged by VGG-19 throughout, with its authors' weights.
    judge = {"loss_network": "vgg19-caffe"} if settings.get("fine_tune_fraction") else {}
    return {name: settings.get(name) for name in SAME} | judge | pictures


def without_start(curve: Curve, start: Path) -> tuple[Curve, float]:
    """The curve without the arithmetic of the network that it started from, and how much that was."""
    taken = float(load_model(find_model(start))[1].training.get("multiply_adds", 0.0))
    if not taken:
        raise InputError(f"{start}: does not tell what its training took; leave --init-from out")
    if taken >= curve.multiply_adds[0]:
        raise InputError(
            f"{start}: took {taken:.4g} multiply-adds, {curve.name} began with fewer; not what it started from"
        )
    return replace(curve, multiply_adds=[number - taken for number in curve.multiply_adds]), taken


def compare(usual: Curve, ours: Curve, at: Sequence[float] = ()) -> str:
    """Say in lines what each took to reach the lowest loss that both reach, and to reach others."""
    mark = mark_of(usual, ours)
    lines = [f"mark: {mark:.4f}; lowest of {usual.name} {min(usual.losses):.4f}, of {ours.name} {min(ours.losses):.4f}"]
    for loss in (mark, *at):
        for unit, there, here in (
            ("s", usual.seconds, ours.seconds),
            ("multiply-adds", usual.multiply_adds, ours.multiply_adds),
        ):
            first, second = usual.reaches(loss, there), ours.reaches(loss, here)
            before = "" if loss == mark else f"at {loss:g}: "
            if first is None or second is None:
                lines.append(f"{before}not reached by both")
                break
            took = f"{usual.name} {first:.4g} {unit}, {ours.name} {second:.4g} {unit}"
            lines.append(f"{before}{took}: {first / second:.2f} times less")
    return "\n".join(lines)


def mark_of(usual: Curve, ours: Curve) -> float:
    """The lowest loss that both reach."""
    return max(min(usual.losses), min(ours.losses))


def draw(curves: list[Curve], mark: float) -> bytes:
    """A PNG with one panel a unit, both axes of arithmetic and seconds logarithmic."""

    def fill(axes: list[Axes], theme: Theme) -> None:
        for axis, unit, title in zip(axes, ("seconds", "multiply_adds"), ("seconds", "multiply-adds"), strict=True):
            for curve, color, marker in zip(curves, theme.series, MARKERS, strict=False):
                axis.plot(getattr(curve, unit), curve.losses, color=color, marker=marker, ms=4, label=curve.name)
            axis.axhline(mark, color=theme.muted, linestyle="--", linewidth=1)
            axis.set(xscale="log", xlabel=title, ylabel="content + 5 style, held-out pictures")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.legend()

    return draw_plot("training", fill, panels=2, size=(10.4, 4.2)).light


def main(arguments: list[str] | None = None) -> None:
    """Read two runs, print the comparison and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("usual", type=Path, help="folder of the one training")
    parser.add_argument("ours", type=Path, help="folder of the other, which is to take less")
    parser.add_argument("-o", "--output", type=Path, default=Path("time_to_quality.png"), help="figure to write")
    parser.add_argument("--style-weight", type=float, default=5.0, help="weight of the style loss in the sum")
    parser.add_argument("--init-from", type=Path, help="network that ours started from, whose arithmetic is taken off")
    parser.add_argument("--at", type=float, nargs="*", default=[], help="losses to compare at as well")
    given = parser.parse_args(arguments)
    try:
        check_alike([given.usual, given.ours])
        curves = [read_curve(folder, given.style_weight) for folder in (given.usual, given.ours)]
        if given.init_from is not None:
            curves[1], taken = without_start(curves[1], given.init_from)
            print(
                f"{given.init_from}, which {curves[1].name} started from, took {taken:.4g} multiply-adds; not counted"
            )
        print(compare(curves[0], curves[1], given.at))
        write_atomically(given.output, draw(curves, mark_of(*curves)))
    except FastNSTError as error:
        sys.exit(f"training_figures: {error}")


if __name__ == "__main__":
    main()
