"""Plots for light and dark pages."""

import io
from typing import Any

import numpy as np
from PIL import Image

from fastnst.report.plots import DARK, LIGHT, Theme, draw_plot


def corner(png: bytes) -> str:
    red, green, blue = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[0, 0]
    return f"#{red:02x}{green:02x}{blue:02x}"


def test_plot_is_drawn_for_light_and_dark_pages() -> None:
    seen: list[tuple[int, Theme]] = []

    def draw(panels: list[Any], theme: Theme) -> None:
        seen.append((len(panels), theme))
        panels[0].plot([1, 2], [3, 4], color=theme.series[0])

    plot = draw_plot("loss", draw, caption="Loss", panels=2, size=(2, 1))
    assert seen == [(2, LIGHT), (2, DARK)]
    assert (corner(plot.light), corner(plot.dark)) == (LIGHT.paper, DARK.paper)
    assert Image.open(io.BytesIO(plot.light)).size == (400, 200)
    assert (plot.name, plot.caption) == ("loss", "Loss")
