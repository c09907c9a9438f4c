"""Networks that several commands are tried on."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

_MIX = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame, float[2] style_weights) => (uint8[N, H, W, 3] stylized) <float[2] levels = {40, 200}> {
    parts = Mul(style_weights, levels)
    level = ReduceSum<keepdims = 1>(parts)
    whole = Cast <to = 2> (level)
    black = Sub(frame, frame)
    stylized = Add(black, whole)
}"""


@pytest.fixture
def write_duo() -> Callable[[Path], None]:
    """Write a network of two styles: munch paints level 40, monet 200."""

    def write(path: Path) -> None:
        model = onnx.parser.parse_model(_MIX)
        onnx.helper.set_model_props(model, {"fastnst_format": "2", "styles": "munch,monet"})
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)

    return write
