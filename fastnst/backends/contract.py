"""The contract: what an exported network promises, its inputs and outputs made of frames; and what runs it, one method.

In words: docs/embed.md. N pictures, H height, W width, S styles that the network can mix. Frames are uint8 RGB. No
back-end is imported here. On processors: cpu.py; on accelerators: onnx_device.py. Which one is taken: choosing.py.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from fastnst.errors import InputError, SettingError, StyleError
from fastnst.io.images import Frame
from fastnst.io.noise import MAX_LEVELS
from fastnst.io.styles import StyleWeights, even_weights, to_shares

Provider: TypeAlias = Literal["cpu", "cuda", "tensorrt", "openvino", "coreml", "directml", "webgpu"]
ProviderChoice: TypeAlias = Literal["auto", "cpu", "cuda", "tensorrt", "openvino", "coreml", "directml", "webgpu"]
Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]
Array: TypeAlias = npt.NDArray[Any]

PROVIDERS: tuple[Provider, ...] = get_args(Provider)

OUTPUT = "stylized"
"""What the contract calls the output of a network."""


class UnavailableError(Exception):
    """A provider that cannot run here; the message is the reason, without a full stop."""


MUCH_SMALLER = 16
"""A picture so many times smaller than the largest before it: memory that the large one took is given back."""


class Backend(Protocol):
    """A network file, opened to run. Calls from several threads at once are safe."""

    provider: Provider
    """What really runs it."""

    precision: Precision
    """What it computes in; inputs and outputs are the same in all of them."""

    on_cpu: tuple[str, ...]
    """Operators on whole pictures that an accelerator leaves to the CPU, such as Pad; empty if it has them all."""

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Compute the stylized pictures from the named inputs."""
        ...


# A line of ONNX Runtime's own sources, and the function that stands there.
_SOURCE_PLACE = re.compile(r"^/?\S+\.(?:cc|cpp|h):\d+ (?:[\w:<>~ ,*&]+\(.*?\)(?: const)? )?")


def first_line(error: BaseException) -> str:
    """Say what went wrong in one line: back-ends' errors run over many, with source files and stack traces."""
    text = str(error).strip()
    words = text.splitlines()[0] if text else type(error).__name__
    words = words.rsplit("failed:", 1)[-1].removeprefix("[ONNXRuntimeError] : ")
    return _SOURCE_PLACE.sub("", words).strip()[:300]


FORMAT = 2
"""Newest `fastnst_format` that this version understands; 2 is for networks that have more inputs than the frame."""

Layout: TypeAlias = Literal["nhwc-uint8", "nchw-float"]

MAX_STYLES = 4096
"""Most styles that a network may say it mixes; each takes weights in the file, and a number for every picture."""

PIXEL_SHUFFLE = "weave"
"""How the names of the nodes begin that shuffle channels into the pixels of a picture (Shi et al. 2016)."""

EXPECTED = "input 'frame' and output 'stylized', both uint8 (N, H, W, 3)"

_SHAPES: dict[Layout, tuple[str, tuple[int | None, ...]]] = {
    "nhwc-uint8": ("uint8", (None, None, None, 3)),
    "nchw-float": ("float32", (None, 3, None, None)),
}
_OPTIONAL_INPUTS = frozenset({"style_weights", "strength"})
_METADATA = (
    *("fastnst_format", "style", "styles", "network", "provenance", "licence", "weights_sha256"),
    *("layout", "range", "wrapped", "input_noise"),
)
_MAX_METADATA = 500


@dataclass(frozen=True)
class Port:
    """An input or an output of a network file."""

    name: str
    dtype: str
    """numpy's word: uint8, float32 ..."""

    shape: tuple[int | None, ...]
    """None where the size is left open."""

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name!r} {self.dtype} ({sizes})"


@dataclass(frozen=True)
class Contract:
    """What one network file takes."""

    layout: Layout
    """nhwc-uint8: pictures as they are; nchw-float: float32 (N, 3, H, W) in 0..255, for embedders."""

    styles: int | None
    """S, where the network has the input style_weights, float32 (S,)."""

    strength: bool
    """It has the input strength, float32 (1,)."""

    metadata: dict[str, str]
    """What the file says of itself."""

    size: tuple[int, int] | None = None
    """The only (height, width) that it takes, as some networks of others do; None: any."""

    one_at_a_time: bool = False
    """It takes one picture, N = 1, alone."""

    input_noise: float = 0.0
    """Standard deviation of the noise that it was trained with on its input, levels of 255 (`fastnst.io.noise`)."""

    @property
    def style_names(self) -> tuple[str, ...]:
        """Names of the styles, in the order of their weights: what the file says, numbers from 1 where it is silent."""
        if self.styles is None:
            return (self.metadata.get("style") or "1",)
        names = tuple(name.strip() for name in self.metadata.get("styles", "").split(","))
        if len(set(names)) == self.styles and all(names):
            return names
        return tuple(str(place) for place in range(1, self.styles + 1))


def read_contract(path: Path, inputs: Sequence[Port], outputs: Sequence[Port], metadata: Mapping[str, str]) -> Contract:
    """Check the inputs, outputs and metadata of a network file against the contract.

    Raises StyleError: they do not fit; says what was found and what was expected.
    """
    known = {key: _printable(metadata[key]) for key in _METADATA if key in metadata}
    _check_format(path, known.get("fastnst_format", str(FORMAT)))
    if known.get("range", "0..255") != "0..255":
        raise StyleError(f"{path}: works in {known['range']}, for other programs; export it without --range")
    if known.get("layout") == "web":
        raise StyleError(f"{path}: has the layout web, for pages; fastnst export writes it for the other commands")
    taken = {port.name: port for port in inputs}
    layout = _layout_of(taken.get("frame"))
    stylized = next((port for port in outputs if port.name == "stylized"), None)
    extra = taken.keys() - _OPTIONAL_INPUTS - {"frame"}
    if layout is None or not _fits(stylized, layout) or extra:
        hint = ". Keep inputs and outputs as they were when converting to float16" if _takes_half(inputs) else ""
        raise StyleError(f"{path}: not a network fastnst can run: {_found(inputs, outputs)}; expected {EXPECTED}{hint}")
    styles, strength = _count_styles(path, taken.get("style_weights")), _strength(path, taken.get("strength"))
    height, width = _size_of(taken["frame"], layout)
    size = None if height is None or width is None else (height, width)
    alone, noise = taken["frame"].shape[0] == 1, _input_noise(path, known.get("input_noise", "0"))
    return Contract(layout, styles, strength, known, size, one_at_a_time=alone, input_noise=noise)


def _input_noise(path: Path, written: str) -> float:
    try:
        levels = float(written)
    except ValueError:
        levels = math.nan
    if not 0 <= levels <= MAX_LEVELS:
        raise StyleError(f"{path}: has the input_noise {written!r}; expected levels, 0 to {MAX_LEVELS:g}")
    return levels


def _check_format(path: Path, written: str) -> None:
    if not written.isdecimal() or int(written) > FORMAT:
        raise StyleError(f"{path}: has format {written!r}; this fastnst reads format {FORMAT}. Update fastnst")


def _layout_of(frame: Port | None) -> Layout | None:
    if frame is None:
        return None
    for layout, (dtype, shape) in _SHAPES.items():
        if frame.dtype == dtype and len(frame.shape) == 4 and frame.shape[shape.index(3)] == 3:
            height, width = _size_of(frame, layout)
            # What is wrapped, of others' networks, may have a size alone, and take one picture at a time.
            if frame.shape[0] in (None, 1) and (height is None) == (width is None):
                return layout
    return None


def _size_of(frame: Port, layout: Layout) -> tuple[int | None, int | None]:
    first = 1 if layout == "nhwc-uint8" else 2
    return frame.shape[first], frame.shape[first + 1]


def _fits(stylized: Port | None, layout: Layout) -> bool:
    # Sizes of outputs are guesses of ONNX Runtime's; whether they equal the input's, a first run shows.
    return stylized is not None and stylized.dtype == _SHAPES[layout][0] and len(stylized.shape) == 4


def _count_styles(path: Path, port: Port | None) -> int | None:
    if port is None:
        return None
    styles = port.shape[0] if len(port.shape) == 1 else None
    if styles is None or styles < 1 or port.dtype != "float32":
        raise StyleError(f"{path}: has the input {port}; expected float32 (S,) with S, the number of styles, fixed")
    if styles > MAX_STYLES:
        raise StyleError(f"{path}: says that it mixes {styles} styles; expected at most {MAX_STYLES}")
    return styles


def _strength(path: Path, port: Port | None) -> bool:
    if port is not None and (port.dtype, port.shape) != ("float32", (1,)):
        raise StyleError(f"{path}: has the input {port}; expected float32 (1,)")
    return port is not None


def _found(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    first = [_printable(str(port)) for port in inputs[:4]]
    last = [_printable(str(port)) for port in outputs[:4]]
    return f"it takes {', '.join(first) or 'nothing'} and gives {', '.join(last) or 'nothing'}"


def _takes_half(inputs: Sequence[Port]) -> bool:
    return any(port.dtype == "float16" for port in inputs)


def _printable(text: str) -> str:
    """Text from a file that anyone may have made: no control characters that move a terminal's cursor, no novels."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_METADATA])


MAX_STRENGTH = 1.5
"""For networks that have the input; for the others, 1 is all that they give."""


def as_batch(frames: Frame) -> Frame:
    """Check a frame or a batch and return it as (N, H, W, 3), without a copy where the memory is in order.

    Raises InputError for any other type or shape.
    """
    if not isinstance(frames, np.ndarray):
        raise InputError(f"a {type(frames).__name__}; expected a numpy array, uint8 (H, W, 3) or (N, H, W, 3) RGB")
    if frames.dtype != np.uint8 or frames.ndim not in {3, 4} or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InputError(f"an array {frames.dtype} {frames.shape}; expected uint8 (H, W, 3) or (N, H, W, 3) RGB")
    return np.ascontiguousarray(frames if frames.ndim == 4 else frames[None])


def to_layout(batch: Frame, contract: Contract) -> Array:
    """Frames (N, H, W, 3) in the form that the network takes; without a copy where that is the same."""
    if contract.layout == "nhwc-uint8":
        return batch
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)


def from_layout(painted: Array, contract: Contract) -> Frame:
    """What the network gave as frames (N, H, W, 3); the other way round from `to_layout`."""
    if contract.layout == "nhwc-uint8":
        return painted
    return np.ascontiguousarray(np.rint(painted).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def extra_feeds(contract: Contract, style_weights: StyleWeights | None, strength: float | None) -> dict[str, Array]:
    """The inputs beside the frame that this network has: one mix and one strength for all pictures of a batch.

    Without the input, a strength is up to the caller, who lays the painting over the photo (io/blending.py).

    Raises SettingError for weights that it does not take, and for values that cannot be.
    """
    feeds: dict[str, Array] = {}
    if contract.styles is not None:
        weights = even_weights(contract.styles) if style_weights is None else style_weights
        feeds["style_weights"] = np.array(to_shares(contract.style_names, weights), np.float32)
    elif style_weights is not None:
        raise SettingError("style weights given, but this network knows one style; leave them out")
    value = 1.0 if strength is None else strength
    if contract.strength:
        if not 0 <= value <= MAX_STRENGTH:
            raise SettingError(
                f"strength {value:g}; expected 0 (the photo) to 1 (the full style), {MAX_STRENGTH:g} at most"
            )
        feeds["strength"] = np.array([value], np.float32)
    elif not 0 <= value <= 1:
        raise SettingError(f"strength {value:g}; expected 0 to 1, this network's full style: it has no input for more")
    return feeds
