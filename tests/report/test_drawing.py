"""Plots and contact sheets."""

import io
from typing import Any

import numpy as np
from PIL import Image

from fastnst.report.blocks import PictureGrid
from fastnst.report.report import DARK, LIGHT, Theme, crop_detail, draw_plot, draw_sheet, thumbnail


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


def plain(height: int, width: int, level: int) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_pictures_are_where_their_columns_and_rows_are() -> None:
    grid = PictureGrid(["a", "b"], [("first", [plain(20, 50, 10), None]), ("", [plain(30, 40, 20), plain(30, 60, 30)])])
    sheet = draw_sheet(grid)
    # Margins of 24; columns of 50 and 60 with 8 between; titles and the label of 21; rows of 20 and 30 with 8 after.
    assert sheet.shape == (2 * 24 + 21 + 21 + 20 + 8 + 30 + 8, 2 * 24 + 50 + 8 + 60, 3)
    top = 24 + 21 + 21
    assert (sheet[top : top + 20, 24:74] == 10).all()
    assert (sheet[top + 28 : top + 58, 24:64] == 20).all()
    assert (sheet[top + 28 : top + 58, 82:142] == 30).all()
    assert (sheet[top : top + 20, 82:142] == 255).all()


def test_titles_are_written_and_do_not_run_into_the_next_column() -> None:
    grid = PictureGrid(["a title much too long for its column", ""], [("", [plain(9, 60, 0), plain(9, 300, 0)])])
    sheet = draw_sheet(grid)
    title = sheet[24:45] < 128
    assert title[:, 24:84].any()
    assert not title[:, 85:].any()


def test_thumbnails_are_reduced_and_never_enlarged() -> None:
    assert thumbnail(plain(300, 600, 1)).shape == (128, 256, 3)
    assert thumbnail(plain(30, 60, 1)).shape == (30, 60, 3)


def test_crops_show_the_detail_of_the_first_picture_at_the_same_place() -> None:
    photo, other = plain(200, 300, 9), plain(200, 300, 50)
    photo[140:180:2, 200:280] = 255
    other[140:179, 200:280] = 99
    own, same = crop_detail([photo, other], (60, 90))
    assert own.shape == same.shape == (60, 90, 3)
    assert (own == 255).any(-1).sum() == 20 * 80
    assert (same == 99).all(-1).sum() == 39 * 80


def test_crops_of_smaller_pictures_are_the_pictures() -> None:
    assert crop_detail([plain(50, 40, 1)], (60, 90))[0].shape == (50, 40, 3)


def test_notes_stand_below_their_pictures() -> None:
    rows = [("", [plain(20, 80, 0), plain(20, 80, 0)]), ("", [plain(20, 80, 0)] * 2)]
    with_notes = draw_sheet(PictureGrid(["", ""], rows, notes=[["", "pattern 1.0"], ["", ""]]))
    without = draw_sheet(PictureGrid(["", ""], rows))
    assert with_notes.shape[0] == without.shape[0] + 21
    line = with_notes[24 + 21 + 20 : 24 + 21 + 20 + 21] < 200
    assert line[:, 24 + 80 + 8 :].any()
    assert not line[:, : 24 + 80 + 8].any()
