"""A network's convolutions in 8-bit integers: static quantization in ONNX Runtime's QDQ form, calibrated on photos.

Activations uint8, weights int8 with a scale for each output channel (Jacob et al. 2018, "Quantization and training of
neural networks for efficient integer-arithmetic-only inference"). Frames are uint8 (H, W, 3) RGB.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from fastnst.backends.choosing import psnr_db
from fastnst.backends.contract import first_line
from fastnst.backends.opening import check_style_file
from fastnst.backends.trial import try_network
from fastnst.errors import StyleError
from fastnst.io.images import Frame
from fastnst.metrics.perceptual import PerceptualDistances, PerceptualMetrics

CALIBRATION_SIDE = 320
"""Long side of the photos that ranges are read from, pixels."""

PRECISION_KEY = "precision"
"""Entry of the file's metadata that says it is quantized."""

# The full style first: there may be few photos.
_STRENGTHS = (1.0, 0.5, 1.5)


class _FrameReader(CalibrationDataReader):  # type: ignore[misc]
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
    """Quantize the convolutions of a float32 file that `fastnst` exported, by the activations on some tens of photos.

    Raises StyleError for no file of ours, or one that is quantized already.
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
            _FrameReader(model, frames, planes=metadata.get("layout") == "nchw-float"),
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


LARGEST_LOSS = 0.03
"""Content, style or centred may be larger than before by that share, mean over photos."""

LEAST_PSNR = 30.0
"""Peak signal to noise ratio, dB, between what both stylize, mean over photos."""


@dataclass(frozen=True)
class QuantizationCheck:
    """Two networks over the same photos."""

    before: PerceptualDistances
    after: PerceptualDistances
    psnr: float
    """Mean over photos, dB."""

    @property
    def worst(self) -> float:
        """Share by which the figure that lost most is larger than before; negative where all are smaller."""
        pairs = zip(astuple(self.before), astuple(self.after), strict=True)
        return max(float(after / max(before, 1e-9)) - 1 for before, after in pairs)

    @property
    def passed(self) -> bool:
        """Whether the second may stand for the first."""
        return self.worst <= LARGEST_LOSS and self.psnr >= LEAST_PSNR

    def __str__(self) -> str:
        """Both in figures."""
        names = ("content", "style", "centred")
        figures = zip(names, astuple(self.before), astuple(self.after), strict=True)
        shown = ", ".join(f"{name} {before:.3f} -> {after:.3f}" for name, before, after in figures)
        return f"{shown}; PSNR {self.psnr:.1f} dB"


def compare_painters(
    before: Callable[[Frame], Frame],
    after: Callable[[Frame], Frame],
    photos: Sequence[Frame],
    painting: Frame,
    metrics: PerceptualMetrics,
) -> QuantizationCheck:
    """Let two networks paint the same photos and measure both."""
    style = metrics.measure_style(painting)
    figures: tuple[list[PerceptualDistances], list[PerceptualDistances]] = ([], [])
    ratios = []
    for photo in photos:
        measured = metrics.measure(photo)
        painted = before(photo), after(photo)
        for rows, frame in zip(figures, painted, strict=True):
            rows.append(metrics.compare(metrics.measure(frame), measured, style))
        ratios.append(psnr_db(*painted))
    return QuantizationCheck(_mean(figures[0]), _mean(figures[1]), fmean(ratios))


def _mean(rows: Sequence[PerceptualDistances]) -> PerceptualDistances:
    return PerceptualDistances(*(fmean(values) for values in zip(*map(astuple, rows), strict=True)))
