"""What `fastnst research bench-optimize` says: loss against seconds, how much sooner the baseline's is reached."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

from fastnst.report.blocks import Plot
from fastnst.report.drawing import MARKERS, Theme, draw_plot
from fastnst.research.benchmarks.descent_benchmark import BASELINE, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    return json.dumps(content, indent=1) + "\n"


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
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xlabel("seconds")
            panel.yaxis.set_minor_formatter("{x:g}")
            panel.yaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_major_formatter("{x:g}")
            panel.tick_params(axis="y", which="minor", labelsize=7)
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
