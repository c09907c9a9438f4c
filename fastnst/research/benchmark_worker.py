"""One case of a benchmark in a process of its own: one line of JSON in, one line out.

First what to open, then `run` any number of times, then `finish`, which also writes the last result as .npy. Errors
are answers too.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fastnst.backends.backend import Precision, Provider, first_line
from fastnst.backends.choosing import draw_picture
from fastnst.errors import FastNSTError
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame
from fastnst.machine import peak_memory_mb


def serve(questions: TextIO, answers: TextIO) -> None:
    """Answer until the questions end."""
    paint: Stylizer | None = None
    frame = painted = np.empty((0, 0, 3), np.uint8)
    result = ""
    for line in questions:
        try:
            if line.strip() == "finish":
                answer: dict[str, Any] = {"peak_memory_mb": peak_memory_mb()}
                np.save(result, painted)
            elif paint is None:
                asked = json.loads(line)
                paint = Stylizer(Path(asked["path"]), provider=asked["provider"], threads=asked["threads"])
                result = asked["result"]
                frame = _draw(asked["height"], asked["width"])
                answer = {"ran_on": _in_words(paint.choice.provider, paint.choice.precision)}
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


def _draw(height: int, width: int) -> Frame:
    """A frame of many small pictures: drawing it whole would need more memory than some networks."""
    side = 256
    rows, columns = -(-height // side), -(-width // side)
    return np.ascontiguousarray(np.tile(draw_picture((side, side))[0], (rows, columns, 1))[:height, :width])


def _in_words(provider: Provider, precision: Precision) -> str:
    return provider + {"float32": "", "bfloat16": " bf16", "float16": " fp16"}[precision]


if __name__ == "__main__":
    # Libraries that print would end up between the answers.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, channel)
