"""An exported network in the form that web pages run: float32 planes in and out, all of it on WebGPU.

    frame, float32 (N, 3, H, W), RGB in 0..255, H and W multiples of the file's `stride` and at least 64
    -> stylized, float32 (N, 3, H, W), RGB in 0..255, not rounded

What an exported file does to frames of any size and to levels of uint8 (Max, Mod, Pad by sizes; Round, Cast) takes
operators that onnxruntime-web leaves to the CPU; the page does it instead. onnx only: nothing is computed here.
"""

import re

from onnx import ModelProto, checker, compose, helper, parser
from onnx.utils import Extractor

from fastnst.backends.contract import PIXEL_SHUFFLE
from fastnst.errors import StyleError

_CLIP = """
    zero = Constant <value = float {0}> ()
    full = Constant <value = float {255}> ()
    SHOWN = Clip (levels, zero, full)
"""

# Keyed by pixels of the picture, each way, for one place of the last convolution. With 2 the border's are left out:
# they repeat what is next to them.
_FINISH = {
    1: f"finish (float[N, 3, H, W] levels) => (float[N, 3, H, W] stylized) {{ {_CLIP.replace('SHOWN', 'stylized')} }}",
    2: f"""finish (float[N, 12, PH, PW] levels) => (float[N, 3, H, W] stylized) {{
    {_CLIP.replace("SHOWN", "clipped")}
    inner = DepthToSpace <blocksize = 2> (clipped)
    border = Constant <value = int64[8] {{0, 0, 1, 1, 0, 0, 1, 1}}> ()
    stylized = Pad <mode = "edge"> (inner, border)
}}""",
}


def to_web(model: ModelProto) -> ModelProto:
    """Turn a network of the layout nhwc-uint8, as `fastnst export` writes it, into one of the layout web.

    Raises StyleError for a file that something else made, or changed beyond recognition.
    """
    stride = _stride(model)
    made = {name: node for node in model.graph.node for name in node.output}
    if stride is None or "raw" not in made:
        raise StyleError("is no network of the layout nhwc-uint8 as fastnst export writes it; export it again")
    phases = 2 if any(node.name.startswith(PIXEL_SHUFFLE) for node in model.graph.node) else 1
    extra = [port.name for port in model.graph.input if port.name != "frame"]
    core = Extractor(model).extract_model(["levels", *extra], ["raw"])
    opset = core.opset_import[0].version
    finish = parser.parse_model(f'<ir_version: {core.ir_version}, opset_import: ["" : {opset}]> {_FINISH[phases]}')
    compose.add_prefix(finish, "after_", rename_inputs=False, rename_outputs=False, inplace=True)
    _rename(finish, "levels", "raw")
    whole = compose.merge_models(core, finish, io_map=[("raw", "raw")])
    del whole.opset_import[1:]
    _rename(whole, "levels", "frame")
    for port in (*whole.graph.input, *whole.graph.output):
        if port.name in {"frame", "stylized"}:
            port.CopyFrom(helper.make_tensor_value_info(port.name, 1, ["N", 3, "H", "W"]))
    del whole.graph.value_info[:]
    said = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(whole, {**said, "layout": "web", "stride": str(stride)})
    whole.producer_name, whole.graph.name = model.producer_name, model.graph.name
    checker.check_model(whole, full_check=True)
    return whole


def _stride(model: ModelProto) -> int | None:
    """What the sides are made multiples of; None where the file does not say so in the way of ours."""
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] == "before_stride":
            values = re.findall(r"\d+", str(helper.get_attribute_value(node.attribute[0]).int64_data))
            return int(values[0]) if values else _packed(node.attribute[0].t.raw_data)
    return None


def _packed(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _rename(model: ModelProto, before: str, after: str) -> None:
    for port in (*model.graph.input, *model.graph.output):
        if port.name == before:
            port.name = after
    for node in model.graph.node:
        node.input[:] = [after if name == before else name for name in node.input]
