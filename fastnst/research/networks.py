"""Networks to evaluate: ours, and other people's ONNX files of the float form.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from fastnst.backends.mixing import MIX_SIGN, StyleChoice, StyleWeights, choose_style
from fastnst.errors import SettingError, StyleError
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame

MULTIPLE = 4
"""Sides of the float form are padded to a multiple of this: usual networks halve them twice."""


class StylizeFrame(Protocol):
    """Paints a frame; the result has its size."""

    def __call__(self, frame: Frame, /) -> Frame:
        """Paint one frame."""
        ...


@dataclass(frozen=True)
class EvaluatedNetwork:
    """A network to evaluate."""

    name: str
    path: Path
    paint: StylizeFrame
    parameters: int
    """Trained numbers in the file."""

    variant: str = ""
    """The mix and the strength that it is stylized with, where they are not the usual ones."""

    @property
    def identity(self) -> str:
        """Tells what this network paints from what others do: a hash of the file, and the variant."""
        return digest(self.path.read_bytes()) + (digest(self.variant) if self.variant else "")


class StylePainter:
    """A network of ours, with a mix of its styles and a strength."""

    def __init__(self, stylizer: Stylizer, weights: StyleWeights | None = None, strength: float | None = None) -> None:
        """Take an open network; SettingError for a mix or a strength that it does not take."""
        stylizer.check(weights, strength)
        self.stylizer, self._weights, self._strength = stylizer, weights, strength

    def __call__(self, frame: Frame, /) -> Frame:
        """Paint one frame."""
        return self.stylizer(frame, style_weights=self._weights, strength=self._strength)


class FloatNetwork:
    """A network that takes and gives float32 (1, 3, H, W) RGB in 0..255, as pytorch/examples and others export it.

    Pictures are padded by reflection at the right and the bottom to sides that are multiples of 4, and cropped after.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, frame: Frame) -> Frame:
        """Paint one frame."""
        height, width = frame.shape[:2]
        padded = np.pad(frame, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), mode="reflect")
        planes = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)
        painted: npt.NDArray[np.float32] = self._session.run(None, {self._input: planes})[0]
        return np.ascontiguousarray(to_levels(painted)[:height, :width])


def open_network(
    style: str | Path, *, name: str | None = None, strength: float | None = None, threads: int | None = None
) -> EvaluatedNetwork:
    """Open a network: an installed style's name or an ONNX file, ours or of the float form.

    Args:
        style: with a mix for a network of several styles, such as trio@munch; all alike without one.
        name: what it is called; None: as in `style`, without a folder.
        strength: for a network of ours; None: the full style.
        threads: on the CPU.

    Raises:
        StyleError: no such style or file, or a network of another form.
        SettingError: a mix or a strength that the network does not take.
    """
    choice = choose_style(style)
    path, variant = choice.path, choice.mix if strength is None else f"{choice.mix} strength {strength:g}"
    model = _read(path)
    name = name or _name(choice)
    inputs = [port for port in model.graph.input if port.name not in {i.name for i in model.graph.initializer}]
    if any(port.name == "frame" for port in inputs):
        # ONNX Runtime in float32, as for the others: what is fastest here may compute in bfloat16.
        painter = StylePainter(Stylizer(path, provider="cpu", threads=threads), choice.weights, strength)
        return EvaluatedNetwork(name, path, painter, count_parameters(model), variant)
    if variant:
        raise SettingError(f"{path}: not a network of ours, it takes neither a mix nor a strength")
    if len(inputs) != 1 or _form(inputs[0]) != (onnx.TensorProto.FLOAT, 4, 3):
        found = ", ".join(port.name for port in inputs) or "nothing"
        raise StyleError(
            f"{path}: takes {found}; expected a network of ours, or one input float32 (N, 3, H, W) RGB in 0..255"
        )
    try:
        foreign = FloatNetwork(path)
        tried = foreign(np.zeros((34, 37, 3), np.uint8))
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"{path}: cannot be run ({str(error).splitlines()[0][:160]})") from error
    if tried.shape != (34, 37, 3):
        raise StyleError(f"{path}: turns a picture of 37x34 into one of {tried.shape[1]}x{tried.shape[0]}")
    return EvaluatedNetwork(name, path, foreign, count_parameters(model))


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


def to_levels(planes: npt.NDArray[np.float32]) -> Frame:
    """Planes, float (1, 3, H, W) in 0..255, to a frame: rounded, clipped; undefined numbers become black."""
    levels: Frame = np.rint(np.nan_to_num(planes[0]).clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)
    return levels


def _name(choice: StyleChoice) -> str:
    return f"{choice.path.stem}{MIX_SIGN}{choice.mix}" if choice.mix else choice.path.stem


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors, and whatever the system says
        raise StyleError(f"{path}: not a readable ONNX network ({error})") from error


def _form(port: onnx.ValueInfoProto) -> tuple[int, int, int]:
    tensor = port.type.tensor_type
    dims = tensor.shape.dim
    return tensor.elem_type, len(dims), dims[1].dim_value if len(dims) == 4 else 0
