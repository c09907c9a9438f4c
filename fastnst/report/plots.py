"""Plots for reports: drawn once for light pages and print, once for dark pages."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastnst.report.blocks import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Theme:
    """Colors of a page."""

    ink: str
    muted: str
    paper: str
    series: tuple[str, ...]
    """For lines and points that must be told apart, also by people who see few colors (Okabe and Ito 2008)."""


LIGHT = Theme("#1f2328", "#6b7280", "#ffffff", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9"))
DARK = Theme("#e6e6e6", "#9aa4af", "#16191d", ("#56b4e9", "#ff8c42", "#2fcf9f", "#f0a3cf", "#f0e442", "#9db7ff"))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
"""Told apart in print without colors."""


def draw_plot(
    name: str,
    draw: Callable[["list[Axes]", Theme], None],
    *,
    caption: str = "",
    panels: int = 1,
    size: tuple[float, float] = (7.2, 4.2),
) -> Plot:
    """Draw a plot for light and dark pages.

    Args:
        name: of its files.
        draw: called with the panels' axes, left to right, and the theme; draws data, labels and legend.
        caption: one sentence for below the plot.
        panels: axes side by side.
        size: width and height in inches of 100 pixels; PNGs have twice as many, for dense screens and print.
    """
    return Plot(name, _render(draw, LIGHT, panels, size), _render(draw, DARK, panels, size), caption)


def _render(draw: Callable[["list[Axes]", Theme], None], theme: Theme, panels: int, size: tuple[float, float]) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415 - takes a moment, and only reports need it
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    buffer = io.BytesIO()
    with mpl.rc_context(_style(theme)):
        # Not pyplot: that keeps figures alive and may look for a screen.
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(list(figure.subplots(1, panels, squeeze=False)[0]), theme)
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _style(theme: Theme) -> Any:
    ink = ("text.color", "axes.labelcolor", "axes.titlecolor")
    muted = ("axes.edgecolor", "xtick.color", "ytick.color")
    paper = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    return {
        **dict.fromkeys(ink, theme.ink),
        **dict.fromkeys(muted, theme.muted),
        **dict.fromkeys(paper, theme.paper),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "grid.color": theme.muted,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "legend.labelcolor": theme.ink,
        "font.size": 10,
        "font.family": "DejaVu Sans",
        "lines.linewidth": 1.8,
    }
