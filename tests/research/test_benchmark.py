"""Benchmarks: turns, ratios, failures; the worker's answers."""

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fastnst.research.benchmark import Benchmark, Case, CaseProcess, Measurement, run_benchmark, serve

INVERT = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> { stylized = Sub(white, frame) }"""
FOREIGN = """
g (float[N, 3, H, W] input1) => (float[N, 3, H, W] output1) <float most = {300}> { output1 = Sub(most, input1) }"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(graph: str, name: str = "a.onnx") -> Path:
        onnx.save(onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + graph), tmp_path / name)
        return tmp_path / name

    return write


class Standin:
    """A worker that takes 10 ms for each letter of the network's name, and writes down who ran when."""

    ran: list[str]

    def __init__(self, case: Case, threads: int | None, result: Path) -> None:
        self.case, self.result = case, result
        self.times: list[float] = []
        Standin.ran.append(f"open {case.name}")

    def run(self, *, counts: bool) -> None:
        Standin.ran.append(self.case.name if counts else f"({self.case.name})")
        self.times += [10.0 * len(self.case.name)] if counts else []

    def finish(self) -> Measurement:
        if self.case.name == "bad":
            return Measurement(self.case, "it failed")
        np.save(self.result, np.full((2, 2, 3), 100 + (self.case.provider == "openvino"), np.uint8))
        return Measurement(self.case, None, self.case.provider, tuple(self.times), tuple(self.times), 50.0)

    def __enter__(self) -> "Standin":
        return self

    def __exit__(self, *_error: object) -> None:
        Standin.ran.append(f"close {self.case.name}")


@pytest.fixture
def standin() -> type[Standin]:
    Standin.ran = []
    return Standin


def case(name: str, size: tuple[int, int] = (8, 16), provider: Any = "cpu") -> Case:
    return Case(name, Path(f"{name}.onnx"), size, provider)


def test_cases_of_one_size_take_turns(standin: type[Standin]) -> None:
    run_benchmark([case("a"), case("b"), case("c", (4, 4))], runs=2, warm_up=1, open_case=standin)
    assert standin.ran == [
        *("open a", "open b", "(a)", "(b)", "a", "b", "a", "b", "close b", "close a"),
        *("open c", "(c)", "c", "c", "close c"),
    ]


def test_ratios_are_to_the_first_of_the_same_size_where_it_ran(standin: type[Standin]) -> None:
    cases = [case("aa"), case("a", (4, 4)), case("bbb"), case("bad"), case("cccc", (4, 4))]
    measured = run_benchmark(cases, runs=3, warm_up=1, open_case=standin).measurements
    assert [row.case for row in measured] == cases
    assert [row.ratio for row in measured] == [1, 1, 1.5, None, 4]
    assert measured[3].error == "it failed"
    assert [
        row.ratio for row in run_benchmark([case("bad"), case("a")], runs=1, warm_up=1, open_case=standin).measurements
    ] == [None, None]


def test_difference_from_the_same_network_on_the_cpu(standin: type[Standin]) -> None:
    cases = [case("a", provider="openvino"), case("a"), case("a", provider="cuda"), case("b", provider="openvino")]
    measured = run_benchmark(
        [*cases, case("a", (4, 4), "openvino"), case("bad")], runs=1, warm_up=1, open_case=standin
    ).measurements
    assert [row.largest_difference for row in measured] == [1, None, 0, None, None, None]
    # 255^2 = 48.13 dB
    assert measured[0].psnr_db == pytest.approx(48.131, abs=0.001)
    rows = json.loads(Benchmark(measured, 1, 1).as_json())["results"]
    assert [row.get("largest_difference") for row in rows] == [1, None, 0, None, None, None]
    assert rows[2]["psnr_db"] is None


def test_progress_counts_every_run(standin: type[Standin]) -> None:
    calls: list[None] = []
    run_benchmark([case("a"), case("bad")], runs=3, on_run=lambda: calls.append(None), warm_up=1, open_case=standin)
    assert len(calls) == 8


def test_median_by_hand() -> None:
    measurement = Measurement(case("a"), times_ms=(40.0, 10.0, 20.0))
    assert (measurement.median_ms, measurement.min_ms, measurement.fps) == (20, 10, 50)
    assert Measurement(case("a"), cpu_times_ms=(4.0, 1.0, 3.0)).cpu_ms == 3


def test_json_holds_everything() -> None:
    rows = (Measurement(case("a"), None, "cpu", (40.0, 10.0), (6.0, 8.0), 75.5, 1.0), Measurement(case("b"), "no"))
    read = json.loads(Benchmark(rows, 2, 1, {"processors": 2}).as_json())
    assert read["machine"] == {"processors": 2}
    assert read["settings"] == {"runs": 2, "warm_up": 4, "threads": 1}
    first, second = read["results"]
    assert (first["width"], first["height"]) == (16, 8)
    assert (first["median_ms"], first["min_ms"], first["fps"], first["times_ms"]) == (25, 10, 40, [40, 10])
    assert (first["cpu_ms"], first["cpu_times_ms"]) == (7, [6, 8])
    assert (first["ran_on"], first["peak_memory_mb"], first["ratio"]) == ("cpu", 75.5, 1)
    assert second["error"] == "no"
    assert "times_ms" not in second


def test_really_run(write: Any) -> None:
    ours, theirs = write(INVERT, "ours.onnx"), write(FOREIGN, "theirs.onnx")
    cases = [
        Case("ours", ours, (9, 17), "cpu"),
        Case("theirs", theirs, (9, 17), "cpu"),
        Case("gone", ours.with_name("gone.onnx"), (9, 17), "cpu"),
    ]
    measured = run_benchmark(cases, runs=2, threads=1).measurements
    for row in measured[:2]:
        assert row.error is None
        assert len(row.times_ms) == 2
        assert 0 < row.min_ms <= row.median_ms
        assert len(row.cpu_times_ms) == 2
        assert row.ran_on == "cpu"
        assert row.peak_memory_mb is None or 10 < row.peak_memory_mb < 2000
    assert measured[2].error == f"{ours.with_name('gone.onnx')}: no such file; expected a style's .onnx"


def test_a_worker_that_dies() -> None:
    dying = partial(CaseProcess, command=("-c", "import os; input(); os._exit(3)"))
    (row,) = run_benchmark([case("a")], runs=1, open_case=dying).measurements
    assert row.error == "its process ended with status 3; was there memory enough?"


# The worker


def ask(*questions: Any) -> list[dict[str, Any]]:
    answers = io.StringIO()
    lines = [question if isinstance(question, str) else json.dumps(question) for question in questions]
    serve(io.StringIO("\n".join(lines) + "\n"), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def asked(path: Path, **other: Any) -> dict[str, Any]:
    result = str(path.with_suffix(".npy"))
    return {
        "path": str(path),
        "result": result,
        "provider": "cpu",
        "threads": 1,
        "height": 9,
        "width": 17,
    } | other


def test_answers(write: Any) -> None:
    path = write(INVERT)
    opened, first, last = ask(asked(path), "run", "finish")
    assert opened == {"ran_on": "cpu"}
    assert first.keys() == {"elapsed_ms", "cpu_ms"}
    assert first["elapsed_ms"] > 0
    assert last.keys() == {"peak_memory_mb"}
    painted = np.load(path.with_suffix(".npy"))
    assert painted.shape == (9, 17, 3)
    assert len(np.unique(painted)) > 50


def test_errors_are_answers(write: Any) -> None:
    (answer,) = ask(asked(write(INVERT), provider="directml"))
    assert answer["error"].startswith("provider directml cannot run here")
    two = "g (float[1, 3, H, W] a, float[1] b) => (float[1, 3, H, W] c) { c = Mul(a, b) }"
    (answer,) = ask(asked(write(two)))
    assert "expected one picture in and one out" in answer["error"]
