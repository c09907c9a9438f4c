"""8-bit convolutions: what they paint, what the file says, and the gate before it is written."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fastnst.backends.choosing import psnr_db
from fastnst.cli.export import quantize as command
from fastnst.errors import InputError, OutputError, StyleError
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import read_frame
from fastnst.losses.settings import LossSettings
from fastnst.losses.vgg import Features
from fastnst.metrics import perceptual as perceptual_module
from fastnst.metrics.perceptual import PerceptualDistances, PerceptualMetrics
from fastnst.models.checkpoint import ModelInfo
from fastnst.models.export import to_onnx
from fastnst.models.live import LiveNet
from fastnst.research.judge import count_parameters
from fastnst.research.quantization import QuantizationCheck, compare_painters, condition_inputs, quantize


def pooled(image: Tensor) -> Features:
    return {"layer": F.avg_pool2d(image, 4)}


METRICS = PerceptualMetrics(pooled, "layer", ["layer"])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "waves.onnx"
    info = ModelInfo(style="waves", network={"kind": "live", "width": 16, "blocks": 1}, provenance="a test")
    onnx.save(to_onnx(LiveNet(16, 1), info), path)
    return path


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[LossSettings]:
    calls: list[LossSettings] = []

    def load(settings: LossSettings) -> tuple[PerceptualMetrics, str]:
        calls.append(settings)
        return METRICS, "a stand-in"

    monkeypatch.setattr(perceptual_module, "load_perceptual_metrics", load)
    return calls


def test_it_paints_nearly_the_same_and_says_so(network: Path, photos: Path, tmp_path: Path) -> None:
    frames = [read_frame(path) for path in sorted(photos.iterdir())]
    quantized = quantize(network, frames[:6])
    kinds = [node.op_type for node in quantized.graph.node]
    convolutions = kinds.count("Conv")
    assert count_parameters(quantized) == count_parameters(onnx.load(network))
    assert kinds.count("QuantizeLinear") >= convolutions
    weights = {value.name: onnx.numpy_helper.to_array(value) for value in quantized.graph.initializer}
    assert sum(value.dtype == np.int8 and value.ndim == 4 for value in weights.values()) == convolutions
    onnx.save(quantized, tmp_path / "int8.onnx")
    with Stylizer(network, provider="cpu") as before, Stylizer(tmp_path / "int8.onnx", provider="cpu") as after:
        assert after.style == "waves"
        assert 25 < psnr_db(before(frames[6]), after(frames[6])) < 90
    with pytest.raises(StyleError, match="holds int8 convolutions"):
        quantize(tmp_path / "int8.onnx", frames[:1])


def test_a_foreign_network_is_refused(tmp_path: Path) -> None:
    graph = '<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[N] y) { y = Neg(x) }'
    onnx.save(onnx.parser.parse_model(graph), tmp_path / "foreign.onnx")
    with pytest.raises(StyleError, match=r"foreign\.onnx: not a network that fastnst exported"):
        quantize(tmp_path / "foreign.onnx", [])
    (tmp_path / "text.onnx").write_text("no network\n" * 9)
    with pytest.raises(StyleError, match=r"text\.onnx: not a readable ONNX network"):
        quantize(tmp_path / "text.onnx", [])


@pytest.mark.parametrize(
    ("after", "psnr", "passed"),
    [
        (PerceptualDistances(0.5, 0.2, 0.4), 30.0, True),
        (PerceptualDistances(0.514, 0.2, 0.4), 40.0, True),
        (PerceptualDistances(0.5, 0.21, 0.3), 40.0, False),
        (PerceptualDistances(0.5, 0.2, 0.42), 40.0, False),
        (PerceptualDistances(0.5, 0.2, 0.4), 29.9, False),
    ],
)
def test_the_gate_by_hand(after: PerceptualDistances, psnr: float, passed: bool) -> None:
    assert QuantizationCheck(PerceptualDistances(0.5, 0.2, 0.4), after, psnr).passed is passed


def test_two_painters_by_hand() -> None:
    photo = np.full((8, 8, 3), 100, np.uint8)
    painting = np.full((8, 8, 3), 50, np.uint8)
    result = compare_painters(lambda f: f, lambda f: f // 2, [photo], painting, METRICS)
    # Halved: content (1/2)^2 off; the painting met, in whose Gram matrix all was (4 - 1)^2 off before.
    assert (result.before.content, result.after.content) == pytest.approx((0, 0.25))
    assert (result.before.style, result.after.style) == pytest.approx((9, 0), abs=1e-3)
    assert result.psnr == pytest.approx(10 * np.log10(255**2 / 2500))


def test_the_command_writes_what_passes(
    network: Path,
    photos: Path,
    style_picture: Path,
    judged: list[LossSettings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "int8.onnx"
    command(str(network), photos=(str(photos),), style_image=style_picture, output=out, judged=2)
    assert judged == [LossSettings(loss_network="vgg19")]
    assert "PSNR" in capsys.readouterr().err
    assert out.stat().st_size < network.stat().st_size
    with pytest.raises(OutputError, match="already exists"):
        command(str(network), photos=(str(photos),), style_image=style_picture, output=out)


def test_the_command_writes_nothing_that_fails(
    network: Path,
    photos: Path,
    style_picture: Path,
    judged: list[LossSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastnst.research.quantization.LEAST_PSNR", 98.0)
    out = tmp_path / "int8.onnx"
    with pytest.raises(StyleError, match=r"is worse in 8-bit integers .*; nothing was written"):
        command(str(network), photos=(str(photos),), style_image=style_picture, output=out, judged=2)
    assert list(tmp_path.iterdir()) == []
    assert judged


def test_one_photo_is_too_few(network: Path, style_picture: Path, tmp_path: Path) -> None:
    Image.new("RGB", (70, 70)).save(tmp_path / "one.png")
    with pytest.raises(InputError, match="names 1 picture; expected at least 2"):
        command(
            str(network), photos=(str(tmp_path / "one.png"),), style_image=style_picture, output=tmp_path / "o.onnx"
        )
    with pytest.raises(InputError, match=r"nowhere\.png: no such file"):
        command(str(network), photos=(str(tmp_path / "nowhere.png"),), style_image=style_picture)
    with pytest.raises(OutputError, match="let it end in"):
        command(str(network), photos=("x",), style_image=style_picture, output=tmp_path / "o.bin")


def test_the_style_itself_is_never_overwritten(network: Path, style_picture: Path) -> None:
    with pytest.raises(OutputError, match="is the style itself, and is not overwritten"):
        command(str(network), photos=("x",), style_image=style_picture, output=network, overwrite=True)


def test_what_a_network_is_told_while_ranges_are_read() -> None:
    graph = """
    g (uint8[N, H, W, 3] frame, float[2] style_weights, float[1] strength) => (uint8[N, H, W, 3] stylized) {
        stylized = Identity(frame)
    }"""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>' + graph)
    given = [condition_inputs(model, n) for n in range(7)]
    assert [feeds["style_weights"].tolist() for feeds in given[:3]] == [[1, 0], [0, 1], [1, 0]]
    assert [feeds["strength"].tolist() for feeds in given] == [[1], [1], [0.5], [0.5], [1.5], [1.5], [1]]
    del model.graph.input[1:]
    assert condition_inputs(model, 3) == {}
