"""The fuzz tool: the same input for the same seed, and what it must find."""

import random
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz.py"


@pytest.fixture
def tool() -> dict[str, Any]:
    return runpy.run_path(str(TOOL))


@pytest.mark.parametrize("kind", ["pictures", "networks", "films"])
def test_a_seed_makes_the_same_input(tool: dict[str, Any], kind: str, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        arguments, output = tool["KINDS"][kind](random.Random(7), tmp_path / name)
        assert tmp_path / name in output.parents
        assert arguments[0] in {"stylize", "styles", "video"}
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]


def bad(way: str) -> Any:
    def main(arguments: list[str]) -> None:
        source, output = Path(arguments[1]), Path(arguments[-1])
        if way == "traceback":
            raise ValueError("oh")
        if way == "destroyed":
            source.unlink()
        if way == "left behind":
            output.with_name("part").touch()
        if way in {"status 0", "destroyed"}:
            sys.exit(0)
        if way == "status 1 with 0 lines":
            sys.exit(1)
        output.touch()

    return main


@pytest.mark.parametrize("way", ["traceback", "destroyed", "left behind", "status 0", "status 1 with 0 lines"])
def test_faults_are_found(tool: dict[str, Any], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnst.cli.main", bad(way))
    wrong = tool["run_one"]("pictures", 1, tmp_path)["wrong"]
    assert any(words.startswith(way) for words in wrong), wrong


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["pictures", "networks", "films"])
def test_the_commands_withstand_damaged_files(kind: str) -> None:
    command = [sys.executable, TOOL, "--only", kind, "--inputs", "60", "--minutes", "4"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout
    assert "60 inputs from seed 0: 0 not withstood" in finished.stdout
