"""One case of a benchmark in a process of its own: one line of JSON in, one line out.

First what to open, then `run` any number of times, then `finish`, which also writes the last result as .npy. Errors
are answers too.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fastnst.backends.backend import Array, Precision, Provider, first_line
from fastnst.backends.choosing import NetworkFile, choose_backend, draw_picture, test_picture
from fastnst.backends.contract import Port
from fastnst.backends.onnx_cpu import OnnxBackend
from fastnst.errors import FastNSTError, StyleError
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame, resize_frame
from fastnst.machine.resources import peak_memory_mb

# Most networks halve the picture two or three times, and few of them pad.
_MULTIPLE = 8


def serve(questions: TextIO, answers: TextIO) -> None:
    """Answer until the questions end."""
    paint: Callable[[Frame], Frame] | None = None
    frame = painted = np.empty((0, 0, 3), np.uint8)
    result = ""
    for line in questions:
        try:
            if line.strip() == "finish":
                answer: dict[str, Any] = {"peak_memory_mb": peak_memory_mb()}
                np.save(result, painted)
            elif paint is None:
                asked = json.loads(line)
                paint, ran_on = _open(asked)
                result = asked["result"]
                frame = _draw(asked["height"], asked["width"])
                answer = {"ran_on": ran_on}
            else:
                # The one before finds caches cold and threads asleep, which in a film they are not.
                paint(frame)
                started, cpu_started = time.perf_counter(), time.process_time()
                painted = paint(frame)
                elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
                answer = {"elapsed_ms": elapsed_s * 1e3, "cpu_ms": cpu_s * 1e3}
        except FastNSTError as error:
            answer = {"error": str(error)}
        except Exception as error:
            answer = {"error": first_line(error)}
        print(json.dumps(answer), file=answers, flush=True)


def _open(asked: dict[str, Any]) -> tuple[Callable[[Frame], Frame], str]:
    path, provider, threads = Path(asked["path"]), asked["provider"], asked["threads"]
    if asked["foreign"] and not _keeps_our_contract(path, threads):
        network = ForeignNetwork(path, provider, threads, (asked["height"], asked["width"]))
        return network, network.ran_on
    stylizer = Stylizer(path, provider=provider, threads=threads)
    return stylizer, _in_words(stylizer.choice.provider, stylizer.choice.precision)


def _keeps_our_contract(path: Path, threads: int | None) -> bool:
    return [port.name for port in _open_on_cpu(path, threads).inputs[:1]] == ["frame"]


class ForeignNetwork:
    """A network of another project: float32 (N, 3, H, W), RGB in 0..255, in and out."""

    def __init__(self, path: Path, provider: Any, threads: int | None, size: tuple[int, int]) -> None:
        """Open it for pictures of one size; raises StyleError for other inputs, SettingError for the provider."""
        cpu = _open_on_cpu(path, threads)
        if len(cpu.inputs) != 1 or not _is_picture(cpu.inputs[0]):
            found = ", ".join(map(str, cpu.inputs))
            raise StyleError(f"{path}: takes {found}; expected one float32 (N, 3, H, W), RGB in 0..255")
        self._name, self._size = cpu.inputs[0].name, size
        self._fixed = cpu.inputs[0].shape[2:]
        for fixed, asked in zip(self._fixed, size, strict=True):
            if fixed not in {None, asked}:
                height, width = self._fixed
                raise StyleError(f"{path}: takes pictures of {width}x{height} only")
        network = NetworkFile(path, self.feed, cpu.outputs[0].name, threads)
        expected = cpu.run(self.feed(test_picture()))
        self._backend, choice = choose_backend(network, cpu, expected, provider)
        self.ran_on = _in_words(choice.provider, choice.precision)

    def __call__(self, frame: Frame) -> Frame:
        """Paint a frame, uint8 (H, W, 3)."""
        painted = self._backend.run(self.feed(frame[None]))[0]
        levels = np.rint(painted).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        return np.ascontiguousarray(levels[: frame.shape[0], : frame.shape[1]])

    def feed(self, frames: Frame) -> dict[str, Array]:
        """Frames as the network takes them: of the size that it takes, or extended to a multiple of eight."""
        height, width = (
            fixed or -(-given // _MULTIPLE) * _MULTIPLE
            for fixed, given in zip(self._fixed, frames.shape[1:3], strict=True)
        )
        if all(self._fixed):
            frames = np.stack([resize_frame(frame, (height, width)) for frame in frames])
        missing = ((0, 0), (0, height - frames.shape[1]), (0, width - frames.shape[2]), (0, 0))
        if any(after for _, after in missing):
            frames = np.pad(frames, missing, mode="edge")
        return {self._name: np.ascontiguousarray(frames.transpose(0, 3, 1, 2), dtype=np.float32)}


def _draw(height: int, width: int) -> Frame:
    """A frame of many small pictures: drawing it whole would need more memory than some networks."""
    side = 256
    rows, columns = -(-height // side), -(-width // side)
    return np.ascontiguousarray(np.tile(draw_picture((side, side))[0], (rows, columns, 1))[:height, :width])


def _is_picture(port: Port) -> bool:
    return port.dtype == "float32" and len(port.shape) == 4 and port.shape[0] in {None, 1} and port.shape[1] == 3


def _open_on_cpu(path: Path, threads: int | None) -> OnnxBackend:
    try:
        return OnnxBackend(path, threads, output=None)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise StyleError(f"{path}: not a readable ONNX network ({first_line(error)})") from error


def _in_words(provider: Provider, precision: Precision) -> str:
    return provider + {"float32": "", "bfloat16": " bf16", "float16": " fp16"}[precision]


if __name__ == "__main__":
    # Libraries that print would end up between the answers.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, channel)
