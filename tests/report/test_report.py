"""Reports: what their HTML, Markdown, JSON and PNG files hold."""

import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastnst.report.blocks import (
    Column,
    Facts,
    Heading,
    Interval,
    PictureGrid,
    Plot,
    Row,
    Table,
    Text,
    Verdict,
    Verdicts,
    best_rows,
    format_cell,
    mean_interval,
    paired_interval,
    png_bytes,
    t_quantile,
)
from fastnst.report.report import (
    DARK,
    LIGHT,
    Report,
    Theme,
    crop_detail,
    draw_plot,
    draw_sheet,
    render_html,
    render_table,
    thumbnail,
    to_json,
)

PNG = png_bytes(np.zeros((2, 3, 3), np.uint8))
TABLE = Table(
    [
        Column(title="parameters"),
        Column(title="style", better="lower", meaning="Distance of the textures."),
        Column(title="SSIM", better="higher", digits=2),
    ],
    [
        Row("ours", [1000, Interval(0.10, 0.01, 4), 0.50]),
        Row("peer | 2", [2000, Interval(0.20, 0.02, 4), 0.504]),
        Row("third", [3000, None, 0.3]),
        Row("photo", [None, 0.01, 1.0], baseline=True),
    ],
    corner="network",
)


def report() -> Report:
    built = Report("Title <b>", "In short & sweet.")
    frame = np.full((4, 5, 3), 7, np.uint8)
    built.add(
        Heading("Figures"),
        Text("1 < 2"),
        Facts({"photos": "4"}),
        Verdicts([Verdict(True, "ours beats theirs", "style"), Verdict(False, "no"), Verdict(None, "unknown")]),
        TABLE,
        Plot("trade", PNG, PNG, "content against style"),
        PictureGrid(["photo", "ours"], [("cat", [frame, None])], notes=[["a note", ""]]),
    )
    built.data = {"rows": [Interval(1.0, math.inf, 1)], "path": Path("a/b")}
    return built


class Checker(HTMLParser):
    """Collects tags and fails on those that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in {"src", "srcset", "href"}]
        if tag not in {"meta", "img", "source"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_balanced_escaped_and_needs_nothing_else(tmp_path: Path) -> None:
    page = report().write(tmp_path)[0].read_text("utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in checker.sources)
    assert "Title &lt;b&gt;" in page and "1 &lt; 2" in page and "<b>" not in page
    assert "prefers-color-scheme: dark" in page


def test_html_marks_the_best_and_the_baseline(tmp_path: Path) -> None:
    page = report().write(tmp_path)[0].read_text("utf-8")
    assert '<td class="best">0.100 <small>± 0.010</small></td>' in page
    assert '<tr class="baseline"><td>photo</td>' in page


def test_grids_keep_their_size_or_fit_the_page() -> None:
    frames = [np.zeros((4, 6, 3), np.uint8)]
    pages = [render_html("r", "", [PictureGrid(["a"], [("", frames)], fit=fit)]) for fit in (False, True)]
    assert ['<div class="scroll grid">' in page for page in pages] == [True, False]
    assert '<div class="scroll grid fit">' in pages[1]


def test_files_are_written_and_returned(tmp_path: Path) -> None:
    files = report().write(tmp_path / "new", name="evaluation")
    assert [file.name for file in files] == [
        "evaluation.html",
        "evaluation.md",
        "evaluation.json",
        "trade.png",
        "trade-dark.png",
    ]
    assert Image.open(io.BytesIO(files[3].read_bytes())).size == (3, 2)
    assert json.loads(files[2].read_text("utf-8")) == {
        "rows": [{"mean": 1.0, "margin": None, "count": 1}],
        "path": "a/b",
    }


def test_markdown_table() -> None:
    assert render_table(TABLE).splitlines() == [
        "| network | parameters | style | SSIM |",
        "|---|---:|---:|---:|",
        "| ours | 1,000 | **0.100 ± 0.010** | **0.50** |",
        "| peer \\| 2 | 2,000 | 0.200 ± 0.020 | **0.50** |",
        "| third | 3,000 | – | 0.30 |",  # noqa: RUF001
        "| *photo* | – | 0.010 | 1.00 |",  # noqa: RUF001
    ]


def test_markdown_names_the_plots_files(tmp_path: Path) -> None:
    text = report().write(tmp_path)[1].read_text("utf-8")
    assert 'src="trade.png"' in text and 'srcset="trade-dark.png"' in text
    assert "- **yes**: ours beats theirs (style)" in text


def test_best_rows() -> None:
    assert best_rows(TABLE) == [set(), {0}, {0, 1}]
    column = Column(title="a", better="lower")
    assert best_rows(Table([column], [Row("only", [1.0])])) == [set()]
    assert best_rows(Table([column], [Row("one", [1.0]), Row("two", [1.0])])) == [set()]
    rows = [Row("far above", [1.3]), Row("below", [0.81]), Row("above", [1.19]), Row("baseline", [1.0], baseline=True)]
    assert best_rows(Table([Column(title="contrast", digits=2, better="near 1")], rows)) == [{1, 2}]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (1679235, "1,679,235"),
        (0.12345, "0.123"),
        (Interval(0.5, 0.01, 3), "0.500 ± 0.010"),
        (Interval(0.5, math.inf, 1), "0.500"),
        (None, "–"),  # noqa: RUF001
        (math.nan, "–"),  # noqa: RUF001
        ("yes", "yes"),
    ],
)
def test_cells_as_text(cell: float | str | Interval | None, text: str) -> None:
    assert format_cell(cell, Column(title="x")) == text


def test_json_has_no_undefined_numbers() -> None:
    assert json.loads(to_json({"a": [math.nan, 1.5], "b": (2,)})) == {"a": [None, 1.5], "b": [2]}


def test_nothing_that_is_shown_can_be_markup(tmp_path: Path) -> None:
    # A style's name comes out of a file, a photo's from whoever sent it.
    evil = "\"'><i x=\"'&"
    frame = np.zeros((2, 2, 3), np.uint8)
    columns = [Column(title=evil, meaning=evil)]
    built = Report(evil, evil)
    built.add(
        Heading(evil),
        Text(evil),
        Facts({evil: evil}),
        Verdicts([Verdict(True, evil, evil)]),
        Table(columns, [Row(evil, [evil]), Row(evil, [1], baseline=True)], corner=evil, caption=evil),
        Plot("plot", PNG, PNG, evil),
        PictureGrid([evil], [(evil, [frame]), ("", [frame])], caption=evil, notes=[[evil], [evil]]),
    )
    page = built.write(tmp_path)[0].read_text("utf-8")

    class NoMarkup(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag != "i"
            assert "x" not in dict(attrs)

    NoMarkup().feed(page)
    assert "<i x" not in page
    # By hand: title and heading 3, texts 1, facts 2, verdict 2, table 2 titles, 2 meanings, 2 labels, cell, corner,
    # caption and the list's 2, plot 2, grid: title, label, caption, 2 notes, 2 texts for pictures, one of both.
    assert page.count("&lt;i x=") >= 25


def test_intervals_by_hand() -> None:
    # s = sqrt((1 + 0 + 1) / 2) = 1, t(2) = 4.3027, so the margin is 4.3027 / sqrt(3).
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.margin == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert (interval.low, interval.high, interval.count) == (2 - interval.margin, 2 + interval.margin, 3)
    assert mean_interval([0.5]).margin == math.inf
    assert mean_interval([0.25] * 5).margin == 0


def test_paired_interval_sees_a_constant_lead_through_any_spread() -> None:
    interval = paired_interval([1.0, 11.0, 101.0], [2.0, 12.0, 102.0])
    assert (interval.mean, interval.margin) == (-1, 0)
    with pytest.raises(ValueError, match="zip"):
        paired_interval([1.0], [1.0, 2.0])


@pytest.mark.parametrize("degrees", [1, 2, 7, 30, 31, 48, 500])
def test_quantiles_are_those_of_scipy(degrees: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(degrees) == pytest.approx(float(stats.t.ppf(0.975, degrees)), abs=1e-4)


# Plots and contact sheets.


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
