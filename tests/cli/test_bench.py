"""`fastnst bench` as a user sees it."""

import json
from pathlib import Path

import onnx
import pytest

from fastnst import cli
from fastnst.cli import bench as command
from fastnst.io.files import sole_writer
from fastnst.research import benchmark
from fastnst.research.benchmark import Benchmark, Case, Measurement

INVERT = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> { stylized = Sub(white, frame) }"""


@pytest.fixture
def styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with two styles, and none bundled."""
    for name in ("dots", "lines"):
        onnx.save(onnx.parser.parse_model(INVERT), tmp_path / f"{name}.onnx")
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path))
    monkeypatch.setattr("fastnst.io.styles.bundled_styles_folder", lambda: tmp_path / "none")
    return tmp_path


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """Nothing is run: every case takes 20 ms, but for those on CUDA."""
    cases: list[Case] = []

    def run_benchmark(given: list[Case], **_settings: object) -> Benchmark:
        cases.extend(given)
        rows = [
            Measurement(case, "no NVIDIA driver was found")
            if case.provider == "cuda"
            else Measurement(case, None, case.provider, (30.0, 20.0, 10.0), (7.0, 8.0, 9.0), 123.4, 1.0, 4, 54.2)
            for case in given
        ]
        return Benchmark(tuple(rows), 3, None, {"processors": 2, "processor": "Abacus", "load_before": 0.5})

    monkeypatch.setattr(benchmark, "run_benchmark", run_benchmark)
    return cases


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_every_network_size_and_provider(styles: Path, planned: list[Case]) -> None:
    other = styles / "other.onnx"
    other.touch()
    assert (
        run(
            *("bench", "--style", "dots", styles / "lines.onnx", "--against", other),
            *("--frame-size", "64x48", "--frame-size", "32x16", "--provider", "cpu", "openvino"),
        )
        == 0
    )
    assert [(case.name, case.size, case.provider) for case in planned] == [
        (name, size, provider)
        for size in ((48, 64), (16, 32))
        for name in ("dots", "lines", "other")
        for provider in ("cpu", "openvino")
    ]
    assert planned[0].path == styles / "dots.onnx"


def test_all_installed_styles_at_640x480_by_default(styles: Path, planned: list[Case]) -> None:
    assert run("bench") == 0
    assert [(case.name, case.size, case.provider) for case in planned] == [
        ("dots", (480, 640), "auto"),
        ("lines", (480, 640), "auto"),
    ]


def test_table(styles: Path, planned: list[Case], capfd: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "--style", "dots", "--provider", "cpu", "cuda", "--frame-size", "64x48", "32x16") == 1
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split() == [
        *("network", "size", "runs", "on", "ms", "least", "fps", "ratio", "CPU", "ms", "memory", "differs")
    ]
    assert lines[1].split() == ["dots", "64x48", "cpu", "20.0", "10.0", "50.0", "1.00", "8.0", "123", "4", "(54", "dB)"]
    assert lines[2].split() == ["dots", "64x48", "cuda:", "failed"]
    assert lines[5] == "dots: no NVIDIA driver was found"
    assert lines[6].startswith("Median and least of 3 runs, picture to picture, on 2 x Abacus.")
    assert len(lines) == 7


def test_a_busy_machine_is_mentioned(styles: Path, planned: list[Case], capfd: pytest.CaptureFixture[str]) -> None:
    command._show(Benchmark((), 3, None, {"processors": 2, "processor": "Abacus", "load_before": 1.5}))
    assert "busy before (load 1.5): trust CPU ms and ratios" in capfd.readouterr().out


def test_really_run_with_json(styles: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ("--runs", "1", "--threads", "1", "--frame-size", "16x8", "--provider", "cpu")
    assert run("bench", "--style", "dots", "lines", *arguments, "--json", styles / "out" / "a.json") == 0
    read = json.loads((styles / "out" / "a.json").read_text())
    assert [row["name"] for row in read["results"]] == ["dots", "lines"]
    assert read["results"][1]["ratio"] > 0
    assert read["settings"]["threads"] == 1
    assert read["machine"]["packages"]["fastnst"]
    assert "lines" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--frame-size", "640"], 1, "--frame-size 640: expected WIDTHxHEIGHT"),
        (["--frame-size", "0x480"], 1, "--frame-size 0x480: expected"),
        (["--style", "nonsuch"], 1, "no style 'nonsuch'"),
        (["--against", "gone.onnx"], 1, "gone.onnx: no such file"),
        (["--runs", "0"], 2, "runs"),
        (["--provider", "gpu"], 2, "provider"),
        (["--json", "."], 1, "--json .: is a folder; expected a file"),
    ],
)
def test_mistakes_get_one_line(
    styles: Path, planned: list[Case], arguments: list[str], status: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("bench", *arguments) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert not planned


def test_nothing_to_time(
    tmp_path: Path, planned: list[Case], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path))
    monkeypatch.setattr("fastnst.io.styles.bundled_styles_folder", lambda: tmp_path / "none")
    assert run("bench") == 1
    assert "no style is installed" in capfd.readouterr().err


def test_a_file_of_figures_has_one_writer(
    styles: Path, planned: list[Case], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with sole_writer(tmp_path / "a.json", folder=False):
        assert run("bench", "--style", "dots", "--json", tmp_path / "a.json") == 1
    assert "a.json: another fastnst is writing it at this moment" in capfd.readouterr().err
    assert planned == []
    assert run("bench", "--style", "dots", "--json", tmp_path / "a.json") == 0
    assert (tmp_path / "a.json").is_file()
