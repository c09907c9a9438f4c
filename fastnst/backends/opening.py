"""Opening a network file on the CPU, the reasons of a refusal in words; trying it; finding NaN behind its pictures.

N pictures, H height, W width. Frames are uint8 (N, H, W, 3) RGB.
"""

import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnst.backends.choosing import draw_picture, test_picture
from fastnst.backends.contract import Array, Contract, extra_feeds, first_line, read_contract, to_layout
from fastnst.backends.cpu import CPU, OnnxBackend, open_session
from fastnst.errors import InputError, StyleError
from fastnst.io.blending import resample
from fastnst.io.decoding import check_file

# Even, other than the test picture's: some networks are right for odd sizes only.
_EVEN_SIZE = (96, 130)

_NOT_FINITE = "gives numbers that are none (NaN or infinity)"
_REASONS = (
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        r"has IR version \1, and this ONNX Runtime reads up to \2; update onnxruntime, or export it with an older onnx",
    ),
    (
        r"Opset (\d+) is under development.*till opset (\d+)",
        r"has opset \1, and this ONNX Runtime reads up to \2; update onnxruntime, or export it with an older opset",
    ),
    (
        r'(?:External data path does not exist: "?|cannot get file size: No such file or directory \[)([^"\]]+)["\]]?',
        r"its weights lie in another file, \1, which is not there; put it beside the network, or save both in one file",
    ),
    (r"No Op registered for (\S+) with domain_version of (\d+)", r"has the operator \1, which opset \2 does not know"),
    (r"Protobuf parsing failed", r"is not an ONNX file, or is damaged"),
)
# What lies between a network's floats and its pixels.
_LEVEL_OPERATORS = frozenset(
    [
        "Identity",
        "Transpose",
        "Slice",
        "Reshape",
        "Cast",
        "Round",
        "Clip",
        "Concat",
        "Pad",
        "Squeeze",
        "Unsqueeze",
        "DepthToSpace",
        "QuantizeLinear",
    ]
)


def open_on_cpu(path: Path, threads: int | None) -> OnnxBackend:
    """Open a network file in ONNX Runtime on the CPU; raises StyleError with the reason where that fails."""
    check_style_file(path)
    try:
        return OnnxBackend(path, threads)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"{path}: not a readable ONNX network ({_reason(error)})") from error


def open_any(path: Path, threads: int | None) -> tuple[Path, OnnxBackend]:
    """Open a network file as `open_on_cpu`; gives the file that is open.

    One of another project is wrapped first, and noise in a graph taken out, as the caller adds it.
    """
    cpu = open_on_cpu(path, threads)
    ours = any(port.name == "frame" for port in cpu.inputs) and any(port.name == "stylized" for port in cpu.outputs)
    if ours and "noise_in_graph" not in cpu.metadata:
        return path, cpu
    from fastnst.backends.foreign import wrap_file  # noqa: PLC0415 - imports onnx, for these files only

    wrapped = wrap_file(path)
    return wrapped, open_on_cpu(wrapped, threads)


def check_style_file(path: Path) -> None:
    """Raise StyleError for what is no file with a network in it: a device, a folder, a pointer of Git LFS."""
    try:
        check_file(path, "network")
    except InputError as error:
        raise StyleError(str(error)) from error
    except OSError as error:
        raise StyleError(f"{path}: cannot be read ({error.strerror})") from error


def run_test_picture(path: Path, cpu: OnnxBackend, feeds: Mapping[str, Array], limit_s: float = math.inf) -> Array:
    """Run a network once: only that shows that it runs. Raises StyleError where it fails, or changes the size."""
    try:
        painted = cpu.run(feeds, limit_s=limit_s)
    except Exception as error:
        raise StyleError(f"{path}: fails on a test picture ({first_line(error)})") from error
    if painted.shape != feeds["frame"].shape:
        raise StyleError(f"{path}: turns {feeds['frame'].shape} into {painted.shape}; expected the same size")
    if not all_finite(path, painted, feeds):
        raise StyleError(f"{path}: {_NOT_FINITE} on a test picture; its weights are damaged, or its training diverged")
    return painted


def try_all(path: Path) -> None:
    """Open a network file, read its weights, and run it on pictures of odd and of even size; raises StyleError.

    May take any time and memory with a file that somebody made for that: see trial.py.
    """
    path, cpu = open_any(path, 1)
    contract = read_contract(path, cpu.inputs, cpu.outputs, cpu.metadata)
    _check_weights(path)
    for frame in (test_picture(), draw_picture(_EVEN_SIZE)):
        run_test_picture(path, cpu, feeds_of(contract, frame))


def feeds_of(contract: Contract, frames: Array) -> dict[str, Array]:
    """What a network takes to stylize frames, all of its styles alike; of its own size where it has one alone."""
    if contract.size is not None:
        frames = np.stack([resample(frame, contract.size) for frame in frames])
    return {"frame": to_layout(frames, contract)} | extra_feeds(contract, None, None)


def all_finite(path: Path, painted: Array, feeds: Mapping[str, Array]) -> bool:
    """Whether a network computed numbers only.

    In uint8, NaN is gone: it is black or white mostly, all over the picture. So a picture of one level is computed
    again, up to where it was turned into uint8.
    """
    if painted.dtype.kind == "f":
        return bool(np.isfinite(painted).all())
    first = painted.ravel()[0]
    if (painted[:, ::61, ::67] != first).any() or (painted != first).any():
        return True
    levels = _levels(path, feeds)
    return levels is None or bool(np.isfinite(levels).all())


def _levels(path: Path, feeds: Mapping[str, Array]) -> Array | None:
    """The floats that a network's uint8 pixels are made of; None where there are none."""
    import onnx  # noqa: PLC0415 - for pictures of one level only

    model = onnx.load(path)
    makers = {name: node for node in model.graph.node for name in node.output}
    name, found = "stylized", None
    while name in makers and makers[name].op_type in _LEVEL_OPERATORS and makers[name].input:
        node = makers[name]
        if node.op_type in {"Cast", "QuantizeLinear"}:
            found = node.input[0]
        # Of parts put together, the largest is in the middle.
        name = node.input[len(node.input) // 2 if node.op_type == "Concat" else 0]
        found = name if found is not None else None
    if found is None or found in {given.name for given in model.graph.input}:
        return None
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(found))
    with tempfile.TemporaryDirectory() as folder:
        extended = Path(folder) / "levels.onnx"
        try:
            extended.write_bytes(model.SerializeToString())
            levels: Array = open_session(extended, [CPU], 1).run([found], dict(feeds))[0]
        except Exception:  # more than 2 GB, a full disk: nothing is known then
            return None
    return levels if levels.dtype.kind == "f" else None


def _check_weights(path: Path) -> None:
    import onnx  # noqa: PLC0415 - in the child only

    for name, weights in _weights(onnx.load(path, load_external_data=False), path):
        if weights.dtype.kind == "f" and weights.size > 1 and not np.isfinite(weights).all():
            raise StyleError(
                f"{path}: the weights {name!r} hold numbers that are none (NaN or infinity); it is damaged, or its "
                "training diverged. Export or train it again"
            )


def _weights(model: Any, path: Path) -> Iterator[tuple[str, Array]]:
    from onnx import numpy_helper  # noqa: PLC0415 - in the child only

    tensors = [(tensor.name, tensor) for tensor in model.graph.initializer]
    constants = [node for node in model.graph.node if node.op_type == "Constant"]
    tensors += [(node.output[0], given.t) for node in constants for given in node.attribute if given.name == "value"]
    for name, tensor in tensors:
        try:
            weights = numpy_helper.to_array(tensor, str(path.parent))
        except Exception:  # what ONNX Runtime does without
            continue
        yield name[:80], weights


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split())
    for pattern, reason in _REASONS:
        found = re.search(pattern, words)
        if found:
            return found.expand(reason)
    return first_line(error)
