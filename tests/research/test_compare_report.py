"""The report on a comparison: its tables by hand, what it says, and the files it writes."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fastnst.io.images import read_frame
from fastnst.report.blocks import Interval
from fastnst.research.compare import Comparer, Comparison, CurvePoint, Judged
from fastnst.research.compare_report import (
    compare_report,
    in_words,
    loss_table,
    match_table,
    picture_grid,
    speed_table,
    summary,
    write_comparison,
)
from fastnst.research.judge import open_network
from fastnst.research.settings import CompareSettings

BLANK = np.zeros((40, 60, 3), np.uint8)


def losses(total: float) -> Judged:
    return Judged(total, total / 2, total / 10, 0.0)


def made(photo: str = "a", size: int = 60, fast: float = 1.0, fast_s: float = 0.25) -> Comparison:
    """120 steps of half a second; the loss is 4, 2, 1, 0.5 after 1, 40, 80 and 120 steps."""
    curve = [
        CurvePoint(step, step / 2, losses(total)) for step, total in ((1, 4), (40, 2), (80, 1), (100, 0.8), (120, 0.5))
    ]
    return Comparison(
        photo=photo,
        size=size,
        content=BLANK,
        content_losses=losses(8),
        fast=BLANK + 9,
        fast_losses=losses(fast),
        fast_s=fast_s,
        exact={100: BLANK + 50, 120: BLANK + 90},
        curve=curve,
        step_s=0.5,
    )


def test_speed_table_by_hand() -> None:
    table = speed_table([made("a", fast_s=0.2), made("b", fast_s=0.3), made("a", size=90)])
    assert [row.label for row in table.rows] == ["long side 60 px", "60 x 40"]
    # 100 steps were run and took 50 s; 300 and 500 are estimated. (50 / 0.2 + 50 / 0.3) / 2 = 208.3.
    assert table.rows[0].cells == ["50 s", "~150 s", "~250 s", "0.5 s", "0.25 s", "208x", "625x", "1,042x"]


def test_loss_table_by_hand() -> None:
    table = loss_table([made(fast=1.0), made("b", fast=2.0)])
    assert [row.label for row in table.rows] == ["the photo itself", "fast", "exact (100)", "exact (120)"]
    assert [row.cells[0] for row in table.rows] == pytest.approx([8, 1.5, 0.8, 0.5])
    assert table.rows[1].cells[1:3] == pytest.approx([0.75, 0.15])
    assert [row.cells[-1] for row in table.rows] == [None, "0.25 s", "50 s", "60 s"]
    assert [row.baseline for row in table.rows] == [True, False, False, False]


def test_four_photos_have_an_interval() -> None:
    cell = loss_table([made(fast=total) for total in (1.0, 2.0, 3.0, 4.0)]).rows[1].cells[0]
    assert isinstance(cell, Interval)
    assert (cell.mean, cell.count) == (2.5, 4)


def test_smoothness_has_a_column_where_it_has_a_weight() -> None:
    titles = [column.title for column in loss_table([made()], with_smoothness=True).columns]
    assert titles == ["total", "content", "style", "total variation", "time"]


def test_match_table_by_hand() -> None:
    found, missed = match_table([made(fast=1.0), made("b", fast=0.4)]).rows
    assert found.label == "a, 60 px"
    # Matched at step 80, 40 s, 160 times 0.25 s; 1.0 is twice the last 0.5.
    assert found.cells == [1.0, 80, "40 s", "160x", "+100%"]
    assert missed.cells == [0.4, "> 120", "> 60 s", "> 240x", "-20%"]


def test_summary_tells_the_match_or_that_there_is_none() -> None:
    assert summary([made(fast=1.0)]) == (
        "On 1 photo at 60 px the network reaches a total loss of 1 in 0.25 s. "
        "The exact method first falls to that after 80 steps and 40 s: 160 times as long."
    )
    assert "did not fall to that within 120 steps" in summary([made(fast=0.4)])
    assert "on 1 of 2" in summary([made(fast=1.0), made("b", fast=0.4)])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0123, "12.3 ms"), (0.25, "0.25 s"), (12.34, "12.3 s"), (214.4, "214 s"), (1234.5, "1,234 s")],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_grid_shows_all_pictures_whole_and_cropped() -> None:
    busy = BLANK.copy()
    busy[20:30:2, 30:45] = 255
    comparison = dataclasses.replace(made(), content=busy)
    grid = picture_grid(comparison, np.full((30, 30, 3), 7, np.uint8), cell=60)
    assert list(grid.columns) == ["content", "style", "fast", "exact (100)", "exact (120)"]
    (_, whole), (_, crops) = grid.rows
    assert whole[1] is not None
    assert whole[1].shape == (40, 40, 3)  # as high as the others, no wider than their cells
    assert [frame[0, 0, 0] for frame in whole[1:] if frame is not None] == [7, 9, 50, 90]
    assert [frame.shape for frame in crops if frame is not None] == [(40, 60, 3)] * 5  # the style's crop has their form
    assert crops[0] is not None
    assert crops[0].mean() > 100
    assert list(grid.notes[0]) == ["", "", "total 1.000", "total 0.800", "total 0.500"]


@pytest.fixture
def comparer(invert: Path, style_picture: Path, loss_weights: Path) -> Comparer:
    settings = CompareSettings(
        content_layers=("relu2_1",), style_layers=("relu1_1",), loss_weights=loss_weights, style_size=40
    )
    return Comparer(open_network(invert), read_frame(style_picture), settings)


def test_the_report_is_written_with_every_picture(comparer: Comparer, tmp_path: Path) -> None:
    comparisons = [made(), made(size=90)]
    report = compare_report(comparer, "waves.png", comparisons)
    files = write_comparison(report, comparer.style, comparisons, tmp_path / "out")
    assert files[0].name == "compare.html"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {path.name for path in files}
    assert {"loss-60.png", "loss-60-dark.png", "loss-90.png", "a-60-sheet.png", "a-90-exact-120.png"} <= names
    assert read_frame(tmp_path / "out" / "a-60-exact-100.png")[0, 0, 0] == 50
    page = files[0].read_text()
    assert "invert" in page
    assert "exact (100)" in page
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["comparisons"][0]["matched_step"] == 80
    assert written["comparisons"][0]["extrapolated"] == [300, 500]
    assert written["settings"]["style_size"] == 40
    assert "waves.png" in written["facts"]["style image"]


@pytest.mark.usefixtures("sketched_plots")
def test_seconds_of_different_processors_are_not_passed_off_as_comparable(
    comparer: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "The seconds do not compare"
    monkeypatch.setattr(Comparer, "same_hardware", True)
    assert warning not in str(compare_report(comparer, "w", [made()]).blocks)
    monkeypatch.setattr(Comparer, "same_hardware", False)
    assert warning in str(compare_report(comparer, "w", [made()]).blocks)
