"""Networks to evaluate: ours, and other people's ONNX files of the float form.

H height, W width in pixels. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from fastnst.errors import StyleError
from fastnst.images import Frame
from fastnst.runtime.session import Stylizer
from fastnst.styles import find_style

MULTIPLE = 4
"""Sides of the float form are padded to a multiple of this: usual networks halve them twice."""


class Painter(Protocol):
    """Paints a frame; the result has its size."""

    def __call__(self, frame: Frame, /) -> Frame:
        """Paint one frame."""
        ...


@dataclass(frozen=True)
class Network:
    """A network to evaluate."""

    name: str
    path: Path
    paint: Painter
    parameters: int
    """Trained numbers in the file."""


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


def open_network(style: str | Path, *, name: str | None = None, threads: int | None = None) -> Network:
    """Open a network: an installed style's name or an ONNX file, ours or of the float form.

    Raises:
        StyleError: no such style or file, or a network of another form.
    """
    path = find_style(style)
    model = _read(path)
    name = name or path.stem
    inputs = [port for port in model.graph.input if port.name not in {i.name for i in model.graph.initializer}]
    if any(port.name == "frame" for port in inputs):
        # ONNX Runtime in float32, as for the others: what is fastest here may compute in bfloat16.
        return Network(name, path, Stylizer(path, provider="cpu", threads=threads), count_parameters(model))
    if len(inputs) != 1 or _form(inputs[0]) != (onnx.TensorProto.FLOAT, 4, 3):
        found = ", ".join(port.name for port in inputs) or "nothing"
        raise StyleError(
            f"{path}: takes {found}; expected a network of ours, or one input float32 (N, 3, H, W) RGB in 0..255"
        )
    try:
        painter = FloatNetwork(path)
        tried = painter(np.zeros((34, 37, 3), np.uint8))
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"{path}: cannot be run ({str(error).splitlines()[0][:160]})") from error
    if tried.shape != (34, 37, 3):
        raise StyleError(f"{path}: turns a picture of 37x34 into one of {tried.shape[1]}x{tried.shape[0]}")
    return Network(name, path, painter, count_parameters(model))


def open_networks(styles: Sequence[str | Path]) -> list[Network]:
    """Open several networks under different names: a file's name, with its folder's where two are alike.

    Raises StyleError as `open_network`, and for the same file twice.
    """
    paths = [find_style(style) for style in styles]
    networks: list[Network] = []
    for path in paths:
        alike = [other for other in paths if other.stem == path.stem]
        name = path.stem if len(alike) == 1 else f"{path.resolve().parent.name}/{path.stem}"
        if name in {network.name for network in networks}:
            raise StyleError(f"{path}: two networks are called {name}; give each file once, in folders of other names")
        networks.append(open_network(path, name=name))
    return networks


def count_parameters(model: onnx.ModelProto) -> int:
    """Count the trained numbers of a network: its floating-point tensors, less single numbers and Resize's scales."""
    scales = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:]}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors |= {name: item.t for name in node.output for item in node.attribute if item.name == "value"}
    trained = (tensor for name, tensor in tensors.items() if tensor.data_type in floats and name not in scales)
    return sum(int(np.prod(tensor.dims)) for tensor in trained if tensor.dims)


def to_levels(planes: npt.NDArray[np.float32]) -> Frame:
    """Planes, float (1, 3, H, W) in 0..255, to a frame: rounded, clipped; undefined numbers become black."""
    levels: Frame = np.rint(np.nan_to_num(planes[0]).clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)
    return levels


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors, and whatever the system says
        raise StyleError(f"{path}: not a readable ONNX network ({error})") from error


def _form(port: onnx.ValueInfoProto) -> tuple[int, int, int]:
    tensor = port.type.tensor_type
    dims = tensor.shape.dim
    return tensor.elem_type, len(dims), dims[1].dim_value if len(dims) == 4 else 0
