"""`fastnst export` and `quantize`: a trained network becomes an ONNX file; its convolutions, 8-bit integers."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from fastnst.cli.console import Console
from fastnst.errors import InputError, OutputError, StyleError
from fastnst.io.styles import find_style
from fastnst.losses.settings import LossSettings, VGGName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnst.io.images import Frame


def export(
    model: Path,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    layout: Literal["nhwc-uint8", "nchw-float"] = "nhwc-uint8",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Turn a trained network into an ONNX file that takes pictures of any size.

    The file is compared with torch at three odd sizes before it is written.

    Parameters
    ----------
    model:
        Trained network, the .safetensors file that a training ends with.
    output:
        Output: an ONNX file; by default beside the model.
    layout:
        nhwc-uint8: pictures as they are, (N, H, W, 3) RGB in 0..255. nchw-float: (N, 3, H, W) float32, also RGB
        in 0..255, for programs that already prepare their input so.
    overwrite:
        Replace files that already exist.
    """
    output = output or model.with_suffix(".onnx")
    if output.suffix.lower() != ".onnx":  # with which the model itself is never overwritten, either
        raise OutputError(f"{output}: is no name of an ONNX file; let it end in .onnx")
    if output == model:
        raise InputError(f"{model}: is ONNX already; expected a trained network, NAME.safetensors")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: already exists; choose another name by -o or add --overwrite")
    from fastnst.models.export import export_model  # noqa: PLC0415 - imports torch

    difference = export_model(model, output, layout, overwrite=overwrite)
    console = Console(stderr=True)
    console.print(f"{output}: within {difference} levels of 255 of torch")


SEVERAL = Parameter(negative="", consume_multiple=True)
CALIBRATED = 40
"""Photos that ranges are read from."""


def quantize(
    style: str,
    *,
    photos: Annotated[tuple[str, ...], SEVERAL],
    style_image: Path,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    judged: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 10,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    loss_network: VGGName = "vgg19",
    loss_weights: Path | None = None,
) -> None:
    """Turn a style's convolutions into 8-bit integers, for processors that compute them faster.

    Content, style and centred may be at most 3 % worse, mean over photos, and what both stylize must
    agree to 30 dB; otherwise nothing is written.

    Parameters
    ----------
    style:
        Style: the name of an installed one, or its .onnx file, in float32.
    photos:
        Photos to measure on: ranges are read from some, others judge; files, folders, patterns. No photo serves for
        both.
    style_image:
        The painting that the style was trained on.
    output:
        Output: an ONNX file; by default NAME-int8.onnx here.
    judged:
        Photos to judge by.
    overwrite:
        Replace files that already exist.
    loss_network:
        Loss network: what judges.
    loss_weights:
        File with the loss network's weights (.safetensors or .pth, torchvision's names) instead of a download.
    """
    path = find_style(style)
    output = output or Path(f"{path.stem}-int8.onnx")
    if output.suffix.lower() != ".onnx":
        raise OutputError(f"{output}: is no name of an ONNX file; let it end in .onnx")
    if os.path.realpath(output) == os.path.realpath(path):
        raise OutputError(f"{output}: is the style itself, and is not overwritten; choose another name by -o")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: already exists; choose another name by -o or add --overwrite")
    # onnx and torch take seconds to import: only now that the options are known to be right.
    from fastnst.inference.stylizer import Stylizer  # noqa: PLC0415
    from fastnst.io.files import atomic_path  # noqa: PLC0415
    from fastnst.io.images import read_frame  # noqa: PLC0415
    from fastnst.metrics.perceptual import STYLE_SIZE, load_perceptual_metrics  # noqa: PLC0415
    from fastnst.research.quantization import CALIBRATION_SIDE, compare_painters  # noqa: PLC0415
    from fastnst.research.quantization import quantize as to_int8  # noqa: PLC0415

    console = Console(stderr=True)
    painting = read_frame(style_image)
    for_ranges, for_judging = _share_out(photos, judged)
    metrics, _ = load_perceptual_metrics(LossSettings(loss_network=loss_network, loss_weights=loss_weights))
    quantized = to_int8(path, _read(for_ranges, CALIBRATION_SIDE))
    with atomic_path(output, overwrite=overwrite) as temporary:
        temporary.write_bytes(quantized.SerializeToString())
        with Stylizer(path, provider="cpu") as before, Stylizer(temporary, provider="cpu") as after:
            comparison = compare_painters(before, after, _read(for_judging, STYLE_SIZE), painting, metrics)
        if not comparison.passed:
            raise StyleError(f"{style}: is worse in 8-bit integers ({comparison}); nothing was written")
    console.print(f"{output}: {output.stat().st_size / path.stat().st_size:.0%} of the size; {comparison}")


def _share_out(photos: tuple[str, ...], judged: int) -> tuple[list[Path], list[Path]]:
    from fastnst.io.folders import find_pictures  # noqa: PLC0415
    from fastnst.research.evaluate import choose_evenly  # noqa: PLC0415

    paths = [found.path for found in find_pictures(photos)]
    for path in paths:
        if not path.is_file():  # one that is named outright is listed whether it is there or not
            raise InputError(f"{path}: no such file")
    if len(paths) < 2:
        raise InputError(f"--photos names {len(paths)} picture; expected at least 2, better {judged + CALIBRATED}")
    for_judging = choose_evenly(paths, min(judged, len(paths) // 2))
    chosen = set(for_judging)
    return choose_evenly([path for path in paths if path not in chosen], CALIBRATED), for_judging


def _read(paths: "list[Path]", long_side: int) -> "Sequence[Frame]":
    from fastnst.io.images import read_frame, resize_long_side  # noqa: PLC0415

    frames = (read_frame(path) for path in paths)
    return [resize_long_side(frame, long_side) for frame in frames]
