"""Comparisons of the fast and the exact method as a report: tables, plots, pictures, JSON.

Frames are uint8 (H, W, 3) RGB.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from fastnst.io.images import Frame, Picture, write_picture
from fastnst.report.blocks import Facts, Heading, Text
from fastnst.report.report import Report
from fastnst.research.comparison.compare import Comparer
from fastnst.research.comparison.comparison import TABLE_STEPS, Comparison
from fastnst.research.comparison.pictures import draw_comparison_sheet, loss_plot, picture_grid
from fastnst.research.comparison.tables import (
    at_size,
    counted,
    in_words,
    loss_table,
    match_table,
    sizes_of,
    speed_table,
)


def compare_report(comparer: Comparer, style_name: str, comparisons: Sequence[Comparison]) -> Report:
    """Build the report on one network and at least one comparison.

    Args:
        comparer: what made them.
        style_name: of the style image's file.
        comparisons: in the order of photos and sizes.
    """
    report = Report(f"{comparer.network.name}: the fast network beside the exact method", summary(comparisons))
    report.add(Facts(facts(comparer, style_name, comparisons)))
    if not comparer.same_hardware:
        report.add(
            Text(
                f"The seconds do not compare: the network ran on {comparer.fast_hardware}, the exact method on "
                f"{comparer.exact_hardware}. The losses do."
            )
        )
    report.add(Heading("Speed"), speed_table(comparisons), Heading("Loss"))
    for size in sizes_of(comparisons):
        report.add(loss_table(at_size(comparisons, size), comparer.settings.tv_weight > 0))
    report.add(match_table(comparisons), Heading("Loss on the way"))
    report.add(*(loss_plot(at_size(comparisons, size)) for size in sizes_of(comparisons)))
    report.add(Heading("Pictures"), *(picture_grid(comparison, comparer.style) for comparison in comparisons))
    report.data = data(comparer, style_name, comparisons)
    return report


def write_comparison(report: Report, style: Frame, comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write the report, each picture and each labelled sheet into a folder; the report's HTML file comes first.

    Raises OutputError where a file cannot be written.
    """
    files = report.write(folder, "compare")
    for comparison in comparisons:
        stem = f"{comparison.photo}-{comparison.size}"
        pictures = {"content": comparison.content, "fast": comparison.fast}
        pictures |= {f"exact-{step}": frame for step, frame in comparison.exact.items()}
        pictures["sheet"] = draw_comparison_sheet(comparison, style)
        for name, frame in pictures.items():
            files.append(folder / f"{stem}-{name}.png")
            write_picture(files[-1], Picture(frame=frame))
    return files


def summary(comparisons: Sequence[Comparison]) -> str:
    """What was found, in two sentences, at the largest size."""
    chosen = at_size(comparisons, sizes_of(comparisons)[-1])
    fast, fast_s = fmean(c.fast_losses.total for c in chosen), fmean(c.fast_s for c in chosen)
    where = f"{counted(len(chosen), 'photo')} at {chosen[0].size} px"
    text = f"On {where} the network reaches a total loss of {fast:.3g} in {in_words(fast_s)}."
    matched = [point for c in chosen if (point := c.matched) is not None]
    if not matched:
        return f"{text} The exact method did not fall to that within {chosen[0].curve[-1].step} steps."
    if len(matched) < len(chosen):
        return f"{text} The exact method falls to that within its steps on {len(matched)} of {len(chosen)}."
    steps, seconds = fmean(point.step for point in matched), fmean(point.elapsed_s for point in matched)
    return (
        f"{text} The exact method first falls to that after {steps:.0f} steps and {in_words(seconds)}: "
        f"{seconds / fast_s:,.0f} times as long."
    )


def facts(comparer: Comparer, style_name: str, comparisons: Sequence[Comparison]) -> dict[str, str]:
    """What was compared, and with what."""
    s = comparer.settings
    smooth = f", total variation x {s.tv_weight:g}" if s.tv_weight else ""
    return {
        "network": f"{comparer.network.path.name}, {comparer.network.parameters:,} parameters",
        "style image": f"{style_name}, long side {s.style_size} px",
        "photos": ", ".join(dict.fromkeys(comparison.photo for comparison in comparisons)),
        "loss": f"content x {s.content_weight:g} at {', '.join(s.content_layers)}; style x {s.style_weight:g}, "
        f"{s.style_statistic} at {', '.join(s.style_layers)}{smooth}; {s.normalization}, {s.pool} pooling",
        "loss network": comparer.loss_weights,
        "exact method": f"{s.optimizer}, {s.steps} steps from {s.init}, on {comparer.exact_hardware}",
        "fast method": comparer.fast_hardware,
        "judged": "every picture as it is saved, uint8, in float32; the best of the first N steps stands for exact(N)",
        "timed": "fast: median of at least 5 runs after 2, from uint8 to uint8; exact: without loading and judging",
    }


def data(comparer: Comparer, style_name: str, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """All figures and settings as values that JSON holds."""
    return {
        "facts": facts(comparer, style_name, comparisons),
        "settings": dataclasses.asdict(comparer.settings),
        "same_hardware": comparer.same_hardware,
        "comparisons": [_plain(comparison) for comparison in comparisons],
    }


def _plain(comparison: Comparison) -> dict[str, Any]:
    found = comparison.matched
    return {
        "photo": comparison.photo,
        "size": comparison.size,
        "height": comparison.content.shape[0],
        "width": comparison.content.shape[1],
        "photo_itself": dataclasses.asdict(comparison.content_losses),
        "fast": {**dataclasses.asdict(comparison.fast_losses), "seconds": comparison.fast_s},
        "exact_step_s": comparison.step_s,
        "exact": [
            {"step": point.step, "elapsed_s": point.elapsed_s, **dataclasses.asdict(point.losses)}
            for point in comparison.curve
        ],
        "matched_step": found.step if found else None,
        "matched_s": found.elapsed_s if found else None,
        "speed_up": {str(steps): comparison.speed_up(steps) for steps in TABLE_STEPS},
        "extrapolated": [steps for steps in TABLE_STEPS if comparison.at(steps) is None],
    }
