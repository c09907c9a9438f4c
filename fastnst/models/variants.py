"""Forms of an exported network for other programs: half precision, another range, one size alone, OpenVINO's files.

Files for phones are made of the torch network instead: mobile.py.

Each is run back and compared with the network that it is made of before it is written.
"""

import os
import tempfile
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper, parser

from fastnst.backends.choosing import draw_picture
from fastnst.backends.contract import Array
from fastnst.backends.forms import NOISE, is_exported, rename_values, stored_noise, to_planes, to_web, with_noise_inside
from fastnst.errors import MissingPackageError, SettingError, StyleError
from fastnst.io.files import write_atomically
from fastnst.io.noise import with_noise
from fastnst.io.styles import MIX_SIGN, read_mix, to_shares
from fastnst.machine import install_line

Layout: TypeAlias = Literal["nhwc-uint8", "nchw-float", "web"]
Range: TypeAlias = Literal["0..255", "0..1"]
Target: TypeAlias = Literal["onnx", "openvino", "coreml", "litert"]

LARGEST_DIFFERENCE = 16
"""Levels of 255 that the 99.9th percentile of all pixels may differ by in half precision."""

_PLANES = """<ir_version: {ir}, opset_import: ["" : {opset}]>
prepare (float[N, 3, H, W] planes) => (uint8[N, H, W, 3] frame) {{
    zero = Constant <value = float {{0}}> ()
    full = Constant <value = float {{255}}> ()
    clipped = Clip (planes, zero, full)
    rounded = Round (clipped)
    whole = Cast <to = 2> (rounded)
    frame = Transpose <perm = [0, 2, 3, 1]> (whole)
}}"""

_BACK = """<ir_version: {ir}, opset_import: ["" : {opset}]>
finish (uint8[N, H, W, 3] painted) => (float[N, 3, H, W] stylized) {{
    turned = Transpose <perm = [0, 3, 1, 2]> (painted)
    stylized = Cast <to = 1> (turned)
}}"""

_SCALED = """<ir_version: {ir}, opset_import: ["" : {opset}]>
scale (float[N, 3, H, W] given) => (float[N, 3, H, W] made) {{
    factor = Constant <value = float {{{factor}}}> ()
    made = Mul (given, factor)
}}"""


@dataclass(frozen=True)
class Variant:
    """How a file is to differ from the usual one."""

    layout: Layout = "nhwc-uint8"
    """nchw-float and web: float32 (N, 3, H, W) in and out instead of uint8 (N, H, W, 3)."""

    range: Range = "0..255"
    """What the floats of planes stand for."""

    fp16: bool = False
    """Weights and arithmetic in half precision; inputs and outputs stay as they are."""

    size: tuple[int, int] | None = None
    """The only (height, width) that it takes; None: any."""

    mix: str = ""
    """The only style or mix that it paints, as `fastnst.io.styles.read_mix` takes it; empty: all, by an input."""

    noise: float = 0.0
    """Noise that the graph adds to its input, levels of 255 (`fastnst.io.noise`)."""

    def __post_init__(self) -> None:
        if self.range != "0..255" and self.layout != "nchw-float":
            raise SettingError(f"--range {self.range} goes with --layout nchw-float; frames of uint8 are 0..255")


def vary(model: ModelProto, variant: Variant) -> ModelProto:
    """A network of the contract in another form; `model` is not changed. Raises StyleError where that cannot be."""
    model = _with_mix(model, variant.mix) if variant.mix else model
    varied = _in_layout(model, variant.layout)
    if variant.noise:
        varied = with_noise_inside(varied, variant.noise, variant.size)
    said = {entry.key: entry.value for entry in varied.metadata_props} | {"layout": variant.layout}
    if variant.range == "0..1":
        varied, said["range"] = _in_unit_range(varied), variant.range
    if variant.size is not None:
        _fix_size(varied, variant.size)
        varied = _folded(varied)
    if variant.fp16:
        varied = _in_half_precision(varied)
    helper.set_model_props(varied, said)
    return varied


def _with_mix(model: ModelProto, mix: str) -> ModelProto:
    """A copy that paints in one mix of its styles: the input with their shares becomes a constant."""
    mixed = ModelProto()
    mixed.CopyFrom(model)
    ports = [port for port in mixed.graph.input if port.name != "style_weights"]
    if len(ports) == len(mixed.graph.input):
        raise StyleError(f"the network has one style; leave out {MIX_SIGN}{mix}")
    said = {entry.key: entry.value for entry in model.metadata_props}
    shares = np.array(to_shares(said.pop("styles").split(","), read_mix(mix)), np.float32)
    del mixed.graph.input[:]
    mixed.graph.input.extend(ports)
    mixed.graph.initializer.append(numpy_helper.from_array(shares, "style_weights"))
    helper.set_model_props(mixed, said | {"style": mix})
    return mixed


def _in_layout(model: ModelProto, layout: Layout) -> ModelProto:
    """A copy that takes and gives planes, if it is to; other projects' networks keep rounding theirs."""
    if layout == "web":
        return to_web(model)
    if layout == "nchw-float" and is_exported(model):
        return to_planes(model)
    copied = ModelProto()
    copied.CopyFrom(model)
    return _in_planes(copied) if layout == "nchw-float" and _kind(copied) == TensorProto.UINT8 else copied


def difference(model: ModelProto, varied: ModelProto, variant: Variant) -> int:
    """Levels of 255 that 99.9 % of the pixels of both lie within of each other on a picture.

    Raises StyleError where the varied one does not run, or gives something else.
    """
    frames = draw_picture(variant.size or (120, 160))
    noisy = with_noise(frames, variant.noise)
    usual = _with_mix(model, variant.mix) if variant.mix else model
    return compare(_levels(usual, noisy), _levels(varied, frames, variant.range))


def compare(one: Array, other: Array) -> int:
    """99.9th percentile of two paintings' difference in levels; StyleError where it is large or they do not compare."""
    if one.shape != other.shape or not np.isfinite(other).all():
        raise StyleError(f"the file that was made turns {one.shape} into {other.shape}, or gives no numbers")
    found = int(np.ceil(np.percentile(np.abs(one - other), 99.9)))
    if found > LARGEST_DIFFERENCE:
        raise StyleError(f"the file that was made paints otherwise, by {found} levels of 255; nothing was written")
    return found


def save_openvino(model: ModelProto, output: Path, *, fp16: bool) -> int:
    """Write OpenVINO's two files, NAME.xml and NAME.bin, after they were read and run back.

    Returns how far they are from the ONNX file, as `difference`. Raises MissingPackageError without OpenVINO.
    """
    try:
        import openvino  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"--to openvino needs OpenVINO: {install_line('openvino')}") from error
    frames = draw_picture(_fixed_size(model) or (120, 160))
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "network.onnx", Path(folder) / "network.xml"
        source.write_bytes(model.SerializeToString())
        openvino.save_model(openvino.convert_model(str(source)), str(made), compress_to_fp16=fp16)
        compiled = openvino.Core().compile_model(str(made), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compare(_levels(model, frames), _to_levels(compiled(_feeds(model, frames))["stylized"], "0..255"))
        for suffix in (".bin", ".xml"):  # first the weights: what has the name is whole
            write_atomically(output.with_suffix(suffix), made.with_suffix(suffix).read_bytes())
    return found


def _kind(model: ModelProto) -> int:
    return int(next(port.type.tensor_type.elem_type for port in model.graph.input if port.name == "frame"))


def _parts(model: ModelProto) -> dict[str, int]:
    return {"ir": model.ir_version, "opset": next(entry.version for entry in model.opset_import if not entry.domain)}


def _part(text: str, prefix: str, model: ModelProto, **values: object) -> ModelProto:
    part = parser.parse_model(text.format(**_parts(model), **values))
    return compose.add_prefix(part, prefix)


def _put_between(first: ModelProto, model: ModelProto, last: ModelProto) -> ModelProto:
    """`first` before the frame, `last` after the stylized frame; the ports keep their names."""
    made, given = first.graph.output[0].name, last.graph.input[0].name
    frame, stylized = f"{made}_inner", f"{given}_inner"
    rename_values(model, {"frame": frame, "stylized": stylized})
    kept = [port.name for port in model.graph.output]
    whole = compose.merge_models(first, model, io_map=[(made, frame)], outputs=kept)
    whole = compose.merge_models(whole, last, io_map=[(stylized, given)])
    del whole.opset_import[1:]
    rename_values(whole, {first.graph.input[0].name: "frame", last.graph.output[0].name: "stylized"})
    whole.producer_name, whole.graph.name = model.producer_name, model.graph.name
    del whole.graph.value_info[:]
    return whole


def _in_planes(model: ModelProto) -> ModelProto:
    return _put_between(_part(_PLANES, "to_frame_", model), model, _part(_BACK, "to_planes_", model))


def _in_unit_range(model: ModelProto) -> ModelProto:
    return _put_between(
        _part(_SCALED, "up_", model, factor=255.0), model, _part(_SCALED, "down_", model, factor=1 / 255)
    )


def _fix_size(model: ModelProto, size: tuple[int, int]) -> None:
    last = _kind(model) == TensorProto.UINT8
    shape = [1, *size, 3] if last else [1, 3, *size]
    for port in (*model.graph.input, *model.graph.output):
        if port.name in ("frame", "stylized"):
            kind = port.type.tensor_type.elem_type
            port.CopyFrom(helper.make_tensor_value_info(port.name, kind, shape))
    del model.graph.value_info[:]


def _folded(model: ModelProto) -> ModelProto:
    """The same with all computed that one size leaves constant: few operators remain, which OpenCV 4 knows, too."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = os.path.join(folder, "folded.onnx")  # noqa: PTH118 - it takes a str
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = load_onnx(Path(options.optimized_model_filepath))
    used = {node.domain for node in folded.graph.node}
    kept = [entry for entry in folded.opset_import if entry.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(kept)
    folded.producer_name, folded.graph.name = model.producer_name, model.graph.name
    _store_noise_small(folded)
    return folded


def _store_noise_small(model: ModelProto) -> None:
    """Keep noise that is a constant by now as whole numbers of one or two bytes."""
    for tensor in model.graph.initializer:
        if tensor.name.startswith(f"{NOISE}:") and len(tensor.dims) == 4:
            name = tensor.name
            tensor.CopyFrom(stored_noise(numpy_helper.to_array(tensor)[0, 0]))
            cast = helper.make_node("Cast", [tensor.name], [name], name=f"{NOISE}:numbers", to=TensorProto.FLOAT)
            model.graph.node.insert(0, cast)


def _fixed_size(model: ModelProto) -> tuple[int, int] | None:
    shape = next(port.type.tensor_type.shape.dim for port in model.graph.input if port.name == "frame")
    sizes = [each.dim_value for each in shape][1:3] if _kind(model) == TensorProto.UINT8 else [0, 0]
    sizes = sizes if _kind(model) == TensorProto.UINT8 else [each.dim_value for each in shape][2:4]
    return (sizes[0], sizes[1]) if all(sizes) else None


def _in_half_precision(model: ModelProto) -> ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415 - takes a moment

    # Sums over a whole picture leave the range of half precision.
    kept = ["InstanceNormalization", "ReduceMean", "ReduceSum", "Resize", "Pow", "Sqrt", "Reciprocal"]
    converted: ModelProto = convert_float_to_float16(model, keep_io_types=True, op_block_list=kept)
    # It casts some values twice, under the same name, and puts casts behind what takes their values.
    nodes = {node.output[0]: node for node in converted.graph.node}
    del converted.graph.node[:]
    converted.graph.node.extend(_sorted(nodes))
    onnx.checker.check_model(converted)
    return converted


def _sorted(nodes: dict[str, NodeProto]) -> list[NodeProto]:
    """Nodes by their first output, each after those whose values it takes."""
    makers = {name: first for first, node in nodes.items() for name in node.output}
    order = TopologicalSorter(
        {first: [makers[name] for name in node.input if name in makers] for first, node in nodes.items()}
    )
    return [nodes[first] for first in order.static_order()]


def _feeds(model: ModelProto, frames: Array, value_range: Range = "0..255") -> dict[str, Array]:
    planes = _kind(model) != TensorProto.UINT8
    given = frames.transpose(0, 3, 1, 2).astype(np.float32) / (255 if value_range == "0..1" else 1)
    feeds: dict[str, Array] = {"frame": np.ascontiguousarray(given) if planes else frames}
    for port in model.graph.input:
        if port.name != "frame":
            count = port.type.tensor_type.shape.dim[0].dim_value
            feeds[port.name] = np.full(count, 1 / count, np.float32)
    return feeds


def _levels(model: ModelProto, frames: Array, value_range: Range = "0..255") -> Array:
    """What a network paints of frames, as float levels (N, H, W, 3) in 0..255."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session: Any = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (painted,) = session.run(["stylized"], _feeds(model, frames, value_range))
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"the file that was made does not run ({str(error).splitlines()[0][:200]})") from error
    return _to_levels(painted, value_range)


def _to_levels(painted: Array, value_range: Range) -> Array:
    levels: Array = np.asarray(painted).astype(np.float32) * (255 if value_range == "0..1" else 1)
    return levels if levels.shape[-1] == 3 else levels.transpose(0, 2, 3, 1)


def load_onnx(path: Path) -> ModelProto:
    """Read an ONNX file with its weights. Raises StyleError."""
    try:
        return onnx.load(os.fspath(path))
    except Exception as error:  # protobuf's own
        raise StyleError(f"{path}: not a readable ONNX network") from error
