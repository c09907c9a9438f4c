"""Comparisons of the fast and the exact method as a report: tables, plots, pictures, JSON.

Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fastnst.io.images import Frame, Picture, resize_frame, write_picture
from fastnst.report.blocks import Cell, Column, Facts, Heading, PictureGrid, Plot, Row, Table, Text, mean_interval
from fastnst.report.report import Report, Theme, crop_detail, draw_plot, draw_sheet, scale_log
from fastnst.research.compare import TABLE_STEPS, Comparer, Comparison, CurvePoint, Judged, shown_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def compare_report(comparer: Comparer, style_name: str, comparisons: Sequence[Comparison]) -> Report:
    """Build the report on at least one comparison, in the order of photos and sizes, and what made them."""
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
        "settings": asdict(comparer.settings),
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
        "photo_itself": asdict(comparison.content_losses),
        "fast": {**asdict(comparison.fast_losses), "seconds": comparison.fast_s},
        "exact_step_s": comparison.step_s,
        "exact": [
            {"step": point.step, "elapsed_s": point.elapsed_s, **asdict(point.losses)} for point in comparison.curve
        ],
        "matched_step": found.step if found else None,
        "matched_s": found.elapsed_s if found else None,
        "speed_up": {str(steps): comparison.speed_up(steps) for steps in TABLE_STEPS},
        "extrapolated": [steps for steps in TABLE_STEPS if comparison.at(steps) is None],
    }


_LEAST_FOR_INTERVAL = 4


def speed_table(comparisons: Sequence[Comparison]) -> Table:
    """Seconds and speed-up by size, as table 1 of Johnson et al. (2016); means over photos."""
    rows = []
    for size in sizes_of(comparisons):
        chosen = at_size(comparisons, size)
        cells: list[Cell] = [_timed(chosen, steps) for steps in TABLE_STEPS]
        cells += [in_words(fmean(c.step_s for c in chosen)), in_words(fmean(c.fast_s for c in chosen))]
        cells += [f"{fmean(c.speed_up(steps) for c in chosen):,.0f}x" for steps in TABLE_STEPS]
        height, width = chosen[0].content.shape[:2]
        rows.append(Row(f"{width} x {height}" if len(chosen) == 1 else f"long side {size} px", cells))
    return Table(
        [
            *(Column(title=f"exact ({n})", meaning=f"Seconds of {n} exact steps.") for n in TABLE_STEPS),
            Column(title="1 step", meaning="Median seconds of one exact step."),
            Column(title="fast", meaning="Median seconds of the network for one picture."),
            *(Column(title=f"speed-up ({n})", meaning=f"Seconds of {n} exact steps over fast.") for n in TABLE_STEPS),
        ],
        rows,
        corner="size",
        caption="As table 1 of Johnson et al. (2016). ~ stands before steps that were not run: the median step times "
        "their number.",
    )


def loss_table(comparisons: Sequence[Comparison], with_smoothness: bool = False) -> Table:
    """Losses of the photo itself, the fast picture and the exact ones at one size; means over photos."""
    names = {"total": "total", "content": "content", "style": "style"}
    names |= {"total_variation": "total variation"} if with_smoothness else {}
    rows: list[Row] = []

    def add(label: str, losses: list[Judged], seconds: str | None, baseline: bool = False) -> None:
        cells: list[Cell] = [_mean_cell([getattr(each, name) for each in losses]) for name in names]
        rows.append(Row(label, [*cells, seconds], baseline))

    add("the photo itself", [c.content_losses for c in comparisons], None, baseline=True)
    add("fast", [c.fast_losses for c in comparisons], in_words(fmean(c.fast_s for c in comparisons)))
    for step in shown_steps(comparisons[0].curve[-1].step):
        points = [point for c in comparisons if (point := c.at(step)) is not None]
        add(f"exact ({step})", [p.losses for p in points], in_words(fmean(p.elapsed_s for p in points)))
    return Table(
        [*(Column(title=title, better="lower") for title in names.values()), Column(title="time")],
        rows,
        corner=f"at {comparisons[0].size} px",
        caption=f"Mean over {counted(len(comparisons), 'photo')}"
        + (" with 95 % interval." if len(comparisons) >= _LEAST_FOR_INTERVAL else ".")
        + " Total is the weighted sum that both methods lower.",
    )


def match_table(comparisons: Sequence[Comparison]) -> Table:
    """For each photo and size, the exact step that first matches the fast network."""
    rows = []
    for c in comparisons:
        found, last = c.matched, c.curve[-1]
        step: Cell = found.step if found else f"> {last.step}"
        seconds = in_words(found.elapsed_s) if found else f"> {in_words(last.elapsed_s)}"
        ratio = f"{found.elapsed_s / c.fast_s:,.0f}x" if found else f"> {last.elapsed_s / c.fast_s:,.0f}x"
        gap = f"{c.fast_losses.total / last.losses.total - 1:+.0%}"
        rows.append(Row(f"{c.photo}, {c.size} px", [c.fast_losses.total, step, seconds, ratio, gap]))
    return Table(
        [
            Column(title="fast total"),
            Column(
                title="matched at step",
                meaning="First exact step whose best picture has no higher total; judged at least every twentieth "
                "part. Johnson et al. (2016, 4.1) report 50 to 100.",
            ),
            Column(title="after"),
            Column(title="times fast", meaning="Seconds to match over seconds of the network."),
            Column(title="above the last", meaning="How far the fast total is above the exact method's last one."),
        ],
        rows,
        corner="first match",
    )


def sizes_of(comparisons: Sequence[Comparison]) -> list[int]:
    """All sizes, ascending."""
    return sorted({comparison.size for comparison in comparisons})


def at_size(comparisons: Sequence[Comparison], size: int) -> list[Comparison]:
    """The comparisons at one size."""
    return [comparison for comparison in comparisons if comparison.size == size]


def in_words(seconds: float) -> str:
    """12 ms; 0.52 s; 12.3 s; 214 s."""
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def counted(count: int, noun: str) -> str:
    """1 photo; 3 photos."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _timed(comparisons: Sequence[Comparison], steps: int) -> str:
    measured = all(comparison.at(steps) for comparison in comparisons)
    return f"{'' if measured else '~'}{in_words(fmean(c.exact_s(steps) for c in comparisons))}"


def _mean_cell(values: Sequence[float]) -> Cell:
    """Mean with its interval, or alone where so few values tell nothing of the spread."""
    return mean_interval(values) if len(values) >= _LEAST_FOR_INTERVAL else fmean(values)


# Part of the picture's sides that a zoomed crop shows.
_CROP = 0.25
CELL_WIDTH = 288
"""Width of the pictures in the HTML file, pixels."""


def loss_plot(comparisons: Sequence[Comparison]) -> Plot:
    """Total loss against steps and against seconds at one size, the fast network as a line; photos by color."""

    def draw(axes: "list[Axes]", theme: Theme) -> None:
        _draw_panel(axes[0], theme, comparisons, lambda point: point.step)
        _draw_panel(axes[1], theme, comparisons, lambda point: point.elapsed_s)
        for number, comparison in enumerate(comparisons):
            color = theme.series[number % len(theme.series)]
            total = comparison.fast_losses.total
            axes[1].plot([comparison.fast_s], [total], "*", markersize=11, color=color)
        axes[0].set_title("by steps")
        axes[0].set_xlabel("exact steps")
        axes[0].set_ylabel("total loss")
        axes[1].set_title("by time")
        axes[1].set_xlabel("seconds")
        axes[0].legend(fontsize=8)

    size = comparisons[0].size
    return draw_plot(
        f"loss-{size}",
        draw,
        panels=2,
        size=(10, 4.2),
        caption=f"{size} px. Solid: the exact method's best picture so far. Dashed: the fast network; the star is "
        "the time it takes, the dot where the exact method first matches it.",
    )


def _draw_panel(
    axes: "Axes", theme: Theme, comparisons: Sequence[Comparison], place: Callable[[CurvePoint], float]
) -> None:
    for number, comparison in enumerate(comparisons):
        color = theme.series[number % len(theme.series)]
        places = [place(point) for point in comparison.curve]
        totals = [point.losses.total for point in comparison.curve]
        axes.plot(places, totals, color=color, label=comparison.photo)
        axes.axhline(comparison.fast_losses.total, color=color, linestyle="--", linewidth=1.2)
        found = comparison.matched
        if found is not None:
            axes.plot([place(found)], [found.losses.total], "o", color=color, markersize=6)
    scale_log(axes)
    axes.grid(which="minor", axis="y", alpha=0.12, color=theme.muted)


def picture_grid(comparison: Comparison, style: Frame, cell: int = CELL_WIDTH) -> PictureGrid:
    """Content, style, fast and exact pictures of one photo, whole and below that a crop where there is most detail.

    The style image has the size it was used at, so that the crops show strokes of one scale; `cell` is the width of the
    pictures.
    """
    painted = [comparison.content, comparison.fast, *comparison.exact.values()]
    height, width = (max(1, round(side * _CROP)) for side in comparison.content.shape[:2])
    crops = crop_detail(painted, (height, width))
    whole = [painted[0], style, *painted[1:]]
    crops = [crops[0], _middle(style, height, width), *crops[1:]]
    points = [comparison.at(step) for step in comparison.exact]
    losses = [comparison.fast_losses, *(point and point.losses for point in points)]
    notes = ["", "", *(f"total {judged.total:.3f}" if judged else "" for judged in losses)]
    titles = ["content", "style", "fast", *(f"exact ({step})" for step in comparison.exact)]
    return PictureGrid(
        titles,
        [("whole", _fit(whole, cell)), ("crop", _fit(crops, cell))],
        caption=f"{comparison.photo}, {comparison.content.shape[1]} x {comparison.content.shape[0]} px; below, a "
        f"quarter of its sides where it has most detail, and as much of the style picture.",
        notes=[notes, [""] * len(whole)],
        fit=True,
    )


def draw_comparison_sheet(comparison: Comparison, style: Frame) -> Frame:
    """The same as one labelled picture, (H, W, 3), in at most 512 px for each picture's width."""
    grid = picture_grid(comparison, style, cell=min(512, max(160, comparison.content.shape[1])))
    titles = [f"{title}   {note}".strip() for title, note in zip(grid.columns, grid.notes[0], strict=True)]
    return draw_sheet(replace(grid, columns=titles, notes=()))


def _fit(frames: Sequence[Frame], width: int) -> list[Frame]:
    """Scale frames into cells of one width, and of the height that the first one has there."""
    height = frames[0].shape[0] * width / frames[0].shape[1]
    scaled = []
    for frame in frames:
        scale = min(width / frame.shape[1], height / frame.shape[0])
        scaled.append(
            resize_frame(frame, (max(1, round(frame.shape[0] * scale)), max(1, round(frame.shape[1] * scale))))
        )
    return scaled


def _middle(frame: Frame, height: int, width: int) -> Frame:
    """The middle of a frame, at most height x width."""
    top, left = max(0, frame.shape[0] - height) // 2, max(0, frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]
