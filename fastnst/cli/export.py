"""`fastnst export` and `quantize`: a trained network becomes an ONNX file; its convolutions, 8-bit integers."""

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from fastnst.cli.console import Console
from fastnst.errors import InputError, OutputError, SettingError, StyleError
from fastnst.inference.session import StyleSession
from fastnst.io.files import write_atomically
from fastnst.io.noise import MAX_LEVELS
from fastnst.io.styles import choose_style, find_network, is_painting
from fastnst.losses.settings import LossSettings, VGGName
from fastnst.machine import check_training_installed, missing_for_training
from fastnst.models.variants import Layout, Range, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

    from fastnst.io.images import Frame
    from fastnst.models.variants import Variant


def export(
    model: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    layout: Layout = "nhwc-uint8",
    value_range: Annotated[Range, Parameter(name="--range")] = "0..255",
    fp16: Annotated[bool, Parameter(negative="")] = False,
    frame_size: str | None = None,
    input_noise: float | Literal["auto"] = "auto",
    to: Target = "onnx",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Turn a style into a file for other programs: ONNX for pictures of any size, or another form.

    The file adds its noise by itself. It is run before it is written, and compared with torch where it is made of a
    trained network, otherwise with the style's usual file. Only trained networks, and files for phones, need the extra
    train.

    Parameters
    ----------
    model:
        Name of a style, a trained network (the .safetensors file that a training ends with), or a style's .onnx file.
        Of a network of several, one style (the_scream) or a mix (gallery@the_scream:2,udnie:1) becomes a file without
        an input for styles.
    output:
        Output: an ONNX file, or .xml for OpenVINO, .mlpackage for Core ML, .tflite for LiteRT; by default beside the
        trained network, or under the style's name here.
    layout:
        nhwc-uint8: pictures as they are, (N, H, W, 3) RGB in 0..255. nchw-float: (N, 3, H, W) float32, also RGB, for
        programs that already prepare their input so. web: the same without padding and rounding, for sides that are
        multiples of 8, so that web pages run all of it on WebGPU; fastnst web does this by itself.
    value_range:
        What the floats of nchw-float stand for, in and out.
    fp16:
        Weights and arithmetic in half precision: half the size, and faster on most GPUs. Inputs and outputs stay.
    frame_size:
        Width and height of the pictures, pixels, as WIDTHxHEIGHT: the file then takes these alone, as some chips want,
        and as Core ML and LiteRT need.
    input_noise:
        Smooth noise on what a network gets, levels of 255, from which flat parts of a photo become strokes instead of a
        regular pattern: more gives more, 0 none. Pictures are stylized (auto) with what it was trained with.
    to:
        Program that the file is for: openvino, coreml (iOS, macOS) or litert (Android); each has an extra of its name.
    overwrite:
        Replace files that already exist.
    """
    from fastnst.models.variants import Variant  # noqa: PLC0415 - imports onnx

    size = None if frame_size is None else _read_size(frame_size)
    variant = Variant(layout, value_range, fp16 and to == "onnx", size)
    if layout == "web" and (variant != Variant("web") or fp16 or to != "onnx"):
        raise SettingError("--layout web stands alone; leave out --range, --fp16, --frame-size and --to")
    if input_noise != "auto" and not 0 <= input_noise <= MAX_LEVELS:
        raise SettingError(f"--input-noise is {input_noise:g}; expected auto, or 0 to {MAX_LEVELS:g} levels")
    suffix = _SUFFIXES[to]
    source, mix = _source(model, mobile=to in _MOBILE)
    variant = replace(variant, mix=mix)
    if to in _MOBILE:
        _check_mobile(to, source, variant)
    beside = source if str(source) == model else Path(f"{_NO_NAME.sub('_', mix)}.onnx" if mix else source.name)
    output = output or beside.with_suffix(suffix)
    if output.suffix.lower() != suffix:  # with which the model itself is never overwritten, either
        raise OutputError(f"{output}: is no name of an {_FORMATS[to]} file; let it end in {suffix}")
    if os.path.realpath(output) == os.path.realpath(source):
        raise InputError(f"{source}: is ONNX already; name another output by -o")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: already exists; choose another name by -o or add --overwrite")
    console = Console(stderr=True)
    if to in _MOBILE and size is not None:
        console.print(f"Converting for {_FORMATS[to]}; this can take a minute.")
        console.print(_to_mobile(to, source, output, size, input_noise, fp16=fp16, overwrite=overwrite))
        return
    usual, difference = _usual(source)
    variant = replace(variant, noise=_noise_of(usual) if input_noise == "auto" else input_noise)
    difference += _write_varied(usual, variant, output, to, fp16=fp16, overwrite=overwrite)
    other = "torch" if source.suffix == ".safetensors" else "the usual file"
    adds = f"adds its noise of {variant.noise:g} levels by itself; " if variant.noise else ""
    near = f"within {difference} levels of 255 of {other} at 99.9 % of the pixels"
    console.print(f"{output}: {adds}{near if difference else f'the same pixels as {other}'}")


_NO_NAME = re.compile(r"[^\w-]+")
_MOBILE = ("coreml", "litert")
_FORMATS = {"onnx": "ONNX", "openvino": "OpenVINO", "coreml": "Core ML", "litert": "LiteRT"}
_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "coreml": ".mlpackage", "litert": ".tflite"}


def _check_mobile(to: Target, source: Path, variant: "Variant") -> None:
    """Raise SettingError or InputError for what the converters for phones do not take."""
    if variant.size is None:
        raise SettingError(f"--to {to} makes a file for pictures of one size: add --frame-size, such as 640x480")
    if variant.layout != "nhwc-uint8":
        raise SettingError(f"--to {to} takes pictures as they are; leave out --layout and --range")
    if source.suffix != ".safetensors":
        raise InputError(
            f"{source}: --to {to} converts trained networks of fastnst; name the .safetensors file that training wrote"
        )


def _to_mobile(
    to: Target,
    source: Path,
    output: Path,
    size: tuple[int, int],
    noise: "float | Literal['auto']",
    *,
    fp16: bool,
    overwrite: bool,
) -> str:
    """Write a file for phones; returns the line of result."""
    from fastnst.models.checkpoint import load_model  # noqa: PLC0415 - imports torch
    from fastnst.models.mobile import save_coreml, save_litert  # noqa: PLC0415 - imports torch

    levels = load_model(source)[1].input_noise if noise == "auto" else noise
    if to == "litert":
        if fp16:
            raise SettingError("--to litert writes float32; leave out --fp16: LiteRT on a GPU halves it by itself")
        difference: int | None = save_litert(source, output, size, noise=levels, overwrite=overwrite)
    else:
        difference = save_coreml(source, output, size, noise=levels, fp16=fp16, overwrite=overwrite)
    if difference is None:
        return f"{output}: its description was read back; it was not run, as Core ML runs on macOS and iOS only"
    return f"{output}: within {difference} levels of 255 of torch at 99.9 % of the pixels"


def _source(model: str, *, mobile: bool) -> tuple[Path, str]:
    """The ONNX file that a name or a path stands for, and a mix; for phones, or where none is, the trained network.

    A trained network has no mix: what is exported of it takes the styles' shares.
    """
    given = Path(model)
    if not mobile and given.suffix != ".safetensors" and not is_painting(given):
        try:
            choice = choose_style(model)
        except StyleError:
            if missing_for_training():
                raise
        else:
            return choice.path, choice.mix
    check_training_installed(f"fastnst export {model}")
    from fastnst.models.checkpoint import find_model  # noqa: PLC0415 - imports torch

    found = find_model(given)
    return (found if found.suffix == ".safetensors" else find_network(model)), ""


def _usual(source: Path) -> "tuple[ModelProto, int]":
    """The usual file of a style, and how far it is from torch where it had to be made of a trained network."""
    from fastnst.models.variants import load_onnx  # noqa: PLC0415 - imports onnx

    if source.suffix != ".safetensors":
        with StyleSession(source, provider="cpu") as session:
            return load_onnx(session.opened), 0
    from fastnst.models.export import export_model  # noqa: PLC0415 - imports torch

    with tempfile.TemporaryDirectory() as folder:
        usual = Path(folder) / f"{source.stem}.onnx"
        difference = export_model(source, usual)
        return load_onnx(usual), difference


def _noise_of(usual: "ModelProto") -> float:
    return float(next((entry.value for entry in usual.metadata_props if entry.key == "input_noise"), 0))


def _write_varied(
    usual: "ModelProto", variant: "Variant", output: Path, to: Target, *, fp16: bool, overwrite: bool
) -> int:
    """Write a style in another form; returns how far that is from the usual file."""
    from fastnst.models.variants import difference, save_openvino, vary  # noqa: PLC0415 - imports onnx

    varied = vary(usual, variant)
    found = difference(usual, varied, variant)
    if to == "openvino":
        return max(found, save_openvino(varied, output, fp16=fp16))
    write_atomically(output, varied.SerializeToString(), overwrite=overwrite)
    return found


def _read_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as (height, width)."""
    match = re.fullmatch(r"([1-9]\d{1,4})[xX]([1-9]\d{1,4})", text)
    if match is None:
        raise SettingError(f"--frame-size {text}: expected WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(match[2]), int(match[1])


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
    path = find_network(style)
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
