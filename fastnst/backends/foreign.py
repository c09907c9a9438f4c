"""Other projects' networks, wrapped into the contract: a picture in, a picture of its size out, as our own.

Taken is what has one picture as its input and one as its output, (N, 3, H, W) or (N, H, W, 3), in float32, float16 or
uint8. Which levels it works in, 0 to 255, 0 to 1 or -1 to 1, is found by trying. A size that is only written beside a
graph is left out; one that the graph itself holds stays, and pictures are painted in pieces of it (tiling/pieces.py).

N pictures, H height, W width. Frames are uint8 (N, H, W, 3) RGB.
"""

import glob
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, version_converter
from platformdirs import user_cache_path

from fastnst.backends.choosing import draw_picture
from fastnst.backends.contract import Array, first_line
from fastnst.backends.forms import without_noise
from fastnst.backends.wrapping import (
    BYTES,
    MULTIPLES,
    PROBE,
    SIGNED,
    UNIT,
    ForeignForm,
    Levels,
    declared,
    is_last,
    joined,
    open_core,
)
from fastnst.errors import StyleError
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame

_VERSION = "1"
"""Of the wrapping: files of another one are not used."""

_LEAST_OPSET, _BEST_OPSET, _IR = 13, 18, 8
"""What wraps is written for opset 13 and later; older graphs are converted."""

_TOLERANCE = 0.1
"""So much better other levels of the input must do than those of the output, which most networks have in common."""

_CELL = 8
"""Pixels a side over which pictures are averaged before they are compared: strokes do not count."""


def wrapped_file(path: Path) -> Path:
    """Where the wrapped form of a network file is kept, whether it is there or not."""
    digest = hashlib.sha256(_VERSION.encode() + path.read_bytes())
    for beside in sorted(path.parent.glob(f"{glob.escape(path.stem)}*")):  # some keep their weights there
        state = beside.stat()
        digest.update(f"{beside.name} {state.st_size} {state.st_mtime_ns}".encode(errors="surrogateescape"))
    return user_cache_path("fastnst", appauthor=False) / "wrapped" / digest.hexdigest()[:20] / f"{path.stem}.onnx"


def wrap_file(path: Path) -> Path:
    """Wrap a network of another form and keep it in the user's cache; gives the file to open.

    One of ours loses the noise in its graph there. Raises StyleError: it has another form still, or does not run.
    """
    target = wrapped_file(path)
    if not target.is_file():
        try:
            model = onnx.load(path)
        except Exception as error:  # protobuf's own, or of weights in other files
            raise StyleError(f"{path}: not a readable ONNX network ({first_line(error)})") from error
        wrapped = wrap(path, model) if without_noise(model) is model else without_noise(model)
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
        multiples = (replace(form, multiple=multiple) for multiple in MULTIPLES)
        found = next((each for each in multiples if _gives_its_size(core, each)), None)
        if found is None:
            raise StyleError(f"{path}: {form} gives no picture of the size that it was given")
        form = found
    if form.one_at_a_time and _gives_its_size(core, replace(form, one_at_a_time=False), count=2):
        form = replace(form, one_at_a_time=False)
    form = _with_levels(path, core, form)
    whole = joined(core, form)
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
    for multiple in MULTIPLES:
        yield replace(form, size=None, multiple=multiple)


def _gives_its_size(model: ModelProto, form: ForeignForm, *, count: int = 1) -> bool:
    """Whether it turns pictures of two sizes, multiples as the form says, into ones of the same; or of its own size."""
    step = form.multiple
    sizes = [form.size] if form.size else [(96 // step * step + step, 128), (160, 96 // step * step + 3 * step)]
    try:
        session = open_core(declared(model, form))
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
    return found if is_last(found) else found.transpose(0, 2, 3, 1)


def _with_levels(path: Path, model: ModelProto, form: ForeignForm) -> ForeignForm:
    """The form with the levels whose picture is most like the one that was given, those of the output first."""
    picture = draw_picture(form.size or PROBE)
    choices = [BYTES] if form.dtype == TensorProto.UINT8 else [BYTES, UNIT, SIGNED]
    likenesses: dict[Levels, tuple[float, Levels]] = {}
    try:
        session = open_core(declared(model, form))
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
