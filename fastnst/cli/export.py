"""`fastnst export`: a trained network's file becomes an ONNX file."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastnst.cli.console import Console
from fastnst.errors import InputError, OutputError


def export(
    model: Path,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    layout: Literal["nhwc-uint8", "nchw-float"] = "nhwc-uint8",
    overwrite: bool = False,
) -> None:
    """Turn a trained network into an ONNX file that takes pictures of any size.

    The file is compared with torch at three odd sizes before it is written.

    Parameters
    ----------
    model:
        Trained network, the .safetensors file that a training ends with.
    output:
        ONNX file; by default beside the model.
    layout:
        nhwc-uint8: pictures as they are, (N, H, W, 3) RGB in 0..255. nchw-float: (N, 3, H, W) float32, also RGB
        in 0..255, for programs that already prepare their input so.
    overwrite:
        Replace a file that is there.
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
    console.print(f"{output}: within {difference} levels of 255 of torch", highlight=False, soft_wrap=True)
