"""The report on steadiness: the means of its tables, what is left out of them, and the pictures of changes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fastnst.metrics.scenes import Scene, still
from fastnst.report.blocks import Facts, Heading, Interval, PictureGrid, Plot, Table
from fastnst.report.report import Report
from fastnst.research.video_report import (
    Steadiness,
    add_video,
    change_picture,
    error_table,
    excess_table,
    scenes_to_show,
    video_blocks,
    video_data,
)


def row(network: str, scene: str, error: float, kind: str = "clip", variance: float = 0.1) -> Steadiness:
    return Steadiness(network, scene, kind, error, variance, floor_error=0.002, floor_variance=0.1, share=1)


ROWS = [
    row("a", "one", 0.022),
    row("b", "one", 0.012),
    row("a", "two", 0.042),
    row("b", "two", 0.012),
    row("a", "still", 0.007, "noise"),
    row("b", "still", 0.007, "noise"),
]


def cell(table: Table, line: int, column: int) -> Interval:
    found = table.rows[line].cells[column]
    assert isinstance(found, Interval)
    return found


def test_tables_by_hand_with_the_floor_as_baseline() -> None:
    table = excess_table(ROWS)
    assert [column.title for column in table.columns] == ["clip", "noise"]
    assert [line.label for line in table.rows] == ["a", "b"]
    # (0.022 - 0.002) / 0.1 = 0.2 and (0.042 - 0.002) / 0.1 = 0.4.
    assert cell(table, 0, 0).mean == pytest.approx(0.3)
    assert cell(table, 0, 0).count == 2
    assert cell(table, 1, 0).mean == pytest.approx(0.1)
    assert cell(table, 0, 1).mean == pytest.approx(0.05)
    table = error_table(ROWS)
    assert cell(table, 0, 0).mean == pytest.approx(32)
    assert [line.baseline for line in table.rows] == [False, False, True]
    assert cell(table, 2, 0).mean == pytest.approx(2)


def test_scenes_without_a_figure_are_left_out_of_the_mean() -> None:
    table = excess_table([*ROWS, row("a", "flat", 0.0, variance=0.0), row("c", "flat", 0.0, variance=0.0)])
    assert cell(table, 0, 0).count == 2
    assert table.rows[2].cells == [None, None]


def test_intervals_stand_where_scenes_tell_of_the_spread() -> None:
    def margin(scenes: int) -> float:
        return cell(excess_table([row("a", str(number), 0.01 * number) for number in range(scenes)]), 0, 0).margin

    assert margin(3) == math.inf
    # Excess 0, 0.1, 0.2, 0.3 less the floor: t = 3.1824, s = 0.1291, over the root of 4.
    assert margin(4) == pytest.approx(3.1824 * 0.129099 / 2, rel=1e-4)


def test_change_picture_shows_what_differs_and_greys_what_is_not_compared() -> None:
    first, second = np.full((2, 3, 3), 100, np.uint8), np.full((2, 3, 3), 100, np.uint8)
    second[0, 0] = (110, 100, 80)
    visible = np.array([[True, True, True], [True, True, False]])
    changed = change_picture(Scene("s", "clip", [first, second], [still(2, 3)], [visible]), first, second)
    assert changed[0, 0].tolist() == [40, 0, 80]
    assert changed[0, 1].tolist() == [0, 0, 0]
    assert changed[1, 2].tolist() == [96, 96, 96]


def test_the_section_holds_tables_a_plot_and_pictures_and_can_be_written(tmp_path: Path) -> None:
    frames = [np.full((20, 30, 3), level, np.uint8) for level in (90, 100)]
    scene = Scene("one", "clip", frames, [still(20, 30)], [np.ones((20, 30), bool)])
    blocks = video_blocks(ROWS, [scene], {"a": lambda frame: 255 - frame})
    facts = next(block for block in blocks if isinstance(block, Facts))
    assert "2 scenes: one, two" in facts.facts["clip"]
    grid = next(block for block in blocks if isinstance(block, PictureGrid))
    assert [label for label, _ in grid.rows] == ["unstylized", "a"]
    assert sum(isinstance(block, Plot) for block in blocks) == 1
    report = Report("Steady", blocks=blocks, data={"video": video_data(ROWS)})
    report.write(tmp_path)
    assert "steadiness.png" in {path.name for path in tmp_path.iterdir()}
    written = json.loads((tmp_path / "report.json").read_text())["video"][0]
    assert written["excess"] == pytest.approx(0.2)
    assert written["kind"] == "clip"


def test_add_video_adds_the_section_and_its_figures() -> None:
    report = Report("Evaluation", data={"rows": 1})
    picture = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    seen: list[tuple[int, int]] = []
    rows = add_video(
        report,
        {"inverted": lambda frame: 255 - frame},
        [],
        [("noise", picture)],
        frames=2,
        long_side=96,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [row.kind for row in rows] == ["synthetic motion"] * 3 + ["noise"]
    assert seen[-1] == (8, 8)
    assert isinstance(report.blocks[0], Heading)
    assert report.data["rows"] == 1
    assert len(report.data["video"]) == 4


def test_one_scene_of_each_telling_kind_is_shown() -> None:
    kinds = ("noise", "clip", "synthetic motion", "clip", "true flow")
    scenes = [Scene(f"{number}", kind, [], [], []) for number, kind in enumerate(kinds)]
    assert [scene.name for scene in scenes_to_show(scenes)] == ["4", "1", "0"]


def test_a_figure_that_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    flat = row("a", "flat", 0.0, variance=0.0)
    assert math.isnan(flat.excess)
    Report("Flat", data={"video": video_data([flat])}).write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["video"][0]["excess"] is None
