"""A trained network as one ONNX file that takes a picture as it is and gives one of the same size back.

The contract is written down in docs/embed.md. torch exports the network; what stands before and after it
(casts, transposes, padding, cropping, rounding) is written here in ONNX's own text form.
"""

import copy
import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, compose, numpy_helper, parser, version_converter
from torch import Tensor

from fastnst.backends.contract import PIXEL_SHUFFLE
from fastnst.backends.forms import to_planes, to_web
from fastnst.errors import CheckpointError
from fastnst.io.files import write_atomically
from fastnst.io.images import Frame
from fastnst.models.checkpoint import ModelInfo, in_words, load_model
from fastnst.models.network import SMALLEST_SIDE, StyleNetwork, stylize_frame
from fastnst.models.variants import Layout

# From opset 19 on, ONNX Runtime's CUDA provider leaves Pad and Resize to the CPU in many releases.
OPSET = 18
CONTRACT_VERSION, CONDITIONAL_VERSION = "1", "2"
CHECKED_SIZES = ((97, 131), (64, 201), (37, 45))
WEB_SIZES = ((96, 128), (64, 200))
"""Pages extend pictures themselves."""

LARGEST_DIFFERENCE = 2

_HEADER = f'<ir_version: 10, opset_import: ["" : {OPSET}]>'

# What is missing to 64 pixels a side, and to a multiple of the stride, is added below and to the right; in float32, as
# ONNX Runtime's CUDA provider leaves a Pad of uint8 to the CPU.
_BEFORE = f"""
prepare (uint8[N, H, W, 3] frame) => (float[N, 3, PH, PW] levels, int64[2] size) {{{{
    turned = Transpose <perm = [0, 3, 1, 2]> (frame)
    planes = Cast <to = 1> (turned)
    size = Shape <start = 1, end = 3> (frame)
    smallest = Constant <value = int64[2] {{{{{SMALLEST_SIDE}, {SMALLEST_SIDE}}}}}> ()
    stride = Constant <value = int64[2] {{{{{{stride}}, {{stride}}}}}}> ()
    large = Max (size, smallest)
    missing = Sub (large, size)
    over = Mod (large, stride)
    under = Sub (stride, over)
    rest = Mod (under, stride)
    nothing = Constant <value = int64[6] {{{{0, 0, 0, 0, 0, 0}}}}> ()
    edge_pads = Concat <axis = 0> (nothing, missing)
    reflect_pads = Concat <axis = 0> (nothing, rest)
    extended = Pad <mode = "edge"> (planes, edge_pads)
    levels = Pad <mode = "reflect"> (extended, reflect_pads)
}}}}"""

_CROP = """
    origin = Constant <value = int64[2] {0, 0}> ()
    axes = Constant <value = int64[2] {1, 2}> ()
    cropped = Slice (painted, origin, size, axes)
    stylized = Identity (cropped)
"""

# QuantizeLinear would do all three in one pass, but OpenVINO 2026.4 takes 5 levels off where two reshapes follow it.
_TO_UINT8 = """
    zero = Constant <value = float {0}> ()
    full = Constant <value = float {255}> ()
    clipped = Clip (raw, zero, full)
    rounded = Round (clipped)
    whole = Cast <to = 2> (rounded)
"""

# Keyed by phases. With them, the channels of a place are pixels: row, column, color. They are put in order as uint8 and
# by moves of whole rows as far as can be; the border repeats what is next to it.
_AFTER = {
    1: f"""
finish (float[N, 3, PH, PW] raw, int64[2] size) => (uint8[N, H, W, 3] stylized) {{
    {_TO_UINT8}
    painted = Transpose <perm = [0, 2, 3, 1]> (whole)
    {_CROP}
}}""",
    2: f"""
finish (float[N, 12, PH, PW] raw, int64[2] size) => (uint8[N, H, W, 3] stylized) {{
    {_TO_UINT8}
    height = Shape <start = 2, end = 3> (raw)
    width = Shape <start = 3, end = 4> (raw)
    any = Constant <value = int64[1] {{-1}}> ()
    two = Constant <value = int64[1] {{2}}> ()
    three = Constant <value = int64[1] {{3}}> ()
    six = Constant <value = int64[1] {{6}}> ()
    row = Mul (width, six)
    pixels = Mul (width, two)
    rows = Mul (height, two)
    by_row = Constant <value = int64[4] {{-1, 6, 0, 0}}> ()
    apart = Reshape (whole, by_row)
    turned = Transpose <perm = [0, 2, 3, 1]> (apart)
    in_rows = Concat <axis = 0> (any, two, height, row)
    lined = Reshape (turned, in_rows)
    woven = Transpose <perm = [0, 2, 1, 3]> (lined)
    in_pixels = Concat <axis = 0> (any, rows, pixels, three)
    inner = Reshape (woven, in_pixels)
    begin = Constant <value = int64[1] {{0}}> ()
    second = Constant <value = int64[1] {{1}}> ()
    end = Constant <value = int64[1] {{9223372036854775807}}> ()
    top = Slice (inner, begin, second, second)
    bottom = Slice (inner, any, end, second)
    tall = Concat <axis = 1> (top, inner, bottom)
    left = Slice (tall, begin, second, two)
    right = Slice (tall, any, end, two)
    painted = Concat <axis = 2> (left, tall, right)
    {_CROP}
}}""",
}


def export_model(model: Path, output: Path, layout: Layout = "nhwc-uint8", *, overwrite: bool = True) -> int:
    """Export a model file, compare the result with torch, and write it; return the largest difference in levels.

    Raises CheckpointError for a file that is no model, and where ONNX Runtime and torch differ by more than two
    levels of 255 anywhere in three pictures of odd sizes: then nothing is written; OutputError where it cannot be
    written, or without `overwrite` where `output` already exists.
    """
    network, info = load_model(model)
    exported = to_onnx(network, info, layout)
    difference = largest_difference(exported, network, layout)
    if difference > LARGEST_DIFFERENCE:
        raise CheckpointError(
            f"{model}: exported, it differs from torch by {difference} levels of 255; at most {LARGEST_DIFFERENCE} "
            "are allowed. Nothing was written; please report it with the versions of torch and onnxruntime"
        )
    write_atomically(output, exported.SerializeToString(), overwrite=overwrite)
    return difference


def export_like(template: Path, network: StyleNetwork, info: ModelInfo) -> ModelProto:
    """Put a network into the graph of an exported one of the same structure: tracing one takes ten seconds, this none.

    Where the two differ in structure, or there is no such file, the network is traced after all.
    """
    try:
        model = onnx.load(template)
    except OSError:
        return to_onnx(network, info)
    weights = {f"network.{name}": value.detach().cpu().float().numpy() for name, value in network.state_dict().items()}
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    alike = all(name in held and tuple(held[name].dims) == value.shape for name, value in weights.items())
    said = {entry.key: entry.value for entry in model.metadata_props}
    others = [{**info.network, "upsampling": "bilinear"}, _without_upsampling(info.network)]
    structures = [in_words(spec) for spec in (info.network, *others)]
    if not alike or said.get("network") not in structures or said.get("layout") != "nhwc-uint8":
        return to_onnx(network, info)
    _set_upsampling(model, str(info.network.get("upsampling", "nearest")))
    for name, value in weights.items():
        held[name].CopyFrom(numpy_helper.from_array(value, name))
    del model.metadata_props[:]
    model.graph.name = info.style
    onnx.helper.set_model_props(model, metadata(network, info))
    return model


def _without_upsampling(spec: dict[str, int | str]) -> dict[str, int | str]:
    return {name: value for name, value in spec.items() if name != "upsampling"}


def _set_upsampling(model: ModelProto, upsampling: str) -> None:
    """Change how an exported johnson gets back to full size, to what the exporter writes for it."""
    linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for node in model.graph.node:
        if node.op_type == "Resize":
            del node.attribute[:]
            chosen = linear if upsampling == "bilinear" else nearest
            node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in chosen.items())


def to_onnx(network: StyleNetwork, info: ModelInfo, layout: Layout = "nhwc-uint8") -> ModelProto:
    """Put a network's graph between what prepares its input and what finishes its output."""
    if layout != "nhwc-uint8":
        usual = to_onnx(network, info)
        return to_web(usual) if layout == "web" else to_planes(usual)
    own, network = network, network.for_export()
    core = _core(network)
    prepare = parser.parse_model(_HEADER + _BEFORE.format(stride=network.stride))
    finish = parser.parse_model(_HEADER + _AFTER[phases_of(network)])
    for part, prefix in ((prepare, "before_"), (finish, "after_")):
        compose.add_prefix(part, prefix, rename_inputs=False, rename_outputs=False, inplace=True)
    _name_weave(finish)
    whole = compose.merge_models(prepare, core, io_map=[("levels", "levels")], outputs=["raw", "size"])
    whole = compose.merge_models(whole, finish, io_map=[("raw", "raw"), ("size", "size")])
    del whole.opset_import[1:]  # merging repeats the entry
    whole.producer_name = "fastnst"
    whole.graph.name = info.style
    onnx.helper.set_model_props(whole, metadata(own, info))
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _name_weave(finish: ModelProto) -> None:
    """Name the nodes that make a picture of phases: tiling/surgery.py knows them by that."""
    nodes = finish.graph.node
    made = [node.output[0] for node in nodes]
    if "after_height" in made:
        for node in nodes[made.index("after_height") : made.index("after_painted") + 1]:
            node.name = f"{PIXEL_SHUFFLE}:{node.output[0]}"


def metadata(network: StyleNetwork, info: ModelInfo) -> dict[str, str]:
    """What an exported file of the layout nhwc-uint8 says of itself."""
    weights = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        weights.update(name.encode() + value.detach().half().cpu().numpy().tobytes())
    return {
        "fastnst_format": CONTRACT_VERSION if network.conditions.plain else CONDITIONAL_VERSION,
        "layout": "nhwc-uint8",
        "style": info.style,
        **({"styles": ",".join(info.styles)} if info.styles else {}),
        **({"input_noise": f"{info.input_noise:g}"} if info.input_noise else {}),
        "network": in_words(info.network),
        "provenance": info.provenance,
        "licence": info.license,
        "weights_sha256": weights.hexdigest(),
    }


def largest_difference(exported: ModelProto, network: StyleNetwork, layout: Layout) -> int:
    """Largest difference, in levels of 255, between ONNX Runtime and torch over three pictures of odd sizes.

    Of a network with further inputs, each picture is painted with other weights and another strength.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(exported.SerializeToString(), options, providers=["CPUExecutionProvider"])
    differences = []
    for seed, size in enumerate(WEB_SIZES if layout == "web" else CHECKED_SIZES):
        frame = _patterned(size, seed)
        given = frame[None] if layout == "nhwc-uint8" else frame.transpose(2, 0, 1)[None].astype(np.float32)
        conditions = _conditions(network, seed)
        feeds = {name: np.array(values, np.float32) for name, values in conditions.items()}
        (result,) = session.run(["stylized"], {"frame": given, **feeds})
        own = result[0] if layout == "nhwc-uint8" else np.rint(result[0]).transpose(1, 2, 0)
        reference = _painted_by_torch(network, frame, conditions)
        if own.shape != reference.shape:
            raise CheckpointError(f"exported, the network turns {frame.shape} into {own.shape}; nothing was written")
        differences.append(int(np.abs(own.astype(int) - reference.astype(int)).max()))
    return max(differences)


def _painted_by_torch(network: StyleNetwork, frame: Frame, conditions: dict[str, list[float]]) -> Frame:
    weights, strength = conditions.get("style_weights"), conditions.get("strength")
    return stylize_frame(network, frame, style_weights=weights, strength=strength[0] if strength else None)


def _conditions(network: StyleNetwork, seed: int) -> dict[str, list[float]]:
    """The network's inputs beside the picture, with values that differ from seed to seed."""
    conditions: dict[str, list[float]] = {}
    if network.conditions.styles > 1:
        shares = np.random.default_rng(seed).dirichlet(np.ones(network.conditions.styles))
        conditions["style_weights"] = shares.tolist()
    if network.conditions.strength:
        conditions["strength"] = [(0.3, 1.0, 1.4)[seed % 3]]
    return conditions


class NetworkCore(torch.nn.Module):
    """A network as the graph between its beginning and its end: from levels to phases."""

    def __init__(self, network: StyleNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, levels: Tensor, style_weights: Tensor | None = None, strength: Tensor | None = None) -> Tensor:
        """Levels (B, 3, H, W) in [0, 255]; the rest and the result as StyleNetwork's `paint_phases`."""
        if self.network.kept is not None:
            painted: Tensor = self.network(levels / 255, style_weights, strength)
            return 255 * painted
        return self.network.paint_phases(levels, self.network.conditions.shares(style_weights, strength, levels.device))


def phases_of(network: StyleNetwork) -> int:
    """Pixels each way that the core gives as channels of one place."""
    # Where a share of the photo is kept, that is mixed in pixel by pixel.
    return network.phases if network.kept is None else 1


GRAPHS: dict[tuple[object, ...], ModelProto] = {}
"""Graphs of networks that were exported in this process, by their structure: tracing one takes seconds."""


def _core(network: StyleNetwork) -> ModelProto:
    """The bare network, levels -> raw, float (N, 3, H, W) with H and W multiples of the stride.

    Networks of one structure differ in their weights alone: these are put into the graph of the first.
    """
    weights = {f"network.{name}": value.detach().cpu().float() for name, value in network.state_dict().items()}
    shapes = tuple((name, tuple(value.shape)) for name, value in weights.items())
    structure = (type(network), repr(network), network.conditions, network.kept is None, shapes)
    if structure not in GRAPHS:
        copied, generator = copy.deepcopy(network).cpu(), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for value in copied.state_dict().values():
                # All different: the exporter makes one of equal weights, and others' are not equal at the same places.
                value.copy_(torch.randn(value.shape, generator=generator))
        GRAPHS[structure] = trace(copied)
    core = ModelProto()
    core.CopyFrom(GRAPHS[structure])
    held = {tensor.name: tensor for tensor in core.graph.initializer}
    for name, value in weights.items():
        held[name].CopyFrom(numpy_helper.from_array(value.numpy(), name))
    return core


def trace(network: StyleNetwork) -> ModelProto:
    """The bare network's graph; takes seconds."""
    network = network.cpu().eval()
    height, width = (network.stride * torch.export.Dim(name, min=16) for name in ("rows", "columns"))
    example = torch.zeros(2, 3, 16 * network.stride + network.stride, 16 * network.stride)
    conditions = {name: torch.tensor(values) for name, values in _conditions(network, 0).items()}
    sizes: dict[str, Any] = {"levels": {0: torch.export.Dim("batch"), 2: height, 3: width}, **dict.fromkeys(conditions)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own future
        program = torch.onnx.export(
            NetworkCore(network).eval(),
            (example,),
            kwargs=conditions,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=sizes,
            input_names=["levels", *conditions],
            output_names=["raw"],
            verbose=False,
        )
    assert program is not None  # without a file name, export returns the program
    core: ModelProto = program.model_proto
    opset = next(entry.version for entry in core.opset_import if entry.domain == "")
    if opset != OPSET:
        core = version_converter.convert_version(core, OPSET)
    core.ir_version = 10
    for node in core.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return core


def _patterned(size: tuple[int, int], seed: int) -> Frame:
    """A picture with flat parts, edges and noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[: size[0], : size[1]]
    waves = np.stack([np.sin(down / 9), np.cos(across / 7), np.sin((down + across) / 23)], axis=-1)
    levels = 127 + 90 * waves + rng.normal(0, 20, (*size, 3))
    levels[size[0] // 3 : size[0] // 2] = (255, 0, 40)
    return levels.clip(0, 255).astype(np.uint8)
