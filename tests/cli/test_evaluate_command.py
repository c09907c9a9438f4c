"""`fastnst evaluate` from the options to the files; the networks that measure are stand-ins."""

from pathlib import Path

import onnx
import pytest
from torch import Tensor
from torch.nn import functional as F

from fastnst.cli.evaluate import evaluate
from fastnst.errors import InputError
from fastnst.evaluation import judge
from fastnst.evaluation.judge import Loaded
from fastnst.evaluation.yardstick import Yardstick
from fastnst.images import read_frame
from fastnst.perceptual.settings import LossSettings
from fastnst.perceptual.vgg import Features

INVERT = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> { stylized = Sub(white, frame) }"""


@pytest.fixture
def style(tmp_path: Path) -> str:
    onnx.save(onnx.parser.parse_model(INVERT), tmp_path / "invert.onnx")
    return str(tmp_path / "invert.onnx")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[LossSettings, Path | None]]:
    calls: list[tuple[LossSettings, Path | None]] = []

    def pooled(image: Tensor) -> Features:
        return {"layer": F.avg_pool2d(image, 4)}

    def load(settings: LossSettings, lpips_weights: Path | None = None) -> Loaded:
        calls.append((settings, lpips_weights))
        weights = {"Loss network": "a stand-in", "AlexNet": "left out: no weights"}
        return Loaded(Yardstick(pooled, "layer", ["layer"]), None, weights)

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
    evaluate(style=[style], style_image=style_picture, photos=[str(photos)], output=out, size=80, limit=3, samples=2)
    assert sorted(path.name for path in out.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
        "sheet.png",
        "tradeoff-dark.png",
        "tradeoff.png",
    ]
    assert read_frame(out / "sheet.png").ndim == 3
    printed = capsys.readouterr()
    assert "invert" in printed.out and "plain photo" in printed.out and "Yardstick" in printed.out
    assert "AlexNet left out: no weights" in printed.err
    assert printed.err.rstrip().endswith("3 photos, 0 left out")
    assert "a stand-in" in (out / "report.html").read_text("utf-8")


def test_weights_are_passed_on(
    photos: Path, style_picture: Path, style: str, asked: list[tuple[LossSettings, Path | None]], tmp_path: Path
) -> None:
    evaluate(
        style=[style],
        style_image=style_picture,
        photos=[str(photos / "photo0.png")],
        output=tmp_path / "out",
        size=80,
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
        evaluate(style=[style], style_image=style_picture, photos=[str(tmp_path)], output=tmp_path / "out")
