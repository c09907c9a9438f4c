"""One pipeline: the same options give the same pixels in pictures, films, live and from Python."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from PIL import Image

from fastnst import Effects, Stylizer
from fastnst.cli import main
from fastnst.inference.pipeline import StylePipeline
from fastnst.io.images import Frame, read_frame
from fastnst.io.styles import StyleChoice
from fastnst.webcam.capture import Newest, Shot
from fastnst.webcam.inference_thread import InferenceThread, SizeKeeper
from fastnst.webcam.settings import Controls

SIZE = (48, 64)
DUO = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame, float[2] style_weights) => (uint8[N, H, W, 3] stylized) <float[2] levels = {40, 200}> {
    parts = Mul(style_weights, levels)
    level = ReduceSum<keepdims = 1>(parts)
    whole = Cast <to = 2> (level)
    stylized = Sub(whole, frame)
}"""
"""munch is 40 minus the frame, monet 200 minus the frame; what falls below 0 wraps around."""

OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "mix": {"strength": 0.6, "mix": "munch:3,monet:1"},
    "mask": {"mask": "mask.png", "feather": 3.0},
    "stroke": {"stroke": 2, "detail": "photo"},
    "brightness": {"brightness": "keep"},
    "look": {"look": "bold", "strength": 0.5},
    "all": {
        "strength": 0.7,
        "mix": "munch:1,monet:2",
        "stroke": 2.0,
        "detail": "painted",
        "preserve_color": True,
        "mask": "mask.png",
        "brightness": "keep",
    },
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A style, a mask, a photo and a film of that photo alone."""
    model = onnx.parser.parse_model(DUO)
    onnx.helper.set_model_props(model, {"fastnst_format": "2", "styles": "munch,monet"})
    onnx.save(model, tmp_path / "duo.onnx")
    mask = np.zeros(SIZE, np.uint8)
    mask[10:40, 8:30], mask[10:40, 30:50] = 255, 100
    Image.fromarray(mask).save(tmp_path / "mask.png")
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    with av.open(str(tmp_path / "film.mkv"), "w") as film:
        stream = film.add_stream("ffv1", rate=Fraction(25), width=SIZE[1], height=SIZE[0], pix_fmt="bgr0")
        film.mux(stream.encode(av.VideoFrame.from_ndarray(photo, "rgb24")))
        film.mux(stream.encode(None))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(name: str, source: str, output: str, options: dict[str, object], *more: str) -> None:
    words = [name, source, "--style", "duo.onnx", "-o", output, "--provider", "cpu", *more]
    for option, value in options.items():
        words += [f"--{option.replace('_', '-')}", *([] if value is True else [str(value)])]
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert not caught.value.code


def live(photo: Frame, effects: Effects) -> Frame:
    """What the webcam's inference thread makes of one picture, painted as large as the stroke says."""
    stroke = effects.stroke_for(SIZE)
    shots: Newest[Shot] = Newest()
    with StylePipeline("duo.onnx", effects, provider="cpu") as pipeline:
        controls = Controls(strength=effects.strength, preserve_color=effects.preserve_color)
        keeper = SizeKeeper(30, long_side=max(SIZE))
        thread = InferenceThread(pipeline, {"duo": StyleChoice(Path("duo.onnx"))}, shots, keeper, controls=controls)
        thread.start()
        shots.put(Shot(photo, 0.0, 0))
        stylized = thread.stylized.take(20)
        thread.stop()
    assert stylized is not None
    assert stylized.size == (round(SIZE[0] / stroke), round(SIZE[1] / stroke))
    return stylized.picture


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_pixels_everywhere(folder: Path, name: str) -> None:
    options, photo = OPTIONS[name], read_frame(folder / "photo.png")
    settings = {key: Path(str(value)) if key == "mask" else value for key, value in options.items()}
    effects = Effects(**settings)  # type: ignore[arg-type]
    with Stylizer("duo.onnx", effects, provider="cpu") as stylizer:
        expected = stylizer(photo)
        np.testing.assert_array_equal(stylizer(np.stack([photo, photo]))[1], expected)
    assert (expected != photo).any()

    command("stylize", "photo.png", "out.png", options)
    command("video", "film.mkv", "out.mkv", options, "--codec", "ffv1", "--pixel-format", "bgr0")
    with av.open("out.mkv") as film:
        (frame,) = film.decode(video=0)
        filmed = frame.to_ndarray(format="rgb24")
    np.testing.assert_array_equal(read_frame(folder / "out.png"), expected)
    np.testing.assert_array_equal(filmed, expected)
    np.testing.assert_array_equal(live(photo, effects), expected)
