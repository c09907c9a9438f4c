"""Graphs around another project's networks, which make them take and give pixels.

N pictures, H height, W width. Frames are uint8 (N, H, W, 3) RGB.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, compose, parser

from fastnst.backends.contract import Array

MULTIPLES = (4, 8, 16, 32)
"""Sides are padded to a multiple of the first of these that gives a picture of its size back."""

PROBE = (96, 128)
"""Height and width of the test picture where a network leaves the size open."""

Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Levels:
    """What a network's numbers stand for: level = number * scale + shift, level 0 to 255."""

    name: str
    scale: float
    shift: float


BYTES, UNIT, SIGNED = Levels("0..255", 1.0, 0.0), Levels("0..1", 255.0, 0.0), Levels("-1..1", 127.5, 127.5)


@dataclass(frozen=True)
class ForeignForm:
    """How a network takes and gives pictures."""

    input: str
    output: str
    dtype: int
    """ONNX's number of the input's type."""

    channels_last: bool
    """(N, H, W, 3) instead of (N, 3, H, W)."""

    size: Size | None
    """The only (height, width) that it takes; None: any."""

    one_at_a_time: bool
    """It takes N = 1 alone."""

    multiple: int = MULTIPLES[0]
    """Of what sides are padded to."""

    given: Levels = BYTES
    """Levels of its input."""

    painted: Levels = BYTES
    """Levels of its output."""

    def __str__(self) -> str:
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(self.dtype)).name
        height, width = self.size or ("H", "W")
        count = 1 if self.one_at_a_time else "N"
        shape = f"({count}, {height}, {width}, 3)" if self.channels_last else f"({count}, 3, {height}, {width})"
        levels = self.given.name if self.given == self.painted else f"{self.given.name}, gives {self.painted.name}"
        return f"{kind} {shape} in {levels}"


def declared(model: ModelProto, form: ForeignForm) -> ModelProto:
    """A copy whose ports are declared as the form says."""
    copied = ModelProto()
    copied.CopyFrom(model)
    height, width = form.size or ("H", "W")
    count = 1 if form.one_at_a_time else "N"
    sizes = [count, height, width, 3] if form.channels_last else [count, 3, height, width]
    (port,) = copied.graph.input
    port.CopyFrom(onnx.helper.make_tensor_value_info(form.input, form.dtype, sizes))
    (output,) = copied.graph.output
    kind = output.type.tensor_type.elem_type
    output.CopyFrom(onnx.helper.make_tensor_value_info(form.output, kind, [None] * 4))
    return copied


def open_core(model: ModelProto) -> Any:
    """Open a model on the CPU, in one thread."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def is_last(painted: Array) -> bool:
    """Whether a picture has its channels last."""
    return painted.ndim == 4 and painted.shape[3] == 3 and painted.shape[1] != 3


_PAD = """
    shape = Shape (frame)
    from = Constant <value = int64[1] {1}> ()
    to = Constant <value = int64[1] {3}> ()
    size = Slice (shape, from, to)
    stride = Constant <value = int64[2] {STRIDE, STRIDE}> ()
    over = Mod (size, stride)
    under = Sub (stride, over)
    rest = Mod (under, stride)
    nothing = Constant <value = int64[6] {0, 0, 0, 0, 0, 0}> ()
    pads = Concat <axis = 0> (nothing, rest)
    levels = Pad <mode = "edge"> (planes, pads)
"""

_BEFORE = """<ir_version: IR, opset_import: ["" : OPSET]>
prepare (uint8[COUNT, HEIGHT, WIDTH, 3] frame) => (TYPE[GIVEN] given, int64[2] size) {
    turned = Transpose <perm = [0, 3, 1, 2]> (frame)
    planes = Cast <to = 1> (turned)
    PAD
    shift = Constant <value = float {SHIFT}> ()
    scale = Constant <value = float {SCALE}> ()
    shifted = Sub (levels, shift)
    numbers = Div (shifted, scale)
    typed = Cast <to = KIND> (numbers)
    given = LAST (typed)
}"""

_AFTER = """<ir_version: IR, opset_import: ["" : OPSET]>
finish (TYPE[PAINTED] raw, int64[2] size) => (uint8[COUNT, HEIGHT, WIDTH, 3] stylized) {
    numbers = Cast <to = 1> (raw)
    scale = Constant <value = float {SCALE}> ()
    shift = Constant <value = float {SHIFT}> ()
    scaled = Mul (numbers, scale)
    shifted = Add (scaled, shift)
    zero = Constant <value = float {0}> ()
    full = Constant <value = float {255}> ()
    clipped = Clip (shifted, zero, full)
    rounded = Round (clipped)
    whole = Cast <to = 2> (rounded)
    last = LAST (whole)
    origin = Constant <value = int64[2] {0, 0}> ()
    axes = Constant <value = int64[2] {1, 2}> ()
    stylized = Slice (last, origin, size, axes)
}"""

_WORDS: dict[int, str] = {TensorProto.FLOAT: "float", TensorProto.FLOAT16: "float16", TensorProto.UINT8: "uint8"}


def joined(core: ModelProto, form: ForeignForm) -> ModelProto:
    """The graph between what makes its input of a frame, and a frame of its output."""
    core = declared(core, form)
    session = open_core(core)
    last = is_last(session.run([form.output], _feeds(form))[0])
    kind = core.graph.output[0].type.tensor_type.elem_type
    opset = next(entry.version for entry in core.opset_import if entry.domain in ("", "ai.onnx"))
    height, width = form.size or ("H", "W")
    common = {"IR": core.ir_version, "OPSET": opset, "COUNT": 1 if form.one_at_a_time else "N"}
    common |= {"HEIGHT": height, "WIDTH": width}
    before = common | {
        "PAD": _PAD.replace("STRIDE", str(1 if form.size else form.multiple)),
        **{"SHIFT": form.given.shift, "SCALE": form.given.scale, "KIND": form.dtype, "TYPE": _WORDS[form.dtype]},
        **{"GIVEN": "GN, GA, GB, GC", "LAST": _turn(form.channels_last, "[0, 2, 3, 1]")},
    }
    after = common | {
        **{"SHIFT": form.painted.shift, "SCALE": form.painted.scale, "TYPE": _WORDS.get(kind, "float")},
        **{"PAINTED": "RN, RA, RB, RC", "LAST": _turn(not last, "[0, 2, 3, 1]")},
    }
    prepare, finish = _parsed(_BEFORE, before), _parsed(_AFTER, after)
    for part, prefix in ((prepare, "before_"), (core, "core_"), (finish, "after_")):
        outer = part is not core
        compose.add_prefix(part, prefix, rename_inputs=not outer, rename_outputs=not outer, inplace=True)
    taken, made = f"core_{form.input}", f"core_{form.output}"
    whole = compose.merge_models(prepare, core, io_map=[("given", taken)], outputs=[made, "size"])
    whole = compose.merge_models(whole, finish, io_map=[(made, "raw"), ("size", "size")])
    entries = {entry.domain if entry.domain != "ai.onnx" else "": entry.version for entry in whole.opset_import}
    del whole.opset_import[:]
    whole.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in entries.items())
    whole.producer_name = "fastnst"
    return whole


def _feeds(form: ForeignForm) -> dict[str, Array]:
    height, width = form.size or PROBE
    shape = (1, height, width, 3) if form.channels_last else (1, 3, height, width)
    return {form.input: np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(form.dtype))}


def _turn(wanted: bool, order: str) -> str:
    return f"Transpose <perm = {order}>" if wanted else "Identity"


def _parsed(text: str, values: dict[str, Any]) -> ModelProto:
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(name, str(values[name]))
    return parser.parse_model(text)
