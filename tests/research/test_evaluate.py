"""Networks over photos: rows, skipped photos, samples, verdicts, report and sheet."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fastnst.errors import InputError, OutputError
from fastnst.io.blending import match_colors
from fastnst.io.images import Frame, read_frame
from fastnst.losses.vgg import Features
from fastnst.metrics.perceptual import PerceptualMetrics
from fastnst.report.report import draw_sheet
from fastnst.research.evaluate import (
    MATCHED,
    PLAIN,
    Evaluated,
    Evaluation,
    MeasurementCache,
    choose_evenly,
    evaluate,
    measure_sizes,
    read_sized,
)
from fastnst.research.evaluation_report import baseline_verdicts, gate_verdicts, pair_verdicts, picture_grid, summarize
from fastnst.research.judge import APPEARANCE, MEASURES, PERCEPTUAL, EvaluatedNetwork, Judge, digest


def pooled(image: Tensor) -> Features:
    return {"layer": F.avg_pool2d(image, 4)}


def invert(frame: Frame) -> Frame:
    return 255 - frame


NETWORKS = [
    EvaluatedNetwork("inverted", Path("a.onnx"), invert, 7),
    EvaluatedNetwork("same", Path("b.onnx"), np.copy, 0),
]


@pytest.fixture
def style(style_picture: Path) -> Frame:
    return read_frame(style_picture)


@pytest.fixture
def judge(style: Frame) -> Judge:
    return Judge(style, PerceptualMetrics(pooled, "layer", ["layer"]), None)


def test_rows_are_the_networks_and_what_they_must_beat(photos: Path, style: Frame, judge: Judge) -> None:
    paths = sorted(photos.iterdir())[:3]
    seen: list[Path] = []
    result = evaluate(NETWORKS, style, paths, judge, size=80, samples=2, on_photo=seen.append)
    assert [row.name for row in result.rows] == ["inverted", "same", PLAIN, MATCHED]
    assert [row.parameters for row in result.rows] == [7, 0, None, None]
    assert [row.baseline for row in result.rows] == [False, False, True, True]
    assert seen == paths
    assert result.photos == [path.name for path in paths]
    assert all(len(values) == 3 for row in result.rows for values in row.values.values())
    assert list(result.rows[0].values) == list(result.measures)
    assert [sample.name for sample in result.samples] == ["photo0", "photo1"]


def test_values_are_those_of_the_judge(photos: Path, style: Frame, judge: Judge) -> None:
    path = photos / "photo3.png"
    result = evaluate(NETWORKS, style, [path], judge, size=80)
    photo = judge.measure_photo(read_sized(path, 80))
    assert result.row("inverted").means() == judge.measure(invert(photo.frame), photo)
    assert result.row(MATCHED).means() == judge.measure(match_colors(photo.frame, style), photo)
    assert result.row("same").means() == result.row(PLAIN).means()
    assert result.row(PLAIN).means()["content"] == 0
    np.testing.assert_array_equal(result.samples[0].frames["inverted"], 255 - photo.frame)


def test_of_patterns_the_median_counts() -> None:
    row = evaluated("net", pattern=[1.0, 1.5, 30.0], contrast=[0.5, 1.0, 1.5])
    assert row.means()["pattern"] == 1.5
    assert row.interval("pattern").margin == math.inf
    assert row.means()["contrast"] == pytest.approx(1)


def test_at_other_sizes_the_gate_asks_for_the_appearance_alone() -> None:
    result = evaluation(good("ours"), evaluated("pale", style=[0.1] * 3, contrast=[0.7] * 3))
    result.size = 1024
    assert [verdict.holds for verdict in gate_verdicts(result)] == [True, False]
    assert [verdict.reason for verdict in gate_verdicts(result)] == ["", "contrast 0.7, 0.85 to 1.15"]
    result.row("ours").values["grid"] = [0.5] * 3
    assert gate_verdicts(result)[0].holds


def test_photos_are_scaled_to_the_size(photos: Path) -> None:
    assert read_sized(photos / "photo0.png", 50).shape == (36, 50, 3)
    assert read_sized(photos / "photo0.png", 200).shape == (144, 200, 3)


def test_broken_photos_are_skipped_and_named(photos: Path, style: Frame, judge: Judge, tmp_path: Path) -> None:
    broken, narrow = tmp_path / "broken.png", tmp_path / "narrow.png"
    broken.write_text("no picture")
    Image.new("RGB", (640, 20)).save(narrow)
    seen: list[Path] = []
    result = evaluate(NETWORKS, style, [broken, narrow, photos / "photo0.png"], judge, size=80, on_photo=seen.append)
    assert list(result.skipped) == [str(broken), str(narrow)]
    assert "a picture of 80x2" in result.skipped[str(narrow)]
    assert result.photos == ["photo0.png"]
    assert len(seen) == 3


def test_nothing_but_broken_photos(style: Frame, judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(InputError, match=r"none of 1 photos could be used; .*broken.png"):
        evaluate(NETWORKS, style, [tmp_path / "broken.png"], judge)


def test_figures_of_an_earlier_run_are_taken_over(photos: Path, style: Frame, judge: Judge, tmp_path: Path) -> None:
    painted: list[str] = []

    def network(name: str) -> EvaluatedNetwork:
        (tmp_path / name).write_text(name)
        return EvaluatedNetwork(name, tmp_path / name, lambda frame: painted.append(name) or 255 - frame, 7)  # type: ignore[func-returns-value]

    paths, file = sorted(photos.iterdir())[:3], tmp_path / "figures.jsonl"
    first = evaluate([network("a")], style, paths[:2], judge, size=80, samples=0, cache=opened(file, style=style))
    networks = [network("a"), network("b")]
    second = evaluate(networks, style, paths, judge, size=80, samples=0, cache=opened(file, style=style))
    assert painted == ["a", "a", "b", "b", "a", "b"]
    assert second.rows == evaluate(networks, style, paths, judge, size=80, samples=0).rows
    assert second.row("a").values["style"][:2] == first.row("a").values["style"]


def test_pictures_are_painted_again_to_be_shown(photos: Path, style: Frame, judge: Judge, tmp_path: Path) -> None:
    path, file = photos / "photo1.png", tmp_path / "figures.jsonl"
    (tmp_path / "a.onnx").write_text("a")
    networks = [EvaluatedNetwork("inverted", tmp_path / "a.onnx", invert, 7)]
    evaluate(networks, style, [path], judge, size=80, samples=0, cache=opened(file, style=style))
    lines = file.read_text()
    [sample] = evaluate(networks, style, [path], judge, size=80, samples=1, cache=opened(file, style=style)).samples
    assert list(sample.frames) == ["inverted", PLAIN, MATCHED]
    np.testing.assert_array_equal(sample.frames["inverted"], 255 - sample.frames[PLAIN])
    assert file.read_text() == lines


def test_ctrl_c_ends_with_what_is_done(photos: Path, style: Frame, judge: Judge) -> None:
    def paint(frame: Frame) -> Frame:
        if frame.shape[:2] == read_sized(photos / "photo2.png", 80).shape[:2]:
            raise KeyboardInterrupt
        return frame

    networks = [EvaluatedNetwork("patient", Path("a.onnx"), paint, 1)]
    result = evaluate(networks, style, sorted(photos.iterdir()), judge, size=80)
    assert result.interrupted
    assert result.photos == ["photo0.png", "photo1.png"]
    assert all(len(values) == 2 for row in result.rows for values in row.values.values())
    with pytest.raises(KeyboardInterrupt):
        evaluate(networks, style, [photos / "photo2.png"], judge, size=80)


def test_limit_spreads_over_the_list() -> None:
    paths = [Path(str(number)) for number in range(10)]
    assert choose_evenly(paths, None) == choose_evenly(paths, 10) == choose_evenly(paths, 11) == paths
    assert choose_evenly(paths, 2) == [Path("2"), Path("7")]
    assert choose_evenly(paths, 1) == [Path("5")]
    assert len(set(choose_evenly(paths, 9))) == 9


def evaluated(name: str, parameters: int | None = 5, **values: list[float]) -> Evaluated:
    """A row that has 0.5 in all figures but those given, and clean artifacts, over three photos."""
    row = Evaluated(name, parameters, {measure: [0.5, 0.5, 0.5] for measure in MEASURES})
    row.values |= {"border": [1.0] * 3, "grid": [0.0] * 3, "blobs": [0.0] * 3} | values
    appearance = {key: [1.0] * 3 for key in APPEARANCE} | {"relief": [0.0] * 3}
    row.values |= {key: same for key, same in appearance.items() if key not in values}
    return row


def good(name: str) -> Evaluated:
    lower = [0.1, 0.11, 0.12]
    return evaluated(name, style=lower, centred=lower, alexnet_style=lower, alexnet_centred=lower)


def evaluation(*rows: Evaluated) -> Evaluation:
    plain = evaluated(PLAIN, None, content=[0.0] * 3, style=[2.0, 2.1, 2.2], centred=[3.0, 3.1, 3.2])
    matched = evaluated(MATCHED, None, content=[0.3] * 3, style=[0.6, 0.7, 0.8], centred=[1.0, 1.1, 1.2])
    return Evaluation(dict(MEASURES), 512, [*rows, plain, matched], photos=["a.jpg", "b.jpg", "c.jpg"])


def test_a_network_beats_another_on_both_networks_and_all_figures() -> None:
    [verdict] = pair_verdicts(evaluation(evaluated("peer"), good("ours")))
    assert (verdict.holds, verdict.claim) == (True, "ours beats peer")
    assert "AlexNet centred 0.110 against 0.500" in verdict.reason


@pytest.mark.parametrize(
    ("measure", "values", "words"),
    [
        ("style", [0.5, 0.5, 0.5], "style 0.500 against 0.500"),
        ("alexnet_centred", [0.4, 0.4, 0.6], "AlexNet centred 0.467 against 0.500"),  # lower, but not beyond doubt
        ("alexnet_style", [0.6, 0.6, 0.6], "AlexNet style"),
        ("content", [0.5, 0.5, 0.53], "content 0.510 against 0.500"),
        ("alexnet_content", [0.6, 0.6, 0.6], "AlexNet content"),
    ],
)
def test_a_claim_falls_with_each_figure(measure: str, values: list[float], words: str) -> None:
    ours = good("ours")
    ours.values[measure] = values
    [verdict] = pair_verdicts(evaluation(ours, evaluated("peer")))
    assert verdict.holds is False
    assert verdict.reason.startswith("not on ")
    assert words in verdict.reason
    assert ";" not in verdict.reason


def test_a_claim_stays_open_without_alexnet() -> None:
    ours, peer = good("ours"), evaluated("peer")
    for row in (ours, peer):
        for key in [key for key in row.values if key.startswith("alexnet_")]:
            del row.values[key]
    [verdict] = pair_verdicts(evaluation(ours, peer))
    assert verdict.holds is None
    assert "not at hand" in verdict.reason


def test_one_photo_shows_nothing() -> None:
    rows = [good("ours"), evaluated("peer")]
    for row in rows:
        row.values = {measure: values[:1] for measure, values in row.values.items()}
    assert [verdict.holds for verdict in pair_verdicts(evaluation(*rows))] == [False]


def test_each_pair_is_looked_at_once() -> None:
    claims = [verdict.claim for verdict in pair_verdicts(evaluation(good("a"), evaluated("b"), evaluated("c")))]
    assert claims == ["a beats b", "a beats c", "b beats c"]


def test_a_stylizer_must_beat_both_photos() -> None:
    worse = evaluated("weak", style=[0.3] * 3, centred=[1.1, 1.2, 1.3])
    verdicts = baseline_verdicts(evaluation(good("ours"), worse))
    assert [verdict.holds for verdict in verdicts] == [True, False]
    assert verdicts[1].reason == f"not on centred 1.200 against 1.100 of the {MATCHED}"


def test_the_gate_is_in_the_report() -> None:
    verdicts = gate_verdicts(evaluation(good("ours"), evaluated("dull", grid=[0.03] * 3)))
    assert [verdict.holds for verdict in verdicts] == [True, False]
    assert verdicts[1].reason == "style 0.5, at most 0.2; grid 0.03, at most 0.02"


def test_report_of_an_evaluation(photos: Path, style: Frame, judge: Judge, tmp_path: Path) -> None:
    result = evaluate(NETWORKS, style, sorted(photos.iterdir())[:2], judge, size=80, samples=1)
    result.skipped["x.jpg"] = "broken"
    report = summarize([result], style=style, style_name="waves.png", facts={"Loss network": "tiny"})
    files = {file.name: file for file in report.write(tmp_path)}
    assert list(files) == ["report.html", "report.md", "report.json", "tradeoff.png", "tradeoff-dark.png"]
    data = json.loads(files["report.json"].read_text("utf-8"))
    assert data["facts"] == {"Loss network": "tiny"}
    assert data["skipped"] == {"x.jpg": "broken"}
    assert [row["name"] for row in data["rows"]] == ["inverted", "same", PLAIN, MATCHED]
    assert data["rows"][0]["means"]["style"]["count"] == 2
    assert data["rows"][0]["values"]["style"] == result.rows[0].values["style"]
    assert set(data["verdicts"]) == {
        "Against the photo itself",
        "Acceptance gate",
        "Which network beats which",
    }
    page = files["report.html"].read_text("utf-8")
    assert "tiny" in page and "1 left out" in page and "same beats" in page
    text = files["report.md"].read_text("utf-8")
    assert all(column.title in text for column in PERCEPTUAL.values())


def test_pictures_stand_in_the_order_of_the_rows(photos: Path, style: Frame, judge: Judge) -> None:
    result = evaluate(NETWORKS, style, sorted(photos.iterdir())[:2], judge, size=300, samples=2)
    grid = picture_grid(result, style)
    assert grid.columns == ["painting", "plain photo", "inverted", "same", "recolored photo"]
    assert [label for label, _ in grid.rows] == ["photo0", "", "photo1", ""]
    _, crops = grid.rows[1]
    painting, photo, inverted = crops[:3]
    assert painting is not None and photo is not None and inverted is not None
    assert painting.shape == photo.shape == (176, 256, 3)
    np.testing.assert_array_equal(inverted, 255 - photo)
    assert draw_sheet(grid).shape[1] > 5 * 256
    # Below each picture its own figures: the photo's first, then those of the networks.
    row = result.row("inverted")
    assert grid.notes[2][2] == (
        f"contrast {row.values['contrast'][1]:.2f}, chroma {row.values['chroma'][1]:.2f}, "
        f"pattern {row.values['pattern'][1]:.1f}"
    )
    assert grid.notes[0][0] == "" and grid.notes[1] == [""] * 5


def test_ctrl_c_at_the_second_size_leaves_the_first(photos: Path, style: Frame, judge: Judge) -> None:
    def paint(frame: Frame) -> Frame:
        if max(frame.shape) == 90:
            raise KeyboardInterrupt
        return frame

    networks, paths = [EvaluatedNetwork("patient", Path("a.onnx"), paint, 1)], sorted(photos.iterdir())[:2]
    results = measure_sizes(networks, style, paths, judge, sizes=[80, 90, 70])
    assert [result.size for result in results] == [80]
    assert results[0].interrupted
    assert len(results[0].photos) == 2
    assert [result.size for result in measure_sizes(networks, style, paths, judge, sizes=[70, 80])] == [70, 80]


STYLE = np.zeros((2, 3, 3), np.uint8)
VALUES = {"content": 0.25, "style": 1 / 3}


def opened(file: Path, *, resume: bool = True, size: str = "512", style: np.ndarray = STYLE) -> MeasurementCache:
    return MeasurementCache(file, resume=resume, given={"size": size}, style=style)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "figures.jsonl"
    opened(path).add("net", "photo", VALUES)
    return path


def test_figures_are_taken_over_to_the_last_bit(file: Path) -> None:
    assert opened(file).find("net", "photo", ["style", "content"]) == VALUES


def test_figures_are_there_at_once(tmp_path: Path) -> None:
    kept = opened(tmp_path / "figures.jsonl")
    assert kept.find("net", "photo", ["content"]) is None
    kept.add("net", "photo", VALUES)
    assert kept.find("net", "photo", ["content"]) == {"content": 0.25}


def test_without_resume_it_begins_anew(file: Path) -> None:
    assert opened(file, resume=False).find("net", "photo", list(VALUES)) is None
    assert file.read_bytes() == b""


@pytest.mark.parametrize(("row", "photo"), [("other", "photo"), ("net", "other"), ("netp", "hoto")])
def test_another_network_or_photo_is_not_known(file: Path, row: str, photo: str) -> None:
    assert opened(file).find(row, photo, ["content"]) is None


@pytest.mark.parametrize("other", [{"size": "256"}, {"style": STYLE + 1}, {"style": STYLE.reshape(3, 2, 3)}])
def test_figures_of_other_sizes_and_style_images_are_not_taken_over(file: Path, other: dict[str, object]) -> None:
    assert opened(file, **other).find("net", "photo", ["content"]) is None  # type: ignore[arg-type]


def test_a_measure_that_is_missing_has_to_be_measured(file: Path) -> None:
    assert opened(file).find("net", "photo", ["content", "lpips"]) is None


def test_a_line_that_was_cut_short_is_left_out_and_spoils_no_other(file: Path) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"key": "ab')
    opened(file).add("net", "second", VALUES)
    again = opened(file)
    assert again.find("net", "photo", ["content"]) is not None
    assert again.find("net", "second", ["content"]) is not None
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 2


def test_what_is_no_line_of_figures_is_left_out(file: Path) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write('[1]\n{"key": "a"}\n{"key": "a", "values": 3}\n{"key": "a", "values": {"content": "x"}}\n\n')
    assert opened(file).find("net", "photo", ["content"]) is not None


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "figures.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"figures.jsonl: cannot be "):
        opened(tmp_path / "figures.jsonl")


def test_digest_tells_where_one_part_ends() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(b"ab") == digest("ab")
