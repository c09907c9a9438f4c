"""Networks to evaluate, ours and other projects' ONNX files, and every measure of one picture that they stylize: what
it is called, what it means, which side is better.

Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from fastnst.errors import InputError, StyleError, WeightsError
from fastnst.inference.effects import PLAIN
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame, resize_long_side
from fastnst.io.styles import MIX_SIGN, StyleChoice, StyleWeights, choose_style
from fastnst.losses.settings import LossSettings
from fastnst.metrics.appearance import OCTAVES, Appearance, compare_appearance, measure_appearance
from fastnst.metrics.artifacts import find_artifacts, palette_of
from fastnst.metrics.perceptual import (
    SMALLEST_SIDE,
    STYLE_SIZE,
    AlexNetMetrics,
    PerceptualFeatures,
    PerceptualMetrics,
    SecondOpinion,
    load_alexnet_metrics,
    load_perceptual_metrics,
    ssim,
)
from fastnst.report.blocks import Column


@dataclass(frozen=True)
class EvaluatedNetwork:
    """A network to evaluate."""

    name: str
    path: Path
    paint: "NetworkPainter"
    parameters: int
    """Trained numbers in the file."""

    variant: str = ""
    """The mix and the strength that it is stylized with, where they are not the usual ones."""

    @property
    def identity(self) -> str:
        """Tells what this network paints from what others do: a hash of the file, and the variant."""
        return digest(self.path.read_bytes()) + (digest(self.variant) if self.variant else "")


class NetworkPainter:
    """An open network, with a mix of its styles and a strength."""

    def __init__(self, stylizer: Stylizer, weights: StyleWeights | None = None, strength: float | None = None) -> None:
        """Take an open network; SettingError for a mix or a strength that it does not take."""
        stylizer.check(weights, strength)
        self.stylizer, self._weights, self._strength = stylizer, weights, strength

    def __call__(self, frame: Frame, /) -> Frame:
        """Paint one frame."""
        return self.stylizer(frame, style_weights=self._weights, strength=self._strength)


def open_network(
    style: str | Path, *, name: str | None = None, strength: float | None = None, threads: int | None = None
) -> EvaluatedNetwork:
    """Open a network: an installed style's name or an ONNX file, also another project's, or with a mix: trio@munch.

    By default it is called as in `style`, without a folder, and stylizes in full. Raises StyleError for no such style
    or file, or a network of another form; SettingError for a mix or a strength that the network does not take.
    """
    choice = choose_style(style)
    variant = choice.mix if strength is None else f"{choice.mix} strength {strength:g}"
    # ONNX Runtime in float32: what is fastest here may compute in bfloat16.
    paint = NetworkPainter(
        Stylizer(choice.path, PLAIN.of_own_size(), provider="cpu", threads=threads), choice.weights, strength
    )
    return EvaluatedNetwork(
        name or _name(choice), choice.path, paint, count_parameters(onnx.load(choice.path)), variant
    )


def open_networks(styles: Sequence[str | Path], *, strength: float | None = None) -> list[EvaluatedNetwork]:
    """Open several networks under different names: a file's name and mix, with its folder's where two are alike.

    Raises StyleError and SettingError as `open_network`, and StyleError for the same one twice.
    """
    choices = [choose_style(style) for style in styles]
    networks: list[EvaluatedNetwork] = []
    for style, choice in zip(styles, choices, strict=True):
        name = _name(choice)
        if [_name(other) for other in choices].count(name) > 1:
            name = f"{choice.path.resolve().parent.name}/{name}"
        if name in {network.name for network in networks}:
            raise StyleError(
                f"{choice.path}: two networks are called {name}; give each file once, in folders of other names"
            )
        networks.append(open_network(style, name=name, strength=strength))
    return networks


def digest(*parts: str | bytes) -> str:
    """One short text that stands for texts and files' contents."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(f"{len(content)} ".encode() + content)
    return found.hexdigest()[:32]


def count_parameters(model: onnx.ModelProto) -> int:
    """Count the trained numbers of a network: its floating-point tensors, less single numbers and Resize's scales.

    Weights in 8-bit integers count, scales and zero points for them do not.
    """
    scales = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:]}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    quantized: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors |= {name: item.t for name in node.output for item in node.attribute if item.name == "value"}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            scales.update(node.input[1:])
            quantized.add(node.input[0])
    trained = (
        tensor
        for name, tensor in tensors.items()
        if name in quantized or (tensor.data_type in floats and name not in scales)
    )
    return sum(int(np.prod(tensor.dims)) for tensor in trained if tensor.dims)


def _name(choice: StyleChoice) -> str:
    return f"{choice.path.stem}{MIX_SIGN}{choice.mix}" if choice.mix else choice.path.stem


def _lower(title: str, digits: int, meaning: str) -> Column:
    return Column(title=title, digits=digits, better="lower", meaning=meaning)


def _near_1(title: str, meaning: str) -> Column:
    return Column(title=title, digits=2, better="near 1", meaning=meaning)


PERCEPTUAL = {
    "content": _lower(
        "content", 3, "Squared error of VGG-19's relu4_2 against the photo's, relative: 0 the photo itself."
    ),
    "style": _lower(
        "style",
        3,
        "Squared error of the Gram matrices against the painting's, relative, mean over relu1_1 to relu5_1. "
        "Largely palette.",
    ),
    "centred": _lower("centred", 3, "The same with each channel's mean taken off first, so a covariance: texture."),
}
SECOND_OPINION = {
    "alexnet_content": _lower(
        "AlexNet content", 3, "As content, at AlexNet's relu3: a network that no one trains through."
    ),
    "alexnet_style": _lower("AlexNet style", 3, "As style, over AlexNet's relu1 to relu5."),
    "alexnet_centred": _lower("AlexNet centred", 3, "As centred, over AlexNet's relu1 to relu5."),
    "lpips": _lower(
        "LPIPS",
        3,
        "Learned perceptual distance to the photo (AlexNet, v0.1): 0 equal. Says how far the picture went, not "
        "whether it went well.",
    ),
}
SIMILARITY = {
    "ssim": Column(title="SSIM", better="higher", meaning="Structural similarity to the photo's luma: 1 equal."),
}
ARTIFACTS = {
    "border": _lower(
        "border", 2, "Lines and bands along the edges, relative to the rest of the picture: about 1 none."
    ),
    "grid": _lower(
        "grid", 4, "Share of the fine detail that repeats exactly every 4 or 8 px: below 0.01 on photographs."
    ),
    "blobs": _lower(
        "blobs", 4, "Share of the picture in flat or saturated squares of 7 px that the photo has not: 0 none."
    ),
    "color": _lower("color", 1, "Mean CIELAB distance of the pixels to the nearest of the painting's 256 colors."),
}
APPEARANCE = {
    "contrast": _near_1("contrast", "Standard deviation of luma over the painting's: below 1 paler."),
    "chroma": _near_1("chroma", "Standard deviation of the two color differences over the painting's: below 1 grayer."),
    **{
        f"octave_{size}": _near_1(
            f"{size} px",
            f"Strength of what is about {size} px large in luma, over the painting's: below 1 softer, above harsher.",
        )
        for size in OCTAVES
    },
    "tones": Column(
        title="tones",
        digits=2,
        better="higher",
        meaning="Gray levels that are left once strokes are blurred away, of the painting's or, where it has fewer, of "
        "the photo's: below 0.7 a picture of two or three masses.",
    ),
    "relief": _lower(
        "relief",
        4,
        "Share of the fine detail's power that is the photo embossed, lit from one side: above 0.002 it looks "
        "like pressed plastic.",
    ),
    "pattern": _lower(
        "pattern",
        1,
        "How much one direction and period prevails, of 2.5 to 20 px, beyond what painting and photo have: 1 "
        "not at all, above 3 stripes or a grid are seen. The median over photos.",
    ),
}
MEASURES = PERCEPTUAL | APPEARANCE | SECOND_OPINION | SIMILARITY | ARTIFACTS
"""Every measure by its key."""

MEDIANS = frozenset({"pattern"})
"""Measures of which the median over photos counts: one striped facade is no fault of the network."""

SMALLEST = 48
"""Pixels of the shorter side below which a photo says nothing: VGG's last style layer would be 3 px."""


@dataclass(frozen=True)
class Photo:
    """A photo, measured."""

    frame: Frame
    vgg: PerceptualFeatures
    appearance: Appearance
    alexnet: SecondOpinion | None


class Judge:
    """Measures pictures against one style image."""

    def __init__(
        self, style: Frame, metrics: PerceptualMetrics, alexnet: AlexNetMetrics | None, style_size: int = STYLE_SIZE
    ) -> None:
        """Measure the painting for content and style by VGG-19, and the second opinion, where there is one.

        `style_size` is the painting's long side where appearances are compared, pixels: its strokes as large as the
        network's are meant to be.
        """
        self._perceptual, self._alexnet = metrics, alexnet
        self._appearance = measure_appearance(resize_long_side(style, style_size))
        self._palette = palette_of(style)
        self._style = metrics.measure_style(style)
        self._alexnet_style = alexnet.measure_style(style) if alexnet else None

    @property
    def measures(self) -> dict[str, Column]:
        """The measures that this judge takes; without AlexNet's weights those that need them are left out."""
        return {key: column for key, column in MEASURES.items() if self._alexnet or key not in SECOND_OPINION}

    def measure_photo(self, frame: Frame) -> Photo:
        """Measure a photo once for all pictures made from it. Raises InputError for one that is too narrow."""
        if min(frame.shape[:2]) < max(SMALLEST, SMALLEST_SIDE):
            height, width = frame.shape[:2]
            raise InputError(f"a picture of {width}x{height}; expected sides of at least {SMALLEST} px")
        opinion = self._alexnet.measure(frame) if self._alexnet else None
        return Photo(frame, self._perceptual.measure(frame), measure_appearance(frame), opinion)

    def measure(self, stylized: Frame, photo: Photo) -> dict[str, float]:
        """All measures of a stylized picture by key."""
        own = photo.vgg if stylized is photo.frame else self._perceptual.measure(stylized)
        values = dict(vars(self._perceptual.compare(own, photo.vgg, self._style)))
        values |= self._compare_appearance(stylized, photo)
        if self._alexnet and self._alexnet_style and photo.alexnet:
            opinion = self._alexnet.measure(stylized)
            figures = self._alexnet.figures(opinion, photo.alexnet, self._alexnet_style)
            values |= {f"alexnet_{key}": value for key, value in vars(figures).items()}
            values["lpips"] = self._alexnet.lpips(opinion, photo.alexnet)
        values["ssim"] = ssim(stylized, photo.frame)
        return values | vars(find_artifacts(stylized, photo.frame, self._palette))

    def _compare_appearance(self, stylized: Frame, photo: Photo) -> dict[str, float]:
        figures = vars(compare_appearance(measure_appearance(stylized), photo.appearance, self._appearance))
        octaves = {f"octave_{size}": value for size, value in zip(OCTAVES, figures["octaves"], strict=True)}
        return {key: (figures | octaves)[key] for key in APPEARANCE}


@dataclass(frozen=True)
class Loaded:
    """What measures, and which weights it has, for the report."""

    metrics: PerceptualMetrics
    alexnet: AlexNetMetrics | None
    weights: dict[str, str]
    """Loss network and AlexNet: their weights in words."""

    def judge(self, style: Frame, style_size: int = STYLE_SIZE) -> Judge:
        """A judge of pictures in one style; `style_size` as of `Judge`."""
        return Judge(style, self.metrics, self.alexnet, style_size)


def load_measures(settings: LossSettings, lpips_weights: Path | None = None) -> Loaded:
    """Load the networks that measure.

    Without AlexNet's weights its measures are left out, and `weights` says why; a file that was named outright must be
    right, though.

    Raises WeightsError.
    """
    metrics, provenance = load_perceptual_metrics(settings)
    try:
        alexnet, opinion = load_alexnet_metrics(lpips_weights)
    except WeightsError as error:
        if lpips_weights is not None:
            raise
        return Loaded(metrics, None, {"Loss network": provenance, "AlexNet": f"left out: {error}"})
    return Loaded(metrics, alexnet, {"Loss network": provenance, "AlexNet": opinion})
