"""A network's convolutions in 8-bit integers: static quantization in ONNX Runtime's QDQ form, calibrated on photos.

Activations uint8, weights int8 with a scale for each output channel (Jacob et al. 2018, "Quantization and training of
neural networks for efficient integer-arithmetic-only inference"). Frames are uint8 (H, W, 3) RGB.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from fastnst.backends.backend import first_line
from fastnst.backends.opening import check_style_file
from fastnst.backends.trial import try_network
from fastnst.errors import StyleError
from fastnst.io.images import Frame

CALIBRATION_SIDE = 320
"""Long side of the photos that ranges are read from, pixels."""

PRECISION_KEY = "precision"
"""Entry of the file's metadata that says it is quantized."""

# The full style first: there may be few photos.
_STRENGTHS = (1.0, 0.5, 1.5)


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, model: ModelProto, frames: Iterable[Frame], *, planes: bool) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = (
            {
                "frame": frame.transpose(2, 0, 1)[None].astype(np.float32) if planes else frame[None],
                **condition_inputs(model, n),
            }
            for n, frame in enumerate(frames)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def condition_inputs(model: ModelProto, n: int) -> dict[str, np.ndarray]:
    """A network's inputs beside frame n: its styles take turns, and with each strength all of them are painted."""
    sides = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    styles = sides["style_weights"][0].dim_value if "style_weights" in sides else 1
    feeds = {"style_weights": np.eye(styles, dtype=np.float32)[n % styles]} if "style_weights" in sides else {}
    strength = _STRENGTHS[n // styles % len(_STRENGTHS)]
    return feeds | ({"strength": np.array([strength], np.float32)} if "strength" in sides else {})


def quantize(path: Path, frames: Iterable[Frame]) -> ModelProto:
    """Quantize an exported network's convolutions.

    Args:
        path: ONNX file that `fastnst` exported, float32.
        frames: photos to read the ranges of activations from, some tens of them.

    Raises:
        StyleError: no file of ours, or one that is quantized already.
    """
    check_style_file(path)
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's errors have no common base
        raise StyleError(f"{path}: not a readable ONNX network ({first_line(error)})") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if "fastnst_format" not in metadata:
        raise StyleError(
            f"{path}: not a network that fastnst exported; expected NAME.onnx of `fastnst train` or `export`"
        )
    if PRECISION_KEY in metadata:
        raise StyleError(f"{path}: holds {metadata[PRECISION_KEY]} already; give the float32 file")
    try_network(path)
    with tempfile.TemporaryDirectory() as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        logging.getLogger("root").setLevel(logging.ERROR)  # it warns of steps that were left out on purpose
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            _Frames(model, frames, planes=metadata.get("layout") == "nchw-float"),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"CalibTensorRangeSymmetric": False},
        )
        quantized = onnx.load(result)
    note = f"int8 convolutions, calibrated by onnxruntime {onnxruntime.__version__}"
    onnx.helper.set_model_props(quantized, metadata | {PRECISION_KEY: note})
    return quantized
