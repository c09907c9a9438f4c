"""Other projects' networks, wrapped into the contract: a picture in, a picture of its size out, as our own.

Taken is what has one picture as its input and one as its output, (N, 3, H, W) or (N, H, W, 3), in float32, float16 or
uint8. Which levels it works in, 0 to 255, 0 to 1 or -1 to 1, is found by trying. A size that is only written beside a
graph is left out; one that the graph itself holds stays, and pictures are painted in pieces of it (tiling/pieces.py).

N pictures, H height, W width. Frames are uint8 (N, H, W, 3) RGB.
"""

import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, compose, parser, version_converter
from platformdirs import user_cache_path

from fastnst.backends.backend import Array, first_line
from fastnst.backends.choosing import draw_picture
from fastnst.errors import StyleError
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame

_VERSION = "1"
"""Of the wrapping: files of another one are not used."""

_LEAST_OPSET, _BEST_OPSET, _IR = 13, 18, 8
"""What wraps is written for opset 13 and later; older graphs are converted."""

_MULTIPLES = (4, 8, 16, 32)
"""Sides are padded to a multiple of the first of these that gives a picture of its size back."""

_PROBE = (96, 128)
"""Height and width of the test picture where a network leaves the size open."""

_TOLERANCE = 0.1
"""So much better other levels of the input must do than those of the output, which most networks have in common."""

_CELL = 8
"""Pixels a side over which pictures are averaged before they are compared: strokes do not count."""

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

    multiple: int = _MULTIPLES[0]
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


def wrapped_file(path: Path) -> Path:
    """Where the wrapped form of a network file is kept, whether it is there or not."""
    digest = hashlib.sha256(_VERSION.encode() + path.read_bytes())
    for beside in sorted(path.parent.glob(f"{glob.escape(path.stem)}*")):  # some keep their weights there
        state = beside.stat()
        digest.update(f"{beside.name} {state.st_size} {state.st_mtime_ns}".encode(errors="surrogateescape"))
    return user_cache_path("fastnst", appauthor=False) / "wrapped" / digest.hexdigest()[:20] / f"{path.stem}.onnx"


def wrap_file(path: Path) -> Path:
    """Wrap a network of another form and keep it in the user's cache; gives the file to open.

    Raises:
        StyleError: it has another form still, or does not run.
    """
    target = wrapped_file(path)
    if not target.is_file():
        try:
            model = onnx.load(path)
        except Exception as error:  # protobuf's own, or of weights in other files
            raise StyleError(f"{path}: not a readable ONNX network ({first_line(error)})") from error
        wrapped = wrap(path, model)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, wrapped.SerializeToString())
    return target


def wrap(path: Path, model: ModelProto) -> ModelProto:
    """A network of another form as one that keeps to the contract. Raises StyleError, `path` is how it is called."""
    core = _modern(path, _opened_up(model))
    form = _form(path, core)
    fixed = form.size
    if fixed is not None:
        form = next((each for each in _any_size(form) if _gives_its_size(core, each)), form)
    if form.size is None and not _gives_its_size(core, form):
        multiples = (replace(form, multiple=multiple) for multiple in _MULTIPLES)
        found = next((each for each in multiples if _gives_its_size(core, each)), None)
        if found is None:
            raise StyleError(f"{path}: {form} gives no picture of the size that it was given")
        form = found
    if form.one_at_a_time and _gives_its_size(core, replace(form, one_at_a_time=False), count=2):
        form = replace(form, one_at_a_time=False)
    form = _with_levels(path, core, form)
    whole = _joined(core, form)
    words = f"wrapped: {form}" + (f"; its {fixed[0]}x{fixed[1]} is not needed" if fixed and not form.size else "")
    metadata = {"fastnst_format": "1", "style": path.stem, "layout": "nhwc-uint8", "wrapped": words}
    onnx.helper.set_model_props(whole, metadata)
    return whole


def _inputs(model: ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [port for port in model.graph.input if port.name not in weights]


def _shape(port: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(size.dim_value or None for size in port.type.tensor_type.shape.dim)


def _opened_up(model: ModelProto) -> ModelProto:
    """A copy without the shapes that are written beside the graph: what it takes, only its own operators say."""
    core = ModelProto()
    core.CopyFrom(model)
    ports = _inputs(core)
    del core.graph.input[:]
    core.graph.input.extend(ports)  # weights are no inputs
    del core.graph.value_info[:]
    del core.metadata_props[:]
    return core


def _modern(path: Path, model: ModelProto) -> ModelProto:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    if opset < _LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, _BEST_OPSET)
        except Exception as error:
            raise StyleError(
                f"{path}: has opset {opset}, which could not be converted to {_BEST_OPSET} ({first_line(error)}); "
                "export it anew with a newer opset"
            ) from error
    model.ir_version = max(_IR, model.ir_version)
    return model


def _form(path: Path, model: ModelProto) -> ForeignForm:
    """What the ports say. Raises StyleError where they are no picture's."""
    inputs, outputs = _inputs(model), list(model.graph.output)
    found = ", ".join(f"{port.name!r} {_shape(port)}" for port in (*inputs[:3], *outputs[:3]))
    refusal = StyleError(
        f"{path}: has {found}; expected one picture in and one out, (N, 3, H, W) or (N, H, W, 3) in float32, float16 "
        "or uint8, or a network of fastnst"
    )
    if len(inputs) != 1 or len(outputs) != 1:
        raise refusal
    shape, dtype = _shape(inputs[0]), inputs[0].type.tensor_type.elem_type
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise refusal
    if dtype not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8):
        raise refusal
    last = shape[1] != 3
    height, width = shape[1:3] if last else shape[2:4]
    size = None if height is None or width is None else (height, width)
    return ForeignForm(inputs[0].name, outputs[0].name, dtype, last, size, one_at_a_time=shape[0] == 1)


def _any_size(form: ForeignForm) -> Iterator[ForeignForm]:
    for multiple in _MULTIPLES:
        yield replace(form, size=None, multiple=multiple)


def _declared(model: ModelProto, form: ForeignForm) -> ModelProto:
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


def _session(model: ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _gives_its_size(model: ModelProto, form: ForeignForm, *, count: int = 1) -> bool:
    """Whether it turns pictures of two sizes, multiples as the form says, into ones of the same; or of its own size."""
    step = form.multiple
    sizes = [form.size] if form.size else [(96 // step * step + step, 128), (160, 96 // step * step + 3 * step)]
    try:
        session = _session(_declared(model, form))
        pictures = [np.repeat(draw_picture(size), count, axis=0) for size in sizes]
        return all(_run(session, form, picture).shape == picture.shape for picture in pictures)
    except Exception:  # ONNX Runtime's errors have no common base
        return False


def _run(session: Any, form: ForeignForm, frames: Frame) -> Array:
    """What a network gives for frames, as float32 (N, H, W, 3) in its own levels."""
    numbers = (frames.astype(np.float32) - form.given.shift) / form.given.scale
    numbers = numbers if form.channels_last else numbers.transpose(0, 3, 1, 2)
    kind = onnx.helper.tensor_dtype_to_np_dtype(form.dtype)
    (painted,) = session.run([form.output], {form.input: np.ascontiguousarray(numbers.astype(kind))})
    found: Array = painted.astype(np.float32)
    return found if _is_last(found) else found.transpose(0, 2, 3, 1)


def _is_last(painted: Array) -> bool:
    return painted.ndim == 4 and painted.shape[3] == 3 and painted.shape[1] != 3


def _with_levels(path: Path, model: ModelProto, form: ForeignForm) -> ForeignForm:
    """The form with the levels whose picture is most like the one that was given, those of the output first."""
    picture = draw_picture(form.size or _PROBE)
    choices = [BYTES] if form.dtype == TensorProto.UINT8 else [BYTES, UNIT, SIGNED]
    likenesses: dict[Levels, tuple[float, Levels]] = {}
    try:
        session = _session(_declared(model, form))
        for given in choices:
            painted = _run(session, replace(form, given=given), picture)
            if np.isfinite(painted).all():
                levels = _levels_of(painted)
                likenesses[given] = _likeness(picture, painted * levels.scale + levels.shift), levels
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"{path}: fails on a test picture ({first_line(error)})") from error
    if not likenesses:
        raise StyleError(f"{path}: gives numbers that are none (NaN or infinity) on a test picture")
    best = max(likenesses, key=lambda levels: likenesses[levels][0])
    same = [given for given, (_, painted) in likenesses.items() if given == painted]
    given = next((each for each in same if likenesses[each][0] >= likenesses[best][0] - _TOLERANCE), best)
    return replace(form, given=given, painted=likenesses[given][1])


def _levels_of(painted: Array) -> Levels:
    """The levels of an output, by what most of its numbers keep to."""
    low, high = np.percentile(painted, (1, 99))
    if high > 4 or low < -4:
        return BYTES
    return SIGNED if low < -0.3 else UNIT


def _likeness(picture: Frame, painted: Array) -> float:
    """Correlation of two pictures' brightness in coarse cells, -1 to 1; 0 where one of them is flat."""
    one, other = (_cells(each.clip(0, 255)) for each in (picture.astype(np.float32), painted))
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / lengths if lengths > 0 else 0.0


def _cells(picture: Array) -> Array:
    brightness = picture[0].mean(axis=-1)
    height, width = (max(1, size // _CELL) for size in brightness.shape)
    cell_height, cell_width = brightness.shape[0] // height, brightness.shape[1] // width
    cut = brightness[: height * cell_height, : width * cell_width]
    found: Array = cut.reshape(height, cell_height, width, cell_width).mean(axis=(1, 3))
    return found


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


def _joined(core: ModelProto, form: ForeignForm) -> ModelProto:
    """The graph between what makes its input of a frame, and a frame of its output."""
    core = _declared(core, form)
    session = _session(core)
    last = _is_last(session.run([form.output], _feeds(form))[0])
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
    height, width = form.size or _PROBE
    shape = (1, height, width, 3) if form.channels_last else (1, 3, height, width)
    return {form.input: np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(form.dtype))}


def _turn(wanted: bool, order: str) -> str:
    return f"Transpose <perm = {order}>" if wanted else "Identity"


def _parsed(text: str, values: dict[str, Any]) -> ModelProto:
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(name, str(values[name]))
    return parser.parse_model(text)
