"""Networks timed side by side, each in a process of its own, all in turns. Without torch.

Sizes are (height, width) in pixels. A time is from picture to picture: uint8 (H, W, 3) in, the same out. A network
that takes floats is charged for the conversion, which whoever runs it has to do.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TextIO

import numpy as np

from fastnst.backends.choosing import draw_picture, psnr_db
from fastnst.backends.contract import Precision, Provider, ProviderChoice, first_line
from fastnst.errors import FastNSTError
from fastnst.inference.effects import PLAIN
from fastnst.inference.stylizer import Stylizer
from fastnst.io.images import Frame
from fastnst.machine import check_threads, describe_machine, peak_memory_mb

WARM_UP = 4
"""Runs before the first that counts: accelerators open a session for the size at the third."""

WORKER = ("-m", "fastnst.research.benchmark")
"""What Python is called with for a case."""


@dataclass(frozen=True)
class Case:
    """One network at one size on one provider."""

    name: str
    path: Path
    size: tuple[int, int]
    provider: ProviderChoice = "auto"


@dataclass(frozen=True)
class Measurement:
    """What came of one case."""

    case: Case
    error: str | None = None
    """Why there are no times."""

    ran_on: str = ""
    """Provider and precision that really ran."""

    times_ms: tuple[float, ...] = ()
    """Of every run that counts, in order."""

    cpu_times_ms: tuple[float, ...] = ()
    """Processor time of the same runs, all threads together: what they cost, however busy the computer is."""

    peak_memory_mb: float | None = None
    """Most resident memory of the process, Python and the runtime included; None: not known."""

    ratio: float | None = None
    """Median time over that of the first case of the same size."""

    largest_difference: int | None = None
    """From what the same network stylizes on `cpu`, in levels of 255; None: not on `cpu` in this benchmark."""

    psnr_db: float | None = None
    """Likeness to the same; infinite where they are equal."""

    @property
    def median_ms(self) -> float:
        """Median time of a picture."""
        return statistics.median(self.times_ms)

    @property
    def min_ms(self) -> float:
        """Least time of a picture."""
        return min(self.times_ms)

    @property
    def cpu_ms(self) -> float:
        """Median processor time of a picture."""
        return statistics.median(self.cpu_times_ms)

    @property
    def fps(self) -> float:
        """Pictures a second, from the median."""
        return 1000 / self.median_ms


@dataclass(frozen=True)
class Benchmark:
    """A table of measurements, and what they were taken on."""

    measurements: tuple[Measurement, ...]
    runs: int
    threads: int | None
    machine: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """Everything, for programs."""
        rows = [_as_row(measurement) for measurement in self.measurements]
        settings = {"runs": self.runs, "warm_up": WARM_UP, "threads": self.threads}
        return json.dumps({"machine": dict(self.machine), "settings": settings, "results": rows}, indent=2) + "\n"


def run_benchmark(
    cases: Sequence[Case],
    *,
    runs: int = 15,
    threads: int | None = None,
    on_run: Callable[[], None] | None = None,
    warm_up: int = WARM_UP,
    open_case: "Callable[[Case, int | None, Path], CaseProcess] | None" = None,
) -> Benchmark:
    """Time all cases. Those of one size take turns (A B A B), so that what else the computer does strikes all alike.

    The first case of each size is what the others are compared with. Of each, `runs` count, after `warm_up` others;
    threads on the CPU: None is one for each physical core that may be used. `on_run` is called after each run, `(runs +
    warm_up) * len(cases)` times, for failed cases at once. `open_case` opens a case, given with the threads and the
    file for its picture; by default `CaseProcess`.
    """
    check_threads(threads)
    machine = describe_machine()
    measured: dict[int, Measurement] = {}
    for size in dict.fromkeys(case.size for case in cases):
        group = {index: case for index, case in enumerate(cases) if case.size == size}
        measured |= zip(
            group,
            _measure_in_turns(
                list(group.values()), (warm_up, runs), threads, on_run or (lambda: None), open_case or CaseProcess
            ),
            strict=True,
        )
    return Benchmark(tuple(measured[index] for index in sorted(measured)), runs, threads, machine)


def _measure_in_turns(
    cases: Sequence[Case],
    turns: tuple[int, int],
    threads: int | None,
    on_run: Callable[[], None],
    open_case: "Callable[[Case, int | None, Path], CaseProcess]",
) -> list[Measurement]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        results = [Path(folder) / f"{number}.npy" for number in range(len(cases))]
        workers = [
            stack.enter_context(open_case(case, threads, result)) for case, result in zip(cases, results, strict=True)
        ]
        warm_up, runs = turns
        for turn in range(warm_up + runs):
            for worker in workers:
                worker.run(counts=turn >= warm_up)
                on_run()
        measured = _compare([worker.finish() for worker in workers], results)
    base = measured[0]
    if not base.times_ms:
        return measured
    return [
        replace(measurement, ratio=measurement.median_ms / base.median_ms) if measurement.times_ms else measurement
        for measurement in measured
    ]


def _compare(measured: Sequence[Measurement], results: Sequence[Path]) -> list[Measurement]:
    """Add how far what each painted is from what the same network painted on the CPU."""
    exact = {row.case.path: result for row, result in zip(measured, results, strict=True) if row.ran_on == "cpu"}
    compared = []
    for row, result in zip(measured, results, strict=True):
        if row.error is None and row.case.path in exact and exact[row.case.path] != result:
            painted, expected = np.load(result), np.load(exact[row.case.path])
            largest = int(np.abs(painted.astype(int) - expected).max())
            compared.append(replace(row, largest_difference=largest, psnr_db=psnr_db(painted, expected)))
        else:
            compared.append(row)
    return compared


class CaseProcess:
    """One case in its process, which runs `serve`. A case that fails stays failed and costs no other."""

    def __init__(self, case: Case, threads: int | None, result: Path, command: Sequence[str] = WORKER) -> None:
        self._case = case
        self._error: str | None = None
        self._times: list[float] = []
        self._cpu_times: list[float] = []
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        height, width = case.size
        asked = {"path": str(case.path), "provider": case.provider, "threads": threads}
        asked |= {"height": height, "width": width, "result": str(result)}
        self._ran_on = str(self._ask(json.dumps(asked)).get("ran_on", ""))

    def run(self, *, counts: bool) -> None:
        """Run once; of those before the first that counts nothing is kept."""
        answer = self._ask("run")
        if counts and self._error is None:
            self._times.append(answer["elapsed_ms"])
            self._cpu_times.append(answer["cpu_ms"])

    def finish(self) -> Measurement:
        """What was measured; the picture is in the file."""
        peak = self._ask("finish").get("peak_memory_mb")
        if self._error is not None:
            return Measurement(self._case, self._error)
        return Measurement(self._case, None, self._ran_on, tuple(self._times), tuple(self._cpu_times), peak)

    def _ask(self, line: str) -> dict[str, Any]:
        if self._error is not None:
            return {}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(line, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._error = f"its process ended with status {self._process.wait()}; was there memory enough?"
            return {}
        answered: dict[str, Any] = json.loads(answer)
        self._error = answered.get("error")
        return answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _as_row(measurement: Measurement) -> dict[str, Any]:
    case = asdict(measurement.case)
    height, width = case.pop("size")
    row = case | {"path": str(case["path"]), "width": width, "height": height}
    if measurement.error is not None:
        return row | {"error": measurement.error}
    return row | {
        "ran_on": measurement.ran_on,
        "median_ms": measurement.median_ms,
        "min_ms": measurement.min_ms,
        "fps": measurement.fps,
        "cpu_ms": measurement.cpu_ms,
        "peak_memory_mb": measurement.peak_memory_mb,
        "ratio": measurement.ratio,
        "largest_difference": measurement.largest_difference,
        # JSON knows no infinity.
        "psnr_db": measurement.psnr_db if measurement.psnr_db != math.inf else None,
        "times_ms": list(measurement.times_ms),
        "cpu_times_ms": list(measurement.cpu_times_ms),
    }


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
                paint = Stylizer(
                    Path(asked["path"]), PLAIN.of_own_size(), provider=asked["provider"], threads=asked["threads"]
                )
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
