"""Our own networks in other forms, made of files of the layout nhwc-uint8: planes, planes for web pages, noise.

N pictures, H height, W width. Planes are float32 (N, 3, H, W), RGB in 0..255, and not rounded. Web pages run all of
their form on WebGPU: what an exported file does to frames of any size (Max, Mod, Pad by sizes) takes operators that
onnxruntime-web leaves to the CPU, so the page does it instead, and H and W must be multiples of the file's `stride` and
at least 64.
"""

import re

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, compose, helper, numpy_helper, parser
from onnx.utils import Extractor

from fastnst.backends.contract import PIXEL_SHUFFLE, Array
from fastnst.errors import StyleError
from fastnst.io.noise import TILE, UNITS, noise_tile

NOISE = "noise"
"""How the names of the nodes begin that add noise to the input."""

NOISE_KEY = "noise_in_graph"
"""What a file with noise in its graph says in the place of `input_noise`: levels."""

_CLIP = """
    zero = Constant <value = float {0}> ()
    full = Constant <value = float {255}> ()
    clipped = Clip (raw, zero, full)
"""

# Keyed by pixels of the picture, each way, for one place of the last convolution. With 2 the border's are left out:
# they repeat what is next to them.
_FINISH = {
    1: f"{_CLIP} painted = Identity (clipped)",
    2: f"""{_CLIP}
    inner = DepthToSpace <blocksize = 2> (clipped)
    border = Constant <value = int64[8] {{0, 0, 1, 1, 0, 0, 1, 1}}> ()
    painted = Pad <mode = "edge"> (inner, border)
""",
}

_CROP = """
    origin = Constant <value = int64[2] {0, 0}> ()
    axes = Constant <value = int64[2] {2, 3}> ()
    cropped = Slice (painted, origin, size, axes)
    stylized = Identity (cropped)
"""


def to_web(model: ModelProto) -> ModelProto:
    """Turn an exported network into one of the layout web, without noise in its graph: pages add it.

    Raises StyleError for a file that something else made, or changed beyond recognition.
    """
    model = without_noise(model)
    stride, phases = _stride(model), _phases(model)
    extra = [port.name for port in model.graph.input if port.name != "frame"]
    core = Extractor(_described(model, "levels", "raw")).extract_model(["levels", *extra], ["raw"])
    finish = _finish(core, f"(float[N, C, PH, PW] raw) => (float[N, 3, H, W] painted) {{ {_FINISH[phases]} }}")
    whole = compose.merge_models(core, finish, io_map=[("raw", "raw")])
    del whole.opset_import[1:]
    rename_values(whole, {"levels": "frame", "painted": "stylized"})
    whole.producer_name, whole.graph.name = model.producer_name, model.graph.name
    return _with_planes(whole, {**_said(model), "layout": "web", "stride": str(stride)})


def to_planes(model: ModelProto) -> ModelProto:
    """Turn an exported network into one of the layout nchw-float. Raises StyleError as `to_web`."""
    _stride(model)
    phases, given = _phases(model), ModelProto()
    given.CopyFrom(model)
    nodes = [_from_planes(node) for node in model.graph.node if not _is_around(node)]
    del given.graph.node[:]
    given.graph.node.extend([helper.make_node("Identity", ["frame"], ["before_planes"]), *nodes])
    finish = _finish(
        model,
        f"(float[N, C, PH, PW] raw, int64[2] size) => (float[N, 3, H, W] stylized) {{ {_FINISH[phases]} {_CROP} }}",
    )
    for node in finish.graph.node:  # tiling/surgery.py knows them by that
        if phases > 1 and node.output[0] in {"after_inner", "after_border", "after_painted"}:
            node.name = f"{PIXEL_SHUFFLE}:{node.output[0]}"
    given.graph.node.extend(finish.graph.node)
    return _with_planes(given, {**_said(model), "layout": "nchw-float"})


def _is_around(node: NodeProto) -> bool:
    """Whether it turns frames into planes, or what the network gives into frames."""
    return node.output[0] in {"before_turned", "before_planes", "stylized"} or node.output[0].startswith("after_")


def _from_planes(node: NodeProto) -> NodeProto:
    """The same node, or the one that takes height and width of planes instead of frames."""
    if node.output[0] != "size":
        return node
    return helper.make_node("Shape", ["frame"], ["size"], start=2, end=4)


def _finish(model: ModelProto, text: str) -> ModelProto:
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    part = parser.parse_model(f'<ir_version: {model.ir_version}, opset_import: ["" : {opset}]> finish {text}')
    return compose.add_prefix(part, "after_", rename_inputs=False, rename_outputs=False)


def _with_planes(model: ModelProto, said: dict[str, str]) -> ModelProto:
    """Declare the ports, say what it is, and check it."""
    for port in (*model.graph.input, *model.graph.output):
        if port.name in {"frame", "stylized"}:
            port.CopyFrom(helper.make_tensor_value_info(port.name, TensorProto.FLOAT, ["N", 3, "H", "W"]))
    del model.graph.value_info[:]
    helper.set_model_props(model, said)
    checker.check_model(model, full_check=True)
    return model


def _said(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _described(model: ModelProto, *names: str) -> ModelProto:
    """The model with the types of some values inside it, which onnx 1.19 leaves out where it joins graphs."""
    described = ModelProto()
    described.CopyFrom(model)
    missing = set(names) - {info.name for info in model.graph.value_info}
    described.graph.value_info.extend(helper.make_tensor_value_info(name, 1, [None] * 4) for name in sorted(missing))
    return described


def _phases(model: ModelProto) -> int:
    return 2 if any(node.name.startswith(PIXEL_SHUFFLE) for node in model.graph.node) else 1


def is_exported(model: ModelProto) -> bool:
    """Whether it is of the layout nhwc-uint8 and as fastnst export writes it: what the other forms are made of."""
    made = {name for node in model.graph.node for name in node.output}
    kinds = [port.type.tensor_type.elem_type for port in model.graph.input if port.name == "frame"]
    return {"raw", "before_stride"} <= made and kinds == [TensorProto.UINT8]


def _stride(model: ModelProto) -> int:
    """What the sides are made multiples of; StyleError where the file does not say so in the way of ours."""
    if not is_exported(model):
        raise StyleError("is no network of the layout nhwc-uint8 as fastnst export writes it; export it again")
    value = next(node for node in model.graph.node if "before_stride" in node.output).attribute[0]
    values = re.findall(r"\d+", str(helper.get_attribute_value(value).int64_data))
    return int(values[0]) if values else int.from_bytes(value.t.raw_data[:8], "little")


def rename_values(model: ModelProto, names: dict[str, str]) -> None:
    """Give values and ports of a network other names."""
    for port in (*model.graph.input, *model.graph.output):
        port.name = names.get(port.name, port.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


_SHARE = """
    none = Constant <value = float {{0}}> ()
    all = Constant <value = float {{1}}> ()
    share = Clip (strength, none, all)
    unit = Constant <value = float {{{unit}}}> ()
    factor = Mul (share, unit)
    fine = Mul (numbers, factor)
    half = Constant <value = float {{0.5}}> ()
    raised = Add (fine, half)
    levels = Floor (raised)
"""

_REPEAT = f"""
    size = Shape <start = 2, end = 4> (planes)
    side = Constant <value = int64[2] {{{{{TILE}, {TILE}}}}}> ()
    less = Constant <value = int64[2] {{{{{TILE - 1}, {TILE - 1}}}}}> ()
    more = Add (size, less)
    times = Div (more, side)
    one = Constant <value = int64[2] {{{{1, 1}}}}> ()
    repeats = Concat <axis = 0> (one, times)
    repeated = Tile (levels, repeats)
    origin = Constant <value = int64[2] {{{{0, 0}}}}> ()
    axes = Constant <value = int64[2] {{{{2, 3}}}}> ()
    added = Slice (repeated, origin, size, axes)
"""

_ADD = """<ir_version: {ir}, opset_import: ["" : {opset}]>
noise (float[N, 3, H, W] planes{strength}) => (float[N, 3, H, W] noisy) {{
    numbers = Cast <to = 1> (tile)
    LEVELS
    ADDED
    sum = Add (planes, added)
    zero = Constant <value = float {{0}}> ()
    full = Constant <value = float {{255}}> ()
    noisy = Clip (sum, zero, full)
}}"""


def with_noise_inside(model: ModelProto, levels: float, size: tuple[int, int] | None = None) -> ModelProto:
    """A network of ours, of any layout in 0..255, that adds to its input what `fastnst.io.noise.with_noise` would.

    Args:
        model: not changed.
        levels: of 255; more than 0.
        size: (height, width) of all pictures, where there is one: the tile is no larger then.

    Raises:
        StyleError: not a network of fastnst.
    """
    noisy = ModelProto()
    noisy.CopyFrom(without_noise(model))
    planes = "before_planes" if any("before_planes" in node.output for node in noisy.graph.node) else "frame"
    said = _said(noisy)
    if planes == "frame" and said.get("layout") != "web":
        raise StyleError("was not written by fastnst export, so noise cannot be put into its graph: --input-noise 0")
    nodes = _noise_nodes(noisy, planes, levels, size)
    for node in noisy.graph.node:
        node.input[:] = [f"{NOISE}:noisy" if name == planes else name for name in node.input]
    place = next((k + 1 for k, node in enumerate(noisy.graph.node) if planes in node.output), 0)
    kept = list(noisy.graph.node)
    del noisy.graph.node[:]
    noisy.graph.node.extend([*kept[:place], *nodes, *kept[place:]])
    said.pop("input_noise", None)
    helper.set_model_props(noisy, {**said, NOISE_KEY: f"{levels:g}"})
    return noisy


def _noise_nodes(model: ModelProto, planes: str, levels: float, size: tuple[int, int] | None) -> list[NodeProto]:
    """Nodes that make f"{NOISE}:noisy" of `planes`; what they add is stored in the model."""
    strength = any(port.name == "strength" for port in model.graph.input)
    height, width = size or (TILE, TILE)
    unit = levels / UNITS
    tile = noise_tile()[:height, :width]
    model.graph.initializer.append(stored_noise(tile if strength else np.floor(tile * unit + 0.5)))
    text = _ADD.replace("LEVELS", _SHARE if strength else "levels = Identity (numbers)")
    fits = size is not None and max(size) <= TILE
    text = text.replace("ADDED", "added = Identity (levels)" if fits else _REPEAT)
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    port = ", float[1] strength" if strength else ""
    part = parser.parse_model(text.format(ir=model.ir_version, opset=opset, strength=port, unit=unit))
    outside = {"planes": planes, "strength": "strength"}
    nodes = []
    for node in part.graph.node:
        node.name = f"{NOISE}:{node.output[0]}"
        node.input[:] = [outside.get(name, f"{NOISE}:{name}") for name in node.input]
        node.output[:] = [f"{NOISE}:{name}" for name in node.output]
        nodes.append(node)
    return nodes


def stored_noise(levels: Array) -> TensorProto:
    """Whole levels (H, W) as the graph's tensor of noise, (1, 1, H, W)."""
    small = np.int8 if np.abs(levels).max() <= 127 else np.int16
    return numpy_helper.from_array(levels.astype(small)[None, None], f"{NOISE}:tile")


def without_noise(model: ModelProto) -> ModelProto:
    """The network without noise in its graph, which says again that it wants some; itself where it has none."""
    said = _said(model)
    if NOISE_KEY not in said:
        return model
    nodes = {node.name: node for node in model.graph.node}
    added, clipped = nodes.get(f"{NOISE}:sum"), nodes.get(f"{NOISE}:noisy")
    if added is None or clipped is None:
        raise StyleError(f"says {NOISE_KEY}, but its graph adds none; export it again")
    bare, planes, noisy = ModelProto(), added.input[0], clipped.output[0]
    bare.CopyFrom(model)
    kept = [node for node in bare.graph.node if not node.name.startswith(f"{NOISE}:")]
    for node in kept:
        node.input[:] = [planes if name == noisy else name for name in node.input]
    tensors = [tensor for tensor in bare.graph.initializer if not tensor.name.startswith(f"{NOISE}:")]
    for field, values in ((bare.graph.node, kept), (bare.graph.initializer, tensors)):
        del field[:]
        field.extend(values)
    levels = said.pop(NOISE_KEY)
    helper.set_model_props(bare, {**said, "input_noise": levels})
    return bare
