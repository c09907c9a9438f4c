"""Networks to evaluate: ours, and other projects' ONNX files.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from fastnst.errors import StyleError
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame
from fastnst.io.styles import MIX_SIGN, StyleChoice, StyleWeights, choose_style


@dataclass(frozen=True)
class EvaluatedNetwork:
    """A network to evaluate."""

    name: str
    path: Path
    paint: "NetworkPainter"
    parameters: int
    """Trained numbers in the file."""

    variant: str = ""
    """The mix and the strength that it is stylized with, where they are not the usual ones."""

    @property
    def identity(self) -> str:
        """Tells what this network paints from what others do: a hash of the file, and the variant."""
        return digest(self.path.read_bytes()) + (digest(self.variant) if self.variant else "")


class NetworkPainter:
    """An open network, with a mix of its styles and a strength."""

    def __init__(self, stylizer: Stylizer, weights: StyleWeights | None = None, strength: float | None = None) -> None:
        """Take an open network; SettingError for a mix or a strength that it does not take."""
        stylizer.check(weights, strength)
        self.stylizer, self._weights, self._strength = stylizer, weights, strength

    def __call__(self, frame: Frame, /) -> Frame:
        """Paint one frame."""
        return self.stylizer(frame, style_weights=self._weights, strength=self._strength)


def open_network(
    style: str | Path, *, name: str | None = None, strength: float | None = None, threads: int | None = None
) -> EvaluatedNetwork:
    """Open a network: an installed style's name or an ONNX file, ours or another project's.

    Args:
        style: with a mix for a network of several styles, such as trio@munch; all alike without one.
        name: what it is called; None: as in `style`, without a folder.
        strength: None: the full style.
        threads: on the CPU.

    Raises:
        StyleError: no such style or file, or a network of another form.
        SettingError: a mix or a strength that the network does not take.
    """
    choice = choose_style(style)
    variant = choice.mix if strength is None else f"{choice.mix} strength {strength:g}"
    # ONNX Runtime in float32: what is fastest here may compute in bfloat16.
    paint = NetworkPainter(Stylizer(choice.path, provider="cpu", threads=threads), choice.weights, strength)
    return EvaluatedNetwork(
        name or _name(choice), choice.path, paint, count_parameters(onnx.load(choice.path)), variant
    )


def open_networks(styles: Sequence[str | Path], *, strength: float | None = None) -> list[EvaluatedNetwork]:
    """Open several networks under different names: a file's name and mix, with its folder's where two are alike.

    Raises StyleError and SettingError as `open_network`, and StyleError for the same one twice.
    """
    choices = [choose_style(style) for style in styles]
    networks: list[EvaluatedNetwork] = []
    for style, choice in zip(styles, choices, strict=True):
        name = _name(choice)
        if [_name(other) for other in choices].count(name) > 1:
            name = f"{choice.path.resolve().parent.name}/{name}"
        if name in {network.name for network in networks}:
            raise StyleError(
                f"{choice.path}: two networks are called {name}; give each file once, in folders of other names"
            )
        networks.append(open_network(style, name=name, strength=strength))
    return networks


def digest(*parts: str | bytes) -> str:
    """One short text that stands for texts and files' contents."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(f"{len(content)} ".encode() + content)
    return found.hexdigest()[:32]


def count_parameters(model: onnx.ModelProto) -> int:
    """Count the trained numbers of a network: its floating-point tensors, less single numbers and Resize's scales.

    Weights in 8-bit integers count, scales and zero points for them do not.
    """
    scales = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:]}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    quantized: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors |= {name: item.t for name in node.output for item in node.attribute if item.name == "value"}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            scales.update(node.input[1:])
            quantized.add(node.input[0])
    trained = (
        tensor
        for name, tensor in tensors.items()
        if name in quantized or (tensor.data_type in floats and name not in scales)
    )
    return sum(int(np.prod(tensor.dims)) for tensor in trained if tensor.dims)


def _name(choice: StyleChoice) -> str:
    return f"{choice.path.stem}{MIX_SIGN}{choice.mix}" if choice.mix else choice.path.stem
