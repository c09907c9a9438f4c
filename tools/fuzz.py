"""Give the commands damaged and lying files, and say what they did not withstand.

    python tools/fuzz.py --inputs 1000 --minutes 20
    python tools/fuzz.py --only pictures --seed 4711 --inputs 1

Each input follows from its kind and its seed alone, and is made from small files that this program draws itself. A
command must end within 30 s, with status 0 and its output, or with another status, one line and no output; what was in
the folder before must stay as it was. The commands run in another process, which is killed where one hangs.

A kind is a function in KINDS that makes an input in a folder, from a generator of random numbers, and returns the
arguments of the command and the output that it should write.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import queue
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import onnx
from PIL import Image

LIMIT_S = 30.0
Made = tuple[list[str], Path]

IDENTITY = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { stylized = Identity(frame) }"""

NETWORKS = (
    IDENTITY,
    """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3, H, W] frame) => (float[N, 3, H, W] stylized) <float[3, 3, 1, 1] w = {1, 0, 0, 0, 1, 0, 0, 0, 1}> {
    mixed = Conv(frame, w)
    normal = Relu(mixed)
    stylized = Identity(normal)
}""",
    """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame, float[2] style_weights) => (uint8[N, H, W, 3] stylized)
<int64[8] pads = {0, 1, 1, 0, 0, 1, 1, 0}, int64[2] start = {1, 1}, int64[2] end = {-1, -1}, int64[2] axes = {1, 2}> {
    padded = Pad<mode = "edge">(frame, pads)
    stylized = Slice(padded, start, end, axes)
}""",
    """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <int64 times = {3}, bool yes = {1}> {
    stylized = Loop (times, yes, frame) <body = b (int64 i, bool c, uint8[N, H, W, 3] x)
        => (bool c2, uint8[N, H, W, 3] y) { c2 = Identity(c)  y = Identity(x) }>
}""",
)

FORMATS = (
    (".png", "RGB", {}),
    (".png", "RGBA", {}),
    (".png", "P", {}),
    (".png", "I;16", {}),
    (".png", "1", {}),
    (".jpg", "RGB", {"quality": 80}),
    (".jpg", "CMYK", {"progressive": True}),
    (".webp", "RGBA", {"lossless": True}),
    (".gif", "P", {}),
    (".bmp", "RGB", {}),
    (".tif", "RGB", {"compression": "tiff_lzw"}),
    (".tif", "I;16", {}),
    (".tif", "F", {}),
    (".tif", "RGBA", {"compression": "tiff_deflate"}),
    (".tga", "RGB", {"compression": "tga_rle"}),
    (".ppm", "RGB", {}),
    (".jp2", "RGB", {}),
    (".avif", "RGB", {}),
)


def pictures(rng: random.Random, folder: Path) -> Made:
    """A picture of any format, damaged: bytes, lengths, sizes in headers, with PNG's check sums put right or not."""
    suffix, mode, options = rng.choice(FORMATS)
    content = _draw(rng, suffix, mode, options)
    content = _mend_png(_damage(rng, content)) if suffix == ".png" and rng.random() < 0.7 else _damage(rng, content)
    source = folder / f"in{rng.choice([suffix, suffix, '.png', '.tif'])}"
    source.write_bytes(content)
    (folder / "id.onnx").write_bytes(onnx.parser.parse_model(IDENTITY).SerializeToString())
    output = folder / f"out{rng.choice(['.png', '.jpg', '.tif', '.webp', '.bmp'])}"
    more = ["--size", str(rng.choice([1, 7, 40]))] if rng.random() < 0.3 else []
    style = ["--style", str(folder / "id.onnx"), "--provider", "cpu", "--threads", "1"]
    return ["stylize", str(source), *style, *more, "-o", str(output)], output


def networks(rng: random.Random, folder: Path) -> Made:
    """A network file, damaged in its bytes, or still well-formed with other numbers, names and operators in it."""
    model = onnx.parser.parse_model(rng.choice(NETWORKS))
    if rng.random() < 0.6:
        for _ in range(rng.randint(1, 4)):
            _change_model(rng, model)
        content = model.SerializeToString()
    else:
        content = _damage(rng, model.SerializeToString())
    (folder / "net.onnx").write_bytes(content)
    if rng.random() < 0.3:
        return ["styles", "add", str(folder / "net.onnx"), "--name", "fuzzed"], folder / "styles" / "fuzzed.onnx"
    Image.fromarray(_noise(rng, rng.randint(1, 60), rng.randint(1, 60))).save(folder / "photo.png")
    output = folder / "out.png"
    style = ["--style", str(folder / "net.onnx"), "--provider", "cpu", "--threads", "1"]
    return ["stylize", str(folder / "photo.png"), *style, "-o", str(output)], output


# Suffix, encoder and pixel format of films that FFmpeg writes everywhere.
FILMS = (
    (".mp4", "libx264", "yuv420p"),
    (".mp4", "mpeg4", "yuv420p"),
    (".mov", "prores_ks", "yuv422p10le"),
    (".mkv", "ffv1", "bgr0"),
    (".mkv", "libx264", "yuv444p"),
    (".webm", "libvpx-vp9", "yuva420p"),
    (".avi", "mjpeg", "yuvj420p"),
    (".ts", "mpeg2video", "yuv420p"),
    (".gif", "gif", "rgb8"),
)


def films(rng: random.Random, folder: Path) -> Made:
    """A film of any format, damaged in its bytes, cut, or with another size in its headers."""
    suffix, encoder, pixel_format = rng.choice(FILMS)
    size = rng.choice([16, 32, 50]), rng.choice([16, 48, 64])
    content = _film(rng, suffix, encoder, pixel_format, size)
    match rng.randrange(4):
        case 0:
            content = _damage(rng, content)
        case 1:
            content = content[: rng.randrange(len(content))]
        case 2:
            content = _flip(rng, content)
        case _:
            content = _resize(rng, content, size)
    source = folder / f"in{suffix}"
    source.write_bytes(content)
    (folder / "id.onnx").write_bytes(onnx.parser.parse_model(IDENTITY).SerializeToString())
    output = folder / f"out{rng.choice(['.mp4', '.mkv', '.webm', '.gif'])}"
    more = ["--damaged", "skip"] if rng.random() < 0.5 else []
    style = ["--style", str(folder / "id.onnx"), "--provider", "cpu", "--threads", "1", "--codec-threads", "1"]
    return ["video", str(source), *style, *more, "--resume", "never", "-o", str(output)], output


KINDS: dict[str, Callable[[random.Random, Path], Made]] = {"pictures": pictures, "networks": networks, "films": films}


def _noise(rng: random.Random, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _draw(rng: random.Random, suffix: str, mode: str, options: dict[str, object]) -> bytes:
    picture = Image.fromarray(_noise(rng, rng.randint(1, 40), rng.randint(1, 40)))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert("L").convert(mode) if mode == "F" else picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = rng.randint(0, 9), "somebody"
    if suffix in {".png", ".jpg", ".webp"}:
        options = {**options, "exif": exif, "icc_profile": rng.randbytes(200), "dpi": (300, 300)}
    frames = [picture] * rng.choice([1, 1, 3]) if suffix in {".gif", ".webp", ".png", ".tif"} else [picture]
    written = io.BytesIO()
    kind = {".jpg": "JPEG", ".tif": "TIFF", ".ppm": "PPM", ".jp2": "JPEG2000"}.get(suffix, suffix[1:].upper())
    if len(frames) > 1:
        options = {**options, "save_all": True, "append_images": frames[1:]}
    picture.save(written, kind, **options)
    return written.getvalue()


def _film(rng: random.Random, suffix: str, encoder: str, pixel_format: str, size: tuple[int, int]) -> bytes:
    """Eight frames with a track of sound, where the format has one."""
    written = io.BytesIO()
    kinds = {".mkv": "matroska", ".ts": "mpegts"}
    bitexact = {"fflags": "+bitexact"}  # else with numbers drawn by lot
    with av.open(written, "w", format=kinds.get(suffix, suffix[1:]), container_options=bitexact) as film:
        pictures: Any = film.add_stream(encoder, rate=25)
        pictures.height, pictures.width = size
        pictures.pix_fmt, pictures.thread_count = pixel_format, 1
        sound: Any = film.add_stream("pcm_s16le", rate=8000, layout="mono") if suffix in {".mkv", ".avi"} else None
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(_noise(rng, *size), format="rgb24").reformat(format=pixel_format)
            frame.pts = number
            film.mux(pictures.encode(frame))
            if sound is not None:
                tone = av.AudioFrame.from_ndarray(np.full((1, 320), 99, np.int16), format="s16", layout="mono")
                tone.rate, tone.pts = 8000, number * 320
                film.mux(sound.encode(tone))
        for stream in film.streams:
            film.mux(cast("Any", stream).encode(None))
    return written.getvalue()


def _flip(rng: random.Random, content: bytes) -> bytes:
    """Turn bits anywhere, few or many: pictures more often than headers."""
    flipped = bytearray(content)
    for _ in range(rng.choice([1, 3, 10, 100])):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _resize(rng: random.Random, content: bytes, size: tuple[int, int]) -> bytes:
    """Put another number in the place of a side of the picture, wherever it may stand for that."""
    order = rng.choice([">", "<"])
    side = struct.pack(f"{order}H", rng.choice(size))
    places = [place for place in range(len(content) - 1) if content.startswith(side, place)]
    resized = bytearray(content)
    for place in rng.sample(places, min(len(places), rng.randint(1, 4))):
        resized[place : place + 2] = struct.pack(f"{order}H", rng.choice([0, 1, 17, 640, 32768, 65535]))
    return bytes(resized)


def _damage(rng: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        # Headers first: there are sizes, lengths and counts.
        end = min(len(damaged), 120) if rng.random() < 0.7 else len(damaged)
        place, way = rng.randrange(max(end, 1)), rng.randrange(6)
        if way == 0 and damaged:
            damaged[place % len(damaged)] ^= 1 << rng.randrange(8)
        elif way == 1:
            number = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, 65500, 10**9, rng.getrandbits(32)])
            damaged[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
        elif way == 2:
            del damaged[place + rng.randint(0, 400) :]
        elif way == 3:
            damaged[place:place] = damaged[place : place + rng.randint(1, 64)]
        elif way == 4:
            del damaged[place : place + rng.randint(1, 16)]
        else:
            damaged[place : place + 2] = rng.randbytes(2)
    return bytes(damaged)


def _mend_png(content: bytes) -> bytes:
    """Put the check sums right, so that the damage comes past them."""
    mended, place = bytearray(content), 8
    while place + 12 <= len(mended):
        length = struct.unpack(">I", mended[place : place + 4])[0]
        end = place + 8 + length
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[place + 4 : end]))
        place = end + 4
    return bytes(mended)


def _change_model(rng: random.Random, model: onnx.ModelProto) -> None:
    graph, way = model.graph, rng.randrange(7)
    sizes = [0, 1, -1, 2, 7, 2**31, 2**40, -(2**63)]
    node = rng.choice(graph.node)
    if way == 0:
        node.op_type = rng.choice(["Identity", "Relu", "Tile", "Expand", "ConstantOfShape", "Reshape", "Exp", "x"])
    elif way == 1:
        port = rng.choice([*graph.input, *graph.output])
        port.type.tensor_type.elem_type = rng.randint(0, 20)
    elif way == 2:
        dims = rng.choice([*graph.input, *graph.output]).type.tensor_type.shape.dim
        dims[rng.randrange(len(dims))].dim_value = rng.choice(sizes)
    elif way == 3 and graph.initializer:
        tensor = rng.choice(graph.initializer)
        values = onnx.numpy_helper.to_array(tensor).copy()
        if values.dtype != bool and values.size:
            extreme = [np.nan, np.inf, 1e38] if values.dtype.kind == "f" else sizes
            values.ravel()[rng.randrange(values.size)] = rng.choice(extreme)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    elif way == 4:
        model.opset_import[0].version = rng.choice([0, 1, 6, 13, 18, 21, 99, 2**40])
        model.ir_version = rng.choice([1, 3, 8, 10, 99])
    elif way == 5:
        rng.choice([*graph.input, *graph.output]).name = rng.choice(["", "frame", "stylized", "\x1b[2J", "x" * 5000])
    else:
        onnx.helper.set_model_props(
            model,
            {rng.choice(["fastnst_format", "styles", "style", "layout"]): rng.choice(["", "9", "a,b", "\n" * 99])},
        )


def run_one(kind: str, seed: int, folder: Path) -> dict[str, object]:
    """Make an input, run its command, and say what is wrong: the other process's part."""
    from fastnst.cli import main  # noqa: PLC0415 - in the other process

    arguments, output = KINDS[kind](random.Random(f"{kind} {seed}"), folder)
    os.environ["FASTNST_STYLES"] = str(folder / "styles")
    before = _digests(folder)
    said = io.StringIO()
    status: object = 0
    trace = ""
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main(arguments)
        except SystemExit as error:
            status = error.code or 0
        except BaseException:
            trace = traceback.format_exc()
    words, after = said.getvalue().strip(), _digests(folder)
    wrong = [f"traceback: {trace.strip().splitlines()[-1]}"] if trace else []
    wrong += ["warning: " + words[:200]] if "Warning:" in words else []
    wrong += [f"destroyed: {name}" for name, digest in before.items() if after.get(name) != digest]
    left = after.keys() - before.keys() - {output.relative_to(folder).as_posix()}
    wrong += [f"left behind: {', '.join(sorted(left))}"] if left else []
    if status == 0 and not trace and not output.exists():
        wrong.append("status 0 without an output")
    # What a film will lose is said before its damage is found.
    errors = [line for line in words.splitlines() if kind != "films" or line.startswith("fastnst: ")]
    if status != 0 and (len(errors) != 1 or not words.endswith(errors[0])):
        wrong.append(f"status {status} with {len(errors)} lines: {words[:200]}")
    if status != 0 and output.exists():
        wrong.append(f"status {status} with an output")
    return {"status": status, "said": words[:300], "wrong": wrong, "trace": trace}


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def serve() -> None:
    """Run what is named on stdin, one a line, until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = run_one(asked["kind"], asked["seed"], Path(asked["folder"]))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Worker:
    """The other process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONWARNINGS": "default"},
            text=True,
        )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put("")

    def ask(self, kind: str, seed: int, folder: Path, limit_s: float) -> dict[str, object]:
        """Have one input made and run; what came of it, as from `run_one`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"kind": kind, "seed": seed, "folder": str(folder)}) + "\n")
        self.process.stdin.flush()
        try:
            line = self.answers.get(timeout=limit_s)
        except queue.Empty:
            return {"status": None, "said": "", "wrong": [f"hangs for more than {limit_s:.0f} s"], "trace": ""}
        if not line:
            return {"status": None, "said": "", "wrong": [f"crash: status {self.process.wait()}"], "trace": ""}
        answer: dict[str, object] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def fuzz(kinds: list[str], inputs: int, minutes: float, seed: int) -> int:
    """Run inputs of all kinds in turn; print what went wrong with its seed, and return how many did."""
    until, bad, worker = time.monotonic() + 60 * minutes, 0, None
    statuses: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as home:
        done = 0
        for number in range(inputs):
            if time.monotonic() > until:
                break
            kind, own_seed = kinds[number % len(kinds)], seed + number // len(kinds)
            fresh = worker is None
            worker = worker or Worker()
            with tempfile.TemporaryDirectory(dir=home) as folder:
                # The first one also waits for imports.
                answer = worker.ask(kind, own_seed, Path(folder), LIMIT_S + (90 if fresh else 0))
            done += 1
            statuses[f"{kind}: status {answer['status']}"] += 1
            if answer["wrong"]:
                bad += 1
                print(f"--only {kind} --seed {own_seed}: {answer['wrong']}\n{answer['trace']}", flush=True)
            if answer["status"] is None or done % 200 == 0:
                worker.close()
                worker = None
        if worker is not None:
            worker.close()
    print(f"{done} inputs from seed {seed}: {bad} not withstood; {dict(sorted(statuses.items()))}")
    return bad


def main() -> None:
    """Read the options, and exit with 1 where something was not withstood."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10, help="end after this time, whatever is left")
    parser.add_argument("--seed", type=int, default=0, help="of the first input of each kind")
    parser.add_argument("--only", choices=KINDS, action="append", help="a kind, repeatable; by default all")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    sys.exit(1 if fuzz(given.only or list(KINDS), given.inputs, given.minutes, given.seed) else 0)


if __name__ == "__main__":
    main()
