"""Probes that run in a process of their own, and answer in lines of JSON: python -m fastnst.diagnosis.probes NAME ...

Each may crash or hang: that is what it is to find out, and it costs only an answer.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

LATE = "gave no answer in"
"""How the failure of a probe that did not end begins: it hangs, or the computer is busy."""

MODULE = ("-m", "fastnst.diagnosis.probes")


@dataclass(frozen=True)
class Answer:
    """What a probe said, and how it ended."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    """Why it did not end well; what it said until then still holds."""

    @property
    def first(self) -> dict[str, Any]:
        """The first line; where there is none, an error."""
        return self.lines[0] if self.lines else {"error": self.failure or "gave no answer"}


def probe(name: str, *arguments: str, timeout_s: float = 90, module: Sequence[str] = MODULE) -> Answer:
    """Run a probe and wait for it, `timeout_s` seconds at most; `module` is what Python is called with."""
    command = [sys.executable, *module, name, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as late:
        return Answer(_read(late.stdout or b""), f"{LATE} {timeout_s:.0f} s")
    return Answer(_read(done.stdout), _ending(done.returncode, done.stderr))


def _read(output: bytes) -> list[dict[str, Any]]:
    lines = []
    for line in output.decode(errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # cut short
            continue
    return lines


def _ending(status: int, errors: bytes) -> str | None:
    if status == 0:
        return None
    if status < 0:
        return f"crashed (signal {-status})"
    last = errors.decode(errors="replace").strip().splitlines()[-1:]
    return f"ended with status {status}" + "".join(f" ({line[:160]})" for line in last)


# What FFmpeg may offer beside the encoders that fastnst names itself.
HARDWARE_ENCODERS = (
    *("h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "h264_amf", "hevc_amf"),
    *("h264_videotoolbox", "hevc_videotoolbox", "h264_vaapi", "hevc_vaapi", "h264_mf", "hevc_mf"),
)
_CAMERAS = 4

Answers = Iterator[dict[str, Any]]


def probe_import(module: str) -> Answers:
    """Import a package; torch also says which devices it has, ONNX Runtime whether it was built for NVIDIA's."""
    try:
        if module == "openvino":
            from fastnst.backends.cpu import import_openvino  # noqa: PLC0415

            imported = import_openvino()
        else:
            imported = importlib.import_module(module)
    except Exception as error:  # packages raise all sorts when a library of the system is missing
        yield {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        return
    answer: dict[str, Any] = {"imported": module}
    if module == "torch":
        if imported.cuda.is_available():
            answer["device"] = imported.cuda.get_device_name()
        elif imported.backends.mps.is_available():
            answer["device"] = "Apple GPU (MPS)"
        else:
            answer["device"] = "CPU"
    if module == "onnxruntime":
        answer["cuda"] = "CUDAExecutionProvider" in imported.get_available_providers()
    yield answer


def probe_provider(provider: str) -> Answers:
    """Paint with a small network on a provider."""
    from fastnst.errors import FastNSTError  # noqa: PLC0415
    from fastnst.inference.stylizer import Stylizer  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(_small_network())
        try:
            with Stylizer(path, provider=provider) as stylizer:  # type: ignore[arg-type]
                yield {"precision": stylizer.choice.precision, "on_cpu": stylizer.choice.on_cpu}
        except FastNSTError as error:
            # The message for whoever asked for it by name stands around the reason.
            yield {"error": str(error.__cause__ or error)}


def probe_cameras(numbers: Sequence[int] | None = None) -> Answers:
    """Open cameras, by default those that the system has, and take one picture from each."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    numbers = _camera_numbers() if numbers is None else numbers
    if not numbers:
        return
    import cv2  # noqa: PLC0415

    api = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}.get(sys.platform, cv2.CAP_ANY)
    for number in numbers:
        device = f"/dev/video{number}"
        if sys.platform == "linux" and not os.access(device, os.R_OK | os.W_OK):
            yield {"camera": number, "error": f"{device} may not be opened by this user"}
            continue
        capture = cv2.VideoCapture(number, api)
        read, frame = capture.read() if capture.isOpened() else (False, None)
        capture.release()
        if read and frame is not None:
            height, width = frame.shape[:2]
            yield {"camera": number, "size": f"{width}x{height}"}
        elif sys.platform == "linux":
            # Half of the devices are for the camera's metadata, and give no pictures.
            yield {"camera": number, "error": "gives no picture"}
        else:
            return


def probe_codecs(hardware: Sequence[str] = HARDWARE_ENCODERS) -> Answers:
    """Encode two frames with each of FFmpeg's encoders that fastnst may use."""
    from fastnst.video.codecs import CODECS  # noqa: PLC0415

    names = {encoder: codec for codec, encoder in CODECS.items()}
    for encoder in (*names, *hardware):
        error = _try_encoder(encoder)
        yield {"encoder": encoder, "codec": names.get(encoder), "error": error}


def probe_styles() -> Answers:
    """Load every installed style."""
    from fastnst.inference.style_files import list_styles  # noqa: PLC0415

    for style in list_styles():
        yield asdict(style) | {"path": str(style.path)}


PROBES: Mapping[str, Callable[..., Answers]] = {
    "import": probe_import,
    "provider": probe_provider,
    "cameras": probe_cameras,
    "codecs": probe_codecs,
    "styles": probe_styles,
}


def _camera_numbers() -> list[int]:
    if sys.platform != "linux":
        return list(range(_CAMERAS))
    devices = (path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
    return sorted(int(number) for number in devices if number.isdecimal())[: 2 * _CAMERAS]


def _try_encoder(name: str) -> str | None:
    """Encode two frames; returns the error, `missing` where FFmpeg was built without the encoder."""
    import av  # noqa: PLC0415

    try:
        codec = av.codec.Codec(name, "w")
    except Exception:
        return "missing"
    try:
        context = codec.create("video")
        # The only form that a GIF's encoder takes; the smallest size that hardware takes is about 150.
        context.width, context.height, context.pix_fmt = 256, 256, "rgb8" if name == "gif" else _pixel_format(codec)
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        frame = av.VideoFrame(256, 256, context.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        encoded = 0
        for pts in range(2):
            frame.pts = pts
            encoded += sum(packet.size for packet in context.encode(frame))
        encoded += sum(packet.size for packet in context.encode(None))
    except Exception as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None if encoded else "gave nothing"


def _pixel_format(codec: Any) -> str:
    known = [form.name for form in codec.video_formats or ()]
    preferred = ("yuv420p", "nv12", "yuv422p10le")
    return next((name for name in preferred if name in known), known[0] if known else "yuv420p")


def _small_network() -> bytes:
    """A network with the operators of a style network: padding, convolutions, normalization, enlarging."""
    import numpy as np  # noqa: PLC0415
    from onnx import parser  # noqa: PLC0415

    draw = np.random.default_rng(0).normal
    weights = {"w1": draw(0, 0.2, (8, 3, 3, 3)), "w2": draw(0, 2.0, (3, 8, 3, 3))}
    values = {
        name: f"float[{','.join(map(str, weight.shape))}] {name} = {{{', '.join(f'{v:.4f}' for v in weight.flat)}}}"
        for name, weight in weights.items()
    }
    ones, zeros = ", ".join("1" * 8), ", ".join("0" * 8)
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        probe (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized)
        <{values["w1"]}, {values["w2"]}, float[8] scale = {{{ones}}}, float[8] shift = {{{zeros}}},
         int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}, float[4] twice = {{1, 1, 2, 2}},
         float grey = {{127}}, float least = {{0}}, float most = {{255}}> {{
            planes = Transpose<perm = [0, 3, 1, 2]>(frame)
            levels = Cast<to = 1>(planes)
            padded = Pad<mode = "reflect">(levels, pads)
            first = Conv(padded, w1)
            normal = InstanceNormalization(first, scale, shift)
            bent = Relu(normal)
            large = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
                (bent, , twice)
            second = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(large, w2)
            shifted = Add(second, grey)
            clipped = Clip(shifted, least, most)
            rounded = Round(clipped)
            whole = Cast<to = 2>(rounded)
            stylized = Transpose<perm = [0, 2, 3, 1]>(whole)
        }}"""
    )
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    # Libraries that print would end up between the answers.
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        for answer in PROBES[sys.argv[1]](*sys.argv[2:]):
            print(json.dumps(answer), file=channel, flush=True)
