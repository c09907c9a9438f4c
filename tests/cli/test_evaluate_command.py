"""`fastnst evaluate` from the options to the files; the networks that measure are stand-ins."""

import json
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from torch import Tensor
from torch.nn import functional as F

from fastnst.cli.evaluate import evaluate
from fastnst.errors import InputError, OutputError, SettingError, StyleError
from fastnst.io.files import sole_writer
from fastnst.io.images import Frame, Picture, read_frame, write_picture
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import Features
from fastnst.metrics.perceptual import PerceptualMetrics
from fastnst.research import judge
from fastnst.research.judge import Judge, Loaded, Photo


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, sketched_plots: None) -> list[tuple[LossSettings, Path | None]]:
    calls: list[tuple[LossSettings, Path | None]] = []

    def pooled(image: Tensor) -> Features:
        return {"layer": F.avg_pool2d(image, 4)}

    def load(settings: LossSettings, lpips_weights: Path | None = None) -> Loaded:
        calls.append((settings, lpips_weights))
        weights = {"Loss network": "a stand-in", "AlexNet": "left out: no weights"}
        return Loaded(PerceptualMetrics(pooled, "layer", ["layer"]), None, weights)

    monkeypatch.setattr(judge, "load_measures", load)
    return calls


def test_report_and_sheet_are_written(
    photos: Path,
    style_picture: Path,
    style: str,
    asked: list[tuple[LossSettings, Path | None]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    evaluate(
        style=[style], style_image=style_picture, photos=(str(photos),), output=out, size=(80,), limit=3, samples=2
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "figures.jsonl",
        "report.html",
        "report.json",
        "report.md",
        "sheet.png",
        "tradeoff-dark.png",
        "tradeoff.png",
    ]
    assert read_frame(out / "sheet.png").ndim == 3
    printed = capsys.readouterr()
    assert "invert" in printed.out and "plain photo" in printed.out and "Appearance" in printed.out
    assert printed.err.rstrip().endswith("3 photos, 0 left out.")
    assert "a stand-in" in (out / "report.html").read_text("utf-8")


@pytest.mark.usefixtures("asked")
def test_several_sizes_have_a_table_each(
    photos: Path, style_picture: Path, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, photo = tmp_path / "out", str(photos / "photo0.png")
    evaluate(style=[style], style_image=style_picture, photos=(photo,), output=out, size=(80, 100, 80))
    data = json.loads((out / "report.json").read_text())
    assert data["size"] == 80
    assert list(data["sizes"]) == ["100"]
    assert data["rows"][0]["means"]["octave_2"] != data["sizes"]["100"]["rows"][0]["means"]["octave_2"]
    assert len((out / "figures.jsonl").read_text().splitlines()) == 2 * 3
    assert (out / "sheet-100.png").is_file() and (out / "tradeoff-100.png").is_file()
    assert "Appearance at 100 px" in capsys.readouterr().out
    assert "## Appearance at 100 px" in (out / "report.md").read_text()


def test_weights_are_passed_on(
    photos: Path, style_picture: Path, style: str, asked: list[tuple[LossSettings, Path | None]], tmp_path: Path
) -> None:
    evaluate(
        style=[style],
        style_image=style_picture,
        photos=(str(photos / "photo0.png"),),
        output=tmp_path / "out",
        size=(80,),
        samples=0,
        loss_network="vgg19-caffe",
        loss_weights=Path("a"),
        lpips_weights=Path("b"),
    )
    assert asked == [(LossSettings(loss_network="vgg19-caffe", loss_weights=Path("a")), Path("b"))]
    assert not (tmp_path / "out" / "sheet.png").exists()


@pytest.mark.usefixtures("asked")
def test_an_earlier_report_is_not_evaluated(style_picture: Path, style: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sheet.png").write_bytes(b"")
    with pytest.raises(InputError, match="no pictures in this folder"):
        evaluate(style=[style], style_image=style_picture, photos=(str(tmp_path),), output=tmp_path / "out")


@pytest.mark.usefixtures("asked")
def test_ctrl_c_leaves_a_report_and_resume_goes_on(
    photos: Path, style_picture: Path, style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, measured, measure = tmp_path / "out", [], Judge.measure_photo

    def stop_at_the_third(self: Judge, frame: Frame) -> Photo:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(frame)
        return measure(self, frame)

    def run(*, resume: Literal["auto", "never"]) -> None:
        given = [str(photos / f"photo{number}.png") for number in range(4)]
        evaluate(style=[style], style_image=style_picture, photos=tuple(given), output=out, size=(80,), resume=resume)

    monkeypatch.setattr(Judge, "measure_photo", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(resume="never")
    assert json.loads((out / "report.json").read_text())["photos"] == ["photo0.png", "photo1.png"]
    assert "stopped before the last" in (out / "report.html").read_text()
    measured[:] = [None] * 5
    run(resume="auto")
    assert len(measured) == 5 + 2
    assert len(json.loads((out / "report.json").read_text())["photos"]) == 4


@pytest.mark.usefixtures("asked")
def test_films_add_a_section(
    photos: Path, style_picture: Path, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, clip = tmp_path / "out", tmp_path / "clip"
    clip.mkdir()
    for number in range(4):
        write_picture(clip / f"{number}.png", Picture(frame=moved_picture(number)))
    given = tuple(str(photos / f"photo{number}.png") for number in range(4))
    evaluate(
        style=[style],
        style_image=style_picture,
        photos=given,
        output=out,
        size=(80,),
        samples=0,
        video=(str(clip),),
        video_frames=3,
    )
    rows = json.loads((out / "report.json").read_text())["video"]
    assert {row["network"] for row in rows} == {"invert"}
    scenes = [(row["scene"], row["kind"]) for row in rows if row["kind"] != "static camera"]
    moved = [f"photo{number} {motion}" for number in (0, 1) for motion in ("translation", "zoom", "rotation")]
    assert sorted(scene for scene, kind in scenes if kind == "synthetic motion") == sorted(moved)
    assert ("clip", "clip") in scenes
    assert "Warp error" in capsys.readouterr().out
    assert "Steady on video" in (out / "report.md").read_text()


@pytest.mark.usefixtures("asked")
def test_names_that_are_no_text(photos: Path, style_picture: Path, style: str, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    names = {name: folder / os.fsdecode(name) for name in (b"phot\xe9.png", b"styl\xe9.png", b"invert\xe9.onnx")}
    for path, source in zip(names.values(), (photos / "photo0.png", style_picture, Path(style)), strict=True):
        path.write_bytes(source.read_bytes())
    photo, painting, network = names.values()
    with pytest.raises(StyleError, match=r"its name is no text in UTF-8, and ONNX Runtime takes no other; rename it"):
        evaluate(style=[str(network)], style_image=painting, photos=(str(photo),), output=folder / "out", size=(80,))
    evaluate(style=[style], style_image=painting, photos=(str(photo),), output=folder / "out", size=(80,), samples=1)
    assert {"report.html", "report.json", "report.md", "sheet.png"} <= {
        path.name for path in (folder / "out").iterdir()
    }
    assert "phot\\udce9" in (folder / "out" / "report.html").read_text()


@pytest.mark.usefixtures("asked")
def test_pictures_that_are_left_out_are_named(
    photos: Path, style_picture: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "a.png").write_bytes((photos / "photo0.png").read_bytes())
    (folder / "b.CR2").touch()
    evaluate(
        style=[style], style_image=style_picture, photos=(str(folder),), output=tmp_path / "out", size=(80,), samples=1
    )
    assert "1 raw file is left out, " in capfd.readouterr().err


def test_a_report_has_one_writer(photos: Path, style_picture: Path, style: str, tmp_path: Path) -> None:
    with (
        sole_writer(tmp_path / "out", folder=True),
        pytest.raises(OutputError, match="out: another fastnst is writing it at this moment"),
    ):
        evaluate(style=[style], style_image=style_picture, photos=(str(photos),), output=tmp_path / "out", size=(80,))


def test_films_alone_need_no_style_image_and_no_weights(style: str, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    write_picture(picture, Picture(frame=moved_picture(0)))
    evaluate(style=[style], output=tmp_path / "out", size=(64,), video_pictures=(str(picture),), video_frames=2)
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["video"]
    assert [row["kind"] for row in rows] == ["synthetic motion"] * 3 + ["noise"]
    # What only inverts colors is as steady as the picture itself.
    assert all(abs(row["excess"]) < 1e-6 for row in rows)


@pytest.mark.usefixtures("asked")
def test_a_film_that_is_not_there_does_not_cost_the_photos(
    photos: Path, style_picture: Path, style: str, tmp_path: Path
) -> None:
    given = (str(photos / "photo0.png"),)
    with pytest.raises(InputError, match="no such film or folder"):
        evaluate(
            style=[style],
            style_image=style_picture,
            photos=given,
            output=tmp_path / "out",
            size=(80,),
            video=(str(tmp_path / "none.mp4"),),
        )
    assert json.loads((tmp_path / "out" / "report.json").read_text())["photos"] == ["photo0.png"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to measure on; give --photos and --style-image, or --video"),
        ({"photos": ("a.jpg",)}, "--photos is given without --style-image"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, tuple[str, ...]], message: str, style: str) -> None:
    with pytest.raises(SettingError, match=message):
        evaluate(style=[style], **given)  # type: ignore[arg-type]


def test_mistakes_are_named_before_weights_are_fetched(
    photos: Path, style_picture: Path, style: str, asked: list[tuple[LossSettings, Path | None]], tmp_path: Path
) -> None:
    photo, text = photos / "photo0.png", tmp_path / "text.png"
    text.write_text("no picture")
    for given, painting, output, error, words in (
        (photo, text, "out", InputError, r"text\.png: is not a picture"),
        (tmp_path / "gone.png", style_picture, "out", InputError, r"gone\.png: no such file"),
        (photo, style_picture, "text.png", OutputError, r"text\.png: is a file; expected a folder for the report"),
    ):
        with pytest.raises(error, match=words):
            evaluate(style=[style], style_image=painting, photos=(str(given),), output=tmp_path / output)
    assert asked == []


def moved_picture(step: int) -> Frame:
    """A window on waves that moves by one pixel a step, (70, 90, 3)."""
    down, across = np.mgrid[:70, :90]
    waves = [127.5 + 120 * np.sin((down + step) * pace + across * 0.2) for pace in (0.1, 0.2, 0.3)]
    return np.stack(waves, axis=-1).astype(np.uint8)
