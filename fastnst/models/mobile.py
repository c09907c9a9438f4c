"""A trained network as a file for phones: Core ML's package (iOS, macOS) or LiteRT's file (Android, embedded Linux).

Their converters read torch, not ONNX, and make networks of one size of picture. What is around the network in the ONNX
file (docs/embed.md: casts, padding, cropping, rounding) is written here once more, in torch and for that size.
"""

import contextlib
import copy
import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.backends.choosing import draw_picture
from fastnst.backends.contract import Array, first_line
from fastnst.backends.forms import NOISE_KEY
from fastnst.errors import MissingPackageError, OutputError, StyleError
from fastnst.io.files import write_atomically
from fastnst.io.noise import tiled_noise, with_noise
from fastnst.machine import install_line
from fastnst.models.checkpoint import ModelInfo, load_model
from fastnst.models.export import NetworkCore, metadata, phases_of
from fastnst.models.network import (
    SMALLEST_SIDE,
    ConditionalInstanceNorm2d,
    Conditioned,
    StyleNetwork,
    mixed,
    stylize_frame,
)
from fastnst.models.variants import compare

Size = tuple[int, int]


class FixedSizeNetwork(nn.Module):
    """A network for pictures of one (height, width), of levels in 0..255, extended and cropped as in the ONNX file."""

    def __init__(self, network: StyleNetwork, size: Size, noise: float = 0.0) -> None:
        super().__init__()
        self.noise: Tensor | None
        self.register_buffer("noise", torch.from_numpy(noise * tiled_noise(size)) if noise else None)
        self.network = copy.deepcopy(network).for_export()
        for name, part in list(self.network.named_modules()):
            if isinstance(part, ConditionalInstanceNorm2d) and not network.conditions.plain:
                self.network.set_submodule(name, _NormalizedFirst(part))
        self.core, self.woven = NetworkCore(self.network), phases_of(self.network) == 2
        self.height, self.width = size
        self.missing = [max(0, SMALLEST_SIDE - side) for side in size]
        self.rest = [-(side + more) % network.stride for side, more in zip(size, self.missing, strict=True)]
        if self.woven:
            _order_phases(self.network.get_submodule("last"))

    def forward(self, levels: Tensor, style_weights: Tensor | None = None, strength: Tensor | None = None) -> Tensor:
        """Levels (1, 3, H, W) in [0, 255] to stylized levels of the same shape, clamped and not rounded."""
        if self.noise is not None:
            noise = self.noise if strength is None else self.noise * strength.clamp(0, 1)
            levels = (levels + torch.floor(noise + 0.5)).clamp(0, 255)
        for mode, (below, right) in (("replicate", self.missing), ("reflect", self.rest)):
            levels = F.pad(levels, (0, right, 0, below), mode=mode) if below or right else levels
        raw: Tensor = self.core(levels, style_weights, strength)
        if self.woven:
            raw = F.pad(F.pixel_shuffle(raw, 2), (1, 1, 1, 1), mode="replicate")
        return raw.clamp(0, 255)[:, :, : self.height, : self.width]


class _NormalizedFirst(Conditioned):
    """Conditional instance normalization with its scale and shift after it: Core ML's own takes constant ones alone."""

    def __init__(self, norm: ConditionalInstanceNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        assert shares is not None
        scale, shift = (mixed(table, shares)[:, None, None] for table in (self.norm.weight, self.norm.bias))
        return F.instance_norm(x, eps=self.norm.eps) * scale + shift


class _FixedFrames(nn.Module):
    """The same for frames: uint8 (1, H, W, 3), as the contract of ONNX files."""

    def __init__(self, inner: FixedSizeNetwork) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, frame: Tensor, style_weights: Tensor | None = None, strength: Tensor | None = None
    ) -> dict[str, Tensor]:
        stylized: Tensor = self.inner(frame.permute(0, 3, 1, 2).float(), style_weights, strength)
        return {"stylized": stylized.round().to(torch.uint8).permute(0, 2, 3, 1)}


def save_litert(model: Path, output: Path, size: Size, *, noise: float = 0.0, overwrite: bool) -> int:
    """Write a trained network for LiteRT, after it was run by its interpreter: uint8 (1, H, W, 3) in and out.

    `noise`: what it adds to its input, levels of 255.


    Returns how far it is from torch, in levels of 255, at 99.9 % of the pixels. Raises MissingPackageError without
    LiteRT, StyleError where it cannot convert the network or gives something else, OutputError.
    """
    network, _ = load_model(model)
    with _converting("litert"):
        litert_torch, interpreters = _import("litert_torch", "litert"), _import("ai_edge_litert.interpreter", "litert")
        frames, conditions = draw_picture(size), _conditions(network)
        whole = _FixedFrames(FixedSizeNetwork(network, size, noise).eval())
        feeds = {"frame": torch.from_numpy(frames), **conditions}
        converted = litert_torch.convert(whole, sample_kwargs=feeds)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "network.tflite"
            converted.export(os.fspath(made))
            content = made.read_bytes()
        run = interpreters.Interpreter(model_content=content).get_signature_runner()
        painted = run(**{name: value.numpy() for name, value in feeds.items()})["stylized"]
    found = compare(_by_torch(network, frames, conditions, noise), np.asarray(painted).astype(np.float32))
    write_atomically(output, content, overwrite=overwrite)
    return found


def save_coreml(
    model: Path, output: Path, size: Size, *, noise: float = 0.0, fp16: bool, overwrite: bool
) -> int | None:
    """Write a trained network for Core ML, a folder NAME.mlpackage: RGB images in and out, iOS 16 or macOS 13.

    On macOS it is run first and compared as by `save_litert`; elsewhere nothing runs Core ML, its description alone is
    read back, and None is returned. Raises as `save_litert`.
    """
    network, info = load_model(model)
    frames, conditions = draw_picture(size), _conditions(network)
    with _converting("coreml"):
        tools: Any = _import("coremltools", "coreml")
        planes = torch.from_numpy(frames).permute(0, 3, 1, 2).float().contiguous()
        trace: Any = torch.jit.trace  # has no types
        with torch.no_grad():
            traced = trace(FixedSizeNetwork(network, size, noise).eval(), (planes, *conditions.values()))
        colors = {"color_layout": tools.colorlayout.RGB}
        more = [tools.TensorType(name=name, shape=value.shape) for name, value in conditions.items()]
        converted = tools.convert(
            traced,
            inputs=[tools.ImageType(name="frame", shape=planes.shape, **colors), *more],
            outputs=[tools.ImageType(name="stylized", **colors)],
            convert_to="mlprogram",
            minimum_deployment_target=tools.target.iOS16,
            compute_precision=tools.precision.FLOAT16 if fp16 else tools.precision.FLOAT32,
        )
        _describe(converted, network, info, noise)
        painted = _by_coreml(tools, converted, frames, conditions)
        found = None if painted is None else compare(_by_torch(network, frames, conditions, noise), painted)
        with _folder_for(output, overwrite=overwrite) as made:
            converted.save(os.fspath(made))
            _check_description(tools.utils.load_spec(os.fspath(made)), size, conditions)
    return found


def _order_phases(last: nn.Module) -> None:
    """Channels from (row, column, color), as the ONNX file takes them, to (color, row, column) of `pixel_shuffle`."""
    order = torch.arange(12).view(4, 3).T.flatten()
    for name in ("weight", "bias"):
        setattr(last, name, nn.Parameter(last.get_parameter(name).detach()[order]))


def _conditions(network: StyleNetwork) -> dict[str, Tensor]:
    """The inputs beside the picture, unlike each other, so that a file that mixes them up does not pass."""
    given: dict[str, Tensor] = {}
    if network.conditions.styles > 1:
        given["style_weights"] = torch.softmax(torch.arange(network.conditions.styles).float() / 4, dim=0)
    if network.conditions.strength:
        given["strength"] = torch.tensor([0.8])
    return given


def _by_torch(network: StyleNetwork, frames: Array, conditions: dict[str, Tensor], noise: float) -> Array:
    """What torch paints of frames, with noise and the usual padding, as levels (1, H, W, 3)."""
    weights, strength = conditions.get("style_weights"), conditions.get("strength")
    painted = stylize_frame(
        network,
        with_noise(frames[0], noise * (1.0 if strength is None else float(strength))),
        style_weights=None if weights is None else weights.tolist(),
        strength=None if strength is None else float(strength),
    )
    return painted[None].astype(np.float32)


def _describe(converted: Any, network: StyleNetwork, info: ModelInfo, noise: float) -> None:
    converted.short_description = f"{info.style}: neural style transfer"
    converted.author, converted.license = "fastnst", info.license
    said = metadata(network, info) | {"layout": "image"}
    if noise:
        said.pop("input_noise", None)
        said[NOISE_KEY] = f"{noise:g}"
    converted.user_defined_metadata.update(said)


def _by_coreml(tools: Any, converted: Any, frames: Array, conditions: dict[str, Tensor]) -> Array | None:
    """What Core ML itself paints, on macOS; None elsewhere."""
    if not tools.utils._is_macos():
        return None
    feeds = {name: value.numpy() for name, value in conditions.items()}
    painted = converted.predict({"frame": Image.fromarray(frames[0]), **feeds})["stylized"]
    return np.asarray(painted.convert("RGB"))[None].astype(np.float32)


def _check_description(spec: Any, size: Size, conditions: dict[str, Tensor]) -> None:
    """Raise StyleError where a written package does not say what it is made to be."""
    given, made = spec.description.input, spec.description.output
    names = [port.name for port in given], [port.name for port in made]
    sizes = [(port.type.imageType.height, port.type.imageType.width) for port in (given[0], made[0])]
    if names != (["frame", *conditions], ["stylized"]) or sizes != [size, size]:
        raise StyleError(f"Core ML's package describes other inputs and outputs: {names}, {sizes}; nothing was written")


@contextlib.contextmanager
def _folder_for(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a name for a folder beside `output`, which it becomes as a whole when the block ends well."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".fastnst-") as beside:
            made = Path(beside) / output.name
            yield made
            if output.exists() and not overwrite:
                raise OutputError(f"{output}: already exists; --overwrite replaces it")
            if output.exists():
                output.rename(Path(beside) / "replaced")
            made.rename(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error


_PACKAGES = {"coreml": "coremltools", "litert": "litert-torch"}


def _import(module: str, target: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"--to {target} needs {_PACKAGES[target]}: {install_line(target)}") from error


@contextlib.contextmanager
def _converting(target: str) -> Iterator[None]:
    """Keep converters quiet, which print pages, and make one error of what they raise."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")
            yield
    except (MissingPackageError, OutputError, StyleError):
        raise
    except Exception as error:  # converters raise whatever they like
        said = f"{_PACKAGES[target]} cannot convert this network ({first_line(error)[:200]})"
        raise StyleError(f"{said}; nothing was written. Its versions and torch's may not fit") from error
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing that Python prints is seen, nor what libraries write to standard error by themselves."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
