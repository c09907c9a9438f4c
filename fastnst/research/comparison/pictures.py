"""Plots and pictures of comparisons of the fast and the exact method.

Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fastnst.io.images import Frame, resize_frame
from fastnst.report.blocks import PictureGrid, Plot
from fastnst.report.drawing import Theme, crop_detail, draw_plot, draw_sheet
from fastnst.research.comparison.comparison import Comparison, CurvePoint, Judged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(axis="y", which="minor", labelsize=7)
    axes.grid(which="minor", axis="y", alpha=0.12, color=theme.muted)


def picture_grid(comparison: Comparison, style: Frame, cell: int = CELL_WIDTH) -> PictureGrid:
    """Content, style, fast and exact pictures of one photo, whole and below that a crop where there is most detail.

    Args:
        comparison: the photo, painted both ways.
        style: the style image at the size it was used at, so that the crops show strokes of one scale.
        cell: width of the pictures.
    """
    painted = [comparison.content, comparison.fast, *comparison.exact.values()]
    height, width = (max(1, round(side * _CROP)) for side in comparison.content.shape[:2])
    crops = crop_detail(painted, (height, width))
    whole = [painted[0], style, *painted[1:]]
    crops = [crops[0], _middle(style, height, width), *crops[1:]]
    losses = [None, None, comparison.fast_losses, *(_losses_at(comparison, step) for step in comparison.exact)]
    notes = [f"total {judged.total:.3f}" if judged else "" for judged in losses]
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


def _losses_at(comparison: Comparison, step: int) -> Judged | None:
    point = comparison.at(step)
    return point.losses if point else None


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
